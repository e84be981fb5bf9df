"""The receiver of a read whose answer goes straight to a function, in the very turn it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cachecore.contract.errors import BackendError
from cachecore.store.call import Answered, Values


class InlineRead:
    """The waiter of a read whose answer goes straight to a function, in the very turn it comes: no task, no turn.

    `fitting` returns values that can be those of the keys, or raises `BackendError`.
    """

    __slots__ = ("_answered", "_done", "_fitting", "_keys")

    def __init__(
        self, fitting: Callable[[Sequence[str], Values], Values], keys: Sequence[str], answered: Answered
    ) -> None:
        self._fitting = fitting
        self._keys = keys
        self._answered = answered
        self._done = False

    def done(self) -> bool:
        """Return whether the answer was given."""
        return self._done

    def set_result(self, answer: Values, /) -> None:
        """Take the values."""
        try:
            values = self._fitting(self._keys, answer)
        except BackendError as error:
            self.set_exception(error)
            return
        self._done = True
        self._answered(values, None)

    def set_exception(self, error: BaseException, /) -> None:
        """Take the error."""
        self._done = True
        if not isinstance(error, BackendError):
            failure = BackendError("get_many", transient=True)
            failure.__cause__ = error
            error = failure
        self._answered([], error)

    def exception(self) -> None:
        """Do nothing: the error was handed on."""
        return
