"""Prompts by name: which one a request has, and the end of its answers when the text under a name changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cachecore.contract.errors import CacheError
from cachecore_llm import ResponseCache
from cachecore_llm.flow.places import system_text
from cachecore_llm.policy.prompts import Prompt, PromptRegistry, Selection, text_selection
from cachecore_llm.wire import Call
from cachecore_proxy.settings import PromptSettings

EVERY: Final = 2.0
"""Seconds between two looks at the files."""

logger = logging.getLogger("cachecore.proxy")


class Prompts:
    """The prompts of the settings. A changed text makes the answers to the text before invalid, everywhere."""

    def __init__(self, prompts: Sequence[PromptSettings], cache: ResponseCache) -> None:
        self._cache = cache
        self._registry = PromptRegistry(invalidate=True)
        self._prompts: dict[str, PromptSettings] = {}
        self._names: dict[str, str] = {}
        self._times: dict[str, tuple[float, int]] = {}
        self._take(prompts)

    def name_of(self, call: Call) -> str | None:
        """Return the name of the prompt with the text of a call."""
        return self._names.get(system_text(call)[0]) if self._names else None

    async def replace(self, prompts: Sequence[PromptSettings]) -> int:
        """Take prompts anew; return how many texts have changed. Never raises: pending ones are delivered later."""
        outdated = self._take(prompts)
        if not outdated:
            return 0
        try:
            await self._cache.invalidate_selections(outdated)
        except CacheError as error:
            logger.warning(
                "answers to a changed prompt are invalid as soon as the store answers: %s", type(error).__name__
            )
        return len({selection.tag for selection in outdated})

    async def reread(self) -> int:
        """Read the files again. As `replace`; a file that cannot be read keeps the text it had."""
        read = []
        for prompt in self._prompts.values():
            text = prompt.text if prompt.file is None else _text(prompt)
            read.append(PromptSettings(name=prompt.name, text=text, file=prompt.file))
        return await self.replace(read)

    async def watch(self) -> None:
        """Read the files again whenever one has changed, until cancelled."""
        self._changed()
        while True:
            await asyncio.sleep(EVERY)
            if self._changed():
                await self.reread()

    def _take(self, prompts: Sequence[PromptSettings]) -> list[Selection]:
        outdated: list[Selection] = []
        for prompt in prompts:
            before = self._prompts.get(prompt.name)
            changed = self._registry.put(Prompt(prompt.name, prompt.text))
            if changed is not None and before is not None:
                # Editors end a file with a line break that a program may not send.
                outdated += [text_selection(text) for text in _forms(before.text)]
        self._prompts = {prompt.name: prompt for prompt in prompts}
        self._names = {text: prompt.name for prompt in reversed(prompts) for text in _forms(prompt.text) if text}
        return outdated

    def _changed(self) -> bool:
        times = {}
        for prompt in self._prompts.values():
            if prompt.file is not None:
                try:
                    found = Path(prompt.file).stat()
                except OSError:
                    continue
                times[prompt.file] = (found.st_mtime, found.st_size)
        changed = bool(self._times) and any(self._times.get(file) != time for file, time in times.items())
        self._times = {**self._times, **times}
        return changed


def _forms(text: str) -> list[str]:
    bare = text.rstrip("\r\n")
    return [text] if bare == text else [text, bare]


def _text(prompt: PromptSettings) -> str:
    try:
        return Path(prompt.file or "").read_text()
    except (OSError, UnicodeDecodeError) as error:
        logger.warning(
            "the file of the prompt %r cannot be read (%s): its text stays", prompt.name, type(error).__name__
        )
        return prompt.text
