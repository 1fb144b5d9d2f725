"""Pillow images and arrays to grey pixels, and the facts an input check may ask for;
:mod:`pneumonia.radiograph` is the way in.
"""

from __future__ import annotations

import dataclasses
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import ExifTags, Image, ImageOps

# A digital chest radiograph has 4 to 15 megapixels. A few hundred bytes of PNG can unpack to
# gigabytes, so the header is asked before a pixel is decoded.
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
READABLE = f"{', '.join(FORMATS)} or DICOM"

# Colour is judged on at most this many pixels a side, and a pixel is coloured where it is this far,
# of 255, from the tint of its own brightness.
_COLOUR_SIDE = 96
_COLOURED = 20.0
_LUMA = np.array([0.299, 0.587, 0.114])
# Values that are worked on at once: a large film is never copied whole into a wider type.
_AT_ONCE = 1 << 20
# A picture whose middle 99% lie in less than this share of its range shows next to nothing: 12 bits
# stored as 16, or one marker far brighter than the film.
_NARROW = 1 / 8
# An 8-bit picture of fewer grey levels than this is blank rather than dark.
_LEAST_LEVELS = 12
# An alpha channel that nowhere exceeds this (of 255) hides the whole picture: nobody filled it in.
UNUSED_ALPHA = 15
_LONGEST_NAME = 60
# How Pillow turns a picture of each orientation (TIFF 6, EXIF 2.3) upright.
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(ValueError):
    """What was handed over is no picture this project can read; the message is one sentence for the
    person who sent it.
    """


@dataclass(frozen=True)
class Facts:
    """What a source says of itself beside its grey values. Nothing of it is personal: no name,
    number, date or free text of a patient gets here.

    Attributes:
        format: ``JPEG``, ``PNG``, ``TIFF``, ``WEBP``, ``BMP`` or ``DICOM``; None for images and
            arrays that came without a file.
        mode: how the pixels were stored: Pillow's mode (``L``, ``RGB``, ``CMYK``, ...), an array's
            dtype, or DICOM's photometric interpretation.
        frames: how many pictures the file holds; the first was read.
        coloured: share of the pixels, 0 to 1, whose colour is not that of a film tinted evenly.
        modality: DICOM's Modality, such as ``DX``, ``CR``, ``CT``; None where it is not said.
        body_part: DICOM's BodyPartExamined, such as ``CHEST``; None where it is not said.
        view: DICOM's ViewPosition, such as ``PA``, ``AP``, ``LL``, or ``LATERAL`` where only the
            view code says so; None where it is not said.
        narrow: whether an 8-bit picture lay in less than an eighth of black to white and was
            stretched: most of its grey levels were lost before it came here.
    """

    format: str | None = None
    mode: str = "L"
    frames: int = 1
    coloured: float = 0.0
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    narrow: bool = False


def shorten_name(name: str) -> str:
    """A name or value that a file claims, harmless and short enough to be repeated in a sentence, a
    table or a log: printable characters of one line, at most 60, the end kept.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in name[:4096]).split())
    if len(text) > _LONGEST_NAME:
        text = f"{text[: _LONGEST_NAME - 21]}…{text[-20:]}"
    return text or "file"


class _Silence:
    """Holds back decoders' warnings while any thread decodes, and nobody else's.

    They quote values, tell a person nothing and belong in no log. Pillow only warns between its own
    limit and twice that; ours is checked from the header. ``warnings.catch_warnings`` would put
    back what another thread had set meanwhile.
    """

    # As warnings.filterwarnings would add it; a warning names the module that called its decoder.
    _filter = (
        "ignore",
        None,
        Warning,
        re.compile(r"(PIL|pydicom|tifffile|imagecodecs|pneumonia\.(pixels|dicom\w*|radiograph))\b"),
        0,
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Adds the filter with the first that comes, and takes it away with the last."""
        with self._lock:
            self._inside += 1
            if self._filter not in warnings.filters:
                warnings.filters.insert(0, self._filter)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside and self._filter in warnings.filters:
                    warnings.filters.remove(self._filter)  # type: ignore[attr-defined]


_SILENCE = _Silence()


@contextmanager
def explain_errors(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises into an UnreadableImage with one sentence."""
    try:
        with _SILENCE.kept():
            yield
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage(
            f"{name} is no picture that can be read here; use {READABLE}."
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImage(too_large(name, "far more")) from None
    except MemoryError:
        raise UnreadableImage(
            f"{name} needs more memory to be read than there is; save it smaller, 2000 pixels a"
            " side are plenty."
        ) from None
    # Pillow's plugins and pydicom raise almost anything on damaged data (SyntaxError, struct.error,
    # zlib.error and more), and all of it means the same to a person.
    except Exception:
        raise UnreadableImage(
            f"{name} is damaged and cannot be read to the end; export or copy it again."
        ) from None


def from_image(image: Image.Image, name: str) -> tuple[np.ndarray, Facts]:
    """A PIL image of any mode but LAB to uint8 ``(H, W)`` and its facts: turned by its EXIF
    orientation, laid over black, reduced to luma.
    """
    check_pixels(image.size, name)
    # Before it is turned: that copy has forgotten the file.
    facts = Facts(
        image.format if image.format in FORMATS else None,
        image.mode,
        frames_of(image),
    )
    image.load()
    # Turning it is a copy, even where there is nothing to turn.
    if orientation_of(image) > 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "LAB":
        raise UnreadableImage(
            f"{name} is in the LAB colour space, which cannot be read here; save it as grey or RGB."
        )
    if image.mode == "La":
        # Pillow knows no way from premultiplied grey to RGBA but this.
        image = image.convert("LA")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return stretch(np.asarray(image), name), facts
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = _over_black(image.convert("RGBA"))
    coloured = 0.0
    if image.mode not in ("1", "L"):
        step = max(1, -(-max(image.size) // _COLOUR_SIDE))
        # Reduced first, so that a large film is not copied whole; the entries of a palette, hues
        # and transparency cannot be averaged.
        averaged = image.mode in ("RGB", "CMYK", "YCbCr")
        coloured = coloured_share(
            np.asarray(
                image.reduce(step).convert("RGB") if averaged else image.convert("RGB").reduce(step)
            )
        )
    # To convert is to copy, even where there is nothing to convert.
    image = image if image.mode == "L" else image.convert("L")
    # By its counts of each value, which take a millisecond where sorting takes forty.
    table, narrow = widen_range(np.arange(256, dtype=np.uint8), np.array(image.histogram()))
    grey = table[_values(image)] if narrow else _values(image)
    return grey, dataclasses.replace(facts, coloured=coloured, narrow=narrow)


def _values(image: Image.Image) -> np.ndarray:
    """``np.asarray`` of a grey image, which copies 64 kB at a time, in one piece: 3 ms less for a
    film of 2.5 megapixels.
    """
    try:
        encoder = Image._getencoder(image.mode, "raw", (image.mode, 0, 1))
        encoder.setimage(image.im, (0, 0, *image.size))
        _, _, content = encoder.encode(image.width * image.height)
        return np.frombuffer(content, np.uint8).reshape(image.height, image.width)
    # Pillow promises none of these names.
    except (AttributeError, TypeError, ValueError):
        return np.asarray(image)


def frames_of(image: Image.Image) -> int:
    """How many pictures an image's file holds; 1 where what follows the first cannot be read."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 1


def _over_black(image: Image.Image) -> Image.Image:
    """An RGBA image laid over black, RGB; its alpha is ignored where it hides everything."""
    low, high = cast("tuple[int, int]", image.getchannel("A").getextrema())
    if low == 255 or high <= UNUSED_ALPHA:
        return image.convert("RGB")
    laid = Image.new("RGB", image.size)
    rows = max(1, _AT_ONCE // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        laid.paste(
            Image.alpha_composite(Image.new("RGBA", part.size, (0, 0, 0, 255)), part).convert(
                "RGB"
            ),
            (0, top),
        )
    return laid


def upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    """Grey pixels turned as the orientation of TIFF and EXIF, 1 to 8, says."""
    turn = _TURNED.get(orientation)
    return grey if turn is None else np.asarray(Image.fromarray(grey).transpose(turn))


def orientation_of(image: Image.Image) -> int:
    """The orientation an image's EXIF gives, 1 where it gives none that can be used."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # A damaged EXIF block is not the picture.
        found = 1
    return found if found in _TURNED else 1


def from_array(array: np.ndarray, name: str) -> tuple[np.ndarray, Facts]:
    """An array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` to uint8 ``(H, W)`` and
    its facts.
    """
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or not array.size:
        batch = " For a batch pass a list." if array.ndim > 2 else ""
        raise UnreadableImage(
            "Expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got"
            f" {array.shape}.{batch}"
        )
    check_pixels((array.shape[1], array.shape[0]), name)
    if array.dtype == np.uint8:
        return from_image(Image.fromarray(np.ascontiguousarray(array)), name)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise UnreadableImage(f"Expected an array of numbers, got dtype {array.dtype}.")
    if array.ndim == 2:
        return stretch(array, name), Facts(mode=str(array.dtype))
    colours = array[..., :3].astype(np.float64)
    # The same luma weights as Pillow's convert("L").
    grey = stretch(colours @ _LUMA, name)
    step = max(1, -(-max(grey.shape) // _COLOUR_SIDE))
    return grey, Facts(
        mode=str(array.dtype), coloured=coloured_share(stretch(colours[::step, ::step], name))
    )


def from_deep(
    values: np.ndarray,
    name: str,
    *,
    inverted: bool = False,
    opaque: float = 65535,
) -> tuple[np.ndarray, float]:
    """Pixels of more than 8 bits to uint8 ``(H, W)`` and the share of coloured ones: stretched from
    their own range, all channels alike, so that grey stored as colour is what it is as grey.

    Args:
        values: ``(H, W)``; ``(H, W, 2)`` and ``(H, W, 4)`` with an alpha as their last channel;
            ``(H, W, 3)``. Of any dtype.
        inverted: whether low values are bright.
        opaque: the alpha of a pixel that hides what is behind it; of floats, the largest is.
    """
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        values = values[..., 0] if values.shape[2] == 2 else values[..., :3]
        low, high = alpha.min(), alpha.max()
        # One alpha for all pixels changes nothing that a stretch does not undo.
        if low < high:
            full = opaque if alpha.dtype.kind in "ui" else float(high)
            values = _lay_over_black(values, alpha, full, inverted)
            inverted = False
    grey = stretch(values, name)
    if inverted:
        grey = 255 - grey
    if grey.ndim == 2:
        return grey, 0.0
    laid, facts = from_image(Image.fromarray(grey), name)
    return laid, facts.coloured


def _lay_over_black(
    values: np.ndarray, alpha: np.ndarray, opaque: float, inverted: bool
) -> np.ndarray:
    """Colours laid over black; where low values are bright, as if they had not been."""
    laid = np.empty(values.shape, np.float32)
    top = float(values.max()) if inverted else 0.0
    for rows in slices(values):
        share = alpha[rows].astype(np.float64) / opaque
        part = values[rows].astype(np.float64)
        part = top - part if inverted else part
        laid[rows] = part * (share if values.ndim == 2 else share[..., np.newaxis])
    return laid


def coloured_share(colours: np.ndarray) -> float:
    """Share of pixels, 0 to 1, whose colour is not explained by their brightness; ``colours`` is
    uint8 ``(H, W, 3)``.

    A film on a blue base, a print gone yellow or a photograph of a light box has one tint for each
    grey value, and is none the less a grey picture. So the two colour differences (red and blue
    against luma) are compared with their medians among the pixels of like luma, 16 classes of it.
    """
    # Most films come as grey in three equal channels.
    if np.array_equal(colours[..., :2], colours[..., 1:]):
        return 0.0
    values = colours.reshape(-1, 3).astype(np.float64)
    luma = values @ _LUMA
    differences = values[:, [0, 2]] - luma[:, np.newaxis]
    classes = np.minimum(luma // 16, 15).astype(int)
    for number in np.unique(classes):
        members = classes == number
        differences[members] -= np.median(differences[members], axis=0)
    return float((np.hypot(differences[:, 0], differences[:, 1]) > _COLOURED).mean())


def stretch(values: np.ndarray, name: str, counts: np.ndarray | None = None) -> np.ndarray:
    """Values of any dtype to uint8, linearly from their own minimum (0) and maximum (255); all 0
    where they are equal.

    Where a few pixels far from all others (a marker, a dead pixel, padding nobody declared) would
    leave an eighth of that range or less to the picture, it is stretched from the rest's. With
    ``counts``, ``values`` has each once.
    """
    low, high = range_of(values, name)
    inner = narrow_range(values, low, high, counts)
    return _stretch(values, *(inner or (low, high)))


def range_of(values: np.ndarray, name: str) -> tuple[float, float]:
    """The smallest and the largest value; raises UnreadableImage where one is not finite."""
    low, high = float(values.min()), float(values.max())
    # Not a number is neither the least nor the greatest, but numpy's answer to both.
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnreadableImage(
            f"{name} has pixels that are not finite numbers; export it again as an 8- or 16-bit"
            " image."
        )
    return low, high


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return np.zeros(values.shape, np.uint8)

    def scale_part(part: np.ndarray) -> np.ndarray:
        # By halves where the range is more than the largest number.
        factor, base, part = 255.0 / (high / 2 - low / 2), low / 2, part.astype(np.float64) / 2
        return np.rint(np.clip((part - base) * factor, 0, 255)).astype(np.uint8)

    return by_value(scale_part, values)


def slices(values: np.ndarray) -> Iterator[slice]:
    """Rows of an array, so many at a time that working on them needs little memory."""
    rows = max(1, _AT_ONCE // max(1, values[:1].size))
    return (slice(start, start + rows) for start in range(0, len(values), rows))


def by_value(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """``function`` of each value, uint8; where they have 16 bits or less, asked once a value."""
    result = np.empty(values.shape, np.uint8)
    table = None
    if values.dtype.kind in "ui" and values.dtype.itemsize <= 2 and values.size > 1 << 16:
        limits = np.iinfo(values.dtype)
        table = function(np.arange(limits.min, limits.max + 1))
        # A negative index counts from the end of a table.
        table = np.roll(table, limits.min)
    for rows in slices(values):
        result[rows] = function(values[rows]) if table is None else table[values[rows]]
    return result


def narrow_range(
    values: np.ndarray, low: float, high: float, counts: np.ndarray | None = None
) -> tuple[float, float] | None:
    """The range to stretch from, where nearly all values lie in a small share of ``low`` to
    ``high``; None where they do not, or where they tell nothing else.

    Args:
        values: the pixels, or, with ``counts``, each value once.
        low: the value that is black.
        high: the value that is white.
        counts: how many pixels have each value.
    """
    if counts is not None:
        values, counts = values[counts > 0], counts[counts > 0]
    step = max(1, int(np.sqrt(values.size / 100_000))) if counts is None else 1
    sample = values[::step, ::step] if values.ndim > 1 else values[:: step**2]
    # The ends themselves are what stands out: padding, saturation, a burnt-in letter.
    within = (sample > low) & (sample < high)
    inner = sample[within].astype(np.float64)
    weights = np.ones(inner.size) if counts is None else counts[within]
    total = sample.size if counts is None else counts.sum()
    if not inner.size or weights.sum() < total / 20:
        return None
    order = np.argsort(inner)
    shares = np.cumsum(weights[order]) / weights.sum()
    first, last = (float(inner[order[np.searchsorted(shares, end)]]) for end in (0.005, 0.995))
    if not 0 < last - first < (high - low) * _NARROW:
        return None
    near = sample[(sample >= first - (last - first) / 10) & (sample <= last + (last - first) / 10)]
    return float(near.min()), float(near.max())


def widen_range(grey: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, bool]:
    """8-bit pixels (or, with ``counts``, each value once) as they are, or stretched where they use
    a sliver of black to white; and whether they were.
    """
    inner = narrow_range(grey, 0, 255, counts)
    if inner is None or inner[1] - inner[0] < _LEAST_LEVELS:
        return grey, False
    return _stretch(grey, *inner), True


def check_pixels(size: tuple[int, int], name: str) -> None:
    """Raises UnreadableImage where ``size`` (width, height) has more than MAX_PIXELS."""
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(too_large(name, f"{size[0]}x{size[1]}"))


def too_large(name: str, found: str) -> str:
    """The sentence for a picture of too many pixels."""
    return (
        f"{name} has too many pixels ({found}; at most {MAX_PIXELS // 1_000_000} megapixels); save"
        " it smaller, 2000 pixels a side are plenty."
    )
