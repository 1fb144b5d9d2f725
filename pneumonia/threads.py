"""One thread for NumPy's small products: two, beside TensorFlow's own, wait for each other longer
than they compute.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
# Who holds it, and how many threads each library had before.
_depth = 0
_before: list[tuple[Any, int]] = []


@functools.cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return [one for one in ThreadpoolController().lib_controllers if one.user_api == "blas"]


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """While it is held, by one thread or several, BLAS computes with one; then with as many as
    before.
    """
    global _depth  # noqa: PLW0603 - the setting is the process's, and so is its count
    with _lock:
        _depth += 1
        if _depth == 1:
            for library in _libraries():
                _before.append((library, library.get_num_threads()))
                library.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            while not _depth and _before:
                library, threads = _before.pop()
                library.set_num_threads(threads)
