"""From whatever a person hands over to one validated grey image: the only place that decodes.

Training, evaluation, the app and the tests all come through :func:`read` and :func:`resize`, so a
model never sees pixels in production that were prepared in another way than those it learned from.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from pneumonia import dicom, pictures
from pneumonia.pixels import (
    FORMATS,
    MAX_PIXELS,
    READABLE,
    Facts,
    UnreadableImage,
    explain_errors,
    from_array,
    from_image,
    shorten_name,
)

__all__ = [
    "COPY_QUALITY",
    "COPY_SIZE",
    "DECODER_VERSION",
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "SUFFIXES",
    "Facts",
    "Radiograph",
    "Source",
    "UnreadableImage",
    "contents",
    "decode",
    "describe",
    "header_size",
    "read",
    "resize",
    "to_input",
]

_T = TypeVar("_T")
Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Radiograph"

# Below this side there is no lung texture left to read; the smallest network input is 100.
MIN_SIDE = 32
# What files that can be read are usually called: for a file dialogue. What a file is, its content
# says.
SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", ".bmp", *dicom.SUFFIXES)

# A file of MAX_PIXELS of 16 bits, and its header.
MAX_BYTES = 2 * MAX_PIXELS + 10_000_000

# What the files of the train and test folders are: squeezed to this size (height, width) and
# encoded as JPEG of this quality.
COPY_SIZE = (224, 224)
COPY_QUALITY = 75

# Part of every cache key and model spec: raise it when the same file would give other pixels than
# before.
DECODER_VERSION = 3


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One decoded image.

    Attributes:
        pixels: uint8 array ``(height, width)``, 0 is black, 255 is white.
        name: where it came from, for messages and tables (a file name, never a full path).
        facts: what the source said of itself beside its grey values; nothing personal.
        full_size: height and width before :meth:`shrink` made it smaller; None where it did not.
    """

    pixels: np.ndarray
    name: str
    facts: Facts = field(default_factory=Facts)
    full_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint8:
            raise UnreadableImage(
                f"Expected grey pixels as uint8 (height, width), got {self.pixels.dtype}"
                f" {self.pixels.shape}; use radiograph.read()."
            )

    @cached_property
    def copy(self) -> np.ndarray:
        """The copy that every network is shown, uint8 :data:`COPY_SIZE`; see :func:`resize`. Made
        once a picture, and not to be written to.
        """
        made = self.pixels.view() if self.size == COPY_SIZE else _as_published(self)
        made.flags.writeable = False
        return made

    @cached_property
    def copied(self) -> Radiograph:
        """The same copy as a radiograph; the picture itself where it is one already."""
        return self if self.size == COPY_SIZE else Radiograph(self.copy, self.name)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def once(self, make: Callable[[Radiograph], _T]) -> _T:
        """What a function finds out about the picture, found once however often it is asked."""
        kept = self.__dict__.setdefault("_found", {})
        if make not in kept:
            kept[make] = make(self)
        return kept[make]

    def shrink(self, side: int) -> Radiograph:
        """The same for showing, its longer side at most ``side`` pixels, with the copy that every
        network is shown: answers stay what they are, and most of its memory is free.
        """
        shown, longest = self.to_pil(), max(self.size)
        if longest > side:
            height, width = (max(1, round(length * side / longest)) for length in self.size)
            shown = shown.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
        small = Radiograph(np.array(shown), self.name, self.facts, self.full_size or self.size)
        # Copied, for the copy may be a view of all the pixels.
        small.__dict__.update(
            copy=np.array(self.copy), _found=dict(self.__dict__.get("_found", {}))
        )
        return small

    def to_pil(self) -> Image.Image:
        """The picture as an 8-bit grey PIL image."""
        return Image.fromarray(self.pixels)


def read(source: Source) -> Radiograph:
    """Decodes a path, encoded bytes, a PIL image or an array into a :class:`Radiograph`.

    8-bit images keep their values, unless they use a sliver of them (``facts.narrow``). Deeper ones
    are stretched linearly from their own minimum and maximum to 0..255, because no window is known
    for them, leaving out a few pixels far from all others where those would flatten the rest.
    Colour is reduced to luma (ITU-R 601-2); transparency is laid over black, unless it hides all;
    EXIF orientation is applied. DICOM is rescaled, windowed and, where its low values are bright,
    inverted, as :func:`pneumonia.dicom.decode` says.
    Of a file with several pages the first is read; a DICOM of several is refused.

    Args:
        source: a file path; the bytes of a file; a PIL image; an array ``(H, W)``, ``(H, W, 1)``,
            ``(H, W, 3)`` or ``(H, W, 4)``, where uint8 means 0..255; any other dtype is stretched
            and its alpha ignored; or a Radiograph, which is returned as it is.

    Raises:
        UnreadableImage: it is no picture, damaged, empty, compressed as nothing here can read, too
            small (under 32 pixels a side) or too large (over 50 megapixels).
        FileNotFoundError: the path does not exist.
    """
    if isinstance(source, Radiograph):
        return source
    if isinstance(source, np.ndarray):
        return _make_radiograph(from_array(source, "array"), "array")
    if isinstance(source, Image.Image):
        # Pillow decodes when first asked for pixels, so an image opened from a damaged file fails
        # only here.
        with explain_errors("image"):
            content = _read_undecoded(source)
            if content is not None:
                return decode(content, "image")
            return _make_radiograph(from_image(source, "image"), "image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(bytes(source), "upload")
    if isinstance(source, (str, os.PathLike)):
        return decode(contents(source), Path(source).name)
    raise UnreadableImage(
        f"Expected a path, bytes, a PIL image or a numpy array, got {type(source).__name__}."
    )


def _read_undecoded(image: Image.Image) -> bytes | None:
    """The file of an image that Pillow has opened and not decoded yet, where Pillow would lose bits
    of it; None where it would not, or where another page than the first was asked for.
    """
    stream = getattr(image, "fp", None)
    if image.format not in ("PNG", "TIFF") or stream is None or not getattr(image, "tile", None):
        return None
    if image.tell() or not stream.seekable():
        return None
    position = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(position)
    return content if isinstance(content, bytes) else None


def header_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width that :func:`read` would give a file, in pixels, from its header alone: for
    counting sizes without decoding.

    Raises:
        UnreadableImage: the header is that of no picture, or of one with over 50 megapixels.
        FileNotFoundError: the path does not exist.
    """
    content, name = contents(path), shorten_name(Path(path).name)
    module = dicom if dicom.is_dicom(content) else pictures
    return module.header_size(content, name)


def contents(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file, once it is sure that they can be read to their end: a pipe or a
    device may never have one, and no radiograph has MAX_BYTES.

    Raises:
        UnreadableImage: it is no plain file, may not be read, or is too large.
        FileNotFoundError: the path does not exist.
    """
    path = Path(path)
    name = shorten_name(path.name)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableImage(
                f"{name} is a folder, not an image; give the files in it one by one or as a list."
            )
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage(f"{name} is a pipe or a device, not a file; give an image file.")
        if status.st_size > MAX_BYTES:
            raise UnreadableImage(
                f"{name} is too large, {status.st_size / 1e6:.0f} MB and at most"
                f" {MAX_BYTES // 1_000_000} can be read; save it smaller, 2000 pixels a side are"
                " plenty."
            )
        return path.read_bytes()
    # A null character in the name is a ValueError.
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"There is no file {shorten_name(str(path))}; give the path of a {READABLE} image."
        ) from error
    except UnreadableImage:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnreadableImage(
            f"{name} cannot be opened ({(reason or 'not a file name').lower()})."
        ) from None


def resize(radiograph: Radiograph, size: tuple[int, int]) -> np.ndarray:
    """Brings a radiograph to the input size of a network, by way of what was published of the
    training set.

    The networks learned from copies that were squeezed to 224 x 224 without regard to their aspect
    and encoded as JPEG once more. An original that skips that step keeps fine detail the networks
    have never seen, and Xception's answer to it moves from .99 to .24. So whatever is not of that
    size becomes such a copy first. The copies' spectrum is that of Pillow's antialiased bilinear
    filter (a support that grows with the reduction) and their quantisation tables are those of
    quality 75, so those are used here.

    Args:
        radiograph: the decoded image.
        size: ``(height, width)`` in pixels.

    Returns:
        uint8 array ``(height, width)``, 0 to 255.
    """
    if size == COPY_SIZE:
        return radiograph.copy
    return np.asarray(_squeeze(Image.fromarray(radiograph.copy), size))


def _as_published(radiograph: Radiograph) -> np.ndarray:
    encoded = io.BytesIO()
    _squeeze(radiograph.to_pil(), COPY_SIZE).save(encoded, "JPEG", quality=COPY_QUALITY)
    with Image.open(encoded, formats=("JPEG",)) as copy:
        return np.asarray(copy)


def _squeeze(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def to_input(radiographs: np.ndarray) -> np.ndarray:
    """Turns a batch of resized grey images, uint8 ``(N, H, W)``, into what the networks take:
    float32 ``(N, H, W, 3)``, 0 to 255.
    """
    return np.repeat(radiographs[..., np.newaxis], 3, axis=-1).astype(np.float32)


def decode(content: bytes, name: str) -> Radiograph:
    """Decodes the bytes of a file; raises as :func:`read` does, about ``name``."""
    # By what is in it, never by its suffix. DICOM first: its preamble may pose as the header of a
    # TIFF.
    name = shorten_name(name)
    module = dicom if dicom.is_dicom(content) else pictures
    return _make_radiograph(module.decode(content, name), name)


def _make_radiograph(decoded: tuple[np.ndarray, Facts], name: str) -> Radiograph:
    pixels, facts = decoded
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise UnreadableImage(
            f"{name} is too small to read, {width}x{height} pixels; at least {MIN_SIDE} a side are"
            " needed, 500 or more are better."
        )
    return Radiograph(np.ascontiguousarray(pixels), name, facts)


def describe() -> dict[str, Any]:
    """How images become inputs, as it is written into every model spec."""
    return {
        "decoder": DECODER_VERSION,
        "colour": "grey, repeated to 3 channels",
        "aspect": "stretch",
        "filter": "bilinear, antialiased",
        "copy": {
            "size": list(COPY_SIZE),
            "jpeg_quality": COPY_QUALITY,
            "of": "whatever is not of this size",
        },
        "range": [0, 255],
    }
