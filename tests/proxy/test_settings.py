"""The TOML file and the command line: what is read, and what an error says: file, key, value, way out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cachecore import OptionsError
from cachecore.cli import app
from cachecore_proxy import config_file
from cachecore_proxy.command import upstream_of

WHOLE = """
store = "redis://:store-s3cret@localhost/0"

[server]
host = "0.0.0.0"
port = 9000
access_log = false

[[upstreams]]
name = "openai"
url = "https://api.openai.com/v1"
credential_env = "OPENAI_KEY"
timeout = 60

[[upstreams]]
name = "spare"
url = "https://llm.example/v1"
protocols = ["openai"]
credential_file = "spare.key"
models = { "gpt-5" = "llama-4", "*" = "llama-4-mini" }

[[keys]]
name = "team-a"
sha256 = "DIGEST"
tenant = "a"

[access]
tenant_header = "x-tenant"
prompt_header = "x-prompt"
keyed_headers = ["X-Adapter"]
digest_key_env = "DIGEST_KEY"

[bounds]
max_body_bytes = 1000000
head_timeout = 5

[cache]
ttl = "12h"
stale_if_error = "3d"
similar = false

[store_options]
l1_max_bytes = "64MiB"

[[prompts]]
name = "faq"
file = "faq.txt"

[admin]
port = 9001
token_env = "PAGE_TOKEN"
""".replace('DIGEST"', hashlib.sha256(b"k").hexdigest() + '"')
ENVIRONMENT = {"OPENAI_KEY": "sk-s3cret", "DIGEST_KEY": "d", "PAGE_TOKEN": "t" * 32}


def written(folder: Path, text: str = WHOLE) -> Path:
    (folder / "faq.txt").write_text("You answer.\n")
    (folder / "spare.key").write_text("spare-s3cret\n")
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def test_whole_file(tmp_path: Path) -> None:
    settings = config_file.read(written(tmp_path), environment=ENVIRONMENT, port=1234)
    first, second = settings.upstreams
    assert (settings.host, settings.port, settings.access_log) == ("0.0.0.0", 1234, False)
    assert (first.credential, first.families, first.base, first.timeout) == (
        "sk-s3cret",
        ("openai",),
        "https://api.openai.com",
        60.0,
    )
    assert (second.credential, second.models["*"]) == ("spare-s3cret", "llama-4-mini")
    assert settings.access.keyed_headers == ("x-adapter",)
    assert settings.access.digest_key == b"d"
    assert not settings.access.forwards
    assert settings.cache["ttl_seconds"] == "12h"
    assert settings.prompts[0].text == "You answer.\n"
    assert settings.admin == {"port": 9001, "token": "t" * 32}
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('name = "openai"\n', ""), r"\[\[upstreams\]\] None: needs name"),
        (("timeout = 60", "timout = 60"), r"\[\[upstreams\]\]: has no key 'timout': did you mean 'timeout'\?"),
        (("timeout = 60", 'timeout = "long"'), r"timeout: must be a number, not 'long'"),
        (("timeout = 60", "timeout = -1"), r"timeout of the upstream 'openai' must be"),
        (("timeout = 60", 'api_key = "sk-s3cret"'), r"has 'api_key': a secret does not belong into the file"),
        (('"OPENAI_KEY"', '"OTHER_KEY"'), r"credential_env='OTHER_KEY': the environment has no such variable"),
        (
            ('"OPENAI_KEY"', '"CACHECORE_KEY"'),
            r"credential_env='CACHECORE_KEY': variables that begin with CACHECORE_ are",
        ),
        (('"spare.key"', '"none.key"'), r"credential_file='none.key' cannot be read"),
        (('"https://api.openai.com/v1"', '"ftp://x"'), r"must be http\(s\)://host\[/path\], not 'ftp://x'"),
        (('protocols = ["openai"]', 'protocols = ["gemini"]'), r"are of openai, anthropic, not 'gemini'"),
        (('name = "spare"', 'name = "openai"'), r"the names of upstreams must differ: openai, openai"),
        (("sha256 = ", "digest = "), r"\[\[keys\]\]: has no key 'digest'"),
        ((hashlib.sha256(b"k").hexdigest(), "k"), r"must be 64 hexadecimal digits .* --new-key NAME"),
        (("max_body_bytes = 1000000", "max_body_bytes = 0"), r"\[bounds\]: max_body_bytes must be .* not 0"),
        (('ttl = "12h"', 'ttl = "soon"'), r"\[cache\]: ttl_seconds must be a duration"),
        (('file = "faq.txt"', 'file = "none.txt"'), r"\[\[prompts\]\] 'faq': file='none.txt' cannot be read"),
        (('file = "faq.txt"', ""), r"needs a name, and either text or file"),
        (("[server]", "[servers]"), r"has no key 'servers': did you mean 'server'\?"),
        (("[server]", "[server"), r"is no TOML"),
        (('"PAGE_TOKEN"', '"OPENAI_KEY"'), r"\[admin\]: the token of the page must have at least 20 characters"),
        (('credential_env = "OPENAI_KEY"\n', ""), r"\[\[keys\]\] are exchanged for the credential .* which has none"),
    ],
)
def test_wrong_files(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    """Every error names the file and the way out, and never a secret."""
    assert change[0] in WHOLE
    path = written(tmp_path, WHOLE.replace(*change, 1))
    with pytest.raises(OptionsError, match=told) as raised:
        config_file.read(path, environment=ENVIRONMENT)
    assert str(raised.value).startswith(str(path))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "name", "families"),
    [
        ("https://api.openai.com/v1", "api.openai.com", ("openai",)),
        ("https://api.anthropic.com", "api.anthropic.com", ("anthropic",)),
        ("http://127.0.0.1:1234", "127.0.0.1", ("openai", "anthropic")),
        ("anthropic=https://llm.example/x", "llm.example", ("anthropic",)),
    ],
)
def test_upstreams_of_the_command_line(text: str, name: str, families: tuple[str, ...]) -> None:
    made = upstream_of(text)
    assert (made.name, made.families) == (name, families)


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` shows what would be served, without secrets, and serves nothing; a wrong file is status 2."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke(app(), ["proxy", "--config", str(written(tmp_path)), "--check"])
    assert run.exit_code == 0, run.output
    assert "openai https://api.openai.com/v1 (openai; a key of its own)" in run.output
    assert "1 of the gateway's own; others are refused" in run.output
    assert "s3cret" not in run.output
    wrong = CliRunner().invoke(app(), ["proxy", "--upstream", "nonsense", "--check"])
    assert wrong.exit_code == 2
    assert "must be http(s)://host[/path], not 'nonsense'" in wrong.output
    secret = CliRunner().invoke(app(), ["proxy", "--upstream", "https://u:s3cret@host/v1?key=s3cret", "--check"])
    assert (secret.exit_code, "s3cret" in secret.output) == (2, False)
    none = CliRunner().invoke(app(), ["proxy", "--check"])
    assert (none.exit_code, "needs an upstream" in none.output) == (2, True)


def test_new_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints a key once, and lines for the file that hold its digest alone."""
    run = CliRunner().invoke(app(), ["proxy", "--new-key", "team-b"])
    key = run.output.partition("shown this once: ")[2].split()[0]
    lines = run.output[run.output.index("[[keys]]") :]
    assert len(key) > 40
    assert key not in lines
    monkeypatch.setenv("K", "x")
    path = written(tmp_path, f'{lines}\n[[upstreams]]\nname = "u"\nurl = "http://localhost"\ncredential_env = "K"\n')
    assert config_file.read(path).access.keys[0].sha256 == hashlib.sha256(key.encode()).hexdigest()
