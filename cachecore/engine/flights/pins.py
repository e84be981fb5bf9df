"""The stamps that an answer depends on, as they were before its factory read the tagged data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Pins:
    """The pinned tags of one flight and their stamps. Belongs to one event loop."""

    stamps: dict[str, bytes | None] = field(default_factory=dict)
    """Stamp keys to stamps; None where the stamp is not known yet."""
    tags: list[str] = field(default_factory=list)
    """Tags that the factory pinned while it worked, as entries store them."""

    def put(self, stamps: Mapping[str, bytes | None]) -> None:
        """Pin these stamps, which are current now."""
        self.stamps.update(stamps)

    def expect(self, tag: str, stamp_key: str) -> None:
        """Depend on `tag` from now on; its stamp follows."""
        self.tags.append(tag)
        self.stamps.setdefault(stamp_key, None)

    def settle(self, stamp_key: str, stamp: bytes | None) -> None:
        """Pin the stamp of an expected tag, unless an earlier one is known: the earliest counts."""
        if self.stamps[stamp_key] is None:
            self.stamps[stamp_key] = stamp
