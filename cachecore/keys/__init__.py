"""How a request becomes a key: canonical bytes, a digest of them, and the text around it."""

from typing import TYPE_CHECKING

from cachecore.contract.lazy import exports
from cachecore.contract.tokens import ROOT_TAG
from cachecore.keys.canonical import VERSION, encode
from cachecore.keys.decoded import Members
from cachecore.keys.keyspace import MAX_KEY_BYTES, KeySpace, make_key, user_tag

if TYPE_CHECKING:
    from cachecore.keys.decoding import decode
    from cachecore.keys.explain import Explanation
    from cachecore.keys.hashers import blake2b, blake3, sha256, xxh3_128

__all__ = [
    "MAX_KEY_BYTES",
    "ROOT_TAG",
    "VERSION",
    "Explanation",
    "KeySpace",
    "Members",
    "blake2b",
    "blake3",
    "decode",
    "encode",
    "make_key",
    "sha256",
    "user_tag",
    "xxh3_128",
]

__getattr__ = exports(
    __name__,
    {
        "Explanation": "explain",
        "blake2b": "hashers",
        "blake3": "hashers",
        "decode": "decoding",
        "sha256": "hashers",
        "xxh3_128": "hashers",
    },
)
