"""Answers by prompt, tenant and model, for `cachecore invalidate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cachecore.cli.selectors import Selection
from cachecore.contract.errors import OptionsError
from cachecore_llm.flow.places import model_tag
from cachecore_llm.policy.prompts import is_name, label_segments, selections
from cachecore_llm.policy.tenants import tenant_segments

_HELP: Final = {
    "prompt": "Answers to a prompt, by its name (faq, faq/v3) or its text, of every tenant.",
    "tenant": "Answers of a tenant; with --prompt NAME those to that prompt alone.",
    "model": "Answers that a model was asked for, or gave as a fallback.",
}


@dataclass(frozen=True, slots=True)
class LLMSelector:
    """The options `--prompt`, `--tenant` and `--model`."""

    options: Mapping[str, str] = field(default_factory=lambda: _HELP)
    prefix: str = "llm:response"

    def select(self, given: Mapping[str, str]) -> list[Selection]:
        """Return the answers that `given` means. Raises OptionsError."""
        prompt, tenant, model = (given.get(name) for name in _HELP)
        if model is not None:
            if len(given) > 1:
                raise OptionsError("--model stands alone: run the command once for it and once for the others")
            return [Selection(f"the answers of the model {model!r}", tag=model_tag(model))]
        if tenant is not None:
            segments = tenant_segments(tenant)
            if prompt is None:
                return [Selection(f"the answers of the tenant {tenant!r}", namespace="/".join(segments))]
            if not is_name(prompt):
                raise OptionsError("with --tenant, --prompt is the name of a prompt such as faq, not a text")
            place = "/".join([*segments, *label_segments(prompt)])
            return [Selection(f"the answers to the prompt {prompt!r} of the tenant {tenant!r}", namespace=place)]
        if prompt is None:
            return []
        named = is_name(prompt)
        words = f"the answers to the prompt {prompt!r}" if named else "the answers to the prompt of that text"
        return [Selection(words, tag=one.tag, holds=one.holds) for one in selections(prompt)]


selector = LLMSelector()
"""The entry point."""
