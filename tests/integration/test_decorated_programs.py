"""Functions of the program itself: one name however it is run, and none that another program's has, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import multiprocessing
from cachecore import Cache

cache = Cache("memory://", ttl=60)

@cache.cached
async def ask(q):
    return q

def tell(pipe):
    pipe.send(ask.key("a"))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=tell, args=(theirs,))
    child.start()
    print(ask.key("a"), ours.recv())
    child.join()
"""
SESSION = """
from cachecore import Cache
cache = Cache("memory://", ttl=60)
"""
CELL = """
@cache.cached
async def ask(q):
    {body}

print(ask.key("a"))
"""


def _run(*arguments: str, folder: Path, typed: str | None = None, seed: str = "0") -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, input=typed, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_a_program_and_a_module_are_one(tmp_path: Path) -> None:
    """Run by its path, by its name, imported, and in a process that multiprocessing starts: the answers are shared."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "asking.py").write_text(PROGRAM)
    (tmp_path / "other.py").write_text(PROGRAM)
    imported = _run("-c", "import asking; print(asking.ask.key('a'))", folder=tmp_path / "ours")
    assert _run("asking.py", folder=tmp_path / "ours") == imported * 2
    assert _run("ours/asking.py", folder=tmp_path) == imported * 2
    assert _run("-m", "asking", folder=tmp_path / "ours") == imported * 2
    named = _run("-c", "import ours.asking; print(ours.asking.ask.key('a'))", folder=tmp_path)
    assert _run("-m", "ours.asking", folder=tmp_path) == named * 2
    assert len({*imported, *named, *_run("other.py", folder=tmp_path)}) == 3


@pytest.mark.parametrize("how", [("-",), ("-i", "-q")])
def test_what_was_typed_in_is_known_by_its_code(tmp_path: Path, how: tuple[str, ...]) -> None:
    """Two notebooks that share a file each have an `ask`; they do not get each other's answers."""
    bodies = [
        "return q + 'a'",
        "return q + 'b'",
        "return q + 1",
        "return q + True",
        "return (lambda: q + 'a')()",
        "return (lambda: q + 'b')()",
        "return q in {'x', 'y', 'z', 'w'}",
        "return q in {'x', 'y', 'z', 'v'}",
        "return q.upper()",
        "return q.lower()",
    ]
    typed = SESSION + "".join(CELL.format(body=body) for body in bodies)
    first, again = (_run(*how, folder=tmp_path, typed=typed, seed=seed) for seed in ("1", "2"))
    assert first == again
    assert len(set(first)) == len(bodies)


METHOD = """
from cachecore import Cache

cache = Cache("memory://", ttl=60)

class Asker:
    @classmethod
    @cache.cached(name="ask")
    async def ask(cls, q):
        return q

if __name__ == "__main__":
    print(Asker.ask.key(Asker, "a"))
"""


def test_the_class_of_a_method_is_named_as_others_import_it(tmp_path: Path) -> None:
    """A program and its workers share the answers of class methods, too."""
    (tmp_path / "asking.py").write_text(METHOD)
    imported = _run("-c", "import asking; print(asking.Asker.ask.key(asking.Asker, 'a'))", folder=tmp_path)
    assert _run("asking.py", folder=tmp_path) == _run("-m", "asking", folder=tmp_path) == imported
