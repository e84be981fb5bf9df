"""A program that lets atheris make up entries, guided by what of the reader and the serializers each of them reaches.

    python -m tests.faults.fuzz_entries RUNS FOLDER

It begins with the golden entries, and one seed is one run. Whatever is raised, takes 10 s or needs a gigabyte ends it
with a status other than 0, and the entry that did it lies in FOLDER. Else it prints a line of JSON: the runs, the
seconds they took, and by how many MiB the process grew meanwhile, what the fuzzer keeps for itself included.

It is a program because modules are instrumented while they are imported, and because libFuzzer never returns.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cachecore"]):
    from cachecore.testing.fuzz import fuzz_one
    from tests.golden.entries import CASES, FOLDER, KEY

SERIALIZERS = [*{case.serializer.name: case.serializer for case in CASES}.values()]


def peak() -> float:
    """Return the most memory that this process has had, in MiB; atheris is for Linux anyway."""
    # Not `ru_maxrss`: that begins with what the process had that this one was forked from.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) / 1024


def main(runs: int, folder: Path) -> None:
    tried = 0
    found = folder / "found"
    found.mkdir()

    def target(data: bytes) -> None:
        nonlocal tried
        tried += 1
        fuzz_one(data, SERIALIZERS, key=KEY)

    def report() -> None:
        print(json.dumps({"runs": tried, "seconds": time.monotonic() - began, "grown_mib": peak() - before}))

    for path in FOLDER.iterdir():  # what is imported or made once is there before anything is measured
        fuzz_one(path.read_bytes(), SERIALIZERS, key=KEY)
    # Reading the folder again and weighing inputs by what is rare would depend on time and on addresses.
    repeatable = ["-seed=1", "-reload=0", "-entropic=0"]
    limits = [f"-atheris_runs={runs}", "-timeout=10", "-rss_limit_mb=1024"]
    # libFuzzer adds what it finds to the first folder of entries.
    places = [f"-artifact_prefix={folder}/", str(found), str(FOLDER)]
    atheris.Setup([sys.argv[0], *repeatable, *limits, *places], target)
    before, began = peak(), time.monotonic()
    atexit.register(report)  # libFuzzer ends the process
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
