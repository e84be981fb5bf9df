"""Which node of a cluster holds which key: plain data, shared by the loops of a process."""

from __future__ import annotations

from binascii import crc_hqx
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cachecore_redis.wire.address import Address

SLOTS: Final = 16384

SlotMap = tuple[tuple[int, int, Address], ...]
"""Which primary owns which slots: (first slot, last slot, primary) of each range."""


def slot_of(key: str) -> int:
    """Return the slot of `key`: that of its hash tag, the text in the first `{…}`, if it has one."""
    begin = key.find("{")
    if begin >= 0:
        end = key.find("}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return crc_hqx(key.encode("ascii"), 0) % SLOTS


def parse_slots(reply: Any, asked: Address) -> SlotMap | None:
    """Return the slot map in a reply to CLUSTER SLOTS, or None; a node without a host has that of `asked`."""
    if not isinstance(reply, list) or not reply:
        return None
    slot_map = []
    for first, last, primary, *_ in reply:
        host = primary[0].decode() if primary[0] else ""
        slot_map.append((first, last, (host if host not in ("", "?") else asked[0], primary[1])))
    return tuple(sorted(slot_map))


def most_common(answers: Sequence[SlotMap]) -> SlotMap:
    """Return the slot map given most often: a node that was cut off may still believe in an old one."""
    return Counter(answers).most_common(1)[0][0]


def redirection(text: str, asked: Address) -> tuple[str, int, Address] | None:
    """Return (`MOVED` or `ASK`, slot, address) of an error reply, or None if it is another."""
    kind, _, rest = text.partition(" ")
    if kind not in ("MOVED", "ASK"):
        return None
    slot, _, where = rest.partition(" ")
    host, _, port = where.rpartition(":")
    if not (slot.isdecimal() and port.isdecimal()):
        return None
    return kind, int(slot), (host if host not in ("", "?") else asked[0], int(port))


class Topology:
    """The owner of each slot, as far as is known. Each step is one assignment, so no lock is needed."""

    def __init__(self) -> None:
        self.known = False
        self.version = 0
        self.primaries: tuple[Address, ...] = ()
        self._owners: list[Address | None] = [None] * SLOTS

    def owner(self, slot: int) -> Address | None:
        """Return the primary of `slot`. O(1)."""
        return self._owners[slot]

    def learn(self, slot_map: SlotMap) -> bool:
        """Take over a whole slot map; return whether the primaries are others than before."""
        owners = _owners(slot_map)
        if owners != self._owners:
            self._owners = owners
            self.version += 1
        self.known = True
        return self._settle({address for _, _, address in slot_map})

    def matches(self, slot_map: SlotMap) -> bool:
        """Return whether this is the slot map that is known."""
        return _owners(slot_map) == self._owners

    def moved(self, slot: int, address: Address) -> bool:
        """Note a redirection of `slot` to `address`; return whether that is a primary not known before."""
        if self._owners[slot] != address:
            self._owners[slot] = address
            self.version += 1
        return self._settle({*self.primaries, address})

    def _settle(self, primaries: Iterable[Address]) -> bool:
        now = tuple(sorted(primaries))
        changed, self.primaries = now != self.primaries, now
        return changed


def _owners(slot_map: SlotMap) -> list[Address | None]:
    owners: list[Address | None] = [None] * SLOTS
    for first, last, address in slot_map:
        owners[first : last + 1] = [address] * (last + 1 - first)
    return owners
