"""Keys found again by the bytes of a request: always the key that the request has without a memo."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import KeySpace, canonical
from cachecore.keys.hashers import sha256
from cachecore.memory.memo import Memo
from tests.properties.key_requests import requests
from tests.unit.virtual_caches import Scene, virtual

LONG = "Where is my card? " * 100


def recalling(
    memo: Memo, namespace: str = "", *, shards: int = 0, wanted: bool = True, value_format: str = ""
) -> Callable[[Any], str]:
    space = KeySpace("p", namespace, sha256(), shards=shards, value_format=value_format)
    return space.recalling(memo, memo.put, lambda key: wanted)


@given(st.lists(requests, max_size=4), st.sampled_from([0, 7]), st.booleans())
def test_a_recalled_key_is_the_key(asked: list[Any], shards: int, long: bool) -> None:
    memo = Memo()
    plain, recalled = KeySpace("p", "n", sha256(), shards=shards).key, recalling(memo, "n", shards=shards)
    for one in [*asked, *reversed(asked)]:
        request = {"text": LONG, "one": one} if long else one
        assert recalled(request) == plain(request)


def test_long_requests_are_found_again_and_short_ones_are_not_kept() -> None:
    memo = Memo()
    key = recalling(memo)
    first = key({"q": LONG, "n": 1})
    assert len(memo) == 1
    assert key({"n": 1, "q": LONG}) is first
    key({"q": "short"})
    assert len(memo) == 1
    recalling(memo, wanted=False)({"q": LONG, "n": 2})
    assert len(memo) == 1


def test_values_that_are_equal_in_python_only_are_told_apart() -> None:
    memo, plain = Memo(), KeySpace("p", "", sha256()).key
    key, words = recalling(memo), ["a"]
    unlike = [1, 1.0, True, "1", b"1", 0.0, -0.0, 0, False, None, math.inf, words]
    for _ in range(2):
        for one in unlike:
            assert key([LONG, one]) == plain([LONG, one])
    assert len(memo) == len({key([LONG, one]) for one in unlike}) == len(unlike)
    words.append("b")
    assert key([LONG, words]) == plain([LONG, words])


def test_every_nan_has_one_key() -> None:
    memo, odd = Memo(), struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]
    key = recalling(memo)
    assert len({key([LONG, one]) for one in (math.nan, odd, math.nan, odd, -math.nan)}) == 1


def test_a_collision_of_the_short_digest_gives_nobody_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "xxh3_64_intdigest", lambda data, seed=0: 7)
    memo, plain = Memo(), KeySpace("p", "", sha256()).key
    key, other = recalling(memo), recalling(memo, "other")
    for number in (1, 2, 1, 1, 2):
        assert key({"q": LONG, "n": number}) == plain({"q": LONG, "n": number})
        assert other({"q": LONG, "n": number}).startswith("p:e:other:")


def test_namespaces_and_formats_do_not_share_facts() -> None:
    memo, request = Memo(), {"q": LONG}
    spaces = [recalling(memo), recalling(memo, "a"), recalling(memo, "a", value_format="json")]
    made = [[key(request) for key in spaces] for _ in range(3)]
    assert made[0] == made[1] == made[2]
    assert len(set(made[0])) == len(memo) == 3


def test_a_request_without_a_form_is_refused_each_time() -> None:
    key = recalling(Memo())
    for _ in range(2):
        with pytest.raises(UnkeyableError, match="two"):
            key({"one": LONG, "two": object()})


@virtual
async def test_only_requests_with_a_copy_in_memory_are_remembered(scene: Scene) -> None:
    cache = scene.cache()
    request = {"q": LONG}
    memo = cache._engine.l1.memo
    assert (await cache.get(request), len(memo)) == (None, 0)
    await cache.set(request, "answer")
    assert [await cache.get(request) for _ in range(2)] == ["answer"] * 2
    assert len(memo) == 1
    assert cache.stats.l1_bytes > 3 * len(LONG) / 2
    assert cache.scoped("other").key(request) != cache.key(request)
