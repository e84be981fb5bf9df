"""From a URL to a backend: parameters of the query are the options of the store, as obstore names them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from cachecore.contract import Clock, OptionsError, positive, redact_url
from cachecore_objects.backend import ObjectBackend, open_folder

_SCHEMES: Final = ("s3", "gs", "az", "file")
_OF_CLIENT: Final = ("allow_", "connect_", "default_content", "http", "pool_", "proxy_", "random", "read_", "user_")
"""The first letters of those options of obstore that are its HTTP client's, not the store's."""


def from_url(url: str, *, clock: Clock | None = None) -> ObjectBackend:
    """Return a backend for a URL such as `s3://bucket/folder?region=eu-central-1`; connects when first used.

    `timeout` (seconds of a request, 5) and `concurrency` (requests at once, 64) are the backend's own parameters; all
    others are obstore's for the kind of store (`endpoint`, `access_key_id`, …), which also reads the environment, or
    for its HTTP client (`proxy_url`, `allow_http`, …).

    Raises:
        OptionsError: the URL or a setting in it is wrong.
    """
    from obstore import store as stores

    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise OptionsError(f"an object store is named by {', '.join(_SCHEMES)}, such as s3://bucket/folder")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    timeout = positive("timeout", given.pop("timeout", 5.0))
    concurrency: Any = given.pop("concurrency", "64")
    plain = url.partition("?")[0]
    client: dict[str, Any] = dict.fromkeys(("timeout", "connect_timeout"), f"{round(timeout * 1000)}ms")
    client.update({name: given.pop(name) for name in list(given) if name.startswith(_OF_CLIENT)})
    if given.get("endpoint", "").startswith("http://"):
        client["allow_http"] = True
    try:
        if parts.scheme == "file":
            if given or parts.netloc or not parts.path.strip("/"):
                raise OptionsError(f"a folder is named by file:///folder, with no options of obstore, not {plain!r}")
            folder = Path(unquote(parts.path))
            store: Any = folder if _can_be_made(folder) else open_folder(folder)
        else:
            # No retries: whether a call is made again is decided above.
            build: Any = stores.from_url  # its types name each kind of store
            store = build(plain, config=given, client_options=client, retry_config={"max_retries": 0})
    except BaseException as error:  # obstore panics, with what is no Exception, at options such as `aws_allow_http`
        if isinstance(error, OptionsError | KeyboardInterrupt | SystemExit):
            raise
        place = "file:///folder, where this user may make one" if parts.scheme == "file" else f"{parts.scheme}://bucket"
        raise OptionsError(f"obstore does not take {redact_url(url)!r}, as in {place}: {_reason(error)}") from None
    return ObjectBackend(store, concurrency=int(concurrency) if concurrency.isdecimal() else concurrency, clock=clock)


def _can_be_made(folder: Path) -> bool:
    """Return whether there is no such folder yet, and this user may make it."""
    there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    return there != folder and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _reason(error: BaseException) -> str:
    """Return the first line of a message about a configuration; it names keys, and repeats no value."""
    text = str(error).partition("\n")[0]
    return text if "onfiguration" in text or "canonicalize" in text else type(error).__name__
