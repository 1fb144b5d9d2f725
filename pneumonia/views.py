"""The looks at one picture that an answer is the mean of: as it is, mirrored, in true proportions.

The published pictures were squeezed square, each by as much as it was wide, so how the chest stands
in its square differs between the classes of the train folder and says nothing of the lungs. A
``level`` view stretches the picture until the outline of both lungs (:func:`pneumonia.lungs.place`)
is as wide as it is high. Averaging a network's answers over views is test-time augmentation
(Krizhevsky et al., NeurIPS 2012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pneumonia import lungs


@dataclass(frozen=True)
class View:
    """How a view is cut from a picture; what lies beyond the picture's edge is black.

    Attributes:
        scale: of a plain view, the sides it spans over those of the picture; of a level one, half
            the width and half the height of the lungs' outline over the view's sides.
        level: whether the lungs' outline is brought to equal width and height, in the middle.
        angle: degrees by which the picture is turned first, counter-clockwise.
        mirrored: left to right.
    """

    scale: float = 1.0
    level: bool = False
    angle: float = 0.0
    mirrored: bool = False


PLAIN = "plain"
VIEWS: Mapping[str, View] = {
    PLAIN: View(),
    "mirror": View(mirrored=True),
    "level": View(scale=0.36, level=True),
    "level-mirror": View(scale=0.36, level=True, mirrored=True),
    "full": View(scale=0.44, level=True),
    "left": View(angle=5.0),
    "right-mirror": View(angle=-5.0, mirrored=True),
    "wide": View(scale=1.12),
}


def draw_views(prepared: np.ndarray, names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Cuts views from pictures.

    Args:
        prepared: uint8 ``(N, H, W)``, the published form (:func:`pneumonia.radiograph.resize` to
            ``COPY_SIZE``).
        names: V names of :data:`VIEWS`.
        size: ``(height, width)`` of the views in pixels.

    Returns:
        uint8 ``(V, N, height, width)``.

    Raises:
        KeyError: there is no such view.
    """
    chosen = [VIEWS[name] for name in names]
    drawn = np.empty((len(chosen), len(prepared), *size), np.uint8)
    for index, picture in enumerate(prepared):
        pose = lungs.place(picture) if any(view.level for view in chosen) else None
        for number, view in enumerate(chosen):
            drawn[number, index] = draw_view(picture, view, size, pose)
    return drawn


def draw_view(
    picture: np.ndarray, view: View, size: tuple[int, int], pose: np.ndarray | None = None
) -> np.ndarray:
    """One view of one picture, uint8 ``(height, width)``.

    Args:
        picture: uint8 ``(H, W)``.
        view: how to cut it.
        size: ``(height, width)`` in pixels.
        pose: where the lungs are, as :func:`pneumonia.lungs.place` gives it; for a level view.

    Raises:
        ValueError: the view is level and no pose was given.
    """
    centre_x = centre_y = 0.5
    half_x = half_y = 0.5 * view.scale
    if view.level:
        if pose is None:
            raise ValueError("A level view needs pose=, where the lungs are; see lungs.place().")
        centre_x, centre_y = float(pose[0]), float(pose[1])
        half_x, half_y = (float(np.exp(side)) * 0.5 / view.scale for side in pose[2:4])
    left, right = centre_x - half_x, centre_x + half_x
    top, bottom = centre_y - half_y, centre_y + half_y
    cut = cut_box(picture, (left, top, right, bottom), size, angle=view.angle)
    return cut[:, ::-1] if view.mirrored else cut


def cut_box(
    picture: np.ndarray,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    *,
    angle: float = 0.0,
) -> np.ndarray:
    """A box of a picture at another size, black where it reaches beyond the picture: uint8
    ``(height, width)``.

    Args:
        picture: uint8 ``(H, W)``.
        box: left, top, right and bottom, as shares of the picture's sides.
        size: ``(height, width)`` in pixels.
        angle: degrees by which the picture is turned first, counter-clockwise.
    """
    height, width = picture.shape
    image = Image.fromarray(picture)
    if angle:
        image = image.rotate(angle, Image.Resampling.BILINEAR)
    edges = np.array(box) * (width, height, width, height)
    # Pillow cuts nothing beyond an image's edge: a black frame is laid around it first.
    before = np.maximum(0, -np.floor(edges[:2]).astype(int))
    after = np.maximum(0, np.ceil(edges[2:]).astype(int) - (width, height))
    if before.any() or after.any():
        framed = Image.new("L", tuple(np.array((width, height)) + before + after))
        framed.paste(image, tuple(before))
        image, edges = framed, edges + np.tile(before, 2)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=tuple(edges)))
