"""`cachecore invalidate URL`: make answers invalid in every process, by tag, namespace, or what a plugin knows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import typer

from cachecore import Cache
from cachecore.cli import outcome
from cachecore.cli.selectors import Selection, Selector, installed
from cachecore.cli.store import Json, Prefix, Store, Url, opened
from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import SupportsScan
from cachecore.keys import user_tag


@dataclass(slots=True)
class Done:
    """What a run did so far."""

    selections: list[str] = field(default_factory=list)
    matched: int | None = None
    """Answers that were found to be meant before anything was done; None: they were not counted."""
    by_key: bool = False
    """Whether keys were counted, without looking at what lies under them: deleted ones count until they expire."""
    invalidated: list[str] = field(default_factory=list)
    """The selections that are invalid in every process by now."""
    other_prefixes: list[str] = field(default_factory=list)
    """Where no prefix was named, or nothing was deleted: others under which there are answers."""
    freed: int = 0
    """Answers deleted to give their memory back."""


def invalidate(
    url: Url = None,
    prefix: Prefix = None,
    tag: Annotated[list[str] | None, typer.Option(help="Answers that carry this tag; repeatable.")] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", help="Answers in it and below; repeatable.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All answers under the prefix.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not count and ask first.")] = False,
    as_json: Json = False,
    **chosen: str | None,
) -> None:
    """Make answers invalid at once, in every process; say first how many they are, and ask.

    Exits with 0, with 3 if the store did not acknowledge, with 4 if the answer to the question was no.
    """
    selectors = installed()
    done = Done()
    try:
        selections, own_prefix = _selections(tag or [], namespace or [], everything, chosen, selectors)
    except OptionsError as error:
        outcome.refuse(str(error), as_json=as_json)
    done.selections = [one.words for one in selections]
    places = _places(selections, prefix, own_prefix)
    if not yes:
        counted = outcome.run(_count(done, url, places, as_json))
        if counted.status != outcome.OK:
            outcome.conclude(counted, _facts(done), lambda: None, as_json=as_json)
        meant = "some answers" if done.matched is None else f"{done.matched:,} {'keys' if done.by_key else 'answers'}"
        answer = outcome.asked(f"Invalidate {'; '.join(done.selections)} ({meant})?", yes=False)
        if answer.status != outcome.OK:
            outcome.conclude(answer, _facts(done), lambda: None, as_json=as_json)
    ended = outcome.run(_invalidate(done, url, places, as_json))
    outcome.conclude(ended, _facts(done), lambda: _show(done), as_json=as_json)


def command() -> Callable[..., None]:
    """Return the command with the options of all selectors that are installed."""
    signature = inspect.signature(invalidate, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    more = [
        inspect.Parameter(
            name.replace("-", "_"),
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[str | None, typer.Option(f"--{name}", help=text)],
        )
        for selector in installed()
        for name, text in selector.options.items()
    ]

    def with_options(**given: Any) -> None:
        invalidate(**given)

    with_options.__doc__ = invalidate.__doc__
    with_options.__annotations__ = {one.name: one.annotation for one in (*own, *more)}
    made: Any = with_options  # a function, but for what typer reads of it
    made.__signature__ = signature.replace(parameters=[*own, *more])
    return with_options


def _selections(
    tags: list[str], namespaces: list[str], everything: bool, chosen: dict[str, str | None], selectors: list[Selector]
) -> tuple[list[Selection], str | None]:
    """Return what the options mean, and the prefix of the plugin that knows them. Raises OptionsError."""
    selections = [Selection(f"the answers that carry the tag {tag!r}", tag=tag) for tag in tags]
    selections += [Selection(f"the answers in {name!r} and below", namespace=name) for name in namespaces]
    prefix = None
    for selector in selectors:
        given = {name: value for name in selector.options if (value := chosen.get(name.replace("-", "_"))) is not None}
        if given:
            selections += selector.select(given)
            prefix = selector.prefix
    if everything:
        if selections:
            raise OptionsError(
                f"--all means every answer under the prefix, not only {selections[0].words}: leave one out"
            )
        selections = [Selection("all answers")]
    if not selections:
        known = ["--tag", "--namespace", "--all", *(f"--{name}" for one in selectors for name in one.options)]
        raise OptionsError(f"which answers? Say one or more of {', '.join(known)}")
    return selections, prefix


def _places(
    selections: list[Selection], prefix: str | None, own_prefix: str | None
) -> list[tuple[str | None, list[Selection]]]:
    """Return each prefix under which the answers may lie, and what the selections are there.

    Those of a plugin lie under its prefix in a store of its own, and in a `Cache` that it shares, as the gateway's do,
    in the namespace of that name.
    """
    if prefix is not None or own_prefix is None:
        return [(prefix, selections)]
    shared = [_below(own_prefix, one) for one in selections]
    return [(own_prefix, selections), (None, shared)]


def _below(place: str, one: Selection) -> Selection:
    holds = one.holds
    if one.namespace is None and one.tag is None:
        return replace(one, namespace=place)
    return replace(
        one,
        namespace=None if one.namespace is None else f"{place}/{one.namespace}",
        holds=None if holds is None else lambda name: name.startswith(f"{place}/") and holds(name[len(place) + 1 :]),
    )


async def _count(done: Done, url: str | None, places: list[tuple[str | None, list[Selection]]], quiet: bool) -> None:
    for prefix, selections in places:
        await _count_in(done, url, prefix, selections, quiet)


async def _count_in(done: Done, url: str | None, prefix: str | None, selections: list[Selection], quiet: bool) -> None:
    async with opened(url, prefix) as store:
        if not isinstance(store.backend, SupportsScan):
            return
        done.matched = done.matched or 0
        done.by_key = all(one.tag is None or one.holds is not None for one in selections)
        with outcome.progress("counting", None, quiet=quiet) as advance:
            if done.by_key:
                async for page in store.pages():
                    done.matched += sum(_by_namespace(store, key, selections) for key in page)
                    advance(done.matched)
                return
            async for found in store.stored():
                now = await store.now()
                for one, valid in zip(found, await store.valid(found), strict=True):
                    carried = {tag for tag, _ in one.entry.stamps} if one.entry is not None else set()
                    meant = _by_namespace(store, one.key, [s for s in selections if s.tag is None]) or any(
                        user_tag(s.tag) in carried for s in selections if s.tag is not None
                    )
                    done.matched += meant and one.state(now, valid) in ("fresh", "stale")
                advance(done.matched)


def _by_namespace(store: Store, key: str, selections: list[Selection]) -> bool:
    for one in selections:
        if one.tag is None and one.namespace is None:
            return True
        if one.namespace is not None and key.startswith(store.keys.child(one.namespace).scan_prefixes()):
            return True
        if one.holds is not None and one.holds(store.namespace_of(key)):
            return True
    return False


async def _invalidate(
    done: Done, url: str | None, places: list[tuple[str | None, list[Selection]]], quiet: bool
) -> None:
    for prefix, selections in places:
        last = selections is places[-1][1]
        async with opened(url, prefix) as store, store.invalidating() as cache:
            with outcome.progress("giving memory back", None, quiet=quiet) as advance:
                for one in selections:
                    await _invalidate_one(done, cache, one, advance, last=last)
            given = {prefix for prefix, _ in places}
            if last and (None in given or not done.freed):
                others = await store.other_prefixes(beside=None in given)  # they stay, which is said if none was named
                done.other_prefixes = sorted(set(others) - given)


async def _invalidate_one(
    done: Done, cache: Cache[Any], one: Selection, advance: Callable[[float], None], *, last: bool
) -> None:
    """Make one selection invalid and count it as such once the store has acknowledged. Raises InvalidationPending."""
    before = done.freed

    def told(number: int) -> None:  # called behind the acknowledgement
        if last and one.words not in done.invalidated:
            done.invalidated.append(one.words)
        done.freed = before + number
        advance(done.freed)

    if one.namespace is not None:
        await cache.invalidate_prefix(one.namespace, progress=told)
    elif one.tag is None:
        await cache.invalidate_all(progress=told)
    elif one.holds is not None:
        await cache.sweep_tag(one.tag, one.holds, progress=told)
    else:
        await cache.invalidate_tags(one.tag)
    told(done.freed - before)


def _facts(done: Done) -> dict[str, Any]:
    return {
        "selections": done.selections,
        "matched": done.matched,
        "invalidated": done.invalidated,
        "freed": done.freed,
        "other_prefixes": done.other_prefixes,
    }


def _show(done: Done) -> None:
    console = outcome.printer()
    for words in done.invalidated:
        console.print(f"invalid in every process: {outcome.shown(words)}")
    console.print(f"{done.freed:,} answers deleted to give their memory back; others go with their ttl")
    outcome.print_others(console, done.other_prefixes)


joined = command()
"""The command with the options of all plugins."""
