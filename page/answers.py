"""One X-ray and one model to an answer with all that is known of it: numbers and frozen types, no
HTML.

Predict, Compare, the report and the API all come through :func:`read`, so they cannot say different
things of one picture.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import gradio as gr
import numpy as np

from page import panels
from page.served import Models, Shown
from page.words import answers as words
from pneumonia import LABELS, PneumoniaClassifier, bundle, heatmaps, lungs, radiograph
from pneumonia.evidence import Outcome, outcome, read_predictions
from pneumonia.familiarity import UNFAMILIAR
from pneumonia.model_spec import (
    Metrics,
    ModelSpec,
    OperatingPoint,
    decide,
    uncertain_between,
)
from pneumonia.prediction import Prediction

PREDICTIONS = "predictions_test.csv"


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model says of an X-ray.

    Attributes:
        shown: the X-ray.
        prediction: at the operating point's threshold.
        point: the operating point asked for, or the model's default where it has none of that name.
        evidence: what is known of the model.
        called: NORMAL or PNEUMONIA, or UNCERTAIN so near the threshold that the model spec forbids
            a label.
        cost: what the point costs on the test set, in people; None where that was not measured.
        seen: uint8 ``(h, w)``, the X-ray as it entered the network.
        heat: what each place adds to the answer; None before it is drawn, and for networks that end
            otherwise than this project's.
        in_lungs: of all that speaks for a class, by its name, the share in the lung fields, and the
            share of the picture that these cover, 0 to 1; a class for which nothing speaks is left
            out. None where the lungs could not be made out, or there is no heat map.
    """

    shown: Shown
    prediction: Prediction
    point: OperatingPoint
    evidence: panels.Evidence
    called: str
    cost: Outcome | None
    seen: np.ndarray
    heat: heatmaps.HeatMap | None = None
    in_lungs: Mapping[str, tuple[float, float]] | None = None

    @property
    def towards(self) -> str:
        """The class whose evidence is shown first: the one that was answered, PNEUMONIA where none
        was; the other one where nothing speaks for it.
        """
        first = "NORMAL" if self.called == "NORMAL" else "PNEUMONIA"
        other = next(label for label in LABELS if label != first)
        if self.heat is None or self.heat.towards(first).any():
            return first
        return other if self.heat.towards(other).any() else first

    @property
    def forced(self) -> bool:
        """Whether the picture is answered only because the visitor insisted."""
        return self.shown.forced and bool(self.shown.reasons)


class Cost(TypedDict):
    """Of ``ill`` X-rays with pneumonia on the test set ``missed`` were called NORMAL, and
    ``false_alarms`` of ``healthy`` without it PNEUMONIA. Ends of the 95% Wilson intervals are
    shares, 0 to 1."""

    missed: int
    ill: int
    missed_low: float
    missed_high: float
    false_alarms: int
    healthy: int
    false_alarms_low: float
    false_alarms_high: float


class Answer(TypedDict):
    """A model's answer: the fields of a prediction, then what is known of it.
    ``label`` is PNEUMONIA where ``probability`` is at or above ``threshold``, else NORMAL;
    ``answer`` is the same, or UNCERTAIN between ``uncertain_from`` and ``uncertain_to`` and where
    the X-ray is ``unfamiliar``, unlike those the model learned from: a second read is due then.
    ``cost`` is null where it was not measured.
    ``repo`` and ``commit`` say where on the Hub the weights come from, null for the bundled ones.
    """

    label: str
    probability: float
    threshold: float
    operating_point: str
    variant: str
    uncertain: bool
    unfamiliar: bool
    warnings: list[str]
    name: str
    milliseconds: float
    answer: str
    calibrated: bool
    recall_target: float | None
    uncertain_from: float
    uncertain_to: float
    cost: Cost | None
    weights_sha256: str
    repo: str | None
    commit: str | None


def read(models: Models, variant: str, shown: Shown, point: str = "default") -> Reading:
    """Asks a model; without the heat map, which :func:`with_heat` adds.

    Args:
        models: those that can be asked.
        variant: name of the one to ask.
        shown: the X-ray.
        point: name of an operating point; the model's default where it has none of that name.

    Raises:
        gr.Error: there is no such model, or it cannot be loaded.
    """
    # First the weights, then what is known of them: asking may bring others than those that were
    # bundled.
    classifier = models[variant]
    known, chosen = models.evidence(variant), point_of(classifier.spec, point)
    prediction = classifier.predict(shown.picture, operating_point=chosen.name, on_invalid="ignore")
    called = call_prediction(prediction)
    seen = radiograph.resize(shown.picture, classifier.spec.input_size)
    return Reading(
        shown,
        prediction,
        chosen,
        known,
        called,
        cost(models, variant, classifier, chosen.threshold),
        seen,
    )


def with_heat(models: Models, variant: str, reading: Reading) -> Reading:
    """The same with its heat map, where the network allows one."""
    classifier = models[variant]
    try:
        heat = heatmaps.contributions(classifier.model, classifier.inputs([reading.shown.picture]))
    except ValueError:
        # A visitor's own network may end otherwise; its answer stands without a map.
        return reading
    fit = lungs.find(reading.shown.picture)
    if not fit.found:
        return replace(reading, heat=heat)
    found = {
        label: inside(heat.towards(label, fit.distance.shape), fit.distance > 0) for label in LABELS
    }
    return replace(
        reading, heat=heat, in_lungs={label: share for label, share in found.items() if share}
    )


def inside(shares: np.ndarray, mask: np.ndarray) -> tuple[float, float] | None:
    """The share of a map that lies in a mask, and the share of the picture that the mask covers,
    both 0 to 1; None of a map of zeros.

    Args:
        shares: float ``(H, W)``, 0 or more.
        mask: bool ``(H, W)``.
    """
    total = float(shares.sum(dtype=np.float64))
    return (
        (float(shares[mask].sum(dtype=np.float64)) / total, float(mask.mean())) if total else None
    )


def points(spec: ModelSpec) -> list[OperatingPoint]:
    """The operating points worth offering: one a threshold, the default in place of its equal, from
    the most sensitive to the least.
    """
    chosen = {
        point.threshold: point
        for point in (
            *(other for other in spec.operating_points if other.name != "default"),
            spec.default,
        )
    }
    return [chosen[threshold] for threshold in sorted(chosen)]


def point_of(spec: ModelSpec, name: str) -> OperatingPoint:
    """The operating point of a name; the default where the model spec has none of it."""
    return next((point for point in spec.operating_points if point.name == name), spec.default)


def call_prediction(prediction: Prediction) -> str:
    """NORMAL, PNEUMONIA, or UNCERTAIN where the prediction is."""
    return "UNCERTAIN" if prediction.uncertain else prediction.label


def call(probability: float, threshold: float, uncertainty: float) -> str:
    """NORMAL, PNEUMONIA, or UNCERTAIN where the probability's logit lies nearer to the threshold's
    than ``uncertainty`` logits.
    """
    label, uncertain = decide(probability, threshold, uncertainty)
    return "UNCERTAIN" if uncertain else label


def cost(
    models: Models, variant: str, classifier: PneumoniaClassifier, threshold: float
) -> Outcome | None:
    """What a threshold costs on the test set, counted in the predictions that were published with
    these very weights; None where there are none.

    Weights from the Hub come without that table; if the bundled ones have the same sha256, theirs
    is the same.
    """
    folders = [classifier.folder] if classifier.folder else []
    bundled = models.folder / variant
    if (
        variant in models.names
        and (bundled / bundle.MODEL_SPEC).is_file()
        and bundle.read_model_spec(bundled).weights_sha256 == classifier.spec.weights_sha256
    ):
        folders.append(bundled)
    measured = next((folder for folder in folders if (folder / PREDICTIONS).is_file()), None)
    return count(measured, classifier.metrics.get("test"), threshold)


def count(folder: Path | None, test: Metrics | None, threshold: float) -> Outcome | None:
    """What a threshold costs on the test set, from the predictions in a folder or, without, from
    metrics of that very threshold; None where there are neither.
    """
    if folder is not None:
        table = folder / PREDICTIONS
        labels, probabilities = _predictions(table, table.stat().st_mtime_ns)
        return outcome(labels, probabilities, threshold)
    if test is None or test.threshold != threshold:
        return None
    return Outcome.of_counts(threshold, test.counts)


def build_answer(reading: Reading) -> Answer:
    """A reading as plain JSON types, for the API."""
    prediction, spec, counted = reading.prediction, reading.evidence.spec, reading.cost
    low, high = uncertain_between(reading.point.threshold, spec.uncertainty)
    people = None
    if counted is not None:
        (missed_low, missed_high), (back_low, back_high) = (
            counted.missed_interval,
            counted.false_alarms_interval,
        )
        people = Cost(
            missed=counted.missed,
            ill=counted.ill,
            missed_low=missed_low,
            missed_high=missed_high,
            false_alarms=counted.false_alarms,
            healthy=counted.healthy,
            false_alarms_low=back_low,
            false_alarms_high=back_high,
        )
    return Answer(
        label=prediction.label,
        probability=prediction.probability,
        threshold=prediction.threshold,
        operating_point=reading.point.name,
        variant=prediction.variant,
        uncertain=prediction.uncertain,
        unfamiliar=prediction.unfamiliar,
        warnings=list(prediction.warnings),
        name=prediction.name,
        milliseconds=prediction.milliseconds,
        answer=reading.called,
        calibrated=spec.temperature != 1,
        recall_target=reading.point.recall_target,
        uncertain_from=low,
        uncertain_to=high,
        cost=people,
        weights_sha256=spec.weights_sha256,
        repo=reading.evidence.repo,
        commit=reading.evidence.commit,
    )


def must_be_answered(shown: Shown, force: bool) -> Shown:
    """For the API: the X-ray, unless it is refused and the caller did not force that.

    Raises:
        gr.Error: the reasons, and how to force them.
    """
    if shown.rejection and not force:
        raise gr.Error(
            f"{html.escape(shown.rejection, quote=False)} Send force=true to have an answer all"
            " the same.",
            print_exception=False,
        )
    return shown


def why_uncertain(reading: Reading) -> str:
    """Why an answer is no label, in a sentence; empty where it is one."""
    if reading.called != "UNCERTAIN":
        return ""
    return UNFAMILIAR if reading.prediction.unfamiliar else words.UNCERTAIN_WHY


def cost_sentence(reading: Reading) -> str:
    """How often the setting is wrong, in people of a hundred, and whether that leaves an answer any
    worth; or that it was not measured. Empty where an answer was forced or the X-ray is unfamiliar:
    nothing was measured on such pictures.
    """
    counted = reading.cost
    if reading.forced or reading.prediction.unfamiliar:
        return ""
    if counted is None or not counted.ill or not counted.healthy:
        return words.NO_COST
    found = words.COST.format(
        missed=words.of_hundred(counted.missed, counted.ill),
        alarms=words.of_hundred(counted.false_alarms, counted.healthy),
    )
    return f"{found} {words.TELLS_LITTLE}" if counted.tells_little else found


@lru_cache(maxsize=16)
def _predictions(file: Path, _changed: int) -> tuple[np.ndarray, np.ndarray]:
    _, labels, probabilities = read_predictions(file)
    return labels, probabilities
