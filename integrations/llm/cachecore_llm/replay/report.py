"""The report of a replay: a table for people, JSON for machines."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cachecore_llm.cost.ledger import Totals
from cachecore_llm.replay.run import Tally, percentile

_SHOWN_BAD_LINES: Final = 10


@dataclass(frozen=True, slots=True)
class Report:
    """One replay and the conditions it ran under."""

    log: str
    backend: str
    """Where the answers are kept, without passwords."""
    provider: str
    simulated: bool
    speed: float
    """By how much the simulated waiting was shortened; 1 with a real provider."""
    concurrency: int
    seconds: float
    provider_calls: int
    ignored_fields: dict[str, int]
    tally: Tally
    not_stored: dict[str, int]
    """Answers that were not stored, by reason."""
    saved: Totals
    """The cost of the answers that came without a call: tokens and dollars when they were made."""
    forms: dict[str, int] = field(default_factory=dict)
    """Requests by the form of their record."""

    @property
    def answered(self) -> int:
        """Return the requests that got an answer."""
        return sum(self.tally.answers.values())

    @property
    def shared(self) -> int:
        """Return the answers that were neither cached nor cost a call: another caller asked the same just then."""
        own = self.tally.answers["miss"] + sum(self.tally.failures.values())
        return self.tally.answers["joined"] + max(0, own - self.provider_calls)

    @property
    def avoided(self) -> int:
        """Return the provider calls that a client without a cache would have made besides."""
        return max(0, self.tally.requests - self.provider_calls)

    @property
    def dollars(self) -> float | None:
        """Return the US dollars saved; None if a price is unknown."""
        return None if self.saved.unpriced else self.saved.dollars

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data; durations are seconds."""
        tally = self.tally
        return {
            "log": self.log,
            "backend": self.backend,
            "provider": self.provider,
            "simulated": self.simulated,
            "speed": self.speed,
            "concurrency": self.concurrency,
            "seconds": self.seconds,
            "requests": tally.requests,
            "hits": tally.hits,
            "hit_rate": tally.hit_rate,
            "shared": self.shared,
            "stale": tally.answers["stale"],
            "similar": tally.answers["similar"],
            "failed": dict(tally.failures),
            "provider_calls": self.provider_calls,
            "provider_calls_avoided": self.avoided,
            "saved": {
                "input_tokens": self.saved.input_tokens,
                "output_tokens": self.saved.output_tokens,
                "dollars": self.dollars,
                "seconds": tally.saved_seconds,
            },
            "latency": {"hit": _latency(tally.hit_latencies), "miss": _latency(tally.miss_latencies)},
            "rejected": self.not_stored,
            "bad_lines": tally.bad_lines,
            "bad_lines_by_reason": dict(tally.reasons),
            "forms": self.forms,
            "first_bad_lines": [{"line": number, "problem": problem} for number, problem in tally.first_bad_lines],
            "ignored_fields": self.ignored_fields,
        }

    def show(self, console: Console) -> None:
        """Print the table, and the defects of the log."""
        tally = self.tally
        table = Table(title=escape(self.log), title_justify="left", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_row("requests", f"{tally.requests:,}")
        table.add_row("hits", f"{tally.hits:,}")
        table.add_row("hit rate", f"[bold green]{tally.hit_rate:.1%}[/]")
        if self.shared:
            table.add_row("shared with one asked at the same time", f"{self.shared:,}")
        for status in ("stale", "similar"):
            if tally.answers[status]:
                table.add_row(f"last resort: {status}", f"{tally.answers[status]:,}")
        table.add_row("provider calls made", f"{self.provider_calls:,}")
        table.add_row("provider calls avoided", f"{self.avoided:,}")
        if self.saved.calls:
            tokens = f"{self.saved.input_tokens:,} + {self.saved.output_tokens:,}"
            table.add_row("tokens saved, in + out", f"[green]{tokens}[/]")
            if self.dollars is not None:
                table.add_row("money saved, US$", f"[green]{self.dollars:.4f}[/]")
            table.add_row("waiting saved by hits", f"[green]{tally.saved_seconds:.1f} s[/]")
        for name, values in (("hit", tally.hit_latencies), ("miss", tally.miss_latencies)):
            table.add_row(f"latency of a {name}, p50", _readable(percentile(values, 0.50)))
            table.add_row(f"latency of a {name}, p99", _readable(percentile(values, 0.99)))
        for why, number in sorted(self.not_stored.items()):
            table.add_row(f"[yellow]rejected: {why.replace('_', ' ')}[/]", f"{number:,}")
        for why, number in sorted(tally.failures.items()):
            table.add_row(f"[red]without an answer: {escape(why)}[/]", f"{number:,}")
        if tally.bad_lines:
            table.add_row("[yellow]bad lines skipped[/]", f"{tally.bad_lines:,}")
            for why, number in tally.reasons.most_common(_SHOWN_BAD_LINES):
                table.add_row(f"[yellow]  {escape(why)}[/]", f"{number:,}")
        table.add_row("time", f"{self.seconds:.1f} s")
        console.print(table)
        for number, problem in sorted(tally.first_bad_lines[:_SHOWN_BAD_LINES]):
            console.print(f"line {number} skipped: {problem}", markup=False, highlight=False)
        if tally.bad_lines > _SHOWN_BAD_LINES:
            console.print(f"and {tally.bad_lines - _SHOWN_BAD_LINES:,} more lines; --json lists them")
        for name, number in sorted(self.ignored_fields.items()):
            console.print(
                f"the field {name!r} ({number:,} lines) is not part of the requests; --param {name} makes it one",
                markup=False,
                highlight=False,
            )


def _latency(values: array[float]) -> dict[str, float | None]:
    return {"p50": percentile(values, 0.50), "p99": percentile(values, 0.99)}


def _readable(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
