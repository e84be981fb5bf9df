"""Which model a provider is asked for, where the call names one that may be another provider's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachecore.contract.errors import OptionsError
from cachecore_llm.upstream.provider import WireProvider

ModelMap = Mapping[str, Mapping[str, str]]
"""Name of a provider -> the model that a call names -> the provider's own; `*` stands for every other."""


def model_name(model: Any, example: str) -> str:
    """Return `model`, a provider's default. Raises OptionsError, with `example`, if it is no name of a model."""
    if not isinstance(model, str) or not model.strip():
        raise OptionsError(f"model must be the name of a model, such as {example!r}, not {model!r}")
    return model


@dataclass(frozen=True, slots=True)
class Models:
    """The model map of an orchestrator. Calls are written for its first provider."""

    first: WireProvider
    given: ModelMap

    def __post_init__(self) -> None:
        given: Mapping[str, Any] = self.given  # the annotation is not checked at run time
        for provider, names in given.items():
            pairs = names.items() if isinstance(names, Mapping) else [(None, None)]
            if not all(isinstance(word, str) and word for pair in pairs for word in pair):
                raise OptionsError(
                    f"models[{provider!r}] must map the model that is asked for to that of {provider}, as in "
                    f"{{'gpt-5': 'claude-sonnet-5', '*': 'claude-haiku-5'}}, not {names!r}"
                )

    def of(self, provider: WireProvider, asked: str | None) -> str | None:
        """Return the model for `provider`; None for its default.

        Without an entry, a provider of the first one's kind gets the name as it is, unless it is only the first one's
        default; any other has names of its own, so its default is asked.
        """
        names = self.given.get(provider.name, {})
        mapped = names.get(asked) if asked is not None else None
        if mapped is None:
            mapped = names.get("*")
        if mapped is not None:
            return mapped
        if provider is self.first:
            return asked
        return asked if type(provider) is type(self.first) and asked != self.first.model else None
