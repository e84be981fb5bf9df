"""A backend that breaks a promise fails the suite, and the failure names the promise."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from cachecore.contract import CacheBackend
from cachecore.testing import conformance
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import harness as conformance_harness
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from tests.conformance import broken

# Which backend, and a promise that some check must name.
BREAKS = {
    broken.Unordered: "get_many follows the order of its keys",
    broken.NotBytes: "get_many returns bytes, not bytearray",
    broken.WholeSeconds: "a value with a ttl of 0.3 s is gone after 0.5 s",
    broken.FirstDeadlineStays: "a second set has its own deadline",
    broken.ReadingProlongs: "reading a value does not move its deadline",
    broken.CountsWhatWasAsked: "delete_many counts each live key once",
    broken.AnyCase: "each key has a value of its own",
    broken.SwapsInTwoSteps: "of many swaps at once from one value, one succeeds",
    broken.LocksSwapsAlone: "a swap does not undo a set_many that came between",
    broken.EmptyIsAbsent: "an empty value is not absent",
    broken.SwapKeepsTheDeadline: "the value of a swap lives for the ttl of that swap",
    broken.LeavesTombstones: "scan does not yield a key that a swap deleted",
    broken.ScansByGlob: "scan takes its prefix literally",
    broken.ExtendShortens: "extend moves an end no further than asked, and never back",
    broken.AnswersWhenClosed: "the closed backend answered",
    broken.RoundsLongBatches: "no value is lost",
    broken.EndsOfItsOwn: "values with ttl=None and with a ttl of 400 days are there after a year",
    broken.LongestEnd: "values with ttl=None and with a ttl of 400 days are there after a year",
    broken.MillisecondClock: "the store's clock is Unix seconds",
    broken.ClosesOnce: "the second aclose is no error",
    broken.DriversErrorWhenClosed: "get_many after aclose raises BackendError, not ValueError",
    broken.RefusesSomeKeys: "Colons, slashes, dots and escapes have no meaning",
    broken.KeepsItsLock: "After callers were cancelled at any step, others still get their own answers: a call of the",
}


class Memory:
    """A broken backend on a clock that is moved by hand."""

    ttl_rounding = 0.0

    def __init__(self, kind: Any) -> None:
        self.clock = FakeClock()
        self.backend: CacheBackend = kind(clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance


class File(Memory):
    """A broken backend beside a whole one on one file."""

    def __init__(self, path: Path, kind: Any) -> None:
        self.clock = FakeClock()
        self._path = str(path / "cache.db")
        self.backend = kind(self._path, clock=self.clock)
        self.opened: list[CacheBackend] = [self.backend]

    async def another(self) -> CacheBackend:
        self.opened.append(SQLiteBackend(self._path, options=SQLiteOptions(timeout=20), clock=self.clock))
        return self.opened[-1]


async def said(check: conformance.Check, harness: conformance.Harness) -> str:
    """Return what a check says of a backend; nothing if it finds nothing."""
    try:
        await check(harness)
    except AssertionError as failure:
        return str(failure) or f"{check.__name__} fails without a word"
    return ""


@pytest.mark.parametrize(("kind", "promise"), BREAKS.items(), ids=[kind.__name__ for kind in BREAKS])
async def test_a_broken_promise_is_named(kind: type[Any], promise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance_harness, "_CHECK_SECONDS", 5.0)
    failures = [text for check in conformance.CHECKS if (text := await said(check, Memory(kind)))]
    assert any(promise in text for text in failures), failures
    assert not [text for text in failures if text.endswith("without a word")]


async def test_a_scan_may_yield_a_key_more_than_once() -> None:
    """The contract says at least once: Redis' own does so while a table grows."""
    failures = [text for check in conformance.CHECKS if (text := await said(check, Memory(broken.RepeatsItself)))]
    assert failures == []


@pytest.mark.parametrize(
    ("kind", "check", "promise"),
    [
        (
            broken.ForgetsSwaps,
            conformance.feeds.check_feed_tells_every_kind_of_change,
            "each change below the prefix",
        ),
        (
            broken.RemembersReads,
            conformance.values.check_a_read_sees_what_another_backend_wrote,
            "a read sees what another backend wrote since the last read",
        ),
    ],
)
async def test_a_promise_broken_between_two_backends_is_named(
    tmp_path: Path, kind: type[Any], check: conformance.Check, promise: str
) -> None:
    harness = File(tmp_path, kind)
    text = await said(check, harness)
    for backend in harness.opened:
        await backend.aclose()
    assert promise in text


def wordless(source: str) -> list[str]:
    """Return the assertions in `source` that would fail without saying which promise is broken."""
    found = []
    for node in ast.walk(ast.parse(source)):
        message: ast.expr | None = ast.Constant("not an assertion")
        match node:
            case ast.Assert(msg=message):
                pass
            case ast.Raise(exc=ast.Name(id="AssertionError")):
                message = None
            case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"), args=arguments)):
                message = arguments[0] if arguments else None
            case ast.Call(func=ast.Name(id="same" | "holds" as name), args=arguments):
                message = arguments[-1] if len(arguments) == {"same": 3, "holds": 2}[name] else None
        if message is None or (isinstance(message, ast.Constant) and not str(message.value or "").strip()):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")  # type: ignore[attr-defined] # all four have one
    return found


@pytest.mark.parametrize(
    "line",
    [
        "assert x",
        "assert x, ''",
        "raise AssertionError",
        "raise AssertionError()",
        "raise AssertionError('')",
        "same(got, wanted)",
        "holds(x)",
        "holds(x, '  ')",
    ],
)
def test_an_assertion_without_a_word_is_found(line: str) -> None:
    assert wordless(line) == [f"line 1: {ast.unparse(ast.parse(line))}"]


def test_no_assertion_of_the_suite_is_without_a_word() -> None:
    files = sorted(Path(conformance.__file__).parent.glob("*.py"))
    assert len(files) > 6
    assert {file.name: found for file in files if (found := wordless(file.read_text()))} == {}
    words = sum(file.read_text().count(name) for file in files for name in ("same(", "holds(", "raise AssertionError"))
    assert words > 120
