"""The types of the golden entries. Any change to them makes those unreadable, as it should; make new ones instead."""

from __future__ import annotations

from dataclasses import dataclass

import pydantic


@dataclass
class GoldenUsage:
    prompt: int
    completion: int = 0


@dataclass(frozen=True)
class GoldenAnswer:
    text: str
    usage: GoldenUsage
    parts: tuple[str, ...] = ()


class GoldenModel(pydantic.BaseModel):
    text: str
    usage: GoldenUsage
    note: str | None = None
