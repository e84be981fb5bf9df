"""What `import cachecore` loads: nothing that many programs never use. Counted by name, not timed."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = (
    "opentelemetry",
    "msgspec",
    "pydantic",
    "tomllib",
    "cachecore.api.configuration",
    "cachecore.api.loop_thread",
    "cachecore.api.sync",
    "cachecore.api.sync_stream",
    "cachecore.cli",
    "cachecore.engine.batch",
    "cachecore.engine.instruments",
    "cachecore.invalidation.outbox.journal",
    "cachecore.keys.decoding",
    "cachecore.keys.explain",
    "cachecore.serializers.json",
    "cachecore.serializers.typed",
    "cachecore.testing",
)
PROGRAM = """
import sys
import {module}
print(*sorted(name for name in sys.modules))
"""


def _loaded(module: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, timeout=60, check=True
    )
    return set(told.stdout.split())


@pytest.mark.parametrize("module", ["cachecore", "cachecore_sqlite", "cachecore_redis"])
def test_parts_come_when_they_are_used(module: str) -> None:
    """No part that has a use of its own is imported before it."""
    pytest.importorskip(module)
    loaded = _loaded(module)
    assert [name for name in LATER if name in loaded] == []


def test_the_package_stays_small() -> None:
    """Modules beyond those of asyncio: a new one here slows the start of every program, so it needs a reason."""
    assert len(_loaded("cachecore") - _loaded("asyncio")) <= 190


def test_every_public_name_is_there() -> None:
    """The names that are imported at their first use are those that the package promises."""
    import cachecore

    for name in cachecore.__all__:
        assert getattr(cachecore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = cachecore.Nothing  # type: ignore[attr-defined]  # that is the test
