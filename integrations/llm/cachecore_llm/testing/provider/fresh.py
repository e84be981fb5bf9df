"""Ids and timestamps: different in each call, as those of a real service are. Nothing else in an answer varies."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Callable


class Fresh:
    """Makes ids and timestamps of one answer. `clock` gives seconds since the epoch, `entropy` a new text per call."""

    def __init__(
        self, clock: Callable[[], float] = time.time, entropy: Callable[[], str] = lambda: uuid.uuid4().hex
    ) -> None:
        self.seconds = clock()
        self._entropy = entropy
        self._padding = ""

    @property
    def now(self) -> int:
        """Whole seconds since the epoch, the same for all parts of one answer."""
        return int(self.seconds)

    def id(self, prefix: str, length: int = 24) -> str:
        """Return `prefix` and `length` hexadecimal digits, at most 64."""
        return prefix + hashlib.sha256(self._entropy().encode()).hexdigest()[:length]

    def padding(self, number: int) -> str:
        """Return 12 characters for the `obfuscation` of event `number`: parts of one digest for the whole answer."""
        if not self._padding:
            self._padding = self.id("", 64)
        start = number % 52
        return self._padding[start : start + 12]

    def opaque(self, content: str) -> str:
        """Return base64 text that stands for `content` signed or encrypted: new in each call."""
        return base64.b64encode(hashlib.sha512(f"{self._entropy()}\n{content}".encode()).digest()).decode()
