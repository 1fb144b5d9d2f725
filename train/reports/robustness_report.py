"""What ``python -m train robustness`` found: its table, and what the lungs tell of it."""

from __future__ import annotations

from pathlib import Path

from pneumonia import probes
from pneumonia.architectures import CATALOGUE
from pneumonia.bundle import BundleError
from pneumonia.evidence import ROBUSTNESS, Robustness, read_robustness
from pneumonia.model_spec import ModelSpec
from pneumonia.probes import LUNGS_HIDDEN, LUNGS_ONLY
from train.data.folds import HELD_OUT
from train.evaluation.robustness_plot import FIGURES
from train.reports import markdown


def of_bundle(folder: Path, spec: ModelSpec) -> Robustness | None:
    """A bundle's robustness; None where it was not measured.

    Raises:
        BundleError: it was measured on other weights, or cannot be read.
    """
    measured = read_robustness(folder)
    if measured is not None and measured.weights_sha256 != spec.weights_sha256:
        raise BundleError(
            f"{folder / ROBUSTNESS} was measured on other weights; run python -m train robustness"
            f" {folder}."
        )
    return measured


def table(measured: Robustness) -> str:
    """A row a condition: the test folder's figures, and the AUC of the held-out patients."""
    test, held_out = measured.figures["test"], measured.figures[HELD_OUT]
    rows = [
        (
            condition.title,
            *(markdown.figure(test[condition.name].get(name), name) for name in FIGURES),
            markdown.figure(held_out[condition.name].get("auc"), "auc"),
        )
        for condition in measured.conditions
    ]
    head = ("pictures", "AUC", "accuracy", "recall", "specificity", "AUC, held-out patients")
    limited = f" A quick look at {measured.limit} images a split, no result."
    return (
        f"Threshold {measured.threshold:.4g}.{limited if measured.limit else ''}\n\n"
        f"{markdown.table(head, rows)}"
    )


def lungs(measured: Robustness) -> str:
    """What the test AUC is worth without the lungs and without all else, in a sentence; empty where
    only one class was measured.
    """
    test = measured.figures["test"]
    names = (probes.ORIGINAL, LUNGS_HIDDEN, LUNGS_ONLY)
    found = [test[name].get("auc") for name in names if name in test]
    values = [estimate.value for estimate in found if estimate is not None]
    if len(values) < 3:
        return ""
    title = CATALOGUE[measured.variant].title
    return (
        f"{title}'s AUC on the test folder is {values[0]:.3f}. With the lungs hidden it is still"
        f" {values[1]:.3f}; with everything but the lungs hidden it"
        f" falls to {values[2]:.3f}."
        " Chance is 0.5."
    )
