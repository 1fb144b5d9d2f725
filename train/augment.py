"""Random geometry with the distribution of Keras's deprecated ImageDataGenerator, in one vectorised step a batch.

The generator drew a rotation, two shifts, a shear (degrees), two zooms and flips for each image and resampled it alone with scipy. Here the same draws become
one affine matrix an image, and TensorFlow resamples the batch at once. Source of the composition: ``keras.src.legacy.preprocessing.image``
(``get_random_transform``, ``apply_affine_transform``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Geometry:
    """What may happen to an image, named and scaled as ImageDataGenerator does.

    Attributes:
        rotation: degrees, uniform in ±rotation.
        shift: share of height and of width, each uniform in ±shift.
        shear: degrees, uniform in ±shear.
        zoom: each axis's factor is uniform in 1 ± zoom; below 1 magnifies.
        vertical_flip, horizontal_flip: with a chance of one half each.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    vertical_flip: bool = False
    horizontal_flip: bool = False


def draw(geometry: Geometry, count: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draws ``count`` affine matrices, float64 ``(count, 3, 3)``, that map output (row, column, 1) to input (row, column, 1), in pixels."""
    height, width = size

    def uniform(limit: float) -> np.ndarray:
        return rng.uniform(-limit, limit, count)

    matrices = affine(
        rotation=np.deg2rad(uniform(geometry.rotation)),
        shift_rows=uniform(geometry.shift) * height,
        shift_columns=uniform(geometry.shift) * width,
        shear=np.deg2rad(uniform(geometry.shear)),
        zoom_rows=1 + uniform(geometry.zoom),
        zoom_columns=1 + uniform(geometry.zoom),
        size=size,
    )
    if geometry.vertical_flip:
        matrices = _flipped(matrices, rng.random(count) < 0.5, axis=0, last=height - 1)
    if geometry.horizontal_flip:
        matrices = _flipped(matrices, rng.random(count) < 0.5, axis=1, last=width - 1)
    return matrices


def affine(
    *,
    rotation: np.ndarray,
    shift_rows: np.ndarray,
    shift_columns: np.ndarray,
    shear: np.ndarray,
    zoom_rows: np.ndarray,
    zoom_columns: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Composes rotation x shift x shear x zoom about the centre of the image, angles in radians, as the generator does; float64 ``(N, 3, 3)``."""
    zero, one = np.zeros_like(rotation), np.ones_like(rotation)

    def stacked(*rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    last_row = (zero, zero, one)
    turn = stacked((np.cos(rotation), -np.sin(rotation), zero), (np.sin(rotation), np.cos(rotation), zero), last_row)
    move = stacked((one, zero, shift_rows), (zero, one, shift_columns), last_row)
    slant = stacked((one, -np.sin(shear), zero), (zero, np.cos(shear), zero), last_row)
    scale = stacked((zoom_rows, zero, zero), (zero, zoom_columns, zero), last_row)
    centre_row, centre_column = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    to_centre = np.array([[1, 0, centre_row], [0, 1, centre_column], [0, 0, 1]])
    from_centre = np.array([[1, 0, -centre_row], [0, 1, -centre_column], [0, 0, 1]])
    return to_centre @ turn @ move @ slant @ scale @ from_centre


def warp(images: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Resamples images bilinearly; what lies outside takes the nearest edge pixel.

    Args:
        images: ``(N, H, W)``, any real dtype.
        matrices: ``(N, 3, 3)`` from :func:`draw` or :func:`affine`.

    Returns:
        float32 ``(N, H, W)``, in the range of the input.
    """
    # TensorFlow's op counts (x, y) where the matrices count (row, column).
    swapped = matrices[:, [1, 0, 2]][:, :, [1, 0, 2]].reshape(-1, 9)[:, :8]
    with tf.device("/CPU:0"):
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.convert_to_tensor(images[..., np.newaxis], tf.float32),
            transforms=tf.convert_to_tensor(swapped, tf.float32),
            output_shape=list(images.shape[1:3]),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
    return warped.numpy()[..., 0]


def _flipped(matrices: np.ndarray, chosen: np.ndarray, axis: int, last: int) -> np.ndarray:
    # The generator flips after it has warped, so the flip acts on output coordinates: it multiplies from the right.
    flip = np.eye(3)
    flip[axis, axis], flip[axis, 2] = -1, last
    return np.where(chosen[:, np.newaxis, np.newaxis], matrices @ flip, matrices)
