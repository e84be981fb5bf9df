"""The catalogue of a shop in front of a slow warehouse, cached with cashews: `catalogue_cashews.py redis://…`."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cashews import cache

cache.setup(sys.argv[1])


@dataclass
class Product:
    number: int
    name: str
    added: date


class Warehouse:
    """A remote system; each call is slow and counted."""

    def __init__(self) -> None:
        self.names = {1: "lamp", 2: "chair", 3: "table"}
        self.calls = 0
        self.down = False

    async def ask(self) -> None:
        if self.down:
            raise ConnectionError("the warehouse is down")
        self.calls += 1
        await asyncio.sleep(0.01)


warehouse = Warehouse()


@cache(ttl="10m", tags=["product:{number}"])
async def product(number: int) -> Product:
    await warehouse.ask()
    return Product(number, warehouse.names[number], date(2026, 1, number))


@cache(ttl="1m", tags=["product:{number}", "stock"])
async def stock(number: int, *, place: str = "north") -> int:
    await warehouse.ask()
    return number * (7 if place == "north" else 3)


@cache(ttl="1h")
async def search(text: str, page: int = 1) -> list[int]:
    await warehouse.ask()
    return [number for number, name in warehouse.names.items() if text in name][10 * (page - 1) :]


@cache(ttl="1d", tags=["product:{number}", "texts"])
async def description(number: int, language: str) -> str:
    await warehouse.ask()
    return f"{warehouse.names[number]} ({language})"


@cache(ttl="5m", tags=["product:{number}"])
async def related(number: int) -> tuple[int, ...]:
    await warehouse.ask()
    return tuple(other for other in warehouse.names if other != number)


@cache(ttl="1h", tags=["product:{number}"])
async def suppliers(number: int) -> list[str]:
    await warehouse.ask()
    return [f"supplier {number}", f"supplier {number + 1}"]


@cache(ttl="15m", tags=["product:{number}", "reviews"])
async def rating(number: int) -> Decimal | None:
    await warehouse.ask()
    return Decimal("4.5") if number < 3 else None


@cache(ttl="15m", tags=["reviews"])
async def reviews(number: int, page: int = 1) -> list[dict[str, str]]:
    await warehouse.ask()
    return [{"by": "Ann", "text": f"page {page} about {number}"}]


@cache(ttl="1d")
async def categories() -> dict[str, list[int]]:
    await warehouse.ask()
    return {"light": [1], "furniture": [2, 3]}


@cache(ttl="10m", tags=["stock"])
async def best_sellers(country: str, *, limit: int = 10) -> list[int]:
    await warehouse.ask()
    return sorted(warehouse.names, reverse=country == "FR")[:limit]


@cache(ttl="7d")
async def tax(country: str) -> Decimal:
    await warehouse.ask()
    return Decimal("0.20") if country == "FR" else Decimal("0.19")


@cache(ttl="1h", tags=["orders:{customer}"])
async def orders(customer: int) -> list[int]:
    await warehouse.ask()
    return [customer * 100, customer * 100 + 1]


@cache(ttl="1h", tags=["orders:{customer}", "product:{number}"])
async def bought_before(customer: int, number: int) -> bool:
    await warehouse.ask()
    return number in (1, 2)


@cache(ttl="1d", tags=["product:{number}", "images"])
async def images(number: int, *, width: int = 800) -> list[str]:
    await warehouse.ask()
    return [f"{number}-{width}.webp"]


@cache(ttl="30m", tags=["product:{number}"])
async def bundle(number: int) -> set[int]:
    await warehouse.ask()
    return {number, 3}


@cache(ttl="1h", tags=["customer:{customer}"])
async def discount(customer: int) -> Decimal:
    await warehouse.ask()
    return Decimal("0.05") if customer == 7 else Decimal(0)


@cache(ttl="1h", tags=["customer:{customer}"])
async def address(customer: int) -> dict[str, str]:
    await warehouse.ask()
    return {"street": f"{customer} High Street", "country": "FR"}


@cache.failover(ttl="2h", exceptions=ConnectionError, key="delivery:{country}")
async def delivery_days(country: str) -> int:
    await warehouse.ask()
    return len(country)


class Prices:
    """Prices in one currency."""

    def __init__(self, currency: str, rate: Decimal) -> None:
        self.currency = currency
        self.rate = rate

    @cache(ttl="30s", key="price:{self.currency}:{number}", tags=["product:{number}"])
    async def of(self, number: int) -> Decimal:
        await warehouse.ask()
        return Decimal("19.90") * number * self.rate


async def rename(number: int, name: str) -> None:
    warehouse.names[number] = name
    await cache.delete_tags(f"product:{number}")


async def order(customer: int) -> None:
    await cache.delete_tags(f"orders:{customer}", "stock")


async def page(number: int, customer: int) -> list[object]:
    """All that a product's page shows."""
    return [
        await product(number),
        [await stock(number), await stock(number, place="south"), await related(number), await suppliers(number)],
        [await description(number, "en"), await rating(number), await reviews(number), await categories()],
        [await search("a"), await best_sellers("FR", limit=2), await tax("FR"), await delivery_days("FR")],
        [await orders(customer), await bought_before(customer, number), await discount(customer)],
        [await images(number), await bundle(number), await address(customer)],
        [await Prices("EUR", Decimal(1)).of(number), await Prices("USD", Decimal("1.1")).of(number)],
    ]


async def main() -> None:
    print(*await page(1, 7), warehouse.calls, sep="\n")
    again = await page(1, 7)
    warehouse.down = True
    print(again == await page(1, 7), "without the warehouse")
    warehouse.down = False
    calls = warehouse.calls
    await rename(1, "lantern")
    print((await product(1)).name, await description(1, "en"), warehouse.calls - calls)
    await order(7)
    print(await orders(7), await best_sellers("FR", limit=2), warehouse.calls - calls)
    await cache.close()


asyncio.run(main())
