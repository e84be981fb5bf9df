"""The hashers give the digests their algorithms are known for, and keep their secrets."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xxhash

from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import KeyHasher
from cachecore.keys import make_key
from cachecore.keys.hashers import blake2b, blake3, sha256, xxh3_128

SECRET = b"0123456789abcdef-my-own-secret"
HASHERS = [sha256(), blake2b(secret=SECRET), xxh3_128(), blake3()]


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.name)
def test_every_hasher_keeps_the_contract(hasher: KeyHasher) -> None:
    """At least 128 bits in lower-case hexadecimal, the same every time, another for other bytes."""
    assert isinstance(hasher, KeyHasher)
    for data in (b"", b"a", b"x" * 10_000):
        digest = hasher.hexdigest(data)
        assert re.fullmatch("[0-9a-f]{32,128}", digest)
        assert hasher.hexdigest(data) == digest != hasher.hexdigest(data + b"\0")
    assert make_key("p", "", [1], hasher) == f"p:e::{hasher.hexdigest(bytes.fromhex('a26b32a09101'))}"


# FIPS 180-4 and the NIST examples.
@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_sha256_known_answers(data: bytes, digest: str) -> None:
    """SHA-256 is SHA-256."""
    assert sha256().hexdigest(data) == digest


def test_blake2b_known_answers(shared_data: Path) -> None:
    """Keyed BLAKE2b gives the digests that its authors published."""
    cases = json.loads((shared_data / "vectors" / "blake2_kat_subset.json").read_text())
    keyed = [case for case in cases if case["hash"] == "blake2b" and case["key"]]
    assert keyed
    for case in keyed:
        hasher = blake2b(secret=bytes.fromhex(case["key"]), digest_bytes=64)
        assert hasher.hexdigest(bytes.fromhex(case["in"])) == case["out"]


def test_xxh3_known_answers(shared_data: Path) -> None:
    """The digest is XXH3-128 without a seed, by the library's own vectors where there are any."""
    cases = json.loads((shared_data / "vectors" / "xxhash_vectors.json").read_text())
    algorithms = {"xxh3_128": xxhash.xxh3_128, "xxh128": xxhash.xxh128}
    checked = 0
    for case in cases:
        algorithm = algorithms.get(case["alg"])
        if algorithm is None:
            continue
        data = case["input"].encode()
        assert algorithm(data, seed=int(case["seed"])).hexdigest() == case["hex"]
        if int(case["seed"]) == 0:
            assert xxh3_128().hexdigest(data) == case["hex"]
        checked += 1
    # From the xxHash specification: the digest of nothing.
    assert xxh3_128().hexdigest(b"") == "99aa06d3014798d86001c324468d497f"
    assert checked or {case["alg"] for case in cases}.isdisjoint(algorithms)


def test_blake3_known_answers() -> None:
    """The digest of nothing and of 0, 1, 2 are those of the BLAKE3 test vectors."""
    assert blake3().hexdigest(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert blake3().hexdigest(bytes(range(3))) == "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f"


def test_another_secret_gives_other_keys() -> None:
    """Without the secret nobody can tell which prompt a key belongs to."""
    one, two = (blake2b(secret=secret) for secret in (SECRET, SECRET + b"2"))
    assert one.hexdigest(b"prompt") != two.hexdigest(b"prompt")
    assert blake2b(secret=SECRET.decode()).hexdigest(b"prompt") == one.hexdigest(b"prompt")


def test_the_secret_is_nowhere_to_be_read() -> None:
    """Neither repr, attributes, errors nor pickles tell the secret."""
    hasher = blake2b(secret=SECRET)
    told = [repr(hasher), str(hasher)]
    told += [repr(getattr(hasher, name)) for name in dir(hasher)]
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(hasher)
    wrong: list[dict[str, Any]] = [
        {"secret": "short"},
        {"secret": b"s" * 65},
        {"secret": 5},
        {"secret": SECRET, "digest_bytes": 15},
        {"secret": SECRET, "digest_bytes": 65},
        {"secret": SECRET, "digest_bytes": True},
    ]
    for options in wrong:
        with pytest.raises(OptionsError) as caught:
            blake2b(**options)
        told.append(str(caught.value))
    assert not any("my-own-secret" in text or "short" in text for text in told)


def test_a_hasher_without_its_package_says_what_to_install() -> None:
    """Only who asks for blake3 needs it, and is told how to get it."""
    code = """
import sys
sys.modules["blake3"] = None
from cachecore.contract.errors import OptionsError
from cachecore.keys.hashers import blake3
try:
    blake3()
except OptionsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'cachecore-framework[blake3]'" in done.stdout


@pytest.mark.parametrize("digest", ["0" * 16, "0" * 31, "A" * 32, "g" * 32, ""])
def test_a_short_or_odd_digest_is_refused(digest: str) -> None:
    """64-bit digests collide by chance within the life of a cache; no hasher may give one."""

    class Short:
        name = "short"

        def hexdigest(self, data: bytes) -> str:
            return digest

    with pytest.raises(OptionsError, match="at least 32 digits"):
        make_key("p", "", 1, Short())
