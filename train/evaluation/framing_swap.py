"""What networks are worth when framing says nothing of the class: the fair judge of held-out
patients.

In the train folder the lungs of the ill stand taller in their squares, and a random fold rewards a
network that reads it. So each healthy picture is stretched about its lungs' centre until their
outline is as wide and as high as that of a randomly drawn ill child of the fold, black where the
picture ends. The ill stay as they are. A network that ranks the ill above these pictures reads the
lungs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.classifier import PneumoniaClassifier, logits
from pneumonia.model_spec import Estimate
from pneumonia.views import cut_box
from train.augmentation import framing
from train.data.chest_xray import Dataset, load
from train.data.folds import HELD_OUT, groups_of, items_of
from train.evaluation.validation import specificity_at
from train.files import write_atomically

DRAWS, RESAMPLES, RECALL = 4, 200, 0.98
ENSEMBLE = "mean of all"


@dataclass(frozen=True)
class Judged:
    """A network on held-out patients, as they are and framing-swapped.

    Attributes:
        name: of the network, or :data:`ENSEMBLE`.
        auc, swapped_auc: area under the ROC curve, with a 95% interval over patients and boxes.
        specificity, swapped_specificity: share of the healthy below the threshold that finds 98% of
            the ill as they are.
    """

    name: str
    auc: Estimate
    specificity: Estimate
    swapped_auc: Estimate
    swapped_specificity: Estimate


def measure(
    folders: Sequence[Path],
    dataset: Dataset,
    *,
    beside: Sequence[Path] = (),
    cache: Path | None = None,
    skip_corrupt: bool = False,
) -> list[Judged]:
    """Judges bundles by the views of their model specs and, of several, the mean of their logits.

    Args:
        folders: the bundles.
        dataset: whose held-out patients are asked.
        beside: bundles that are judged too, and are not in the mean.
        cache: folder for decoded images.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        BundleError, ModelSpecError: a bundle cannot be trusted.
        DataError: images are missing or damaged.
    """
    networks, others = (
        {str(folder): PneumoniaClassifier.from_pretrained(folder).raw for folder in some}
        for some in (folders, beside)
    )
    return judge(networks, dataset, beside=others, cache=cache, skip_corrupt=skip_corrupt)


def judge(
    networks: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    dataset: Dataset,
    *,
    beside: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    cache: Path | None = None,
    skip_corrupt: bool = False,
) -> list[Judged]:
    """The same for functions from uint8 ``(N, 224, 224)`` to probabilities ``(N,)``."""
    images, labels, items = load(
        items_of(dataset, HELD_OUT), radiograph.COPY_SIZE, cache=cache, skip_corrupt=skip_corrupt
    )
    number = dict(zip(items_of(dataset, HELD_OUT), groups_of(dataset, HELD_OUT), strict=True))
    groups = np.array([number[item] for item in items])
    poses = framing.poses(images, cache=cache)
    plain, swapped = {}, {}
    stacks = [images, *swaps(images, poses, labels)]
    asked = {**networks, **(beside or {})}
    total = len(asked) * sum(map(len, stacks))
    with tqdm(total=total, desc="answers", unit="image", mininterval=0.5) as bar:
        for name, ask in asked.items():
            found = []
            for stack in stacks:
                parts = []
                for start in range(0, len(stack), 64):
                    parts.append(logits(ask(stack[start : start + 64])))
                    bar.update(len(parts[-1]))
                found.append(np.concatenate(parts))
            plain[name], swapped[name] = found[0], np.stack(found[1:])
    if len(networks) > 1:
        for scores in (plain, swapped):
            scores[ENSEMBLE] = np.mean([scores[name] for name in networks], axis=0)
    rows = [*networks, *([ENSEMBLE] if len(networks) > 1 else []), *(beside or {})]
    return [judge_scores(name, labels, groups, plain[name], swapped[name]) for name in rows]


def swaps(
    images: np.ndarray, poses: np.ndarray, labels: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> Iterator[np.ndarray]:
    """Each healthy picture in the outline box of a random ill child, drawn several times.

    Args:
        images: uint8 ``(N, H, W)``.
        poses: ``(N, 5)``, where the lungs are (:func:`pneumonia.lungs.place`).
        labels: ``(N,)``, 1 is PNEUMONIA.
        draws: how often boxes are drawn.
        seed: of the draws.

    Yields:
        uint8 ``(healthy, H, W)``.
    """
    rng = np.random.default_rng(seed)
    ill, healthy = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    for _ in range(draws):
        others = rng.choice(ill, len(healthy))
        yield np.stack(
            [
                swap(images[own], poses[own], poses[other])
                for own, other in zip(healthy, others, strict=True)
            ]
        )


def swap(picture: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A picture stretched about its lungs' centre until their outline has another's half-width and
    half-height, black beyond its edge: uint8 ``(H, W)``; poses as
    :func:`pneumonia.lungs.place` gives them.
    """
    wide, high = np.exp(own[2:4] - other[2:4])
    x, y = own[:2]
    box = (x * (1 - wide), y * (1 - high), x + (1 - x) * wide, y + (1 - y) * high)
    return cut_box(picture, box, picture.shape)


def judge_scores(
    name: str, labels: np.ndarray, groups: np.ndarray, plain: np.ndarray, swapped: np.ndarray
) -> Judged:
    """Figures of a network's answers.

    Args:
        name: of the network.
        labels: ``(N,)``, 1 is PNEUMONIA.
        groups: int ``(N,)``, equal where two images are of one patient.
        plain: ``(N,)`` scores of the pictures as they are.
        swapped: ``(draws, healthy)`` scores of the healthy ones in other boxes.
    """
    ill = labels == 1
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    # The healthy image that a position among all images stands for.
    rank = np.cumsum(~ill) - 1

    def figures(chosen: np.ndarray, boxes: np.ndarray) -> list[float]:
        sick, well = plain[chosen[ill[chosen]]], chosen[~ill[chosen]]
        told = []
        for healthy in (plain[well], swapped[boxes, rank[well]]):
            truth = np.concatenate([np.zeros(len(healthy), int), np.ones(len(sick), int)])
            scores = np.concatenate([healthy, sick])
            told += [roc_auc_score(truth, scores), specificity_at(truth, scores, RECALL)]
        return told

    everyone, healthy_count = np.arange(len(labels)), int((~ill).sum())
    values = np.mean(
        [figures(everyone, np.full(healthy_count, draw)) for draw in range(len(swapped))], axis=0
    )
    drawn: list[list[float]] = []
    while len(drawn) < RESAMPLES:
        chosen = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        if 0 < ill[chosen].sum() < len(chosen):
            well = int((~ill[chosen]).sum())
            drawn.append(figures(chosen, rng.integers(len(swapped), size=well)))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    auc, specificity, swapped_auc, swapped_specificity = (
        Estimate(float(value), float(least), float(most), "bootstrap")
        for value, least, most in zip(values, low, high, strict=True)
    )
    return Judged(name, auc, specificity, swapped_auc, swapped_specificity)


def write(found: Sequence[Judged], file: Path) -> None:
    """Keeps the figures as JSON."""
    text = json.dumps([asdict(judged) for judged in found], indent=1) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def read(file: Path) -> list[Judged]:
    """What :func:`write` kept."""
    return [
        Judged(
            name=entry["name"],
            **{name: Estimate(**value) for name, value in entry.items() if name != "name"},
        )
        for entry in json.loads(file.read_text(encoding="utf-8"))
    ]
