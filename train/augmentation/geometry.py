"""Random geometry with the distribution of Keras's deprecated ImageDataGenerator, in one vectorised
step a batch.

The generator drew a rotation, two shifts, a shear (degrees), two zooms and flips for each image and
resampled it alone with scipy. Here the same draws become one affine matrix an image, and TensorFlow
resamples the batch at once. Source of the composition: ``keras.src.legacy.preprocessing.image``
(``get_random_transform``, ``apply_affine_transform``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pneumonia.backend import tf


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

    def apply(
        self, images: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        """One random view of each image: ``(N, H, W)`` to float32 ``(N, H, W)``; ``size`` is that
        of the images.
        """
        return warp(images, draw(self, len(images), size, rng))


def draw(
    geometry: Geometry, count: int, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Draws ``count`` affine matrices, float64 ``(count, 3, 3)``, that map output (x, y, 1) to
    input (x, y, 1), in pixels, x to the right.
    """
    height, width = size

    def uniform(limit: float) -> np.ndarray:
        return rng.uniform(-limit, limit, count)

    matrices = affine(
        rotation=np.deg2rad(uniform(geometry.rotation)),
        shift_x=uniform(geometry.shift) * width,
        shift_y=uniform(geometry.shift) * height,
        shear=np.deg2rad(uniform(geometry.shear)),
        zoom_x=1 + uniform(geometry.zoom),
        zoom_y=1 + uniform(geometry.zoom),
        size=size,
    )
    if geometry.vertical_flip:
        matrices = _flip_some(matrices, rng.random(count) < 0.5, axis=1, last=height - 1)
    if geometry.horizontal_flip:
        matrices = _flip_some(matrices, rng.random(count) < 0.5, axis=0, last=width - 1)
    return matrices


def affine(
    *,
    rotation: np.ndarray,
    shift_x: np.ndarray,
    shift_y: np.ndarray,
    shear: np.ndarray,
    zoom_x: np.ndarray,
    zoom_y: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Composes rotation x shift x shear x zoom about the centre of the image, as the generator
    does, but with the true centre of an oblong image.

    Args:
        rotation, shear: radians, ``(N,)``.
        shift_x, shift_y: pixels, ``(N,)``; positive values move the content left and up, for the
            matrix maps output to input.
        zoom_x, zoom_y: factors, ``(N,)``; below 1 magnifies.
        size: ``(height, width)``.

    Returns:
        float64 ``(N, 3, 3)``, output (x, y, 1) to input (x, y, 1).
    """
    zero, one = np.zeros_like(rotation), np.ones_like(rotation)

    def stack_rows(*rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    last_row = (zero, zero, one)
    turn = stack_rows(
        (np.cos(rotation), -np.sin(rotation), zero),
        (np.sin(rotation), np.cos(rotation), zero),
        last_row,
    )
    move = stack_rows((one, zero, shift_x), (zero, one, shift_y), last_row)
    slant = stack_rows((one, -np.sin(shear), zero), (zero, np.cos(shear), zero), last_row)
    scale = stack_rows((zoom_x, zero, zero), (zero, zoom_y, zero), last_row)
    centre_x, centre_y = size[1] / 2 - 0.5, size[0] / 2 - 0.5
    to_centre = np.array([[1, 0, centre_x], [0, 1, centre_y], [0, 0, 1]])
    from_centre = np.array([[1, 0, -centre_x], [0, 1, -centre_y], [0, 0, 1]])
    return to_centre @ turn @ move @ slant @ scale @ from_centre


def warp(images: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Resamples images bilinearly; what lies outside takes the nearest edge pixel.

    Args:
        images: ``(N, H, W)``, any real dtype.
        matrices: ``(N, 3, 3)`` from :func:`draw` or :func:`affine`.

    Returns:
        float32 ``(N, H, W)``, in the range of the input.
    """
    with tf.device("/CPU:0"):
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.convert_to_tensor(images[..., np.newaxis], tf.float32),
            transforms=tf.convert_to_tensor(matrices.reshape(-1, 9)[:, :8], tf.float32),
            output_shape=list(images.shape[1:3]),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
    return warped.numpy()[..., 0]


def _flip_some(matrices: np.ndarray, chosen: np.ndarray, axis: int, last: int) -> np.ndarray:
    # The generator flips after it has warped, so the flip acts on output coordinates: it multiplies
    # from the right.
    flip = np.eye(3)
    flip[axis, axis], flip[axis, 2] = -1, last
    return np.where(chosen[:, np.newaxis, np.newaxis], matrices @ flip, matrices)
