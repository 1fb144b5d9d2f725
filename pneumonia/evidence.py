"""What a bundle's own table of predictions says at any threshold: how many pneumonias are missed
there, how many healthy children called back.

Everything is recomputed from labels and probabilities, so that an answer can carry the error rate
of the very setting it was given at.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from pneumonia.model_spec import Estimate, ModelSpec, ModelSpecError

# From this share of the healthy called back, PNEUMONIA is the answer to nearly everything.
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Outcome:
    """What a threshold costs, in people.

    Attributes:
        threshold: 0 to 1; a probability at or above it is called PNEUMONIA.
        missed: images with pneumonia that are called NORMAL.
        ill: images with pneumonia.
        called_back: images without pneumonia that are called PNEUMONIA.
        healthy: images without pneumonia.
    """

    threshold: float
    missed: int
    ill: int
    called_back: int
    healthy: int

    @property
    def recall(self) -> Estimate | None:
        """Share of the pneumonias found, with its Wilson interval; None without any."""
        return rate(self.ill - self.missed, self.ill)

    @property
    def specificity(self) -> Estimate | None:
        """Share of the healthy cleared, with its Wilson interval; None without any."""
        return rate(self.healthy - self.called_back, self.healthy)

    @property
    def accuracy(self) -> Estimate | None:
        """Share of all that is called rightly, with its Wilson interval; None without any."""
        return rate(
            self.ill - self.missed + self.healthy - self.called_back, self.ill + self.healthy
        )

    @property
    def missed_interval(self) -> tuple[float, float]:
        """95% Wilson interval, 0 to 1, of the share of pneumonias missed."""
        return wilson(self.missed, self.ill)

    @property
    def called_back_interval(self) -> tuple[float, float]:
        """95% Wilson interval, 0 to 1, of the share of healthy called back."""
        return wilson(self.called_back, self.healthy)

    @property
    def tells_little(self) -> bool:
        """Whether PNEUMONIA says next to nothing at this threshold: nine in ten of the healthy, or
        more, are called so as well.
        """
        return self.healthy > 0 and self.called_back >= _NEARLY_ALL * self.healthy

    def sentence(self) -> str:
        """Such as ``4 of 390 pneumonias were missed (95%: 0.4% to 2.6%) and 31 of 234 healthy were
        called back (95%: 9.5% to 18.2%)``.
        """
        missed, called_back = (
            f"95%: {low:.1%} to {high:.1%}"
            for low, high in (self.missed_interval, self.called_back_interval)
        )
        return (
            f"{self.missed} of {self.ill} pneumonias were missed ({missed}) and {self.called_back}"
            f" of {self.healthy} healthy were called back ({called_back})"
        )


def outcome(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> Outcome:
    """Counts what a threshold gets wrong.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA.
        probabilities: ``(N,)``, 0 to 1, of PNEUMONIA.
        threshold: 0 to 1; a probability at or above it is called PNEUMONIA.

    Raises:
        ValueError: the arrays differ in length.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.shape != probabilities.shape or labels.ndim != 1:
        raise ValueError(
            f"Expected as many labels as probabilities, both (N,), got {labels.shape} and"
            f" {probabilities.shape}."
        )
    ill, called = labels == 1, probabilities >= threshold
    return Outcome(
        float(threshold),
        int(np.sum(ill & ~called)),
        int(np.sum(ill)),
        int(np.sum(~ill & called)),
        int(np.sum(~ill)),
    )


def read_predictions(file: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads a bundle's ``predictions_test.csv`` or ``predictions_validation.csv``: names, int64
    ``(N,)`` labels, float64 ``(N,)`` probabilities.

    Raises:
        FileNotFoundError: the bundle has no such table.
        ModelSpecError: it is there, but not the table it should be.
    """
    with file.open(newline="", encoding="utf-8") as stream:
        try:
            rows = [
                (row["file"], int(row["label"]), float(row["probability"]))
                for row in csv.DictReader(stream)
            ]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ModelSpecError(
                f"{file.name} must have the columns file, label and probability; it cannot be read"
                f" ({type(error).__name__}: {error})."
            ) from None
    names, labels, probabilities = zip(*rows, strict=True) if rows else ((), (), ())
    return list(names), np.array(labels, np.int64), np.array(probabilities, np.float64)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95% Wilson score interval of a rate (Wilson 1927), ends within 0..1; all of it where there
    were no trials.
    """
    if not trials:
        return 0.0, 1.0
    found = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def rate(successes: int, trials: int) -> Estimate | None:
    """A share with its Wilson interval; None where there were no trials."""
    return Estimate(successes / trials, *wilson(successes, trials), "wilson") if trials else None


def rounds(bundled: Iterable[ModelSpec], further: Sequence[ModelSpec]) -> list[str]:
    """What to call further evaluated runs beside the bundled ones: a recipe that was bettered
    leaves its figures under the same name.

    Args:
        bundled: model specs of the models that answer.
        further: model specs of other weights, of one variant and recipe the oldest first.

    Returns:
        For each of ``further``: ``, earlier`` where a bundled model has its variant and recipe,
        with a number where there are several such; else nothing.
    """
    taken = {(spec.variant, spec.recipe.get("name")) for spec in bundled}
    keys = [(spec.variant, spec.recipe.get("name")) for spec in further]
    seen: Counter[tuple[str, Any]] = Counter()
    found = []
    for key in keys:
        seen[key] += 1
        found.append(
            ""
            if key not in taken
            else f", earlier {seen[key]}"
            if keys.count(key) > 1
            else ", earlier"
        )
    return found
