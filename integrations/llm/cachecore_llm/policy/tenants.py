"""Tenants are structural: part of the key and first segment of the namespace, so that they never share answers."""

from __future__ import annotations

from typing import Literal

from cachecore.contract.errors import OptionsError
from cachecore_llm.policy.segments import marked

Tenants = Literal["optional", "required"]
"""Whether a call may come without a tenant."""

TENANT_MARKS = ("t-", "x-")
"""How the segment of a tenant begins."""


def checked_tenants(tenants: object) -> Tenants:
    """Return the setting `tenants`. Raises OptionsError."""
    if tenants == "optional":
        return "optional"
    if tenants == "required":
        return "required"
    raise OptionsError(f"tenants must be 'optional' or 'required', not {tenants!r}")


def tenant_of(given: object, tenants: Tenants = "optional") -> str | None:
    """Return the tenant of a call.

    Raises:
        OptionsError: it is no text or empty, or it is missing and `tenants` is `required`.
    """
    if given is None:
        if tenants == "required":
            raise OptionsError("tenants='required' and this call names none: give it tenant='…'")
        return None
    if not isinstance(given, str):
        raise OptionsError(f"a tenant must be text, not {given!r}: tenant=str({given!r})")
    if not given:
        raise OptionsError("a tenant must not be empty; leave it out where there is none")
    return given


def tenant_segments(tenant: str | None) -> list[str]:
    """Return the segments of `tenant`: one, or none for None. Raises OptionsError."""
    checked = tenant_of(tenant)
    return [] if checked is None else [marked(*TENANT_MARKS, checked)]
