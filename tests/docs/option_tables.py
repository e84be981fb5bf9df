"""The tables of `docs/options.md`, made of the code: each option with its default and its meaning.

`python -m tests.docs.option_tables` writes them anew.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import MISSING, fields
from typing import Any, Final

from cachecore import Cache
from cachecore.contract.options import MIB, MemoryOptions, Policy, StoreOptions
from cachecore_llm import CacheConfig
from tests.docs.pages import DOCS

PAGE: Final = DOCS / "options.md"
TABLES: Final[dict[str, type]] = {
    "How long answers hold": Policy,
    "Names and parts": Cache,
    "The store": StoreOptions,
    "Copies in memory": MemoryOptions,
    "Answers of models": CacheConfig,
}
"""The heading above each table, and the class that has its options."""
HEAD: Final = "| option | default | meaning |\n|---|---|---|\n"


def table(of: type) -> str:
    """Return the table of the options of a class."""
    rows = arguments(of) if of is Cache else attributes(of)
    return HEAD + "".join(f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in rows)


def attributes(of: type) -> list[tuple[str, str, str]]:
    """Return the fields of a dataclass with their defaults and the texts below them."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(of))).body
    assert isinstance(body, ast.ClassDef)
    said: dict[str, tuple[ast.expr | None, str]] = {}
    for line, below in zip(body.body, body.body[1:], strict=False):
        match line, below:
            case ast.AnnAssign(target=ast.Name(name), value=value), ast.Expr(ast.Constant(str() as meaning)):
                said[name] = value, meaning
    rows = []
    for one in fields(of):
        if one.init:
            source, meaning = said[one.name]
            default = "required" if one.default is MISSING else shown(one.default, source)
            rows.append((one.name, default, cell(meaning)))
    return rows


def arguments(of: type) -> list[tuple[str, str, str]]:
    """Return the arguments of `Cache` that are no field of another table, as its docstring describes them."""
    given = inspect.signature(Cache._build).parameters  # `__init__` takes them as **options
    described = textwrap.dedent((of.__doc__ or "").partition("    Args:\n")[2].partition("\n\n")[0])
    found = re.findall(r"^(\w+): (.*(?:\n .*)*)", described, re.MULTILINE)
    return [
        (name, "required" if given[name].default is inspect.Parameter.empty else shown(given[name].default), cell(text))
        for name, text in found
        if name not in {"ttl", "options"}
    ]


def shown(default: Any, source: ast.expr | None = None) -> str:
    """Return a default as a user would write it: sizes and long durations as text, constants by their names."""
    if callable(default):
        return "built in"
    if isinstance(default, float) and default >= 60:
        unit, seconds = next((unit, s) for unit, s in (("d", 86_400), ("h", 3_600), ("m", 60)) if default % s == 0)
        return f'`"{default / seconds:g}{unit}"`'
    if isinstance(default, int) and default >= MIB:
        return f'`"{default // MIB}MiB"`'
    if isinstance(source, ast.Name):
        return f"`{source.id}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default!r}`"


def cell(text: str) -> str:
    text = " ".join(text.split())
    return text[0].upper() + text[1:]


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for heading, of in TABLES.items():
        before, middle, after = page.partition(f"\n## {heading}\n")
        assert middle, heading
        intro, _, rest = after.partition(HEAD)
        page = before + middle + intro + table(of) + re.sub(r"\A(?:\|.*\n)*", "", rest)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
