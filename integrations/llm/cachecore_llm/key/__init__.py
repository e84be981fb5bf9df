"""What a call to a provider is keyed by. Pure: no core, no SDK, no I/O, no clock."""

from cachecore_llm.key.canonical import Bypass, Keyed, RefusedFieldError, key_of, simple_key, unkeyed
from cachecore_llm.key.fields import TABLE, Row, Verdict
from cachecore_llm.key.ignored import Path, path_of, without
from cachecore_llm.key.plain import shapes_answer
from cachecore_llm.key.secret_fields import Digester

__all__ = [
    "TABLE",
    "Bypass",
    "Digester",
    "Keyed",
    "Path",
    "RefusedFieldError",
    "Row",
    "Verdict",
    "key_of",
    "path_of",
    "shapes_answer",
    "simple_key",
    "unkeyed",
    "without",
]
