"""A cached function with the parameters of its own function, compiled for it: Python itself binds the arguments.

`Signature.bind` and merging dicts by hand cost several times as much as a hit in memory. The source is made of the
names of parameters alone, each checked to be an identifier; every other part of it is written here.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Sequence
from math import copysign
from types import FunctionType
from typing import Any, Final

from cachecore.contract.results import UNSET
from cachecore.memory.memo import Memo

Zeros = tuple[tuple[int, float], ...]
"""The place and the sign of each argument that is a zero of type float: 0.0 equals -0.0, but is another request."""

_KINDS: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)

_SOURCE: Final = """\
def {p}made({p}memo, {p}find_old, {p}mark, {p}varying, {p}miss, {p}alike, {p}UNSET, {p}type, {p}TypeError, {p}defaults):
    {start}def {p}call({parameters}):
        {p}asked = ({p}mark, {asked})
        try:
            {p}fact = {p}memo.young.get({p}asked) or {p}find_old({p}asked)
        except {p}TypeError:
            {p}fact = None
        if {p}fact is not None:
            _{p}, {p}kinds, {p}zeros, {p}key, {p}tags, {p}find = {p}fact
            if {same} and (not {p}zeros or {p}alike({p}zeros, {p}asked)):
                {p}value = {p}find({p}key, {p}tags, True)
                if {p}value is not {p}UNSET:
                    return {p}value
        return {wait}{p}miss(({positional}), {{{named}}})
    return {p}call
"""


def same_zeros(zeros: Zeros, values: Sequence[Any]) -> bool:
    """Return whether the zeros among `values` have the signs that were noted."""
    for place, sign in zeros:  # noqa: SIM110 - there is one, and a generator would cost more than all else here
        if copysign(1.0, values[place]) != sign:
            return False
    return True


def zeros_of(values: Sequence[Any]) -> Zeros:
    """Return the place and the sign of each zero of type float."""
    return tuple(
        (place, copysign(1.0, value)) for place, value in enumerate(values) if type(value) is float and not value
    )


def can_compile(function: Any, signature: inspect.Signature) -> bool:
    """Return whether calls of `function` mean the same if Python binds them to `signature` and passes all on by place.

    Not so for anything but a plain function (a wrapper may look at how an argument was passed), nor with `*args` and
    `**kwargs`.
    """
    parameters = signature.parameters.values()
    return (
        type(function) is FunctionType
        and not hasattr(function, "__wrapped__")
        and not hasattr(function, "__signature__")
        and all(
            one.kind in _KINDS and one.name.isidentifier() and not keyword.iskeyword(one.name) for one in parameters
        )
    )


def compiled_call(
    signature: inspect.Signature,
    counted: Sequence[str],
    *,
    mark: object,
    memo: Memo,
    varying: Callable[[], Sequence[Any]] | None,
    miss: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    is_async: bool,
) -> Any:
    """Return a function with these parameters that answers known calls from memory, and others by `miss`.

    The memo has calls under `(mark, *values of the parameters in `counted`, *varying())`, as facts (bytes, types of
    these but the mark, zeros, key, tags, find_value). `miss` takes the arguments as a tuple and the keyword-only ones
    as a dict; with `is_async` it returns an awaitable.
    """
    parameters = list(signature.parameters.values())
    prefix = "cc_"
    while any(one.name.startswith(prefix) or one.name == f"_{prefix}" for one in parameters):
        prefix += "_"
    places = range(1, len(counted) + 1)
    same = [f"{prefix}type({name}) is {prefix}kinds[{place - 1}]" for place, name in zip(places, counted, strict=True)]
    asked = "".join(f"{name}, " for name in counted)
    if varying is not None:
        asked += f"*{prefix}varying()"
        rest = f"{prefix}asked[{len(counted) + 1}:]"
        same.append(f"(*{prefix}map({prefix}type, {rest}),) == {prefix}kinds[{len(counted)}:]")
    source = _SOURCE.format(
        p=prefix,
        start="async " if is_async else "",
        wait="await " if is_async else "",
        parameters=_parameters(parameters, prefix),
        asked=asked,
        same=" and ".join(same) or "True",
        positional="".join(f"{one.name}, " for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY),
        named=", ".join(
            f'"{one.name}": {one.name}' for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY
        ),
    )
    names: dict[str, Any] = {f"{prefix}map": map}
    exec(compile(source, "<cached call>", "exec"), names)  # noqa: S102 - made of checked identifiers and the text above
    defaults = {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}
    return names[f"{prefix}made"](
        memo, memo.find_old, mark, varying, miss, same_zeros, UNSET, type, TypeError, defaults
    )


def _parameters(parameters: Sequence[inspect.Parameter], prefix: str) -> str:
    """Return the source of the parameters, each default looked up in a dict once."""
    parts: list[str] = []
    for place, one in enumerate(parameters):
        before = parameters[place - 1].kind if place else None
        if before is inspect.Parameter.POSITIONAL_ONLY and one.kind is not before:
            parts.append("/")
        if one.kind is inspect.Parameter.KEYWORD_ONLY and before is not one.kind:
            parts.append("*")
        default = "" if one.default is inspect.Parameter.empty else f'={prefix}defaults["{one.name}"]'
        parts.append(one.name + default)
    if parameters and parameters[-1].kind is inspect.Parameter.POSITIONAL_ONLY:
        parts.append("/")
    return ", ".join(parts)
