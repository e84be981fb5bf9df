"""The TOML file of a gateway. Every error names the file, the key, the value and the way out."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from cachecore.contract.errors import OptionsError
from cachecore_llm import CacheConfig
from cachecore_llm.policy.prompts import Prompt
from cachecore_proxy.admin.options import PageOptions
from cachecore_proxy.settings import (
    AccessSettings,
    Bounds,
    KeySettings,
    PromptSettings,
    Settings,
    UpstreamSettings,
)

T = TypeVar("T")

_SERVER: Final = {"host": str, "port": int, "access_log": bool, "metrics": bool}
_UPSTREAM: Final = {
    "name": str,
    "url": str,
    "protocols": list,
    "credential_env": str,
    "credential_file": str,
    "credential_header": str,
    "forward_keys": bool,
    "models": dict,
    "timeout": float,
    "first_content_timeout": float,
    "idle_timeout": float,
}
_KEY: Final = {"name": str, "sha256": str, "tenant": str}
_ACCESS: Final = {
    "forward_keys": bool,
    "scope": str,
    "tenant_header": str,
    "tenant_required": bool,
    "prompt_header": str,
    "digest_key_env": str,
    "keyed_headers": list,
}
_ADMIN: Final = {
    "host": str,
    "port": int,
    "token_env": str,
    "password_hash": str,
    "hosts": list,
    "https": bool,
}
_PROMPT: Final = {"name": str, "text": str, "file": str}
_CACHE: Final = {
    "ttl": object,
    "prefix": str,
    "enabled": bool,
    "stale_if_error": object,
    "stale_while_revalidate": object,
    "fallback_ttl": object,
    "soft_timeout": object,
    "live_ttl": object,
    "max_retention": object,
    "normalise": object,
    "allowed_tools": list,
    "ignore": list,
    "similar": bool,
    "similar_first": bool,
    "similar_threshold": float,
    "similar_ttl": object,
}
_BOUNDS: Final = {name: int if name.startswith("max_") else float for name in Bounds.__slots__}
_TABLES: Final = (
    "store",
    "server",
    "upstreams",
    "keys",
    "access",
    "bounds",
    "cache",
    "store_options",
    "prompts",
    "admin",
)


def read(path: Path, *, environment: Mapping[str, str] = os.environ, **options: Any) -> Settings:
    """Return the settings in the file at `path`; `options` of the command line come first.

    Raises:
        OptionsError: the file cannot be read, or a setting is wrong.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise OptionsError(
            f"{path}: cannot be read ({error.strerror}): give --config the path of a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(f"{path}: is no TOML: {error}") from None
    return Reader(str(path), path.parent, environment).settings(content, options)


class Reader:
    """Reads the content of one file."""

    def __init__(self, source: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._source, self._folder, self._environment = source, folder, environment

    def settings(self, content: Mapping[str, Any], options: Mapping[str, Any]) -> Settings:
        """Return the settings. Raises OptionsError."""
        self._known(content, _TABLES, "")
        given: dict[str, Any] = dict(self._table(content, "server", _SERVER))
        if "store" in content:
            given["store"] = self._of_type("store", content["store"], str)
        given["upstreams"] = tuple(map(self._upstream, self._tables(content, "upstreams", _UPSTREAM)))
        given["access"] = self._access(content)
        given["bounds"] = self._made("[bounds]", lambda: Bounds(**self._table(content, "bounds", _BOUNDS)))
        given["cache"] = self._cache(content)
        given["store_options"] = dict(self._any_table(content, "store_options"))
        given["admin"] = self._admin(content)
        given["prompts"] = tuple(map(self._prompt, self._tables(content, "prompts", _PROMPT)))
        chosen = {name: value for name, value in options.items() if value is not None}
        return self._made("the settings", lambda: Settings(**{**given, **chosen, "source": self._source}))

    def _upstream(self, table: dict[str, Any]) -> UpstreamSettings:
        name, place = table.get("name"), f"[[upstreams]] {table.get('name')!r}"
        for needed in ("name", "url"):
            if needed not in table:
                raise self._wrong(place, f"needs {needed}")
        credential = self._secret(place, table)
        given = {
            one: table[one]
            for one in _UPSTREAM
            if one in table and one not in ("protocols", "credential_env", "credential_file")
        }
        families = tuple(table.get("protocols", ()))
        del name
        return self._made(place, lambda: UpstreamSettings(**given, families=families, credential=credential))

    def _secret(self, place: str, table: Mapping[str, Any]) -> str | None:
        variable, file = table.get("credential_env"), table.get("credential_file")
        if variable is not None and file is not None:
            raise self._wrong(place, "has credential_env and credential_file: give one of them")
        if variable is not None:
            return self._variable(place, "credential_env", str(variable))
        if file is None:
            return None
        try:
            secret: str = (self._folder / file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._wrong(place, f"credential_file={file!r} cannot be read ({type(error).__name__})") from None
        if not secret or not secret.isprintable():
            raise self._wrong(place, f"credential_file={file!r} holds no credential on one line")
        return secret

    def _variable(self, place: str, key: str, variable: str) -> str:
        if variable.upper().startswith("CACHECORE_"):
            raise self._wrong(
                place, f"{key}={variable!r}: variables that begin with CACHECORE_ are settings of the cache; rename it"
            )
        secret = self._environment.get(variable, "").strip()
        if not secret or not secret.isprintable():
            raise self._wrong(
                place, f"{key}={variable!r}: the environment has no such variable, or nothing in it; set it"
            )
        return secret

    def _access(self, content: Mapping[str, Any]) -> AccessSettings:
        table = self._table(content, "access", _ACCESS)
        variable = table.pop("digest_key_env", None)
        secret = b"" if variable is None else self._variable("[access]", "digest_key_env", variable).encode()
        headers = tuple(table.pop("keyed_headers", ()))
        if not all(isinstance(one, str) for one in headers):
            raise self._wrong("[access]", f"keyed_headers must be names of headers, not {headers!r}")
        keys = tuple(map(self._key, self._tables(content, "keys", _KEY)))
        lowered = tuple(one.lower() for one in headers)
        return self._made(
            "[access]", lambda: AccessSettings(**table, keys=keys, digest_key=secret, keyed_headers=lowered)
        )

    def _key(self, table: dict[str, Any]) -> KeySettings:
        given = {"name": "", "sha256": "", **table}
        return self._made(f"[[keys]] {given['name']!r}", lambda: KeySettings(**given))

    def _admin(self, content: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(content, "admin", _ADMIN)
        if not table:
            return {}
        variable = table.pop("token_env", None)
        if variable is not None:
            table["token"] = self._variable("[admin]", "token_env", variable)
        if "hosts" in table:
            table["hosts"] = tuple(table["hosts"])
        given = {name: value for name, value in table.items() if name not in ("host", "port")}
        self._made("[admin]", lambda: PageOptions(**given))
        return table

    def _cache(self, content: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(content, "cache", _CACHE)
        if "ttl" in table:
            table["ttl_seconds"] = table.pop("ttl")
        for name in ("allowed_tools", "ignore"):
            if name in table:
                table[name] = frozenset(table[name])
        self._made("[cache]", lambda: CacheConfig(**table))
        return table

    def _prompt(self, table: dict[str, Any]) -> PromptSettings:
        place = f"[[prompts]] {table.get('name')!r}"
        if "name" not in table or ("text" in table) == ("file" in table):
            raise self._wrong(place, "needs a name, and either text or file")
        text, file = table.get("text"), table.get("file")
        if file is not None:
            path = self._folder / file
            try:
                text = path.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise self._wrong(place, f"file={file!r} cannot be read ({type(error).__name__})") from None
            file = str(path)
        self._made(place, lambda: Prompt(table["name"], text or ""))
        return PromptSettings(name=table["name"], text=text or "", file=file)

    # The form of the file

    def _tables(self, content: Mapping[str, Any], key: str, fields: Mapping[str, type]) -> list[dict[str, Any]]:
        given = content.get(key, [])
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise self._wrong(key, f"is written [[{key}]], once for each")
        return [self._checked(f"[[{key}]]", one, fields) for one in given]

    def _table(self, content: Mapping[str, Any], key: str, fields: Mapping[str, type]) -> dict[str, Any]:
        return self._checked(f"[{key}]", self._any_table(content, key), fields)

    def _any_table(self, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        given = content.get(key, {})
        if not isinstance(given, dict):
            raise self._wrong(key, f"is a table, written [{key}], not {given!r}")
        return given

    def _checked(self, place: str, table: Mapping[str, Any], fields: Mapping[str, type]) -> dict[str, Any]:
        self._known(table, tuple(fields), place)
        return {key: self._of_type(f"{place} {key}", value, fields[key]) for key, value in table.items()}

    def _of_type(self, place: str, value: Any, wanted: type) -> Any:
        if wanted is float and type(value) is int:
            return float(value)
        if wanted is object or (isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))):
            return value
        word = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
        raise self._wrong(place, f"must be {word.get(wanted, 'a table')}, not {value!r}")

    def _known(self, table: Mapping[str, Any], names: tuple[str, ...], place: str) -> None:
        for key in table:
            if key in names:
                continue
            if key in ("credential", "api_key", "key"):  # its value is a secret, and not shown
                raise self._wrong(
                    place, f"has {key!r}: a secret does not belong into the file; credential_env names a variable"
                )
            near = difflib.get_close_matches(key, names, n=1)
            way_out = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise self._wrong(place, f"has no key {key!r}: {way_out}")

    def _made(self, place: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except OptionsError as error:
            raise self._wrong(place, str(error)) from None

    def _wrong(self, place: str, reason: str) -> OptionsError:
        return OptionsError(f"{self._source}: {place + ': ' if place else ''}{reason}")
