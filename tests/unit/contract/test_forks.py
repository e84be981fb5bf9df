"""What begins anew in a forked child: entered once, called in order, and gone with its object."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from cachecore.contract import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PROGRAM = """
import gc, os
from cachecore.contract import forks

class Part:
    def __init__(self, name):
        self.name = name
        forks.in_child(self.renew)
    def renew(self):
        print(self.name, flush=True)

first, dropped, second = Part("first"), Part("dropped"), Part("second")
del dropped
gc.collect()
forks.around(lambda: print("outer before", flush=True), lambda: print("outer after", flush=True))
forks.around(lambda: print("inner before", flush=True), lambda: print("inner after", flush=True))
forks.in_child(lambda: print("function", flush=True))
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_parts_are_renewed_in_the_order_in_which_they_were_entered() -> None:
    """A child calls living parts and functions, first to last; before a fork the latest entered goes first."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    lines = run.stdout.split("\n")[:-1]
    assert lines[:2] == ["inner before", "outer before"]
    assert [line for line in lines if line.startswith(("outer after", "inner after"))] == ["outer after", "inner after"]
    assert [line for line in lines[2:] if not line.endswith("after")] == ["first", "second", "function"]


def test_an_object_that_is_gone_leaves_nothing_in_the_registry() -> None:
    """The registry keeps no object alive and does not grow with those that are dropped."""

    class Part:
        def renew(self) -> None:
            raise AssertionError("it is gone")

    part = Part()
    before = len(forks._in_child)
    forks.in_child(part.renew)
    assert len(forks._in_child) == before + 1
    del part
    gc.collect()
    assert len(forks._in_child) <= before
