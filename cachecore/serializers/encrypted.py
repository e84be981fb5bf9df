"""`encrypted`: another serializer's bytes, sealed with AES-256-GCM or ChaCha20-Poly1305. Needs the extra `encryption`.

Without a secret, a writer of the store cannot read a payload, change it, move it to another key or put it under
another header. The key and the header (times, tags, stamps, metadata, flags) are not hidden: they are the associated
data, so a payload opens only where it was put. Such a writer can still delete an entry, and put back an entry that
this key held before, while it is neither dead nor invalidated.

A payload is

    1   length n of the key id
    n   key id, ASCII
    12  nonce
    …   ciphertext and its tag of 16 bytes

Nonces are random, 96 bits: one key may seal 2**32 payloads, all processes together, before the chance that two nonces
are equal reaches 2**-33 (NIST SP 800-38D, 8.3). At 1,000 writes a second that is 49 days; then put a new key first.
"""

from __future__ import annotations

import base64
import binascii
import copy
import os
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext, Serializer
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.msgpack import MsgpackSerializer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Algorithm = Literal["aesgcm", "chacha20poly1305"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

_DOMAIN: Final = b"cachecore sealed payload 1\x00"
_LENGTHS = struct.Struct(">BHI")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class EncryptedSerializer:
    """Serializer that wraps another. Safe to share between threads and after a fork.

    To rotate, put the new key first and keep the old ones while their entries live; to retire a key, leave it out:
    entries encrypted with it are then misses.

    Args:
        keys: ids to secrets, the one that seals first; each secret is 32 bytes, or hex or base64 text of 32 bytes.
        inner: the serializer that makes the bytes.
        algorithm: `aesgcm`, or `chacha20poly1305` for machines without AES in hardware.
        max_bytes: the largest inner payload that is made or read.
    """

    def __init__(
        self,
        *,
        keys: Mapping[str, bytes | str],
        inner: Serializer | None = None,
        algorithm: Algorithm = "aesgcm",
        max_bytes: int = 8 * MIB,
    ) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
        except ImportError:
            raise OptionsError("encrypting needs cryptography: pip install 'cachecore-framework[encryption]'") from None
        if algorithm not in ("aesgcm", "chacha20poly1305"):
            raise OptionsError(f"algorithm must be aesgcm or chacha20poly1305, not {algorithm!r}")
        cipher = AESGCM if algorithm == "aesgcm" else ChaCha20Poly1305
        secrets = _secrets(keys)
        self.inner = inner if inner is not None else MsgpackSerializer()
        self._max_bytes = check_limit("max_bytes", max_bytes)
        # Only the ciphers are kept, under the bytes that a payload begins with: nothing here can show a secret.
        self._ring: dict[bytes, AESGCM | ChaCha20Poly1305] = {
            bytes([len(key_id)]) + key_id.encode(): cipher(secret) for key_id, secret in secrets.items()
        }
        self._first = next(iter(self._ring))
        self._invalid = InvalidTag
        self._algorithm = algorithm.encode()
        self.name = f"{algorithm}+{self.inner.name}"

    def __repr__(self) -> str:
        ids = ", ".join(key_id[1:].decode() for key_id in self._ring)
        return f"EncryptedSerializer(inner={self.inner!r}, keys: {ids})"

    def around(self, inner: Serializer) -> Self:
        """Return the same wrapper around another serializer."""
        other = copy.copy(self)
        other.inner, other.name = inner, f"{self._algorithm.decode()}+{inner.name}"
        return other

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the sealed bytes of `value`. Raises `EncodingError` as the inner serializer does."""
        data = self.inner.dumps(value, context)
        check_size(data, self._max_bytes)
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ring[self._first].encrypt(nonce, data, self._bound_to(self._first, context))
        return b"".join((self._first, nonce, sealed))

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError` for bytes that were not encrypted for this key and header."""
        nonce_at = 1 + data[0] if data else 1
        start = nonce_at + NONCE_BYTES
        if len(data) < start + TAG_BYTES:
            raise EncodingError("the payload is too short to be a sealed one")
        check_size(data, self._max_bytes + start + TAG_BYTES)
        key_id = data[:nonce_at]
        cipher = self._ring.get(key_id)
        if cipher is None:
            raise EncodingError("the payload is sealed with a key that is not in use")
        try:
            inner = cipher.decrypt(data[nonce_at:start], data[start:], self._bound_to(key_id, context))
        except self._invalid:
            raise EncodingError("the payload was not sealed for this key and header, or was changed") from None
        return self.inner.loads(inner, context)

    def _bound_to(self, key_id: bytes, context: EntryContext) -> bytes:
        # Every part but the last is preceded by its length, so that no two contexts give the same bytes.
        name, header = self.name.encode(), context.header
        lengths = _LENGTHS.pack(len(key_id), len(name), len(header))
        return b"".join((_DOMAIN, lengths, key_id, name, header, context.key.encode()))


def _secrets(keys: object) -> dict[str, bytes]:
    """Return the checked secrets; no message shows one."""
    if not isinstance(keys, Mapping) or not keys:
        raise OptionsError("keys must map at least one key id to a secret of 32 bytes")
    secrets: dict[str, bytes] = {}
    for key_id, given in keys.items():
        if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
            raise OptionsError("a key id must be 1 to 64 letters, digits, dots, underscores or hyphens")
        secret = _secret_from_text(given) if isinstance(given, str) else given
        if not isinstance(secret, bytes) or len(secret) != KEY_BYTES:
            raise OptionsError(f"the secret of key {key_id} must be 32 bytes, or hex or base64 text of 32 bytes")
        if secret in secrets.values():
            raise OptionsError(f"the secret of key {key_id} is that of another key id")
        secrets[key_id] = secret
    return secrets


def _secret_from_text(text: str) -> bytes | None:
    text = text.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
