"""From validation to what a model spec promises: a temperature, an operating point for each recall
target, and how near a threshold an answer is uncertain.

Three decisions, taken before any test figure was there to take them by:

- **Patients, not images, are counted.** X-rays of one child resemble each other, so thirty of them
  are not thirty pieces of evidence: each patient has weight 1, shared among its images.
- **The temperature is fitted on the X-rays as they are and on their corrupted copies together.**
  Held-out patients come from the wards that were learned from, where a network is surest and most
  often right; what a stranger sends looks more like a copy, and confidence is to be believed there
  too.
- **A threshold meets two demands, the lower of the two counts.** On the X-rays as they are it keeps
  a margin for the chance in which patients were held out, so that new ones are found as promised;
  and on the average corruption the target itself is still kept, because a promise that holds only
  for the framing and exposure of one ward is worth little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pneumonia.classifier import calibrated
from pneumonia.model_spec import ModelSpec, OperatingPoint
from train.evaluation.promise import CONFIDENCE, confidence_in, promise, rank, supported
from train.evaluation.validation import CLEAN

TARGETS = (0.95, 0.98, 0.99, 1.0)
# The default is the cautious target where it clears this share of the healthy, on the average of
# clean and corrupted validation; else the ordinary one. A setting that calls back more than one
# healthy child in ten, where it was made, is one that people learn to ignore.
CAUTIOUS, ORDINARY, SPECIFICITY_WANTED = 0.99, 0.98, 0.90
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
        return {name: calibrated(values, self.temperature) for name, values in self.raw.items()}


def calibrated_spec(spec: ModelSpec, answers: Answers, others: Sequence[Answers] = ()) -> ModelSpec:
    """Gives a model spec the temperature, operating points and uncertainty that validation supports.

    Args:
        spec: of the network that answered; those three fields of it are replaced.
        answers: of that network, on patients it did not learn from. Temperature and uncertainty are
            read from these alone, for they are its own.
        others: of networks of the same recipe, each on other patients and itself calibrated on
            them. The operating points then rest on the patients of all.

    Raises:
        ValueError: networks were not asked under the same names.
    """
    if any(other.raw.keys() != answers.raw.keys() for other in others):
        raise ValueError(
            f"All networks must have answered under the same names, {', '.join(answers.raw)}."
        )
    everyone = (answers, *others)
    labels = np.concatenate([one.labels for one in everyone])
    networks = np.repeat(np.arange(len(everyone)), [len(one.labels) for one in everyone])
    # No patient has two networks, so a number that two of them use is of two patients.
    groups = np.unique(
        np.stack([networks, np.concatenate([one.groups for one in everyone])]),
        axis=1,
        return_inverse=True,
    )[1].ravel()
    found = {
        name: np.concatenate([one.calibrated[name] for one in everyone]) for name in answers.raw
    }
    points = operating_points(labels, groups, found, networks=networks)
    default = chosen_default(labels, points, found)
    width = uncertainty(answers.calibrated, default.threshold)
    return replace(
        spec,
        temperature=answers.temperature,
        operating_points=(replace(default, name="default"), *points),
        uncertainty=width,
    )


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, which are clipped as :func:`pneumonia.classifier.calibrated` clips
    them.
    """
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


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


def threshold_keeping(values: np.ndarray, weights: np.ndarray, allowance: float) -> float:
    """The highest of ``values`` with no more than ``allowance`` of weight strictly below it."""
    distinct, inverse = np.unique(values, return_inverse=True)
    below = np.cumsum(np.bincount(inverse, weights)) - np.bincount(inverse, weights)
    return float(distinct[below <= allowance + 1e-9][-1])


def operating_points(
    labels: np.ndarray,
    groups: np.ndarray,
    found: Mapping[str, np.ndarray],
    targets: Sequence[float] = TARGETS,
    confidence: float = CONFIDENCE,
    networks: np.ndarray | None = None,
) -> tuple[OperatingPoint, ...]:
    """A threshold for each recall target, named ``recall-0.95`` and so on.

    A patient's pneumonia counts as missed by the share of its X-rays that lie below. The promise is
    exact where each patient has one X-ray; shares vary less than whole misses do, so it errs to the
    safe side where some have several.

    Args:
        labels, groups: ``(N,)``.
        found: calibrated probabilities under each name, ``clean`` among them.
        targets: of recall.
        confidence: of the promise.
        networks: int ``(N,)``, which network answered, 0 for the one that the points are for; None
            where it answered for all.
    """
    ill = labels == 1
    weights = patient_weights(groups[ill])
    patients = len(np.unique(groups[ill]))
    copies = [values[ill] for name, values in found.items() if name != CLEAN]
    asked = None if networks is None else networks[ill]
    points = []
    for target in targets:
        if asked is not None and asked.any():
            threshold, promised, says = _of_several(
                found[CLEAN][ill], weights, asked, target, confidence
            )
        else:
            k = rank(patients, target, confidence)
            threshold = threshold_keeping(found[CLEAN][ill], weights, max(k, 1) - 1)
            promised = target if k else math.floor(promise(patients, 1, confidence) * 1000) / 1000
            says = (
                f"{'none' if k < 2 else f'at most {k - 1}'} of {patients} validation patients below"
                " it, which"
            )
        lowered = ""
        if copies:
            # No margin for chance on top: the corruptions are no sample of anything that a new
            # patient could be drawn from.
            kept = threshold_keeping(
                np.concatenate(copies),
                np.tile(weights / len(copies), len(copies)),
                patients * (1 - target),
            )
            if kept < threshold:
                threshold, lowered = (
                    kept,
                    (
                        f"; lowered further, to keep {target:.0%} on the average of {len(copies)}"
                        " corruptions as well"
                    ),
                )
        margin = (
            f"{says} promises {promised:.4g} on new ones with {confidence:.0%}"
            f" confidence{'' if promised >= target else ' and no more, from so few'}{lowered}"
        )
        points.append(
            OperatingPoint(f"recall-{target:.2f}", _below(threshold), target, promised, margin)
        )
    return tuple(points)


def _of_several(
    scores: np.ndarray, weights: np.ndarray, networks: np.ndarray, target: float, confidence: float
) -> tuple[float, float, str]:
    """The threshold up to which the first network keeps ``target``, given what all miss; what it
    promises; and a sentence on whom it rests.

    Args:
        scores, weights, networks: ``(M,)``, of the images with pneumonia.
    """
    numbers = np.unique(networks)
    patients = [round(weights[networks == number].sum()) for number in numbers]

    def missed(threshold: float) -> list[float]:
        return [
            float(weights[(networks == number) & (scores < threshold)].sum()) for number in numbers
        ]

    candidates = np.unique(scores)
    chosen = candidates[0]
    for candidate in candidates:
        if confidence_in(target, missed(candidate), patients) < confidence:
            break
        chosen = candidate
    out = missed(chosen)
    promised = (
        target
        if confidence_in(target, out, patients) >= confidence
        else supported(out, patients, confidence)
    )
    # Shares of patients are counted; more than were missed may be said, and fewer not.
    total, own = (
        f"at most {math.ceil(number - 1e-9)}" if number else "none" for number in (sum(out), out[0])
    )
    says = (
        f"{total} of {sum(patients)} patients with pneumonia below it, those of {len(numbers)}"
        f" folds, each as answered by the network that did not learn from it, and {own} of the"
        f" {patients[0]} that this one was asked about; with how far the networks differ allowed"
        " for, that"
    )
    return float(chosen), promised, says


def chosen_default(
    labels: np.ndarray, points: Sequence[OperatingPoint], found: Mapping[str, np.ndarray]
) -> OperatingPoint:
    """The cautious point if it keeps its promise and clears :data:`SPECIFICITY_WANTED` of the
    healthy on the average of all names; else the ordinary one.
    """
    by_target = {point.recall_target: point for point in points}
    cautious = by_target[CAUTIOUS]
    cleared = np.mean(
        [np.mean(values[labels == 0] < cautious.threshold) for values in found.values()]
    )
    kept = (cautious.recall_lower_bound or 0) >= CAUTIOUS
    return cautious if kept and cleared >= SPECIFICITY_WANTED else by_target[ORDINARY]


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


def _below(threshold: float) -> float:
    """The next lower threshold whose logit is a multiple of .01: the same image must not fall on
    the other side when another batch rounds otherwise.
    """
    logit = math.floor(float(logits(np.array(threshold))) * 100 - 1e-3) / 100
    return float(f"{1 / (1 + math.exp(-logit)):.6g}")
