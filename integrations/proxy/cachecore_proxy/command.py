"""`cachecore proxy`: the command line of the gateway."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cachecore.contract import redact_url
from cachecore.contract.errors import CacheError, OptionsError
from cachecore_proxy import config_file
from cachecore_proxy.asking import OWN_KEY
from cachecore_proxy.server import Running, serve
from cachecore_proxy.settings import FAMILIES, Family, Settings, UpstreamSettings, checked_name


def proxy(
    config: Annotated[Path | None, typer.Option(help="A TOML file with all settings.")] = None,
    store: Annotated[
        str | None, typer.Option(help="Where answers are kept: redis://…, sqlite:///…, memory://.")
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(help="A provider: https://… or openai=https://… or anthropic=https://…; the next one stands in."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 if not given.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="8080 if not given; 0: a free one.")] = None,
    log: Annotated[
        str, typer.Option(help="The least that is written to stderr: debug, info, warning or error.")
    ] = "warning",
    check: Annotated[bool, typer.Option("--check", help="Check the settings, and serve nothing.")] = False,
    new_key: Annotated[
        str | None, typer.Option(help="Print a new key of that name, and its lines for the file.")
    ] = None,
) -> None:
    """Answer calls to LLM providers from a cache, for programs in every language.

    A program sets OPENAI_BASE_URL or ANTHROPIC_BASE_URL to the address that is printed.
    """
    options: dict[str, Any] = {"store": store, "host": host, "port": port}

    def read() -> Settings:
        return settings_of(config, upstream, options)

    try:
        if new_key is not None:
            _print_key(checked_name("the name of a key", new_key))
            return
        settings = read()
        if check:
            typer.echo(described(settings))
            return
        _set_up_logging(log)
        with _loop_runner() as runner:
            runner.run(serve(settings, read=None if config is None else read, ready=_announce))
    except (CacheError, OSError, ImportError) as error:
        typer.echo(f"cachecore proxy: {error}", err=True)
        raise typer.Exit(2) from None


def settings_of(config: Path | None, upstreams: list[str] | None, options: dict[str, Any]) -> Settings:
    """Return the settings of a file and a command line, whose options come first. Raises OptionsError."""
    given = {name: value for name, value in options.items() if value is not None}
    if upstreams:
        given["upstreams"] = tuple(upstream_of(text, place) for place, text in enumerate(upstreams))
    if config is not None:
        return config_file.read(config, **given)
    return Settings(**{"upstreams": (), **given})


def upstream_of(text: str, place: int = 0) -> UpstreamSettings:
    """Return the provider that an option `--upstream` means. Raises OptionsError."""
    word, equals, rest = text.partition("=")
    families: tuple[Family, ...] = tuple(family for family in FAMILIES if family == word)
    url = rest if equals and families else text
    host = url.partition("//")[2].partition("/")[0].partition(":")[0].replace("[", "") or "upstream"
    name = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in host).strip(".-") or "upstream"
    return UpstreamSettings(name=f"{name}-{place + 1}"[-64:] if place else name[:64], url=url, families=families)


def described(settings: Settings) -> str:
    """Return a description of settings, without secrets."""
    lines = [f"store      {redact_url(settings.store)}", f"listens    {settings.host}:{settings.port}"]
    for one in settings.upstreams:
        key = "a key of its own" if one.credential is not None else "the caller's key"
        lines.append(f"upstream   {one.name} {one.url} ({', '.join(one.families)}; {key})")
    access = settings.access
    keys = f"{len(access.keys)} of the gateway's own" if access.keys else "none of the gateway's own"
    lines.append(f"keys       {keys}; others are {'forwarded' if access.forwards else 'refused'}")
    lines.append(
        f"shared     {'by all, as ' + access.scope if access.scope else 'by none: each key has its own answers'}"
    )
    if access.tenant_header:
        lines.append(f"tenants    by the header {access.tenant_header}")
    lines += [f"prompt     {prompt.name}" + (f" ({prompt.file})" if prompt.file else "") for prompt in settings.prompts]
    lines.append("the settings are right")
    return "\n".join(lines)


def _announce(running: Running) -> None:
    typer.echo(f"OPENAI_BASE_URL={running.url}/v1")
    typer.echo(f"ANTHROPIC_BASE_URL={running.url}")
    if running.admin_port is not None:
        typer.echo(f"the page: port {running.admin_port}", err=True)
    sys.stdout.flush()


def _print_key(name: str) -> None:
    key = OWN_KEY + secrets.token_urlsafe(32)
    typer.echo(f"the key, shown this once: {key}", err=True)
    typer.echo(f'[[keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"')


def _set_up_logging(level: str) -> None:
    known = {name: logging.getLevelNamesMapping()[name.upper()] for name in ("debug", "info", "warning", "error")}
    if level not in known:
        raise OptionsError(f"--log must be one of {', '.join(known)}, not {level!r}")
    logging.basicConfig(level=known[level], stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(max(known[level], logging.WARNING))
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log addresses


def _loop_runner() -> asyncio.Runner:
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
