"""Plugins are found by name, imported when asked for, and never show a password."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from cachecore.contract import plugins, redaction
from cachecore.contract.errors import CacheError, OptionsError, PluginNotFound
from cachecore.keys import hashers
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.store.memory_backend import MemoryBackend

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution: its metadata and modules, in a folder of this test on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(distribution: str, entry_points: str, **modules: str) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
            monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def test_memory_url_makes_a_new_backend() -> None:
    first, second = plugins.backend_from_url("memory://"), plugins.backend_from_url("MEMORY://")
    assert isinstance(first, MemoryBackend)
    assert first is not second


def test_named_plugins_are_made() -> None:
    assert plugins.hasher("sha256").hexdigest(b"x") == hashers.sha256().hexdigest(b"x")
    assert isinstance(plugins.serializer("msgpack"), MsgpackSerializer)


def test_distributions_are_read_once_and_again_for_an_unknown_name(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all their metadata takes milliseconds; what is installed later is found all the same."""
    looks: list[str] = []
    real = importlib.metadata.entry_points

    def look(*, group: str) -> importlib.metadata.EntryPoints:
        looks.append(group)
        return real(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", look)
    plugins.backend_from_url("memory://")
    del looks[:]
    plugins.backend_from_url("memory://")
    assert not looks
    install(
        "later", "[cachecore.backends]\nlater = later:Later", later="from cachecore.store.memory_backend import *\n"
    )
    with pytest.raises(PluginNotFound, match="cannot be imported"):
        plugins.backend_from_url("later://")
    assert len(looks) == 1


def test_piece_of_a_password_that_a_plugin_quotes_is_not_passed_on(install: Install) -> None:
    """A raw / in a password ends the host's part for whoever parses the URL, and his message may quote the rest."""
    install(
        "quoting",
        "[cachecore.backends]\nquoting = quoting:make\n",
        quoting="""
            def make(url):
                raise ValueError("port could not be cast: " + url.split(":")[2].split("/")[0])
        """,
    )
    with pytest.raises(OptionsError) as refused:
        plugins.backend_from_url("quoting://admin:HUSHHUSH/tail@host:1/0")
    assert "HUSH" not in str(refused.value)


def test_third_party_plugins_are_found(install: Install) -> None:
    """A distribution that declares entry points is all a plugin needs."""
    install(
        "their-cache",
        """
        [cachecore.backends]
        theirs = their_cache:from_url
        [cachecore.serializers]
        wrap = their_cache:Wrap
        [cachecore.eviction]
        theirs = their_cache:Policy
        """,
        their_cache="""
            from cachecore.store.memory_backend import MemoryBackend

            class Theirs(MemoryBackend):
                pass

            class Policy:
                def __init__(self, max_entries):
                    self.max_entries = max_entries

            def from_url(url):
                made = Theirs()
                made.url = url
                return made

            class Wrap:
                def __init__(self, *, inner=None, level=1):
                    self.inner, self.level = inner, level
                    self.name = "wrap+" + (inner.name if inner else "nothing")

                def dumps(self, value, context):
                    return self.inner.dumps(value, context)

                def loads(self, data, context):
                    return self.inner.loads(data, context)
        """,
    )
    backend = plugins.backend_from_url("theirs://host/x")
    assert type(backend).__name__ == "Theirs"
    assert vars(backend)["url"] == "theirs://host/x"
    assert plugins.installed(plugins.BACKENDS)["theirs"] == "their-cache"

    assert vars(plugins.eviction("theirs")(5)) == {"max_entries": 5}

    made = plugins.serializer("wrap+msgpack", level=7, max_elements=5)
    assert made.name == "wrap+msgpack"
    assert vars(made)["level"] == 7
    assert plugins.serializer("wrap").name == "wrap+nothing"
    assert plugins.serializer("wrap", inner=MsgpackSerializer()).name == "wrap+msgpack"
    with pytest.raises(OptionsError, match=r"none of the serializers.*'lvl'.*level"):
        plugins.serializer("wrap+msgpack", lvl=7)
    twice = plugins.serializer("wrap+wrap+msgpack", level=7)
    assert [vars(twice)["level"], vars(vars(twice)["inner"])["level"]] == [7, 7]
    with pytest.raises(OptionsError, match="'msgpack' wraps no other"):
        plugins.serializer("msgpack+wrap")


def test_unknown_names_answer_with_the_known_and_the_command() -> None:
    with pytest.raises(PluginNotFound, match=r"no backend is called 'mongodb'; installed are: .*memory"):
        plugins.backend_from_url("mongodb://host")
    with pytest.raises(PluginNotFound, match="sha256"):
        plugins.hasher("md5")
    with pytest.raises(PluginNotFound, match="msgpack"):
        plugins.serializer("pickle")
    with pytest.raises(PluginNotFound, match="no eviction policy is called 'last'"):
        plugins.eviction("last")


def test_missing_plugin_of_ours_comes_with_the_command_that_installs_it() -> None:
    """As on a machine that has the core alone: nothing but the standard library's folders is on the path."""
    code = textwrap.dedent("""
        import sys
        import cachecore.contract.plugins as plugins
        from importlib import metadata
        sys.path[:] = [p for p in sys.path if "site-packages" not in p]
        for url in ("redis://:pw@h", "rediss://h", "sqlite:///x"):
            try:
                plugins.backend_from_url(url)
            except plugins.PluginNotFound as error:
                print(error)
    """)
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert [line.rpartition(": ")[2] for line in said.splitlines()] == [
        "pip install cachecore-redis",
        "pip install cachecore-redis",
        "pip install cachecore-sqlite",
    ]


def test_broken_plugin_is_reported_with_its_cause_and_only_when_asked_for(install: Install) -> None:
    install("broken", "[cachecore.hashers]\nbroken = broken_hasher:make", broken_hasher="import no_such_module")
    assert "broken" in plugins.installed(plugins.HASHERS)
    assert plugins.hasher("sha256").name == "sha256"
    with pytest.raises(PluginNotFound, match="broken cannot be imported: ModuleNotFoundError") as reported:
        plugins.hasher("broken")
    assert isinstance(reported.value.__cause__, ModuleNotFoundError)


def test_a_backend_that_lacks_a_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cachecore_sqlite", None)
    with pytest.raises(PluginNotFound, match=r"cannot be imported.*what it needs: pip install cachecore-sqlite"):
        plugins.backend_from_url("sqlite:///answers.db")


def test_plugins_that_make_the_wrong_thing_are_refused(install: Install) -> None:
    install(
        "wrong",
        """
        [cachecore.backends]
        wrong = wrong_things:make
        [cachecore.hashers]
        wrong = wrong_things:make
        constant = wrong_things:CONSTANT
        """,
        wrong_things="CONSTANT = 3\ndef make(url=None): return object()",
    )
    with pytest.raises(OptionsError, match=r"'wrong' made a object, which has no get_many, .*swap"):
        plugins.backend_from_url("wrong://")
    with pytest.raises(OptionsError, match="name, hexdigest"):
        plugins.hasher("wrong")
    with pytest.raises(PluginNotFound, match="no callable"):
        plugins.hasher("constant")
    with pytest.raises(OptionsError, match="its options are: url"):
        plugins.hasher("wrong", size=3)


def test_one_name_from_two_distributions_names_both(install: Install) -> None:
    install("first", "[cachecore.hashers]\ntwice = no_module:make")
    install("second", "[cachecore.hashers]\ntwice = no_module:make")
    assert plugins.installed(plugins.HASHERS)["twice"] == "first, second"
    with pytest.raises(OptionsError, match="first and second; uninstall one"):
        plugins.hasher("twice")


def test_nothing_is_imported_until_it_is_asked_for() -> None:
    """Listing plugins loads neither their modules nor their drivers."""
    code = (
        "import sys, cachecore.contract.plugins as p; [p.installed(g) for g in (p.BACKENDS, p.HASHERS, p.SERIALIZERS)];"
        "print(*(m for m in ('redis', 'sqlite3', 'cachecore_redis', 'cachecore_sqlite', 'cryptography', "
        "'zstandard', 'blake3') if m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:SECRET@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:SECRET@h1:1,h2:2/0", "redis://***@h1:1,h2:2/0"),
        ("rediss://:SECRET@[::1]:6379", "rediss://***@[::1]:6379"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://:SEC@RET/w@host/0", "redis://***@host/0"),
        ("redis://:SEC?R#ET@host/0", "redis://***"),
        ("redis://host/0?password=SE@CRET", "redis://***"),
        ("redis://host/0?password=SECRET&timeout=5s", "redis://host/0?password=***&timeout=5s"),
        ("redis://host/0?auth=5&db=1", "redis://host/0?auth=***&db=1"),
        ("redis://host/0?x=SECRET", "redis://host/0?x=***"),
        ("redis://host/0?SECRET", "redis://host/0?***"),
        ("redis://:SECRET", "redis://***"),
        ("redis://user:SECRET/0", "redis://***"),
        ("redis://host:6379,password=SECRET,ssl=True", "redis://***"),
        (
            "rediss://host?ssl_cert_reqs=CERT_NONE&ssl_keyfile=SECRET",
            "rediss://host?ssl_cert_reqs=CERT_NONE&ssl_keyfile=***",
        ),
        ("s3://bucket/year=2026/", "s3://bucket/year=2026/"),
        ("sqlite:///tmp/a.db", "sqlite:///tmp/a.db"),
        ("sqlite:///C:/SECRET-looking/path.db", "sqlite:///C:/SECRET-looking/path.db"),
        ("SECRET", "***"),
        ("", "***"),
    ],
)
def test_redacted_urls_hide_secrets_and_show_the_rest(url: str, shown: str) -> None:
    assert redaction.redact_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "no-such-scheme://user:SECRET@host",
        "user:SECRET@host",
        "memory://user:SECRET@host",
        "memory://host?password=SECRET",
        "leaky://user:SECRET@host",
        "leaky://user:SECR%45T@host",
        "leaky://host?password=SECRET",
        "leaky://:SECRET",
        "broken://user:SECRET@host",
    ],
)
def test_errors_never_show_a_password(url: str, install: Install) -> None:
    """Whatever a plugin's own error says of the URL, neither the error nor its chain repeats the password."""
    install(
        "leaky",
        "[cachecore.backends]\nleaky = leaky_backend:from_url\nbroken = broken_backend:from_url",
        leaky_backend="from urllib.parse import unquote\ndef from_url(url): raise ValueError('bad: ' + unquote(url))",
        broken_backend="raise RuntimeError('no driver')",
    )
    with pytest.raises(CacheError) as raised:
        plugins.backend_from_url(url)
    error: BaseException | None = raised.value
    while error is not None:
        assert "SECRET" not in repr(error)
        assert "SECR%45T" not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_errors_of_a_plugin_that_show_no_secret_are_kept(install: Install) -> None:
    with pytest.raises(OptionsError, match=r"memory:// takes no host, path or options, not 'memory:///path'"):
        plugins.backend_from_url("memory:///path")
