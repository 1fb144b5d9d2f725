"""The frozen types that travel between training, bundles, the Hub and the app. Imports nothing of
the project.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

# The order is the label's number everywhere: 0 and 1.
LABELS = ("NORMAL", "PNEUMONIA")
SCHEMA = 1


class ContractError(ValueError):
    """A contract.json is missing something or holds a value it may not; the message names it."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        label: ``NORMAL`` or ``PNEUMONIA``: PNEUMONIA where ``probability >= threshold``.
        probability: of PNEUMONIA, 0 to 1, after the contract's temperature.
        threshold: of the operating point used, 0 to 1.
        variant: which network.
        milliseconds: decoding, resizing, the look for doubts and the network's pass; for a batch,
            the batch's time divided by its images.
        name: the image's file name, or ``upload``, ``image``, ``array``.
        uncertain: whether the probability lies so near the threshold that the same X-ray, delivered
            in another framing, exposure or encoding, may well get the other label; see
            :attr:`Contract.uncertainty`. Never where that was not measured.
        doubts: why this is no frontal chest X-ray that a network could read, a sentence each
            (:func:`pneumonia.guard.examine`); where there are any, label and probability mean
            nothing. Empty where nothing speaks against it.
    """

    label: str
    probability: float
    threshold: float
    variant: str
    milliseconds: float
    name: str
    uncertain: bool = False
    doubts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it was chosen for.

    Attributes:
        name: ``default`` or such as ``recall-0.98``.
        threshold: 0 to 1; a probability at or above it is called PNEUMONIA.
        recall_target: the recall it was chosen to reach on validation, or None where it was fixed
            beforehand.
        recall_promised: the recall that holds on X-rays of new patients from the same source, with
            the confidence that ``margin`` states; below the target where validation has too few
            patients to promise so much. None where nothing was promised.
        margin: how the threshold keeps clear of chance, in a sentence; None where nothing was
            promised.
    """

    name: str
    threshold: float
    recall_target: float | None = None
    recall_promised: float | None = None
    margin: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ContractError(
                f"The threshold of operating point {self.name!r} must lie in 0..1, got"
                f" {self.threshold}."
            )
        if self.recall_target is not None and not 0 < self.recall_target <= 1:
            raise ContractError(
                f"The recall target of operating point {self.name!r} must lie in 0..1, got"
                f" {self.recall_target}."
            )
        if self.recall_promised is not None and not 0 <= self.recall_promised <= 1:
            raise ContractError(
                f"The recall promised of operating point {self.name!r} must lie in 0..1, got"
                f" {self.recall_promised}."
            )
        if self.margin is not None and not isinstance(self.margin, str):
            raise ContractError(
                f"The margin of operating point {self.name!r} must be a sentence, got"
                f" {self.margin!r}."
            )


@dataclass(frozen=True)
class Figure:
    """A measured figure with its 95% interval.

    Attributes:
        value: the figure itself, 0 to 1.
        low, high: ends of the interval, 0 to 1.
        interval: how it was made, ``wilson`` (rates) or ``bootstrap`` (everything else).
    """

    value: float
    low: float
    high: float
    interval: str


@dataclass(frozen=True)
class Metrics:
    """What was measured on one split at one threshold; an entry of ``metrics.json``.

    Attributes:
        split: the folder measured on, such as ``test``.
        images: how many.
        threshold: a probability at or above it was called PNEUMONIA.
        counts: ``true_positive``, ``false_negative``, ``true_negative``, ``false_positive``;
            PNEUMONIA is positive.
        figures: accuracy, recall, specificity, precision, f1, auc, average_precision, ece, brier.
            One that cannot be computed (recall without a positive) is left out.
    """

    split: str
    images: int
    threshold: float
    counts: Mapping[str, int]
    figures: Mapping[str, Figure]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """Reads what ``dataclasses.asdict`` wrote.

        Raises:
            ContractError: a field is missing or of the wrong type.
        """
        try:
            figures = {name: Figure(**figure) for name, figure in values["figures"].items()}
            return cls(
                values["split"],
                int(values["images"]),
                float(values["threshold"]),
                dict(values["counts"]),
                figures,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ContractError(
                f"metrics.json has an entry that cannot be read: {type(error).__name__} {error}."
            ) from None


@dataclass(frozen=True)
class Contract:
    """What a bundle promises about its weights, so that nobody has to guess how to use them.

    Attributes:
        variant: architecture, a name in the catalogue.
        recipe: the recipe as it was carried out, plain JSON, with ``name`` and ``precision``.
        input_size: ``(height, width)`` in pixels.
        preprocessing: how images become inputs; see :func:`pneumonia.radiograph.describe`.
        operating_points: thresholds; the one named ``default`` is used where none is asked for.
        gallery_layers: names of the layers worth looking at, from input to output.
        weights_sha256: of ``model.weights.h5``.
        weights_dtype: how they are stored, ``float16`` or ``float32``.
        data: fingerprint and counts of the data trained on.
        versions: of the packages that trained it.
        commit: of this project's code that trained it, 40 hexadecimal digits, or ``unknown``.
        temperature: logits are divided by it; 1 leaves probabilities as the network gives them.
        labels: names of the classes 0 and 1.
        uncertainty: in logits: an answer whose calibrated logit lies within this distance of the
            threshold's is uncertain, for the same X-ray delivered otherwise moves by as much. 0
            where it was not measured.
    """

    variant: str
    recipe: Mapping[str, Any]
    input_size: tuple[int, int]
    preprocessing: Mapping[str, Any]
    operating_points: tuple[OperatingPoint, ...]
    gallery_layers: tuple[str, ...]
    weights_sha256: str
    weights_dtype: str
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    commit: str
    temperature: float = 1.0
    labels: tuple[str, str] = LABELS
    uncertainty: float = 0.0
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        problems = {
            f"labels must be {list(LABELS)}, got {list(self.labels)}": tuple(self.labels) != LABELS,
            f"temperature must be above 0, got {self.temperature}": not self.temperature > 0,
            f"uncertainty must be a number of logits, 0 or more, got {self.uncertainty}": (
                not 0 <= self.uncertainty < float("inf")
            ),
            f"input_size must be two positive integers, got {self.input_size}": (
                len(self.input_size) != 2
                or not all(isinstance(side, int) and side > 0 for side in self.input_size)
            ),
            "operating_points must have exactly one named 'default'": (
                sum(point.name == "default" for point in self.operating_points) != 1
            ),
            f"weights_sha256 must be 64 hexadecimal digits, got {self.weights_sha256!r}": (
                not _is_hex(self.weights_sha256, 64)
            ),
            f"schema {self.schema} is newer than this library's {SCHEMA}; update it": (
                self.schema > SCHEMA
            ),
        }
        for problem, found in problems.items():
            if found:
                raise ContractError(f"contract.json: {problem}.")

    @property
    def default(self) -> OperatingPoint:
        """The operating point used where none is asked for."""
        return next(point for point in self.operating_points if point.name == "default")

    def to_json(self) -> str:
        """The text of ``contract.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Reads ``contract.json``.

        Raises:
            ContractError: it is no JSON object, lacks a field or has a wrong value. Unknown fields
                are passed over: a newer writer may add some.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ContractError(f"contract.json is no JSON: {error}.") from None
        if not isinstance(values, dict):
            raise ContractError(f"contract.json must hold an object, got {type(values).__name__}.")
        required = {field.name for field in fields(cls) if field.default is MISSING}
        if missing := sorted(required - values.keys()):
            raise ContractError(f"contract.json lacks {', '.join(missing)}.")
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        try:
            known["operating_points"] = tuple(
                _operating_point(point) for point in known["operating_points"]
            )
            for name in ("input_size", "gallery_layers", "labels"):
                if name in known:
                    known[name] = tuple(known[name])
            return cls(**known)
        except TypeError as error:
            raise ContractError(f"contract.json has a value of the wrong type: {error}.") from None


def uncertain_between(threshold: float, uncertainty: float) -> tuple[float, float]:
    """The probabilities, 0 to 1, between which no label is given; both the threshold where
    ``uncertainty``, in logits, is 0.
    """
    if not uncertainty:
        return threshold, threshold
    # A threshold of 0 or 1 has no logit; what lies a millionth from it has.
    inside = min(max(threshold, 1e-6), 1 - 1e-6)
    middle = math.log(inside / (1 - inside))
    low, high = (1 / (1 + math.exp(-(middle + step))) for step in (-uncertainty, uncertainty))
    return low, high


def _operating_point(values: Mapping[str, Any]) -> OperatingPoint:
    names = {field.name for field in fields(OperatingPoint)}
    return OperatingPoint(**{name: value for name, value in {**values}.items() if name in names})


def _is_hex(text: Any, length: int) -> bool:
    return isinstance(text, str) and len(text) == length and set(text) <= set("0123456789abcdef")
