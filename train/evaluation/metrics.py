"""Figures with their 95% intervals, from labels and probabilities alone."""

from __future__ import annotations

import numpy as np

from pneumonia.evidence import outcome, rate
from pneumonia.model_spec import Estimate, Metrics

# Percentile intervals settle to the third digit by then; more only takes longer.
RESAMPLES = 2000
CALIBRATION_BINS = 10


def measure(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    split: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 42,
) -> Metrics:
    """Everything ``metrics.json`` says of a split.

    Rates of counts (accuracy, recall, specificity, precision) get Wilson intervals; F1, AUC,
    average precision, ECE and Brier score get percentile bootstrap intervals, resampled within each
    class so that both stay present. Figures that a missing class leaves undefined are left out.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA.
        probabilities: ``(N,)``, 0 to 1, of PNEUMONIA.
        threshold: a probability at or above it is called PNEUMONIA.
        split: the name of what was measured on.
        resamples: of the bootstrap; with 0 the rates alone are measured.
        seed: of the bootstrap.

    Raises:
        ValueError: the arrays differ in length, are empty, or hold something other than 0/1 labels
            and probabilities in 0..1.
    """
    labels, probabilities = _check_answers(labels, probabilities)
    found = confusion(labels, probabilities, threshold)
    tp, fn, tn, fp = (
        found[name]
        for name in ("true_positive", "false_negative", "true_negative", "false_positive")
    )
    figures = {
        "accuracy": rate(tp + tn, len(labels)),
        "recall": rate(tp, tp + fn),
        "specificity": rate(tn, tn + fp),
        "precision": rate(tp, tp + fp),
    }
    if len(np.unique(labels)) == 2 and resamples:
        once = scores(labels, probabilities, threshold, np.ones((1, len(labels))))
        draws = scores(
            labels,
            probabilities,
            threshold,
            _stratified_draws(labels, resamples, np.random.default_rng(seed)),
        )
        for name, values in draws.items():
            low, high = np.percentile(values, [2.5, 97.5])
            figures[name] = Estimate(float(once[name][0]), float(low), float(high), "bootstrap")
    return Metrics(
        split,
        len(labels),
        float(threshold),
        found,
        {name: figure for name, figure in figures.items() if figure is not None},
    )


def confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, int]:
    """Counts of the four outcomes, PNEUMONIA being positive."""
    found = outcome(labels, probabilities, threshold)
    return {
        "true_positive": found.ill - found.missed,
        "false_negative": found.missed,
        "true_negative": found.healthy - found.false_alarms,
        "false_positive": found.false_alarms,
    }


def scores(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """F1, AUC, average precision, ECE and Brier score under many weightings of the images at once:
    a bootstrap of 2,000 in a tenth of a second.

    One weighting a resample, how often each image was drawn, stands for the resampled arrays. Ties
    are treated as scikit-learn's ``roc_auc_score`` and ``average_precision_score`` treat them; the
    expected calibration error is Guo et al.'s (ICML 2017) for the probability of PNEUMONIA.

    Args:
        labels, probabilities: ``(N,)``.
        threshold: a probability at or above it is called PNEUMONIA.
        weights: ``(R, N)``, not negative, with some weight in each class.

    Returns:
        A float64 array ``(R,)`` for each score.
    """
    weights = weights.astype(np.float64)
    total = weights.sum(axis=1)
    positive = labels == 1
    hits = weights[:, positive & (probabilities >= threshold)].sum(axis=1)
    calls = weights[:, probabilities >= threshold].sum(axis=1)

    # Groups of equal probability, highest first: counts of each class in a group, and up to and
    # with it.
    order = np.argsort(-probabilities, kind="stable")
    starts = np.flatnonzero(np.diff(probabilities[order], prepend=np.inf))
    ill = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    well = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    ill_so_far, well_so_far = ill.cumsum(axis=1), well.cumsum(axis=1)
    all_ill, all_well = ill_so_far[:, -1], well_so_far[:, -1]
    ordered_pairs = (ill * (all_well[:, np.newaxis] - well_so_far + well / 2)).sum(axis=1)
    precision = np.divide(
        ill_so_far,
        ill_so_far + well_so_far,
        out=np.zeros_like(ill_so_far),
        where=ill_so_far + well_so_far > 0,
    )

    gaps = sum(
        np.abs(weights[:, chosen] @ (labels - probabilities)[chosen])
        for chosen in calibration_bins(probabilities)
    )
    return {
        "f1": 2 * hits / (calls + all_ill),
        "auc": ordered_pairs / (all_ill * all_well),
        "average_precision": (ill * precision).sum(axis=1) / all_ill,
        "ece": gaps / total,
        "brier": weights @ (labels - probabilities) ** 2 / total,
    }


def paired_differences(
    labels: np.ndarray,
    groups: np.ndarray,
    ours: tuple[np.ndarray, float],
    theirs: tuple[np.ndarray, float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 42,
) -> dict[str, Estimate]:
    """Accuracy, recall, specificity and AUC of one model less those of another, on the same images.

    The images are resampled for both at once, by patient and within each class: what is hard for
    one is hard for the other, and X-rays of one child are not independent. So the intervals are
    narrower than two separate ones would suggest, and honest about repeated children.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA, both present.
        groups: ``(N,)``, equal where two images are of one patient; no patient has images of both
            classes.
        ours, theirs: probabilities ``(N,)`` and the threshold they are read at.
        resamples, seed: of the bootstrap.

    Returns:
        Differences from -1 to 1, with percentile intervals of 95%.
    """
    distinct, inverse = np.unique(groups, return_inverse=True)
    classes = np.zeros(len(distinct), int)
    classes[inverse] = labels
    drawn = _stratified_draws(classes, resamples, np.random.default_rng(seed))[:, inverse]
    once, draws = (
        {
            name: one - other
            for (name, one), other in zip(
                _rates(labels, *ours, weights).items(),
                _rates(labels, *theirs, weights).values(),
                strict=True,
            )
        }
        for weights in (np.ones((1, len(labels))), drawn)
    )
    ends = {name: np.percentile(values, [2.5, 97.5]) for name, values in draws.items()}
    return {
        name: Estimate(float(value[0]), float(ends[name][0]), float(ends[name][1]), "bootstrap")
        for name, value in once.items()
    }


def _rates(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    ill, right = labels == 1, (probabilities >= threshold) == (labels == 1)
    return {
        "accuracy": weights[:, right].sum(axis=1) / weights.sum(axis=1),
        "recall": weights[:, right & ill].sum(axis=1) / weights[:, ill].sum(axis=1),
        "specificity": weights[:, right & ~ill].sum(axis=1) / weights[:, ~ill].sum(axis=1),
        "auc": scores(labels, probabilities, threshold, weights)["auc"],
    }


def calibration_bins(probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> list[np.ndarray]:
    """Boolean masks ``(N,)`` of equal-width bins over 0..1; 1 itself belongs to the last."""
    number = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [number == index for index in range(bins)]


def _stratified_draws(labels: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each image is drawn, float64 ``(resamples, N)``: with replacement, within each
    class.
    """
    weights = np.zeros((resamples, len(labels)))
    for value in (0, 1):
        members = np.flatnonzero(labels == value)
        weights[:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=resamples
        )
    return weights


def _check_answers(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != probabilities.shape or not len(labels):
        raise ValueError(
            "Expected as many labels as probabilities, both (N,) with N above 0, got"
            f" {labels.shape} and {probabilities.shape}."
        )
    if not np.isin(labels, (0, 1)).all() or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Expected labels of 0 and 1 and probabilities in 0..1.")
    return labels, probabilities
