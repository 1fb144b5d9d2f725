"""Several runs of one recipe that differ in their seed alone: how much of a figure is luck, which
run becomes the bundle, and a picture of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from matplotlib.figure import Figure

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import apply_temperature
from pneumonia.model_spec import ModelSpec
from pneumonia.release import FIGURES
from train.evaluation import details, validation
from train.evaluation.plots import BLUE, GREY, ORANGE
from train.files import write_atomically

SEEDS, PICTURE = "seeds.json", "seeds.png"
_MERIT = "selection_score"
_CHOOSERS = (
    ("mean_auc", "AUC, mean of corruptions"),
    ("worst_auc", "AUC, worst of them"),
    (_MERIT, "mean of both: chooses"),
)
_SHOWN = (
    ("auc", "AUC"),
    ("recall", "recall"),
    ("specificity", "specificity"),
    ("accuracy", "accuracy"),
)


class Run(TypedDict):
    """One run of ``seeds.json``: its seed and weights, what :func:`validation.summary` says of its
    held-out patients, its figures on the test folder, and whether it is the bundle.
    """

    seed: int
    weights_sha256: str
    validation: validation.Summary
    test: dict[str, float]
    chosen: NotRequired[bool]


class Seeds(TypedDict):
    """What ``seeds.json`` says; mean and deviation are of the test figures."""

    schema: int
    variant: str
    recipe: str
    runs: list[Run]
    mean: dict[str, float]
    standard_deviation: dict[str, float]


def write(bundles: Sequence[Path]) -> Path:
    """Writes ``seeds.json`` into the bundle with the best validation, and returns that bundle's
    folder.

    Best is the highest mean of two figures: the mean AUC over the corruptions, and the AUC under
    the worst of them. The test figures are written down beside, and have no part in it.

    Args:
        bundles: assembled bundles of one variant and recipe, calibrated on held-out patients; at
            least two, each of another seed.

    Raises:
        BundleError: there are too few, they are not of one recipe, two are of one seed, or one was
            not calibrated or measured.
        ModelSpecError: a model spec or metrics file cannot be read.
    """
    found = [_run(folder) for folder in bundles]
    runs = [run for _, run in found]
    if len(runs) < 2:
        raise bundle.BundleError(f"A spread needs two runs or more, got {len(runs)}.")
    tests = [run["test"] for run in runs]
    if len({json.dumps([spec.variant, _settings(spec)], sort_keys=True) for spec, _ in found}) > 1:
        raise bundle.BundleError(
            "The bundles are not runs of one recipe: more differs than the seed."
        )
    if len({run["seed"] for run in runs}) < len(runs):
        raise bundle.BundleError(
            f"Two bundles are of one seed: {', '.join(sorted(str(run['seed']) for run in runs))}; a"
            " run counts once."
        )
    best = max(range(len(runs)), key=lambda index: selection_score(runs[index]["validation"]))
    values: Seeds = {
        "schema": 1,
        "variant": found[0][0].variant,
        "recipe": found[0][0].recipe.get("name", "unnamed"),
        "runs": [{**run, "chosen": index == best} for index, run in enumerate(runs)],
        "mean": {name: float(np.mean([test[name] for test in tests])) for name in FIGURES},
        "standard_deviation": {
            name: float(np.std([test[name] for test in tests], ddof=1)) for name in FIGURES
        },
    }
    write_atomically(
        bundles[best] / SEEDS,
        lambda path: path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8"),
    )
    picture(values).savefig(bundles[best] / PICTURE, dpi=110, metadata={"Software": None})
    return bundles[best]


def picture(values: Seeds) -> Figure:
    """Each run's figures on validation, which chose, and on the test folder, which did not; the
    chosen run filled, the mean a line.

    Args:
        values: what ``seeds.json`` says.
    """
    runs, places = values["runs"], range(len(values["runs"]))
    columns = [("validation", name, title, BLUE) for name, title in _CHOOSERS] + [
        ("test", name, title, ORANGE) for name, title in _SHOWN
    ]
    sides: dict[str, list[Mapping[str, Any]]] = {
        "validation": [run["validation"] for run in runs],
        "test": [run["test"] for run in runs],
    }
    drawn = Figure(figsize=(1.9 * len(columns), 1.4 + 0.4 * len(runs)), layout="constrained")
    for axes, (side, name, title, colour) in zip(
        drawn.subplots(1, len(columns), sharey=True), columns, strict=True
    ):
        found = [
            selection_score(run["validation"]) if name == _MERIT else figures[name]
            for run, figures in zip(runs, sides[side], strict=True)
        ]
        axes.axvline(
            np.mean(found),
            color=GREY,
            linewidth=1,
            linestyle=":",
        )
        for place, value, run in zip(places, found, runs, strict=True):
            axes.plot(
                [value],
                [place],
                "o",
                markersize=8,
                color=colour,
                markerfacecolor=colour if run["chosen"] else "white",
            )
            axes.annotate(
                f"{value:.4f}" if side == "validation" else f"{value:.3f}",
                (value, place),
                textcoords="offset points",
                xytext=(0, 8),
                ha="center",
                fontsize=8,
            )
        middle, reach = (max(found) + min(found)) / 2, max(max(found) - min(found), 0.01)
        axes.set(
            yticks=list(places),
            yticklabels=[f"seed {run['seed']}" for run in runs],
            ylim=(len(runs) - 0.5, -0.7),
            xlim=(middle - reach, middle + reach),
        )
        axes.set_title(
            f"{'held-out' if side == 'validation' else 'test folder'}\n{title}", fontsize=9
        )
        axes.tick_params(axis="x", labelsize=7)
        axes.locator_params(axis="x", nbins=3)
        axes.spines[["top", "right"]].set_visible(False)
    title = (
        CATALOGUE[values["variant"]].title if values["variant"] in CATALOGUE else values["variant"]
    )
    drawn.suptitle(
        f"{title}, recipe {values['recipe']}: {len(runs)} seeds; filled: the bundle, chosen on"
        " held-out patients; dotted: the mean",
        fontsize=10,
    )
    return drawn


def read(folder: Path) -> Seeds | None:
    """What ``seeds.json`` of a bundle says; None where there is none.

    Raises:
        BundleError: it belongs to other weights, or cannot be read.
    """
    file = folder / SEEDS
    if not file.is_file():
        return None
    try:
        values: Seeds = json.loads(file.read_text(encoding="utf-8"))
        chosen = next(run["weights_sha256"] for run in values["runs"] if run["chosen"])
    except (ValueError, KeyError, TypeError, StopIteration):
        raise bundle.BundleError(
            f"{file} cannot be read; write it again with python -m train seeds."
        ) from None
    if chosen != bundle.read_model_spec(folder).weights_sha256:
        raise bundle.BundleError(
            f"{file} speaks of other weights than the bundle's; write it again with python -m train"
            " seeds."
        )
    return values


def selection_score(summary: validation.Summary) -> float:
    """What runs are ranked by: half the mean AUC over the corruptions, half the worst."""
    return (summary["mean_auc"] + summary["worst_auc"]) / 2


def _settings(spec: ModelSpec) -> dict[str, Any]:
    # Clock, machine and seed are what may differ.
    return {
        name: value
        for name, value in spec.recipe.items()
        if name not in ("seed", "training_seconds", "hardware")
    }


def _run(folder: Path) -> tuple[ModelSpec, Run]:
    spec, metrics = bundle.read_model_spec(folder), bundle.read_metrics(folder)
    if "test" not in metrics or not (folder / details.COPIES).is_file():
        raise bundle.BundleError(
            f"{folder} has no {details.COPIES} or no test metrics; only finished runs that held"
            " patients out can be compared."
        )
    _, labels, raw = details.read_copies(folder)
    summary = validation.summary(
        labels, {name: apply_temperature(values, spec.temperature) for name, values in raw.items()}
    )
    test = {
        name: metrics["test"].figures[name].value
        for name in FIGURES
        if name in metrics["test"].figures
    }
    if len(test) < len(FIGURES):
        raise bundle.BundleError(
            f"The test entry of {folder / bundle.METRICS} lacks"
            f" {', '.join(FIGURES.keys() - test.keys())}."
        )
    return spec, {
        "seed": spec.recipe["seed"],
        "weights_sha256": spec.weights_sha256,
        "validation": summary,
        "test": test,
    }
