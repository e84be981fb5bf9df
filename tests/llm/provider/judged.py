"""Strict checks against an SDK's own types: each field is known, each value has its type."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # takes long to build for the unions of events


def _extras(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            yield f"{path}.{name}"
        for name in type(value).model_fields:
            yield from _extras(getattr(value, name, None), f"{path}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from _extras(part, path)


def judge(kind: Any, value: BaseModel, *, extras: Collection[str] = ()) -> None:
    """Fail unless `value`, which an SDK built without looking, is valid for its type and has no unknown fields."""
    sent = value.to_dict() if hasattr(value, "to_dict") else value.model_dump()
    checked = _adapter(kind).validate_python(sent)
    unknown = {path.rpartition(".")[2] for path in _extras(checked, "$")}
    assert unknown <= set(extras), f"fields that {kind} does not know: {unknown - set(extras)} in {sent}"
