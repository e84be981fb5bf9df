"""The contract of a backend as tests, for every backend and every wrapper, ours and yours.

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=attrgetter("__name__"))
    async def test_my_backend_keeps_the_contract(check):
        async with my_harness() as harness:
            await check(harness)

A harness gives each check an empty store and a way to let time pass. No check asks which backend it has; what is
optional (`scan`, `time`, `feed`) is checked where it is there. A harness whose clock is moved by hand has `leap`, too.
"""

from cachecore.testing.conformance import crowds, feeds, optional, swaps, values
from cachecore.testing.conformance.harness import CHECKS, Check, Harness, LeapingHarness, SharedHarness

__all__ = [
    "CHECKS",
    "Check",
    "Harness",
    "LeapingHarness",
    "SharedHarness",
    "crowds",
    "feeds",
    "optional",
    "swaps",
    "values",
]
