"""Where uploads lie while somebody needs them: in a private folder, each in a place of its own.

Gradio files an upload under a hash of its content, so that the equal uploads of two visitors are
one file. Here each has its own folder, which goes when no request needs it any more: at once after
the page has read it, a little later after a program has, which may ask again; and soon, where
nobody ever asked.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

try:
    import fcntl
except ImportError:  # Windows; there the folders of dead processes stay.
    fcntl = None  # type: ignore[assignment]

# Seconds that an upload stays after a program has had its answer; after it came or was last asked
# about; and between two looks for what is to go.
GRACE, WAIT, EVERY = 60.0, 600.0, 2.0
# Bytes of all uploads together, and how many there may be.
MOST_STORED, MOST_PLACES = 2_000_000_000, 2_000

_PREFIX, _LOCK = "pneumonia-", "in-use"


class NoUpload(ValueError):
    """What a request names is no file that was uploaded here, or it is gone; the message says
    which.
    """


@dataclass
class _Place:
    """``waiting`` requests have named it and not read it yet, ``reading`` are at it now;
    ``expires`` in seconds of :func:`time.monotonic`.
    """

    expires: float
    arriving: bool = True
    waiting: int = 0
    reading: int = 0


class Uploads:
    """The uploads of one running app, and the folder they lie in.

    Args:
        base: where the folder is made; ``GRADIO_TEMP_DIR``, else the system's folder for temporary
            files, if None. Folders that dead processes left there are removed.

    Attributes:
        folder: named in ``GRADIO_TEMP_DIR`` from now on, readable for this user alone, and removed
            with all that is in it when the process ends.
    """

    _all: ClassVar[dict[Path, Uploads]] = {}

    def __init__(self, base: Path | None = None) -> None:
        base = base or _base()
        base.mkdir(parents=True, exist_ok=True)
        _remove_the_dead(base)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base)).resolve()
        # Held as long as the process lives: whoever can take it knows that nobody needs the folder.
        self._in_use = (self.folder / _LOCK).open("w")
        if fcntl:
            fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.environ["GRADIO_TEMP_DIR"] = str(self.folder)
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()
        self._named = re.compile(re.escape(f"{self.folder}{os.sep}") + r"([0-9a-f]{32})/")
        self._closed = threading.Event()
        self._all[self.folder] = self
        atexit.register(self.close)
        threading.Thread(target=self._keep_clean, daemon=True).start()

    @classmethod
    def of(cls, file: Path) -> Uploads | None:
        """Those that a file is among."""
        return next((all_ for folder, all_ in cls._all.items() if folder in file.parents), None)

    def place(self) -> Path:
        """A new folder for an upload that begins to arrive.

        Raises:
            NoUpload: there is no room for another; the message says so.
        """
        with self._lock:
            if len(self._places) >= MOST_PLACES or self._count_bytes() > MOST_STORED:
                raise NoUpload("The server holds as many uploads as it can; try again in a minute.")
            name = os.urandom(16).hex()
            self._places[name] = _Place(time.monotonic() + WAIT)
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        return folder

    def mark_arrived(self, place: Path) -> None:
        """The upload is whole."""
        self._places[place.name].arriving = False

    def drop(self, place: Path) -> None:
        """The upload broke off."""
        with self._lock:
            self._remove(place.name)

    def note_request(self, body: bytes) -> set[str]:
        """Notes that a request is about to wait in line for each upload it names; returns what to
        hand to :meth:`drop_request` if it is not let in.
        """
        named = set(self._named.findall(body.decode("utf-8", "replace").replace("\\/", "/")))
        with self._lock:
            for place in (self._places[name] for name in named if name in self._places):
                place.waiting += 1
                place.expires = time.monotonic() + WAIT
        return named

    def drop_request(self, named: set[str]) -> None:
        """The request of :meth:`note_request` is not let in."""
        for name in named:
            self.end_request(self.folder / name)

    def end_request(self, file: Path, grace: float = GRACE) -> None:
        """A request that named the file has its answer: it stays for ``grace`` seconds, unless
        other requests wait for it.
        """
        name = file.relative_to(self.folder).parts[0]
        with self._lock:
            place = self._places.get(name)
            if place is None:
                return
            place.waiting = max(0, place.waiting - 1)
            if not place.waiting and not place.reading:
                place.expires = min(place.expires, time.monotonic() + grace)
                if grace <= 0:
                    self._remove(name)

    @contextlib.contextmanager
    def hold(self, file: Path) -> Iterator[Path]:
        """The file, which stays for as long as it is read.

        Raises:
            NoUpload: it is gone.
        """
        with self._lock:
            place = self._places.get(file.relative_to(self.folder).parts[0])
            if place is None or place.arriving or not _is_plain(file):
                raise NoUpload("The upload is no longer on the server; send it once more.")
            place.reading += 1
        try:
            yield file
        finally:
            with self._lock:
                place.reading -= 1

    def _count_bytes(self) -> int:
        return sum(
            file.stat().st_size
            for name in self._places
            for file in (self.folder / name).glob("*/*")
            if file.is_file()
        )

    def _remove(self, name: str) -> None:
        self._places.pop(name, None)
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what has expired, and whatever else Gradio has written beside the uploads."""
        now = time.monotonic()
        with self._lock:
            for name in [
                name
                for name, place in self._places.items()
                if place.expires < now and not place.reading
            ]:
                self._remove(name)
            known = {*self._places, _LOCK}
        for entry in self.folder.iterdir():
            with contextlib.suppress(OSError):
                if entry.name not in known and time.time() - _newest(entry) > GRACE:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _keep_clean(self) -> None:
        while not self._closed.wait(EVERY):
            with contextlib.suppress(OSError):
                self.sweep()

    def close(self) -> None:
        """Removes the folder."""
        self._closed.set()
        self._all.pop(self.folder, None)
        self._in_use.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def locate(upload: Any) -> tuple[Uploads, Path]:
    """Where an upload lies, without touching it.

    Args:
        upload: the path, or the dict with it that an endpoint gets.

    Raises:
        NoUpload: it is no upload. Only what lies in the upload folder may be read, or a request
            written by hand could ask for any file of this machine.
    """
    path = upload.get("path") if isinstance(upload, dict) else upload
    if not isinstance(path, str):
        raise NoUpload("No file arrived; choose an X-ray and send it again.")
    if path.startswith(("http://", "https://")):
        raise NoUpload("Addresses are not fetched; upload the X-ray with the request.")
    try:
        file = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):
        file = Path()
    uploads = Uploads.of(file)
    if uploads is None:
        raise NoUpload("That is no uploaded file; upload the X-ray with the request.")
    return uploads, file


@contextlib.contextmanager
def hold_upload(upload: Any) -> Iterator[Path]:
    """An upload that nobody deletes while it is read.

    Args:
        upload: as for :func:`locate`. What the page sends is a path, and is deleted afterwards, for
            nobody will ask for it again; a program's, a dict, goes when its request is over.

    Raises:
        NoUpload: as :func:`locate`, or it is gone.
    """
    uploads, file = locate(upload)
    try:
        with uploads.hold(file):
            yield file
    finally:
        if isinstance(upload, str):
            uploads.end_request(file, 0)


def end_request(upload: Any) -> None:
    """The request of a program that named an upload is over; see :meth:`Uploads.end_request`."""
    with contextlib.suppress(NoUpload, ValueError, IndexError):
        uploads, file = locate(upload)
        uploads.end_request(file)


def _is_plain(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def _newest(entry: Path) -> float:
    inside = entry.rglob("*") if entry.is_dir() else ()
    return max(file.lstat().st_mtime for file in (entry, *inside))


def _base() -> Path:
    named = os.environ.get("GRADIO_TEMP_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir())
    # An earlier app of this process has named its own.
    return folder.parent if folder.name.startswith(_PREFIX) else folder


def _remove_the_dead(base: Path) -> None:
    for folder in base.glob(f"{_PREFIX}*") if fcntl else ():
        # Of another user, or just being made.
        with contextlib.suppress(OSError), (folder / _LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
