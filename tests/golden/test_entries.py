"""What was written once is read for ever."""

from __future__ import annotations

import pytest

from cachecore.encoding import entry
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.exact import same
from tests.golden.entries import CASES, FOLDER, KEY, PLAIN, RING, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_entries_are_read(case: Case) -> None:
    found = entry.decode(case.path.read_bytes(), KEY)
    assert isinstance(found, entry.Entry)
    assert {name: getattr(found, name) for name in case.all_fields} == case.all_fields
    assert same(case.value, case.serializer.loads(found.payload, found))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_envelope_is_still_written_alike(case: Case) -> None:
    """Byte for byte around the same payload: a process of the next version may swap against what this one wrote."""
    data = case.path.read_bytes()
    found = entry.decode(data, KEY)
    assert isinstance(found, entry.Entry)
    assert entry.encode(KEY, found.payload, **case.all_fields) == data


def test_a_rotated_ring_reads_what_the_older_key_sealed() -> None:
    (case,) = (case for case in CASES if case.name == "aesgcm-older-key")
    found = entry.decode(case.path.read_bytes(), KEY)
    assert isinstance(found, entry.Entry)
    assert EncryptedSerializer(keys=RING).loads(found.payload, found) == PLAIN


def test_every_golden_file_is_read_by_a_test() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {case.path.name for case in CASES}
