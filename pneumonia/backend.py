"""Keras and TensorFlow, imported without a word: ``from pneumonia.backend import keras`` inside the
function that needs a network, so that whatever needs none starts at once.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
import threading
from types import ModuleType
from typing import Any

from pneumonia.quiet import stderr_aside

# Keras imports these where they are installed, for features that no program here uses: scikit-learn
# wrappers, plots and data frames. They are a third of its start. Our programs set
# PNEUMONIA_LEAN=1; a notebook keeps the whole of Keras.
_UNUSED = ("matplotlib.pyplot", "pandas", "sklearn")


class _LeftOut(importlib.abc.MetaPathFinder):
    """Tells the thread that made it that the modules of ``_UNUSED`` are not installed."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> None:
        if name in _UNUSED and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{name} is left out", name=name)


_left_out = _LeftOut()
with stderr_aside():
    if os.environ.get("PNEUMONIA_LEAN") == "1":
        sys.meta_path.insert(0, _left_out)
    try:
        import keras
        import tensorflow as tf
    finally:
        if _left_out in sys.meta_path:
            sys.meta_path.remove(_left_out)

__all__ = ["keras", "tf"]
