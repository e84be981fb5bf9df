"""Tags that depend on the arguments of a call: `"user:{user_id}"`, or a function of the arguments."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore.engine.scope import checked_tags

Tags = Sequence[str] | Callable[..., Sequence[str]]

_FORMATTER: Final = string.Formatter()


class CallTags:
    """The tags of a function's answers, as given to `cached`.

    Raises:
        OptionsError: they are no tags, or a placeholder names no parameter of `function_name`.
    """

    def __init__(self, tags: Tags, signature: inspect.Signature, function_name: str) -> None:
        self._name = function_name
        self._function = tags if callable(tags) else None
        self.fixed: tuple[str, ...] = ()
        """Tags of every answer."""
        self._templates: list[str] = []
        for tag in () if callable(tags) else checked_tags(tags):
            fields = _fields(tag)
            if fields:
                for field in fields:
                    _check(field, tag, signature, function_name)
                self._templates.append(tag)
            else:
                self.fixed += (_FORMATTER.format(tag),)

    @property
    def memorable(self) -> bool:
        """Whether equal arguments always give equal tags."""
        return self._function is None

    def __bool__(self) -> bool:
        """Whether a call has tags of its own, besides the fixed ones."""
        return self._function is not None or bool(self._templates)

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any], arguments: Mapping[str, Any]) -> Sequence[str]:
        """Return the tags of one call; `arguments` are its arguments by name, defaults included.

        Raises OptionsError if a template does not fit them.
        """
        if self._function is not None:
            return self._function(*args, **kwargs)
        return [self._filled(template, arguments) for template in self._templates]

    def _filled(self, template: str, arguments: Mapping[str, Any]) -> str:
        try:
            tag = _FORMATTER.vformat(template, (), arguments)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise OptionsError(
                f"tag {template!r} of {self._name} cannot be made of the arguments of this call: "
                f"{type(error).__name__}. Name what every call has, or give cached a function of the arguments as tags"
            ) from error
        if not tag:
            raise OptionsError(
                f"tag {template!r} of {self._name} is empty for the arguments of this call: write text around the "
                "placeholder, or give cached a function of the arguments as tags"
            )
        return tag


def _fields(tag: str) -> list[str]:
    """Return the placeholders of a tag."""
    try:
        return [field for _, field, _, _ in _FORMATTER.parse(tag) if field is not None]
    except ValueError as error:
        raise OptionsError(
            f"tag {tag!r} is no template: {error}. Write {{{{ and }}}} for braces that stand for themselves"
        ) from None


def _check(field: str, tag: str, signature: inspect.Signature, function_name: str) -> None:
    name = field.partition(".")[0].partition("[")[0]
    if name not in signature.parameters:
        have = ", ".join(signature.parameters) or "none"
        raise OptionsError(
            f"tag {tag!r}: {function_name} has no parameter {name!r}; it has {have}. "
            "Write {{ and }} for braces that stand for themselves"
        )
