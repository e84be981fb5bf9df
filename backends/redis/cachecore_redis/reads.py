"""A read that needs no task: its place in a lane's queue makes the caller's answer of the reply, the moment it comes.

Reads are the hot path, and a task and a turn of the loop are a third of what one costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cachecore.errors import BackendError
from cachecore.prompt import Prompt
from cachecore_redis import commands
from cachecore_redis.failures import translate
from cachecore_redis.lane import Lane, Reply

if TYPE_CHECKING:
    from cachecore_redis.node import Node

Values = list[bytes | None]


class Reading:
    """One GET or MGET under way. The lane treats it as the future of the reply; `future` is that of the values."""

    __slots__ = ("_keys", "_node", "future")

    def __init__(self, node: Node, keys: Sequence[str]) -> None:
        self.future: Prompt[Values] = Prompt(loop=asyncio.get_running_loop())
        self._node = node
        self._keys = keys

    def begin(self, lane: Lane) -> asyncio.Future[Values]:
        """Send the command over `lane` and return the future of its values."""
        lane.request_for(commands.get(self._keys), self)
        return self.future

    def done(self) -> bool:
        """Return whether nobody waits any more."""
        return self.future.done()

    def set_result(self, reply: Reply) -> None:
        """Take the reply."""
        values = self._node.large.noted(self._keys, reply)
        if type(values) is list:
            self.future.set_result(values)
        else:
            self.future.set_exception(self._node.refused("get_many", values))

    def set_exception(self, error: BaseException) -> None:
        """Take the loss of the lane. What the server closed is asked again on a new one, once, as every read is."""
        if isinstance(error, ConnectionResetError):
            self._node.behind(self._again())
        elif isinstance(error, OSError):
            failure = translate("get_many", error)
            failure.__cause__ = error
            self.future.set_exception(failure)
        else:
            self.future.set_exception(error)

    async def _again(self) -> None:
        try:
            reply = await self._node.read("get_many", commands.get(self._keys))
        except BackendError as error:
            if not self.done():
                self.future.set_exception(error)
        except asyncio.CancelledError:
            self.future.cancel()
            raise
        else:
            if not self.done():
                self.set_result(reply)
