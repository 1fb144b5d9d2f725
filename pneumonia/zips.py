"""Members of zip archives that strangers packed, read within limits."""

from __future__ import annotations

import zipfile
import zlib


class Unpackable(ValueError):
    """A member cannot be had; the message says why, a sentence."""


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """The first ``most + 1`` bytes of a member: one more than allowed tells that there was more,
    for what an archive says of a file's size may be false.

    Raises:
        Unpackable: it is locked, damaged, or packed in a way that cannot be bounded.
    """
    if member.flag_bits & 1:
        raise Unpackable("It is locked with a password.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # What bzip2 and LZMA unpack to cannot be bounded before it is there.
        raise Unpackable("It is packed in a way that is not opened here; zip it anew.")
    try:
        with archive.open(member) as stream:
            return stream.read(most + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ):
        raise Unpackable("It is damaged inside the archive and cannot be unpacked.") from None
