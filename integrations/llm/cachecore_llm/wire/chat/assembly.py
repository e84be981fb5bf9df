"""Chunks of OpenAI's chat protocol to a body, also those of servers that are only nearly compatible."""

from __future__ import annotations

from typing import Any

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.chat.shape import CHOICE_KNOWN, KNOWN, NO_CHOICES, ONCE, USAGE, child, is_indexed
from cachecore_llm.wire.facts import ErrorFacts, error_facts, text_or_none
from cachecore_llm.wire.pieces import NULL, SET, PieceLog
from cachecore_llm.wire.protocol import Recording
from cachecore_llm.wire.text import Grown, joined

_ABSENT = object()
_KEPT_FIRST = frozenset({"id", "created", "model"})
_CHANGES = frozenset({"service_tier", "system_fingerprint", "moderation"})
_APART = frozenset({"choices", "usage", "object", "obfuscation", "error"})


_SILENT = frozenset({"index", "delta", "finish_reason", "logprobs"})


class _Indexed(dict[int, dict[str, Any]]):
    """Entries of a list under their indices."""


class _Choice:
    __slots__ = ("aliases", "beside", "delta", "entries", "message", "plain", "prefix", "seen")

    def __init__(self, index: int) -> None:
        self.prefix = f"{index}/c/"
        self.delta = f"{index}/d/"
        self.message: dict[str, Any] = {}
        self.beside: dict[str, Any] = {}
        self.entries = 0
        self.seen: dict[str, int] = {}  # in how many entries each field beside the delta was, null included
        self.aliases: dict[int, int] = {}  # index that a server uses again for another call -> the call's place
        self.plain: dict[str, Any] | None = None  # an entry that says nothing beside its delta, without it


class ChatAssembly:
    """Assembly of `openai.chat`."""

    def __init__(self, n: int = 1) -> None:
        self._n = n
        self._head: dict[str, Any] = {}
        self._seen: dict[str, int] = {}
        self._chunks = self._with_choices = 0
        self._plain: JsonObject | None = None  # the chunk before, without its choices
        self._repeated = 0
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None
        self._log = PieceLog()
        self._error: ErrorFacts | None = None
        self._known = True
        self._ended = False
        self.started = False

    def feed(self, event: JsonObject) -> None:
        """Take the next chunk."""
        if event.get("error") is not None or event.get("object") == "error":
            self._error = error_facts(event.get("error") or event)
            return
        if event.get("type") == "ping" and "choices" not in event:
            return
        self._chunks += 1
        self._log.event()
        choices = event.get("choices")
        entries = choices if isinstance(choices, list) else []
        usage = event.get("usage")
        if usage is None and len(entries) == 1 and self._take_more(event, entries[0]):
            return
        self._take_head(event, 1 if entries else 0)
        if entries:
            self._with_choices += 1
        for place, entry in enumerate(entries):
            if isinstance(entry, dict):
                self._take_choice(entry, place)
            else:
                self._known = False
        if usage is not None:
            self._usage = usage
            self._log.add(USAGE, SET)
        elif not entries:
            self._log.add(NO_CHOICES, SET)

    def end(self) -> None:
        """Say that the body ended cleanly, or `[DONE]` came."""
        self._ended = True

    def recording(self) -> Recording:
        """Return the answer assembled from the chunks so far."""
        if not self._chunks:
            return Recording(body=None, pieces=None, complete=False, whole=False, error=self._error)
        self._count_repeated()
        self._log.extra["every"] = [key for key in self._head if self._seen[key] == self._with_choices]
        self._log.extra["always"] = [
            key
            for key in ("finish_reason", "logprobs")
            if all(choice.seen.get(key, 0) in (0, choice.entries) for choice in self._choices.values())
        ]
        return Recording(
            body=self._body(),
            pieces=self._log.pieces(),
            complete=self._ended and self._error is None and self._finished(),
            whole=self._known and self._error is None and all(map(_has_whole_audio, self._choices.values())),
            error=self._error,
        )

    def _body(self) -> JsonObject:
        body: JsonObject = {"object": "chat.completion", **self._head}
        choices = []
        for index in sorted(self._choices):
            choice = self._choices[index]
            message = joined(choice.message)
            message.setdefault("content", None)
            choices.append({"index": index, "message": message, "finish_reason": None, **joined(choice.beside)})
        body["choices"] = choices
        if self._usage is not None:
            body["usage"] = self._usage
        return body

    def _finished(self) -> bool:
        wanted = set(range(self._n)) | set(self._choices)
        return all(i in self._choices and text_or_none(self._choices[i].beside.get("finish_reason")) for i in wanted)

    def _take_more(self, event: JsonObject, entry: Any) -> bool:
        """Take a chunk that differs from the one before by more text alone, as nearly every one does.

        False: it is of another kind, and nothing was taken.
        """
        if self._plain is None or type(entry) is not dict or type(index := entry.get("index")) is not int:
            return False
        choice, delta = self._choices.get(index), entry.get("delta")
        if choice is None or choice.plain is None or type(delta) is not dict or len(delta) != 1:
            return False
        ((key, value),) = delta.items()
        grown = choice.message.get(key)
        if type(grown) is not Grown or not grown.text or type(value) is not str or not value or key in ONCE:
            return False
        beside, plain = entry.copy(), event.copy()
        beside["delta"] = plain["choices"] = None
        if beside != choice.plain or plain != self._plain:
            return False
        self._repeated += 1
        self._with_choices += 1
        # The choice's own counts stay: one entry like this is counted, so which fields all entries have is the same.
        grown.append(value)
        self._log.add(child(choice.delta, key), len(value))
        self.started = True
        return True

    def _take_head(self, event: JsonObject, seen_now: int) -> None:
        plain = event.copy()
        plain["choices"] = None
        if plain == self._plain and seen_now:
            self._repeated += 1  # nearly every chunk says the same beside its choices
            return
        self._count_repeated()
        self._plain = plain if seen_now else None
        head, seen = self._head, self._seen
        for key, value in event.items():
            if key in _APART:
                continue
            old = head.get(key, _ABSENT)
            if old is _ABSENT:
                head[key] = value
                seen[key] = seen_now
            elif old == value:
                seen[key] += seen_now
            elif key in _KEPT_FIRST:
                head[key] = old or value  # Azure's first chunk has an empty id
            elif value is not None:
                head[key] = value
                if old is not None and key not in _CHANGES:
                    self._known = False

    def _count_repeated(self) -> None:
        for key in self._plain or ():
            if key in self._seen:
                self._seen[key] += self._repeated
        self._repeated = 0

    def _take_choice(self, entry: dict[str, Any], place: int) -> None:
        index = entry.get("index")
        if type(index) is not int or index < 0:
            index = place
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index)
        choice.entries += 1
        before = self._log.added
        delta = entry.get("delta")
        if isinstance(delta, dict) and delta:
            self._merge(choice, choice.message, delta, choice.delta, KNOWN)
        for key, value in entry.items():
            if key in ("index", "delta"):
                continue
            choice.seen[key] = choice.seen.get(key, 0) + 1
            if key in ("finish_reason", "logprobs") and (value is None or value == ""):
                choice.beside.setdefault(key, None)
            elif key == "finish_reason" and value == "error":
                self._error = ErrorFacts(kind="error")
            elif key == "logprobs":
                self._merge(choice, choice.beside, {key: value}, choice.prefix, CHOICE_KNOWN)
            else:
                self._known = self._known and (key in CHOICE_KNOWN or choice.beside.get(key) in (None, value))
                if value or not choice.beside.get(key):
                    choice.beside[key] = value
                self._log.add(child(choice.prefix, key), NULL if value is None else SET)
        if self._log.added == before:
            self._log.add(str(index), SET)
        if entry.keys() <= _SILENT and entry.get("finish_reason") is None and entry.get("logprobs") is None:
            choice.plain = {**entry, "delta": None}

    def _merge(
        self, choice: _Choice, node: dict[str, Any], delta: dict[str, Any], prefix: str, known: frozenset[str]
    ) -> None:
        """Merge a delta into `node`, noting a step for each leaf."""
        log = self._log
        for key, value in delta.items():
            slot = child(prefix, key)
            old = node.get(key)
            if old is None and key not in known and value is not None:
                self._known = False
            if isinstance(value, str) and key not in ONCE:
                if type(old) is not Grown or not old.text:
                    old = self._start(node, key, old, text=True)
                old.append(value)
                log.add(slot, len(value))
                if value:
                    self.started = True
            elif value is None:
                node.setdefault(key, None)
                log.add(slot, NULL)
            elif isinstance(value, dict) and value:
                inner = old if isinstance(old, dict) else {} if old is None else None  # null may come first
                if inner is None or type(inner) is _Indexed:
                    self._known, inner = False, {}
                node[key] = inner
                self._merge(choice, inner, value, slot + "/", known)
            elif isinstance(value, list):
                self._merge_list(choice, node, key, value, slot, known)
            else:
                self._set(node, key, value, slot)

    def _set(self, node: dict[str, Any], key: str, value: Any, slot: str) -> None:
        old = node.get(key)
        if value == {} and isinstance(old, dict):
            value = old  # nothing new
        elif old not in (None, "", value):
            # A name that comes in two parts is joined, as both parts are needed; an id that changes is the last one.
            self._known = False
            if key == "name":
                value = old + value if isinstance(old, str) and isinstance(value, str) else value
        if value != "" or key not in node:
            node[key] = value
        self._log.add(slot, SET)

    def _merge_list(
        self, choice: _Choice, node: dict[str, Any], key: str, entries: list[Any], slot: str, known: frozenset[str]
    ) -> None:
        old = node.get(key)
        calls = key == "tool_calls" and slot == choice.delta + "tool_calls"
        if entries:
            self.started = True
        if (calls and entries and all(isinstance(entry, dict) for entry in entries)) or is_indexed(entries):
            if type(old) is not _Indexed:
                self._known = self._known and not old
                old = node[key] = _Indexed()
            for entry in entries:
                index = _place_of_call(old, entry, choice.aliases) if calls else entry["index"]
                inner = old.setdefault(index, {} if calls else {"index": index})
                rest = {name: value for name, value in entry.items() if name != "index"}
                if rest:
                    self._merge(choice, inner, rest, f"{slot}/{index}/", known)
                else:
                    self._log.add(f"{slot}/{index}", SET)
            return
        if type(old) is not Grown or old.text:
            old = self._start(node, key, old, text=False)
        if slot == choice.delta + "content":
            self._known = False  # content is known to be text only
        old.append(entries)
        self._log.add(slot, len(entries))

    def _start(self, node: dict[str, Any], key: str, old: Any, *, text: bool) -> Grown:
        """Return a new growing value in place of `old`, which was of another kind."""
        if old is not None and not (type(old) is Grown and not any(old)):
            self._known = False
        grown = node[key] = Grown(text)
        return grown


def _has_whole_audio(choice: _Choice) -> bool:
    """Whether the joined audio is base64: pieces that were padded each for itself can only be streamed."""
    audio = choice.message.get("audio")
    data = audio.get("data") if isinstance(audio, dict) else None
    if type(data) is not Grown:
        return True
    return "=" not in "".join(piece for piece in data if isinstance(piece, str)).rstrip("=")


def _place_of_call(calls: _Indexed, entry: dict[str, Any], aliases: dict[int, int]) -> int:
    """Return the place of a fragment of a tool call, also where the server names none.

    Some servers leave out the index, some give index 0 to every call, some repeat the id in each fragment.
    """
    index, call_id = entry.get("index"), entry.get("id")
    function = entry.get("function")
    named = isinstance(function, dict) and bool(function.get("name"))
    by_id = next((place for place, call in calls.items() if call_id and call.get("id") == call_id), None)
    if by_id is not None:
        return by_id
    following = max(calls, default=-1) + 1
    if type(index) is int and index >= 0:
        place = aliases.get(index, index)
        other = calls.get(place)
        if other is not None and call_id and other.get("id") and named:
            aliases[index] = following
            return following
        return place
    if call_id or named or not calls:
        return following
    return following - 1
