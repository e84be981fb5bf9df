"""Calls that wait together are one statement, in which each key is once."""

from __future__ import annotations

import asyncio

from cachecore.contract.groups import Columns, Groups


class Sender:
    """Sends statements when told to."""

    def __init__(self) -> None:
        self.groups = Groups[Columns]()
        self.sent: list[Columns] = []
        self.go = asyncio.Event()

    def join(self, statement: bytes, *row: object) -> asyncio.Task[Columns]:
        return self.groups.join(statement, row, lambda columns: asyncio.create_task(self._send(statement, columns)))

    async def _send(self, statement: bytes, columns: Columns) -> Columns:
        await self.go.wait()
        self.groups.close(statement)
        self.sent.append([list(column) for column in columns])
        return columns


async def test_what_waits_together_is_one_statement() -> None:
    sender = Sender()
    tasks = [sender.join(b"a", "k", 1), sender.join(b"a", "l", 2), sender.join(b"b", "k", 3)]
    assert tasks[0] is tasks[1] is not tasks[2]
    sender.go.set()
    await asyncio.gather(*tasks)
    assert sender.sent == [[["k", "l"], [1, 2]], [["k"], [3]]]


async def test_a_statement_that_is_sent_takes_no_more() -> None:
    sender = Sender()
    sender.go.set()
    await sender.join(b"a", "k")
    await sender.join(b"a", "l")
    assert sender.sent == [[["k"]], [["l"]]]


async def test_a_key_is_once_in_a_statement_and_rows_are_bounded() -> None:
    sender = Sender()
    tasks = [sender.join(b"a", "k", number) for number in range(2)]
    assert tasks[0] is not tasks[1]
    assert len({sender.join(b"c", str(number)) for number in range(600)}) == 3


async def test_a_statement_that_failed_before_it_was_sent_takes_no_more() -> None:
    sender = Sender()
    failed = sender.join(b"a", "k")
    failed.cancel()
    await asyncio.wait([failed])
    assert sender.join(b"a", "l") is not failed
