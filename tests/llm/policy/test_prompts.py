"""Prompts by name: what an invalidation means, and when the text under a name has changed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore_llm.policy.prompts import (
    Prompt,
    PromptRegistry,
    is_name,
    name_selection,
    place_of,
    selections,
    text_selection,
)
from cachecore_llm.policy.tenants import checked_tenants, tenant_of

texts = st.text(max_size=20)
names = st.lists(st.text("abé.*-", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
tenants = st.none() | st.text(min_size=1, max_size=5) | st.sampled_from(["l-a", "p-" + "0" * 32])


def test_place_of_a_prompt() -> None:
    place = place_of("You are helpful.", tenant="acme", name="faq/v3")
    text = "p-42ea835592c20e1e24b29875c1063f6c"
    assert place == (f"t-acme/l-faq/l-v3/{text}", (text, "l-faq", "l-faq/l-v3"))
    assert place_of("You are helpful.") == (text, (text,))


@given(texts, tenants, st.none() | names, st.none() | names, texts)
def test_selections_mean_what_carries_their_tag(
    text: str, tenant: str | None, name: str | None, wanted: str | None, other: str
) -> None:
    """The tag makes entries invalid, and `holds` finds them to be deleted: both must mean the same."""
    place = place_of(text, tenant=tenant, name=name)
    chosen = text_selection(other) if wanted is None else name_selection(wanted)
    assert chosen.holds(place.namespace) == (chosen.tag in place.tags)
    if wanted is None:
        assert chosen.holds(place.namespace) == (text == other)
    else:
        assert chosen.holds(place.namespace) == f"{name or ''}/".startswith(f"{wanted}/")


def test_what_invalidating_means() -> None:
    by_name, by_text = name_selection("faq"), text_selection("You are helpful.")
    assert selections("You are helpful.") == (by_text,)
    assert selections("faq") == (by_name, text_selection("faq"))
    assert selections("faq", "You are helpful.") == (by_text,)
    assert selections(Prompt("faq", "a text of next week")) == (by_name,)
    assert selections("x" * 65) == (text_selection("x" * 65),)
    for given_ in (None, 5, b"faq"):
        with pytest.raises(OptionsError, match="by its name or its text"):
            selections(given_)  # type: ignore[arg-type]  # what must fail
    with pytest.raises(OptionsError, match="by its name or its text, not by 5"):
        selections("faq", 5)  # type: ignore[arg-type]  # what must fail


@pytest.mark.parametrize("name", ["", "a b", "a//b", "/a", "a/b/c/d/e", "a\n", "x" * 65, 5, None])
def test_wrong_names(name: Any) -> None:
    with pytest.raises(OptionsError, match="the name of a prompt is 1 to 4 segments"):
        Prompt(name, "text")
    assert not (isinstance(name, str) and is_name(name))


def test_text_of_a_prompt_is_text() -> None:
    with pytest.raises(OptionsError, match="the text of the prompt 'faq' must be text, not bytes"):
        Prompt("faq", b"You are helpful.")  # type: ignore[arg-type]  # what must fail


def test_registry_notices_a_change(caplog: pytest.LogCaptureFixture) -> None:
    """Said once, without the text."""
    registry = PromptRegistry([Prompt("faq", "You are kind.")], invalidate=True)
    assert registry.notice("faq", "You are kind.") is None
    with caplog.at_level(logging.INFO):
        changed = registry.notice("faq", "You are brief.")
    assert changed is not None
    assert changed.outdated == text_selection("You are kind.")
    assert changed.invalidate
    assert "'faq'" in caplog.text
    assert "kind" not in caplog.text
    assert registry.notice("faq", "You are brief.") is None
    assert registry.notice("help", "You are kind.") is None


def test_two_releases_side_by_side_do_not_undo_each_other() -> None:
    registry = PromptRegistry(invalidate=True)
    changes = [registry.notice("faq", text) for text in ["old", "new", "old", "new", "old"]]
    assert [change is not None for change in changes] == [False, True, False, False, False]


def test_registry_is_bounded() -> None:
    registry = PromptRegistry()
    for number in range(5000):
        registry.notice(f"prompt{number}", "text")
        registry.notice("faq", f"It is minute {number}.")
    assert len(registry._texts) <= 1025
    assert all(len(seen) <= 16 for seen in registry._texts.values())


def test_registry_by_name() -> None:
    prompt = Prompt("faq", "You are kind.")
    registry = PromptRegistry([prompt])
    assert registry["faq"] is prompt
    assert list(registry) == [prompt]
    changed = registry.put(Prompt("faq", "You are brief."))
    assert changed is not None
    assert not changed.invalidate, "not asked for"
    assert registry["faq"].text == "You are brief."
    with pytest.raises(OptionsError, match="there is no prompt called 'faqs': did you mean 'faq'"):
        registry["faqs"]
    with pytest.raises(OptionsError, match="two prompts are called 'faq'"):
        PromptRegistry([prompt, prompt])
    with pytest.raises(OptionsError, match=r"prompts are Prompt\(name, text\), not 'faq'"):
        PromptRegistry(["faq"])  # type: ignore[list-item]  # what must fail


def test_tenants() -> None:
    assert tenant_of(None) is None
    assert tenant_of("acme", "required") == "acme"
    with pytest.raises(OptionsError, match="tenants='required' and this call names none: give it tenant='…'"):
        tenant_of(None, "required")
    for wrong in ("", 5, b"acme"):
        with pytest.raises(OptionsError, match="a tenant must"):
            tenant_of(wrong)
    assert checked_tenants("required") == "required"
    assert checked_tenants("optional") == "optional"
    with pytest.raises(OptionsError, match="tenants must be 'optional' or 'required', not True"):
        checked_tenants(True)
