from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_info

from pneumonia import threads


class Library:
    """A BLAS that computes with two threads."""

    count = 2

    def get_num_threads(self) -> int:
        return self.count

    def set_num_threads(self, count: int) -> None:
        self.count = count


def test_blas_has_one_thread_while_anybody_holds_it_and_as_many_as_before_afterwards(monkeypatch):
    library = Library()
    monkeypatch.setattr(threads, "_libraries", lambda: [library])
    entered, left = threading.Event(), threading.Event()

    def hold() -> None:
        with threads.one_blas_thread():
            entered.set()
            left.wait(10)

    other = threading.Thread(target=hold)
    with threads.one_blas_thread():
        assert library.count == 1
        other.start()
        assert entered.wait(10)
    assert library.count == 1, "the other thread holds it still"
    left.set()
    other.join()
    assert library.count == 2
    with pytest.raises(KeyError), threads.one_blas_thread():
        raise KeyError
    assert library.count == 2


def test_numpys_own_blas_is_among_those_that_are_held():
    known = {library.filepath for library in threads._libraries()}
    assert {one["filepath"] for one in threadpool_info() if "numpy" in one["filepath"]} <= known
    with threads.one_blas_thread():
        assert {library.get_num_threads() for library in threads._libraries()} == {1}
