"""`/v1/models`: which models there are, as both services list them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cachecore_llm.testing.provider.fields import Vendor

PATH: Final = "/v1/models"
_USUAL: Final[dict[Vendor, tuple[str, ...]]] = {
    "openai": ("gpt-local", "gpt-local-mini", "text-embedding-local"),
    "anthropic": ("claude-local", "claude-local-mini"),
}
_CREATED: Final = 1_767_225_600  # 2026-01-01


def _model(name: str, vendor: Vendor) -> dict[str, Any]:
    if vendor == "openai":
        return {"id": name, "object": "model", "created": _CREATED, "owned_by": "local"}
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def answer(path: str, vendor: Vendor, names: Sequence[str] | None) -> dict[str, Any] | None:
    """Return the list of models, or one of them; None for another path or an unknown model.

    Without a list of its own a provider has every model.
    """
    if path == PATH:
        listed = [_model(name, vendor) for name in names or _USUAL[vendor]]
        if vendor == "openai":
            return {"object": "list", "data": listed}
        return {"data": listed, "has_more": False, "first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
    name = path.removeprefix(f"{PATH}/")
    if name in (path, "") or (names is not None and name not in names):
        return None
    return _model(name, vendor)
