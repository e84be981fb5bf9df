"""Deterministic simulation: several processes, their caches and a store that fails, in one virtual loop from a seed.

    simulate(seed=4711)                                    # raises Broken, which says how to see it again
    python -m cachecore.testing.simulation.run 4711 --trace    # the same run, step by step

Clock, sleep, chance and transport are simulated, so one seed is one history, always. A step is one public call, one
message to the store or one fault. While it runs, every answer is judged by an oracle that knows the history; in the
end everything is healed, every key is asked for once more, and nothing may be left over.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import sys
from typing import Final

from cachecore.testing.simulation.world import Report, World
from cachecore.testing.virtual import VirtualClock

_SHOWN: Final = 60


class Broken(AssertionError):  # noqa: N818 - names the state of the run
    """A simulated history in which the cache broke a promise."""

    def __init__(self, seed: int, steps: int, problem: str, trace: list[str]) -> None:
        super().__init__(seed, steps, problem, trace)
        self.seed = seed

    def __str__(self) -> str:
        seed, steps, problem, trace = self.args
        shown = "\n".join(trace[-_SHOWN:])
        again = f"python -m cachecore.testing.simulation.run {seed} --steps {steps} --trace"
        return f"seed {seed}: {problem}\n{shown}\nto see it again: {again}"


def simulate(seed: int, steps: int = 200, *, calm: bool | None = None, digest: bool = False) -> Report:
    """Live through the history of `seed`, of about `steps` steps.

    `calm`: without faults and writes, where the rules are stricter; None: one seed in eight.

    Raises:
        Broken: the cache broke a promise; says how to see it again.
    """
    clock = VirtualClock()
    world = World(seed, steps, calm=seed % 8 == 0 if calm is None else calm, loop=clock.loop)
    collecting = gc.isenabled()
    gc.disable()  # the moment of a collection depends on earlier code
    try:
        clock.run(world.run())
    except Exception as error:
        lines = [" ".join(map(str, line)) for line in world.trace]
        raise Broken(seed, steps, f"{type(error).__name__}: {error}", lines) from error
    finally:
        if collecting:
            gc.enable()
    if digest:
        whole = hashlib.sha256()
        for line in world.trace:
            whole.update(repr(line).encode())
        world.report.digest = whole.hexdigest()
    return world.report


def main(arguments: list[str] | None = None) -> int:
    """Run seeds from the command line; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m cachecore.testing.simulation.run", description=__doc__.splitlines()[0]
    )
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--trace", action="store_true", help="write the whole history of a failing seed")
    given = parser.parse_args(arguments)
    failed = 0
    for seed in range(given.seed, given.seed + given.count):
        try:
            report = simulate(seed, given.steps, digest=given.count == 1)
        except Broken as broken:
            failed += 1
            lines = broken.args[3] if given.trace else broken.args[3][-8:]
            sys.stdout.write("\n".join([*lines, f"seed {seed}: {broken.args[2]}"]) + "\n")
        else:
            if given.count == 1:
                sys.stdout.write(f"{report}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
