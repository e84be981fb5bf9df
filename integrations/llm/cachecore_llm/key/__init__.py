"""The canonical request that a call to a provider is keyed by. Pure: no core, no SDK, no I/O, no clock."""

from cachecore_llm.key.canonical import Bypass, Keyed, RefusedFieldError, key_of, simple_key, unkeyed
from cachecore_llm.key.fields import TABLE, Row, Verdict
from cachecore_llm.key.ignored import Path, path_of, without
from cachecore_llm.key.normalise import RULES, Rule, normalised, normalised_text, rules_of
from cachecore_llm.key.plain import shapes_answer
from cachecore_llm.key.secret_fields import Digester

__all__ = [
    "RULES",
    "TABLE",
    "Bypass",
    "Digester",
    "Keyed",
    "Path",
    "RefusedFieldError",
    "Row",
    "Rule",
    "Verdict",
    "key_of",
    "normalised",
    "normalised_text",
    "path_of",
    "rules_of",
    "shapes_answer",
    "simple_key",
    "unkeyed",
    "without",
]
