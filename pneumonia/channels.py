"""What a layer's channels look like beside the X-ray they answer to: measures for such words as
plain, inverted, edges and more contrast.

Maps and pictures are compared at the maps' size. A measure is of one map of one X-ray; over many
X-rays it is averaged, so that no single picture decides what a channel is called.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

# A channel whose strongest likeness is below it is like none of the three.
LIKE = 0.3


@dataclass(frozen=True, eq=False)
class Likeness:
    """Of each map, float64 ``(N, C)``.

    Attributes:
        picture: correlation with the X-ray, -1 to 1; that with its negative has the other sign.
        edges: correlation with the X-ray's edges (the length of its gradient), -1 to 1.
        contrast: spread (standard deviation) of the map, stretched from its minimum to its maximum,
            as a multiple of that of the X-ray: above 1 contrast is turned up, below 1 down.
        brightness: mean of the map, in the unit of the layer.
    """

    picture: np.ndarray
    edges: np.ndarray
    contrast: np.ndarray
    brightness: np.ndarray


def likeness(maps: np.ndarray, pictures: np.ndarray) -> Likeness:
    """Measures every map against the X-ray that it answers to.

    Args:
        maps: ``(N, h, w, C)``, of a layer.
        pictures: ``(N, H, W)``, the X-rays as the network got them; not smaller than the maps.

    Raises:
        ValueError: there are not as many maps as pictures.
    """
    if maps.ndim != 4 or pictures.ndim != 3 or len(maps) != len(pictures):
        raise ValueError(
            f"Expected maps (N, h, w, C) and pictures (N, H, W), got {maps.shape} and"
            f" {pictures.shape}."
        )
    size = maps.shape[1:3]
    plain = np.stack([_reduce_map(picture, size) for picture in pictures])[..., None]
    edges = np.stack([_reduce_map(_gradient(picture), size) for picture in pictures])[..., None]
    values = maps.astype(np.float64)
    spread = _measure_spread(plain)
    return Likeness(
        _correlation(values, plain),
        _correlation(values, edges),
        _measure_spread(values) / np.where(spread > 0, spread, 1),
        values.mean(axis=(1, 2)),
    )


def kinds(picture: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """What each channel is like, by its mean correlations ``(C,)`` over many X-rays: ``edges``,
    ``plain``, ``inverted`` or ``other``.
    """
    names = np.array(["edges", "plain", "inverted", "other"])
    scores = np.stack([edges, picture, -picture, np.full_like(picture, LIKE)])
    return names[scores.argmax(axis=0)]


def _correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    one, other = (values - values.mean(axis=(1, 2), keepdims=True) for values in (maps, others))
    product = (one * other).sum(axis=(1, 2))
    lengths = np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)))
    # A map of one value goes with nothing.
    return product / np.where(lengths > 1e-12, lengths, np.inf)


def _measure_spread(maps: np.ndarray) -> np.ndarray:
    """The standard deviation of each map once it is stretched to 0..1; 0 of a map of one value."""
    span = maps.max(axis=(1, 2)) - maps.min(axis=(1, 2))
    return maps.std(axis=(1, 2)) / np.where(span > 1e-12, span, np.inf)


def _gradient(picture: np.ndarray) -> np.ndarray:
    down, across = np.gradient(picture.astype(np.float64))
    return np.hypot(down, across)


def _reduce_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BOX), dtype=np.float64)
