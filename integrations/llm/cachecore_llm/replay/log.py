"""Logs of requests: JSON lines or CSV, read line by line. What is wrong with a line is told with its number.

Fields: `system_prompt`, `user_message`, and optionally `context`, `params` (an object, or JSON text in CSV), `tenant`,
`label`. Other fields are not part of the request unless they are named as parameters; which were left out is counted.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import MIB
from cachecore_llm.request import LLMRequest

_FIELDS: Final = frozenset({"system_prompt", "user_message", "context", "params", "tenant", "label"})
_REQUIRED: Final = ("system_prompt", "user_message")
_MAX_FIELD: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a log, or what is wrong with it."""

    number: int
    """From 1; in CSV the line on which the record ends."""
    request: LLMRequest | None
    problem: str | None = None


class LogReader:
    """Reads one log. Iterating opens it; `position` and `size` (bytes) tell how far that has come."""

    def __init__(self, path: Path, *, params: Iterable[str] = ()) -> None:
        """Read `path`; the fields named in `params` are parameters of the request, besides those in `params` itself."""
        self.path = path
        self.size = path.stat().st_size
        self.position = 0
        self.ignored: Counter[str] = Counter()
        """How many lines had a field that is not part of the request."""
        self._params = frozenset(params) - _FIELDS

    def __iter__(self) -> Iterator[Line]:
        with self.path.open("rb") as file:
            yield from self._csv(file) if self._is_csv(file) else self._json_lines(file)

    def _is_csv(self, file: IO[bytes]) -> bool:
        suffix = self.path.suffix.lower()
        if suffix in (".csv", ".jsonl", ".ndjson"):
            return suffix == ".csv"
        start = file.read(4096)
        file.seek(0)
        return not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        self.position = 0
        for line in file:
            yield line if self.position else line.removeprefix(b"\xef\xbb\xbf")
            self.position += len(line)

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
                yield self._line(number, found)

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
                header = [name.strip() for name in row]
                if missing := [name for name in _REQUIRED if name not in header]:
                    raise OptionsError(
                        f"{self.path.name}: the first line of a CSV log names its columns; there is no {missing[0]}"
                    )
                continue
            if not row:
                continue
            if len(row) != len(header):
                yield Line(rows.line_num, None, f"{len(row)} columns where the first line names {len(header)}")
                continue
            # An empty cell is a field that is not there.
            yield self._line(
                rows.line_num,
                {n: cell for n, cell in zip(header, row, strict=True) if cell or n in _REQUIRED},
                text=True,
            )

    def _line(self, number: int, found: object, *, text: bool = False) -> Line:
        if not isinstance(found, dict):
            return Line(number, None, f"a request is an object, not {_json_name(found)}")
        try:
            request = self._request(found, text=text)
        except ValueError as error:
            return Line(number, None, str(error))
        return Line(number, request)

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
