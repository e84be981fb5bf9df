"""Tickets are void for what changed and for nothing else, found by key, and gone with whoever held them."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cachecore.invalidation import tickets as module
from cachecore.invalidation.tickets import Ticket, Tickets


def opened(tickets: Tickets, *keys: str) -> Ticket:
    ticket = Ticket(keys)
    tickets.open(ticket)
    return ticket


def test_change_voids_what_covers_it_and_nothing_else() -> None:
    tickets = Tickets()
    first, second, third = opened(tickets, "a", "b"), opened(tickets, "b", "c"), opened(tickets, "d")
    tickets.void(["b", "x"])
    assert [first.void, second.void, third.void] == [{"b"}, {"b"}, None]
    assert first.covers("a")
    assert not first.covers("b")
    tickets.void(["a", "b"])
    assert [first.void, second.void, third.void] == [{"a", "b"}, {"b"}, None]
    tickets.void_all()
    assert [first.void, second.void, third.void] == [{"a", "b"}, {"b", "c"}, {"d"}]


def test_writes_of_one_key_void_each_other_for_that_key() -> None:
    tickets = Tickets()
    first = tickets.open_write(["a", "b"])
    second = tickets.open_write(["b", "c"])
    assert (first.void, second.void) == ({"b"}, {"b"})
    tickets.close_write(second)
    third = tickets.open_write(["c"])
    assert third.void is None  # the other has ended
    assert second.void == {"b", "c"}  # but not been let go of: it must not keep what it wrote


def test_read_that_begins_during_a_write_keeps_nothing() -> None:
    tickets = Tickets()
    write = tickets.open_write(["a"])
    read = opened(tickets, "a", "b")
    assert read.void is None
    tickets.close_write(write)
    assert read.void == {"a"}
    assert write.void is None


def test_tickets_nobody_holds_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: memory is bounded by the tickets that are held, whatever number was ever opened."""
    monkeypatch.setattr(module, "_FEW", 64)
    tickets = Tickets()
    tickets._look_at = 64
    held = [opened(tickets, f"held {number}") for number in range(10)]
    for number in range(10_000):
        opened(tickets, f"key {number}", "always")
    gc.collect()
    assert tickets.under_way == len(held)
    assert len(tickets._index) <= 64 + 10
    assert len(tickets._index["always"]) <= 8
    tickets.void_all()
    assert all(ticket.void for ticket in held)


def test_what_a_change_costs_does_not_depend_on_what_else_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand writes at once would otherwise look at each other a million times."""
    tickets = Tickets()
    cancelled: list[str] = []
    monkeypatch.setattr(Ticket, "cancel", lambda self, keys: cancelled.extend(keys))
    writes = [tickets.open_write([f"key {number}"]) for number in range(1000)]
    for write in writes:
        tickets.close_write(write)
    assert cancelled == []
    batch = tickets.open_write([f"key {number}" for number in range(1000)])
    tickets.close_write(batch)
    assert len(cancelled) == 2000  # those still held, at the beginning and at the end


def test_threads_miss_no_change() -> None:
    """A ticket that was open when a key changed is void for it, whichever thread did either."""
    tickets = Tickets()
    version = {f"k{number}": 0 for number in range(20)}
    seen: list[tuple[Ticket, str, int]] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(500):
            key = f"k{chance.randrange(20)}"
            seen.append((opened(tickets, key), key, version[key]))

    def change() -> None:
        for number in range(4000):
            key = f"k{number % 20}"
            version[key] += 1
            tickets.void([key])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)] + [threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [key for ticket, key, then in seen if version[key] > then and ticket.covers(key)]


def test_write_that_ends_within_a_change_of_the_index_does_not_wait_for_itself() -> None:
    """A garbage collection may end a write that was abandoned with its loop wherever memory is asked for."""
    tickets = Tickets()
    abandoned = tickets.open_write(["a"])

    class Keys(list[str]):
        def __iter__(self) -> Iterator[str]:
            tickets.close_write(abandoned)
            return super().__iter__()

    opening = threading.Thread(target=lambda: tickets.open(Ticket(Keys(["a", "b"]))), daemon=True)
    opening.start()
    opening.join(10)
    assert not opening.is_alive()


def test_tickets_of_one_key_cost_the_same_however_many_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stamp of a namespace is read by everybody: ten thousand computations under way must not slow down a read."""
    looked_at = 0
    real = module._live

    def live(references: list[Any]) -> list[Any]:
        nonlocal looked_at
        looked_at += len(references)
        return real(references)

    monkeypatch.setattr(module, "_live", live)
    tickets = Tickets()
    held = [opened(tickets, f"key {number}", "stamp") for number in range(3000)]
    assert looked_at < 4 * 3000
    for number in range(3000):
        opened(tickets, f"other {number}", "stamp")
    assert looked_at < 8 * 6000
    tickets.void(["stamp"])
    assert all(ticket.void == {"stamp"} for ticket in held)
