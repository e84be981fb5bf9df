"""Many upstreams: one stands in for another of its family, with its own models and keys."""

from __future__ import annotations

import openai
import pytest

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.settings import AccessSettings
from tests.proxy.conftest import Gateways, messages, text_of


async def test_second_upstream_stands_in_with_its_own_key_and_model(
    gateways: Gateways, provider: LocalProvider
) -> None:
    """Whole and streamed; the caller's key never reaches it; the answer lives for `fallback_ttl`."""
    async with LocalProvider() as second:
        running = await gateways.start(
            upstreams=[
                gateways.upstream("first"),
                gateways.upstream("second", second.url, credential="s3cret", models={"m": "other", "*": "any"}),
            ],
            cache={"fallback_ttl": 30},
        )
        client = await gateways.openai(running)
        await client.chat.completions.create(model="m", messages=messages("warm"))
        for stream in (False, True):
            provider.queue("[[error 503]]")
            raw = await client.chat.completions.with_raw_response.create(
                model="m", messages=messages(f"{stream}"), stream=stream
            )
            if stream:
                assert await text_of(raw.parse())
            assert raw.status_code == 200
        assert [call.body["model"] for call in second.requests] == ["other", "other"]
        assert {call.headers["authorization"] for call in second.requests} == {"Bearer s3cret"}
        again = await client.chat.completions.with_raw_response.create(model="m", messages=messages("False"))
        assert again.headers["cache-status"].startswith(("cachecore; hit; ttl=2", "cachecore; hit; ttl=30"))
        states = {state.name: state for state in running.gateway.activity.upstreams() if state.protocol == "openai"}
        assert states["first"].error == "HTTPFailure 503"
        assert not states["first"].is_open
        assert running.gateway.activity.upstream_counts["first"].failures == 2


async def test_mistakes_of_the_caller_ask_no_other(gateways: Gateways, provider: LocalProvider) -> None:
    async with LocalProvider() as second:
        upstreams = [gateways.upstream("first"), gateways.upstream("second", second.url, credential="s")]
        client = await gateways.openai(await gateways.start(upstreams=upstreams))
        provider.queue("[[error 400]]")
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="m", messages=messages("Hi"))
        assert second.calls == 0


async def test_upstream_that_may_not_have_the_key_is_not_asked(gateways: Gateways, provider: LocalProvider) -> None:
    """Without a key of its own it is passed over, and the error is the first one's; `forward_keys` allows it."""
    async with LocalProvider() as second:
        for forward, asked in ((None, 0), (True, 1)):
            upstreams = [
                gateways.upstream("first"),
                gateways.upstream("second", second.url, forward_keys=forward),
            ]
            client = await gateways.openai(await gateways.start(upstreams=upstreams))
            await client.chat.completions.create(model="m", messages=messages("warm"))
            provider.queue("[[error 503]]")
            if forward:
                await client.chat.completions.create(model="m", messages=messages("Hi"))
            else:
                with pytest.raises(openai.InternalServerError) as raised:
                    await client.chat.completions.create(model="m", messages=messages("Hi"))
                assert raised.value.response.headers["cache-status"].endswith("fwd-status=503")
            assert second.calls == asked


async def test_unknown_key_gets_no_stand_in(gateways: Gateways, provider: LocalProvider) -> None:
    """A key that no provider has judged must not be answered on the gateway's own account."""
    async with LocalProvider() as second:
        upstreams = [gateways.upstream("first"), gateways.upstream("second", second.url, credential="s")]
        running = await gateways.start(upstreams=upstreams)
        for stream in (False, True):
            provider.queue("[[error 503]]")
            client = await gateways.openai(running, f"never-seen-{stream}")
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="m", messages=messages("Hi"), stream=stream)
        assert second.calls == 0


async def test_each_family_has_its_own_upstreams(gateways: Gateways, provider: LocalProvider) -> None:
    async with LocalProvider() as other:
        running = await gateways.start(
            upstreams=[
                gateways.upstream("chat", families=("openai",)),
                gateways.upstream("claude", other.url, families=("anthropic",)),
            ]
        )
        client, anthropic = await gateways.openai(running), await gateways.anthropic(running)
        await client.chat.completions.create(model="m", messages=messages("Hi"))
        await anthropic.messages.create(model="m", max_tokens=9, messages=messages("Hi"))
        assert (provider.calls, other.calls) == (1, 1)
        only = await gateways.start(upstreams=[gateways.upstream("chat", families=("openai",))])
        raw = await (await gateways.http(only)).post("/v1/messages", json={})
        assert (raw.status_code, raw.json()["type"]) == (404, "error")


async def test_own_keys_fall_back_too(gateways: Gateways, provider: LocalProvider) -> None:
    async with LocalProvider() as second:
        from tests.proxy.test_who_asks import OWN, own

        upstreams = [
            gateways.upstream("first", credential="one"),
            gateways.upstream("second", second.url, credential="two"),
        ]
        running = await gateways.start(upstreams=upstreams, access=AccessSettings(keys=(own(),)))
        provider.queue("[[error 429]]")
        await (await gateways.openai(running, OWN)).chat.completions.create(model="m", messages=messages("Hi"))
        assert [call.headers["authorization"] for call in second.requests] == ["Bearer two"]
