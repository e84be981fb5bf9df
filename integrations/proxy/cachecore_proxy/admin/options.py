"""The settings of the page, and how a password is kept: as a digest that is slow to guess."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final

from cachecore import OptionsError

_COST: Final = 2**14
_BLOCK: Final = 8
_PARALLEL: Final = 1
_MOST_COST: Final = 2**17
"""Of a digest in a file: 128 MiB and about half a second."""
_SHORTEST_TOKEN: Final = 20
_SHORTEST_PASSWORD: Final = 12
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """How the page is reached. Raises OptionsError."""

    token: str = field(default="", repr=False)
    """A random text of at least 20 characters; or `password_hash` is given."""
    password_hash: str = field(default="", repr=False)
    """The result of `password_hash(password)`."""
    hosts: tuple[str, ...] = LOCAL_HOSTS
    """Names under which the page is reached, without ports. A request with another `Host` is refused, so that no site
    can reach the page through a browser by a name of its own."""
    https: bool = False
    """Whether the page is reached through a server that adds TLS: its cookie then never leaves without."""

    def __post_init__(self) -> None:
        if bool(self.token) == bool(self.password_hash):
            raise OptionsError(
                "the page needs a token or a password_hash, and not both: "
                'python -c "import secrets; print(secrets.token_urlsafe())" makes a token'
            )
        if self.token and len(self.token) < _SHORTEST_TOKEN:
            raise OptionsError(
                f"the token of the page must have at least {_SHORTEST_TOKEN} characters, not {len(self.token)}: "
                'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
            )
        if self.password_hash:
            _read(self.password_hash)
        hosts: object = self.hosts
        if not isinstance(hosts, tuple) or not hosts or not all(map(_is_host, hosts)):
            raise OptionsError(
                f"hosts must be names without ports, such as ('admin.example', '10.0.0.7', '[::1]'), not {self.hosts!r}"
            )

    def admits(self, given: str) -> bool:
        """Return whether `given` is the token or the password; of a password, in about 50 ms."""
        data = given.encode("utf-8", "surrogatepass")
        if self.token:
            return hmac.compare_digest(hashlib.sha256(data).digest(), hashlib.sha256(self.token.encode()).digest())
        cost, block, parallel, salt, digest = _read(self.password_hash)
        return hmac.compare_digest(_scrypt(data, salt, cost, block, parallel), digest)


def password_hash(password: str) -> str:
    """Return the digest of a password, for a file. Raises OptionsError if it has fewer than 12 characters."""
    if len(password) < _SHORTEST_PASSWORD:
        raise OptionsError(f"the password of the page must have at least {_SHORTEST_PASSWORD} characters")
    salt = secrets.token_bytes(16)
    digest = _scrypt(password.encode(), salt, _COST, _BLOCK, _PARALLEL)
    parts = (str(_COST), str(_BLOCK), str(_PARALLEL), *(base64.b64encode(data).decode() for data in (salt, digest)))
    return ":".join(("scrypt", *parts))


def _scrypt(password: bytes, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    memory = 256 * cost * block * parallel  # twice as much as it takes
    return hashlib.scrypt(password, salt=salt, n=cost, r=block, p=parallel, maxmem=memory, dklen=32)


def _read(text: str) -> tuple[int, int, int, bytes, bytes]:
    """Return the parts of a digest. Raises OptionsError, which does not show it."""
    try:
        kind, *numbers, salt, digest = text.split(":")
        cost, block, parallel = map(int, numbers)
        parts = cost, block, parallel, base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except ValueError:
        kind, cost, block, parallel, parts = "", 0, 0, 0, (0, 0, 0, b"", b"")
    right = kind == "scrypt" and 2 <= cost <= _MOST_COST and cost & (cost - 1) == 0
    if not right or not 1 <= block <= 16 or not 1 <= parallel <= 4 or not parts[3] or len(parts[4]) != 32:
        raise OptionsError(
            "password_hash is none: cachecore_proxy.admin.password_hash(password) makes one (scrypt:16384:8:1:…:…)"
        )
    return parts


def _is_host(name: object) -> bool:
    if not isinstance(name, str) or not name or name != name.strip():
        return False
    return name.startswith("[") and name.endswith("]") if ":" in name else "/" not in name
