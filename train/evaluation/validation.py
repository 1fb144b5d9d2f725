"""A network's answers on the held-out patients, as their X-rays are and under each corruption of
the fixed set: what models are chosen by.

Plain validation says .99 for networks that the test folder tells apart, because it looks like what
they learned from. So each image is also asked about as another machine or another hand might have
delivered it, and a network is judged by the mean and by the worst of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypedDict

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.corruptions import CORRUPTIONS, Corruption
from train.data.chest_xray import Dataset, Item, load
from train.data.folds import HELD_OUT, groups_of, items_of
from train.files import write_atomically

# uint8 (N, H, W) to a probability of PNEUMONIA each, (N,).
Predict: TypeAlias = Callable[[np.ndarray], np.ndarray]
CLEAN = "clean"
# At this recall the specificities of a summary are read: between the operating points that a bundle
# may have as its default.
_RECALL = 0.98
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Copies:
    """The images of a split and their corrupted copies, ready for a network.

    Attributes:
        items: the N images.
        labels: int64 ``(N,)``.
        groups: int64 ``(N,)``, equal where two images are of one patient.
        pixels: uint8 ``(N, H, W)`` under each name, ``clean`` first.
    """

    items: list[Item]
    labels: np.ndarray
    groups: np.ndarray
    pixels: dict[str, np.ndarray]


def copies(
    dataset: Dataset,
    size: tuple[int, int],
    split: str = HELD_OUT,
    corruptions: Mapping[str, Corruption] = CORRUPTIONS,
    *,
    cache: Path | None = None,
    limit: int | None = None,
    skip_corrupt: bool = False,
) -> Copies:
    """Corrupts the images of a split at the published size, 224 x 224, from which a classifier
    draws its views, and brings the copies to another size where that is asked for.

    Args:
        dataset: the data.
        size: ``(height, width)`` in pixels.
        split: see :func:`train.data.folds.items_of`.
        corruptions: name to function; their effect on a fixed picture is part of the cache's key,
            so a changed one is never taken for the old.
        cache: folder for the arrays, one file a corruption, or None for none.
        limit: so many images at most, evenly spread over the split and so over its classes; None
            for all.
        skip_corrupt: leave out what cannot be decoded, instead of stopping.

    Raises:
        DataError: images are missing or damaged, or there is no such split.
    """
    everything = items_of(dataset, split)
    originals, _, items = load(
        everything, radiograph.COPY_SIZE, cache=cache, skip_corrupt=skip_corrupt
    )
    groups = dict(zip(everything, groups_of(dataset, split).tolist(), strict=True))
    if limit is not None and limit < len(items):
        chosen = np.linspace(0, len(items) - 1, limit).round().astype(int)
        originals, items = originals[chosen], [items[index] for index in chosen]
    pixels = {CLEAN: _resize_images(originals, size)}
    content = hashlib.sha256(originals.tobytes()).hexdigest()
    for name, corrupt in tqdm(
        corruptions.items(), "corrupted copies", unit="corruption", disable=None, leave=False
    ):
        stored = (
            cache / f"copies-{size[0]}x{size[1]}-{_key(content, size, corrupt)}.npy"
            if cache
            else None
        )
        if stored is None or not stored.is_file():
            made = _resize_images(np.stack([corrupt(original) for original in originals]), size)
            if stored is not None:
                stored.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(stored, partial(_save, pixels=made))
        # Mapped, not read: all copies at 224 pixels are half a gigabyte.
        pixels[name] = made if stored is None else np.load(stored, mmap_mode="r")
    return Copies(
        items,
        np.array([item.label for item in items], np.int64),
        np.array([groups[item] for item in items], np.int64),
        pixels,
    )


def scores(
    predict: Predict | PneumoniaClassifier,
    dataset: Dataset,
    split: str = HELD_OUT,
    corruptions: Mapping[str, Corruption] = CORRUPTIONS,
    *,
    size: tuple[int, int] | None = None,
    cache: Path | None = None,
    limit: int | None = None,
    skip_corrupt: bool = False,
) -> dict[str, np.ndarray]:
    """What a network says of a split, as it is and under each corruption.

    Args:
        predict: a function from uint8 ``(N, H, W)`` to ``(N,)``, or a classifier, whose calibrated
            probabilities are taken.
        dataset, split, corruptions, cache, limit, skip_corrupt: see :func:`copies`.
        size: ``(height, width)`` of what the function takes; a classifier takes the published form.

    Returns:
        float64 ``(N,)`` under each name, ``clean`` first, in the order of
        :func:`train.data.folds.items_of`.

    Raises:
        ValueError: a function came without a size.
        DataError: see :func:`copies`.
    """
    if isinstance(predict, PneumoniaClassifier):
        size = size or radiograph.COPY_SIZE
    elif size is None:
        raise ValueError("A function says nothing of its input size; give size=(height, width).")
    return answers(
        predict,
        copies(
            dataset, size, split, corruptions, cache=cache, limit=limit, skip_corrupt=skip_corrupt
        ),
    )


def answers(predict: Predict | PneumoniaClassifier, prepared: Copies) -> dict[str, np.ndarray]:
    """The same, of copies that are there already: float64 ``(N,)`` under each name."""
    ask = predict.probabilities if isinstance(predict, PneumoniaClassifier) else predict
    number = len(prepared.items)
    found = {}
    with tqdm(
        total=number * len(prepared.pixels),
        desc="validation",
        unit="image",
        mininterval=0.5,
        leave=False,
    ) as bar:
        for name, images in prepared.pixels.items():
            parts = []
            for start in range(0, number, _BATCH):
                batch = np.ascontiguousarray(images[start : start + _BATCH])
                parts.append(np.asarray(ask(batch), np.float64).reshape(len(batch)))
                bar.update(len(batch))
            found[name] = np.concatenate(parts)
    return found


class Summary(TypedDict):
    """A network's validation in one row.

    Attributes:
        clean_auc: of the X-rays as they are.
        mean_auc, worst_auc, worst_name: over the corruptions.
        pooled_auc: of all copies in one heap, which falls when a corruption moves all answers one
            way, as it would matter at a fixed threshold.
        log_loss: of that heap.
        clean_specificity, pooled_specificity: at the threshold that 98% of the pneumonias reach,
            clean and in the heap.
    """

    clean_auc: float
    mean_auc: float
    worst_auc: float
    worst_name: str
    pooled_auc: float
    log_loss: float
    clean_specificity: float
    pooled_specificity: float


def summary(labels: np.ndarray, found: Mapping[str, np.ndarray]) -> Summary:
    """A network's validation in one row.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA, both present.
        found: probabilities ``(N,)`` under each name, see :func:`scores`.
    """
    aucs = {name: float(roc_auc_score(labels, values)) for name, values in found.items()}
    corrupted = {name: value for name, value in aucs.items() if name != CLEAN} or aucs
    worst = min(corrupted, key=lambda name: corrupted[name])
    heap, heap_labels = np.concatenate(list(found.values())), np.tile(labels, len(found))
    clipped = np.clip(heap, 1e-7, 1 - 1e-7)
    return {
        "clean_auc": aucs.get(CLEAN, float("nan")),
        "mean_auc": float(np.mean(list(corrupted.values()))),
        "worst_auc": corrupted[worst],
        "worst_name": worst,
        "pooled_auc": float(roc_auc_score(heap_labels, heap)),
        "log_loss": float(
            -np.mean(np.where(heap_labels == 1, np.log(clipped), np.log(1 - clipped)))
        ),
        "clean_specificity": specificity_at(labels, found[CLEAN], _RECALL)
        if CLEAN in found
        else float("nan"),
        "pooled_specificity": specificity_at(heap_labels, heap, _RECALL),
    }


def specificity_at(labels: np.ndarray, probabilities: np.ndarray, recall: float) -> float:
    """The share of the healthy below the highest threshold that at least ``recall`` of the
    pneumonias reach.
    """
    return float(
        np.mean(probabilities[labels == 0] < _threshold(probabilities[labels == 1], recall))
    )


def _threshold(ill: np.ndarray, recall: float) -> float:
    return float(np.sort(ill)[int(np.floor(len(ill) * (1 - recall) + 1e-9)) if recall < 1 else 0])


def _save(path: Path, pixels: np.ndarray) -> None:
    np.save(path, pixels)


def _resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack(
        [radiograph.resize(radiograph.Radiograph(image, "copy"), size) for image in images]
    )


def _key(content: str, size: tuple[int, int], corrupt: Corruption) -> str:
    # A function has no content that could be hashed, but what it does to a picture has.
    picture = np.random.default_rng(0).integers(0, 256, radiograph.COPY_SIZE).astype(np.uint8)
    return hashlib.sha256(
        f"{content}{size}{radiograph.describe()}".encode() + corrupt(picture).tobytes()
    ).hexdigest()[:16]
