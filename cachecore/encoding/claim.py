"""The bytes of a claim: an envelope that says which computation has a key, and when it last showed that it runs.

The payload is the holder's token, the token of the holder that ended before it without an answer (zeros: none), and one
byte: 1 if this holder has ended without an answer itself. `created` is the time of the last sign of life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cachecore.contract.tokens import TOKEN_BYTES
from cachecore.encoding.entry import Entry, decode, draft, seal

NO_TOKEN: Final = bytes(TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class ClaimMark:
    """The content of a claim."""

    token: bytes
    """The computation that holds the key."""
    previous: bytes
    """The computation that held it before and ended without an answer; `NO_TOKEN` if there was none."""
    ended: bool
    """Whether the holder ended without an answer."""
    time: float
    """Unix seconds of the store's clock at the holder's last sign of life."""


def claim_bytes(key: str, mark: ClaimMark) -> bytes:
    """Return the envelope of `mark` under `key`; `CLAIM_BYTES` long."""
    made = draft(key, created=mark.time, fresh_until=mark.time, dead_until=mark.time, serializer="", claim=True)
    return seal(made, mark.token + mark.previous + bytes([mark.ended]))


def read_claim(data: bytes | None, key: str) -> ClaimMark | None:
    """Return the claim in the bytes under `key`, or None if they are no claim."""
    entry = None if data is None else decode(data, key)
    if not isinstance(entry, Entry) or not entry.claim or len(entry.payload) != 2 * TOKEN_BYTES + 1:
        return None
    token, previous = entry.payload[:TOKEN_BYTES], entry.payload[TOKEN_BYTES:-1]
    return ClaimMark(token, previous, entry.payload[-1] == 1, entry.created)


CLAIM_BYTES: Final = len(claim_bytes("", ClaimMark(NO_TOKEN, NO_TOKEN, False, 0.0)))
"""The length of every claim; a small entry may be as long."""
