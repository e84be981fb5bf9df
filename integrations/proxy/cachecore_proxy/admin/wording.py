"""How figures read: durations, sizes, shares, money. A figure that is not known is a dash."""

from __future__ import annotations

import math
from typing import Final

from cachecore_llm.cost.ledger import Totals

NONE: Final = "–"
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float | None) -> str:
    """Return a count: `1,234`."""
    return NONE if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Return a time that was measured: `0.42 ms`, `1.3 s`."""
    if seconds is None:
        return NONE
    if seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.2f} ms" if milliseconds < 9.995 else f"{milliseconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:,.0f} s"


def ago(seconds: float | None) -> str:
    """Return an age or a lifetime in its two largest units: `3 min 20 s`, `2 d 4 h`."""
    if seconds is None:
        return NONE
    left = max(0, round(seconds))
    words: list[str] = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size or (unit == "s" and not words):
            words.append(f"{left // size} {unit}")
            left %= size
        elif words:
            break
    return " ".join(words[:2])


def share(part: float, whole: float) -> str:
    """Return `part` of `whole` in per cent: `93.1 %`."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    # All but one of many is not all of them.
    return f"{math.floor(percent * 10) / 10:.1f} %" if percent > 99 else f"{percent:.1f} %"


def bytes_(value: float | None) -> str:
    """Return a size: `1.2 KiB`."""
    if value is None:
        return NONE
    for unit in _SIZES:
        if value < 1023.95 or unit == _SIZES[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError  # the last unit has returned


def dollars(value: float | None) -> str:
    """Return US dollars: `$1.23`, `$0.0042`."""
    if value is None:
        return NONE
    if 0 < abs(value) < 0.1:
        return f"${value:.4f}"
    return f"${value:,.2f}"


def money(totals: Totals | None) -> str:
    """Return the cost of the calls: a dash if no price is known, `≥ $1.23` if some are not."""
    if totals is None or (totals.calls and totals.unpriced == totals.calls):
        return NONE
    return f"≥ {dollars(totals.dollars)}" if totals.unpriced else dollars(totals.dollars)


def tokens(value: float | None) -> str:
    """Return a number of tokens: `934`, `12.3 k`, `4.56 M`."""
    if value is None:
        return NONE
    if value < 9999.5:
        return f"{value:,.0f}"
    if value < 999_950:
        return f"{value / 1000:.1f} k"
    return f"{value / 1e6:,.2f} M"


def until(fresh_for: float | None) -> str:
    """Return how long an entry stays fresh, in words."""
    if fresh_for is None:
        return "for ever"
    return f"for {ago(fresh_for)}" if fresh_for > 0 else f"stale for {ago(-fresh_for)}"


def reason(word: str) -> str:
    """Return the reason of a miss in words; as it is, where it is none of the cache's own."""
    return _REASONS.get(word, word)


_REASONS: Final = {
    "absent": "not stored",
    "expired": "past its lifetime",
    "max_age": "older than the request takes",
    "deleted": "deleted",
    "claimed": "being computed elsewhere",
    "invalidated": "invalidated",
    "store": "the store did not answer",
    "unreadable": "the request cannot be read",
    "off": "the cache is switched off",
    "refresh": "the request wants a new answer",
}
