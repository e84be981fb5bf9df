"""The pytest fixture `llm_cache`: an application's tests run on recorded answers, without a network or a key.

    def test_answer(llm_cache):
        client = OpenAI(api_key="any", http_client=llm_cache.client())

`pytest --llm-cache=record` asks the provider for what is not recorded yet and keeps it in the folder `llm_answers`
beside the test, to be committed; `replay`, which is the default, asks nobody, and a request without a recorded answer
fails its test; `off` asks the provider and keeps nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from cachecore_llm.sdk.libraries import LibraryName

_FOLDER: Final = "llm_answers"
_LONGEST: Final = 120
_MODES: Final = ("record", "replay", "off")


class RecordedAnswers:
    """The HTTP clients of one test."""

    def __init__(self, path: Path, mode: str) -> None:
        from cachecore_llm.sdk.cassette import Cassette

        self.mode = mode
        """`record`, `replay` or `off`."""
        self.path = path
        """The file of the recorded answers."""
        self._cassette = Cassette(path) if mode != "off" else None
        self._clients: list[Any] = []

    def client(self, *, library: LibraryName | None = None, transport: Any = None, **options: Any) -> Any:
        """Return an `httpx2.Client` (or `httpx.Client`) for `OpenAI(http_client=…)` or `Anthropic(http_client=…)`.

        Args:
            library: which of the two; the newer SDKs take `httpx2`.
            transport: asked while recording, in place of the network.
            options: of the client that asks the provider, such as `verify`.
        """
        from cachecore_llm.sdk.recording import Recorder, RecordingTransport
        from cachecore_llm.sdk.upstream import Upstream, timeout

        chosen, upstream = self._way(library, Upstream, transport, options)
        recorder = self._recorder(Recorder)
        made = upstream if recorder is None else RecordingTransport(chosen, recorder, upstream)
        client = chosen.module.Client(transport=made, timeout=timeout(chosen), follow_redirects=True)
        self._clients.append(client)
        return client

    def async_client(self, *, library: LibraryName | None = None, transport: Any = None, **options: Any) -> Any:
        """Return an `httpx2.AsyncClient` (or `httpx.AsyncClient`); as `client`. Closing it is the caller's."""
        from cachecore_llm.sdk.recording import AsyncRecordingTransport, Recorder
        from cachecore_llm.sdk.upstream import AsyncUpstream, timeout

        chosen, upstream = self._way(library, AsyncUpstream, transport, options)
        recorder = self._recorder(Recorder)
        made = upstream if recorder is None else AsyncRecordingTransport(chosen, recorder, upstream)
        return chosen.module.AsyncClient(transport=made, timeout=timeout(chosen), follow_redirects=True)

    def close(self) -> None:
        """Close the clients and write what was recorded."""
        for client in self._clients:
            client.close()
        if self._cassette is not None and self.mode == "record":
            self._cassette.save()

    def _way(self, name: LibraryName | None, kind: Any, transport: Any, options: dict[str, Any]) -> tuple[Any, Any]:
        from cachecore_llm.sdk.libraries import library

        chosen = library(name)
        return chosen, kind(chosen, transport, **options)

    def _recorder(self, kind: Any) -> Any:
        return None if self._cassette is None else kind(self._cassette, self.mode)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--llm-cache`, and `llm_cache` for the project's settings."""
    group = parser.getgroup("cachecore")
    group.addoption("--llm-cache", choices=_MODES, help="recorded answers of LLMs: record, replay (default) or off")
    parser.addini("llm_cache", "the default of --llm-cache", default="replay")


def _name_of(test: Any) -> str:
    """Return a name for the file of a test, one that no other test beside it has."""
    classes = (part.name for part in test.listchain() if isinstance(part, pytest.Class))
    own = ".".join([test.path.stem, *classes, test.name]).replace("[", "_").replace("]", "_")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", own)
    if name == own and len(name) <= _LONGEST:
        return name
    # Arguments of tests that differ in letters which no file's name has.
    return f"{name[:_LONGEST]}-{hashlib.blake2b(own.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


@pytest.fixture
def llm_cache(request: pytest.FixtureRequest) -> Iterator[RecordedAnswers]:
    """Return HTTP clients whose answers are recorded for this test."""
    mode = request.config.getoption("--llm-cache") or request.config.getini("llm_cache")
    if mode not in _MODES:
        raise pytest.UsageError(f"llm_cache must be one of {', '.join(_MODES)}, not {mode!r}")
    answers = RecordedAnswers(request.path.parent / _FOLDER / f"{_name_of(request.node)}.json", mode)
    yield answers
    answers.close()
