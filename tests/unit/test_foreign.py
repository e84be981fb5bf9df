"""Nothing that somebody else made can pass for a tagged value."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import date
from typing import Any
from uuid import UUID

import ormsgpack
import pytest

from cachecore.keys import encode
from cachecore.keys.walker import walk


def _alone(code: str) -> str:
    """Return what `code` prints in a process where nothing else has touched ormsgpack."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


@pytest.mark.skipif(FREE_THREADED, reason="free-threaded builds look at every nested request")
def test_nothing_is_suspected_in_a_fresh_process() -> None:
    """The cheap check works on this interpreter; without it nested requests would still be right, and slow."""
    code = """
import cachecore
from cachecore import foreign
from cachecore.keys import encode
from uuid import UUID
import ormsgpack
calm = [foreign.suspected(), foreign.fragments_suspected()]
for _ in range(100):
    encode({"a": [UUID(int=1), {1, 2}, (2**90,)]})
calm.append(foreign.suspected())
held = ormsgpack.Ext(1, b"")
calm.append(foreign.suspected())
del held
calm.append(foreign.suspected())
held = ormsgpack.Fragment(b"\\xc0")
calm.append(foreign.fragments_suspected())
print(calm)
"""
    assert _alone(code) == "[False, False, False, True, False, True]"


@pytest.mark.parametrize(
    "before",
    [
        "held = ormsgpack.Ext(1, b'')",
        "held = [ormsgpack.Ext(1, b'') for _ in range(5)]",
        "from ormsgpack import Ext as held",
        "held = {'a': ormsgpack.Ext, 'b': (ormsgpack.Ext, ormsgpack.Fragment)}",
        "held = ormsgpack.Fragment(b'\\xc0')",
        "held = lambda kind=ormsgpack.Ext: kind",
    ],
)
def test_references_from_before_the_import_hide_nothing(before: str) -> None:
    """A reference that is dropped after the floor was taken does not make room for an instance."""
    code = f"""
import ormsgpack
{before}
from cachecore.errors import UnkeyableError
from cachecore.keys import encode
del held
refused = 0
for make in (lambda: ormsgpack.Ext(3, bytes(16)), lambda: ormsgpack.Fragment(b"\\xd4\\x03x")):  # one at a time
    for wrap in (lambda it: [it], lambda it: {{"a": [it]}}, lambda it: {{"a": it}}, lambda it: [[it, {{1, 2}}]]):
        try:
            encode(wrap(make()))
        except UnkeyableError:
            refused += 1
print(refused)
"""
    assert _alone(code) == "8"


def test_a_local_of_a_caller_hides_nothing() -> None:
    """Not even a reference that only a running function has while the library is imported."""
    code = """
import ormsgpack
def load(kind):
    from cachecore.keys import encode
    return encode
encode = load(ormsgpack.Ext)
try:
    encode([ormsgpack.Ext(3, bytes(16))])
except TypeError as error:
    print(type(error).__name__)
"""
    assert _alone(code) == "UnkeyableError"


def test_instances_elsewhere_change_no_key() -> None:
    """While somebody else holds instances every request is looked at, with the same result."""
    asked = {"a": [1, {"b": (2, 3)}], "id": UUID(int=1), "when": [date(2026, 1, 1)], "tags": {"x", "y"}}
    plain = {"a": [1, {"b": [2, 3]}]}
    before = encode(asked), encode(plain)
    held: list[Any] = [ormsgpack.Ext(1, b"")]
    assert (encode(asked), encode(plain)) == before
    held.append(ormsgpack.Fragment(b"\xc0"))
    assert (encode(asked), encode(plain)) == before == (walk(asked), walk(plain))


def test_what_a_hook_makes_is_looked_at() -> None:
    """An instance that exists only while it is being encoded is found as well, where nothing else raises suspicion."""
    code = """
from typing import Any
import ormsgpack
from cachecore.errors import UnkeyableError
from cachecore.keys import encode
class Sly:
    def __cachecore_key__(self) -> Any:
        return [ormsgpack.Ext(3, bytes(16))]
class Framed:
    def __cachecore_key__(self) -> Any:
        return {"a": ormsgpack.Fragment(b"\\xd4\\x03x")}
class Bare:
    def __cachecore_key__(self) -> Any:
        return ormsgpack.Ext(3, bytes(16))
refused = 0
for kind in (Sly, Framed, Bare):
    for wrap in (lambda it: it, lambda it: [it], lambda it: {"a": {"b": it}}, lambda it: [it, {1, 2}]):
        try:
            encode(wrap(kind()))
        except UnkeyableError:
            refused += 1
print(refused)
"""
    assert _alone(code) == "12"


def test_many_threads_encode_at_once() -> None:
    """Deep and shallow requests of many threads do not get into each other's way."""
    requests = [{"n": i, "deep": [[[i]], {"x": (i, UUID(int=i))}]} for i in range(20)]
    expected = [walk(asked) for asked in requests]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(100):
            for i, asked in enumerate(requests):
                if encode(asked) != expected[i]:
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_hook_may_itself_make_keys() -> None:
    """Encoding inside of encoding keeps the two apart."""

    class Digest:
        def __cachecore_key__(self) -> Any:
            return encode({"inner": [1, (2,)]})

    assert encode([[Digest()], Digest()]) == encode([[encode({"inner": [1, [2]]})], encode({"inner": [1, [2]]})])
