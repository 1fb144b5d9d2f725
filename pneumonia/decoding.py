"""Decodes what strangers send, outside this process and under limits of time and memory.

A file of a kilobyte can keep a decoder busy for a minute, ask it for gigabytes, or bring it down,
and whoever shares the process pays for it. So a few small worker processes decode, one file at a
time each; one that exceeds a limit or dies is replaced, and its file ends in a sentence, whatever
the codec. In a notebook or in training, where the files are one's own, :func:`radiograph.read` does
the same without a second process.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from pneumonia import input_check, radiograph
from pneumonia.pixels import MAX_PIXELS, Facts, UnreadableImage, shorten_name
from pneumonia.radiograph import Radiograph

_log = logging.getLogger(__name__)

# What one file may cost: processor seconds, so that an answer comes within two, and bytes beyond
# what an idle worker has.
SECONDS = 1.8
MEMORY = 400_000_000
# How many files are decoded at once.
WORKERS = 2
# By the clock, should a worker ever stand still; on a busy machine processor time passes slowly.
_LONGEST = 60.0
_START = 60.0
# A worker is replaced after so many files, before what they left in its memory adds up.
_FILES = 500
_HEAD = struct.Struct(">IQ")
_LONGEST_HEAD = 1 << 16
# What the workers get to know of the environment; not a token or a key.
_ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "OPENBLAS_CORETYPE")
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from pneumonia import decoding; decoding._serve()"
)


def read_limited(source: bytes | str | os.PathLike[str], name: str | None = None) -> Radiograph:
    """Decodes a file as :func:`pneumonia.radiograph.read` does, in a worker process: within SECONDS
    of processor time and MEMORY bytes. For everything that comes from someone else.

    The first call starts the workers (half a second; :func:`warm_up` does it earlier), every other
    one costs a few milliseconds more than decoding here. Safe to call from several threads: WORKERS
    files are decoded at once, the rest wait.

    Args:
        source: the bytes of a file, or its path; a path is refused before it is read where it is no
            plain file or has more than MAX_BYTES.
        name: what to call it, in messages and as the radiograph's name; the path's last part or
            ``upload`` if None. It is shortened and made harmless.

    Raises:
        UnreadableImage: as :func:`pneumonia.radiograph.read`; or it exceeds a limit, or breaks the
            decoder. One sentence for the person who sent it.
        FileNotFoundError: the path does not exist.
    """
    return _pool.read(source, name)


def warm_up() -> None:
    """Starts the workers, so that the first file does not wait for them; returns at once."""
    _pool.fill()


def close() -> None:
    """Ends the workers; the next file starts new ones."""
    _pool.close()


# --- in this process


class _Broken(Exception):
    """A worker did not come to an answer."""


class _Worker:
    """One worker process, used by one thread at a time."""

    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        one = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TIFFFILE_NUM_THREADS")
        paths = [str(Path(__file__).parents[1]), *(path or str(Path.cwd()) for path in sys.path)]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _SERVE, json.dumps(paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept | dict.fromkeys(one, "1"),
            # An interrupt from the keyboard is for this process; it then closes the pipes.
            start_new_session=True,
        )
        self.ready, self.late, self.files = False, False, 0

    def decode(self, content: bytes, name: str) -> Radiograph:
        pixels, answer = self._ask(content, name)
        return Radiograph(pixels, name, Facts(**answer["facts"]))

    def prepare(self, content: bytes, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        pixels, answer = self._ask(content, name, prepare=True)
        return pixels, tuple(map(str, answer["warnings"]))

    def _ask(
        self, content: bytes, name: str, prepare: bool = False
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if not self.ready:
            self._within(_START, self._wait)
            self.ready = True
        self.files += 1
        return self._within(_LONGEST, self._exchange, content, name, prepare)

    def _within(self, seconds: float, call: Any, *arguments: Any) -> Any:
        """The call's answer; a worker that does not give it in time is killed."""
        timer = threading.Timer(seconds, self._stop)
        timer.daemon = True
        timer.start()
        try:
            return call(*arguments)
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, UnreadableImage):
                raise
            raise _Broken from error
        finally:
            timer.cancel()

    def _stop(self) -> None:
        self.late = True
        self.process.kill()

    def _wait(self) -> None:
        _read(self._out, 1)

    def _exchange(
        self, content: bytes, name: str, prepare: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        head = json.dumps({"name": name, "prepare": prepare}).encode()
        self._in.write(_HEAD.pack(len(head), len(content)) + head)
        self._in.write(content)
        self._in.flush()
        length, size = _HEAD.unpack(_read(self._out, _HEAD.size))
        if length > _LONGEST_HEAD or size > MAX_PIXELS:
            raise EOFError
        answer = json.loads(_read(self._out, length))
        pixels = _read(self._out, size)
        if "error" in answer:
            raise UnreadableImage(str(answer["error"]))
        return np.frombuffer(pixels, np.uint8).reshape(answer["size"]), answer

    @property
    def _in(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def _out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def usable(self) -> bool:
        """Whether it can take another file."""
        return self.process.poll() is None and self.files < _FILES

    def end(self) -> int:
        """Ends the process and says how it ended."""
        with contextlib.suppress(OSError):
            self._in.close()
        try:
            code = self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._out.close()
        return code


class Pool:
    """Workers of one's own: as many as are needed at once and no more than ``workers``."""

    def __init__(self, workers: int = WORKERS) -> None:
        self.workers = workers
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._free = threading.BoundedSemaphore(workers)
        self._filling = threading.Lock()

    def read(self, source: bytes | str | os.PathLike[str], name: str | None = None) -> Radiograph:
        """As :func:`read_limited`."""
        if isinstance(source, (bytes, bytearray, memoryview)):
            content, name = bytes(source), shorten_name(name or "upload")
            if len(content) > radiograph.MAX_BYTES:
                raise UnreadableImage(
                    f"{name} is too large, {len(content) / 1e6:.0f} MB and at most"
                    f" {radiograph.MAX_BYTES // 1_000_000} can be read; save it smaller, 2000"
                    " pixels a side are plenty."
                )
        else:
            content, name = radiograph.contents(source), shorten_name(name or Path(source).name)
        with self.worker(name) as worker:
            return worker.decode(content, name)

    def prepare(self, content: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
        """What a network is shown of a file (:attr:`Radiograph.copy`), and why the input check
        refuses it, a sentence each: all of it a worker's work, so that many cores are kept busy.

        Raises:
            UnreadableImage: as :func:`read_limited`.
        """
        with self.worker("upload") as worker:
            return worker.prepare(content, "upload")

    @contextlib.contextmanager
    def worker(self, name: str) -> Iterator[_Worker]:
        """A worker for one file; one that breaks down over it is replaced."""
        with self._free:
            worker = self._take()
            try:
                yield worker
            except _Broken:
                code = worker.end()
                # Its successor starts while nobody waits for it.
                self._idle.put(_Worker())
                raise UnreadableImage(_why(name, worker, code)) from None
            except BaseException as error:
                self._put_back(worker, whole=isinstance(error, UnreadableImage))
                raise
            self._put_back(worker, whole=True)

    def _take(self) -> _Worker:
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                return _Worker()
            if worker.usable:
                return worker
            worker.end()

    def _put_back(self, worker: _Worker, whole: bool) -> None:
        if whole and worker.usable:
            self._idle.put(worker)
        else:
            worker.end()
            self._idle.put(_Worker())

    def fill(self) -> None:
        """Starts the workers; returns at once."""
        with self._filling:
            while self._idle.qsize() < self.workers:
                self._idle.put(_Worker())

    def close(self) -> None:
        """Ends the workers that are idle."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()


def _why(name: str, worker: _Worker, code: int) -> str:
    if not worker.ready:
        _log.error("The worker that decodes pictures did not start (exit code %d).", code)
        return f"{name} cannot be decoded now, the decoder did not start; send it once more."
    if worker.late or -code == getattr(signal, "SIGPROF", None):
        return (
            f"{name} takes more than {SECONDS:.0f} seconds to decode; save it as an ordinary JPEG"
            " or PNG, 2000 pixels a side are plenty."
        )
    return (
        f"{name} is damaged or needs more memory than there is, its decoder gave up; save it as an"
        " ordinary JPEG or PNG, 2000 pixels a side are plenty."
    )


def _read(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


_pool = Pool()


def _forget() -> None:
    # The workers of the process that forked are not this one's.
    global _pool  # noqa: PLW0603 - one pool a process
    _pool = Pool()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# --- in the worker


def _serve() -> None:
    """A worker: decodes file after file until its input ends."""
    # Only here, so that no file pays for it.
    import imagecodecs  # noqa: F401
    import tifffile  # noqa: F401

    source = sys.stdin.buffer
    # What a decoder prints is no answer.
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    logging.disable(logging.CRITICAL)
    _limit_memory()
    answers.write(b"R")
    answers.flush()
    while len(head := source.read(_HEAD.size)) == _HEAD.size:
        length, size = _HEAD.unpack(head)
        asked = json.loads(source.read(length))
        pixels, answer = _answer(source, size, asked["name"], asked["prepare"])
        encoded = json.dumps(answer).encode()
        answers.write(_HEAD.pack(len(encoded), pixels.size) + encoded)
        answers.write(pixels.data)
        answers.flush()
        del pixels


def _answer(
    source: IO[bytes], size: int, name: str, prepare: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    with _limit_time():
        try:
            picture = radiograph.decode(source.read(size), name)
            if prepare:
                warnings = input_check.examine(picture).sentences
                return picture.copy, {"size": picture.copy.shape, "warnings": warnings}
        except UnreadableImage as error:
            return np.empty(0, np.uint8), {"error": str(error)}
        except MemoryError:
            return np.empty(0, np.uint8), {
                "error": f"{name} needs more memory to be read than there is; save it smaller, 2000"
                " pixels a side are plenty."
            }
        return picture.pixels, {
            "size": picture.size,
            "facts": dataclasses.asdict(picture.facts),
        }


def _limit_memory() -> None:
    # Where the system knows no such limits (Windows), the clock still holds.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        # No dump of someone's X-ray where a decoder breaks down.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _limit_time() -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return
    # Nothing catches this signal, so it ends the process inside whatever library is at work.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
