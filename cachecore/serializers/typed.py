"""`typed`: values of one declared type. Needs the extra `struct` (msgspec), or `pydantic` where a model is involved.

Dataclasses, msgspec structs, TypedDicts, NamedTuples, and lists, dicts, tuples, sets and unions of them become
MessagePack through msgspec, arrays and scalars of numpy among them; a type that holds a pydantic model anywhere, or
that msgspec does not take (an Enum of numbers and text, a union of two dataclasses, a path, an IP address, a deque or
another kind of dict), becomes JSON through pydantic. A value of such a type with bytes that are no text, which JSON
does not have, becomes MessagePack of what pydantic makes of it; a byte before the payload says which of the two it is.

Two things keep an answer whole. The name ends in a fingerprint of the type, so an entry of another type or of an older
shape of the same one is a miss before a byte of it is read; it is never filled up with defaults. And each value is
read back while it is written: a value that the type's encoder would change (a subclass, an excluded field, a tuple in a
field declared as `Any`) is refused, and so costs a computation, not a wrong answer. So is a time in a zone that the
type's encoder does not keep: MessagePack keeps naive times and UTC, pydantic also fixed offsets. Hold times in UTC, and
the name of a zone in a field of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext
from cachecore.encoding.plain import type_name
from cachecore.serializers.arrays import array_class, decoded, encoded, is_array_class
from cachecore.serializers.exact import same
from cachecore.serializers.fingerprint import classes_in, fingerprint
from cachecore.serializers.json import check_json_shape
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.shape import MAX_ELEMENTS, check_shape


class TypedSerializer:
    """Serializer of values of one type.

    Args:
        value_type: a class or a generic of classes, such as `Answer` or `dict[str, list[Answer]]`.
        version: any text; another one makes all earlier entries misses.
        max_bytes: the largest payload that is made or read.
        max_elements: the most elements of one value, names of fields included.
    """

    def __init__(
        self,
        *,
        value_type: Any,
        version: str = "",
        max_bytes: int = 8 * MIB,
        max_elements: int = MAX_ELEMENTS,
    ) -> None:
        self._max_bytes = check_limit("max_bytes", max_bytes)
        self._max_elements = check_limit("max_elements", max_elements)
        try:
            classes = classes_in(value_type)
            digits = fingerprint(value_type, version)
        except (TypeError, NameError) as error:
            raise OptionsError(f"value_type has annotations that cannot be resolved: {error}") from error
        self._type_name = type_name(value_type) if isinstance(value_type, type) else repr(value_type)
        models = any(hasattr(cls, "__pydantic_core_schema__") for cls in classes)
        self._encode, self._decode, wire = (_through_pydantic if models else _through_msgspec)(value_type)
        self._check_shape = _SHAPES[wire]
        self.name: Final = f"typed-{wire}-{digits}"

    def __repr__(self) -> str:
        return f"TypedSerializer(value_type={self._type_name})"

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError` if it would not come back as it is."""
        kind = type_name(type(value))
        try:
            data = self._encode(value)
        except Exception as error:  # noqa: BLE001 - the type's own hooks run, and their messages may quote the value
            raise EncodingError(f"a {kind} is no {self._type_name}: {type_name(type(error))}") from None
        check_size(data, self._max_bytes)
        try:
            unchanged = same(value, self.loads(data, context))
        except RecursionError:
            unchanged = False
        if not unchanged:
            raise EncodingError(f"a {kind} does not come back as it is from {self.name}")
        return data

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value of the type. Raises `EncodingError` if the bytes are of no such value."""
        check_size(data, self._max_bytes)
        self._check_shape(data, self._max_elements)
        try:
            return self._decode(data)
        except Exception as error:  # noqa: BLE001 - as above; any error means that the bytes do not fit
            raise EncodingError(f"the payload is no {self._type_name}: {type_name(type(error))}") from None


_Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any], str]


def _through_msgspec(value_type: Any) -> _Codec:
    try:
        import msgspec
    except ImportError:
        raise OptionsError("typed values need msgspec: pip install 'cachecore-framework[struct]'") from None
    try:
        decode = msgspec.msgpack.Decoder(value_type, dec_hook=decoded).decode
        unknown = _custom_classes(msgspec.inspect.type_info(value_type), msgspec.inspect.CustomType, set())
    except TypeError as error:  # not that it knows no such class: it does not take them together
        try:
            return _through_pydantic(value_type)
        except (ImportError, OptionsError):
            raise OptionsError(f"value_type cannot be stored: {error}") from error
    if unknown:
        try:
            if type_name(object) in unknown:  # which says nothing, and pydantic takes as Any
                raise OptionsError("object is no type of values")
            return _through_pydantic(value_type)
        except (ImportError, OptionsError) as error:
            named = ", ".join(sorted(unknown))
            raise OptionsError(f"value_type holds classes that cannot be stored: {named}{_extra(error)}") from error
    return msgspec.msgpack.Encoder(enc_hook=encoded).encode, decode, "msgpack"


def _extra(error: Exception) -> str:
    return " without pydantic: pip install 'cachecore-framework[pydantic]'" if isinstance(error, ImportError) else ""


def _custom_classes(info: Any, custom: type[Any], seen: set[int]) -> set[str]:
    """Return the classes in msgspec's view of a type that it would leave to hooks, of which there are none."""
    if isinstance(info, custom):
        if is_array_class(array_class(info.cls)):
            return set()
        return {type_name(info.cls) if isinstance(info.cls, type) else repr(info.cls)}
    if id(info) in seen:
        return set()
    seen.add(id(info))
    parts = (
        info if isinstance(info, tuple) else [getattr(info, name) for name in getattr(info, "__struct_fields__", ())]
    )
    return {name for part in parts for name in _custom_classes(part, custom, seen)}


def _through_pydantic(value_type: Any) -> _Codec:
    import pydantic

    if not hasattr(pydantic, "TypeAdapter"):
        raise OptionsError(f"value_type needs pydantic 2, not {pydantic.VERSION}")
    try:
        adapter = pydantic.TypeAdapter(value_type)
    except pydantic.errors.PydanticUserError as error:
        raise OptionsError(f"value_type cannot be stored: {error}") from error

    if not isinstance(adapter.core_schema, dict):  # pydantic has not built the model yet (`defer_build=True`)
        adapter.rebuild()
    if _holds_bytes(adapter.core_schema):
        return _through_both(adapter)

    def encode(value: Any) -> bytes:
        return adapter.dump_json(value, by_alias=True, round_trip=True, warnings=False)

    return encode, adapter.validate_json, "json"


def _through_both(adapter: Any) -> _Codec:
    """Return JSON of the values that come back from it as they are, and MessagePack of the others."""
    try:
        import msgspec
    except ImportError:
        raise OptionsError("models with bytes need msgspec: pip install 'cachecore-framework[struct]'") from None
    to_bytes = msgspec.msgpack.Encoder(enc_hook=_as_plain).encode

    def encode(value: Any) -> bytes:
        try:
            data: bytes = adapter.dump_json(value, by_alias=True, round_trip=True, warnings=False)
            if same(value, adapter.validate_json(data)):
                return _JSON + data
        except Exception:  # noqa: BLE001, S110 - bytes that are no text, or what the type's own hooks raise about JSON
            pass
        return _MSGPACK + to_bytes(adapter.dump_python(value, by_alias=True, round_trip=True, warnings=False))

    def decode(data: bytes) -> Any:
        if data[:1] == _JSON:
            return adapter.validate_json(data[1:])
        return adapter.validate_python(msgspec.msgpack.decode(data[1:]), strict=False)

    return encode, decode, "mixed"


def _as_plain(value: Any) -> Any:
    """Return what msgspec has no form for as a list or as its text; what does not come back from that is refused."""
    return list(value) if isinstance(value, deque) else str(value)


def _check_mixed_shape(data: bytes, most: int) -> None:
    (check_json_shape if data[:1] == _JSON else check_shape)(data[1:], most)


_JSON: Final = b"\x00"
_MSGPACK: Final = b"\x01"
_SHAPES: Final[dict[str, Callable[[bytes, int], None]]] = {
    "json": check_json_shape,
    "msgpack": check_shape,
    "mixed": _check_mixed_shape,
}


def _holds_bytes(schema: Any) -> bool:
    """Return whether a schema of pydantic, plain dicts and lists, has a part of the type `bytes`."""
    waiting, seen = [schema], set[int]()
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict | list | tuple) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict) and part.get("type") == "bytes":
            return True
        waiting += part.values() if isinstance(part, dict) else part
    return False
