"""How long a cold import takes, each in a fresh process, byte code compiled. `python -m benchmarks imports`

What the interpreter takes to start is taken off: an empty program is a contender of each round.
"""

from __future__ import annotations

import compileall
import importlib.util
import random
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale, spread

EMPTY: Final = "an empty program"
PROGRAMS: Final = {
    EMPTY: "",
    "asyncio": "import asyncio",
    "redis.asyncio": "import redis.asyncio",
    "cachecore": "import cachecore",
    "cachecore, with Redis": "import cachecore, cachecore_redis",
    "cachecore, with SQLite": "import cachecore, cachecore_sqlite",
    "cachecore_llm": "import cachecore_llm",
    "cashews": "import cashews",
    "aiocache": "import aiocache",
    "dogpile.cache": "import dogpile.cache",
    "diskcache": "import diskcache",
    "langchain_core.caches": "import langchain_core.caches",
    "LiteLLM's caching": (
        "import os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'\nimport litellm.caching.caching"
    ),
}
ROUNDS: Final = 9


def run(program: str) -> tuple[float, float]:
    """Return the ms of the clock and of the processor that a program takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * (time.perf_counter() - began), 1000 * computed


async def measure() -> list[Table]:
    chance = random.Random(1)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for package in ("cachecore", "cachecore_redis", "cachecore_sqlite", "cachecore_llm"):
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations if found else None) or ():
            compileall.compile_dir(folder, quiet=2)  # an installed wheel is compiled, an editable one may not be
    for program in PROGRAMS.values():
        run(program)
    for _ in range(max(3, round(ROUNDS * scale()))):
        order = list(PROGRAMS)
        chance.shuffle(order)
        for name in order:
            taken[name].append(run(PROGRAMS[name]))
    rows: dict[str, dict[str, Any]] = {}
    for name in PROGRAMS:
        if name == EMPTY:
            continue
        computed = [one[1] - empty[1] for one, empty in zip(taken[name], taken[EMPTY], strict=True)]
        base = [one[1] - empty[1] for one, empty in zip(taken["asyncio"], taken[EMPTY], strict=True)]
        rows[name] = {
            "processor ms": round(statistics.median(computed), 1),
            "processor ms, with the interpreter's start": round(statistics.median(one[1] for one in taken[name]), 1),
            "wall ms": round(
                statistics.median(one[0] - no[0] for one, no in zip(taken[name], taken[EMPTY], strict=True)), 1
            ),
            "± %": round(100 * spread(computed), 1),
            "× asyncio": round(
                statistics.median(one / max(other, 0.1) for one, other in zip(computed, base, strict=True)), 2
            ),
        }
    return [Table("import, beyond an empty program", "processor ms", rows)]


QUESTION = Question(
    "imports",
    "How long does an import take?",
    measure,
    ["redis", "cashews", "aiocache", "dogpile.cache", "diskcache", "langchain-core", "litellm"],
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
