"""The same figures for parts of the test folder, from its table of predictions alone: by cause,
without duplicates, by patient.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from pneumonia.model_spec import Metrics
from train.data.chest_xray import parse_item
from train.data.folds import number_groups
from train.evaluation.metrics import RESAMPLES, measure

BACTERIA, VIRUS, DISTINCT, PATIENTS = "bacteria", "virus", "without duplicates", "by patient"


def breakdown(
    names: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    duplicates: Iterable[Sequence[str]] = (),
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Metrics]:
    """Measures parts of a split.

    Args:
        names: ``split/LABEL/file``, N of them.
        labels, probabilities: ``(N,)``.
        threshold: a probability at or above it is called PNEUMONIA.
        duplicates: groups of names whose files are the same, byte for byte; names of other splits
            are passed over.
        resamples: of the bootstrap.

    Returns:
        ``bacteria`` and ``virus``: the pneumonias of that cause against all healthy, which is why
        both have the same specificity. ``without duplicates``: the first of each group of identical
        files. ``by patient``: a patient is called PNEUMONIA where any of its X-rays is, as whoever
        has one false alarm counts as one; its probability is the highest. A cause that the names
        do not tell is left out.
    """
    items = [parse_item(name) for name in names]
    parts: dict[str, Metrics] = {}
    for cause in (BACTERIA, VIRUS):
        chosen = np.array([item.label == 0 or item.cause == cause for item in items])
        if np.any(labels[chosen] == 1):
            parts[cause] = measure(
                labels[chosen], probabilities[chosen], threshold, cause, resamples=resamples
            )
    groups = [group for group in duplicates if set(group) & set(names)]
    repeated = {name for group in groups for name in sorted(group)[1:]}
    first = np.array([name not in repeated for name in names])
    parts[DISTINCT] = measure(
        labels[first], probabilities[first], threshold, DISTINCT, resamples=resamples
    )
    patients = patients_of(names, groups)
    highest = np.array(
        [probabilities[patients == patient].max() for patient in range(patients.max() + 1)]
    )
    truth = np.array([labels[patients == patient].max() for patient in range(patients.max() + 1)])
    parts[PATIENTS] = measure(truth, highest, threshold, PATIENTS, resamples=resamples)
    return parts


def patients_of(names: Sequence[str], duplicates: Iterable[Sequence[str]] = ()) -> np.ndarray:
    """A number for each name, int64 ``(N,)``, from 0 on: equal where two are of one patient, or of
    two that share a file.
    """
    shared: dict[str, list[Hashable]] = {name: [] for name in names}
    for number, group in enumerate(duplicates):
        for name in shared.keys() & set(group):
            shared[name].append(number)
    return number_groups([(parse_item(name).patient, *shared[name]) for name in names])
