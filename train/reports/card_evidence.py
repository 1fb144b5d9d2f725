"""The sections of a card that only a model chosen and calibrated on held-out patients has:
promises, parts, corruptions, seeds, other hospitals.

Each returns Markdown, or an empty string where the bundle holds nothing to write it from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pneumonia.bundle import BundleError
from pneumonia.corruptions import TITLES
from pneumonia.evidence import Outcome
from pneumonia.model_spec import Metrics, ModelSpec
from train.data.folds import HELD_OUT
from train.evaluation import fold_answers
from train.evaluation import seeds as seed_runs
from train.evaluation.breakdown import BACTERIA, DISTINCT, PATIENTS, VIRUS
from train.evaluation.calibration import CAUTIOUS, ORDINARY, SPECIFICITY_WANTED
from train.evaluation.promise import CONFIDENCE
from train.evaluation.seeds import is_mean, selection_score
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


def operating_points(
    spec: ModelSpec, details: Mapping[str, Any], folder: Path | None = None
) -> str:
    """What each setting promises, what it kept, what its threshold rests on, and where an answer is
    uncertain; ``folder`` is the bundle's, for its picture.
    """
    points = [point for point in spec.operating_points if point.recall_lower_bound is not None]
    if not points or "operating_points" not in details:
        return ""
    rows, broken, say_little, call_all = [], [], [], True
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
                f"{point.recall_lower_bound:g}",
                f"{validation.figures['recall'].value:.3f}",
                *(interval(test.figures[name]) for name in ("recall", "specificity", "accuracy")),
                f"{cost.missed} of {cost.ill}",
                f"{cost.called_back} of {cost.healthy}",
            )
        )
        if test.figures["recall"].value < (point.recall_lower_bound or 0):
            broken.append(f"`{point.name}`")
        if cost.tells_little:
            say_little.append(f"`{point.name}`")
            call_all = call_all and cost.missed == 0 and cost.called_back == cost.healthy
    head = (
        "Setting",
        "Threshold",
        "Recall promised",
        "Recall, validation",
        "Recall kept, test",
        "Specificity, test",
        "Accuracy, test",
        "Missed",
        "Called back",
    )
    kept = (
        f"**The test folder does not bear out {', '.join(broken)}.**"
        if broken
        else "On the test folder every setting kept what it promised."
    )
    if say_little:
        kept += (
            f" **{', '.join(say_little)}** calls {'' if call_all else 'nearly '}every X-ray"
            " PNEUMONIA, healthy or not, and so tells next to nothing."
        )
    reasons = "\n".join(
        f"- `{point.name}`: {point.rationale}."
        for point in points
        if point.name != "default" and point.rationale
    )
    default = spec.default.recall_target
    rule = (
        f"`default` is the setting for a recall of {CAUTIOUS:g} where it keeps its promise and"
        f" clears {SPECIFICITY_WANTED:.0%} of the healthy on validation, clean and corrupted; else"
        f" the one for {ORDINARY:g}. Here it is the one for {default:g}."
    )
    text = f"""## Operating points

A threshold for each recall that somebody may want. Promised is the recall on X-rays of new patients from the same source, with {CONFIDENCE:.0%} confidence
over the choice of patients held out, each of whom counts once; that the same patients also chose the recipe,
how long it learns and the seed is not allowed for. Kept is what was then measured on the test folder, which chose none of them. {kept}
{rule}

{table(head, rows)}

What keeps each clear of chance:

{reasons}{_folds(details, folder) if "folds" in details else ""}"""
    if "uncertain" in details:
        near, wrong, elsewhere = (
            details["uncertain"][name] for name in ("images", "wrong", "wrong_elsewhere")
        )
        text += f"""

An answer whose calibrated logit lies within {spec.uncertainty:g} of the threshold's is **uncertain**: so far the same X-ray's answer moves when it is
delivered in another framing, exposure or encoding (the median, over the corruptions, for validation images near the threshold). On the test folder that is
{near} images, which hold {wrong} of the {wrong + elsewhere} errors."""
    return text


def _folds(details: Mapping[str, Any], folder: Path | None) -> str:
    """That each threshold rests on the patients of all folds, and how far the networks that
    answered for them differ.
    """
    found: Sequence[Mapping[str, float]] = details["folds"]
    networks = (
        json.loads((folder / fold_answers.NETWORKS).read_text())
        if folder and (folder / fold_answers.NETWORKS).is_file()
        else {}
    )
    rows = [
        (
            (
                "this model"
                if number == 1
                else f"of fold {number}"
                + "".join(
                    f", {told['weights_sha256'][:12]}"
                    for told in [networks.get(str(number))]
                    if told
                )
            ),
            f"{fold['patients']:g}",
            f"{fold['temperature']:.3g}",
            *(f"{fold[name]:.3f}" for name in ("auc", "recall", "specificity")),
        )
        for number, fold in enumerate(found, start=1)
    ]
    drawn = (
        "\n\n![Share of the ill below each probability, and the"
        f" thresholds]({fold_answers.PICTURE})"
        if folder and (folder / fold_answers.PICTURE).is_file()
        else ""
    )
    return f"""

The thresholds rest on all {len(found)} folds of the train folder. For each fold but this model's own a network was trained by the same recipe and seed with
that fold held out; each patient's answer is that of the one network that did not learn from it, at that network's own temperature. The networks do not miss
the same share at the same threshold, so what this one misses of new patients is estimated together with how far they differ, and the promise is kept with
that spread allowed for. (`python -m train folds` trains them and places the thresholds.) At the default threshold, on X-rays as they are:

{table(("Network", "Patients with pneumonia", "Temperature", "AUC", "Recall", "Specificity"), rows)}{_were_it_alike(details)}{drawn}"""


def _were_it_alike(details: Mapping[str, Any]) -> str:
    """How far the promises rest on this network's being better on its own fold than the others on
    theirs.
    """
    if "were_it_like_the_others" not in details:
        return ""
    rows = [
        (
            f"`{name}`",
            *(f"{found[share]:.2%}" for share in ("missed", "missed_by_others")),
            *(f"{found[confidence]:.0%}" for confidence in ("confidence", "confidence_if_alike")),
            f"{found['supported_if_alike']:.3f}",
        )
        for name, found in details["were_it_like_the_others"].items()
    ]
    head = (
        "Setting",
        "Misses of its own fold's patients",
        "Others miss of theirs",
        "Confidence in its promise",
        "Were it like the others",
        f"Recall at {CONFIDENCE:.0%} then",
    )
    return f"""

The confidence is the probability of the promise under that model of networks of one recipe, all evenly likely beforehand. It takes this network's fold for one
like the rest; but that fold chose how long it learns and the seed as well, and may flatter it. If in truth it missed what the others miss:

{table(head, rows)}"""


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
        chosen = (
            "model and its temperature were chosen on these, its thresholds on these and those of"
            " the other folds"
        )
        if "folds" not in details:
            chosen = "model, its temperature and its thresholds were chosen on these"
        sections.append(
            "The X-rays of held-out patients as they are and as another machine or hand might have"
            " delivered them, at the default threshold. The"
            f" {chosen}.\n\n{table(('Validation', 'AUC', 'Recall', 'Specificity'), rows)}"
        )
    if (folder / robustness_report.JSON_NAME).is_file():
        measured = robustness_report.read(folder / robustness_report.JSON_NAME)
        if (measured.weights_sha256, measured.threshold) != (
            spec.weights_sha256,
            spec.default.threshold,
        ):
            raise BundleError(
                f"{folder / robustness_report.JSON_NAME} was measured on other weights or at another"
                f" threshold; run python -m train robustness {folder}."
            )
        sections.append("\n".join(robustness_report.lines(measured)))
    return "## When the picture changes\n\n" + "\n\n".join(sections) if sections else ""


def seeds(folder: Path, details: Mapping[str, Any] | None = None) -> str:
    """Runs that differ in their seed alone; ``details`` say whether the bundle's thresholds were
    placed on all folds since.
    """
    found = seed_runs.read(folder)
    if found is None:
        return ""
    rows: list[tuple[Any, ...]] = [
        (
            (
                f"{'mean of ' if is_mean(run) else ''}{run['seed']}{' (this bundle)' if run['chosen'] else ''}"
            ),
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
    means = [run for run in found["runs"] if is_mean(run)]
    at = (
        "its own fold's default threshold"
        if "folds" in (details or {})
        else "its own default threshold"
    )
    mixed = (
        " A mean of runs' weights is one network, asked like any other; it has no part in mean and"
        " deviation."
        if means
        else ""
    )
    return f"""## Seeds

{len(found["runs"]) - len(means)} runs of the recipe that differ in nothing but their seed, each at {at}. The bundle is the run with the
best validation (the mean of the two figures); the test figures stand beside and chose nothing.{mixed}{drawn}

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
