"""Files that are never half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(file: Path, write: Callable[[Path], Any]) -> None:
    """Has ``write`` fill a neighbour of ``file`` and puts it in place in one step, so that a kill
    leaves the old or the new, never a half.
    """
    # Keras and NumPy look at the suffix, so it stays at the end.
    partial = file.with_name("partial-" + file.name)
    write(partial)
    partial.replace(file)
