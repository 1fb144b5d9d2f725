"""Views in which the framing of a chest says nothing of its class.

The published pictures were squeezed square, each by as much as it was wide, so how the lungs stand
in their square tells the classes of the train folder apart (AUC .86). Here each picture is first
drawn into the lung outline's box of a random other training picture, as often of a healthy child
as of an ill one, anew for each view; then cropped, turned and altered as
:class:`train.augmentation.policy.Policy` does. One affine warp does both.

A chest drawn smaller than it was leaves the picture's edge in sight, and how thick that border is
tells how the chest stood before. So most views are cut such that they stay inside the picture, any
view may lose a random margin, and what lies beyond is black, a random grey, or the edge drawn out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.augmentation.policy import Policy, affine, transform_images


@dataclass(frozen=True)
class Boxes:
    """The outlines of both lungs that framings are drawn from.

    Attributes:
        boxes: ``(M, 4)``, of each training picture centre x and y, log half-width and log
            half-height, shares of the picture's sides (:func:`pneumonia.lungs.place`).
        labels: ``(M,)``, 1 is PNEUMONIA.
    """

    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Crops:
    """Where views look, float64 ``(N,)`` or ``(N, 4)``, as shares of the pictures' sides.

    Attributes:
        x, y: the view's centre.
        wide, high: what of the picture's width and height it spans; above 1 it reaches beyond.
        angle: radians.
        known: left, top, right, bottom of what is shown of the picture; beyond is border.
    """

    x: np.ndarray
    y: np.ndarray
    wide: np.ndarray
    high: np.ndarray
    angle: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class ReframedPolicy(Policy):
    """A :class:`Policy` whose pictures are first drawn into the outline box of a random other one.

    Attributes:
        as_is: share of the views that keep their own framing.
        inside: share of the others that are made smaller and moved as far as is needed to stay
            inside the picture.
        bordered: chance that each side of the picture loses a margin.
        border: the most that it loses, as a share of the picture's side.
    """

    as_is: float = 0.15
    inside: float = 0.7
    bordered: float = 0.4
    border: float = 0.25

    def reframe(
        self,
        images: np.ndarray,
        size: tuple[int, int],
        rng: np.random.Generator,
        own: np.ndarray,
        others: Boxes,
    ) -> np.ndarray:
        """Draws one view of each image, not mirrored, without letters and shut margins, which are
        left to :meth:`mark_views`.

        Args:
            images: uint8 ``(N, H, W)``.
            size: ``(height, width)`` of the views in pixels.
            rng: every draw comes from it.
            own: ``(N, 4)``, the boxes of these images, as in :class:`Boxes`.
            others: of all training pictures.

        Returns:
            uint8 ``(N, height, width)``.
        """
        views = warp(images, size, self.crops(own, others, rng), rng)
        if self.detail:
            views = self._process_views(views, rng)
        return self._encode_some(self._expose_views(views, rng), size, rng)

    def crops(self, own: np.ndarray, others: Boxes, rng: np.random.Generator) -> Crops:
        """Draws where views look; the arguments are those of :meth:`reframe`."""
        count = len(own)
        healthy, ill = np.flatnonzero(others.labels == 0), np.flatnonzero(others.labels == 1)
        other = np.where(
            rng.random(count) < 0.5,
            healthy[rng.integers(len(healthy), size=count)],
            ill[rng.integers(len(ill), size=count)],
        )
        keep = rng.random(count) < self.as_is
        target = np.where(keep[:, np.newaxis], own, others.boxes[other])
        # Shares of the picture that one share of the reframed picture spans.
        stretch = np.exp(own[:, 2:] - target[:, 2:])
        area = rng.uniform(self.smallest_area, 1.0, count)
        ratio = np.exp(rng.uniform(-self.aspect, self.aspect, count))
        wide, high = np.minimum(np.sqrt(area * ratio), 1.0), np.minimum(np.sqrt(area / ratio), 1.0)
        outwards, reach = rng.random(count) < self.zoom_out, 1 / rng.uniform(0.7, 1.0, count)
        wide = np.where(outwards, reach * np.sqrt(ratio), wide)
        high = np.where(outwards, reach / np.sqrt(ratio), high)
        left, top = rng.random(count) * (1 - wide), rng.random(count) * (1 - high)
        x = own[:, 0] + (left + wide / 2 - target[:, 0]) * stretch[:, 0]
        y = own[:, 1] + (top + high / 2 - target[:, 1]) * stretch[:, 1]
        wide, high = wide * stretch[:, 0], high * stretch[:, 1]
        within = (rng.random(count) < self.inside) & ~outwards & (target != own).any(axis=1)
        smaller = np.where(within, np.minimum(1.0, 1 / np.maximum(wide, high)), 1.0)
        wide, high = wide * smaller, high * smaller
        x = np.where(within, np.clip(x, wide / 2, 1 - wide / 2), x)
        y = np.where(within, np.clip(y, high / 2, 1 - high / 2), y)
        lost = rng.random((count, 4)) < self.bordered
        margins = np.where(lost, rng.uniform(0, self.border, (count, 4)), 0.0)
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, count))
        known = np.hstack([margins[:, :2], 1 - margins[:, 2:]])
        return Crops(x, y, wide, high, angle, known)


def warp(
    images: np.ndarray, size: tuple[int, int], crops: Crops, rng: np.random.Generator
) -> np.ndarray:
    """Reads crops out of pictures.

    Args:
        images: uint8 ``(N, H, W)``.
        size: ``(height, width)`` of the views.
        crops: where they look.
        rng: draws what lies beyond what is known: black (0.4), a grey (0.3) or the edge drawn out.

    Returns:
        float32 ``(N, height, width)``, 0 to 255.
    """
    count, (height, width) = len(images), images.shape[1:3]
    transforms = affine(
        size,
        crops.angle,
        (crops.wide * width / size[1], crops.high * height / size[0]),
        (crops.x * width - 0.5, crops.y * height - 0.5),
    )
    views = transform_images(images, transforms, size, "NEAREST")
    a, b, shift_x, c, d, shift_y = transforms.T[:6]
    kind, grey = rng.random(count), rng.uniform(0, 255, count)
    rows, columns = np.arange(size[0])[:, np.newaxis], np.arange(size[1])
    for index in np.flatnonzero(kind < 0.7):
        # Where each pixel comes from, as shares of the picture.
        x = (a[index] * columns + b[index] * rows + shift_x[index] + 0.5) / width
        y = (c[index] * columns + d[index] * rows + shift_y[index] + 0.5) / height
        left, top, right, bottom = crops.known[index]
        beyond = (x < left) | (x > right) | (y < top) | (y > bottom)
        views[index][beyond] = 0.0 if kind[index] < 0.4 else grey[index]
    return views
