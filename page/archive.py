"""Files and zip archives to one list of pictures, in their order, within limits that are stated;
nothing is ever unpacked to disk.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pneumonia.text import harmless
from pneumonia.zips import Unpackable, read_member

MEGABYTE = 1_000_000
# Pictures of a batch; bytes of one; bytes of all that a batch unpacks.
MOST, MOST_BYTES, MOST_UNPACKED = 100, 30 * MEGABYTE, 300 * MEGABYTE
# Characters of a name that are repeated.
LONGEST_NAME = 120
# Bytes of an archive's table of contents: forty thousand names, more than any folder of X-rays.
# Python reads it whole before anything can be counted.
MOST_CONTENTS = 4 * MEGABYTE

# What systems and viewers leave in folders beside the pictures.
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini", "DICOMDIR"}
_ZIP, _END, _END_64 = b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x07"
# The end of a zip file: signature, four counters, size and place of the contents, length of the
# comment.
_END_RECORD = struct.Struct("<4s4H2LH")


@dataclass(frozen=True)
class Entry:
    """One file of a batch.

    Attributes:
        name: the file's, with its folders where it lay in an archive.
        content: the file, or None where it was not taken.
        problem: why not, a sentence; None where it was.
    """

    name: str
    content: bytes | None
    problem: str | None = None


class TooMany(ValueError):
    """A batch has more files than the limit; the message says so and what to do."""


def open_uploads(files: Iterable[tuple[str, Path]]) -> tuple[int, Iterator[Entry]]:
    """What a batch holds: how many entries, and the entries one by one; archives are opened where
    they stand, litter of other systems is left out.

    Args:
        files: the name and the place of each upload.

    Raises:
        TooMany: there are more than :data:`MOST`; nothing has been unpacked by then.
    """
    listed, total = [], 0
    for name, file in files:
        contents = _contents(file)
        listed.append((harmless(name, LONGEST_NAME), file, contents))
        total += 1 if contents is None else max(1, len(contents[0]))
        # At once: what a hundred archives list is not read before they are counted.
        if total > MOST:
            raise TooMany(
                f"These are {total} files or more, and a batch takes {MOST} at most; send them in"
                " parts."
            )
    return total, _entries(listed)


def _entries(
    listed: Iterable[tuple[str, Path, tuple[list[zipfile.ZipInfo], str | None] | None]],
) -> Iterator[Entry]:
    left = MOST_UNPACKED
    for name, file, contents in listed:
        if contents is None:
            yield _file(name, file)
            continue
        members, problem = contents
        if problem:
            yield Entry(name, None, problem)
        for member in members:
            entry = _member(name, file, member, left)
            left -= len(entry.content or b"")
            yield entry


def _file(name: str, file: Path) -> Entry:
    if file.stat().st_size > MOST_BYTES:
        return Entry(name, None, f"It is larger than {MOST_BYTES // MEGABYTE} MB.")
    return Entry(name, file.read_bytes())


def _contents(file: Path) -> tuple[list[zipfile.ZipInfo], str | None] | None:
    """The pictures listed in an archive and what is wrong with it; None for a file that is no
    archive.
    """
    with file.open("rb") as stream:
        if stream.read(4) not in (_ZIP, _END):
            return None
    if not _has_modest_contents(file):
        return [], "This archive is damaged, or lists more files than can be read here."
    try:
        with zipfile.ZipFile(file) as archive:
            members = [
                member
                for member in archive.infolist()
                if not member.is_dir() and not _is_litter(member.filename)
            ]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return [], "This archive is damaged and cannot be opened."
    return members, None if members else "There is no file in this archive."


def _has_modest_contents(file: Path) -> bool:
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(max(0, size - _END_RECORD.size - 65_535 - 20))
        tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_RECORD.size:
        return False
    _, _, _, _, count, length, _, _ = _END_RECORD.unpack_from(tail, at)
    # The 64-bit form, for archives beyond 4 GB or 65,535 files, states its true size elsewhere; no
    # batch needs it.
    return length <= MOST_CONTENTS and count < 65_535 and tail[max(0, at - 20) : at][:4] != _END_64


def _is_litter(path: str) -> bool:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return any(
        part in _LITTER or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def _member(name: str, file: Path, member: zipfile.ZipInfo, left: int) -> Entry:
    shown = harmless(f"{name}/{member.filename}", LONGEST_NAME)
    try:
        with zipfile.ZipFile(file) as archive:
            content = read_member(archive, member, min(MOST_BYTES, left))
    except (Unpackable, zipfile.BadZipFile, OSError) as error:
        damaged = "It is damaged inside the archive and cannot be unpacked."
        return Entry(shown, None, str(error) if isinstance(error, Unpackable) else damaged)
    if len(content) > MOST_BYTES:
        return Entry(shown, None, f"It is larger than {MOST_BYTES // MEGABYTE} MB unpacked.")
    if len(content) > left:
        return Entry(
            shown,
            None,
            f"With it, the batch would unpack to more than {MOST_UNPACKED // MEGABYTE} MB; send the"
            " rest in another one.",
        )
    if content[:4] == _ZIP:
        return Entry(shown, None, "An archive inside an archive is not opened; send it by itself.")
    return Entry(shown, content)
