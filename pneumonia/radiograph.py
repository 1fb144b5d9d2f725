"""From whatever a person hands over to one validated grey image: the only place that decodes.

Training, evaluation, the app and the tests all come through :func:`read` and :func:`resize`, so a model never sees pixels in production that were
prepared in another way than those it learned from.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps

Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Radiograph"

# A digital chest radiograph has 4 to 15 megapixels. A few hundred bytes of PNG can unpack to gigabytes, so the header is asked before a pixel is decoded.
MAX_PIXELS = 50_000_000
# Below this side there is no lung texture left to read; the smallest network input is 100.
MIN_SIDE = 32
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")

# What the files of the train and test folders are: squeezed to this size (height, width) and encoded as JPEG of this quality.
COPY_SIZE = (224, 224)
COPY_QUALITY = 75

# Part of every cache key and contract: raise it when the same file would give other pixels than before.
DECODER_VERSION = 2


class UnreadableImage(ValueError):
    """What was handed over is no picture this project can read; the message is one sentence for the person who sent it."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One decoded image.

    Attributes:
        pixels: uint8 array ``(height, width)``, 0 is black, 255 is white.
        name: where it came from, for messages and tables (a file name, never a full path).
    """

    pixels: np.ndarray
    name: str

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint8:
            raise UnreadableImage(f"Expected grey pixels as uint8 (height, width), got {self.pixels.dtype} {self.pixels.shape}; use radiograph.read().")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def to_pil(self) -> Image.Image:
        """The picture as an 8-bit grey PIL image."""
        return Image.fromarray(self.pixels)


def read(source: Source) -> Radiograph:
    """Decodes a path, encoded bytes, a PIL image or an array into a :class:`Radiograph`.

    8-bit images keep their values; 16-bit and float ones are stretched linearly from their own minimum and maximum to 0..255, because no window is known for
    them. Colour is reduced to luma (ITU-R 601-2), transparency is laid over black, EXIF orientation is applied.

    Args:
        source: a file path; the bytes of a file; a PIL image; an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``, where uint8 means
            0..255; any other dtype is stretched and its alpha ignored; or a Radiograph, which is returned as it is.

    Raises:
        UnreadableImage: it is no picture, damaged, empty, too small (under 32 pixels a side) or too large (over 50 megapixels).
        FileNotFoundError: the path does not exist.
    """
    if isinstance(source, Radiograph):
        return source
    if isinstance(source, np.ndarray):
        return _checked(_from_array(source, "array"), "array")
    if isinstance(source, Image.Image):
        # Pillow decodes when first asked for pixels, so an image opened from a damaged file fails only here.
        with _explained("image"):
            return _checked(_grey(source, "image"), "image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _checked(_decode(io.BytesIO(bytes(source)), "upload"), "upload")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}; give the path of a {', '.join(FORMATS)} image.")
        if path.is_dir():
            raise UnreadableImage(f"{path} is a folder, not an image; give the files in it one by one or as a list.")
        return _checked(_decode(io.BytesIO(path.read_bytes()), path.name), path.name)
    raise UnreadableImage(f"Expected a path, bytes, a PIL image or a numpy array, got {type(source).__name__}.")


def header_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width that :func:`read` would give a file, in pixels, from its header alone: for counting sizes without decoding.

    Raises:
        UnreadableImage: the header is that of no picture, or of one with over 50 megapixels.
        FileNotFoundError: the path does not exist.
    """
    path = Path(path)
    with _opened(io.BytesIO(path.read_bytes()), path.name) as image:
        width, height = image.size
        # EXIF orientations 5 to 8 lay the picture on its side; for TIFF, Pillow has turned the size already.
        turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return (width, height) if turned else (height, width)


def resize(radiograph: Radiograph, size: tuple[int, int]) -> np.ndarray:
    """Brings a radiograph to the input size of a network, by way of what was published of the training set.

    The networks learned from copies that were squeezed to 224 x 224 without regard to their aspect and encoded as JPEG once more. An original that skips that
    step keeps fine detail the networks have never seen, and Xception's answer to it moves from .99 to .24. So whatever is not of that size becomes such a
    copy first. The copies' spectrum is that of Pillow's antialiased bilinear filter (a support that grows with the reduction) and their quantisation
    tables are those of quality 75, so those are used here.

    Args:
        radiograph: the decoded image.
        size: ``(height, width)`` in pixels.

    Returns:
        uint8 array ``(height, width)``, 0 to 255.
    """
    copy = Image.fromarray(radiograph.pixels if radiograph.size == COPY_SIZE else _as_published(radiograph))
    return np.asarray(copy if size == COPY_SIZE else _squeezed(copy, size))


def _as_published(radiograph: Radiograph) -> np.ndarray:
    encoded = io.BytesIO()
    _squeezed(radiograph.to_pil(), COPY_SIZE).save(encoded, "JPEG", quality=COPY_QUALITY)
    with Image.open(encoded, formats=("JPEG",)) as copy:
        return np.asarray(copy)


def _squeezed(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def to_input(radiographs: np.ndarray) -> np.ndarray:
    """Turns a batch of resized grey images, uint8 ``(N, H, W)``, into what the networks take: float32 ``(N, H, W, 3)``, 0 to 255."""
    return np.repeat(radiographs[..., np.newaxis], 3, axis=-1).astype(np.float32)


def _decode(stream: io.BytesIO, name: str) -> np.ndarray:
    with _opened(stream, name) as image:
        image.load()
        return _grey(image, name)


@contextmanager
def _opened(stream: io.BytesIO, name: str) -> Iterator[Image.Image]:
    if not stream.getbuffer().nbytes:
        raise UnreadableImage(f"{name} is empty (0 bytes); export the X-ray again.")
    with _explained(name), warnings.catch_warnings():
        # Pillow only warns between its own limit and twice that; ours is checked from the header below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(stream, formats=FORMATS) as image:
            _check_pixels(image.size, name)
            yield image


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage(f"{name} is no picture that can be read here; use {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(_too_large(name, "far more")) from None
    # Pillow's plugins raise almost anything on damaged data (SyntaxError, struct.error, zlib.error and more), and all of it means the same to a person.
    except Exception:
        raise UnreadableImage(f"{name} is damaged and cannot be read to the end; export or copy it again.") from None


def _grey(image: Image.Image, name: str) -> np.ndarray:
    _check_pixels(image.size, name)
    image = ImageOps.exif_transpose(image)
    if image.mode == "LAB":
        raise UnreadableImage(f"{name} is in the LAB colour space, which cannot be read here; save it as grey or RGB.")
    if image.mode == "La":
        # Pillow knows no way from premultiplied grey to RGBA but this.
        image = image.convert("LA")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _stretch(np.asarray(image, dtype=np.float64), name)
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("L"))


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or not array.size:
        raise UnreadableImage(f"Expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}.")
    _check_pixels((array.shape[1], array.shape[0]), name)
    if array.dtype == np.uint8:
        return _grey(Image.fromarray(np.ascontiguousarray(array)), name)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise UnreadableImage(f"Expected an array of numbers, got dtype {array.dtype}.")
    values = array.astype(np.float64)
    # The same luma weights as Pillow's convert("L").
    return _stretch(values if values.ndim == 2 else values[..., :3] @ np.array([0.299, 0.587, 0.114]), name)


def _stretch(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise UnreadableImage(f"{name} has pixels that are not finite numbers; export it again as an 8- or 16-bit image.")
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((values - low) * (255.0 / (high - low))).astype(np.uint8)


def _check_pixels(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(_too_large(name, f"{size[0]}x{size[1]}"))


def _too_large(name: str, found: str) -> str:
    return f"{name} has too many pixels ({found}; at most {MAX_PIXELS // 1_000_000} megapixels); save it smaller, 2000 pixels a side are plenty."


def _checked(pixels: np.ndarray, name: str) -> Radiograph:
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise UnreadableImage(f"{name} is too small to read, {width}x{height} pixels; at least {MIN_SIDE} a side are needed, 500 or more are better.")
    return Radiograph(np.ascontiguousarray(pixels), name)


def describe() -> dict[str, Any]:
    """How images become inputs, as it is written into every contract."""
    return {
        "decoder": DECODER_VERSION,
        "colour": "grey, repeated to 3 channels",
        "aspect": "stretch",
        "filter": "bilinear, antialiased",
        "copy": {"size": list(COPY_SIZE), "jpeg_quality": COPY_QUALITY, "of": "whatever is not of this size"},
        "range": [0, 255],
    }
