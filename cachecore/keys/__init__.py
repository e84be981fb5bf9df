"""How a request becomes a key: canonical bytes, a digest of them, and the text around it."""

from cachecore.keys.canonical import VERSION, encode
from cachecore.keys.decoding import decode
from cachecore.keys.forms import Members
from cachecore.keys.keyspace import MAX_KEY_BYTES, ROOT_TAG, KeySpace, make_key, user_tag

__all__ = ["MAX_KEY_BYTES", "ROOT_TAG", "VERSION", "KeySpace", "Members", "decode", "encode", "make_key", "user_tag"]
