"""Arrays to pictures: PIL images out, no plotting library's state, no files."""

from __future__ import annotations

import base64
import io

import matplotlib
import numpy as np
from PIL import Image

# Perceptually even and readable without colour vision, dark to bright like an X-ray.
COLOURMAP = "magma"
# Grey between the two halves of a pair: visible on a light page and on a dark one.
GAP, GAP_COLOUR = 6, (128, 128, 128)


def apply_colours(values: np.ndarray, colourmap: str = COLOURMAP) -> Image.Image:
    """Colours a map.

    Args:
        values: float ``(h, w)``, 0 to 1; what lies outside is clipped.
        colourmap: a name matplotlib knows; used as a table of 256 colours.

    Returns:
        RGB image of ``w`` by ``h`` pixels.

    Raises:
        ValueError: the array is not two-dimensional, or the colour map unknown.
    """
    return apply_palette(values, colourmap).convert("RGB")


def apply_palette(values: np.ndarray, colourmap: str = COLOURMAP) -> Image.Image:
    """As :func:`apply_colours`, but an image with a palette: a third of the bytes as PNG. Pixels
    can be repeated (:func:`enlarge`), not averaged.

    Raises:
        ValueError: as :func:`apply_colours`.
    """
    if values.ndim != 2:
        raise ValueError(f"Expected one map (h, w), got {values.shape}.")
    if colourmap not in matplotlib.colormaps:
        raise ValueError(
            f"There is no colour map {colourmap!r}; take one of matplotlib's, such as {COLOURMAP},"
            " viridis or gray."
        )
    image = Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))
    image.putpalette(matplotlib.colormaps[colourmap](np.arange(256), bytes=True)[:, :3].tobytes())
    return image


def film(values: np.ndarray, colourmap: str, opacity: float = 1.0) -> Image.Image:
    """Colours a map on a transparent ground, to be laid over an X-ray.

    Args:
        values: float ``(h, w)``, 0 to 1: the share of ``opacity`` that a pixel gets; what lies
            outside is clipped.
        colourmap: a name matplotlib knows.
        opacity: 0 to 1, where a value is 1.

    Returns:
        RGBA image of ``w`` by ``h`` pixels.

    Raises:
        ValueError: the opacity is outside 0..1, the array is not two-dimensional, or the colour map
            unknown.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"Expected an opacity in 0..1, got {opacity}.")
    image = apply_colours(values, colourmap)
    image.putalpha(
        Image.fromarray(np.rint(np.clip(values, 0, 1) * (255 * opacity)).astype(np.uint8))
    )
    return image


def enlarge(image: Image.Image, side: int) -> Image.Image:
    """Repeats each pixel a whole number of times until the longer side has ``side`` pixels or more;
    squares stay squares and edges stay crisp.
    """
    factor = max(1, -(-side // max(image.size)))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Scales down, keeping the aspect, until the longer side has ``side`` pixels at most; a smaller
    image stays as it is.
    """
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def pair(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two images of one height side by side with a grey gap between them, RGB.

    Raises:
        ValueError: their heights differ.
    """
    if left.height != right.height:
        raise ValueError(
            f"Expected two images of one height, got {left.height} and {right.height} pixels."
        )
    joined = Image.new("RGB", (left.width + GAP + right.width, left.height), GAP_COLOUR)
    joined.paste(left, (0, 0))
    joined.paste(right, (left.width + GAP, 0))
    return joined


def data_uri(image: Image.Image, form: str = "PNG") -> str:
    """The image as a ``data:`` address, so that a page shows it without any file being written:
    ``PNG`` for maps, ``JPEG`` for X-rays.
    """
    buffer = io.BytesIO()
    image.save(buffer, form, quality=88)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
