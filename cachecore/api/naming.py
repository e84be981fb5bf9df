"""The name of a cached function: part of each request, and so never shared by two functions.

The function that counts is the innermost: decorators below `cached` that keep `__wrapped__` change neither the name nor
the code that tells two functions apart.
"""

from __future__ import annotations

import functools
import inspect
import os
from types import CodeType
from typing import Any

from xxhash import xxh3_128

from cachecore.contract.errors import OptionsError
from cachecore.keys.classes import PROGRAM, PROGRAMS, importable_module, program_file


def innermost(function: Any) -> Any:
    """Return the function below all wrappers and partials of `function`."""
    while True:
        inner = inspect.unwrap(function)
        if isinstance(inner, functools.partial):
            inner = inner.func
        if inner is function:
            return inner
        function = inner


def name_of(function: object) -> str:
    """Return the qualified name of a function, or of the type of another object that can be called."""
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def class_of(function: object) -> str:
    """Return the qualified name of the class that defines the function; empty if no class does."""
    outer = name_of(innermost(function)).rpartition(".")[0]
    return "" if outer.endswith("<locals>") else outer


def request_name(function: Any) -> str:
    """Return the name of `function` in requests.

    Raises:
        OptionsError: others of that name may give other answers, so it needs a name of its own.
    """
    inner = innermost(function)
    if inspect.ismethod(function) or isinstance(function, functools.partial) or not hasattr(inner, "__code__"):
        # Other partials of the function, other objects of the class, have the same name and give other answers.
        raise OptionsError(f"{name_of(function)} is one of several of that name: give it one with cached(name=…)")
    if inner.__name__ == "<lambda>":
        raise OptionsError("every lambda of a module has the same name: give this one its own with cached(name=…)")
    return f"{_module_of(function)}.{name_of(inner)}"


def variables_around(function: Any) -> list[str]:
    """Return the names of the variables that a nested function takes from the function around it.

    Its own name is none, which it has if it calls itself.
    """
    inner = innermost(function)
    names = inner.__code__.co_freevars if inspect.isfunction(inner) and "<locals>" in inner.__qualname__ else ()
    return [name for name in names if name not in ("__class__", inner.__name__)]


def _module_of(function: Any) -> str:
    """Return the name under which others import the function's module, if it is the program itself.

    Of a function that was typed into an interpreter or a notebook the code counts, and that of all its wrappers: its
    `__main__` is no one module.
    """
    inner = innermost(function)
    module, code = inner.__module__, inner.__code__
    if module in PROGRAMS:
        file = program_file(module)
        if file is None or os.path.abspath(file) != os.path.abspath(code.co_filename):
            return f"{PROGRAM}:{'.'.join(_digest(one).hexdigest() for one in _codes(function))}"
    return importable_module(module)


def _codes(function: Any) -> list[CodeType]:
    """Return the code of a function and of all functions that it wraps."""
    codes = []
    while function is not None:
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            codes.append(code)
        function = getattr(function, "__wrapped__", None)
    return codes


def _digest(code: CodeType) -> xxh3_128:
    names = (code.co_names, code.co_varnames, code.co_freevars)
    digest = xxh3_128(code.co_code)
    digest.update(f"{names} {[_text(constant) for constant in code.co_consts]}".encode())
    return digest


def _text(constant: object) -> str:
    """Return a text that differs for different constants of a function and is the same in every process."""
    if isinstance(constant, CodeType):
        return _digest(constant).hexdigest()
    if isinstance(constant, frozenset):  # its order is another in each process
        return f"frozenset {sorted(map(_text, constant))}"
    if isinstance(constant, tuple):
        return f"tuple {[_text(one) for one in constant]}"
    return repr(constant)
