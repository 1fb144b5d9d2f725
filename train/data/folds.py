"""The validation that choices are made on: a patient-grouped part of the train folder, of which no
patient and no copy of a file stands on both sides.

The original notebook's validation folder holds 16 images, too few to choose anything by. This one
holds some 750, and thresholds are set on it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from train.data.chest_xray import DataError, Dataset, Item

# Names of the two sides, beside train, val and test: what the networks of the recipes IMPROVED
# learn from, and what their choices are made on.
FITTED, HELD_OUT = "fitted", "held-out"
# One fold in seven is held out: 86% of the images are left to learn from.
FOLDS = 7
_SEED = 2018


def choose_learned_split(validation: str) -> str:
    """The split that a recipe learns from which is validated on ``validation``."""
    return FITTED if validation == HELD_OUT else "train"


def items_of(dataset: Dataset, split: str) -> list[Item]:
    """The images of a split: ``train``, ``val`` or ``test``, or a side of the train folder:
    ``fitted`` or ``held-out``.

    Raises:
        DataError: there is no such split, or the train folder has too few patients to be parted.
    """
    if split not in (FITTED, HELD_OUT):
        return dataset.split(split)
    items = dataset.split("train")
    mask = _pick_held_out(dataset)
    return [item for item, held in zip(items, mask, strict=True) if held == (split == HELD_OUT)]


def groups_of(dataset: Dataset, split: str) -> np.ndarray:
    """A number for each image of a split, int64 ``(N,)``: equal where two are of one patient or are
    the same file, through however many links.
    """
    chosen = set(items_of(dataset, split))
    return number_groups(
        [
            (("patient", item.patient), ("file", digest))
            for item, digest in zip(dataset.items, dataset.digests, strict=True)
            if item in chosen
        ]
    )


def number_groups(keys: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """A number for each of N images, int64 ``(N,)``, from 0 on in the order they come: equal where
    two share a key, such as a patient or a file, through however many links.
    """
    count = len(keys)
    pairs = [(image, key) for image, own in enumerate(keys) for key in own]
    nodes = {key: count + number for number, key in enumerate({key: None for _, key in pairs})}
    links = coo_array(
        (np.ones(len(pairs)), ([image for image, _ in pairs], [nodes[key] for _, key in pairs])),
        shape=(count + len(nodes),) * 2,
    )
    return connected_components(links, directed=False)[1][:count].astype(np.int64)


def _pick_held_out(dataset: Dataset) -> np.ndarray:
    items = dataset.split("train")
    # Bacteria and virus are kept apart too: they differ in how hard they are, and a fold with few
    # viruses would flatter.
    strata = np.array([item.cause or item.label for item in items], dtype=str)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
    try:
        _, chosen = next(folds.split(np.zeros(len(items)), strata, groups_of(dataset, "train")))
    except ValueError as error:
        raise DataError(
            f"The train folder cannot be parted into {FOLDS} folds of patients ({error}); it needs"
            f" {FOLDS} of each class."
        ) from None
    mask = np.zeros(len(items), bool)
    mask[chosen] = True
    return mask
