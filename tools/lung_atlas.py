"""Fits the lung shape of :mod:`pneumonia.lungs` and shows how good it is:
``python -m tools.lung_atlas``.

No outline was drawn by hand. In healthy X-rays lungs are dark islands that thresholding finds, and
where two whole islands come out, that is a label. From these the shape's mean and modes are taken;
the cascade of regressions then learns to find the shape again in views of the same X-rays that were
moved, turned, zoomed, faded and, above all, whitened inside the lungs. Only the ``fitted`` side of
the train folder is read for it, only sums over many views are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from pneumonia import lungs, radiograph
from pneumonia.corruptions import CORRUPTIONS
from pneumonia.lungs import REACH, SIDE, Shape
from pneumonia.model_spec import LABELS
from train import terminal
from train.data import folds
from train.data.chest_xray import DataError, Dataset, load
from train.evaluation.plots import ORANGE

JSON_NAME, PICTURE_NAME = "lungs.json", "lungs.png"
MODES, STAGES, VIEWS = 10, 4, 8
# Side that views are made at, in pixels; a third more than the fit looks at.
_VIEW_SIDE = 128
# Ridge penalty, in samples: with some 6,000 views and 1,452 features, enough to keep neighbouring
# weights from cancelling each other.
_PENALTY = 300.0
_SEED = 2018
# Healthy lungs reach 0.8 and blank pictures 0.05. On held-out patients of the train folder, fits of
# 0.2 to 0.4, mostly white lungs and close crops, were looked at one by one: nearly all were nearer
# to the lungs than the average outline is.
_LEAST_LIKENESS = 0.15
# Changes of exposure and encoding: the lungs stay where they are, so the mask should.
_STILL = ("gamma 0.6", "gamma 1.7", "low contrast", "high contrast", "blur", "jpeg 20")
_SHOWN = ("low contrast", "gamma 1.7", "tight crop", "black border", "turned left", "wide aspect")
_PALETTE = 96


def make(dataset: Dataset, file: Path = lungs.MODEL, cache: Path | None = None) -> Shape:
    """Fits the shape model on the ``fitted`` side of the train folder and writes it.

    Raises:
        DataError: lungs were found in too few of the X-rays.
    """
    images, labels, _ = load(
        folds.items_of(dataset, folds.FITTED), radiograph.COPY_SIZE, cache=cache, skip_corrupt=True
    )
    found = [
        (image, mask)
        for image in tqdm(images[labels == 0], "dark islands", disable=None)
        if (mask := islands(image)) is not None
    ]
    if len(found) < 10 * MODES:
        raise DataError(
            f"Two lungs were found in {len(found)} of {int((labels == 0).sum())} healthy X-rays;"
            f" expected {10 * MODES} or more."
        )
    shape = learn([image for image, _ in found], [mask for _, mask in found])
    lungs.save(
        shape,
        file,
        side=folds.FITTED,
        fingerprint=dataset.fingerprint,
        images=len(found),
        views=VIEWS * len(found),
    )
    return shape


def islands(pixels: np.ndarray) -> np.ndarray | None:
    """The two lungs of a healthy X-ray, bool ``(SIDE, SIDE)``, by threshold: darker than their
    surroundings, inside the body, whole.

    Returns:
        None where what was found is not clearly two lungs; most X-rays with pneumonia are such.
    """
    grey = ndimage.gaussian_filter(
        np.asarray(
            Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32
        ),
        1.2,
    )
    body = ~ndimage.binary_dilation(
        _mask_touching_frame(grey < max(30, 0.22 * np.percentile(grey, 99))), iterations=2
    )
    weight = body.astype(np.float32)
    around = ndimage.gaussian_filter(grey * weight, 14) / np.maximum(
        ndimage.gaussian_filter(weight, 14), 1e-3
    )
    numbered, count = ndimage.label(
        ndimage.binary_opening((grey < around - 2) & body, iterations=2)
    )
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    sides = []
    for centre in (0.29, 0.71):
        votes = np.bincount(
            numbered[((x - centre) / 0.13) ** 2 + ((y - 0.52) / 0.27) ** 2 < 1], minlength=count + 1
        )
        votes[0] = 0
        if votes.max() < 60:
            return None
        island = np.pad(numbered == votes.argmax(), 8)
        # Ribs cut scallops into the edge, vessels holes; both are lung.
        lung = ndimage.binary_fill_holes(ndimage.binary_closing(island, iterations=5))[8:-8, 8:-8]
        if _touches_frame(lung) or not 0.04 < lung.mean() < 0.2:
            return None
        sides.append(lung)
    left, right = sides
    return None if (left & right).any() or not 0.5 < left.sum() / right.sum() < 2 else left | right


def learn(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Shape:
    """Mean, modes and cascade from images uint8 ``(H, W)`` and lungs, bool ``(SIDE, SIDE)``."""
    rng = np.random.default_rng(_SEED)
    poses = np.array([pose_of(mask) for mask in masks])
    # A signed distance map is measured in the shape's frame, so that big and small chests give the
    # same map.
    maps = np.stack([_distance(mask, pose) for mask, pose in zip(masks, poses, strict=True)])
    mean = maps.mean(axis=0)
    flat = (maps - mean).reshape(len(maps), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T / len(flat))
    order = np.argsort(-values)[:MODES]
    modes = (vectors[:, order].T @ flat / np.sqrt(len(flat))).reshape(len(order), *mean.shape)
    forms = vectors[:, order] * np.sqrt(len(flat))

    views = [
        _view(image, mask, pose, rng)
        for image, mask, pose in zip(tqdm(images, "views", disable=None), masks, poses, strict=True)
        for _ in range(VIEWS)
    ]
    seen, targets = [view[0] for view in views], np.array([view[1] for view in views])
    aims = np.repeat(forms, VIEWS, axis=0)
    start = targets.mean(axis=0)
    current, weights = np.tile(start, (len(views), 1)), []
    for _ in tqdm(range(STAGES), "regressions", disable=None):
        features = np.stack(
            [
                np.append(lungs.sample(maps, pose, lungs.GRID).ravel(), np.float32(1))
                for maps, pose in zip(seen, current, strict=True)
            ]
        )
        wanted = np.hstack(
            [
                [
                    lungs.step_between(pose, target)
                    for pose, target in zip(current, targets, strict=True)
                ],
                aims,
            ]
        )
        penalty = np.full(features.shape[1], _PENALTY)
        penalty[-1] = 0
        stage = np.linalg.solve(features.T @ features + np.diag(penalty), features.T @ wanted)
        weights.append(stage)
        current = np.array(
            [
                lungs.move_pose(pose, row @ stage[:, :5])
                for pose, row in zip(current, features, strict=True)
            ]
        )
    appearance = np.mean(
        [
            lungs.sample(maps[:1], pose, lungs.GRID)[0]
            for maps, pose in zip(seen, current, strict=True)
        ],
        axis=0,
    )
    return Shape(start, mean, modes, np.stack(weights), appearance, _LEAST_LIKENESS)


def report(
    dataset: Dataset, examples: Path, out: Path, cache: Path | None = None
) -> dict[str, Any]:
    """Measures the lung masks on the ``held-out`` patients, draws them on the example X-rays, and
    writes ``lungs.json`` and ``lungs.png``.

    There are no outlines by hand to hold the masks against. What can be told: how they agree with
    the dark islands of healthy X-rays, as they are and after their lungs were whitened, how steady
    they are when only exposure or encoding changes, and whether areas and sides are those of lungs.

    Returns:
        What ``lungs.json`` holds: aggregates only.
    """
    images, labels, _ = load(
        folds.items_of(dataset, folds.HELD_OUT),
        radiograph.COPY_SIZE,
        cache=cache,
        skip_corrupt=True,
    )
    rng = np.random.default_rng(_SEED)
    facts: dict[str, Any] = {"schema": 1, "split": folds.HELD_OUT, "classes": {}}
    masks = [lungs.lung_mask(image) for image in tqdm(images, "masks", disable=None)]
    found = np.array([lungs.fit(image).found for image in images])
    for label, name in enumerate(LABELS):
        chosen = [mask for mask, own in zip(masks, labels, strict=True) if own == label]
        facts["classes"][name] = {
            "images": len(chosen),
            "average_outline_used": int((~found[labels == label]).sum()),
            "share_of_picture": _summarise([mask.mean() for mask in chosen]),
            "left_over_right": _summarise([_left_over_right(mask) for mask in chosen]),
        }
    plain, whitened = [], []
    for image, mask in zip(
        images[labels == 0],
        [mask for mask, own in zip(masks, labels, strict=True) if own == 0],
        strict=True,
    ):
        if (island := islands(image)) is not None:
            large = np.asarray(
                Image.fromarray(island).resize(mask.shape[::-1], Image.Resampling.NEAREST)
            )
            plain.append(dice(mask, large))
            whitened.append(dice(lungs.lung_mask(_whiten(image, island, rng)), large))
    facts["dice_with_dark_islands"] = {
        "of": "healthy X-rays whose lungs a threshold finds",
        "images": len(plain),
        "as_they_are": _summarise(plain),
    }
    facts["dice_with_dark_islands"]["lungs_whitened"] = _summarise(whitened)
    steady = np.linspace(0, len(images) - 1, min(60, len(images))).astype(int)
    facts["dice_with_own_mask"] = {
        name: _summarise(
            [dice(lungs.lung_mask(CORRUPTIONS[name](images[at])), masks[at]) for at in steady]
        )
        for name in _STILL
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / JSON_NAME).write_text(json.dumps(facts, indent=1) + "\n")
    draw(examples, out / PICTURE_NAME)
    return facts


def draw(examples: Path, file: Path) -> None:
    """The example X-rays, as they are and corrupted, with the outline of the mask found on each."""
    paths = sorted(examples.glob("*.jpeg"))
    columns = {"as they are": lambda pixels: pixels, **{name: CORRUPTIONS[name] for name in _SHOWN}}
    figure = Figure(figsize=(1.45 * len(columns), 1.45 * len(paths) + 0.5), layout="constrained")
    for row, path in zip(
        figure.subplots(len(paths), len(columns), squeeze=False), paths, strict=True
    ):
        copy = radiograph.resize(radiograph.read(path), radiograph.COPY_SIZE)
        for axes, (name, alter) in zip(row, columns.items(), strict=True):
            altered = alter(copy)
            axes.imshow(altered, cmap="gray", vmin=0, vmax=255)
            axes.contour(lungs.lung_mask(altered), [0.5], colors=ORANGE, linewidths=1)
            axes.set(xticks=[], yticks=[])
            if path == paths[0]:
                axes.set_title(name, fontsize=9)
        row[0].set_ylabel("PNEUMONIA" if path.name.startswith("person") else "NORMAL", fontsize=8)
    figure.supxlabel(
        "X-rays: Kermany, Zhang and Goldbaum, doi 10.17632/rscbjbr9sj.2, CC BY 4.0", fontsize=7
    )
    figure.savefig(file, dpi=110, metadata={"Software": None})
    with Image.open(file) as drawn:
        # Greys and one orange: a palette says the same in a third of the bytes.
        drawn.convert("RGB").quantize(_PALETTE).save(file)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice's overlap of two masks, 0 to 1; 1 where both are empty."""
    total = int(one.sum() + other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def pose_of(mask: np.ndarray) -> np.ndarray:
    """Centre, log half-sides and a tilt of 0 of a mask's bounding box, float64 ``(5,)``, in shares
    of its sides.
    """
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    left, right, top, bottom = (
        columns.min() / width,
        (columns.max() + 1) / width,
        rows.min() / height,
        (rows.max() + 1) / height,
    )
    return np.array(
        [
            (left + right) / 2,
            (top + bottom) / 2,
            np.log((right - left) / 2),
            np.log((bottom - top) / 2),
            0.0,
        ]
    )


def _left_over_right(mask: np.ndarray) -> float:
    half = mask.shape[1] // 2
    return float(mask[:, :half].sum()) / max(1.0, float(mask[:, half:].sum()))


def _summarise(values: Sequence[float]) -> dict[str, float]:
    names = ("p5", "median", "p95")
    return (
        dict(
            zip(
                names,
                (round(float(value), 3) for value in np.percentile(values, (5, 50, 95))),
                strict=True,
            )
        )
        if len(values)
        else {}
    )


def _distance(mask: np.ndarray, pose: np.ndarray) -> np.ndarray:
    framed = lungs.sample(mask[np.newaxis].astype(np.float32), pose, lungs.MAP_SIDE)[0] > 0.5
    unit = 2 * REACH / (lungs.MAP_SIDE - 1)
    return (ndimage.distance_transform_edt(framed) - ndimage.distance_transform_edt(~framed)) * unit


def _view(
    image: np.ndarray, mask: np.ndarray, pose: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One altered copy: what the regressions see of it, and where its lungs are now."""
    whitened = _whiten(
        np.asarray(
            Image.fromarray(image).resize((_VIEW_SIDE, _VIEW_SIDE), Image.Resampling.BILINEAR)
        ),
        mask,
        rng,
    )
    turn, (zoom_x, zoom_y), shift = (
        rng.normal(0, 0.07),
        np.exp(rng.normal(0.08, 0.16) + rng.normal(0, 0.09, 2)),
        rng.normal(0, 0.045, 2),
    )
    cosine, sine = np.cos(turn), np.sin(turn)
    forward = np.array([[cosine * zoom_x, -sine * zoom_y], [sine * zoom_x, cosine * zoom_y]])
    inverse = np.linalg.inv(forward)
    offset = (0.5 - inverse @ (0.5 + shift)) * _VIEW_SIDE
    matrix = (*inverse[0], offset[0], *inverse[1], offset[1])
    fill = int(rng.choice([0, 0, 40, 128]))
    size = (_VIEW_SIDE, _VIEW_SIDE)
    moved = np.asarray(
        Image.fromarray(whitened).transform(
            size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
        )
    )
    grey = 255 * (moved / 255) ** np.exp(rng.normal(0, 0.3))
    grey = (
        ndimage.gaussian_filter(grey, rng.uniform(0, 1)) * rng.uniform(0.5, 1)
        + rng.uniform(0, 60)
        + rng.normal(0, 3, grey.shape)
    )
    centre = forward @ (pose[:2] - 0.5) + 0.5 + shift
    target = np.array([*centre, pose[2] + np.log(zoom_x), pose[3] + np.log(zoom_y), turn])
    # Half precision: the views of 800 X-rays are 700 MB even so.
    return lungs.channels(np.clip(grey, 0, 255).astype(np.uint8)).astype(np.float16), target


def _whiten(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Consolidation as a painter would do it: clouds inside the lungs, as bright as what surrounds
    them; sometimes a whole lung.
    """
    height, width = image.shape
    inside = np.asarray(
        Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    )
    inside = ndimage.gaussian_filter(inside, 0.012 * width)
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    cloud = np.zeros_like(inside)
    rows, columns = np.nonzero(mask)
    for _ in range(int(rng.integers(0, 4))):
        spot = rng.integers(len(rows))
        spread = rng.uniform(0.05, 0.35, 2)
        blob = np.exp(
            -(((x - columns[spot] / SIDE) / spread[0]) ** 2)
            - ((y - rows[spot] / SIDE) / spread[1]) ** 2
        )
        # A cloud stays in its own lung, as an infiltrate does.
        own = x < 0.5 if columns[spot] < SIDE / 2 else x >= 0.5
        cloud = np.maximum(cloud, rng.uniform(0.3, 1) * np.minimum(1, 1.4 * blob) * own)
    bright = ndimage.gaussian_filter(image.astype(np.float32), 0.1 * width) + rng.uniform(10, 50)
    blend = cloud * inside
    return np.clip(image + blend * np.maximum(0, bright - image), 0, 255).astype(np.uint8)


def _mask_touching_frame(mask: np.ndarray) -> np.ndarray:
    numbered, _ = ndimage.label(mask)
    touching = np.unique(
        np.concatenate([numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]])
    )
    return np.isin(numbered, touching[touching > 0])


def _touches_frame(mask: np.ndarray) -> bool:
    return bool(mask[:2].any() or mask[-2:].any() or mask[:, :2].any() or mask[:, -2:].any())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``python -m tools.lung_atlas``; for the exit codes see :func:`train.terminal.run`."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.lung_atlas",
        description="Fits the lung shape on the train folder; measures and draws its masks.",
    )
    terminal.add_data(parser)
    terminal.out(parser, "where lungs.json and lungs.png go", Path("assets/results"))
    parser.add_argument(
        "--keep",
        action="store_true",
        help="fit nothing; measure and draw with the shape that is there",
    )
    parser.set_defaults(run=_run)
    return terminal.run(parser, arguments)


def _run(options: argparse.Namespace) -> int:
    dataset = terminal.dataset(options)
    if not options.keep:
        make(dataset, cache=terminal.CACHE)
    facts = report(dataset, Path("assets/examples"), options.out, terminal.CACHE)
    print(json.dumps(facts, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
