"""Where the lungs are in a frontal chest X-ray, by a classical method: a shape of both lung fields,
moved and bent until it fits.

A threshold finds lungs because air is black. Pneumonia fills them with fluid, and a lung that has
turned white is just what a threshold leaves out. So the outline comes from a shape model instead:
the mean signed distance map of lung fields and its principal modes (Leventon, Grimson and Faugeras,
CVPR 2000), whose place, size, tilt and modes are found by a short cascade of linear regressions
from local contrast and its gradients (supervised descent: Xiong and De la Torre, CVPR 2013). The
cascade learned on lungs that were whitened artificially, so it takes its bearings from ribs, spine,
diaphragm and the lungs' edges alike.

Everything fitted lies in ``lungs.h5``, sums over thousands of views and no single image, written by
``python -m tools.lung_atlas``. The heart between the lungs stays outside; what lungs hide behind
heart and diaphragm does too. Nobody drew outlines by hand: how good it is,
``assets/results/lungs.png`` shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from pneumonia.radiograph import Radiograph
from pneumonia.threads import one_blas_thread

MODEL = Path(__file__).with_name("lungs.h5")
# Side of the square copy that the shape is fitted on, in pixels.
SIDE = 96
# The shape's own frame runs from -REACH to REACH, where the lung fields end at -1 and 1; the rest
# is what surrounds them.
REACH = 1.35
GRID, MAP_SIDE = 22, 48
# Side that the outline is drawn at before it is stretched to the picture: a smooth curve needs no
# more.
_DRAWN = 224
# The outline is drawn this far outside the fitted one, in the frame's unit, some 3 pixels of 224:
# ribs' scallops blunt the average, and whoever hides the lungs had better hide a rim of chest wall
# too than leave a rim of lung.
MARGIN = 0.03


@dataclass(frozen=True, eq=False)
class Shape:
    """What ``lungs.h5`` holds.

    Attributes:
        pose: float64 ``(5,)``, where the search begins: centre x and y, log half-width, log
            half-height (shares of the picture's sides), tilt in radians.
        mean: float32 ``(MAP_SIDE, MAP_SIDE)``, mean signed distance map in the shape's frame,
            positive inside the lungs, in the frame's unit.
        modes: float32 ``(M, MAP_SIDE, MAP_SIDE)``, principal modes, each as large as its standard
            deviation.
        weights: float32 ``(stages, features + 1, 5 + M)``, the regressions; the last feature is 1.
        appearance: float32 ``(GRID, GRID)``, the mean local contrast in the shape's frame.
        least_likeness: a fit whose correlation with ``appearance`` is below it is not believed.
    """

    pose: np.ndarray
    mean: np.ndarray
    modes: np.ndarray
    weights: np.ndarray
    appearance: np.ndarray
    least_likeness: float


@dataclass(frozen=True, eq=False)
class Fit:
    """Where the lungs were found.

    Attributes:
        distance: float32 ``(_DRAWN, _DRAWN)``, signed distance over the whole picture squeezed
            square, positive inside the lungs.
        pose: float64 ``(5,)``; see :class:`Shape`.
        likeness: correlation with the mean appearance, -1 to 1.
        found: whether the fit is believed; otherwise this is the mean shape at its mean place.
    """

    distance: np.ndarray
    pose: np.ndarray
    likeness: float
    found: bool


def lung_mask(pixels: np.ndarray) -> np.ndarray:
    """Marks the two lung fields.

    Where no lungs can be made out (the picture is no chest, inverted, or cut beyond recognition),
    the mean shape at its mean place is given; :func:`fit` tells.

    Args:
        pixels: uint8 ``(H, W)``, a frontal chest X-ray, air dark.

    Returns:
        bool ``(H, W)``, True in the lungs.

    Raises:
        ValueError: the array is not uint8 ``(H, W)``.
    """
    return mask_of(fit(pixels), (pixels.shape[0], pixels.shape[1]))


def find(picture: Radiograph) -> Fit:
    """Where the lungs are in the copy that every network is shown, found once a picture however
    often it is asked; see :func:`fit`.
    """
    return picture.copied.once(_fit_copy)


def _fit_copy(copy: Radiograph) -> Fit:
    return fit(copy.pixels)


def mask_of(found: Fit, size: tuple[int, int]) -> np.ndarray:
    """A fit as the mask that :func:`lung_mask` gives: bool ``size`` (height, width), pixels."""
    distance = Image.fromarray(found.distance).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(distance) > -MARGIN


def fit(pixels: np.ndarray, shape: Shape | None = None) -> Fit:
    """Finds place, size, tilt and form of the lung fields.

    Args:
        pixels: uint8 ``(H, W)``.
        shape: the shape model; the one of the package if None.

    Raises:
        ValueError: the array is not uint8 ``(H, W)``.
    """
    shape = shape or load()
    pose, form, likeness, found = _search_pose(pixels, shape)
    return Fit(
        draw_map(shape.mean + np.tensordot(form, shape.modes, 1), pose, _DRAWN),
        pose,
        likeness,
        found,
    )


def place(pixels: np.ndarray) -> np.ndarray:
    """Where :func:`fit` finds the lungs, without their outline, in less than half the time: float64
    ``(5,)``, the pose of a :class:`Fit`.

    Raises:
        ValueError: the array is not uint8 ``(H, W)``.
    """
    return _search_pose(pixels, load())[0]


@one_blas_thread()
def _search_pose(pixels: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray, float, bool]:
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ValueError(
            f"Expected grey pixels as uint8 (H, W), got {pixels.dtype} {pixels.shape}; use"
            " radiograph.read(...).pixels."
        )
    seen = channels(pixels)
    pose, form = shape.pose.copy(), np.zeros(len(shape.modes))
    for weights in shape.weights:
        step = np.append(sample(seen, pose, GRID).ravel(), 1.0) @ weights
        pose, form = move_pose(pose, step[:5]), np.clip(step[5:], -3, 3)
    likeness = correlation(sample(seen[:1], pose, GRID)[0], shape.appearance)
    # Lungs that fill a tenth of the picture, or leave it, are none of a chest X-ray.
    inside = bool(
        (np.abs(pose[:2] - 0.5) < 0.3).all()
        and (np.abs(pose[2:4] - shape.pose[2:4]) < 0.7).all()
        and abs(pose[4]) < 0.6
    )
    found = inside and likeness >= shape.least_likeness
    return (
        (pose, form, likeness, True)
        if found
        else (shape.pose, np.zeros(len(shape.modes)), likeness, False)
    )


@cache
def load(file: Path = MODEL) -> Shape:
    """Reads a shape model that :func:`save` wrote."""
    with h5py.File(file) as stored:
        pose, mean, modes, weights, appearance = (
            np.asarray(stored[name], np.float32)
            for name in ("pose", "mean", "modes", "weights", "appearance")
        )
        return Shape(
            pose.astype(np.float64),
            mean,
            modes,
            weights,
            appearance,
            float(stored.attrs["least_likeness"]),
        )


def save(shape: Shape, file: Path = MODEL, **facts: str | int) -> None:
    """Writes a shape model; ``facts`` say what it was made from."""
    with h5py.File(file, "w") as stored:
        stored.create_dataset("pose", data=shape.pose.astype(np.float32))
        for name in ("mean", "modes", "weights", "appearance"):
            stored.create_dataset(
                name, data=getattr(shape, name).astype(np.float16), compression="gzip"
            )
        stored.attrs["least_likeness"] = shape.least_likeness
        stored.attrs.update(facts)
    load.cache_clear()


def channels(pixels: np.ndarray) -> np.ndarray:
    """What the regressions look at, float32 ``(3, SIDE, SIDE)``: local contrast, and its gradients
    across and down.

    Local mean and deviation are divided out, so exposure, brightness and contrast hardly count.
    """
    small = np.asarray(
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32
    )
    fine, coarse = _blur(1.0), _blur(12.0)
    smooth = fine @ small @ fine.T
    centred = smooth - coarse @ smooth @ coarse.T
    # 4 grey values: below that there is nothing but noise, which is not to be blown up.
    contrast = centred / (np.sqrt(np.maximum(coarse @ centred**2 @ coarse.T, 0)) + 4)
    down, across = np.gradient(_blur(1.5) @ contrast @ _blur(1.5).T)
    return np.stack([contrast, 3 * across, 3 * down]).astype(np.float32)


def sample(maps: np.ndarray, pose: np.ndarray, side: int) -> np.ndarray:
    """Reads maps ``(C, h, w)`` of the whole picture on a ``side`` by ``side`` grid of the shape's
    frame: float32 ``(C, side, side)``, 0 outside the picture.
    """
    line = np.linspace(-REACH, REACH, side)
    across, down = np.meshgrid(line * np.exp(pose[2]), line * np.exp(pose[3]))
    cosine, sine = np.cos(pose[4]), np.sin(pose[4])
    return _bilinear(
        maps, pose[0] + cosine * across - sine * down, pose[1] + sine * across + cosine * down, 0.0
    )


def draw_map(distance: np.ndarray, pose: np.ndarray, side: int) -> np.ndarray:
    """Lays a map ``(h, w)`` of the shape's frame over the whole picture: float32 ``(side, side)``,
    far outside the frame well below 0.
    """
    line = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(line - pose[0], line - pose[1])
    cosine, sine = np.cos(pose[4]), np.sin(pose[4])
    across, down = (
        (cosine * x + sine * y) * np.exp(-pose[2]),
        (cosine * y - sine * x) * np.exp(-pose[3]),
    )
    # Corners of the grid are the frame's ends, not the middle of its outer cells: hence the half
    # cell.
    cells = len(distance)
    column, row = ((value / REACH * (cells - 1) / cells + 1) / 2 for value in (across, down))
    return _bilinear(distance[np.newaxis], column, row, float(distance.min()))[0]


def move_pose(pose: np.ndarray, step: np.ndarray) -> np.ndarray:
    """A pose after a step measured in its own frame."""
    return pose + step * np.array([np.exp(pose[2]), np.exp(pose[3]), 1, 1, 1])


def step_between(pose: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The step that :func:`move_pose` needs to come from one pose to another."""
    return (target - pose) / np.array([np.exp(pose[2]), np.exp(pose[3]), 1, 1, 1])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two maps, -1 to 1; 0 where one of them is flat."""
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


@cache
def _blur(deviation: float) -> np.ndarray:
    # At 96 pixels a Gaussian is cheapest as a matrix; rows that sum to 1 keep the borders from
    # darkening.
    distance = np.arange(SIDE)[:, np.newaxis] - np.arange(SIDE)
    matrix = np.exp(-((distance / deviation) ** 2) / 2)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def _bilinear(maps: np.ndarray, x: np.ndarray, y: np.ndarray, outside: float) -> np.ndarray:
    height, width = maps.shape[1:]
    column, row = x * width - 0.5, y * height - 0.5
    left, top = (
        np.clip(np.floor(column).astype(int), 0, width - 2),
        np.clip(np.floor(row).astype(int), 0, height - 2),
    )
    right, down = (
        np.clip(column - left, 0, 1).astype(np.float32),
        np.clip(row - top, 0, 1).astype(np.float32),
    )
    upper = maps[:, top, left] * (1 - right) + maps[:, top, left + 1] * right
    lower = maps[:, top + 1, left] * (1 - right) + maps[:, top + 1, left + 1] * right
    values = upper * (1 - down) + lower * down
    known = (column >= -0.5) & (column <= width - 0.5) & (row >= -0.5) & (row <= height - 0.5)
    return np.where(known, values, np.float32(outside)).astype(np.float32)
