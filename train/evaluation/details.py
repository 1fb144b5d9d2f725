"""What ``metrics.json`` says beyond its two entries, and the table of answers under corruption that
a model spec was calibrated on.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from pneumonia import bundle
from pneumonia.classifier import apply_temperature
from pneumonia.evidence import Table, outcome
from pneumonia.model_spec import ModelSpec, uncertain_between
from train.data.chest_xray import parse_item
from train.evaluation.breakdown import breakdown
from train.evaluation.metrics import measure
from train.files import write_atomically

# The raw answers, before any temperature, on validation as it is and under each corruption: the
# model spec's every number recomputes from it.
COPIES = "validation_copies.csv"
# The same for the plain view alone, where an answer is the mean of several.
SINGLE = "validation_single_view.csv"


def of(
    spec: ModelSpec,
    splits: Mapping[str, str],
    tables: Mapping[str, Table],
    duplicates: Iterable[Sequence[str]] = (),
    copies: tuple[list[str], np.ndarray, Mapping[str, np.ndarray]] | None = None,
) -> dict[str, Any]:
    """The details of a bundle's ``metrics.json``; see :func:`pneumonia.bundle.read_details`.

    Args:
        spec: with the operating points, the temperature and the uncertainty.
        splits: the name of the split behind ``validation`` and ``test``.
        tables: names, labels ``(N,)`` and calibrated probabilities ``(N,)`` of both.
        duplicates: groups of names whose files are identical.
        copies: what :func:`read_copies` gives, or None.
    """
    names, labels, probabilities = tables["test"]
    threshold = spec.default.threshold
    found: dict[str, Any] = {
        "operating_points": {
            point.name: {
                entry: asdict(measure(*tables[entry][1:], point.threshold, split, resamples=0))
                for entry, split in splits.items()
            }
            for point in spec.operating_points
        },
        "parts": {
            name: asdict(part)
            for name, part in breakdown(names, labels, probabilities, threshold, duplicates).items()
        },
    }
    if spec.uncertainty:
        low, high = uncertain_between(threshold, spec.uncertainty)
        near = (probabilities > low) & (probabilities < high)
        wrong = (probabilities >= threshold) != (labels == 1)
        found["uncertain"] = {
            "images": int(near.sum()),
            "wrong": int((near & wrong).sum()),
            "wrong_elsewhere": int((~near & wrong).sum()),
        }
    if copies:
        _, truth, raw = copies
        found["corruptions"] = {
            name: _under(truth, apply_temperature(values, spec.temperature), threshold)
            for name, values in raw.items()
        }
    return found


def write_copies(folder: Path, names: Sequence[str], raw: Mapping[str, np.ndarray]) -> None:
    """Writes ``validation_copies.csv``: file, label, and the raw probability ``(N,)`` under each
    name.
    """
    write_table(folder / COPIES, names, raw)


def read_copies(folder: Path) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Reads what :func:`write_copies` wrote: names, int64 ``(N,)`` labels, and float64 ``(N,)``
    under each name, ``clean`` first.

    Raises:
        FileNotFoundError: the bundle was not calibrated on held-out patients.
        BundleError: the file is there, but not what it should be.
    """
    return read_table(folder / COPIES)


def write_table(file: Path, names: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    """Writes a table of images: file, label, and a number ``(N,)`` under each name."""
    rows = (
        (name, parse_item(name).label, *(digits(values[index]) for values in columns.values()))
        for index, name in enumerate(names)
    )

    def fill(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("file", "label", *columns))
            writer.writerows(rows)

    write_atomically(file, fill)


def read_table(file: Path) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Reads what :func:`write_table` wrote: names, int64 ``(N,)`` labels, and float64 ``(N,)``
    under each name.

    Raises:
        FileNotFoundError: there is none.
        BundleError: the file is there, but not what it should be.
    """
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    try:
        (_, _, *columns), body = rows[0], rows[1:]
        values = np.array([[float(value) for value in row[2:]] for row in body]).reshape(
            len(body), len(columns)
        )
        return (
            [row[0] for row in body],
            np.array([int(row[1]) for row in body], np.int64),
            dict(zip(columns, values.T, strict=True)),
        )
    except (ValueError, IndexError) as error:
        raise bundle.BundleError(
            f"{file} must have the columns file, label and one for each corruption; it cannot be"
            f" read ({error})."
        ) from None


def digits(value: float) -> str:
    """A probability as every table writes it."""
    return f"{value:.9g}"


def _under(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    counted = outcome(labels, probabilities, threshold)
    return {
        "auc": float(roc_auc_score(labels, probabilities)),
        "recall": (counted.ill - counted.missed) / counted.ill,
        "specificity": (counted.healthy - counted.false_alarms) / counted.healthy,
    }
