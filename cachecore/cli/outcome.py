"""How a command ends: its exit status, what is printed, and what Ctrl-C leaves behind.

0    it did what it was asked
1    the answer is no: nothing was found, two things differ, something needs attention, a part was left out,
     a disk is full
2    the command line, a file or a setting is wrong; nothing was done
3    the store does not answer, or stopped answering on the way
4    the question before a change was answered with no; nothing was done
130  interrupted (Ctrl-C); what was done until then is said
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cachecore.contract.errors import BackendError, CacheError, InvalidationPending

OK: Final = 0
NO: Final = 1
USAGE: Final = 2
STORE: Final = 3
DECLINED: Final = 4
INTERRUPTED: Final = 130

WORDS: Final = {OK: "ok", NO: "no", USAGE: "usage", STORE: "store", DECLINED: "declined", INTERRUPTED: "interrupted"}

_WIDEST: Final = 100_000
"""Columns of a table, at most."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work of a command ended."""

    status: int
    problem: str | None = None
    """Why it is not 0, for people."""


def run(work: Coroutine[Any, Any, int | Ended | None]) -> Ended:
    """Run `work` and return how it ended; errors of this library do not leave it.

    It returns a status (None: 0), or tells the problem with it.
    """
    try:
        status = asyncio.run(work)
        return status if isinstance(status, Ended) else Ended(status or OK)
    except KeyboardInterrupt:
        return Ended(INTERRUPTED, "interrupted")
    except InvalidationPending as error:
        # What it says of delivery is for processes that go on.
        return Ended(STORE, f"the store did not acknowledge ({error.reason}): run the command again once it answers")
    except BackendError as error:
        return Ended(STORE, f"the store does not answer: {error.reason}")
    except CacheError as error:
        return Ended(USAGE, str(error))
    except OSError as error:
        return Ended(USAGE, f"{error.filename}: {error.strerror}" if error.filename else str(error))


def conclude(ended: Ended, facts: Mapping[str, Any], show: Callable[[], None], *, as_json: bool) -> NoReturn:
    """Print what a command found and how it ended, and end the process with its status.

    With `as_json` one object is printed: `facts`, `ended` (a word for the status) and `problem`.
    """
    if as_json:
        said = {**facts, "ended": WORDS[ended.status], "problem": ended.problem}
        typer.echo(json.dumps(said, ensure_ascii=False, indent=2, default=readable))
    else:
        if ended.status in (OK, NO, STORE, INTERRUPTED):
            show()
        if ended.problem is not None:
            typer.echo(ended.problem, err=True)
    raise typer.Exit(ended.status)


def readable(value: object) -> Any:
    """Return what JSON has no form for: bytes as the JSON that they are, else as text, else as hexadecimal digits.

    The body of an answer is bytes; as digits it could not be read.
    """
    if not isinstance(value, bytes):
        return str(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return text if all(one.isprintable() or one in "\n\r\t" for one in text) else value.hex()


def printer(*, stderr: bool = False) -> Console:
    """Return a console that takes no text of a store for markup, and no `:b:` in a key for an emoji."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table with one line for each row, however narrow the terminal is.

    A key that is broken into several lines can be neither copied nor searched for. A terminal wraps such a line itself.
    """
    needed = Measurement.get(console, console.options.update(width=_WIDEST), table).maximum
    console.width = max(console.width, needed)  # it has no say where the terminal breaks a line
    console.print(table)


def shown(text: str) -> str:
    """Return text of a store as it may go to a terminal: what is not printable is escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def refuse(problem: str, *, as_json: bool = False) -> NoReturn:
    """End with the status for a wrong command line."""
    conclude(Ended(USAGE, problem), {}, lambda: None, as_json=as_json)


def asked(question: str, *, yes: bool) -> Ended:
    """Return OK if a person says yes to `question`, or has said `--yes`. Without a terminal the answer is no."""
    if yes:
        return Ended(OK)
    if not sys.stdin.isatty():
        typer.echo(f"{question} Nothing was done: this is no terminal, so say --yes.", err=True)
        return Ended(DECLINED)
    try:
        return Ended(OK if typer.confirm(question, err=True) else DECLINED)
    except typer.Abort as error:  # Ctrl-C, or Ctrl-D for the end of the input
        typer.echo(err=True)
        return (
            Ended(INTERRUPTED, "interrupted") if isinstance(error.__context__, KeyboardInterrupt) else Ended(DECLINED)
        )


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end a loop between two steps, so that what was found so far can be shown.

    The value tells whether there was one. The second one ends the process at once. Outside the main thread, where there
    are no signals, it is never.
    """
    seen: list[int] = []

    def heed(number: int, frame: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, heed)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress(what: str, total: float | None, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show how far something has come on stderr: live on a terminal, nothing elsewhere.

    The value is a function that takes how far it has come now.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
    task = bar.add_task(what, total=total)
    with bar:
        yield lambda done: bar.update(task, completed=done)


def print_others(console: Console, prefixes: Sequence[str]) -> None:
    """Print the prefixes under which there are answers, where there is none under the one that was given."""
    for name in prefixes:
        console.print(f"there are answers under --prefix {shown(name)}")


def size_of(number: int) -> str:
    """Return a size for people."""
    size = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def span_of(seconds: float | None) -> str:
    """Return a duration for people; `for ever` for None."""
    if seconds is None:
        return "for ever"
    sign, left = ("-" if seconds < 0 else ""), abs(seconds)
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if left >= size:
            return f"{sign}{left / size:.1f} {unit}"
    return f"{sign}{left:.1f} s"
