"""Weather forecasts from a paid service, cached with cachecore in memory."""

import asyncio

from cachecore import Cache

cache = Cache("memory://", ttl=600, namespace="weather")
cached = cache.cached


class Service:
    """The paid service; each call is slow and counted."""

    def __init__(self) -> None:
        self.calls = 0

    async def ask(self, *question: object) -> dict[str, object]:
        self.calls += 1
        await asyncio.sleep(0.01)
        return {"asked": list(question), "degrees": sum(len(str(one)) for one in question)}


service = Service()


@cached(ttl=600)
async def forecast(city: str, days: int = 3) -> dict[str, object]:
    return await service.ask("forecast", city, days)


@cached(ttl=60)
async def now(city: str) -> dict[str, object]:
    return await service.ask("now", city)


@cached(ttl=86_400)
async def climate(city: str, month: int) -> dict[str, object]:
    return await service.ask("climate", city, month)


@cached(ttl=300)
async def pollen(city: str) -> dict[str, object]:
    return await service.ask("pollen", city)


@cached(ttl=300)
async def tides(harbour: str, *, metres: bool = True) -> dict[str, object]:
    return await service.ask("tides", harbour, metres)


class Reports:
    """Reports of one station; the object shapes no answer."""

    @cached(ttl=600, exclude=["self"])
    async def daily(self, city: str) -> dict[str, object]:
        return await service.ask("daily", city)


async def remember(user: str, city: str) -> list[str]:
    """The cities that a user looked at last."""
    recent = await cache.get(f"recent:{user}", default=[])
    recent = [city, *(one for one in recent if one != city)][:3]
    await cache.set(f"recent:{user}", recent, ttl=86_400)
    return recent


async def forget(user: str) -> bool:
    await cache.delete(f"recent:{user}")
    return await cache.exists(f"recent:{user}")


async def warn(city: str, text: str) -> None:
    if not await cache.exists(f"warning:{city}"):
        await cache.set(f"warning:{city}", text, ttl=3600)


async def warnings(cities: list[str]) -> dict[str, str]:
    known = await cache.get_many({city: f"warning:{city}" for city in cities})
    return {city: text for city, text in known.items() if text is not None}


async def likes(city: str, user: str) -> int:
    """How many users like a city, and which user liked it last."""
    count = await cache.get(f"likes:{city}", default=0)
    await cache.set(f"likes:{city}", count + 1, ttl=86_400)
    await cache.set(f"liked:{city}", user, ttl=86_400)
    return await cache.get(f"likes:{city}")


async def main() -> None:
    for _ in range(2):
        print(await forecast("Bern"), await forecast("Bern", days=7), await now("Bern"), await tides("Genoa"))
        print(await climate("Bern", 6), await pollen("Bern"), await Reports().daily("Bern"), service.calls)
    print(await remember("ann", "Bern"), await remember("ann", "Rome"), await remember("ann", "Bern"))
    print(await forget("ann"), await likes("Bern", "ann"), await likes("Bern", "bob"))
    await warn("Rome", "storm")
    await warn("Rome", "sun")
    print(await warnings(["Bern", "Rome"]))
    print((await forecast.refresh("Bern"))["degrees"], service.calls)


asyncio.run(main())
