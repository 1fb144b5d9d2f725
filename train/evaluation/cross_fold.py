"""Thresholds that rest on every patient of the train folder: a network for each fold, which answers
for the patients it did not learn from.

One fold holds a seventh of the patients. To promise a recall on so few, a threshold has to keep
clear of them further than the recall itself asks for, and healthy children pay for that. The
networks of the other folds are made by a bundle's recipe and seed from other patients; they lend it
their answers, not their weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pneumonia import bundle
from pneumonia.model_spec import ModelSpec
from train import recipes
from train.augmentation.policy import Policy
from train.data.chest_xray import Dataset
from train.data.folds import FOLDS, HELD_OUT, items_of, sides
from train.evaluation import details, evaluate, fold_answers
from train.evaluation.calibration import calibrated_spec
from train.recipes import Recipe
from train.training import fit
from train.training.run_folder import RunError, write_atomically

# Whose folds a folder holds.
_BUNDLE = "folds.json"


def recipe_of(spec: ModelSpec) -> Recipe:
    """The recipe that a bundle was made by, its seed included.

    Raises:
        RunError: the project's recipe of that name is another one by now, or holds no fold of
            patients out.
    """
    said = _in_full(spec.recipe)
    recipe = replace(recipes.get(spec.variant, said.get("name", "")), seed=said.get("seed", 0))
    # A field that recipes gained since then had its default in effect before it had a name; a
    # threshold fixed beforehand has no place where one is chosen.
    changed = sorted(
        key
        for key, value in recipes.plain(recipe).items()
        if key != "threshold" and key in said and said[key] != _in_full({key: value})[key]
    )
    if changed:
        raise RunError(
            f"The bundle was made by another recipe {recipe.name} than today's"
            f" ({', '.join(changed)}); train its folds at its commit {spec.commit}."
        )
    if recipe.validation != HELD_OUT:
        raise RunError(
            f"The recipe {recipe.name} holds no fold of patients out, so it has no other folds;"
            " give a bundle of a recipe that does."
        )
    return recipe


def train(
    folder: Path,
    dataset: Dataset,
    out: Path,
    *,
    only: Sequence[int] = (),
    teachers: Path | None = None,
    imagenet_weights: str | None = None,
    skip_corrupt: bool = False,
) -> list[Path]:
    """Trains a network for each fold but the first, as the bundle was trained, calibrates it on the
    patients it holds out, and asks it nothing else.

    A killed run goes on where it was; a finished one is left as it is.

    Args:
        folder: the bundle, of a recipe that holds a fold out.
        dataset: the data it was trained on.
        out: where the runs go, ``fold-2`` and so on.
        only: these folds, 2 to 7; all if empty.
        teachers: for a recipe that learns from a teacher, the ``out`` of that teacher's folds: who
            holds patients out has to learn from one who did too.
        imagenet_weights, skip_corrupt: see :func:`train.training.fit.fit`.

    Returns:
        The folds' bundles, which have no figures of the test folder.

    Raises:
        RunError: the recipe has changed, a teacher is wanted or not, a fold does not exist, or a
            run in ``out`` is another one.
        DataError, BundleError: see :func:`train.training.fit.fit` and :func:`train.training.distillation.make`.
    """
    spec = bundle.read_model_spec(folder)
    recipe = recipe_of(spec)
    if spec.data.get("fingerprint") != dataset.fingerprint:
        raise RunError(
            "The bundle was trained on another copy of the data, whose folds hold other patients;"
            " give that copy."
        )
    if recipe.teacher_weight and not teachers:
        raise RunError(
            f"{recipe.variant} {recipe.name} learns from a teacher; train the teacher's folds first"
            " and give their folder with --teachers."
        )
    if teachers and not recipe.teacher_weight:
        raise RunError(f"{recipe.variant} {recipe.name} has no teacher; leave --teachers out.")
    distillation = spec.recipe.get("distillation", {})
    if teachers and _whose(teachers) != distillation.get("teacher", ""):
        raise RunError(
            f"{teachers} does not hold the folds of the bundle's teacher, whose weights are"
            f" {distillation.get('teacher', 'not recorded')[:12]}."
        )
    views = _views_of(spec) if teachers else None
    if wrong := [fold for fold in only if not 2 <= fold <= FOLDS]:
        raise RunError(f"The other folds are 2 to {FOLDS}, got {wrong[0]}.")
    _claim(out, spec)
    precision = spec.recipe.get("precision", "float32")
    made = []
    for fold in only or range(2, FOLDS + 1):
        held_out, run = replace(recipe, validation=sides(fold)[1]), out / f"fold-{fold}"
        made.append(run / "bundle")
        if _is_fold(made[-1], spec, fold):
            continue
        pool = None
        if teachers and views:
            pool, teacher = out / f"pool-{fold}", teachers / f"fold-{fold}" / "bundle"
            distillation.make(
                teacher,
                dataset,
                pool,
                policy=views,
                views=distillation["views"],
                size=recipes.VIEW_SIZE,
                precision=distillation.get("precision", precision),
            )
        fit.fit(
            held_out,
            dataset,
            run,
            resume=True,
            precision=precision,
            imagenet_weights=imagenet_weights,
            pool=pool,
            skip_corrupt=skip_corrupt,
        )
        evaluate.unmeasured(held_out, run, dataset, skip_corrupt=skip_corrupt)
    return made


def gather(folder: Path, dataset: Dataset, out: Path) -> ModelSpec:
    """Places a bundle's thresholds on the answers of all folds, and leaves those of the others in
    ``other_folds.csv`` and all of them in ``folds.png``.

    Args:
        folder: the bundle; its model spec is replaced.
        dataset: the data.
        out: what :func:`train` made.

    Raises:
        RunError: a fold's bundle is missing, is of another recipe or data, or answered for others
            than its own patients.
        BundleError: the answers do not fit together. Whatever is raised, the bundle is as it was.
    """
    spec = bundle.read_model_spec(folder)
    parts = []
    for fold in range(2, FOLDS + 1):
        lent = out / f"fold-{fold}" / "bundle"
        if not (lent / details.COPIES).is_file():
            raise RunError(
                f"{lent} is missing or not calibrated; the thresholds rest on all {FOLDS} folds, so"
                " train it first."
            )
        if not _is_fold(lent, spec, fold):
            raise RunError(
                f"{lent} was not made as {folder} was, with {sides(fold)[1]} held out; train it"
                " again in another folder."
            )
        own_patients = {item.relative for item in items_of(dataset, sides(fold)[1])}
        if strangers := [name for name in details.read_copies(lent)[0] if name not in own_patients]:
            raise RunError(
                f"{lent} answered for {strangers[0]}, which it learned from; delete its folder and"
                " train it again."
            )
        parts.append((fold, lent))
    table, (own, *others) = fold_answers.collect(folder, parts, evaluate.identical(dataset))
    placed = calibrated_spec(spec, own, others)
    fold_answers.write(folder, table, parts)
    fold_answers.picture((own, *others), placed).savefig(
        folder / fold_answers.PICTURE, dpi=110, metadata={"Software": None}
    )
    write_atomically(
        folder / bundle.MODEL_SPEC, lambda file: file.write_text(placed.to_json(), encoding="utf-8")
    )
    return placed


def _views_of(spec: ModelSpec) -> Policy:
    """How the views were drawn that a bundle learned from.

    Raises:
        RunError: the model spec does not say, or they are of a kind that is no longer drawn.
    """
    try:
        return Policy(**spec.recipe["distillation"]["policy"])
    except (KeyError, TypeError):
        said = "learned from views that it does not record or that are no longer drawn"
        raise RunError(f"The bundle {said}; train its folds at its commit {spec.commit}.") from None


def _claim(out: Path, spec: ModelSpec) -> None:
    """Makes ``out`` the folder of a bundle's folds, for good.

    Raises:
        RunError: it is another bundle's.
    """
    if (of := _whose(out)) not in (None, spec.weights_sha256):
        raise RunError(
            f"{out} holds the folds of another bundle, of the weights {str(of)[:12]}; give another"
            " --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(
        out / _BUNDLE,
        lambda file: file.write_text(json.dumps({"weights_sha256": spec.weights_sha256}) + "\n"),
    )


def _whose(out: Path) -> str | None:
    return (
        json.loads((out / _BUNDLE).read_text())["weights_sha256"]
        if (out / _BUNDLE).is_file()
        else None
    )


def _is_fold(lent: Path, spec: ModelSpec, fold: int) -> bool:
    """Whether a folder holds the calibrated bundle of a fold, made as the model spec's was in
    everything but who was held out.
    """
    if not (lent / details.COPIES).is_file():
        return False
    theirs = bundle.read_model_spec(lent)
    wanted = _told(spec) | {"validation": sides(fold)[1]}
    # Images that were skipped are not the same in two folds, for each learns from others.
    same_data = all(theirs.data.get(key) == spec.data.get(key) for key in ("fingerprint", "counts"))
    # A field that recipes gained since the bundle was made had its default in effect before it had
    # a name.
    return same_data and all(
        wanted.get(key, value) == value for key, value in _told(theirs).items()
    )


def _told(spec: ModelSpec) -> dict[str, Any]:
    """What a model spec says of its recipe, but for the clock and two things of the teacher's: its
    weights, which are another network's in each fold, and its precision, which older model specs
    leave out.
    """
    recipe = _in_full(spec.recipe)
    distillation = {
        key: value
        for key, value in recipe.get("distillation", {}).items()
        if key not in ("teacher", "precision")
    }
    return {key: value for key, value in recipe.items() if key != "training_seconds"} | {
        "distillation": distillation
    }


def _in_full(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a model spec says of its recipe, with fields that policies gained since at their defaults:
    what was in effect before they had a name.
    """
    known, distillation = asdict(Policy()), recipe.get("distillation")
    full = dict(recipe)
    if recipe.get("augmentation"):
        full["augmentation"] = known | recipe["augmentation"]
    if distillation and "policy" in distillation:
        full["distillation"] = distillation | {"policy": known | distillation["policy"]}
    return full
