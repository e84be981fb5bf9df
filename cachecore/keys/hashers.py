"""How canonical bytes become a digest: the plugins of the group `cachecore.hashers` that come with the core.

    sha256     the default: two requests with one digest cannot be built
    blake2b    keyed: readers of the store cannot test guesses of prompts against its keys
    blake3     like sha256, faster on long requests; needs the extra `blake3`
    xxh3_128   three times as fast, for trusted input only: collisions can be built on purpose

Each name is a factory that takes its options by keyword and returns a `KeyHasher`. No digest is shorter than 128 bits:
of a billion requests under a 64-bit digest, two share one with a chance of 2.7 %.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import xxhash

from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import KeyHasher

MIN_SECRET_BYTES: Final = 16
_MIN_DIGEST_BYTES: Final = 16


class _Sha256:
    __slots__ = ()
    name = "sha256"

    def __repr__(self) -> str:
        return "sha256()"

    def hexdigest(self, data: bytes, _sha256=hashlib.sha256) -> str:  # type: ignore[no-untyped-def]  # a local is faster than a global, and its type has no public name
        """Return the SHA-256 of `data`."""
        return _sha256(data).hexdigest()  # type: ignore[no-any-return]  # as above


class _Blake2b:
    __slots__ = ("_keyed",)
    name = "blake2b"

    def __init__(self, secret: bytes, digest_bytes: int) -> None:
        # Holds the keyed state and not the secret, so that nothing that prints attributes can print it.
        self._keyed = hashlib.blake2b(key=secret, digest_size=digest_bytes)

    def __repr__(self) -> str:
        return "blake2b(secret=...)"

    def __reduce__(self) -> str:
        raise TypeError("a keyed hasher is not pickled: its secret would be")

    def hexdigest(self, data: bytes) -> str:
        """Return the keyed BLAKE2b of `data`."""
        state = self._keyed.copy()
        state.update(data)
        return state.hexdigest()


class _Xxh3:
    __slots__ = ()
    name = "xxh3_128"
    # The C function itself: a Python frame would cost as much as hashing 2 KB does.
    hexdigest = staticmethod(xxhash.xxh3_128_hexdigest)

    def __repr__(self) -> str:
        return "xxh3_128()"


def sha256() -> KeyHasher:
    """Return the default hasher: SHA-256, 256 bits."""
    return _Sha256()


def blake2b(*, secret: bytes | str, digest_bytes: int = 32) -> KeyHasher:
    """Return keyed BLAKE2b (RFC 7693): without `secret` it cannot be told which prompt a key belongs to.

    Args:
        secret: 16 to 64 bytes (text counts as UTF-8), the same in every process that shares a store. Changing it makes
            every stored entry unreachable.
        digest_bytes: 16 to 64.

    Raises:
        OptionsError: one of them is outside these limits; the secret is not part of the message.
    """
    key: Any = secret.encode() if isinstance(secret, str) else secret
    if not isinstance(key, bytes) or not MIN_SECRET_BYTES <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
        raise OptionsError(
            f"secret must be {MIN_SECRET_BYTES} to {hashlib.blake2b.MAX_KEY_SIZE} bytes, such as secrets.token_hex(32)"
        )
    size: object = digest_bytes
    most = hashlib.blake2b.MAX_DIGEST_SIZE
    if isinstance(size, bool) or not isinstance(size, int) or not _MIN_DIGEST_BYTES <= size <= most:
        raise OptionsError(f"digest_bytes must be {_MIN_DIGEST_BYTES} to {most}, not {digest_bytes!r}")
    return _Blake2b(key, digest_bytes)


def xxh3_128() -> KeyHasher:
    """Return XXH3 with 128 bits, for trusted input only.

    It is no cryptographic hash: a user who chooses requests can build two with one digest, and gets the other's answer.
    Use it where requests come from your own code, never for text that users type.
    """
    return _Xxh3()


def blake3() -> KeyHasher:
    """Return BLAKE3, 256 bits. Raises `OptionsError` unless the extra `blake3` is installed."""
    try:
        from blake3 import blake3 as _blake3
    except ImportError as error:
        raise OptionsError("the hasher blake3 needs its extra: pip install 'cachecore-framework[blake3]'") from error

    class _Blake3:
        __slots__ = ()
        name = "blake3"

        def __repr__(self) -> str:
            return "blake3()"

        def hexdigest(self, data: bytes) -> str:
            """Return the BLAKE3 of `data`."""
            return _blake3(data).hexdigest()

    return _Blake3()
