"""What was measured of a model, as it lies beside the model: read once, here, for the page and for
the reports.

What a threshold costs in people is recomputed from a bundle's own table of predictions, so that an
answer can carry the error rate of the very setting it was given at.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, TypeVar

import numpy as np

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.model_spec import Estimate, Metrics, ModelSpec, ModelSpecError

PREDICTIONS, ROBUSTNESS, PUBLISHED = "predictions_test.csv", "robustness.json", "published.csv"
# The figures of every comparison, in the order of its columns.
COLUMNS = ("accuracy", "recall", "specificity", "auc")
# File names, int64 labels and float64 probabilities, all of one length.
Table: TypeAlias = tuple[list[str], np.ndarray, np.ndarray]
_Read = TypeVar("_Read")

# From this share of false alarms among the healthy, PNEUMONIA is the answer to nearly everything.
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Outcome:
    """What a threshold costs, in people.

    Attributes:
        threshold: 0 to 1; a probability at or above it is called PNEUMONIA.
        missed: images with pneumonia that are called NORMAL.
        ill: images with pneumonia.
        false_alarms: images without pneumonia that are called PNEUMONIA.
        healthy: images without pneumonia.
    """

    threshold: float
    missed: int
    ill: int
    false_alarms: int
    healthy: int

    @property
    def recall(self) -> Estimate | None:
        """Share of the pneumonias found, with its Wilson interval; None without any."""
        return rate(self.ill - self.missed, self.ill)

    @property
    def specificity(self) -> Estimate | None:
        """Share of the healthy read as normal, with its Wilson interval; None without any."""
        return rate(self.healthy - self.false_alarms, self.healthy)

    @property
    def accuracy(self) -> Estimate | None:
        """Share of all that is called rightly, with its Wilson interval; None without any."""
        return rate(
            self.ill - self.missed + self.healthy - self.false_alarms, self.ill + self.healthy
        )

    @property
    def missed_interval(self) -> tuple[float, float]:
        """95% Wilson interval, 0 to 1, of the share of pneumonias missed."""
        return wilson(self.missed, self.ill)

    @property
    def false_alarms_interval(self) -> tuple[float, float]:
        """95% Wilson interval, 0 to 1, of the share of false alarms among the healthy."""
        return wilson(self.false_alarms, self.healthy)

    @property
    def tells_little(self) -> bool:
        """Whether PNEUMONIA says next to nothing at this threshold: nine in ten of the healthy, or
        more, are called so as well.
        """
        return self.healthy > 0 and self.false_alarms >= _NEARLY_ALL * self.healthy

    @classmethod
    def of_counts(cls, threshold: float, counts: Mapping[str, int]) -> Outcome:
        """The same from the counts of a ``metrics.json``."""
        missed, alarms = counts["false_negative"], counts["false_positive"]
        return cls(
            threshold,
            missed,
            missed + counts["true_positive"],
            alarms,
            alarms + counts["true_negative"],
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


def read_predictions(file: Path) -> Table:
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
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def rate(successes: int, trials: int) -> Estimate | None:
    """A share with its Wilson interval; None where there were no trials."""
    return Estimate(successes / trials, *wilson(successes, trials), "wilson") if trials else None


@dataclass(frozen=True)
class Condition:
    """What was done to pictures: a name, words for it, and the kind of probe or ``corruption``."""

    name: str
    title: str
    kind: str


class Movement(TypedDict):
    """By how much probabilities moved, 0 to 1, and how many answers changed with them."""

    max: float
    mean: float
    change: int


class Originals(TypedDict, total=False):
    """How far probabilities move between ``images`` originals and their published copies; nothing
    beside ``images`` where that is 0.
    """

    images: int
    with_copy_step: Movement
    without_copy_step: Movement
    other_copies: Movement


@dataclass(frozen=True)
class Robustness:
    """What ``robustness.json`` holds.

    Attributes:
        variant, weights_sha256: of the bundle.
        threshold: the bundle's default; a probability at or above it was called PNEUMONIA.
        limit: how many images a split were taken; None for all. A limited measurement is a quick
            look and no result.
        images: how many of each split.
        conditions: in the order of every table, the untouched pictures first.
        figures: by split, then condition, then ``auc``, ``accuracy``, ``recall``, ``specificity``.
        originals: what becomes of originals, read with and without the copy step.
    """

    variant: str
    weights_sha256: str
    threshold: float
    limit: int | None
    images: Mapping[str, int]
    conditions: tuple[Condition, ...]
    figures: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    originals: Originals

    def is_of(self, spec: ModelSpec) -> bool:
        """Whether it was measured of these very weights at this very threshold."""
        return (self.weights_sha256, self.threshold) == (
            spec.weights_sha256,
            spec.default.threshold,
        )


def read_robustness(folder: Path) -> Robustness | None:
    """What ``robustness.json`` of a bundle says; None where there is none.

    Raises:
        BundleError: the file is there, but not what it should be.
    """

    def read(values: dict[str, Any]) -> Robustness:
        return Robustness(
            variant=values["variant"],
            weights_sha256=values["weights_sha256"],
            threshold=float(values["threshold"]),
            limit=values["limit"],
            images=dict(values["images"]),
            conditions=tuple(Condition(**entry) for entry in values["conditions"]),
            figures={
                split: {
                    name: {figure: Estimate(**entry) for figure, entry in entries.items()}
                    for name, entries in named.items()
                }
                for split, named in values["figures"].items()
            },
            originals=values["originals"],
        )

    return _read_json(folder / ROBUSTNESS, read, "robustness")


@dataclass(frozen=True)
class Published:
    """Figures that somebody else reports of the same test folder, and where; what they do not
    report is None.
    """

    name: str
    figures: Mapping[str, float | None]
    note: str
    link: str = ""

    def estimate(self, name: str, images: Mapping[str, int]) -> Estimate | None:
        """A rate with the Wilson interval of the counts it implies; an AUC alone, for its interval
        cannot be had. ``images`` says how many each rate is of.
        """
        value = self.figures[name]
        if value is None or name == "auc":
            return None if value is None else Estimate(value, value, value, "none")
        interval = rate(round(value * images[name]), images[name])
        assert interval is not None
        return Estimate(value, interval.low, interval.high, "wilson")


def read_published(results: Path) -> list[Published]:
    """The rows of ``published.csv``; none where there is no such file."""
    file = results / PUBLISHED
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [
            Published(
                row["name"],
                {name: float(row[name]) if row[name] else None for name in COLUMNS},
                row["note"] or "",
                row.get("link") or "",
            )
            for row in csv.DictReader(stream)
        ]


@dataclass(frozen=True)
class Result:
    """One model that was measured on the test folder.

    Attributes:
        title: its network's, with the epoch where that is not the recipe's own, and ``, earlier``
            where a later round of its recipe is bundled.
        spec, test: what the folder says.
        folder: where it lies.
        bundled: whether it is one of the models that the project carries.
        earlier: whether a bundled model has its recipe and other weights.
    """

    title: str
    spec: ModelSpec
    test: Metrics
    folder: Path
    bundled: bool = True
    earlier: bool = False

    @property
    def table(self) -> Table | None:
        """The answers on the test folder, where the folder has them."""
        file = self.folder / PREDICTIONS
        return read_predictions(file) if file.is_file() else None

    @property
    def went_on(self) -> bool:
        """Whether it was trained past its recipe's own epoch."""
        recipe = self.spec.recipe
        return bool(
            "epoch" in recipe and recipe["epoch"] != recipe.get("keep_epoch", recipe["epoch"])
        )

    @property
    def claim(self) -> float | None:
        """Test accuracy that the original notebook reports of this very run; see
        :meth:`pneumonia.architectures.Variant.claim`.
        """
        variant = CATALOGUE.get(self.spec.variant)
        return variant.claim(self.spec.recipe) if variant else None

    @property
    def foremost(self) -> bool:
        """Whether a reader should see it first: what is bundled and what repeats the original
        notebook, not an earlier round or a run that went on.
        """
        return self.bundled or not (self.earlier or self.went_on)


def read_result(folder: Path, *, bundled: bool) -> Result:
    """What a folder with a model spec and metrics says of its model.

    Raises:
        BundleError, ModelSpecError: it lacks one of them, or one cannot be read.
    """
    metrics, spec = bundle.read_metrics(folder), bundle.read_model_spec(folder)
    if "test" not in metrics:
        raise bundle.BundleError(
            f"{folder} has no test metrics; run python -m train evaluate {folder} --out {folder}."
        )
    title = CATALOGUE[spec.variant].title if spec.variant in CATALOGUE else spec.variant
    result = Result(title, spec, metrics["test"], folder, bundled)
    return (
        replace(result, title=f"{title}, epoch {spec.recipe['epoch']}")
        if result.went_on
        else result
    )


def read_further(results: Path, on_duty: Sequence[ModelSpec]) -> list[Result]:
    """Further runs that were measured, in the catalogue's order: each folder under ``results`` with
    a model spec and metrics, whose weights are not those of a model on duty.

    A recipe that was bettered leaves its figures under the name it had: a run with the variant and
    recipe of a model on duty is called earlier, and numbered by its folder's name where there are
    several.

    Args:
        results: ``assets/results``.
        on_duty: model specs of the models that answer.

    Raises:
        BundleError, ModelSpecError: a folder cannot be read.
    """
    weights = {spec.weights_sha256 for spec in on_duty}
    found = [
        read_result(file.parent, bundled=False)
        for file in sorted(results.glob(f"*/{bundle.MODEL_SPEC}"))
    ]
    found = [result for result in found if result.spec.weights_sha256 not in weights]
    taken = {(spec.variant, spec.recipe.get("name")) for spec in on_duty}
    keys = [(result.spec.variant, result.spec.recipe.get("name")) for result in found]
    counts, seen = Counter(keys), Counter[tuple[str, Any]]()
    titled = []
    for key, result in zip(keys, found, strict=True):
        seen[key] += 1
        suffix = f", earlier {seen[key]}" if counts[key] > 1 else ", earlier"
        titled.append(
            replace(result, title=f"{result.title}{suffix}", earlier=True)
            if key in taken
            else result
        )
    order = [*CATALOGUE]
    return sorted(
        titled,
        key=lambda result: (
            order.index(result.spec.variant) if result.spec.variant in order else len(order),
            result.spec.recipe.get("epoch", 0),
        ),
    )


def _read_json(file: Path, read: Callable[[dict[str, Any]], _Read], command: str) -> _Read | None:
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return read(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise bundle.BundleError(
            f"{file} cannot be read ({type(error).__name__}: {error}); write it again with"
            f" python -m train {command}."
        ) from None
