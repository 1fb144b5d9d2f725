"""What may happen to an X-ray on its way to a reader without changing what is in it: another
framing, exposure, aspect, sharpness, encoding.

A validation split looks like the images that were learned from; the X-rays of another day or
hospital do not. Measured under this fixed set, a network's weakest answers show before a stranger
finds them (the idea of ImageNet-C: Hendrycks and Dietterich, ICLR 2019). All take and give uint8
``(H, W)``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Corruption: TypeAlias = Callable[[np.ndarray], np.ndarray]
# The share of each side that counts as border: the markers, collar bones and arms of most X-rays,
# and little lung.
BORDER = 0.12


def crop(pixels: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """Cuts shares of height and width off the four sides and stretches the rest back to the old
    size.

    Raises:
        ValueError: nothing would be left.
    """
    height, width = pixels.shape
    if top + bottom >= 1 or left + right >= 1:
        raise ValueError(
            f"The shares cut off must leave something: top {top} and bottom {bottom}, left {left}"
            f" and right {right} do not."
        )
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return np.asarray(
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box)
    )


def border(pixels: np.ndarray, scale: float, fill: int = 0) -> np.ndarray:
    """Shrinks the picture to ``scale`` of its sides and centres it on a plain border of grey value
    ``fill``.
    """
    height, width = pixels.shape
    small = Image.fromarray(pixels).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR
    )
    framed = Image.new("L", (width, height), fill)
    framed.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return np.asarray(framed)


def gamma(pixels: np.ndarray, exponent: float) -> np.ndarray:
    """Raises grey values, as shares of 255, to a power: below 1 brightens, above 1 darkens, black
    and white stay.
    """
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return table[pixels]


def contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Scales the distance of each grey value from the picture's mean; below 1 flattens. Clipped to
    0..255.
    """
    mean = pixels.mean()
    return np.clip(np.rint(mean + (pixels - mean) * factor), 0, 255).astype(np.uint8)


def brightness(pixels: np.ndarray, shift: float) -> np.ndarray:
    """Adds ``shift`` grey values of 255 to all; clipped to 0..255."""
    return np.clip(np.rint(pixels + float(shift)), 0, 255).astype(np.uint8)


def aspect(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """Stretches the picture to ``ratio`` times its width over height, cutting off what no longer
    fits: above 1 is wider and loses its sides.
    """
    cut = (1 - min(ratio, 1 / ratio)) / 2
    return crop(pixels, 0, 0, cut, cut) if ratio > 1 else crop(pixels, cut, cut, 0, 0)


def blur(pixels: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur; ``radius`` is the standard deviation as a share of the shorter side."""
    return np.asarray(
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius * min(pixels.shape)))
    )


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Encodes as JPEG of a quality from 1 to 95, and decodes."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality)
    with Image.open(encoded, formats=("JPEG",)) as copy:
        return np.asarray(copy)


def rotate(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Turns counter-clockwise about the centre; corners that were outside are black."""
    return np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR))


def letter(
    pixels: np.ndarray, text: str = "R", height: float = 0.14, left: float = 0.02, top: float = 0.2
) -> np.ndarray:
    """Burns a marker in, white, as X-ray machines do for the patient's right side.

    Args:
        pixels: uint8 ``(H, W)``.
        text: what it says.
        height: size of the type, a share of the picture's height; a capital takes three quarters of
            it.
        left, top: where the type begins, shares of width and height.
    """
    picture = Image.fromarray(pixels)
    rows, columns = pixels.shape
    ImageDraw.Draw(picture).text(
        (left * columns, top * rows), text, fill=235, font=ImageFont.load_default(height * rows)
    )
    return np.asarray(picture)


def shut(pixels: np.ndarray, share: float = BORDER) -> np.ndarray:
    """Blackens the outer ``share`` of each side, as a collimator does: black is what lies beside a
    chest on most X-rays.
    """
    height, width = pixels.shape
    top, left = round(share * height), round(share * width)
    kept = np.zeros_like(pixels)
    kept[top : height - top, left : width - left] = pixels[top : height - top, left : width - left]
    return kept


# Each strong enough to be seen at a glance, none strong enough to hide a consolidation from a
# radiologist. The strengths were fixed before any network was measured under them, and are not to
# be tuned: what is chosen by them would be chosen by the tuning.
CORRUPTIONS: dict[str, Corruption] = {
    "tight crop": lambda pixels: crop(pixels, 0.10, 0.10, 0.10, 0.10),
    "high crop": lambda pixels: crop(pixels, 0.0, 0.22, 0.08, 0.08),
    "low crop": lambda pixels: crop(pixels, 0.18, 0.0, 0.08, 0.08),
    "black border": lambda pixels: border(pixels, 0.8),
    "grey border": lambda pixels: border(pixels, 0.86, 128),
    "gamma 0.6": lambda pixels: gamma(pixels, 0.6),
    "gamma 1.7": lambda pixels: gamma(pixels, 1.7),
    "low contrast": lambda pixels: contrast(pixels, 0.55),
    "high contrast": lambda pixels: contrast(pixels, 1.5),
    "wide aspect": lambda pixels: aspect(pixels, 1.3),
    "tall aspect": lambda pixels: aspect(pixels, 1 / 1.3),
    "blur": lambda pixels: blur(pixels, 0.009),
    "jpeg 20": lambda pixels: jpeg(pixels, 20),
    "turned left": lambda pixels: rotate(pixels, 8),
    "turned right": lambda pixels: rotate(pixels, -8),
}
# The same in words; every table and picture of them says these.
TITLES = {
    "tight crop": "cropped by a tenth a side",
    "high crop": "the lowest fifth cut off, and 8% a side",
    "low crop": "the uppermost fifth cut off, and 8% a side",
    "black border": "a black border added",
    "grey border": "a grey border added",
    "gamma 0.6": "mid-tones brighter (gamma 0.6)",
    "gamma 1.7": "mid-tones darker (gamma 1.7)",
    "low contrast": "less contrast",
    "high contrast": "more contrast",
    "wide aspect": "stretched wider, by 30%",
    "tall aspect": "stretched taller, by 30%",
    "blur": "blurred",
    "jpeg 20": "stored as a poor JPEG",
    "turned left": "turned 8° to the left",
    "turned right": "turned 8° to the right",
}
