"""The settings of the LLM cache and the numbers it keeps."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration, lifetime, positive
from cachecore_llm.key import Path, Rule, path_of, rules_of
from cachecore_llm.policy.admission import BUILT_IN, AdmissionRules
from cachecore_llm.policy.lifetime import Lifetimes
from cachecore_llm.request import TRANSPORT_FIELDS
from cachecore_llm.response import LLMResponse
from cachecore_llm.similar.protocol import SimilarityIndex
from cachecore_llm.similar.shadow import ShadowCheck

GIVES_UP_AFTER: Final = 900.0
"""Seconds, where no `factory_timeout` is given."""
PROVIDERS_WITHIN: Final = 600.0
"""Seconds that providers may take together then: the timeout of both SDKs."""

_OF_A_CACHE: Final = ("prefix", "stale_if_error", "stale_while_revalidate", "factory_timeout")


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How answers are kept. Durations are seconds, a `timedelta` or text such as `"24h"`; attributes are seconds."""

    ttl_seconds: Duration | None = 86_400.0
    """How long an answer is fresh; None means for ever."""
    prefix: str = "llm:response"
    """The beginning of this cache's keys; caches with different prefixes never meet."""
    enabled: bool = True
    """Whether answers are read and stored at all."""
    stale_if_error: Duration = 3 * 86_400.0
    """For how long past its ttl an answer may still be served when every provider fails."""
    stale_while_revalidate: Duration = 0.0
    """For how long past its ttl an answer is served at once while a new one is made behind it."""
    fallback_ttl: Duration = 300.0
    """How long an answer of a provider other than the first is fresh, so that it does not outlive the outage."""
    factory_timeout: Duration | None = None
    """Seconds after which a computation is given up; more than the time of all providers together. None means 900 s, of
    which providers may take 600 s together: so long the SDKs wait, and the rest is for all that stands around them."""
    soft_timeout: Duration | None = None
    """After how long an answer past its ttl is served, if there is one, while the providers work on behind."""
    live_ttl: Duration = 300.0
    """How long an answer is fresh at most for which the provider could search the web, or files."""
    max_retention: Duration | None = None
    """The longest time that an answer lies in the store, fresh and stale together; None: ttl and the longer of the two
    windows, which is 96 hours by default. A bound shortens the windows first, then the ttl."""
    label: str | None = None
    """The label of requests that name none."""
    ignore: frozenset[str] = TRANSPORT_FIELDS
    """Parameters that are no part of the key, beside those that never are: names, or paths such as `messages[*].id`."""
    normalise: bool | Collection[Rule] = False
    """Whether questions that differ only in `white_space`, in Unicode composition (`nfc`) or in their `end_punctuation`
    are one request: True, or the names of some of these. It concerns the key alone, and never letter case."""
    field_digests: bool = True
    """Whether digests of a request's fields are stored beside its answer, so that `explain` can say in which fields the
    nearest stored request differs from one that misses: about 100 bytes for each answer, and 8 for each message."""
    allowed_tools: frozenset[str] = frozenset()
    """Names or kinds of tools that run at the provider, may act, and are cached all the same."""
    rules: AdmissionRules = BUILT_IN
    """Additions to the built-in rules of admission."""
    admit: Callable[[LLMResponse], bool] | None = None
    """An admission rule of your own, asked after the built-in ones. If it raises, nothing is stored."""
    similar: bool = True
    """Whether the answer to a similar question may be served when every provider fails."""
    similar_first: bool | frozenset[str] = False
    """Whether it may be served before a provider is asked: for all calls, or for prompts and labels of these names."""
    similar_ttl: Duration = 3_600.0
    """How old an answer may be at most that is served so before a provider is asked. It must be fresh as well."""
    similar_shadow: ShadowCheck | None = None
    """Compares similar answers with the provider's own, and switches them off above a limit."""
    similar_threshold: float = 0.60
    """How alike two questions must look at least, over 0 to 1. It chooses candidates; the laws decide."""
    similar_index: str | SimilarityIndex = "grams"
    """A name of the entry points `cachecore.similarity`, or an index. `grams`: cosine of character 3-grams."""
    similar_max_bytes: int = 32 * 1024 * 1024
    """Memory that the index may take."""
    similar_max_messages: int = 10_000
    """Questions that this process remembers for that; the oldest are forgotten first."""
    similar_max_chars: int = 2_000
    """The longest question that is matched with others."""
    lifetimes: Lifetimes = field(init=False, repr=False, compare=False)
    """The durations above, as they bound each other."""
    ignores: tuple[Path, ...] = field(init=False, repr=False, compare=False)
    """The paths of `ignore`."""
    spelling: frozenset[str] = field(init=False, repr=False, compare=False)
    """The rules that `normalise` means."""

    def __new__(cls, *_: object, **settings: object) -> Self:
        """Refuse settings that there are not, with the name that was meant. Raises OptionsError."""
        known = [name for name, one in cls.__dataclass_fields__.items() if one.init]
        for name, value in settings.items():
            if name not in known:
                near = ["ttl_seconds"] if name == "ttl" else difflib.get_close_matches(name, known, n=1)
                way_out = f"did you mean {near[0]}={value!r}?" if near else f"there are {', '.join(known)}"
                raise OptionsError(f"CacheConfig has no setting {name!r}: {way_out}")
        return object.__new__(cls)  # `super()` knows the class without slots, which is another one

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return the defaults, but for what `settings` of a cache say: `ttl`, `prefix`, stale windows, the timeout."""
        names = {"ttl_seconds": "ttl", **{name: name for name in _OF_A_CACHE}}
        return cls(**{ours: settings[name] for ours, name in names.items() if name in settings})

    def __post_init__(self) -> None:
        self._check_kinds()
        object.__setattr__(self, "ttl_seconds", lifetime("ttl_seconds", self.ttl_seconds))
        lifetimes = Lifetimes(
            ttl=self.ttl_seconds,
            stale_if_error=self.stale_if_error,
            stale_while_revalidate=self.stale_while_revalidate,
            fallback_ttl=self.fallback_ttl,
            live_ttl=self.live_ttl,
            max_retention=self.max_retention,
        )
        object.__setattr__(self, "lifetimes", lifetimes)
        object.__setattr__(self, "ttl_seconds", lifetimes.ttl)
        for name in ("stale_if_error", "stale_while_revalidate", "fallback_ttl", "live_ttl", "max_retention"):
            object.__setattr__(self, name, getattr(lifetimes, name))
        if self.factory_timeout is not None:
            object.__setattr__(self, "factory_timeout", positive("factory_timeout", self.factory_timeout))
        if self.soft_timeout is not None:
            object.__setattr__(self, "soft_timeout", positive("soft_timeout", self.soft_timeout))
        try:
            ignores = tuple(path_of(field) for field in sorted(frozenset(self.ignore) - TRANSPORT_FIELDS))
        except (TypeError, ValueError) as error:
            raise OptionsError(f"ignore: {error}") from None
        object.__setattr__(self, "ignores", ignores)
        try:
            rules = rules_of(self.normalise)
        except ValueError as error:
            raise OptionsError(f"normalise: {error}") from None
        object.__setattr__(self, "spelling", rules)
        if not isinstance(self.normalise, bool):
            object.__setattr__(self, "normalise", rules)
        if not isinstance(self.rules, AdmissionRules):
            raise OptionsError(f"rules must be AdmissionRules(…), not {self.rules!r}")
        if not 0 < self.similar_threshold <= 1:
            raise OptionsError(f"similar_threshold must be over 0 and at most 1, not {self.similar_threshold!r}")
        object.__setattr__(self, "similar_ttl", positive("similar_ttl", self.similar_ttl))
        first: object = self.similar_first
        if not isinstance(first, bool):
            if isinstance(first, str) or not isinstance(first, Iterable) or not all(isinstance(n, str) for n in first):
                raise OptionsError(
                    f"similar_first must be True, False or a set of names such as {{'faq'}}, not {first!r}"
                )
            object.__setattr__(self, "similar_first", frozenset(first))
        for name in ("similar_max_messages", "similar_max_chars", "similar_max_bytes"):
            if getattr(self, name) < 0:
                raise OptionsError(f"{name} must be 0 or more, not {getattr(self, name)!r}")

    def _check_kinds(self) -> None:
        """Refuse values of another type, such as the text "false" of an environment variable. Raises OptionsError."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__ if hasattr(self, name)}
        for name in ("enabled", "field_digests", "similar"):
            if not isinstance(given[name], bool):
                raise OptionsError(f"{name} must be True or False, not {given[name]!r}")
        if not isinstance(given["prefix"], str) or not given["prefix"]:
            raise OptionsError(f"prefix must be text and not empty, not {given['prefix']!r}")
        for name in ("ignore", "allowed_tools"):
            several: Any = given[name]
            if isinstance(several, str) or not isinstance(several, Iterable):
                raise OptionsError(f"{name} must be several names, such as {{{str(several)!r}}}, not {several!r}")
        object.__setattr__(self, "allowed_tools", frozenset(given["allowed_tools"]))
        if given["admit"] is not None and not callable(given["admit"]):
            raise OptionsError(f"admit must be a function of the answer, not {given['admit']!r}")
        if given["similar_shadow"] is not None and not isinstance(given["similar_shadow"], ShadowCheck):
            raise OptionsError(f"similar_shadow must be ShadowCheck(judge), not {given['similar_shadow']!r}")
        for name in ("similar_threshold", "similar_max_messages", "similar_max_chars", "similar_max_bytes"):
            if isinstance(given[name], bool) or not isinstance(given[name], int | float):
                raise OptionsError(f"{name} must be a number, not {given[name]!r}")

    @property
    def gives_up_after(self) -> float:
        """The seconds after which a computation is given up."""
        return GIVES_UP_AFTER if self.factory_timeout is None else positive("factory_timeout", self.factory_timeout)

    def check_providers(self, seconds: float) -> None:
        """Raise OptionsError if providers that may take so many `seconds` together could be given up meanwhile."""
        within = PROVIDERS_WITHIN if self.factory_timeout is None else self.gives_up_after
        if seconds > within or seconds >= self.gives_up_after:
            share = f", {within:g} s of it for them" if self.factory_timeout is None else ""
            raise OptionsError(
                f"the providers may take {seconds:g} s together, but the cache gives up after factory_timeout = "
                f"{self.gives_up_after:g} s{share}: give CacheConfig a longer one, or the providers shorter timeouts"
            )


@dataclass(frozen=True, slots=True)
class CacheMetrics:
    """Counts of the requests of one `ResponseCache` so far; a snapshot."""

    hits: int = 0
    """Answered fresh from the cache."""
    misses: int = 0
    """Not answered fresh from the cache, whatever happened then."""
    stale: int = 0
    """Of the misses: answered with the same request's entry past its ttl."""
    similar: int = 0
    """Of the misses: answered with the answer to a similar question."""
    joined: int = 0
    """Of the misses: waited for the answer that another caller was having made, and paid nothing."""
    stored: int = 0
    """Answers stored."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Answers unfit to be stored, by reason."""
    not_stored: Mapping[str, int] = field(default_factory=dict)
    """Answers that were fit but not stored, by reason: too large, the store away, overtaken by an invalidation."""

    @property
    def hit_rate(self) -> float:
        """Return the part of the requests that were hits, 0.0 to 1.0; 0.0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    def unstored_since(self, before: CacheMetrics) -> dict[str, int]:
        """Return the answers that were not stored since the snapshot `before`, by reason, `rejected` ones included."""
        now = Counter(self.rejected) + Counter(self.not_stored)
        return dict(now - (Counter(before.rejected) + Counter(before.not_stored)))
