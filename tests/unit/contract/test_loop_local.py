"""State of event loops goes with its loop, closed or not, and with its table."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from cachecore.contract.loop_local import LoopLocal


class State:
    """What refers to its loop, as tasks and transports do."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop


def test_each_loop_has_its_own() -> None:
    table: LoopLocal[State] = LoopLocal()
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    assert table.get(first) is None
    one, two = State(first), State(second)
    table.set(first, one)
    table.set(second, two)
    assert table.get(first) is one
    assert table.get(second) is two
    assert table.items() == [(first, one), (second, two)]
    assert table.pop(first) is one
    assert table.pop(first) is None
    assert table.items() == [(second, two)]
    first.close()
    second.close()


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_loop_dropped_unclosed_is_freed_with_its_state() -> None:
    table: LoopLocal[State] = LoopLocal()
    loop = asyncio.new_event_loop()
    state = State(loop)
    table.set(loop, state)
    ends: list[weakref.ref[object]] = [weakref.ref(loop), weakref.ref(state)]
    del loop, state
    gc.collect()
    assert [end() for end in ends] == [None, None]
    assert not table


def test_state_of_a_closed_loop_goes_when_another_loop_comes() -> None:
    table: LoopLocal[State] = LoopLocal()
    closed, loop = asyncio.new_event_loop(), asyncio.new_event_loop()
    table.set(closed, State(closed))
    closed.close()
    table.set(loop, State(loop))
    assert [owner for owner, _ in table.items()] == [loop]
    assert table.get(closed) is None
    loop.close()


def test_table_that_is_dropped_frees_the_states_in_their_loops() -> None:
    loop = asyncio.new_event_loop()
    table: LoopLocal[State] = LoopLocal()
    state = State(loop)
    table.set(loop, state)
    end = weakref.ref(state)
    del table, state
    gc.collect()
    assert end() is not None  # until the loop turns: its tasks and transports are no other thread's to end
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert end() is None
    loop.close()


def test_what_was_forgotten_stays_with_its_loop() -> None:
    """As in a forked child: the parent's state is neither found nor ended."""
    loop = asyncio.new_event_loop()
    table: LoopLocal[State] = LoopLocal()
    state = State(loop)
    table.set(loop, state)
    end = weakref.ref(state)
    table.forget()
    assert table.get(loop) is None
    assert not table
    del state, table
    gc.collect()
    loop.run_until_complete(asyncio.sleep(0))
    assert end() is not None
    loop.close()
