"""Pillow images and arrays to grey pixels, and the facts a input check may ask for;
:mod:`pneumonia.radiograph` is the way in.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

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
    """

    format: str | None = None
    mode: str = "L"
    frames: int = 1
    coloured: float = 0.0
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None


@contextmanager
def opened(stream: io.BytesIO, name: str) -> Iterator[Image.Image]:
    """Opens a file of one of FORMATS lazily; whatever goes wrong until the block ends becomes an
    UnreadableImage.
    """
    if not stream.getbuffer().nbytes:
        raise UnreadableImage(f"{name} is empty (0 bytes); export the X-ray again.")
    with explained(name), warnings.catch_warnings():
        # Pillow only warns between its own limit and twice that; ours is checked from the header
        # below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(stream, formats=FORMATS) as image:
            check_pixels(image.size, name)
            yield image


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises into an UnreadableImage with one sentence."""
    try:
        yield
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage(
            f"{name} is no picture that can be read here; use {READABLE}."
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImage(_too_large(name, "far more")) from None
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
    # Before exif_transpose(), whose copy has forgotten the file.
    facts = Facts(
        image.format if image.format in FORMATS else None,
        image.mode,
        int(getattr(image, "n_frames", 1)),
    )
    image = ImageOps.exif_transpose(image)
    if image.mode == "LAB":
        raise UnreadableImage(
            f"{name} is in the LAB colour space, which cannot be read here; save it as grey or RGB."
        )
    if image.mode == "La":
        # Pillow knows no way from premultiplied grey to RGBA but this.
        image = image.convert("LA")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return stretch(np.asarray(image, dtype=np.float64), name), facts
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
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
    return np.asarray(image.convert("L")), dataclasses.replace(facts, coloured=coloured)


def from_array(array: np.ndarray, name: str) -> tuple[np.ndarray, Facts]:
    """An array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` to uint8 ``(H, W)`` and
    its facts.
    """
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or not array.size:
        raise UnreadableImage(
            f"Expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}."
        )
    check_pixels((array.shape[1], array.shape[0]), name)
    if array.dtype == np.uint8:
        return from_image(Image.fromarray(np.ascontiguousarray(array)), name)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise UnreadableImage(f"Expected an array of numbers, got dtype {array.dtype}.")
    if array.ndim == 2:
        return stretch(array.astype(np.float64), name), Facts(mode=str(array.dtype))
    colours = array[..., :3].astype(np.float64)
    # The same luma weights as Pillow's convert("L").
    grey = stretch(colours @ _LUMA, name)
    step = max(1, -(-max(grey.shape) // _COLOUR_SIDE))
    return grey, Facts(
        mode=str(array.dtype), coloured=coloured_share(stretch(colours[::step, ::step], name))
    )


def coloured_share(colours: np.ndarray) -> float:
    """Share of pixels, 0 to 1, whose colour is not explained by their brightness; ``colours`` is
    uint8 ``(H, W, 3)``.

    A film on a blue base, a print gone yellow or a photograph of a light box has one tint for each
    grey value, and is none the less a grey picture. So the two colour differences (red and blue
    against luma) are compared with their medians among the pixels of like luma, 16 classes of it.
    """
    values = colours.reshape(-1, 3).astype(np.float64)
    luma = values @ _LUMA
    differences = values[:, [0, 2]] - luma[:, np.newaxis]
    classes = np.minimum(luma // 16, 15).astype(int)
    for number in np.unique(classes):
        members = classes == number
        differences[members] -= np.median(differences[members], axis=0)
    return float((np.hypot(differences[:, 0], differences[:, 1]) > _COLOURED).mean())


def stretch(values: np.ndarray, name: str) -> np.ndarray:
    """Float values to uint8, linearly from their own minimum (0) and maximum (255); all 0 where
    they are equal.
    """
    if not np.isfinite(values).all():
        raise UnreadableImage(
            f"{name} has pixels that are not finite numbers; export it again as an 8- or 16-bit"
            " image."
        )
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((values - low) * (255.0 / (high - low))).astype(np.uint8)


def check_pixels(size: tuple[int, int], name: str) -> None:
    """Raises UnreadableImage where ``size`` (width, height) has more than MAX_PIXELS."""
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(_too_large(name, f"{size[0]}x{size[1]}"))


def _too_large(name: str, found: str) -> str:
    return (
        f"{name} has too many pixels ({found}; at most {MAX_PIXELS // 1_000_000} megapixels); save"
        " it smaller, 2000 pixels a side are plenty."
    )
