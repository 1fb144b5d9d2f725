"""Figures with their 95% intervals, from labels and probabilities alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from pneumonia.contract import Figure, Metrics

# Percentile intervals settle to the third digit by then; more only takes longer.
RESAMPLES = 2000
CALIBRATION_BINS = 10


def measure(labels: np.ndarray, probabilities: np.ndarray, threshold: float, split: str, *, resamples: int = RESAMPLES, seed: int = 42) -> Metrics:
    """Everything ``metrics.json`` says of a split.

    Rates of counts (accuracy, recall, specificity, precision) get Wilson intervals; F1, AUC, average precision, ECE and Brier score get percentile bootstrap
    intervals, resampled within each class so that both stay present. Figures that a missing class leaves undefined are left out.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA.
        probabilities: ``(N,)``, 0 to 1, of PNEUMONIA.
        threshold: a probability at or above it is called PNEUMONIA.
        split: the name of what was measured on.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: the arrays differ in length, are empty, or hold something other than 0/1 labels and probabilities in 0..1.
    """
    labels, probabilities = _checked(labels, probabilities)
    found = confusion(labels, probabilities, threshold)
    tp, fn, tn, fp = (found[name] for name in ("true_positive", "false_negative", "true_negative", "false_positive"))
    figures = {
        "accuracy": _rate(tp + tn, len(labels)),
        "recall": _rate(tp, tp + fn),
        "specificity": _rate(tn, tn + fp),
        "precision": _rate(tp, tp + fp),
    }
    scores: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "f1": lambda y, p: f1(y, p, threshold),
        "auc": roc_auc_score,
        "average_precision": average_precision_score,
        "ece": expected_calibration_error,
        "brier": brier_score_loss,
    }
    if len(np.unique(labels)) == 2:
        draws = _stratified_draws(labels, resamples, np.random.default_rng(seed))
        for name, score in scores.items():
            values = [score(labels[draw], probabilities[draw]) for draw in draws]
            low, high = np.percentile(values, [2.5, 97.5])
            figures[name] = Figure(float(score(labels, probabilities)), float(low), float(high), "bootstrap")
    return Metrics(split, len(labels), float(threshold), found, {name: figure for name, figure in figures.items() if figure is not None})


def confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, int]:
    """Counts of the four outcomes, PNEUMONIA being positive."""
    called = probabilities >= threshold
    positive = labels == 1
    return {
        "true_positive": int(np.sum(called & positive)),
        "false_negative": int(np.sum(~called & positive)),
        "true_negative": int(np.sum(~called & ~positive)),
        "false_positive": int(np.sum(called & ~positive)),
    }


def f1(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> float:
    """Harmonic mean of precision and recall; 0 where nothing positive was found."""
    found = confusion(labels, probabilities, threshold)
    return 2 * found["true_positive"] / max(1, 2 * found["true_positive"] + found["false_positive"] + found["false_negative"])


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance between the probability of PNEUMONIA and its frequency over equal-width bins, weighted by their images (Guo et al., ICML 2017)."""
    total = 0.0
    for chosen in calibration_bins(probabilities, bins):
        if chosen.any():
            total += abs(float(np.sum(labels[chosen] - probabilities[chosen])))
    return total / len(labels)


def calibration_bins(probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> list[np.ndarray]:
    """Boolean masks ``(N,)`` of equal-width bins over 0..1; 1 itself belongs to the last."""
    number = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [number == index for index in range(bins)]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95% Wilson score interval of a rate."""
    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _rate(successes: int, trials: int) -> Figure | None:
    if trials == 0:
        return None
    low, high = wilson(successes, trials)
    return Figure(successes / trials, low, high, "wilson")


def _stratified_draws(labels: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    classes = [np.flatnonzero(labels == value) for value in (0, 1)]
    return np.concatenate([rng.choice(members, (resamples, len(members))) for members in classes], axis=1)


def _checked(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != probabilities.shape or not len(labels):
        raise ValueError(f"Expected as many labels as probabilities, both (N,) with N above 0, got {labels.shape} and {probabilities.shape}.")
    if not np.isin(labels, (0, 1)).all() or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Expected labels of 0 and 1 and probabilities in 0..1.")
    return labels, probabilities
