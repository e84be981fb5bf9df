"""`encrypted`: what was sealed opens under its own key and header, with a key in use, and nowhere else."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import Any

import pytest

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.protocols import EntryContext, Serializer
from cachecore.encoding import entry
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import Algorithm, EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from tests.unit.serializers.contexts import KEY, OTHER_KEY, assert_refused_cheaply, context

OLD = bytes(range(32))
NEW = bytes(range(100, 132))
VALUE = {"text": "Your refund of 42 euros is on its way.", "model": "m"}
ALGORITHMS: list[Algorithm] = ["aesgcm", "chacha20poly1305"]
both = pytest.mark.parametrize("algorithm", ALGORITHMS)


def stored(serializer: Serializer, key: str = KEY, value: Any = VALUE, **fields: Any) -> bytes:
    """The bytes of a whole entry, as a cache writes them."""
    made = context(key, serializer=serializer.name, **fields)
    return entry.seal(made, serializer.dumps(value, made))


def read(serializer: Serializer, data: bytes, key: str = KEY) -> Any:
    """What a cache serves of `data`, or EncodingError where it would call it a miss."""
    found = entry.decode(data, key)
    if isinstance(found, entry.Rejected):
        raise EncodingError(found.reason)
    if found.serializer != serializer.name:
        raise EncodingError("serializer")
    return serializer.loads(found.payload, found)


@both
def test_what_was_sealed_opens(algorithm: Algorithm) -> None:
    serializer = EncryptedSerializer(keys={"k1": OLD}, algorithm=algorithm)
    data = stored(serializer)
    assert read(serializer, data) == VALUE
    assert b"refund" not in data


def test_names_compose() -> None:
    assert EncryptedSerializer(keys={"k": OLD}).name == "aesgcm+msgpack"
    inner = CompressedSerializer(inner=JsonSerializer())
    assert EncryptedSerializer(keys={"k": OLD}, inner=inner).name == "aesgcm+zstd+json"
    assert EncryptedSerializer(keys={"k": OLD}, algorithm="chacha20poly1305").name == "chacha20poly1305+msgpack"


@both
def test_an_entry_moved_to_another_key_does_not_open(algorithm: Algorithm) -> None:
    """Neither as it is, nor with the envelope made anew around its payload and header fields."""
    serializer = EncryptedSerializer(keys={"k1": OLD}, algorithm=algorithm)
    data = stored(serializer)
    with pytest.raises(EncodingError, match="key"):
        read(serializer, data, OTHER_KEY)
    found = entry.decode(data, KEY)
    assert isinstance(found, entry.Entry)
    moved = entry.seal(context(OTHER_KEY, serializer=serializer.name), found.payload)
    with pytest.raises(EncodingError, match="not sealed for this key"):
        read(serializer, moved, OTHER_KEY)
    # With the header's bytes as they were, the context's key alone tells.
    with pytest.raises(EncodingError, match="not sealed for this key"):
        serializer.loads(found.payload, entry.Draft(OTHER_KEY, found.header))


@both
@pytest.mark.parametrize(
    "changed",
    [
        {"created": 1.7e9 + 1},
        {"compute_time": 9.0},
        {"fresh_until": 4e9},
        {"dead_until": 4e9},
        {"stamps": [("doc:42", b"y" * 8)]},
        {"stamps": []},
        {"metadata": {"model": "other"}},
        {"served_by": "other"},
        {"tombstone": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_payload_under_a_changed_header_does_not_open(algorithm: Algorithm, changed: dict[str, Any]) -> None:
    """Who can write to the store can neither prolong an answer nor take its tags away."""
    serializer = EncryptedSerializer(keys={"k1": OLD}, algorithm=algorithm)
    fields: dict[str, Any] = {"fresh_until": 1.8e9, "dead_until": 1.9e9, "stamps": [("doc:42", b"x" * 8)]}
    found = entry.decode(stored(serializer, **fields), KEY)
    assert isinstance(found, entry.Entry)
    forged = entry.seal(context(serializer=serializer.name, **{**fields, **changed}), found.payload)
    with pytest.raises(EncodingError, match="not sealed"):
        read(serializer, forged)


@both
def test_every_flipped_bit_of_a_payload_is_refused(algorithm: Algorithm) -> None:
    serializer = EncryptedSerializer(keys={"k1": OLD}, algorithm=algorithm)
    made = context()
    data = serializer.dumps(VALUE, made)
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(EncodingError):
            serializer.loads(bytes(flipped), made)
    for size in range(len(data)):
        with pytest.raises(EncodingError):
            serializer.loads(data[:size], made)


def test_a_sealed_entry_cannot_be_downgraded() -> None:
    """A plain entry in the place of a sealed one is a miss, whatever name it gives itself."""
    sealed, plain = EncryptedSerializer(keys={"k1": OLD}), MsgpackSerializer()
    with pytest.raises(EncodingError, match="serializer"):
        read(sealed, stored(plain))
    payload = plain.dumps(VALUE, context())
    for forged in (payload, b"\x02k1" + payload, b"\x02k1" + bytes(12) + payload, b"\x00" + bytes(12) + payload):
        claimed = entry.seal(context(serializer=sealed.name), forged)
        with pytest.raises(EncodingError):
            read(sealed, claimed)


def test_one_algorithm_does_not_open_the_other() -> None:
    first = EncryptedSerializer(keys={"k1": OLD})
    second = EncryptedSerializer(keys={"k1": OLD}, algorithm="chacha20poly1305")
    made = context()
    for seal, opened in ((first, second), (second, first)):
        with pytest.raises(EncodingError):
            opened.loads(seal.dumps(VALUE, made), made)


def test_a_payload_does_not_open_for_another_inner_serializer() -> None:
    """Sealed JSON is not handed to the reader of MessagePack, although the key is the same."""
    made = context()
    data = EncryptedSerializer(keys={"k1": OLD}, inner=JsonSerializer()).dumps(VALUE, made)
    with pytest.raises(EncodingError, match="not sealed"):
        EncryptedSerializer(keys={"k1": OLD}).loads(data, made)


def test_keys_rotate() -> None:
    """Both processes of a rolling change read each other; what is written uses the first key."""
    before = EncryptedSerializer(keys={"old": OLD, "new": NEW})
    after = EncryptedSerializer(keys={"new": NEW, "old": OLD})
    assert read(after, stored(before)) == read(before, stored(after)) == VALUE
    assert after.dumps(VALUE, context())[:4] == b"\x03new"


def test_an_entry_of_a_retired_key_is_refused() -> None:
    """Replayed after its key was taken out of use, or put under the id of a key that is in use."""
    data = stored(EncryptedSerializer(keys={"old": OLD}))
    with pytest.raises(EncodingError, match="not in use"):
        read(EncryptedSerializer(keys={"new": NEW}), data)
    found = entry.decode(data, KEY)
    assert isinstance(found, entry.Entry)
    relabelled = entry.seal(entry.Draft(KEY, found.header), b"\x03new" + found.payload[4:])
    for ring in ({"new": NEW}, {"new": OLD}):
        with pytest.raises(EncodingError, match="not sealed"):
            read(EncryptedSerializer(keys=ring), relabelled)


def test_no_two_payloads_are_alike() -> None:
    serializer = EncryptedSerializer(keys={"k1": OLD})
    made = context()
    assert len({serializer.dumps(VALUE, made)[3:15] for _ in range(10_000)}) == 10_000


class Fixed:
    """A context whose parts are given as they are."""

    def __init__(self, key: str, header: bytes) -> None:
        self.key, self.header = key, header


def test_key_and_header_do_not_run_together() -> None:
    """Moving the border between the parts of what is authenticated gives other bytes."""
    serializer = EncryptedSerializer(keys={"k1": OLD})
    borders: list[EntryContext] = [Fixed("bc", b"a"), Fixed("c", b"ab"), Fixed("abc", b""), Fixed("", b"abc")]
    for made in borders:
        data = serializer.dumps(VALUE, made)
        for other in borders:
            if other is not made:
                with pytest.raises(EncodingError):
                    serializer.loads(data, other)


def test_keys_may_be_text() -> None:
    texts = [
        OLD.hex(),
        OLD.hex().upper(),
        base64.b64encode(OLD).decode(),
        base64.b64encode(OLD).decode().rstrip("="),
        base64.urlsafe_b64encode(NEW[::-1]).decode(),
        f" {OLD.hex()}\n",
    ]
    made = context()
    for text in texts:
        secret = NEW[::-1] if text == texts[4] else OLD
        data = EncryptedSerializer(keys={"k": text}).dumps(VALUE, made)
        assert EncryptedSerializer(keys={"k": secret}).loads(data, made) == VALUE


@pytest.mark.parametrize(
    "keys",
    [
        {},
        None,
        OLD,
        {"k": OLD[:31]},
        {"k": OLD + b"x"},
        {"k": b""},
        {"k": ""},
        {"k": "secret-secret-secret-secret-secr"},
        {"k": OLD.hex()[:-1]},
        {"k": base64.b64encode(OLD[:31]).decode()},
        {"k": list(OLD)},
        {"k": None},
        {"": OLD},
        {"k/1": OLD},
        {"x" * 65: OLD},
        {1: OLD},
        {"k1": OLD, "k2": OLD},
        {"k1": OLD, "k2": OLD.hex()},
    ],
)
def test_wrong_keys_are_refused_while_building(keys: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        EncryptedSerializer(keys=keys)
    shown = "".join(traceback.format_exception(caught.value)[-1:])
    for secret in (keys or {}).values() if isinstance(keys, dict) else [keys]:
        assert not secret or str(secret) not in shown


def test_unknown_algorithms_are_refused_while_building() -> None:
    with pytest.raises(OptionsError, match="algorithm"):
        EncryptedSerializer(keys={"k": OLD}, algorithm="rot13")  # type: ignore[arg-type]  # that is the point


def test_secrets_are_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    serializer = EncryptedSerializer(keys={"k1": OLD, "k2": NEW.hex()})
    shown = [repr(serializer), str(serializer), repr(vars(serializer)), caplog.text]
    try:
        serializer.loads(b"\x02k1" + bytes(100), context())
    except EncodingError as error:
        shown.append("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
    assert "k1" in shown[0]
    for secret in (OLD, NEW):
        for form in (secret.hex(), repr(secret), repr(secret)[2:-1], base64.b64encode(secret).decode()):
            assert not any(form in text for text in shown)


def test_a_sealed_bomb_is_still_refused() -> None:
    serializer = EncryptedSerializer(keys={"k1": OLD}, max_bytes=1000)
    assert_refused_cheaply(serializer.loads, b"\x02k1" + bytes(10_000_000))
    with pytest.raises(EncodingError):
        serializer.dumps("x" * 1000, context())
