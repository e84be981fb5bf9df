"""A connection whose writes can be held, so that head and body of a whole answer are sent as one packet.

uvicorn writes them one after the other. Each write is a system call, and it wakes the client, which can do nothing with
a head alone: together they were the largest part of a hit.
"""

from __future__ import annotations

import asyncio
from typing import Any


class HeldTransport(asyncio.Transport):
    """A transport over that of the event loop. Between `hold` and `release` nothing is sent."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._held: list[bytes] | None = None

    def hold(self) -> None:
        """Keep bytes written from now on until `release`, `close` or `abort`."""
        self._held = []

    def release(self) -> None:
        """Send the held bytes, in one write."""
        held, self._held = self._held, None
        if held:
            self._transport.write(b"".join(held))

    def write(self, data: Any) -> None:
        """Send `data`, or hold it."""
        if self._held is None:
            self._transport.write(data)
        else:
            self._held.append(data)

    def close(self) -> None:
        """Close the connection after all written bytes, the held ones included."""
        self.release()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._held = None
        self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or will be."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait for the client."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._held or ()))

    def pause_reading(self) -> None:
        """Take no more from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the client again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact of the event loop's transport, such as the socket."""
        return self._transport.get_extra_info(name, default)
