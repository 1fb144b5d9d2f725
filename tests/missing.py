"""What a test does when something it needs is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str) -> NoReturn:
    """Skips and says what is missing; where CI is set it fails instead, for a skip there would hide
    that something was not tested.
    """
    if os.environ.get("CI"):
        pytest.fail(f"{what}; it must be there where CI is set")
    pytest.skip(what)
