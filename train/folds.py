"""The validation that choices are made on: one patient-grouped, stratified fold of the train folder.

The source's own validation folder holds 16 images, too few to choose anything by. A fold of the train folder holds some 750, and no patient and no copy of a
file stands on both sides of it.
"""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from train.data import DataError, Dataset, Item

# Names of the two sides, beside train, val and test: what the networks of the recipes BEST learn from, and what their choices are made on.
FITTED, HELD_OUT = "fitted", "held-out"
# One fold in seven is held out: enough pneumonias (some 550) to place a threshold for 99% recall, and 86% of the images are left to learn from.
FOLDS = 7
_SEED = 2018


def items_of(dataset: Dataset, split: str) -> list[Item]:
    """The images of a split: ``train``, ``val`` or ``test``, or one of the two sides of the train folder, ``fitted`` and ``held-out``.

    Raises:
        DataError: there is no such split, or the train folder has too few patients to be parted.
    """
    if split not in (FITTED, HELD_OUT):
        return dataset.split(split)
    items = dataset.split("train")
    held_out = _held_out(dataset)
    return [item for item, held in zip(items, held_out, strict=True) if held == (split == HELD_OUT)]


def groups_of(dataset: Dataset, split: str) -> np.ndarray:
    """A number for each image of a split, int64 ``(N,)``: equal where two are of one patient or are the same file, through however many links."""
    chosen = set(items_of(dataset, split))
    pairs = [(item, digest) for item, digest in zip(dataset.items, dataset.digests, strict=True) if item in chosen]
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for item, digest in pairs:
        parent[root(("patient", item.patient))] = root(("file", digest))
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(root(("file", digest)), len(numbers)) for _, digest in pairs], np.int64)


def _held_out(dataset: Dataset) -> np.ndarray:
    items = dataset.split("train")
    # Bacteria and virus are kept apart too: they differ in how hard they are, and a fold with few viruses would flatter.
    strata = np.array([item.cause or item.label for item in items], dtype=str)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
    try:
        _, chosen = next(folds.split(np.zeros(len(items)), strata, groups_of(dataset, "train")))
    except ValueError as error:
        raise DataError(f"The train folder cannot be parted into {FOLDS} folds of patients ({error}); it needs {FOLDS} of each class.") from None
    mask = np.zeros(len(items), bool)
    mask[chosen] = True
    return mask
