"""How values become bytes."""

from typing import TYPE_CHECKING

from cachecore.contract.lazy import exports

if TYPE_CHECKING:
    from cachecore.serializers.compressed import CompressedSerializer
    from cachecore.serializers.encrypted import EncryptedSerializer
    from cachecore.serializers.extended import ExtendedSerializer, Kind
    from cachecore.serializers.json import JsonSerializer
    from cachecore.serializers.msgpack import MsgpackSerializer
    from cachecore.serializers.typed import TypedSerializer

__all__ = [
    "CompressedSerializer",
    "EncryptedSerializer",
    "ExtendedSerializer",
    "JsonSerializer",
    "Kind",
    "MsgpackSerializer",
    "TypedSerializer",
]

__getattr__ = exports(
    __name__,
    {
        "CompressedSerializer": "compressed",
        "EncryptedSerializer": "encrypted",
        "ExtendedSerializer": "extended",
        "JsonSerializer": "json",
        "Kind": "extended",
        "MsgpackSerializer": "msgpack",
        "TypedSerializer": "typed",
    },
)
