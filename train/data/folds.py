"""The validation that choices are made on: patient-grouped parts of the train folder, of which no
patient and no copy of a file stands on both sides.

The source's own validation folder holds 16 images, too few to choose anything by. A fold drawn at
random holds some 750, and thresholds are set on it. But patients are numbered, and the train, test
and val folders hold stretches of those numbers: another time, now and then another machine. A fold
drawn at random has learned from its patients' neighbours and does not see such a change. So recipes
are compared on both ends of each series of numbers as well.
"""

from __future__ import annotations

import re

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from pneumonia.model_spec import LABELS
from train.data.chest_xray import DataError, Dataset, Item

# Names of the two sides, beside train, val and test: what the networks of the recipes IMPROVED learn
# from, and what their choices are made on.
FITTED, HELD_OUT = "fitted", "held-out"
# The same for recipes that are compared under a change of time and machine: the middle of each
# series of patients, and its two ends.
MIDDLE, ENDS = "middle", "ends"
# One fold in seven is held out: 86% of the images are left to learn from. Choices are made on the
# first; the others are held out in turn, each from a network of its own, to place thresholds
# (train/evaluation/cross_fold.py).
FOLDS = 7


def sides(fold: int) -> tuple[str, str]:
    """What is learned from and what is held out where fold 1 to :data:`FOLDS` is: ``fitted`` and
    ``held-out``, ``fitted-2`` and ``held-out-2``, and so on.
    """
    suffix = "" if fold == 1 else f"-{fold}"
    return FITTED + suffix, HELD_OUT + suffix


_FOLD = {name: fold for fold in range(1, FOLDS + 1) for name in sides(fold)}
# The sides on which a threshold may be placed: drawn at random, so that what holds on them holds
# for new patients of the same source.
HELD_OUTS = tuple(sides(fold)[1] for fold in range(1, FOLDS + 1))
# What a recipe that is validated on one side learns from.
LEARNED = {held_out: fitted for fitted, held_out in map(sides, range(1, FOLDS + 1))} | {
    ENDS: MIDDLE
}
_SEED = 2018
# The last number of a patient's key; what is left of the key names the series.
_NUMBER = re.compile(r"(?P<number>\d+)(?!.*\d)")


def items_of(dataset: Dataset, split: str) -> list[Item]:
    """The images of a split: ``train``, ``val`` or ``test``, or a side of the train folder:
    ``fitted`` or ``held-out`` (see :func:`sides` for other folds), ``middle`` or ``ends``.

    Raises:
        DataError: there is no such split, or the train folder has too few patients to be parted.
    """
    if split not in (*LEARNED, *LEARNED.values()):
        return dataset.split(split)
    items = dataset.split("train")
    held_out = _held_out(dataset, _FOLD[split]) if split in _FOLD else _ends(dataset)
    return [item for item, held in zip(items, held_out, strict=True) if held == (split in LEARNED)]


def groups_of(dataset: Dataset, split: str) -> np.ndarray:
    """A number for each image of a split, int64 ``(N,)``: equal where two are of one patient or are
    the same file, through however many links.
    """
    chosen = set(items_of(dataset, split))
    pairs = [
        (item, digest)
        for item, digest in zip(dataset.items, dataset.digests, strict=True)
        if item in chosen
    ]
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for item, digest in pairs:
        parent[root(("patient", item.patient))] = root(("file", digest))
    numbers: dict[tuple[str, str], int] = {}
    return np.array(
        [numbers.setdefault(root(("file", digest)), len(numbers)) for _, digest in pairs], np.int64
    )


def _held_out(dataset: Dataset, fold: int) -> np.ndarray:
    items = dataset.split("train")
    # Bacteria and virus are kept apart too: they differ in how hard they are, and a fold with few
    # viruses would flatter.
    strata = np.array([item.cause or item.label for item in items], dtype=str)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
    try:
        _, chosen = list(folds.split(np.zeros(len(items)), strata, groups_of(dataset, "train")))[
            fold - 1
        ]
    except ValueError as error:
        raise DataError(
            f"The train folder cannot be parted into {FOLDS} folds of patients ({error}); it needs"
            f" {FOLDS} of each class."
        ) from None
    mask = np.zeros(len(items), bool)
    mask[chosen] = True
    return mask


def _ends(dataset: Dataset) -> np.ndarray:
    items, groups = dataset.split("train"), groups_of(dataset, "train")
    series: dict[tuple[str, ...], dict[str, int]] = {}
    for item in items:
        name, number = _NUMBER.subn("#", item.patient, count=1)[0], _NUMBER.search(item.patient)
        series.setdefault((str(item.label), name), {})[item.patient] = (
            int(number["number"]) if number else 0
        )
    chosen: set[str] = set()
    for numbers in series.values():
        ordered = sorted(numbers, key=lambda patient: (numbers[patient], patient))
        # Half a fold from each end, rounded up: of a series of one or two patients, all.
        count = -(-len(ordered) // (2 * FOLDS))
        chosen |= {*ordered[:count], *ordered[-count:]}
    held = {
        group for item, group in zip(items, groups.tolist(), strict=True) if item.patient in chosen
    }
    mask = np.isin(groups, sorted(held))
    for label in (0, 1):
        sides = {bool(side) for item, side in zip(items, mask, strict=True) if item.label == label}
        if len(sides) < 2:
            raise DataError(
                "The ends of the series of patients cannot be parted from their middle:"
                f" {LABELS[label]} would be on one side only."
            )
    return mask
