"""A recorder of requests that an application switches on: a sample, in a bounded file, without prompts unless asked.

    recorder = Recorder("requests.jsonl", sample=0.01)
    cache.flow.recorder = recorder

`cachecore analyse requests.jsonl` reads it. The sample is one of questions, not of calls: all requests with the same
messages are in it or none is, so that rates are those of the whole. It never raises, and holds no call up for longer
than it takes to write a line.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from cachecore.contract.clock import Clock, SystemClock
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.options import MIB, Size, size
from cachecore.contract.protocols import Serializer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.operating.fingerprints import SYSTEM, Fingerprinter, Prints, parts_of
from cachecore_llm.replay.shapes import RECORDING
from cachecore_llm.wire import JsonObject

logger = logging.getLogger("cachecore.llm")

Keep = Literal["digests", "encrypted", "plain"]
FORM: Final = RECORDING
_VERSION: Final = 1
_RANGE: Final = float(1 << 64)


class Recorder:
    """Writes a sample of requests to `path`, and to `path` with `.1` behind it once the first half is full.

    Args:
        path: the file; an earlier one is gone on with.
        sample: the part of the questions that are recorded, over 0 and at most 1.
        max_bytes: of both files together.
        keep: `digests` of fields, keyed; whole requests, `encrypted` by `serializer`; or whole requests, `plain`.
        secret: of the digests. Recordings of several processes can be analysed together if they share one; without it,
            each has one of its own, which is kept nowhere.
        serializer: an `EncryptedSerializer`, for `keep="encrypted"`.
        clock: where time comes from.

    Raises:
        OptionsError: an argument is out of its limits.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample: float = 0.01,
        max_bytes: Size = 64 * MIB,
        keep: Keep = "digests",
        secret: bytes | None = None,
        serializer: Serializer | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 0 < sample <= 1:
            raise OptionsError(f"sample must be over 0 and at most 1, not {sample!r}")
        if keep not in ("digests", "encrypted", "plain"):
            raise OptionsError(f"keep must be 'digests', 'encrypted' or 'plain', not {keep!r}")
        if (keep == "encrypted") != (serializer is not None):
            raise OptionsError("keep='encrypted' and serializer=EncryptedSerializer(…) belong together")
        self.path = Path(path)
        self._half = size("max_bytes", max_bytes) // 2
        if self._half < 4096:
            raise OptionsError(f"max_bytes must be at least 8192, not {max_bytes!r}")
        self._sample, self._keep, self._serializer = sample, keep, serializer
        self._prints = Fingerprinter(os.urandom(32) if secret is None else secret)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._failed = False
        self.recorded = 0
        """Requests that were written."""

    def __call__(self, asked: Asked) -> None:
        """Record a call, if it is in the sample. Never raises."""
        try:
            record = self._record(asked)
            if record is not None:
                self._write(record)
        except Exception as error:  # noqa: BLE001 - a recorder must not cost an answer
            if not self._failed:
                self._failed = True
                logger.warning("requests are not recorded: %s", type(error).__qualname__)

    def _record(self, asked: Asked) -> dict[str, Any] | None:
        now = self._clock.time()
        if asked.bypass is not None:
            return {"at": now, "bypass": asked.bypass} if self._sample == 1 else None
        if not self._in_sample(asked.request):
            return None
        if self._keep == "digests":
            prints = self._prints.prints(asked.request)
            return {"at": now, "prints": {name: [f"{one:016x}" for one in row] for name, row in prints.items()}}
        call = asked.call
        whole = {"protocol": call.protocol, "body": call.body, "tenant": call.tenant, "prompt": call.prompt}
        if self._serializer is None:
            return {"at": now, "call": whole}
        data = self._serializer.dumps(json.dumps(whole), Place())
        return {"at": now, "sealed": base64.b64encode(data).decode()}

    def _in_sample(self, request: JsonObject) -> bool:
        if self._sample == 1:
            return True
        said = {name: value for name, value in parts_of(request) if name != SYSTEM}
        content = next((said[name] for name in ("messages", "input", "user_message") if name in said), said)
        return self._prints.digest("sample", content) < self._sample * _RANGE

    def _write(self, record: dict[str, Any]) -> None:
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        with self._lock:
            written = self.path.stat().st_size if self.path.exists() else 0
            if written and written + len(line) > self._half:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
                written = 0
            if not written:
                line = (json.dumps(self._header()) + "\n").encode() + line
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
                file.write(line)
            self.recorded += 1

    def _header(self) -> dict[str, Any]:
        return {"form": FORM, "version": _VERSION, "sample": self._sample, "keep": self._keep}


@dataclass(frozen=True, slots=True)
class Place:
    """The context to which recorded requests are encrypted."""

    key: str = FORM
    header: bytes = b""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of a recording."""

    number: int
    at: float
    prints: Prints | None = None
    call: dict[str, Any] | None = None
    """A whole request: protocol, body, tenant, prompt."""
    bypass: str | None = None
    problem: str | None = None


@dataclass(slots=True)
class Recording:
    """A recording that is read. Raises OptionsError when iterated, if it is of a newer version."""

    path: Path
    serializer: Serializer | None = None
    """To read encrypted requests."""
    sample: float = field(default=1.0, init=False)

    def __iter__(self) -> Iterator[Recorded]:
        number = 0
        for path in (self.path.with_name(self.path.name + ".1"), self.path):
            if path.exists():
                with path.open("rb") as file:
                    for line in file:
                        number += 1
                        one = self._line(number, line)
                        if one is not None:
                            yield one

    def _line(self, number: int, line: bytes) -> Recorded | None:
        try:
            record = json.loads(line)
            if record.get("form") == FORM:
                if record["version"] > _VERSION:
                    raise OptionsError(f"{self.path} is a recording of a newer version: install it to read this file")
                self.sample = float(record["sample"])
                return None
            at = float(record["at"])
            if "prints" in record:
                rows = record["prints"].items()
                return Recorded(number, at, prints={name: tuple(int(one, 16) for one in row) for name, row in rows})
            if "bypass" in record:
                return Recorded(number, at, bypass=str(record["bypass"]))
            if "call" in record:
                return Recorded(number, at, call=record["call"])
            if self.serializer is None:
                return Recorded(number, at, problem="an encrypted request (--key-env names the variable with its key)")
            try:
                sealed = self.serializer.loads(base64.b64decode(record["sealed"]), Place())
            except CacheError:
                return Recorded(number, at, problem="an encrypted request that this key does not open")
            return Recorded(number, at, call=json.loads(sealed))
        except OptionsError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, CacheError) as error:
            return Recorded(number, 0.0, problem=f"a line that is no record ({type(error).__name__})")


def is_recording(path: Path) -> bool:
    """Whether the file at `path` begins as a recording does."""
    with path.open("rb") as file:
        return FORM.encode() in file.read(200)
