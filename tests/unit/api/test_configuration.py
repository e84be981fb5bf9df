"""Settings from a mapping, the environment and a file: which wins, what text means, what is refused."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from cachecore.api import configuration
from cachecore.api.settings import SETTINGS
from cachecore.contract.errors import OptionsError, PluginNotFound
from cachecore.contract.options import MemoryOptions, Policy, StoreOptions
from cachecore.contract.protocols import KeyHasher, Serializer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, text: str, name: str = "cachecore.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(
    source: str | Path | Mapping[str, object] | None, folder: Path, environment: Mapping[str, str] | None = None
) -> dict[str, object]:
    return configuration.load(source, environment=environment or {}, folder=folder)


def test_nothing_named_is_nothing_set(folder: Path) -> None:
    assert load(None, folder) == {}


def test_every_option_is_a_setting() -> None:
    """A field added to the table of options can be configured without touching the loader."""
    names = {field.name for options in (Policy, StoreOptions, MemoryOptions) for field in fields(options)}
    assert names <= SETTINGS
    assert {"backend", "namespace", "prefix", "tags", "hasher", "serializer", "ttl"} <= SETTINGS


def test_every_option_accepts_its_default(folder: Path) -> None:
    """What the table of options says by default may be said in a mapping, too."""
    for options in (Policy(ttl=60), StoreOptions(), MemoryOptions()):
        defaults = {field.name: getattr(options, field.name) for field in fields(options)}
        settings = {name: value for name, value in defaults.items() if value is not None}
        assert load(settings, folder) == settings


def test_settings_given_win_over_environment_and_environment_over_file(folder: Path) -> None:
    write(folder, 'backend = "memory://"\nttl = 1\nnamespace = "file"\nprefix = "f"')
    environment = {"CACHECORE_TTL": "2", "CACHECORE_NAMESPACE": "variable", "PATH": "/bin"}
    assert load({"ttl": 3}, folder, environment) == {
        "backend": "memory://",
        "namespace": "variable",
        "prefix": "f",
        "ttl": 3,
    }


def test_file_is_found_by_name_and_by_path(folder: Path) -> None:
    """In the folder `cachecore.toml` comes first, then pyproject.toml if it has our table."""
    write(folder, "[project]\nname = 'x'", "pyproject.toml")
    assert load(None, folder) == {}
    write(folder, "[tool.cachecore]\nttl = 5\n[tool.other]\nttl = 9", "pyproject.toml")
    assert load(None, folder) == {"ttl": 5}
    write(folder, "[cachecore]\nttl = 6")
    assert load(None, folder) == {"ttl": 6}
    other = write(folder, "ttl = 7", "other.toml")
    assert load(other, Path("/")) == load(str(other), Path("/")) == {"ttl": 7}
    assert load(folder, Path("/")) == {"ttl": 6}
    with pytest.raises(OptionsError, match="no settings at"):
        load(folder / "absent.toml", folder)


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ('ttl = "24h"', {"ttl": 86400.0}),
        ('ttl = "forever"', {"ttl": None}),
        ("ttl = 90", {"ttl": 90}),
        ('stale_if_error = "7d"', {"stale_if_error": 604800.0}),
        ('backend_timeout = "50ms"', {"backend_timeout": 0.05}),
        ('lease_ttl = "none"', {"lease_ttl": None}),
        ('l1_max_bytes = "128MiB"', {"l1_max_bytes": 128 * 2**20}),
        ('l1_max_bytes = "1.5 kb"', {"l1_max_bytes": 1500}),
        ("max_value_bytes = 65536", {"max_value_bytes": 65536}),
        ("jitter = 0.1", {"jitter": 0.1}),
        ("rescue_unverified = true", {"rescue_unverified": True}),
        ('tags = ["a", "b"]', {"tags": ("a", "b")}),
        ('hasher = "sha256"', {"hasher": "sha256"}),
        ('serializer = "compressed+msgpack"', {"serializer": "compressed+msgpack"}),
        ('eviction = "lru"', {"eviction": "lru"}),
    ],
)
def test_text_means_what_it_says(folder: Path, written: str, means: dict[str, object]) -> None:
    write(folder, written)
    assert load(None, folder) == means


def test_variables_are_text(folder: Path) -> None:
    """Numbers, switches and lists are understood in variables, where everything is text; empty ones say nothing."""
    environment = {
        "CACHECORE_TTL": "1.5",
        "CACHECORE_JITTER": "0.2",
        "CACHECORE_BREAKER_FAILURES": "7",
        "CACHECORE_RESCUE_UNVERIFIED": "on",
        "CACHECORE_TAGS": "a, b,",
        "CACHECORE_PREFIX": "",
    }
    assert load(None, folder, environment) == {
        "ttl": 1.5,
        "jitter": 0.2,
        "breaker_failures": 7,
        "rescue_unverified": True,
        "tags": ("a", "b"),
    }


def test_timedelta_is_a_duration_in_a_mapping(folder: Path) -> None:
    assert load({"ttl": timedelta(minutes=1)}, folder) == {"ttl": timedelta(minutes=1)}


@pytest.mark.parametrize(
    "written",
    [
        "ttl = 0",
        'ttl = "soon"',
        "ttl = true",
        'ttl = ""',
        "jitter = 1.0",
        'jitter = "0.1"',
        "jitter = true",
        "breaker_failures = 0",
        "breaker_failures = 1.5",
        'breaker_failures = "3"',
        'l1_max_bytes = "64 apples"',
        "l1_max_bytes = -1",
        "rescue_unverified = 1",
        "backend = 5",
        "tags = 'a'",
        "tags = [1]",
        "hasher = 3",
        "eviction = 3",
        "pending_path = 3",
        "[ttl]\nname = 'x'",
    ],
)
def test_wrong_values_are_refused_where_they_stand(folder: Path, written: str) -> None:
    path = write(folder, written)
    with pytest.raises(OptionsError) as refused:
        load(None, folder)
    name = written.strip("[").split()[0].rstrip("]")
    assert str(path) in str(refused.value)
    assert name in str(refused.value)


def test_unknown_names_are_refused_with_a_suggestion(folder: Path) -> None:
    path = write(folder, "backnd = 'memory://'")
    with pytest.raises(OptionsError, match="did you mean 'backend'") as refused:
        load(None, folder)
    assert str(path) in str(refused.value)
    path.unlink()
    with pytest.raises(OptionsError, match=r"CACHECORE_STALE_IF_EROR.*did you mean 'stale_if_error'"):
        load(None, folder, {"CACHECORE_STALE_IF_EROR": "1"})
    with pytest.raises(OptionsError, match=r"the settings given.*the settings are: .*backend"):
        load({"qqqqq": 1}, folder)


def test_variables_of_a_container_are_not_settings(folder: Path) -> None:
    """Kubernetes describes a service called cachecore in variables with our prefix."""
    environment = {
        "CACHECORE_SERVICE_HOST": "10.0.0.1",
        "CACHECORE_SERVICE_PORT_HTTP": "80",
        "CACHECORE_PORT": "tcp://10.0.0.1:80",
        "CACHECORE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(None, folder, environment) == {}


def test_file_that_is_no_toml_is_refused(folder: Path) -> None:
    write(folder, "ttl = ")
    with pytest.raises(OptionsError, match=r"cachecore\.toml cannot be read"):
        load(None, folder)


def test_a_path_as_backend_is_told_the_url_to_write() -> None:
    path: Any = Path("/srv/answers.db")
    with pytest.raises(OptionsError, match=r"not PosixPath: write 'sqlite:////srv/answers.db'"):
        Cache(path, ttl=60)


def test_backend_from_a_variable_or_a_file(folder: Path) -> None:
    """A URL with a password need not stand in a file that is committed."""
    write(folder, 'backend_env = "REDIS_URL"')
    assert load(None, folder, {"REDIS_URL": "redis://:pw@h"}) == {"backend": "redis://:pw@h"}
    with pytest.raises(OptionsError, match="REDIS_URL, which is not set"):
        load(None, folder)
    write(folder, 'backend_file = "url"')
    with pytest.raises(OptionsError, match="names the file url"):
        load(None, folder)
    write(folder, "redis://h\n", "url")
    assert load(None, folder) == {"backend": "redis://h"}
    with pytest.raises(OptionsError, match="twice"):
        load({"backend": "memory://", "backend_env": "REDIS_URL"}, folder, {"REDIS_URL": "memory://"})


def test_hasher_with_a_secret_is_built_and_keeps_it_hidden(folder: Path) -> None:
    """The secret may come from a variable with our own prefix, from a file, or from a variable that is the setting."""
    secret = "correct horse battery staple 0123"
    write(folder, '[hasher]\nname = "blake2b"\nsecret_env = "CACHECORE_SECRET"')
    first = load(None, folder, {"CACHECORE_SECRET": secret})["hasher"]
    write(folder, secret, "secret")
    write(folder, '[hasher]\nname = "blake2b"\nsecret_file = "secret"')
    second = load(None, folder)["hasher"]
    (folder / "cachecore.toml").unlink()
    third = load(None, folder, {"CACHECORE_HASHER": "blake2b", "CACHECORE_HASHER__SECRET": secret})["hasher"]
    write(folder, '[hasher]\nname = "blake2b"')
    fourth = load(None, folder, {"CACHECORE_HASHER__SECRET": secret})["hasher"]
    plain = load({"hasher": {"name": "blake2b", "secret": secret + "!"}}, folder)["hasher"]
    hashers = [first, second, third, fourth, plain]
    assert all(isinstance(hasher, KeyHasher) and secret not in repr(hasher) for hasher in hashers)
    digests = [hasher.hexdigest(b"x") for hasher in hashers if isinstance(hasher, KeyHasher)]
    assert len(set(digests[:4])) == 1
    assert digests[4] != digests[0]


def test_a_name_replaces_what_an_earlier_source_said_of_a_plugin(folder: Path) -> None:
    write(folder, '[hasher]\nname = "blake2b"\nsecret_env = "S"')
    assert load(None, folder, {"S": "s" * 32, "CACHECORE_HASHER": "sha256"}) == {"hasher": "sha256"}


def test_serializer_with_options_is_built(folder: Path) -> None:
    write(folder, '[serializer]\nname = "msgpack"\nmax_elements = 10')
    made = load(None, folder)["serializer"]
    assert isinstance(made, Serializer)
    assert made.name == "msgpack"


def test_serializers_with_keys_and_types_are_built(folder: Path) -> None:
    """Keys come from variables, each under its id, and are not shown; a typed serializer gets the caller's type."""
    key = base64.b64encode(b"k" * 32).decode()
    write(
        folder,
        """
        [serializer]
        name = "encrypted+compressed+msgpack"
        keys = { k2_env = "CACHECORE_KEY_2", k1 = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" }
        level = 5
        max_bytes = 1000000
        """,
    )
    made = load(None, folder, {"CACHECORE_KEY_2": key})["serializer"]
    assert isinstance(made, Serializer)
    assert made.name == "aesgcm+zstd+msgpack"
    assert key not in repr(made)
    typed = configuration.load(
        {"serializer": {"name": "compressed+typed", "level": 5}},
        value_type=dict[str, int],
        environment={},
        folder=folder / "nowhere",
    )["serializer"]
    assert isinstance(typed, Serializer)
    assert typed.name.startswith("zstd+typed")


def test_plugins_that_are_not_there(folder: Path) -> None:
    with pytest.raises(PluginNotFound, match="md5"):
        load({"hasher": {"name": "md5", "x": 1}}, folder)
    with pytest.raises(OptionsError, match="needs a name"):
        load({"serializer": {"level": 1}}, folder)
    with pytest.raises(OptionsError, match="level"):
        load({"serializer": {"name": "msgpack", "level": 1}}, folder)
