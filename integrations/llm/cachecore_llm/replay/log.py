"""Logs of requests: JSON lines, JSON, CSV or plain text, one record at a time. What is wrong with one is told with its
number.

The form of a record is that of `shapes`, recognised by its fields. Fields of the form `own`: `system_prompt`,
`user_message`, and optionally `context`, `params` (an object, or JSON text in CSV), `tenant`, `label`. Other fields are
not part of the request unless they are named as parameters; which were left out is counted.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import MIB
from cachecore_llm.replay.json_stream import BrokenJSONError, values_in
from cachecore_llm.replay.shapes import FORMATS, NO_FACTS, RECORDING, Facts, parsed, recognised, request_in
from cachecore_llm.replay.spans import spans_in
from cachecore_llm.request import LLMRequest
from cachecore_llm.wire import Call

_FIELDS: Final = frozenset({"system_prompt", "user_message", "context", "params", "tenant", "label"})
_REQUIRED: Final = ("system_prompt", "user_message")
_MAX_FIELD: Final = 16 * MIB
_QUESTIONS: Final = ("user_message", "prompt", "question", "query", "input", "text")
"""Columns of CSV that hold the question where there is no column of a system prompt."""
_TEXTS: Final = (".txt", ".text")
_LINES: Final = (".csv", ".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a log, or its defect."""

    number: int
    """From 1; in CSV the line on which the record ends."""
    request: LLMRequest | Call | None
    problem: str | None = None
    """Why there is none: a reason, then perhaps `: ` and particulars."""
    facts: Facts = field(default=NO_FACTS, compare=False)
    """The facts of the log beside the request."""


class LogReader:
    """Reads one log. Iterating opens it; `position` and `size` (bytes) tell how far that has come."""

    def __init__(self, path: Path, *, params: Iterable[str] = (), form: str | None = None) -> None:
        """Read `path`.

        Args:
            path: the log.
            params: fields that are parameters of the request, besides those in `params` itself; of the form `own`.
            form: one of `FORMATS`, for all records; None: each is recognised by its fields.

        Raises:
            OptionsError: there is no such form.
        """
        if form is not None and form not in FORMATS:
            raise OptionsError(f"there is no format {form!r}; there are {', '.join(FORMATS)}")
        self.path = path
        self.size = path.stat().st_size
        self.position = 0
        self.ignored: Counter[str] = Counter()
        """How many lines had a field that is not part of the request."""
        self.forms: Counter[str] = Counter()
        """How many requests were read of each form."""
        self._params = frozenset(params) - _FIELDS
        self._form = form

    def __iter__(self) -> Iterator[Line]:
        with self.path.open("rb") as file:
            yield from self._kind(file)(file)

    def _kind(self, file: IO[bytes]) -> Callable[[IO[bytes]], Iterator[Line]]:
        """Return the reader of the file, by its name and its first bytes."""
        suffix = self.path.suffix.lower()
        if self._form == "text" or (suffix in _TEXTS and self._form is None):
            return self._text
        if suffix in _LINES:
            return self._csv if suffix == ".csv" else self._json_lines
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(0)
        if start.startswith(b"["):
            return self._json
        if start.startswith(b"{"):
            return self._json if start.split(b"\n", 1)[0].strip() == b"{" else self._json_lines
        return self._csv

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        self.position = 0
        for line in file:
            yield line if self.position else line.removeprefix(b"\xef\xbb\xbf")
            self.position += len(line)

    def _text(self, file: IO[bytes]) -> Iterator[Line]:
        for number, data in enumerate(self._lines(file), 1):
            try:
                text = data.decode().strip()
            except UnicodeDecodeError:
                yield Line(number, None, "not UTF-8")
                continue
            if text:
                self.forms["text"] += 1
                yield Line(number, LLMRequest("", text))

    def _json(self, file: IO[bytes]) -> Iterator[Line]:
        number = 0
        self.position = 0

        def read(size: int) -> None:
            self.position += size

        try:
            for number, found in enumerate(values_in(file, read), 1):
                yield from self._records(number, found)
        except BrokenJSONError as error:
            yield Line(number + 1, None, f"{error}: nothing behind it can be read")

    def _json_lines(self, file: IO[bytes]) -> Iterator[Line]:
        for number, data in enumerate(self._lines(file), 1):
            if not data.strip():
                continue
            try:
                found = json.loads(data.decode())
            except UnicodeDecodeError:
                yield Line(number, None, "not UTF-8")
            except ValueError as error:
                yield Line(number, None, f"not JSON: {error.msg if isinstance(error, json.JSONDecodeError) else error}")
            except RecursionError:
                yield Line(number, None, "not JSON that can be read: nested too deeply")
            else:
                yield from self._records(number, found)

    def _csv(self, file: IO[bytes]) -> Iterator[Line]:
        csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD))
        # Bytes that are no UTF-8 become lone surrogates, so that only their own record is lost.
        rows = csv.reader((data.decode("utf-8", "surrogateescape") for data in self._lines(file)), strict=True)
        header: list[str] | None = None
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Line(rows.line_num, None, f"not CSV: {error}")
                continue
            if header is None:
                header = self._header([name.strip() for name in row])
                continue
            if not row:
                continue
            if len(row) != len(header):
                yield Line(rows.line_num, None, f"{len(row)} columns where the first line names {len(header)}")
                continue
            # An empty cell is a field that is not there.
            yield self._row(rows.line_num, dict(zip(header, row, strict=True)))

    def _header(self, names: list[str]) -> list[str]:
        """Return the columns, by the names that fields have. Raises OptionsError if no request can be in them."""
        missing = [name for name in _REQUIRED if name not in names]
        if not missing or self._form not in (None, "own") or recognised(dict.fromkeys(names)) is not None:
            return names
        questions = [name for name in _QUESTIONS if name in names]
        if "system_prompt" not in names and questions:
            return ["user_message" if name == questions[0] else name for name in names]
        raise OptionsError(
            f"{self.path.name}: the first line of a CSV log names its columns; there is no {missing[0]}. "
            "Where each line is a question: --format text"
        )

    def _row(self, number: int, cells: dict[str, str]) -> Line:
        if "user_message" in cells and self._form in (None, "own"):
            cells.setdefault("system_prompt", "")
            own = {name: cell for name, cell in cells.items() if cell or name in _REQUIRED}
            return self._line(number, own, text=True)
        return self._line(number, {name: parsed(cell) for name, cell in cells.items() if cell})

    def _records(self, number: int, found: object) -> Iterator[Line]:
        if isinstance(found, dict) and found.get("form") == RECORDING:
            return  # its first line
        spans = spans_in(found) if isinstance(found, dict) else None
        if spans is None:
            yield self._line(number, found)
        else:
            for span in spans:
                yield self._line(number, span)

    def _line(self, number: int, found: object, *, text: bool = False) -> Line:
        if not isinstance(found, Mapping):
            return Line(number, None, f"a request is an object, not {_json_name(found)}")
        form = self._form or recognised(found)
        try:
            if form is None and _FIELDS.isdisjoint(found):
                return Line(number, None, "a record of no known form")
            if form in (None, "own"):
                request: LLMRequest | Call = self._request(found, text=text)
                self.forms["own"] += 1
                return Line(number, request)
            call, facts = request_in(found, form)
        except ValueError as error:  # UnreadableRecordError among them
            return Line(number, None, str(error))
        self.forms[form] += 1
        return Line(number, call, facts=facts)

    def _request(self, found: Mapping[str, Any], *, text: bool) -> LLMRequest:
        for name in _REQUIRED:
            if name not in found:
                raise ValueError(f"no {name}")
            if not isinstance(found[name], str):
                raise ValueError(f"{name} is {_json_name(found[name])}, not text")
        if not found["user_message"].strip():
            raise ValueError("user_message is empty")
        for name in (*_REQUIRED, "tenant", "label"):
            value = found.get(name)
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{name} is {_json_name(value)}, not text")
            if value is not None and not _is_utf8(value):
                raise ValueError(f"{name} is not UTF-8")
        params = found.get("params")
        if text and params is not None:
            params = _parsed("params", params)
        if params is None:
            params = {}
        if not isinstance(params, dict):
            raise ValueError(f"params is {_json_name(params)}, not an object")
        for name in found:
            if name in self._params:
                params = {**params, name: _guessed(found[name]) if text else found[name]}
            elif name not in _FIELDS:
                self.ignored[name] += 1
        # A log of streamed requests is replayed whole: streaming is how an answer travels, not what it says.
        params = {name: value for name, value in params.items() if name not in ("stream", "stream_options")}
        return LLMRequest(
            system_prompt=found["system_prompt"],
            user_message=found["user_message"],
            context=found.get("context"),
            params=params,
            tenant=found.get("tenant") or None,
            label=found.get("label") or None,
        )


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is not JSON") from None


def _guessed(text: str) -> Any:
    """Return the number, truth value or text that a cell of CSV holds."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
