"""Whether anything alive could pass for a tagged value: an `ormsgpack.Ext` or `Fragment` made by somebody else.

ormsgpack writes both into its output with no hook to refuse them, so a request that holds one could imitate a tagged
value, or anything at all. Every instance holds a reference to its class, so while the reference counts of the two
classes are what they are without instances, no request can hold one. Asking costs 60 ns; looking would cost more than
encoding does.

The count is compared with a floor taken at import, which leaves out every reference that might be dropped later: were
the floor too high, a dropped reference could hide an instance. Too low a floor only means that requests are looked at.
"""

from __future__ import annotations

import gc
import sys
from sys import getrefcount as _references
from typing import Any, Final

import ormsgpack
from ormsgpack import Ext, Fragment

_ROUNDS = 64  # enough for the interpreter to specialise the counting, which must not change what it counts


def _count() -> int:
    return _references(Ext) + _references(Fragment)


def _is_permanent(holder: object, kind: type) -> bool:
    """Return whether `holder` keeps its reference to `kind` as long as ormsgpack and this module are loaded."""
    compiled: Any = sys.modules.get(f"{ormsgpack.__name__}.ormsgpack")
    lasting = [kind.__mro__, kind.__dict__.get("__new__"), vars(ormsgpack), globals()]
    if compiled is not None:
        lasting.append(vars(compiled))
    return any(holder is owner for owner in lasting)


def _held() -> tuple[dict[type, int], dict[type, int]]:
    """Return how many references the garbage collector knows of, and how many of them may be dropped, by class."""
    every, passing = {Ext: 0, Fragment: 0}, {Ext: 0, Fragment: 0}
    mine = (every, passing)
    for holder in gc.get_referrers(Ext, Fragment):  # one look at every object there is: about 60 ns each
        if any(holder is counts for counts in mine):
            continue
        for referent in gc.get_referents(holder):
            if referent is Ext or referent is Fragment:
                every[referent] += 1
                passing[referent] += not _is_permanent(holder, referent)
    return every, passing


def _counts_instances(floor: int) -> bool:
    """Return whether the counts rise with each instance and fall back again, and the collector knows the instances."""
    for _ in range(_ROUNDS):
        before = _count()
        made: list[object] = [Ext(1, b"")]
        one = _count()
        made.append(Fragment(b"\xc0"))
        two = _count()
        made.clear()
        if (one - before, two - before, _count() - before) != (1, 2, 0) or before < floor:
            return False
    mine = Ext(1, b"")
    return gc.is_tracked(mine) and any(referent is Ext for referent in gc.get_referents(mine))


def _measured_floors() -> tuple[int, int]:
    """Return the counts of `Ext` and `Fragment` when nobody else holds them or an instance; 0 if it cannot be told."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return 0, 0  # counts of free-threaded builds are spread over threads
    of_ext, of_fragment = _references(Ext), _references(Fragment)
    every, passing = _held()
    if of_ext - every[Ext] != of_fragment - every[Fragment]:
        return 0, 0  # the two are made alike, so somebody the collector does not know holds one of them
    floors = of_ext - passing[Ext], of_fragment - passing[Fragment]
    return floors if _counts_instances(sum(floors)) else (0, 0)


_EXT_FLOOR, _FRAGMENT_FLOOR = _measured_floors()
_FLOOR: Final = _EXT_FLOOR + _FRAGMENT_FLOOR


def suspected() -> bool:
    """Return whether an `Ext` or `Fragment` may be alive; False is certain."""
    return _count() != _FLOOR


def fragments_suspected() -> bool:
    """Return whether a `Fragment` may be alive; False is certain."""
    return _references(Fragment) != _FRAGMENT_FLOOR


def dict_tells() -> bool:
    """Return whether a dict that the garbage collector does not track holds neither containers nor foreign instances.

    So it is from CPython 3.11 to 3.13; later versions track every dict, and the shortcut is never taken.
    """
    holders: list[dict[str, Any]] = [{"": Ext(1, b"")}, {"": Fragment(b"\xc0")}, {"": []}, {"": {}}, {"": {"a": ""}}]
    return all(gc.is_tracked(holder) for holder in holders)
