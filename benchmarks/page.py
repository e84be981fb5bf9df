"""Make `docs/performance.md`, pictures, and the tables in other documents: `python -m benchmarks.page`."""

from __future__ import annotations

from benchmarks.running import figures, page, pictures


def main() -> int:
    """Draw all pictures and write the page and the tables in other documents."""
    results = page.stored()
    for result in results:
        pictures.drawn(result)
    page.PAGE.write_text(page.made(results))
    for document in figures.documents():
        text = document.read_text()
        if (new := figures.filled(text, results)) != text:
            document.write_text(new)
    return 0


if __name__ == "__main__":
    main()
