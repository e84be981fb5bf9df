"""What all simulations share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def deadlines(default_deadlines: None) -> None:
    """Time is virtual here, and the deadlines are those of users."""
