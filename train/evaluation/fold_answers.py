"""What the networks of all folds said, each of the patients it did not learn from: kept in a
bundle, counted, and drawn with the thresholds on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure

from pneumonia import bundle
from pneumonia.model_spec import ModelSpec, OperatingPoint
from train.evaluation import details, validation
from train.evaluation.breakdown import patients_of
from train.evaluation.calibration import Answers, logits, patient_weights
from train.evaluation.plots import BLUE, GREY, ORANGE
from train.evaluation.promise import confidence_in, supported
from train.training.run_folder import write_atomically

# The answers of all folds but a bundle's own, which are in its validation_copies.csv; which
# networks gave them; and the picture of all.
OTHERS, NETWORKS, PICTURE = "other_folds.csv", "other_folds.json", "folds.png"
FOLD = "fold"
# Names, labels and columns, as train.evaluation.details reads tables.
Table: TypeAlias = tuple[list[str], np.ndarray, dict[str, np.ndarray]]
# The share of the ill that is drawn, and the probabilities named below it.
_DRAWN = 0.08
_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99)


def collect(
    folder: Path, parts: Sequence[tuple[int, Path]], duplicates: Iterable[Sequence[str]] = ()
) -> tuple[Table, list[Answers]]:
    """Puts a bundle's answers and those of the other folds together, and writes nothing.

    Args:
        folder: the bundle.
        parts: number and bundle of each other fold.
        duplicates: groups of names whose files are the same; their patients are taken for one.

    Returns:
        The table of the other folds for :func:`write`, and the answers as :func:`read` gives them.

    Raises:
        FileNotFoundError, BundleError: see :func:`read`.
    """
    names: list[str] = []
    labels: list[np.ndarray] = []
    columns: dict[str, list[np.ndarray]] = {}
    own = details.read_copies(folder)
    for number, lent in parts:
        files, theirs, raw = details.read_copies(lent)
        if raw.keys() != own[2].keys():
            raise bundle.BundleError(
                f"{lent} answered under {', '.join(raw)}, and {folder} under {', '.join(own[2])};"
                " calibrate both by the same version."
            )
        names += files
        labels.append(theirs)
        for name, values in ({FOLD: np.full(len(files), float(number))} | raw).items():
            columns.setdefault(name, []).append(values)
    table = (
        names,
        np.concatenate(labels),
        {name: np.concatenate(values) for name, values in columns.items()},
    )
    return table, _parted(own, table, duplicates)


def write(folder: Path, table: Table, parts: Sequence[tuple[int, Path]]) -> None:
    """Writes ``other_folds.csv`` into a bundle: file, label, ``fold``, and the raw probability
    under each name; and ``other_folds.json``: the weights' sha256 and the commit of each fold's
    network, whose weights are not kept.
    """
    details.write_table(folder / OTHERS, table[0], table[2])
    specs = {str(number): bundle.read_model_spec(lent) for number, lent in parts}
    facts = {
        number: {"weights_sha256": spec.weights_sha256, "commit": spec.commit}
        for number, spec in specs.items()
    }
    write_atomically(
        folder / NETWORKS,
        lambda file: file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8"),
    )


def read(folder: Path, duplicates: Iterable[Sequence[str]] = ()) -> list[Answers]:
    """The answers that a bundle's model spec rests on, a fold each: its own first, and no other where
    it was calibrated on its own alone.

    Args:
        folder: the bundle.
        duplicates: groups of names whose files are the same; their patients are taken for one.

    Raises:
        FileNotFoundError: the bundle was not calibrated on held-out patients.
        BundleError: a table is there, but not what it should be.
    """
    own = details.read_copies(folder)
    if not (folder / OTHERS).is_file():
        return _parted(own, None, duplicates)
    others = details.read_table(folder / OTHERS)
    if set(others[2]) != {FOLD, *own[2]}:
        raise bundle.BundleError(
            f"{folder / OTHERS} must have the columns file, label, {FOLD}, and those of"
            f" {details.COPIES}; it has {', '.join(others[2])}."
        )
    return _parted(own, others, duplicates)


def _parted(own: Table, others: Table | None, duplicates: Iterable[Sequence[str]]) -> list[Answers]:
    names, labels, raw = own
    folds = np.zeros(len(names))
    if others:
        names, labels = names + others[0], np.concatenate([labels, others[1]])
        folds = np.concatenate([folds, others[2][FOLD]])
        raw = {name: np.concatenate([values, others[2][name]]) for name, values in raw.items()}
    patients = patients_of(names, duplicates)
    return [
        Answers(
            labels[chosen], patients[chosen], {name: values[chosen] for name, values in raw.items()}
        )
        for chosen in (folds == number for number in np.unique(folds))
    ]


def shares(folds: Sequence[Answers], threshold: float) -> list[dict[str, float]]:
    """What each fold's network does at a threshold, on X-rays as they are.

    Returns:
        A fold each: ``patients`` with pneumonia, the network's ``temperature``, and ``auc``,
        ``recall`` and ``specificity`` of images, 0 to 1.
    """
    rows = []
    for fold in folds:
        probabilities, ill = fold.calibrated[validation.CLEAN], fold.labels == 1
        rows.append(
            {
                "patients": len(np.unique(fold.groups[ill])),
                "temperature": fold.temperature,
                "auc": validation.auc(fold.labels, probabilities),
                "recall": float(np.mean(probabilities[ill] >= threshold)),
                "specificity": float(np.mean(probabilities[~ill] < threshold)),
            }
        )
    return rows


def were_it_like_the_others(
    folds: Sequence[Answers], points: Sequence[OperatingPoint]
) -> dict[str, dict[str, float]]:
    """What each promise would be worth if the first network missed what the others miss: its own
    fold may flatter it, for it chose recipe, epochs and seed too.

    Returns:
        By the name of each point that promises something, default aside: ``missed`` of its own
        patients with pneumonia and ``missed_by_others`` of theirs, 0 to 1; the ``confidence`` in
        what is promised as they answered, and ``confidence_if_alike``; and the recall
        ``supported_if_alike`` with the usual one.
    """
    parts = [
        (
            fold.calibrated[validation.CLEAN][fold.labels == 1],
            patient_weights(fold.groups[fold.labels == 1]),
        )
        for fold in folds
    ]
    patients = [round(float(weights.sum())) for _, weights in parts]
    rows = {}
    for point in points:
        if point.name == "default" or point.recall_lower_bound is None:
            continue
        missed = [float(weights[scores < point.threshold].sum()) for scores, weights in parts]
        elsewhere = sum(missed[1:]) / sum(patients[1:])
        alike = [elsewhere * patients[0], *missed[1:]]
        rows[point.name] = {
            "missed": missed[0] / patients[0],
            "missed_by_others": elsewhere,
            "confidence": confidence_in(point.recall_lower_bound, missed, patients),
            "confidence_if_alike": confidence_in(point.recall_lower_bound, alike, patients),
            "supported_if_alike": supported(alike, patients),
        }
    return rows


def picture(folds: Sequence[Answers], spec: ModelSpec) -> Figure:
    """The share of patients with pneumonia below each probability, for each fold's network and for
    all together, and where the thresholds stand.
    """
    drawn = Figure(figsize=(9, 4.6), layout="constrained")
    axes = drawn.subplots()
    parts = []
    for index, fold in enumerate(folds):
        ill = fold.labels == 1
        parts.append(
            (logits(fold.calibrated[validation.CLEAN][ill]), patient_weights(fold.groups[ill]))
        )
        (line,) = axes.plot(
            *_share_below(*parts[-1]),
            drawstyle="steps-post",
            color=BLUE if index == 0 else GREY,
            linewidth=1.6 if index == 0 else 0.7,
        )
        if index < 2:
            line.set(
                label=("this model, of its own fold", "networks of the other folds")[index],
                zorder=3 - index,
            )
    scores, weights = (np.concatenate(values) for values in zip(*parts, strict=True))
    axes.plot(
        *_share_below(scores, weights),
        drawstyle="steps-post",
        color=ORANGE,
        linewidth=2.2,
        label="all patients, by all networks",
    )
    points = [point for point in spec.operating_points if point.name != "default"]
    for point in points:
        place, chosen = _logit(point.threshold), point.threshold == spec.default.threshold
        axes.axvline(place, color="black", linewidth=1.4 if chosen else 0.7, linestyle=":")
        said = f" recall {point.recall_lower_bound:.3g}\n promised\n at {point.threshold:.2g}" + (
            "\n (default)" if chosen else ""
        )
        # Thresholds may lie close together: the lower ones are named further down.
        axes.annotate(
            said,
            (place, _DRAWN * (0.62 + 0.37 * (points.index(point) % 2 == 0))),
            fontsize=8,
            va="top",
            weight="bold" if chosen else None,
        )
    left, right = (
        min(float(scores.min()), _logit(points[-1].threshold)) - 0.3,
        _logit(points[0].threshold) + 1.6,
    )
    ticks = [value for value in _TICKS if left <= _logit(value) <= right]
    axes.set(
        xlim=(left, right),
        ylim=(0, _DRAWN),
        xticks=[_logit(value) for value in ticks],
        xticklabels=[f"{value:g}" for value in ticks],
    )
    axes.set(
        xlabel="probability of PNEUMONIA, calibrated", ylabel="patients with pneumonia below it"
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.set_title(
        "Who would be missed at which threshold: each patient as answered by the network that did"
        " not learn from it",
        fontsize=10,
    )
    return drawn


def _logit(probability: float) -> float:
    return float(logits(np.array(probability)))


def _share_below(scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(scores, kind="stable")
    return scores[order], np.cumsum(weights[order]) / weights.sum()
