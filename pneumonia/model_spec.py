"""The frozen types that travel between training, bundles, the Hub and the app. Imports nothing of
the project.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

# The order is the label's number everywhere: 0 and 1.
LABELS = ("NORMAL", "PNEUMONIA")
SCHEMA = 2


# Names of schema 1 and what they are called since.
_RECIPE_NAMES = {"seed": "original", "best": "improved"}
_RECIPE_KEYS = {"lessons": "distillation", "decorrelated": "nuisance_reweighting"}


class ModelSpecError(ValueError):
    """A model_spec.json is missing something or holds a value it may not; the message names it."""


class UnknownOperatingPoint(ValueError):
    """A model has no operating point of that name; the message names those there are."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it was chosen for.

    Attributes:
        name: ``default`` or such as ``recall-0.98``.
        threshold: 0 to 1; a probability at or above it is called PNEUMONIA.
        recall_target: the share of the held-out patients' pneumonia X-rays that it was chosen to
            find, above 0 and up to 1, or None where it was fixed beforehand.
        recall_interval: 95% interval, ``(low, high)``, of the recall found on them: a plain
            binomial (Wilson's). None where nothing was held out.
        rationale: how it was chosen, in a sentence, or None.
    """

    name: str
    threshold: float
    recall_target: float | None = None
    recall_interval: tuple[float, float] | None = None
    rationale: str | None = None

    def __post_init__(self) -> None:
        if not (_is_number(self.threshold) and 0 <= self.threshold <= 1):
            raise ModelSpecError(
                f"The threshold of operating point {self.name!r} must lie in 0..1, got"
                f" {self.threshold}."
            )
        if self.recall_target is not None and not 0 < self.recall_target <= 1:
            raise ModelSpecError(
                f"The recall target of operating point {self.name!r} must lie in 0..1, got"
                f" {self.recall_target}."
            )
        if self.recall_interval is not None and not (
            len(self.recall_interval) == 2
            and 0 <= self.recall_interval[0] <= self.recall_interval[1] <= 1
        ):
            raise ModelSpecError(
                f"The recall interval of operating point {self.name!r} must be two numbers in 0..1,"
                f" the lower first, got {self.recall_interval}."
            )
        if self.rationale is not None and not isinstance(self.rationale, str):
            raise ModelSpecError(
                f"The rationale of operating point {self.name!r} must be a sentence, got"
                f" {self.rationale!r}."
            )


@dataclass(frozen=True)
class Estimate:
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
    figures: Mapping[str, Estimate]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """Reads what ``dataclasses.asdict`` wrote.

        Raises:
            ModelSpecError: a field is missing or of the wrong type.
        """
        try:
            figures = {name: Estimate(**figure) for name, figure in values["figures"].items()}
            return cls(
                values["split"],
                int(values["images"]),
                float(values["threshold"]),
                dict(values["counts"]),
                figures,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelSpecError(
                f"metrics.json has an entry that cannot be read: {type(error).__name__} {error}."
            ) from None


@dataclass(frozen=True)
class SingleView:
    """How one view alone is read: its own temperature and thresholds.

    Attributes:
        temperature: logits are divided by it.
        operating_points: as in :class:`ModelSpec`.
    """

    temperature: float
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What a bundle says of its weights, so that nobody has to guess how to use them.

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
        views: names of the looks at a picture whose mean logit is the answer
            (:data:`pneumonia.views.VIEWS`).
        single_view: how the plain view alone is read, for who asks for ``views=1``; None where that
            was not measured.
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
    views: tuple[str, ...] = ("plain",)
    single_view: SingleView | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        problems = {
            f"labels must be {list(LABELS)}, got {list(self.labels)}": tuple(self.labels) != LABELS,
            f"temperature must be a number above 0, got {self.temperature}": (
                not (_is_number(self.temperature) and self.temperature > 0)
            ),
            f"views must be different names of views, got {str(self.views)[:80]}": (
                not self.views
                or not all(isinstance(name, str) for name in self.views)
                or len(set(self.views)) != len(self.views)
            ),
            "single_view must have a temperature above 0": self.single_view is not None
            and not (_is_number(self.single_view.temperature) and self.single_view.temperature > 0),
            "recipe, data, preprocessing and versions must be objects": not all(
                isinstance(value, Mapping)
                for value in (self.recipe, self.data, self.preprocessing, self.versions)
            ),
            "commit must be text": not isinstance(self.commit, str),
            f"uncertainty must be a number of logits, 0 or more, got {self.uncertainty}": (
                not (_is_number(self.uncertainty) and self.uncertainty >= 0)
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
                raise ModelSpecError(f"model_spec.json: {problem}.")

    @property
    def default(self) -> OperatingPoint:
        """The operating point used where none is asked for."""
        return next(point for point in self.operating_points if point.name == "default")

    def point(self, name: str) -> OperatingPoint:
        """The operating point of a name.

        Raises:
            TypeError: the name is no text.
            UnknownOperatingPoint: there is none of that name.
        """
        if not isinstance(name, str):
            raise TypeError(
                f"operating_point must be a name such as 'default', got {type(name).__name__};"
                " a number goes to threshold."
            )
        for point in self.operating_points:
            if point.name == name:
                return point
        raise UnknownOperatingPoint(
            f"The {self.variant} model has no operating point {name[:40]!r}; choose one of"
            f" {', '.join(point.name for point in self.operating_points)}."
        )

    def to_json(self) -> str:
        """The text of ``model_spec.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Reads ``model_spec.json``.

        Raises:
            ModelSpecError: it is no JSON object, lacks a field or has a wrong value. Unknown fields
                are passed over: a newer writer may add some.
        """
        try:
            values = json.loads(text)
        # Brackets nested a thousand deep end the parser's recursion.
        except (ValueError, RecursionError) as error:
            raise ModelSpecError(f"model_spec.json is no JSON: {error}.") from None
        if not isinstance(values, dict):
            raise ModelSpecError(
                f"model_spec.json must hold an object, got {type(values).__name__}."
            )
        values = upgrade(values)
        required = {field.name for field in fields(cls) if field.default is MISSING}
        if missing := sorted(required - values.keys()):
            raise ModelSpecError(f"model_spec.json lacks {', '.join(missing)}.")
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        try:
            known["operating_points"] = tuple(
                _operating_point(point) for point in known["operating_points"]
            )
            for name in ("input_size", "gallery_layers", "labels", "views"):
                if name in known:
                    known[name] = tuple(known[name])
            if known.get("single_view") is not None:
                known["single_view"] = SingleView(
                    float(known["single_view"]["temperature"]),
                    tuple(map(_operating_point, known["single_view"]["operating_points"])),
                )
            return cls(**known)
        except (TypeError, KeyError) as error:
            raise ModelSpecError(
                f"model_spec.json has a value of the wrong type: {error}."
            ) from None


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an older ``model_spec.json`` (schema 1: ``contract.json``) in today's names.

    Values of today's schema come back as they are. Options that recipes no longer have stay in
    ``recipe``: they say how the weights came about and decide nothing when they are loaded. What
    operating points of schema 1 promised is passed over, as unknown fields are.
    """
    known = dict(values)
    if known.get("schema", 1) != 1:
        return known
    known["schema"] = SCHEMA
    recipe = known.get("recipe")
    if isinstance(recipe, Mapping):
        renamed = {_RECIPE_KEYS.get(key, key): value for key, value in recipe.items()}
        if renamed.get("name") in _RECIPE_NAMES:
            renamed["name"] = _RECIPE_NAMES[renamed["name"]]
        known["recipe"] = renamed
    return known


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


def decide(probability: float, threshold: float, uncertainty: float) -> tuple[str, bool]:
    """The label of a probability, and whether it lies too near the threshold to be relied on: the
    one rule, whoever asks.
    """
    low, high = uncertain_between(threshold, uncertainty)
    return LABELS[int(probability >= threshold)], low < probability < high


def _operating_point(values: Mapping[str, Any]) -> OperatingPoint:
    names = {field.name for field in fields(OperatingPoint)}
    known = {name: value for name, value in {**values}.items() if name in names}
    if known.get("recall_interval") is not None:
        known["recall_interval"] = tuple(known["recall_interval"])
    return OperatingPoint(**known)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_hex(text: Any, length: int) -> bool:
    return isinstance(text, str) and len(text) == length and set(text) <= set("0123456789abcdef")
