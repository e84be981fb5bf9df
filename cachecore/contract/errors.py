"""Every error cachecore raises, in one tree.

CacheError
├── OptionsError          (ValueError)  a setting is wrong; raised while building, never later
├── UnkeyableError        (TypeError)   a request holds something that has no canonical form
├── EncodingError         (ValueError)  a value cannot become bytes, or bytes cannot become a value
│   └── TooLargeError                   it is over a bound
├── FlightCycleError      (RuntimeError) a factory asked for the key it is computing
├── StreamLagged                        a reader of a stream fell behind by more than the buffer
├── PluginNotFound        (LookupError) no plugin of that name; says which there are
└── BackendError                        a store did not carry out a call
    ├── BackendTimeout                  it did not answer in time
    ├── BackendUnavailable              it could not be reached, or is known to be sick
    └── InvalidationPending             it has not acknowledged an invalidation yet; it is delivered by itself
"""

from __future__ import annotations


class CacheError(Exception):
    """The root of all errors of this library."""


class OptionsError(CacheError, ValueError):
    """A setting is wrong: the message names it, its value and the allowed ones."""


class UnkeyableError(CacheError, TypeError):
    """A request holds a value with no canonical form; `path` says where.

    The message never holds the value itself: it may be a prompt.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class EncodingError(CacheError, ValueError):
    """A value cannot be encoded, or stored bytes cannot be decoded."""


class TooLargeError(EncodingError):
    """A value, its tags or its metadata are over a bound; the message names the bound and the way out.

    `reason` is the word for metrics: `elements`, `size`, `too_many_tags`, `header`.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason)  # both in args, so that it pickles
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class FlightCycleError(CacheError, RuntimeError):
    """A factory waits for the very key it computes; waiting would never end."""


class StreamLagged(CacheError):  # noqa: N818 - the name is the contract's
    """A reader of a shared stream read too slowly: the next of its chunks has left the buffer.

    `behind` is how many chunks it lost. The chunks before them are the beginning of the answer and no more.
    """

    def __init__(self, behind: int) -> None:
        super().__init__(behind)
        self.behind = behind

    def __str__(self) -> str:
        return (
            f"this reader of a stream lost {self.behind} chunks, because another reader is further ahead than the "
            "buffer holds: read faster, or raise stream_max_bytes and stream_max_chunks"
        )


class PluginNotFound(CacheError, LookupError):  # noqa: N818 - the name is the contract's
    """No plugin of that name is installed."""


class BackendError(CacheError):
    """A store did not answer `operation`; asking again may help if `transient`.

    `reason` is one short word for metrics (`timeout`, `refused`, `full`, `readonly`,
    `auth`, `loading`, `protocol`, `closed`, `error`); it never holds a key or a value.
    """

    def __init__(self, operation: str, transient: bool, reason: str = "error") -> None:
        super().__init__(operation, transient, reason)  # all in args, so that it pickles
        self.operation = operation
        self.transient = transient
        self.reason = reason

    def __str__(self) -> str:
        again = "asking again may help" if self.transient else "asking again will not help"
        return f"the store failed at {self.operation}: {self.reason} ({again})"


class BackendTimeout(BackendError):  # noqa: N818 - the name is the contract's
    """The store did not answer `operation` within its deadline."""

    def __init__(self, operation: str, transient: bool = True, reason: str = "timeout") -> None:
        super().__init__(operation, transient, reason)


class BackendUnavailable(BackendError):  # noqa: N818 - the name is the contract's
    """The store cannot be reached, or is not asked because it is known to be sick."""

    def __init__(self, operation: str, transient: bool = True, reason: str = "unavailable") -> None:
        super().__init__(operation, transient, reason)


class InvalidationPending(BackendError):  # noqa: N818 - the name is the contract's
    """The store has not acknowledged a `delete`, `expire`, `invalidate_*` or `set(required=True)`; `cause` says why.

    This process has forgotten its own copies; other processes may serve theirs until the invalidation is delivered,
    which is tried again by itself as soon as the store answers: nothing has to be called again. A value is not kept:
    after a `set`, only the deletion of the old one is delivered. `transient` is False where the store answers but
    refuses (`auth`): it is not delivered for as long as the cause lasts.
    """

    def __init__(self, operation: str, transient: bool = True, reason: str = "pending", cause: str = "") -> None:
        super().__init__(operation, transient, reason)
        self.args = operation, transient, reason, cause  # all in args, so that it pickles
        self.cause = cause

    def __str__(self) -> str:
        why = f" ({self.cause})" if self.cause else ""
        if self.operation == "set":
            what = "the value is not stored; an old one is not served here any more, and its deletion"
        else:
            what = "what it names is not served by this process any more, and the invalidation"
        if self.transient:
            then = "other processes may serve the old answer until then"
            when = f"is delivered by itself as soon as the store answers; {then}"
        else:
            when = (
                "is not delivered for as long as the store refuses it, and other processes may serve the old answer: "
                "mend the cause (rights of the user, a read-only server); it is tried again until this process ends"
            )
        return f"the store has not acknowledged {self.operation}{why}: {what} {when}"
