"""Strong random framing, exposure and encoding: what separates one hospital's X-rays from
another's, and from what is in them.

Random-resized crops and aspect follow Szegedy et al. (CVPR 2015), erased rectangles Zhong et al.
(AAAI 2020). Everything is drawn from the generator handed in, so the same seed gives the same
images.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pneumonia.backend import tf

# Deviations of the Gaussians that part fine detail from middle and middle from coarse, shares of
# the shorter side: ribs' edges and vessels, ribs and opacities.
BANDS = (0.012, 0.06)
# What is burnt into X-rays: side, projection, position, numbers; in the typefaces that come with
# matplotlib.
MARKERS = ("R", "L", "R", "A-P", "AP", "P-A", "PA", "D", "E", "P", "12", "3074", "AUTO")
FONTS = tuple(
    Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVu{name}.ttf")
    for name in ("Sans", "Sans-Bold", "Serif", "Serif-Bold", "SansMono")
)


@dataclass(frozen=True)
class Policy:
    """How far a training image may be taken from its file.

    Attributes:
        smallest_area: share of the picture that a crop keeps at least; uniform up to the whole.
        aspect: the crop's width over height is that of the picture times e to the power of a
            uniform draw in ±aspect.
        rotation: degrees, uniform in ±rotation.
        zoom_out: chance that the picture is shrunk instead of cropped, to between 70 and 100% of
            its sides.
        horizontal_flip: with a chance of one half.
        gamma: exponent e to the power of a uniform draw in ±gamma.
        contrast: distance from the image's mean times e to the power of a uniform draw in
            ±contrast.
        brightness: shift, share of 255, uniform in ±brightness.
        blur: chance of a Gaussian blur with a deviation up to 1.2% of the side.
        jpeg: chance of JPEG encoding at a quality between 15 and 80.
        detail: fine and middle detail (finer than 1.2% and 6% of the side) are each multiplied by e
            to the power of a uniform draw in ±detail, as machines that sharpen or soften would have
            them.
        letters: chance that one to three letters are burnt in somewhere, as markers of side and
            position are: their kind and place tell machines apart.
        collimate: chance that each side is blacked by up to ``margin`` of the view, as a collimator
            shuts out arms, chin and belly.
        margin: the most that one side loses, as a share of the view's height or width.
    """

    smallest_area: float = 0.35
    aspect: float = 0.3
    rotation: float = 0.0
    zoom_out: float = 0.0
    horizontal_flip: bool = True
    gamma: float = 0.4
    contrast: float = 0.4
    brightness: float = 0.15
    blur: float = 0.0
    jpeg: float = 0.0
    detail: float = 0.0
    letters: float = 0.0
    collimate: float = 0.0
    margin: float = 0.12

    def apply(
        self, images: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        """Draws one view of each image.

        Args:
            images: uint8 ``(N, H, W)``.
            size: ``(height, width)`` of the views in pixels.
            rng: every draw comes from it.

        Returns:
            uint8 ``(N, height, width)``.
        """
        views = self._frame_views(images, size, rng)
        if self.detail:
            views = self._process_views(views, rng)
        views = self._expose_views(views, rng)
        return self.mark_views(self._encode_some(views, size, rng), rng)

    def mark_views(self, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The last step of :meth:`apply`, ``collimate`` and ``letters``: what hides or covers some
        of a view and changes nothing in it.

        Args:
            views: uint8 ``(N, H, W)``; changed in place.
            rng: every draw comes from it.

        Returns:
            The views.
        """
        for index in (
            np.flatnonzero(rng.random(len(views)) < self.collimate) if self.collimate else ()
        ):
            views[index] = _collimate_view(views[index], self.margin, rng)
        for index in np.flatnonzero(rng.random(len(views)) < self.letters) if self.letters else ():
            views[index] = _letter_view(views[index], rng)
        return views

    def _encode_some(
        self, views: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        for index in range(len(views)):
            # Drawn whether used or not, so that one chance more or less leaves all other draws as
            # they were. The first chance and amounts were those of an alteration that is gone.
            (_, blur, jpeg), amounts = rng.random(3), rng.random(8)
            if blur < self.blur:
                radius = 0.012 * min(size) * float(amounts[5])
                views[index] = np.asarray(
                    Image.fromarray(views[index]).filter(ImageFilter.GaussianBlur(radius))
                )
            if jpeg < self.jpeg:
                views[index] = _encode_view(views[index], round(15 + 65 * float(amounts[6])))
        return views

    def _frame_views(
        self, images: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        count, (height, width) = len(images), images.shape[1:3]
        area = rng.uniform(self.smallest_area, 1.0, count)
        ratio = np.exp(rng.uniform(-self.aspect, self.aspect, count))
        # Shares of the picture's sides that a view shows; a crop does not reach over the edge, a
        # picture zoomed out does on all sides.
        wide, high = np.minimum(np.sqrt(area * ratio), 1.0), np.minimum(np.sqrt(area / ratio), 1.0)
        outwards, reach = rng.random(count) < self.zoom_out, 1 / rng.uniform(0.7, 1.0, count)
        wide, high = (
            np.where(outwards, reach * np.sqrt(ratio), wide),
            np.where(outwards, reach / np.sqrt(ratio), high),
        )
        left, top = rng.random(count) * (1 - wide), rng.random(count) * (1 - high)
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, count))
        mirrored = (
            np.where(rng.random(count) < 0.5, -1.0, 1.0) if self.horizontal_flip else np.ones(count)
        )
        # Output pixel -> share of the view from its centre -> turned in pixels of the picture ->
        # moved to the view's centre.
        scale_x, scale_y = mirrored * wide * width / size[1], high * height / size[0]
        centre_x, centre_y = (left + wide / 2) * width - 0.5, (top + high / 2) * height - 0.5
        transforms = affine(size, angle, (scale_x, scale_y), (centre_x, centre_y))
        # Beyond the edge: black, as a collimator leaves it, or the edge drawn out, so that neither
        # becomes a sign of anything.
        black = rng.random() < 0.5
        return transform_images(images, transforms, size, "CONSTANT" if black else "NEAREST")

    def _process_views(self, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        gains = np.exp(rng.uniform(-self.detail, self.detail, (len(views), 2))).astype(np.float32)
        side = min(views.shape[1:])
        processed = np.empty_like(views)
        for index, (view, (fine, middle)) in enumerate(zip(views, gains, strict=True)):
            picture = Image.fromarray(np.rint(view).astype(np.uint8))
            smooth, smoothest = (
                np.asarray(picture.filter(ImageFilter.GaussianBlur(share * side)), np.float32)
                for share in BANDS
            )
            processed[index] = np.clip(
                smoothest + middle * (smooth - smoothest) + fine * (view - smooth), 0, 255
            )
        return processed

    def _expose_views(self, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count = len(views)

        def uniform(limit: float) -> np.ndarray:
            return rng.uniform(-limit, limit, count).astype(np.float32)[:, np.newaxis, np.newaxis]

        shares = (views / np.float32(255)) ** np.exp(uniform(self.gamma))
        mean = shares.mean(axis=(1, 2), keepdims=True)
        shares = mean + (shares - mean) * np.exp(uniform(self.contrast)) + uniform(self.brightness)
        return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def affine(
    size: tuple[int, int],
    angle: np.ndarray,
    scale: tuple[np.ndarray, np.ndarray],
    centre: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Where the pixels of views come from, as TensorFlow takes it.

    Args:
        size: ``(height, width)`` of the views.
        angle: radians ``(N,)``.
        scale: pixels of the picture to one of a view, across and down, each ``(N,)``; below 0 a
            view is mirrored.
        centre: of the views in the picture, x and y in pixels, each ``(N,)``.

    Returns:
        float64 ``(N, 8)``: a, b, shift across, c, d, shift down, 0, 0.
    """
    a, b = np.cos(angle) * scale[0], -np.sin(angle) * scale[1]
    c, d = np.sin(angle) * scale[0], np.cos(angle) * scale[1]
    middle_x, middle_y = (size[1] - 1) / 2, (size[0] - 1) / 2
    shift_x = centre[0] - a * middle_x - b * middle_y
    shift_y = centre[1] - c * middle_x - d * middle_y
    zero = np.zeros(len(angle))
    return np.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=1)


def transform_images(
    images: np.ndarray, transforms: np.ndarray, size: tuple[int, int], fill_mode: str
) -> np.ndarray:
    """Reads views out of pictures by :func:`affine` transforms: float32 ``(N, height, width)`` of
    uint8 ``(N, H, W)``; beyond the edge black (``CONSTANT``) or the edge drawn out (``NEAREST``).
    """
    with tf.device("/CPU:0"):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.convert_to_tensor(images[..., np.newaxis], tf.float32),
            transforms=tf.convert_to_tensor(transforms, tf.float32),
            output_shape=list(size),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode=fill_mode,
        ).numpy()[..., 0]


def _collimate_view(view: np.ndarray, margin: float, rng: np.random.Generator) -> np.ndarray:
    height, width = view.shape
    top, bottom, left, right = np.rint(
        rng.uniform(0, margin, 4) * (height, height, width, width)
    ).astype(int)
    kept = np.zeros_like(view)
    kept[top : height - bottom, left : width - right] = view[
        top : height - bottom, left : width - right
    ]
    return kept


def _letter_view(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    picture = Image.fromarray(view)
    height, width = view.shape
    for _ in range(int(rng.integers(1, 4))):
        font = ImageFont.truetype(
            str(FONTS[rng.integers(len(FONTS))]), max(6, round(rng.uniform(0.05, 0.16) * height))
        )
        place = (rng.uniform(-0.02, 0.96) * width, rng.uniform(-0.04, 0.94) * height)
        ImageDraw.Draw(picture).text(
            place, MARKERS[rng.integers(len(MARKERS))], fill=int(rng.integers(120, 256)), font=font
        )
    return np.asarray(picture)


def _encode_view(view: np.ndarray, quality: int) -> np.ndarray:
    encoded = io.BytesIO()
    Image.fromarray(view).save(encoded, "JPEG", quality=quality)
    with Image.open(encoded, formats=("JPEG",)) as copy:
        return np.asarray(copy)
