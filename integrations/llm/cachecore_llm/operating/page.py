"""The findings of an analysis as one HTML page: no script, no font, no address of another place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from cachecore_llm.operating.analysis import Change, Findings, Point
from cachecore_llm.operating.similar_misses import SimilarFound

Shown = Callable[[float], str]
"""Writes a duration or a size."""

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.big{font-size:2.2rem;font-weight:600}
.advice{border-left:.3rem solid #1a7f37;padding:.5rem 1rem;background:#f0faf2}table{border-collapse:collapse}
td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #d8dee4}
td:first-child,th:first-child{text-align:left}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#424a53}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.advice{background:#12261a}
svg text{fill:#9da7b3}}
"""
_WIDTH: Final = 720
_BAR: Final = 26
_LEFT: Final = 210


def page(title: str, found: Findings) -> str:
    """Return the page. Every text of the log in it is escaped."""
    advice = "<p>No single change is worth a tenth of a point.</p>"
    if found.pays_most is not None:
        best = found.pays_most
        advice = (
            f'<p class="advice">The change that pays most: {escape(best.words)}: '
            f"<b>{found.exact:.1%} → {best.rate:.1%}</b> of requests are hits.</p>"
        )
    bypassed = "".join(f"<li>{escape(why)}: {number:,}</li>" for why, number in sorted(found.bypassed.items()))
    summary = (
        f'<p><span class="big">{found.exact:.1%}</span> of {found.requests:,} requests repeat an earlier one exactly; '
        f"<b>{found.best:.1%}</b> do if what varies without meaning is left out.</p>"
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        summary,
        advice,
        "<h2>What varies without meaning</h2>",
        _bars(found.exact, found.changes),
        "<h2>With each field left out of the key</h2>",
        _bars(found.exact, found.without),
    ]
    if found.similar is not None:
        parts += ["<h2>Answers to similar questions</h2>", _similar(found.exact, found.similar)]
    if found.ttls:
        parts += ["<h2>By ttl</h2>", _line(found.ttls, duration), _table(found.ttls, duration)]
    parts += ["<h2>By memory of the store</h2>", _line(found.sizes, size), _table(found.sizes, size)]
    if bypassed:
        parts.append(f"<h2>Never from a cache</h2><ul>{bypassed}</ul>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _similar(now: float, found: SimilarFound) -> str:
    row = ""
    if found.known:
        row = (
            "<table><tr><th></th><th>hits</th><th>gain</th><th>error</th></tr>"
            f"<tr><td>with similar answers</td><td>{now + found.gain:.1%}</td><td>{found.gain * 100:+.1f} points</td>"
            f"<td>{escape(found.error_words)}</td></tr></table>"
        )
    return f"{row}<p>{escape(found.words)}</p>"


def _bars(now: float, changes: Sequence[Change]) -> str:
    rows = []
    room = _WIDTH - _LEFT - 70
    for number, one in enumerate(changes):
        top = number * _BAR
        rows.append(
            f'<text x="{_LEFT - 8}" y="{top + 17}" text-anchor="end">{escape(one.name)}</text>'
            f'<rect x="{_LEFT}" y="{top + 4}" width="{room * one.rate:.1f}" height="16" fill="#4493f8"/>'
            f'<rect x="{_LEFT}" y="{top + 4}" width="{room * min(now, one.rate):.1f}" height="16" fill="#8c959f"/>'
            f'<text x="{_LEFT + room * one.rate + 6:.1f}" y="{top + 17}">{one.rate:.1%}</text>'
        )
    height = max(1, len(changes)) * _BAR + 6
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="hit rates">{"".join(rows)}</svg>'


def _line(points: Sequence[Point], shown: Shown) -> str:
    step = (_WIDTH - 80) / max(1, len(points) - 1)
    places = [(40 + number * step, 180 - 150 * one.rate) for number, one in enumerate(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#4493f8"/>'
        f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{one.rate:.0%}</text>'
        f'<text x="{x:.1f}" y="200" text-anchor="middle">{escape(shown(one.at))}</text>'
        for (x, y), one in zip(places, points, strict=True)
    )
    line = f'<polyline points="{path}" fill="none" stroke="#4493f8" stroke-width="2"/>'
    return f'<svg viewBox="0 0 {_WIDTH} 210" role="img" aria-label="hit rate">{line}{dots}</svg>'


def _table(points: Sequence[Point], shown: Shown) -> str:
    rows = "".join(
        f"<tr><td>{escape(shown(one.at))}</td><td>{one.rate:.1%}</td><td>{one.tokens_saved:,}</td>"
        f"<td>{'' if one.dollars_saved is None else f'{one.dollars_saved:,.2f}'}</td></tr>"
        for one in points
    )
    return f"<table><tr><th></th><th>hits</th><th>tokens saved</th><th>US$ saved</th></tr>{rows}</table>"


def duration(seconds: float) -> str:
    """Return seconds for people."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if length <= seconds < float("inf"):
            return f"{seconds / length:g} {unit}"
    return "for ever"


def size(number: float) -> str:
    """Return bytes for people."""
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:g} {unit}"
    return f"{number / 1024:g} TiB"
