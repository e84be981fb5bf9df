"""`LangChainCache`: the cache of LangChain's models, `set_llm_cache(LangChainCache("redis://localhost", ttl="1d"))`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakSet

from langchain_core.caches import BaseCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from langchain_core.tracers.context import register_configure_hook

from cachecore import Cache
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._form import Form, broken_off
from cachecore_frameworks._slot import Slot

_KINDS: Final = {kind.__name__: kind for kind in (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)}
_REASONS: Final = ("finish_reason", "stop_reason", "done_reason", "status")
_RUN_ID: Final = "lc_run-"
"""How the ids begin that LangChain gives to messages without one."""
_slots: WeakSet[Slot] = WeakSet()


def _whole(generations: Sequence[Generation]) -> bool:
    return all(type(one).__name__ in _KINDS and not _broken_off(one) for one in generations)


def _broken_off(one: Generation) -> bool:
    of_message = getattr(getattr(one, "message", None), "response_metadata", None)
    return any(broken_off(facts, _REASONS) for facts in (one.generation_info, of_message))


def _plain(generations: Sequence[Generation]) -> list[dict[str, Any]]:
    plain = []
    for one in generations:
        kept: dict[str, Any] = {"kind": type(one).__name__, "text": str(one.text), "info": one.generation_info}
        message: Any = getattr(one, "message", None)
        if message is not None:
            kept["message"] = message_to_dict(message)
            if str(message.id).startswith(_RUN_ID):  # two messages with one id replace each other in a graph
                kept["message"]["data"]["id"] = None
        plain.append(kept)
    return plain


def _made(plain: Any) -> list[Generation]:
    return [_generation(one) for one in plain]


def _generation(plain: Mapping[str, Any]) -> Generation:
    kind, message = _KINDS[plain["kind"]], plain.get("message")
    if message is None:
        return kind(text=plain["text"], generation_info=plain["info"])
    return kind(message=messages_from_dict([message])[0], generation_info=plain["info"])  # type: ignore[call-arg, unused-ignore]  # the kinds with a message


class LangChainCache(Adapter, BaseCache):
    """One call of a model for all that ask the same at once. Takes the arguments of `Cache`, or a `Cache` to share.

    All generations are kept, with their messages. Answers that a model broke off are not. Stored bytes become
    generations and messages of LangChain's own, and nothing else.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "langchain", **options: Any) -> None:
        self._slot = Slot(store, namespace, Form(plain=_plain, made=_made, whole=_whole), **options)
        _slots.add(self._slot)

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return the generations, or None: then the answer of this thread is awaited by all others."""
        return self._slot.get([prompt, llm_string])

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return the generations, or None: then the answer of this task is awaited by all others."""
        return await self._slot.aget([prompt, llm_string])

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep the generations, if they are whole."""
        self._slot.put([prompt, llm_string], return_val)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep the generations, if they are whole."""
        await self._slot.aput([prompt, llm_string], return_val)

    def clear(self, **kwargs: Any) -> None:
        """Make all answers of this namespace invalid, in every process."""
        self._slot.clear()

    async def aclear(self, **kwargs: Any) -> None:
        """Make all answers of this namespace invalid, in every process."""
        await self._slot.aclear()


class _Failures(BaseCallbackHandler):
    """Gives back the claims of a call with a failed model: LangChain tells its callbacks, not its cache."""

    run_inline = True
    ignore_chat_model = ignore_chain = ignore_agent = ignore_retriever = ignore_retry = ignore_custom_event = True

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        for slot in _slots:
            slot.release()


_failures: Final = _Failures()
register_configure_hook(ContextVar("cachecore_langchain_failures", default=_failures), inheritable=False)
