"""`httpx2` and `httpx`: two libraries of one shape. Newer SDKs stand on the first, older ones on the second."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from typing import Any, Final, Literal

from cachecore.contract.errors import OptionsError

LibraryName = Literal["httpx2", "httpx"]

_NAMES: Final[tuple[LibraryName, ...]] = ("httpx2", "httpx")


class Library:
    """One of the two, imported, with the classes of bodies that its clients take.

    The attributes are typed `Any`: neither library need be installed, and their classes are equal in shape only.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

        class AsyncBody(module.AsyncByteStream):  # type: ignore[misc]  # the base is known at run time only
            """The body of an answer, from an iterator of bytes."""

            def __init__(self, chunks: AsyncIterator[bytes]) -> None:
                self._chunks = chunks

            async def __aiter__(self) -> AsyncIterator[bytes]:
                async for chunk in self._chunks:
                    yield chunk

            async def aclose(self) -> None:
                close = getattr(self._chunks, "aclose", None)
                if close is not None:
                    await close()

        class SyncBody(module.SyncByteStream):  # type: ignore[misc]  # as above
            """The body of an answer, from an iterator of bytes."""

            def __init__(self, chunks: Iterator[bytes]) -> None:
                self._chunks = chunks

            def __iter__(self) -> Iterator[bytes]:
                yield from self._chunks

            def close(self) -> None:
                close = getattr(self._chunks, "close", None)
                if close is not None:
                    close()

        self.async_body: Any = AsyncBody
        self.sync_body: Any = SyncBody

    def async_transport(self, kind: type) -> Any:
        """Return `kind` as a class of the library's own transports."""
        return type(kind.__name__, (kind, self.module.AsyncBaseTransport), {"__doc__": kind.__doc__})

    def sync_transport(self, kind: type) -> Any:
        """Return `kind` as a class of the library's own transports for threads."""
        return type(kind.__name__, (kind, self.module.BaseTransport), {"__doc__": kind.__doc__})


def library(name: LibraryName | None = None) -> Library:
    """Return the library of that name; without one, that on which the installed SDKs stand, `httpx2` before `httpx`.

    Raises:
        OptionsError: there is no such library.
        ImportError: it is not installed.
    """
    if name is None:
        name = next((one for one in _wanted() if importlib.util.find_spec(one) is not None), None)
        if name is None:
            raise ImportError("a cached client needs httpx2 or httpx; the OpenAI and Anthropic SDKs bring one along")
    elif name not in _NAMES:
        raise OptionsError(f"library must be 'httpx2' or 'httpx', not {name!r}")
    return _imported(name)


def _wanted() -> list[LibraryName]:
    """Return the libraries, those first that an installed SDK requires."""
    required: set[str] = set()
    for sdk in ("openai", "anthropic"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            required.update(re.split(r"[^\w-]", one, maxsplit=1)[0] for one in importlib.metadata.requires(sdk) or ())
    return sorted(_NAMES, key=lambda name: name not in required)


@lru_cache
def _imported(name: LibraryName) -> Library:
    try:
        return Library(importlib.import_module(name))
    except ImportError as missing:
        raise ImportError(f"library={name!r} is not installed: pip install {name}") from missing
