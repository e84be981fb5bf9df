"""Make `docs/performance.md` and the pictures from `benchmarks/results`: `python -m benchmarks.page`."""

from __future__ import annotations

from benchmarks.running import page, pictures


def main() -> int:
    """Draw all pictures and write the page."""
    results = page.stored()
    for result in results:
        pictures.drawn(result)
    page.PAGE.write_text(page.made(results))
    return 0


if __name__ == "__main__":
    main()
