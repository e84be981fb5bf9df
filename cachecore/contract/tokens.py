"""The bytes that tell versions and computations apart: random, and of a fixed length."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

TOKEN_BYTES: Final = 16
"""The length of a token: it names one computation."""
STAMP_BYTES: Final = 8
"""The length of a stamp: it names one version of a tag."""
ROOT_TAG: Final = "n"
"""The tag of everything under one prefix, as entries store it."""


random_token: Final[Callable[[], bytes]] = partial(os.urandom, TOKEN_BYTES)
"""Returns 16 bytes that no process has seen before; a stamp is the first 8."""
