"""How a class is named in a key: its module and its qualified name.

A module that runs as the program is called `__main__`. Its classes are named as in a process that imports the module,
so that a program, its workers and the other programs beside it share their answers. The `__main__` of a notebook or an
interpreter is no importable module and stays `__main__`.
"""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import Any, Final, get_args, get_origin

PROGRAM: Final = "__main__"
PROGRAMS: Final = (PROGRAM, "__mp_main__")
"""The names of the program's module: in its own process, and in the processes that multiprocessing starts for it."""


def program_file(module: str) -> str | None:
    """Return the file of the program if `module` is the program's module and was read from a file, else None."""
    file = getattr(sys.modules.get(module), "__file__", None) if module in PROGRAMS else None
    return file if file is not None and os.path.exists(file) else None


def importable_module(module: str) -> str:
    """Return the name under which other processes import `module`; `__main__` if they cannot."""
    if module not in PROGRAMS:
        return module
    file = program_file(module)
    if file is None:
        return PROGRAM
    spec = getattr(sys.modules[module], "__spec__", None)
    return Path(file).stem if spec is None else str(spec.name)


def class_name(kind: type) -> tuple[str, str]:
    """Return the module and the qualified name of a class.

    A parametrised pydantic model (`Box[User]`) is named by its origin and its arguments. pydantic's own name for it
    leaves out the modules of the arguments, and so is the same for two classes `User`.
    """
    generic: Any = vars(kind).get("__pydantic_generic_metadata__") or {}
    origin, arguments = generic.get("origin"), generic.get("args")
    if origin is None or not arguments:
        return importable_module(str(kind.__module__)), kind.__qualname__
    module, name = class_name(origin)
    return module, f"{name}[{', '.join(map(_argument, arguments))}]"


def _argument(argument: Any) -> str:
    """Return the text of one type argument, the same in every process."""
    inner = get_args(argument)
    if inner:
        return f"{_argument(get_origin(argument))}[{', '.join(map(_argument, inner))}]"
    if isinstance(argument, type):
        return ".".join(class_name(argument))
    if isinstance(argument, enum.Enum):
        return f"{_argument(type(argument))}.{argument.name}"
    if argument is None or type(argument) in (str, bytes, int, bool):  # the values of a Literal
        return repr(argument)
    if isinstance(argument, list | tuple):  # the parameters of a Callable
        return f"[{', '.join(map(_argument, argument))}]"
    # A special form or a type variable has a name. The metadata of Annotated may have none and counts by its type.
    name = getattr(argument, "__name__", None) or getattr(argument, "_name", None)
    return name if isinstance(name, str) else _argument(type(argument))
