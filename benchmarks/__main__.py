"""Run every benchmark, one after the other: `python -m benchmarks [name …]`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

names = sys.argv[1:] or sorted(one.name for one in pkgutil.iter_modules(benchmarks.__path__) if one.name != "__main__")
for name in names:
    print(f"\n== {name}", flush=True)
    module = importlib.import_module(f"benchmarks.{name}")
    if hasattr(module, "main"):
        module.main()
