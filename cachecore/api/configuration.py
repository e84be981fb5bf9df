"""Where settings come from when they are not written in code: a mapping, the environment, a file.

The first that names a setting decides: an argument or the mapping given, then variables called `CACHECORE_` and the
setting's name in capitals, then the file: `cachecore.toml`, or the table `[tool.cachecore]` of `pyproject.toml`:

    backend_env = "REDIS_URL"            # the URL is in that variable: it holds a password
    ttl = "24h"                          # or seconds, or "forever"
    stale_if_error = "7d"
    l1_max_bytes = "128MiB"
    tags = ["shop"]

    [hasher]                             # or hasher = "sha256"
    name = "blake2b"
    secret_file = "/run/secrets/cache"   # relative paths start at the file's folder

    [serializer]                         # or serializer = "compressed+msgpack"
    name = "encrypted+compressed+msgpack"
    keys = { k2_env = "CACHE_KEY_2", k1_env = "CACHE_KEY_1" }

The settings are `backend`, `namespace`, `prefix`, `tags`, `hasher`, `serializer` and every field of `Policy`,
`StoreOptions` and `MemoryOptions`. Any text may be given indirectly: `x_env` names a variable and `x_file` a file that
holds `x`. In the environment, two underscores lead into a table: `CACHECORE_HASHER__SECRET`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from cachecore.api.build import typed_like
from cachecore.api.settings import SETTINGS, TABLES, TEXTS, read_field
from cachecore.contract import plugins
from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import Serializer, WrapsSerializer

VARIABLE_PREFIX: Final = "CACHECORE_"
FILES: Final = ("cachecore.toml", "pyproject.toml")

# Variables that Kubernetes sets in every container beside a service named cachecore.
_NOT_OURS = re.compile(r"OFF|SERVICE_HOST|SERVICE_PORT.*|PORT|PORT_\d+_.*")


def load(
    source: str | Path | Mapping[str, object] | None = None,
    *,
    value_type: Any = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> dict[str, object]:
    """Return the settings of a cache as keyword arguments; those that no source names are left out.

    Durations are seconds, sizes bytes, `ttl` None if it is "forever". A hasher or serializer named alone stays its
    name; one with options is built here, so that its secrets are inside it and nowhere else. The backend's URL is
    returned as it is.

    Args:
        source: settings, or the path of a file or of its folder. Without a path the file is looked for in `folder`;
            it need not be there.
        value_type: given to the serializer, if it takes one.
        environment: instead of `os.environ`.
        folder: instead of the working directory.

    Raises:
        OptionsError: a setting is unknown, of the wrong type or out of its limits; says where it stands.
        PluginNotFound: no hasher or serializer is called that.
    """
    settings: dict[str, object] = {}
    for origin in _sources(source, environment, folder):
        for name, value in origin.settings().items():
            if isinstance(value, dict) and "name" not in value:  # options of what an earlier source named
                value = {**cast("dict[str, Any]", settings.get(name, {})), **value}
            settings[name] = value
    for kind in TABLES & settings.keys():
        settings[kind] = _built(kind, cast("dict[str, Any]", settings[kind]), value_type)  # _plugin made it
    return settings


def origins(source: str | Path | None = None) -> dict[str, tuple[object, str]]:
    """Return each setting that file and environment name, as it was read, and the place that decides it.

    Hashers and serializers are tables of their options: not to be shown as they are, nor is the backend. Raises as
    `load`.
    """
    found: dict[str, tuple[object, str]] = {}
    for origin in _sources(source, None, None):
        for name, value in origin.settings().items():
            place = origin.place if not origin.text else VARIABLE_PREFIX + name.upper()
            found[name] = value, place
    return found


def _sources(
    source: str | Path | Mapping[str, object] | None, environment: Mapping[str, str] | None, folder: Path | None
) -> list[_Source]:
    """Return the places that name settings; a later one decides."""
    variables = os.environ if environment is None else environment
    folder = Path.cwd() if folder is None else folder
    given = dict(source) if isinstance(source, Mapping) else {}
    path = _file(folder) if source is None or isinstance(source, Mapping) else _given_file(Path(source))
    filed = _table(path) if path else {}
    return [
        _Source(str(path), filed, path.parent if path else folder, variables),
        _Source(
            "the environment",
            _from_environment(variables, _referred(filed) | _referred(given)),
            folder,
            variables,
            text=True,
        ),
        _Source("the settings given", given, folder, variables),
    ]


def completed(arguments: Mapping[str, Any], source: str | Path | Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the arguments of a cache, completed by the settings of `source`, environment and file.

    A configured serializer stores values of the `value_type` in `arguments`, compressed and encrypted as it is. Raises
    as `load`. A working directory that cannot be read has no file.
    """
    try:
        folder = Path.cwd()
    except OSError:  # removed, or of another user
        folder = Path("/")
    settings = load(source, value_type=arguments.get("value_type"), folder=folder)
    chosen = settings.get("serializer") if "serializer" not in arguments else None
    value_type = arguments.get("value_type")
    settings.update(arguments)
    if chosen is not None and value_type is not None:
        settings["serializer"], settings["value_type"] = _typed(chosen, value_type), None
    return settings


def _typed(serializer: object, value_type: Any) -> Serializer:
    if isinstance(serializer, str):
        return typed_like(plugins.serializer(serializer.replace("typed", "msgpack")), value_type)
    from cachecore.serializers.typed import TypedSerializer

    made = cast("Serializer", serializer)  # of `load`: a name or a serializer
    inner = made
    while isinstance(inner, WrapsSerializer):
        inner = inner.inner
    return made if isinstance(inner, TypedSerializer) else typed_like(made, value_type)


@dataclass(frozen=True, slots=True)
class _Source:
    """One place that names settings; errors say which. With `text`, numbers are written as text, as in variables."""

    place: str
    table: Mapping[str, object] = field(repr=False)
    folder: Path
    variables: Mapping[str, str] = field(repr=False)
    text: bool = False

    def settings(self) -> dict[str, object]:
        """Return the settings of this source, read and checked."""
        settings = self._direct(self.table, SETTINGS)
        return {name: self._read(name, value) for name, value in settings.items()}

    def _where(self, name: str) -> str:
        return VARIABLE_PREFIX + name.upper() if self.text else self.place

    def _direct(self, table: Mapping[str, object], known: frozenset[str] | None) -> dict[str, object]:
        """Return `table` with the values of `x_env` and `x_file` under `x`."""
        direct: dict[str, object] = {}
        for written, value in table.items():
            name, how = written, ""
            if known is None or written not in known:
                for suffix in ("_env", "_file"):
                    if written.endswith(suffix):
                        name, how = written.removesuffix(suffix), suffix
            if known is not None and name not in known:
                raise OptionsError(f"{self._where(written)}: no setting is called {name!r}{_suggestion(name, known)}")
            if name in direct:
                raise OptionsError(f"{self._where(written)}: {name} is given twice, once as {written}")
            direct[name] = self._indirect(written, value, how) if how else value
        return direct

    def _indirect(self, written: str, value: object, how: str) -> str:
        if not isinstance(value, str):
            raise OptionsError(f"{self._where(written)}: {written} must be text, not {type(value).__name__}")
        if how == "_env":
            if value not in self.variables:
                raise OptionsError(f"{self._where(written)}: {written} names the variable {value}, which is not set")
            return self.variables[value]
        try:
            return (self.folder / value).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            raise OptionsError(f"{self._where(written)}: {written} names the file {value}: {why}") from None

    def _read(self, name: str, value: object) -> object:
        if name in TABLES:
            return self._plugin(name, value)
        if name == "tags":
            return self._tags(value)
        if name in TEXTS:
            if not isinstance(value, str):  # not shown: a URL may hold a password
                raise OptionsError(f"{self._where(name)}: {name} must be text, not {type(value).__name__}")
            return value
        try:
            return read_field(name, value, self.text)
        except OptionsError as error:
            raise OptionsError(f"{self._where(name)}: {error}") from None

    def _plugin(self, name: str, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping):
            raise OptionsError(f"{self._where(name)}: {name} must be a name or a table, not {type(value).__name__}")
        table = self._direct(value, None)
        return {
            option: self._direct(nested, None) if isinstance(nested, Mapping) else nested
            for option, nested in table.items()
        }

    def _tags(self, value: object) -> tuple[str, ...]:
        if self.text and isinstance(value, str):
            return tuple(tag.strip() for tag in value.split(",") if tag.strip())
        if not isinstance(value, list | tuple) or not all(isinstance(tag, str) for tag in value):
            raise OptionsError(f"{self._where('tags')}: tags must be a list of texts, not {value!r}")
        return tuple(value)


def _suggestion(name: str, known: frozenset[str]) -> str:
    import difflib  # needed for an error alone

    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the settings are: {', '.join(sorted(known))}"


def _file(folder: Path) -> Path | None:
    """Return the first file of `folder` that has settings."""
    for name in FILES:
        path = folder / name
        try:
            there = path.is_file()
        except OSError:  # in a folder of another user
            continue
        if there and _table(path):
            return path
    return None


def _given_file(path: Path) -> Path:
    file = _file(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise OptionsError(f"there are no settings at {path}")
    return file


def _table(path: Path) -> Mapping[str, object]:
    try:
        data: Any = _parsed(path)
    except (ValueError, OSError) as error:  # no TOML, or no UTF-8
        raise OptionsError(f"{path} cannot be read: {error}") from error
    if path.name == "pyproject.toml":
        data = data.get("tool", {}).get("cachecore", {})
    elif set(data) == {"cachecore"}:  # the same table as in pyproject.toml, where it is called [tool.cachecore]
        data = data["cachecore"]
    if not isinstance(data, Mapping):
        raise OptionsError(f"{path}: cachecore must be a table")
    return data


_files: dict[Path, tuple[tuple[int, int], Mapping[str, Any]]] = {}  # path -> version of the file, and its content


def _parsed(path: Path) -> Mapping[str, Any]:
    """Return the content of a TOML file; an unchanged file is not read again, because every cache asks.

    Of a pyproject.toml without our table nothing is read: whether it is right is not our business.
    """
    stat = path.stat()
    version = stat.st_mtime_ns, stat.st_size
    parsed = _files.get(path)
    if parsed is None or parsed[0] != version:
        text = path.read_text(encoding="utf-8")
        other = path.name == "pyproject.toml" and "cachecore" not in text
        parsed = _files[path] = version, {} if other else _loads(text)
    return parsed[1]


def _loads(text: str) -> Mapping[str, Any]:
    import tomllib  # only where there is a file

    return tomllib.loads(text)


def _from_environment(variables: Mapping[str, str], referred: set[str]) -> dict[str, object]:
    """Return the settings of our variables. An empty one is ignored; one that a setting refers to is no setting."""
    settings: dict[str, Any] = {}
    for variable in sorted(variables.keys() - referred):  # so a plugin's name comes before its options
        if not _ours(variable) or not variables[variable]:
            continue
        table = settings
        *steps, last = variable.removeprefix(VARIABLE_PREFIX).lower().split("__")
        for step in steps:
            if not isinstance(table.get(step), dict):
                table[step] = {"name": table[step]} if step in table else {}
            table = table[step]
        table[last] = variables[variable]
    return settings


def _referred(table: Mapping[str, object]) -> set[str]:
    """Return the variables that `table` takes values from."""
    variables = {value for name, value in table.items() if name.endswith("_env") and isinstance(value, str)}
    return variables.union(*(_referred(value) for value in table.values() if isinstance(value, Mapping)))


def _ours(variable: str) -> bool:
    return variable.startswith(VARIABLE_PREFIX) and not _NOT_OURS.fullmatch(variable.removeprefix(VARIABLE_PREFIX))


def _built(kind: str, table: Mapping[str, Any], value_type: Any) -> object:
    """Return the plugin that `table` describes, or its name alone if it says no more."""
    name, options = table.get("name"), {option: value for option, value in table.items() if option != "name"}
    if not isinstance(name, str):
        raise OptionsError(f"the table {kind} needs a name")
    if not options:
        return name
    if kind == "hasher":
        if isinstance(options.get("secret"), str):
            options["secret"] = options["secret"].encode()
        return plugins.hasher(name, **options)
    if value_type is not None and "typed" in name.split("+"):
        options["value_type"] = value_type
    return plugins.serializer(name, **options)
