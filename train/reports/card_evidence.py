"""The sections of a card that only a model chosen and calibrated on held-out patients has:
settings, parts, corruptions, seeds, other hospitals.

Each returns Markdown, or an empty string where the bundle holds nothing to write it from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pneumonia.bundle import BundleError
from pneumonia.corruptions import TITLES
from pneumonia.evidence import ROBUSTNESS, Outcome, read_robustness
from pneumonia.model_spec import Metrics, ModelSpec
from train.data.folds import HELD_OUT
from train.evaluation import seeds as seed_runs
from train.evaluation.breakdown import BACTERIA, DISTINCT, PATIENTS, VIRUS
from train.evaluation.seeds import selection_score
from train.evaluation.validation import CLEAN
from train.reports import robustness_report
from train.reports.card_sections import interval, table

_CLEAN = "as they are"
_FIGURES = ("recall", "specificity", "accuracy", "auc")
_PARTS = {
    BACTERIA: "Bacterial pneumonia against all healthy",
    VIRUS: "Viral pneumonia against all healthy",
    DISTINCT: "Identical files counted once",
    PATIENTS: "By patient: called where any X-ray is",
}


def operating_points(spec: ModelSpec, details: Mapping[str, Any]) -> str:
    """What each setting was chosen for, what held-out patients and the test folder saw of it, and
    where an answer is uncertain.
    """
    points = [point for point in spec.operating_points if point.recall_interval is not None]
    if not points or "operating_points" not in details:
        return ""
    rows, say_little, call_all = [], [], True
    for point in points:
        validation, test = (
            Metrics.from_dict(details["operating_points"][point.name][entry])
            for entry in ("validation", "test")
        )
        counts = test.counts
        ill, healthy = (
            counts["false_negative"] + counts["true_positive"],
            counts["false_positive"] + counts["true_negative"],
        )
        cost = Outcome(
            point.threshold, counts["false_negative"], ill, counts["false_positive"], healthy
        )
        rows.append(
            (
                f"`{point.name}`",
                f"{point.threshold:.4g}",
                interval(validation.figures["recall"]),
                *(interval(test.figures[name]) for name in ("recall", "specificity", "accuracy")),
                f"{cost.missed} of {cost.ill}",
                f"{cost.false_alarms} of {cost.healthy}",
            )
        )
        if cost.tells_little:
            say_little.append(f"`{point.name}`")
            call_all = call_all and cost.missed == 0 and cost.false_alarms == cost.healthy
    head = (
        "Setting",
        "Threshold",
        "Recall, held out",
        "Recall, test",
        "Specificity, test",
        "Accuracy, test",
        "Missed",
        "False alarms",
    )
    little = (
        f" **{', '.join(say_little)}** calls {'' if call_all else 'nearly '}every X-ray"
        " PNEUMONIA, healthy or not, and so tells next to nothing."
        if say_little
        else ""
    )
    text = f"""## Operating points

`recall-0.98` is the highest threshold that finds at least 98% of the pneumonia X-rays of patients
held out of training, as they are; the others likewise. `default` is that for
{spec.default.recall_target:g}. The test folder chose none of them.{little}

{table(head, rows)}"""
    if "uncertain" in details:
        near, wrong, elsewhere = (
            details["uncertain"][name] for name in ("images", "wrong", "wrong_elsewhere")
        )
        text += f"""

An answer whose calibrated logit lies within {spec.uncertainty:g} of the threshold's is **uncertain**: so far the same X-ray's answer moves when it is
delivered in another framing, exposure or encoding (the median, over the corruptions, for validation images near the threshold). On the test folder that is
{near} images, which hold {wrong} of the {wrong + elsewhere} errors."""
    return text


def parts(details: Mapping[str, Any]) -> str:
    """The test folder by cause, without duplicates, by patient."""
    found = {name: Metrics.from_dict(values) for name, values in details.get("parts", {}).items()}
    rows = [
        (
            title,
            found[name].images,
            *(
                interval(found[name].figures[figure]) if figure in found[name].figures else ""
                for figure in _FIGURES
            ),
        )
        for name, title in _PARTS.items()
        if name in found
    ]
    if not rows:
        return ""
    head = (
        "Part of the test folder",
        "Images or patients",
        "Recall",
        "Specificity",
        "Accuracy",
        "AUC",
    )
    return (
        "## Parts of the test folder\n\nAt the default threshold, with 95%"
        f" intervals.\n\n{table(head, rows)}"
    )


def robustness(spec: ModelSpec, details: Mapping[str, Any], folder: Path) -> str:
    """Held-out patients under corruption, and the test folder with lungs hidden and more, where it
    was measured.

    Raises:
        BundleError: ``robustness.json`` cannot be read, or was measured on other weights or at another
            threshold.
    """
    sections = []
    if corruptions := details.get("corruptions"):
        rows = [
            (
                _CLEAN if name == CLEAN else TITLES.get(name, name),
                *(f"{figures[figure]:.3f}" for figure in ("auc", "recall", "specificity")),
            )
            for name, figures in corruptions.items()
        ]
        sections.append(
            "The X-rays of held-out patients as they are and as another machine or hand might have"
            " delivered them, at the default threshold. Model and temperature were chosen on all of"
            f" these, thresholds on the first.\n\n{table(('Validation', 'AUC', 'Recall', 'Specificity'), rows)}"
        )
    if measured := read_robustness(folder):
        if measured.weights_sha256 != spec.weights_sha256:
            raise BundleError(
                f"{folder / ROBUSTNESS} was measured on other weights; run python"
                f" -m train robustness {folder}."
            )
        if measured.threshold != spec.default.threshold:
            sections.append(f"What follows was measured at a threshold of {measured.threshold:g}.")
        sections.append("\n".join(robustness_report.lines(measured)))
    return "## When the picture changes\n\n" + "\n\n".join(sections) if sections else ""


def seeds(folder: Path) -> str:
    """Runs that differ in their seed alone."""
    found = seed_runs.read(folder)
    if found is None:
        return ""
    rows: list[tuple[Any, ...]] = [
        (
            f"{run['seed']}{' (this bundle)' if run['chosen'] else ''}",
            f"{run['validation']['mean_auc']:.4f}",
            f"{run['validation']['worst_auc']:.4f} ({run['validation']['worst_name']})",
            f"{selection_score(run['validation']):.4f}",
            *(f"{run['test'][name]:.3f}" for name in _FIGURES),
        )
        for run in found["runs"]
    ]
    rows.append(
        (
            "mean ± standard deviation",
            "",
            "",
            "",
            *(
                f"{found['mean'][name]:.3f} ± {found['standard_deviation'][name]:.3f}"
                for name in _FIGURES
            ),
        )
    )
    head = (
        "Seed",
        "Validation AUC, mean of corruptions",
        "worst",
        "mean of both",
        "Test recall",
        "Test specificity",
        "Test accuracy",
        "Test AUC",
    )
    drawn = (
        f"\n\n![Each run's figures on validation and on the test folder]({seed_runs.PICTURE})"
        if (folder / seed_runs.PICTURE).is_file()
        else ""
    )
    return f"""## Seeds

{len(found["runs"])} runs of the recipe that differ in nothing but their seed, each at its own
threshold when it was measured. The bundle is the run with the best validation (the mean of the two
figures); the test figures stand beside and chose nothing.{drawn}

{table(head, rows)}"""


def elsewhere(spec: ModelSpec) -> str:
    """What was done so that the model holds at another hospital, and what is not known about that."""
    recipe = spec.recipe
    if recipe.get("validation") != HELD_OUT:
        return ""
    done = []
    altered = recipe.get("augmentation")
    if altered:
        detail = (
            ", with their detail sharpened or softened as other machines would"
            if altered.get("detail")
            else ""
        )
        done.append(
            "It learned from X-rays in other framing, aspect, exposure and encoding than their"
            f" own{detail} (the settings are above), so that it cannot go by these alone."
        )
        if altered.get("letters"):
            done.append(
                "In some of them letters were burnt in or margins shut out: neither says anything"
                " of a lung."
            )
    if recipe.get("nuisance_reweighting"):
        done.append(
            "X-rays whose exposure, sharpness or margins are unusual for their class were drawn"
            " more often, so that these say less of the class."
        )
    if recipe.get("teacher_weight"):
        done.append(
            "It learned from the answers of a larger network, trained on such altered X-rays, to"
            " views of that kind, and not from hard labels alone."
        )
    drawn = recipe.get("distillation", {}).get("policy", {})
    if drawn.get("letters"):
        done.append(
            "Letters were burnt into many of these views, and margins shut out, after the larger"
            " network had answered: neither says anything of a lung."
        )
    done.append(
        "Recipe, number of epochs, temperature and thresholds were chosen on patients held out of"
        " training, as they are and under a fixed set of corruptions, by the mean and by the worst."
    )
    done.append(
        "Every original is first made into a copy like those it learned from, so that finer detail"
        " than it knows does not reach it."
    )
    if spec.uncertainty:
        done.append("Near the threshold it says that it does not know.")
    lines = "\n".join(f"- {line}" for line in done)
    return f"""## For another hospital

What was done so that it holds elsewhere:

{lines}

What is not known: whether that is enough. Nothing was measured on another hospital's X-rays, and every child of this data set was X-rayed in one. Every
network trained to try something, what was expected of it and what came, on held-out patients, is in `assets/results/tries.md` of the project."""
