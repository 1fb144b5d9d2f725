"""From a network's answers on held-out patients to what its model spec says: a temperature, an
operating point for each recall target, and how near a threshold an answer is uncertain.

The rule for thresholds is one line: ``recall-0.98`` is the highest threshold at which at least 98%
of the held-out patients' pneumonia X-rays are found, as they are. Nothing is added to it.

- **The temperature is fitted on the X-rays as they are and on their corrupted copies together.**
  Held-out patients come from the wards that were learned from, where a network is surest and most
  often right; what a stranger sends looks more like a copy, and confidence is to be believed there
  too. Each patient has weight 1, shared among its images: X-rays of one child resemble each other.
- **Beside a threshold stands the 95% interval of the recall**, that of a plain binomial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pneumonia.classifier import apply_temperature, logits
from pneumonia.evidence import wilson
from pneumonia.model_spec import ModelSpec, OperatingPoint, SingleView
from train.evaluation.validation import CLEAN

TARGETS = (0.95, 0.98, 0.99)
DEFAULT = 0.98
# Temperatures beyond these are those of a network that errs nowhere on validation, or everywhere:
# there the likelihood has no optimum.
COOLEST, HOTTEST = 0.2, 10.0
# So many images next to the threshold say how far answers move there.
NEAREST = 40


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network said of patients that it did not learn from.

    Attributes:
        labels: ``(N,)``, 1 is PNEUMONIA, both present.
        groups: int ``(N,)``, equal where two images are of one patient.
        raw: uncalibrated probabilities ``(N,)`` under each name, ``clean`` among them; see
            :func:`train.evaluation.validation.scores`.

    Raises:
        ValueError: there is nothing to calibrate on: no clean answers, one class only, or arrays of
            different length.
    """

    labels: np.ndarray
    groups: np.ndarray
    raw: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        labels, raw = np.asarray(self.labels), self.raw
        if (
            CLEAN not in raw
            or len(np.unique(labels)) != 2
            or any(np.shape(values) != labels.shape for values in (self.groups, *raw.values()))
        ):
            shapes = {name: np.shape(values) for name, values in raw.items()}
            raise ValueError(
                f"Calibration needs answers named {CLEAN!r}, images of both classes and arrays of"
                f" one length; got {shapes} for labels {sorted(set(labels.tolist()))} of shape"
                f" {labels.shape}."
            )

    @cached_property
    def temperature(self) -> float:
        """This network's own; see :func:`temperature`."""
        return temperature(np.asarray(self.labels), np.asarray(self.groups), self.raw)

    @cached_property
    def calibrated(self) -> dict[str, np.ndarray]:
        """Its probabilities ``(N,)`` under each name, at that temperature."""
        return {
            name: apply_temperature(values, self.temperature) for name, values in self.raw.items()
        }


def calibrate_spec(spec: ModelSpec, answers: Answers, single: Answers | None = None) -> ModelSpec:
    """Gives a model spec the temperature, operating points and uncertainty that held-out patients
    support.

    Args:
        spec: of the network that answered; those fields of it are replaced.
        answers: of that network, on patients it did not learn from.
        single: the same of the plain view alone, where ``answers`` are means of several views.
    """
    points = _points(answers)
    quick = None if single is None else SingleView(single.temperature, _points(single))
    return replace(
        spec,
        temperature=answers.temperature,
        operating_points=points,
        uncertainty=uncertainty(answers.calibrated, points[0].threshold),
        single_view=quick,
    )


def _points(answers: Answers) -> tuple[OperatingPoint, ...]:
    """The operating points, ``default`` first."""
    points = operating_points(answers.labels, answers.calibrated[CLEAN])
    default = next(point for point in points if point.recall_target == DEFAULT)
    return (replace(default, name="default"), *points)


def patient_weights(groups: np.ndarray) -> np.ndarray:
    """float64 ``(N,)``: one over how many images the image's patient has, so that each patient's
    add up to 1.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return 1 / counts[inverse]


def temperature(labels: np.ndarray, groups: np.ndarray, raw: Mapping[str, np.ndarray]) -> float:
    """The temperature of highest likelihood over all names together (Guo et al., ICML 2017),
    between :data:`COOLEST` and :data:`HOTTEST`, to four digits.
    """
    scores, truth = (
        np.concatenate([logits(values) for values in raw.values()]),
        np.tile(labels, len(raw)),
    )
    weights = np.tile(patient_weights(groups), len(raw))

    def slope(inverse: float) -> float:
        # The likelihood's derivative by the inverse temperature, which falls all along: one change
        # of sign, found by halving.
        return float(weights @ (scores * (truth - 1 / (1 + np.exp(-scores * inverse)))))

    low, high = 1 / HOTTEST, 1 / COOLEST
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(f"{1 / low:.4g}")


def operating_points(
    labels: np.ndarray, probabilities: np.ndarray, targets: Sequence[float] = TARGETS
) -> tuple[OperatingPoint, ...]:
    """A threshold for each recall target, named ``recall-0.95`` and so on: the highest that at
    least so large a share of the pneumonia X-rays reaches.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA, some of which there are.
        probabilities: ``(N,)``, calibrated, of the X-rays as they are.
        targets: of recall, above 0 and up to 1.
    """
    ill = np.sort(probabilities[labels == 1])
    points = []
    for target in targets:
        # A hair less than the product: .95 of 100 must not become 96 by its rounding.
        needed = max(1, math.ceil(target * len(ill) - 1e-9))
        threshold = _round_down(float(ill[len(ill) - needed]))
        found = int(np.sum(ill >= threshold))
        low, high = wilson(found, len(ill))
        points.append(
            OperatingPoint(
                f"recall-{target:.2f}",
                threshold,
                target,
                (float(f"{low:.4f}"), float(f"{high:.4f}")),
                f"the highest threshold that finds {target:.0%} of the {len(ill)} pneumonia X-rays"
                f" of held-out patients; it finds {found}",
            )
        )
    return tuple(points)


def uncertainty(found: Mapping[str, np.ndarray], threshold: float, nearest: int = NEAREST) -> float:
    """How far an answer moves for reasons that are not in the chest, in logits.

    The median, over the ``nearest`` images to the threshold and all corruptions, of the distance
    between the calibrated logit of the X-ray as it is and of the copy. At that distance from the
    threshold, about one delivery in four puts the same X-ray on the other side.

    Args:
        found: calibrated probabilities under each name, ``clean`` among them.
        threshold: of the default operating point.
        nearest: how many images.

    Returns:
        Logits, to three digits; 0 where there are no corruptions.
    """
    scores = {name: logits(values) for name, values in found.items()}
    distance = np.abs(scores[CLEAN] - logits(np.array(threshold)))
    chosen = np.argsort(distance, kind="stable")[:nearest]
    moved = [
        np.abs(values - scores[CLEAN])[chosen] for name, values in scores.items() if name != CLEAN
    ]
    return float(f"{np.median(moved):.3g}") if moved else 0.0


def _round_down(threshold: float) -> float:
    """Four digits of it, down: the image that it was read from must not fall below it when another
    batch rounds otherwise.
    """
    digits = 4 - 1 - math.floor(math.log10(threshold)) if threshold > 0 else 0
    return math.floor(threshold * 10**digits) / 10**digits
