"""Where the answers to a system prompt live, by its name and its text, and how they are found to be invalidated.

The namespace is `[tenant/][name/]<digest of the text>`; a name has one to four segments (`faq/v3`); `label=` gives
one, too. An entry carries a tag for its text and one for each level of its name. Tags expire with the entries that
carry them, so that prompts that come and go leave no key behind.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from cachecore.contract.errors import OptionsError
from cachecore_llm.policy.segments import digest, marked
from cachecore_llm.policy.tenants import TENANT_MARKS, tenant_segments

logger = logging.getLogger("cachecore.llm")

_NAME: Final = re.compile(r"[^\s/]+(?:/[^\s/]+){0,3}")
_MAX_NAME: Final = 64
_MAX_LABEL_SEGMENTS: Final = 4
_MAX_REMEMBERED: Final = 65_536
"""Digests of longer texts, in characters, are not remembered."""
_MAX_NAMES: Final = 1024
_MAX_TEXTS: Final = 16


@dataclass(frozen=True, slots=True)
class Prompt:
    """A system prompt with a name, so that its answers can be made invalid by it: `Prompt("faq", text)`.

    The name is one to four segments joined by `/`, without white space and at most 64 characters long.
    Raises OptionsError.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        name, text = _any(self.name), _any(self.text)
        if not isinstance(name, str) or not is_name(name):
            raise OptionsError(
                f"the name of a prompt is 1 to {_MAX_LABEL_SEGMENTS} segments joined by '/', without white space and "
                f"at most {_MAX_NAME} characters long, such as 'faq/v3', not {name!r}"
            )
        if not isinstance(text, str):
            raise OptionsError(f"the text of the prompt {name!r} must be text, not {type(text).__name__}")

    @property
    def version(self) -> str:
        """Return 32 hexadecimal digits that stand for the text."""
        return prompt_digest(self.text)


class Place(NamedTuple):
    """Where the answers of a call live, and the tags that they carry."""

    namespace: str
    tags: tuple[str, ...]


class Selection(NamedTuple):
    """The answers that an invalidation means: those that carry `tag`. All of them lie where `holds` is true."""

    tag: str
    kind: str
    segments: tuple[str, ...]

    def holds(self, namespace: str) -> bool:
        """Whether answers in `namespace` belong to the selection."""
        place = namespace.split("/")
        if self.kind == "text":
            return place[-1] == self.tag
        own = place[1:] if place[0].startswith(TENANT_MARKS) else place
        return tuple(own[: len(self.segments)]) == self.segments


def place_of(system_prompt: str, *, tenant: str | None = None, name: str | None = None) -> Place:
    """Return where the answers to `system_prompt` live, and their tags. O(1) for a text that was seen lately.

    Raises:
        OptionsError: `tenant` is empty or no text, or `name` has an empty segment or more than four.
    """
    text_tag = "p-" + prompt_digest(system_prompt)
    if tenant is None and name is None:
        return Place(text_tag, (text_tag,))
    names = label_segments(name)
    levels = ("/".join(names[: end + 1]) for end in range(len(names)))
    return Place("/".join([*tenant_segments(tenant), *names, text_tag]), (text_tag, *levels))


def namespace(system_prompt: str, *, tenant: str | None = None, label: str | None = None) -> str:
    """Return where the answers to `system_prompt` live. Raises as `place_of`."""
    return place_of(system_prompt, tenant=tenant, name=label).namespace


def prompt_digest(system_prompt: str) -> str:
    """Return 32 hexadecimal digits that stand for `system_prompt`."""
    return _remembered(system_prompt) if len(system_prompt) <= _MAX_REMEMBERED else digest(system_prompt).hex()


@lru_cache(128)
def _remembered(text: str) -> str:
    return digest(text).hex()


def label_segments(label: str | None) -> list[str]:
    """Return the segments of a name or label, outermost first; none for None. Raises OptionsError."""
    if label is None:
        return []
    given = _any(label)
    if not isinstance(given, str):
        raise OptionsError(f"a label must be text such as 'faq/v3', not {given!r}")
    segments = label.split("/")
    if not all(segments) or len(segments) > _MAX_LABEL_SEGMENTS:
        raise OptionsError(f"a label is one to {_MAX_LABEL_SEGMENTS} non-empty segments joined by '/', not {label!r}")
    return [marked("l-", "m-", segment) for segment in segments]


def is_name(text: str) -> bool:
    """Whether `text` can be the name of a prompt."""
    return len(text) <= _MAX_NAME and _NAME.fullmatch(text) is not None


def text_selection(text: str) -> Selection:
    """Return the answers to the system prompt `text`, of every name and tenant."""
    return Selection("p-" + prompt_digest(text), "text", ())


def name_selection(name: str) -> Selection:
    """Return the answers to prompts called `name`, or below it (`faq/v3` below `faq`). Raises OptionsError."""
    segments = tuple(label_segments(name))
    return Selection("/".join(segments), "name", segments)


def selections(name_or_text: str | Prompt, text: str | None = None) -> tuple[Selection, ...]:
    """Return the selections that `invalidate_prompt(name_or_text, text)` means.

    With a text: the answers to that text. Without: the answers to prompts of that name, those to that text, or both
    where a text could be a name too. A `Prompt` stands for its name alone.

    Raises:
        OptionsError: an argument is no text.
    """
    if isinstance(name_or_text, Prompt):
        return (name_selection(name_or_text.name),)
    for value in (name_or_text, "" if text is None else text):
        if not isinstance(_any(value), str):
            raise OptionsError(f"a prompt is made invalid by its name or its text, not by {value!r}")
    if text is not None:
        return (text_selection(text),)
    by_text = text_selection(name_or_text)
    return (name_selection(name_or_text), by_text) if is_name(name_or_text) else (by_text,)


class Changed(NamedTuple):
    """The text under the name of a prompt has changed."""

    name: str
    outdated: Selection
    """The answers to the text before."""
    invalidate: bool
    """Whether they shall be made invalid."""


class PromptRegistry:
    """Prompts by name; notices that the text under a name has changed. Not for use by several threads at once.

    Args:
        prompts: prompts that calls may name; their texts are known from the start.
        invalidate: whether answers to the text before shall be made invalid. Without, they stay until their ttl: a new
            text never gets them, because the text is part of the key.

    A text that was under the name before and comes back is no change, so that two releases that run side by side do not
    undo each other's answers again and again. For each of at most 1,024 names, 16 texts are remembered, as digests.
    """

    def __init__(self, prompts: Iterable[Prompt] = (), *, invalidate: bool = False) -> None:
        self._prompts: dict[str, Prompt] = {}
        self._texts: OrderedDict[str, list[str]] = OrderedDict()
        self.invalidate = invalidate
        for prompt in prompts:
            if not isinstance(_any(prompt), Prompt):
                raise OptionsError(f"prompts are Prompt(name, text), not {prompt!r}")
            if prompt.name in self._prompts:
                raise OptionsError(f"two prompts are called {prompt.name!r}; give each a name of its own")
            self.put(prompt)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts.values())

    def __contains__(self, name: object) -> bool:
        """Whether there is a prompt called `name`."""
        return name in self._prompts

    def __getitem__(self, name: str) -> Prompt:
        """Return the prompt called `name`. Raises OptionsError naming the nearest."""
        try:
            return self._prompts[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._prompts, n=1)
            way_out = f"did you mean {near[0]!r}?" if near else "give it in prompts=[Prompt(name, text), …]"
            raise OptionsError(f"there is no prompt called {name!r}: {way_out}") from None

    def put(self, prompt: Prompt) -> Changed | None:
        """Add `prompt`, or replace the one with its name. Returns as `notice`."""
        self._prompts[prompt.name] = prompt
        return self.notice(prompt.name, prompt.text)

    def notice(self, name: str, text: str) -> Changed | None:
        """Return how the text under `name` has changed with this call, None if it has not. O(1) as long as it stays."""
        now = prompt_digest(text)
        seen = self._texts.get(name)
        if seen is None:
            self._texts[name] = [now]
            if len(self._texts) > _MAX_NAMES:
                self._texts.popitem(last=False)
            return None
        if seen[-1] == now:
            return None
        before = seen[-1]
        if now in seen:
            seen.remove(now)
            seen.append(now)
            return None
        seen.append(now)
        del seen[:-_MAX_TEXTS]
        logger.info("the prompt %r has another text: %.8s, before %.8s", name, now, before)
        return Changed(name, Selection("p-" + before, "text", ()), self.invalidate)


def _any(value: object) -> object:
    return value  # an argument may be of another type than its annotation says
