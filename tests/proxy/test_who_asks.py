"""Who asks: keys of callers, judged upstream; the gateway's own keys; tenants. Nothing crosses unasked."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import openai
import pytest

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.settings import AccessSettings, KeySettings
from tests.proxy.conftest import Gateways, chat, messages, text_of, until

OWN = "cck-own-key"


def own(name: str = "team-a", key: str = OWN, **given: Any) -> KeySettings:
    return KeySettings(name=name, sha256=hashlib.sha256(key.encode()).hexdigest(), **given)


async def asked(client: openai.AsyncOpenAI, text: str = "Hi", **headers: str) -> str:
    """Ask, and return `Cache-Status`."""
    raw = await client.chat.completions.with_raw_response.create(
        model="m", messages=messages(text), extra_headers=headers
    )
    return str(raw.headers["cache-status"])


class TestForwardedKeys:
    async def test_another_key_has_answers_of_its_own(self, gateways: Gateways, provider: LocalProvider) -> None:
        running = await gateways.start()
        first, second = await gateways.openai(running, "k-1"), await gateways.openai(running, "k-2")
        assert "fwd=miss" in await asked(first)
        assert "fwd=miss" in await asked(second)
        assert "hit" in await asked(first)
        assert "hit" in await asked(second)
        assert provider.calls == 2
        assert [call.headers["authorization"] for call in provider.requests] == ["Bearer k-1", "Bearer k-2"]

    async def test_unknown_key_gets_nothing_of_a_shared_cache(self, gateways: Gateways) -> None:
        """Where all share answers, a key that no provider has judged gets no hit, and the provider's refusal."""
        async with LocalProvider(api_keys=["good"]) as strict:
            running = await gateways.start(
                upstreams=[gateways.upstream(url=strict.url)], access=AccessSettings(scope="all")
            )
            good, bad = await gateways.openai(running, "good"), await gateways.openai(running, "bad")
            await asked(good)
            assert "hit" in await asked(good)
            for stream in (False, True):
                with pytest.raises(openai.AuthenticationError):
                    await bad.chat.completions.create(model="m", messages=messages("Hi"), stream=stream)
            with pytest.raises(openai.InternalServerError) as raised:
                await asked(bad, **{"cache-control": "only-if-cached"})
            assert raised.value.status_code == 504
            with pytest.raises(openai.AuthenticationError):
                await bad.embeddings.create(model="e", input="a")
            assert "hit" in await asked(good)

    async def test_unknown_key_joins_no_call(self, gateways: Gateways, provider: LocalProvider) -> None:
        """It asks by itself while another's call, of one scope, is under way; its answer is kept."""
        running = await gateways.start(access=AccessSettings(scope="all"))
        good, new = await gateways.openai(running, "good"), await gateways.openai(running, "new")
        await asked(good, "warm")
        provider.hold()
        for stream in (False, True):
            text, calls = f"stream {stream}", provider.calls
            asking = [
                asyncio.ensure_future(client.chat.completions.create(model="m", messages=messages(text), stream=stream))
                for client in (good, new)
            ]
            await provider.until(lambda calls=calls: provider.calls == calls + 2)  # type: ignore[misc]  # bound as the default
            provider.release()
            for one in await asyncio.gather(*asking):
                if stream:
                    await text_of(one)
            new = await gateways.openai(running, "newer")
            provider.hold()
        provider.release()

    async def test_refused_key_is_unknown_at_once(self, gateways: Gateways) -> None:
        """A 401 ends what was good for five minutes; the answers stay for the others of the scope."""
        async with LocalProvider(api_keys=["a", "b"]) as strict:
            running = await gateways.start(
                upstreams=[gateways.upstream(url=strict.url)], access=AccessSettings(scope="all")
            )
            first, second = await gateways.openai(running, "a"), await gateways.openai(running, "b")
            await asked(first)
            await asked(second, "warm")
            assert "hit" in await asked(second)
            strict.queue("[[error 401]]")
            with pytest.raises(openai.AuthenticationError):
                await asked(second, "new")
            strict.queue("[[error 401]]")
            with pytest.raises(openai.AuthenticationError):
                await asked(second)  # a hit before
            assert "hit" in await asked(first)
            assert "fwd=miss" in await asked(second), "the provider takes it again"
            assert "hit" in await asked(second)

    async def test_key_is_judged_in_every_process(self, gateways: Gateways, tmp_path: Any) -> None:
        """A gateway on the same store knows what another learned of a key: that it is good, and that it is no more."""
        async with LocalProvider(api_keys=["a"]) as strict:
            settings = {
                "store": f"sqlite:///{tmp_path}/answers.db",
                "upstreams": [gateways.upstream(url=strict.url)],
            }
            here, there = await gateways.start(**settings), await gateways.start(**settings)
            first, second = await gateways.openai(here, "a"), await gateways.openai(there, "a")
            await asked(first)
            await until(lambda: here.gateway.activity.under_way == 0)  # then the answer is stored: it is given before
            assert "hit" in await asked(second)
            strict.queue("[[error 403]]")
            with pytest.raises(openai.PermissionDeniedError):
                await asked(first, "new")
            assert "fwd=miss" in await asked(second, "other")
            assert strict.calls == 3

    async def test_key_that_is_renewed_passes_through(self, gateways: Gateways, provider: LocalProvider) -> None:
        """A token with an end is never found again under its digest: it is passed through, and the header says so."""
        token = "eyJhbGciOiJ4In0.eyJleHAiOjF9.c2ln"
        client = await gateways.openai(await gateways.start(), token)
        for _ in range(2):
            assert await asked(client) == "cachecore; fwd=bypass; detail=rotating_credential"
        assert provider.calls == 2
        shared = await gateways.openai(await gateways.start(access=AccessSettings(scope="all")), token)
        await asked(shared)
        assert "hit" in await asked(shared)

    async def test_refusal_of_another_callers_key_is_not_mine(self, gateways: Gateways) -> None:
        """A caller that had joined a call whose key is refused is answered with its own key."""
        async with LocalProvider(api_keys=["a", "b"]) as strict:
            running = await gateways.start(
                upstreams=[gateways.upstream(url=strict.url)], access=AccessSettings(scope="all")
            )
            first, second = await gateways.openai(running, "a"), await gateways.openai(running, "b")
            await asked(first, "warm")
            await asked(second, "warm2")
            strict.hold()
            strict.queue("[[error 401]]")
            refused = asyncio.ensure_future(asked(first, "Hi"))
            await strict.until(lambda: strict.calls == 3)
            joined = asyncio.ensure_future(asked(second, "Hi"))
            await asyncio.sleep(0.1)  # nothing tells that a request waits for another's call
            strict.release()
            with pytest.raises(openai.AuthenticationError):
                await refused
            assert "fwd=miss" in await joined


class TestOwnKeys:
    async def start(self, gateways: Gateways, **access: Any) -> Any:
        upstream = gateways.upstream(credential="provider-key")
        return await gateways.start(upstreams=[upstream], access=AccessSettings(**access))

    async def test_own_key_is_exchanged_and_never_sent_on(self, gateways: Gateways, provider: LocalProvider) -> None:
        running = await self.start(gateways, keys=(own(),))
        client, anthropic = await gateways.openai(running, OWN), await gateways.anthropic(running, OWN)
        await asked(client)
        assert "hit" in await asked(client)
        await anthropic.messages.create(model="m", max_tokens=9, messages=messages("Hi"))
        assert [model.id async for model in client.models.list()]
        assert [call.headers.get("authorization") for call in provider.requests] == ["Bearer provider-key", None]
        assert provider.requests[1].headers["x-api-key"] == "provider-key"
        assert not any(OWN in str(call.headers) for call in provider.requests)

    async def test_other_keys_are_refused(self, gateways: Gateways, provider: LocalProvider) -> None:
        """For calls and for everything else; the refusal names no key; a hit is none for them either."""
        running = await self.start(gateways, keys=(own(),))
        await asked(await gateways.openai(running, OWN))
        for key in ("other", OWN + "x", OWN.upper()):
            client = await gateways.openai(running, key)
            with pytest.raises(openai.AuthenticationError) as raised:
                await asked(client)
            assert key not in str(raised.value)
            assert raised.value.response.headers["x-should-retry"] == "false"
            with pytest.raises(openai.AuthenticationError):
                [model async for model in client.models.list()]
        http = await gateways.http(running, None)
        assert (await http.post("/v1/chat/completions", json=chat())).status_code == 401
        assert provider.calls == 1

    async def test_revoked_key_is_refused_and_never_sent_on(self, gateways: Gateways, provider: LocalProvider) -> None:
        """Also where other keys are forwarded: it is the gateway's, and no provider's business. Its hits are gone."""
        settings = {"keys": (own(key="cck-one"), own("b", "cck-two")), "forward_keys": True}
        running = await self.start(gateways, **settings)
        client = await gateways.openai(running, "cck-one")
        await asked(client)
        assert "hit" in await asked(client)
        assert "hit" in await asked(client)
        access = AccessSettings(**{**settings, "keys": settings["keys"][1:]})  # type: ignore[index]  # a tuple
        await running.gateway.take(replace(running.gateway.settings, access=access))
        for stream in (False, True):
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="m", messages=messages("Hi"), stream=stream)
        with pytest.raises(openai.AuthenticationError):
            [model async for model in client.models.list()]
        assert "fwd=miss" in await asked(await gateways.openai(running, "cck-two"))
        assert provider.calls == 2
        assert not any("cck-" in str(call.headers) for call in provider.requests)

    async def test_each_key_is_a_tenant(self, gateways: Gateways, provider: LocalProvider) -> None:
        """Keys of one tenant share answers; those of another do not, unless the file says so."""
        keys = (own(), own("b", "key-b"), own("c", "key-c", tenant="team-a"))
        running = await self.start(gateways, keys=keys)
        await asked(await gateways.openai(running, OWN))
        assert "fwd=miss" in await asked(await gateways.openai(running, "key-b"))
        assert "hit" in await asked(await gateways.openai(running, "key-c"))
        assert await running.gateway.cache.invalidate_tenant("team-a") == 1
        assert "hit" in await asked(await gateways.openai(running, "key-b"))
        assert "fwd=miss" in await asked(await gateways.openai(running, OWN))
        shared = await self.start(gateways, keys=keys, scope="all")
        calls = provider.calls
        await asked(await gateways.openai(shared, OWN))
        assert "hit" in await asked(await gateways.openai(shared, "key-b"))
        assert provider.calls == calls + 1

    async def test_own_and_forwarded_keys_side_by_side(self, gateways: Gateways, provider: LocalProvider) -> None:
        running = await self.start(gateways, keys=(own(),), forward_keys=True)
        assert "fwd=miss" in await asked(await gateways.openai(running, OWN))
        assert "fwd=miss" in await asked(await gateways.openai(running, "k-1"))
        assert [call.headers["authorization"] for call in provider.requests] == ["Bearer provider-key", "Bearer k-1"]


class TestTenants:
    async def test_header_is_a_tenant_within_its_key(self, gateways: Gateways, provider: LocalProvider) -> None:
        """It is not sent on. Another key with the same header has answers of its own."""
        running = await gateways.start(access=AccessSettings(tenant_header="x-tenant"))
        first, second = await gateways.openai(running, "k-1"), await gateways.openai(running, "k-2")
        assert "fwd=miss" in await asked(first, **{"X-Tenant": "acme"})
        assert "hit" in await asked(first, **{"X-Tenant": "acme"})
        assert "fwd=miss" in await asked(first, **{"X-Tenant": "other"})
        assert "fwd=miss" in await asked(first)
        assert "fwd=miss" in await asked(second, **{"X-Tenant": "acme"})
        assert provider.calls == 4
        assert not any("x-tenant" in call.headers for call in provider.requests)

    async def test_missing_and_wrong_tenants_are_refused(self, gateways: Gateways, provider: LocalProvider) -> None:
        running = await gateways.start(access=AccessSettings(tenant_header="x-tenant", tenant_required=True))
        client = await gateways.openai(running)
        for headers in ({}, {"X-Tenant": ""}, {"X-Tenant": "x" * 201}):
            with pytest.raises(openai.BadRequestError, match="x-tenant"):
                await asked(client, **headers)
        assert provider.calls == 0

    async def test_headers_are_keyed_and_forwarded_or_neither(
        self, gateways: Gateways, provider: LocalProvider
    ) -> None:
        """Those that shape answers are both; any other could shape one without being keyed, so it is neither."""
        running = await gateways.start(access=AccessSettings(keyed_headers=("x-adapter",)))
        client = await gateways.openai(running)
        assert "fwd=miss" in await asked(client, **{"x-adapter": "a", "x-other": "1"})
        assert "hit" in await asked(client, **{"x-adapter": "a", "x-other": "2"})
        assert "fwd=miss" in await asked(client, **{"x-adapter": "b"})
        assert [call.headers.get("x-adapter") for call in provider.requests] == ["a", "b"]
        assert not any("x-other" in call.headers for call in provider.requests)
