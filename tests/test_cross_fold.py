"""A network for each fold, and thresholds on what all of them said: every patient answered once, by
a network that did not learn from it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import PneumoniaClassifier, bundle
from pneumonia.classifier import calibrated
from pneumonia.model_spec import ModelSpec, OperatingPoint
from pneumonia.release import ReleaseError
from train import recipes
from train.__main__ import main
from train.data.chest_xray import Dataset
from train.data.folds import FOLDS, groups_of, items_of, sides
from train.evaluation import (
    calibration,
    cross_fold,
    details,
    evaluate,
    fold_answers,
    promise,
    seeds,
)
from train.reports import card, card_evidence
from train.training import distillation, fit
from train.training.run_folder import RunError, run_facts

SHORT = dataclasses.replace(
    recipes.get("baseline", "improved"),
    teacher_weight=0.0,
    input_size=(48, 48),
    epochs=1,
    keep_epoch=1,
    batch_size=8,
    warmup=0.0,
    schedule="constant",
    seed=5,
)


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    patch = pytest.MonkeyPatch()
    patch.setattr(recipes, "get", lambda variant, name: SHORT)
    yield patch
    patch.undo()


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, wards: Dataset, patched: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """A bundle whose thresholds rest on its own fold, and the folder of the other folds' runs, made
    by the command.
    """
    folder = tmp_path_factory.mktemp("folds")
    fit.fit(SHORT, wards, folder / "own")
    evaluate.assemble(SHORT, folder / "own", wards)
    command = [
        "folds",
        str(folder / "own" / "bundle"),
        "--data",
        str(wards.root),
        "--out",
        str(folder / "others"),
        "--only",
    ]
    assert main([*command, "2", "3"]) == 0 and main([*command, "4", "5", "6", "7"]) == 0
    return folder / "own" / "bundle", folder / "others"


@pytest.fixture
def gathered(made: tuple[Path, Path], tmp_path: Path, wards: Dataset) -> Path:
    """A copy of the bundle, its thresholds on all folds and measured with them."""
    folder = Path(shutil.copytree(made[0], tmp_path / "bundle"))
    assert main(["folds", str(folder), "--data", str(wards.root), "--out", str(made[1])]) == 0
    return folder


def test_the_folds_part_the_train_folder(wards: Dataset) -> None:
    held_out = [item for fold in range(1, FOLDS + 1) for item in items_of(wards, sides(fold)[1])]
    assert sorted(held_out, key=str) == sorted(wards.split("train"), key=str)
    for fold in range(1, FOLDS + 1):
        learned, held = (items_of(wards, side) for side in sides(fold))
        assert sorted([*learned, *held], key=str) == sorted(wards.split("train"), key=str)
        assert not {item.patient for item in learned} & {item.patient for item in held}
    assert sides(1) == ("fitted", "held-out") and sides(3) == ("fitted-3", "held-out-3")


def test_each_other_network_learned_as_the_bundle_did_and_is_asked_about_its_own_patients_alone(
    made, wards
) -> None:
    own = bundle.read_model_spec(made[0])
    for fold in range(2, FOLDS + 1):
        lent = made[1] / f"fold-{fold}" / "bundle"
        spec = bundle.read_model_spec(lent)
        assert (
            spec.recipe["validation"] == f"held-out-{fold}"
            and spec.recipe["seed"] == own.recipe["seed"] == 5
        )
        assert run_facts(lent.parent)["precision"] == own.recipe["precision"]
        assert details.read_copies(lent)[0] == [
            item.relative for item in items_of(wards, f"held-out-{fold}")
        ]
        # Nothing was asked about the test folder.
        assert not (lent / bundle.METRICS).exists() and not (lent / "predictions_test.csv").exists()
        assert spec.weights_sha256 != own.weights_sha256


def test_thresholds_rest_on_every_patient_once(made, gathered, wards) -> None:
    before, after = bundle.read_model_spec(made[0]), bundle.read_model_spec(gathered)
    own, *others = fold_answers.read(gathered)
    assert len(others) == FOLDS - 1
    ill = sum(len(np.unique(fold.groups[fold.labels == 1])) for fold in (own, *others))
    every = wards.split("train")
    assert (
        ill
        == len({item.patient for item in every if item.label == 1})
        == len(np.unique(groups_of(wards, "train")[[item.label == 1 for item in every]]))
    )
    assert (
        f"none of {ill} patients with pneumonia below it, those of {FOLDS} folds, each as answered"
        " by the network that did not learn from it, and none of the"
        f" {len(np.unique(own.groups[own.labels == 1]))}" in str(after.default.rationale)
    )
    assert after.default.recall_lower_bound > before.default.recall_lower_bound
    assert (
        dataclasses.replace(
            after, operating_points=before.operating_points, uncertainty=before.uncertainty
        )
        == before
    )
    assert calibration.calibrated_spec(before, own, others) == after
    # What is promised of so few is that the lowest of all is found: no answer on a patient not
    # learned from lies below.
    lowest = min(fold.calibrated["clean"][fold.labels == 1].min() for fold in (own, *others))
    assert after.operating_points[-1].threshold <= lowest
    assert bundle.read_metrics(gathered)["test"].threshold == after.default.threshold
    assert PneumoniaClassifier.from_pretrained(gathered).spec == after
    with Image.open(gathered / fold_answers.PICTURE) as drawn:
        assert drawn.width > 600


def test_the_card_says_whose_answers_the_thresholds_rest_on(made, gathered) -> None:
    spec, found = bundle.read_model_spec(gathered), bundle.read_details(gathered)
    assert [set(row) for row in found["folds"]] == [
        {"patients", "temperature", "auc", "recall", "specificity"}
    ] * FOLDS
    answers = fold_answers.read(gathered)
    for row, fold in zip(found["folds"], answers, strict=True):
        probabilities = calibrated(fold.raw["clean"], row["temperature"])
        assert row["recall"] == np.mean(probabilities[fold.labels == 1] >= spec.default.threshold)
        assert row["specificity"] == np.mean(
            probabilities[fold.labels == 0] < spec.default.threshold
        )
    text = card_evidence.operating_points(spec, found, gathered)
    networks = json.loads((gathered / fold_answers.NETWORKS).read_text())
    lent = [
        bundle.read_model_spec(made[1] / f"fold-{number}" / "bundle")
        for number in range(2, FOLDS + 1)
    ]
    assert list(networks.values()) == [
        {"weights_sha256": one.weights_sha256, "commit": one.commit} for one in lent
    ]
    assert (
        "| this model |" in text
        and f"| of fold 7, {lent[-1].weights_sha256[:12]} |" in text
        and f"]({fold_answers.PICTURE})" in text
    )
    assert "Were it like the others" in text and set(found["were_it_like_the_others"]) == {
        point.name for point in spec.operating_points
    } - {"default"}
    assert [
        "thresholds rest on all folds" in card.render(folder) for folder in (made[0], gathered)
    ] == [False, True]
    assert "folds" not in bundle.read_details(made[0])


def test_a_fold_that_flatters_its_network_is_told_from_one_that_does_not() -> None:
    """Of 100 patients each the first network misses one at .5, the other two three and five: were
    it like them, four.
    """

    def of(missed: int) -> calibration.Answers:
        labels = np.array([1] * 100 + [0] * 100)
        raw = np.r_[np.full(missed, 0.2), np.full(100 - missed, 0.9), np.full(100, 0.01)]
        return calibration.Answers(labels, np.arange(200), {"clean": raw})

    folds, clear = [of(1), of(3), of(5)], OperatingPoint("recall-0.95", 0.5, 0.95, 0.95)
    found = fold_answers.were_it_like_the_others(
        folds, [OperatingPoint("default", 0.5, 0.95, 0.95), clear, OperatingPoint("told", 0.5)]
    )
    assert list(found) == ["recall-0.95"]
    row = found["recall-0.95"]
    assert (row["missed"], row["missed_by_others"]) == (pytest.approx(0.01), pytest.approx(0.04))
    assert row["confidence"] == pytest.approx(promise.confidence_in(0.95, [1, 3, 5], [100] * 3))
    assert (
        row["confidence_if_alike"]
        == pytest.approx(promise.confidence_in(0.95, [4, 3, 5], [100] * 3))
        and row["confidence_if_alike"] < row["confidence"]
    )
    assert row["supported_if_alike"] == promise.supported([4, 3, 5], [100] * 3)


def test_one_fold_alone_has_no_others(made) -> None:
    (only,) = fold_answers.read(made[0])
    assert only.raw.keys() == details.read_copies(made[0])[2].keys()


def test_what_is_no_fold_of_the_bundle_is_refused(made, wards, tmp_path, capsys) -> None:
    folder, others = (
        Path(shutil.copytree(made[0], tmp_path / "bundle")),
        Path(shutil.copytree(made[1], tmp_path / "others")),
    )
    command = ["folds", str(folder), "--data", str(wards.root), "--out", str(others)]
    assert (
        main([*command, "--only", "8"]) == 1
        and "other folds are 2 to 7, got 8" in capsys.readouterr().err
    )
    assert (
        main([*command, "--teachers", str(tmp_path)]) == 1
        and "has no teacher; leave --teachers out" in capsys.readouterr().err
    )
    spec = others / "fold-4" / "bundle" / bundle.MODEL_SPEC
    spec.write_text(spec.read_text().replace('"seed": 5', '"seed": 6'))
    with pytest.raises(
        RunError, match=r"fold-4/bundle was not made as .* was, with held-out-4 held out"
    ):
        cross_fold.gather(folder, wards, others)
    shutil.rmtree(others / "fold-3" / "bundle")
    with pytest.raises(RunError, match="fold-3/bundle is missing or not calibrated"):
        cross_fold.gather(folder, wards, others)
    # Whatever failed, the bundle is as it was.
    assert (
        bundle.read_model_spec(folder) == bundle.read_model_spec(made[0])
        and not (folder / fold_answers.OTHERS).exists()
    )
    (folder / fold_answers.OTHERS).write_text(
        "file,label,clean\ntrain/NORMAL/IM-0001-0001.jpeg,0,0.5\n"
    )
    with pytest.raises(bundle.BundleError, match="must have the columns file, label, fold"):
        fold_answers.read(folder)


def test_an_image_that_some_folds_skipped_makes_them_no_strangers(made, wards, tmp_path) -> None:
    folder, others = (
        Path(shutil.copytree(made[0], tmp_path / "bundle")),
        Path(shutil.copytree(made[1], tmp_path / "others")),
    )
    spec = others / "fold-5" / "bundle" / bundle.MODEL_SPEC
    spec.write_text(
        spec.read_text().replace('"skipped": []', '"skipped": ["train/NORMAL/IM-0001-0001.jpeg"]')
    )
    assert bundle.read_model_spec(spec.parent).data["skipped"]
    assert (
        cross_fold.gather(folder, wards, others).default.recall_lower_bound
        > bundle.read_model_spec(made[0]).default.recall_lower_bound
    )


def test_answers_about_patients_that_were_learned_from_are_refused(made, wards, tmp_path) -> None:
    folder, others = (
        Path(shutil.copytree(made[0], tmp_path / "bundle")),
        Path(shutil.copytree(made[1], tmp_path / "others")),
    )
    shutil.copy(
        others / "fold-3" / "bundle" / details.COPIES, others / "fold-4" / "bundle" / details.COPIES
    )
    with pytest.raises(RunError, match=r"fold-4/bundle answered for .*, which it learned from"):
        cross_fold.gather(folder, wards, others)


def test_a_folder_holds_the_folds_of_one_bundle(made, wards, tmp_path) -> None:
    folder = Path(shutil.copytree(made[0], tmp_path / "bundle"))
    shutil.copy(made[1] / "fold-2" / "bundle" / bundle.WEIGHTS, folder / bundle.WEIGHTS)
    spec = bundle.read_model_spec(made[1] / "fold-2" / "bundle")
    (folder / bundle.MODEL_SPEC).write_text(
        dataclasses.replace(
            bundle.read_model_spec(folder), weights_sha256=spec.weights_sha256
        ).to_json()
    )
    with pytest.raises(RunError, match="holds the folds of another bundle"):
        cross_fold.train(folder, wards, made[1], only=[2])


def test_what_was_measured_at_the_threshold_before_is_not_taken_for_todays(
    made, gathered, wards
) -> None:
    with pytest.raises(bundle.BundleError, match="rest on all folds, those of runs on their own"):
        seeds.write([gathered, made[0]])
    shutil.copy(made[0] / bundle.METRICS, gathered / bundle.METRICS)
    with pytest.raises(
        ReleaseError, match=r"was measured at the threshold .*, the model spec's is"
    ):
        card.render(gathered)
    # A run that is made into a bundle again is back on its own fold, and what the others lent it is
    # gone.
    run = gathered.parent / "run"
    shutil.copytree(made[0].parent, run)
    shutil.copy(gathered / fold_answers.OTHERS, run / "bundle" / fold_answers.OTHERS)
    assert evaluate.unmeasured(SHORT, run, wards) == run / "bundle"
    assert not (run / "bundle" / fold_answers.OTHERS).exists()
    assert (
        bundle.read_model_spec(run / "bundle").operating_points
        == bundle.read_model_spec(made[0]).operating_points
    )


def test_a_bundle_of_another_recipe_or_data_has_no_folds_here(made, tiny_scan, tmp_path) -> None:
    spec = bundle.read_model_spec(made[0])

    def told(**changes: object) -> ModelSpec:
        return dataclasses.replace(spec, recipe=dict(spec.recipe) | changes)

    assert cross_fold.recipe_of(spec) == SHORT
    with pytest.raises(RunError, match=r"another recipe best than today's \(learning_rate\)"):
        cross_fold.recipe_of(told(learning_rate=0.5))
    with pytest.raises(RunError, match="another copy of the data"):
        cross_fold.train(made[0], tiny_scan, tmp_path)


def test_a_bundle_of_a_time_when_policies_had_fewer_fields_is_of_todays_recipe_if_they_were_at_their_defaults(
    made, patched, monkeypatch
) -> None:
    spec, strong = (
        bundle.read_model_spec(made[0]),
        dataclasses.replace(SHORT, augmentation=recipes.STRONG),
    )
    monkeypatch.setattr(recipes, "get", lambda variant, name: strong)
    fewer = {
        key: value for key, value in dataclasses.asdict(recipes.STRONG).items() if key != "margin"
    }
    assert (
        cross_fold.recipe_of(
            dataclasses.replace(spec, recipe=dict(spec.recipe) | {"augmentation": fewer})
        )
        == strong
    )
    other = dataclasses.replace(
        spec, recipe=dict(spec.recipe) | {"augmentation": fewer | {"letters": 0.9}}
    )
    with pytest.raises(RunError, match=r"another recipe best than today's \(augmentation\)"):
        cross_fold.recipe_of(other)


def test_folds_are_not_drawn_by_guess_where_a_bundle_does_not_record_its_views(
    made, wards, tmp_path, monkeypatch, patched
) -> None:
    taught = dataclasses.replace(SHORT, teacher_weight=0.5, name="taught")
    monkeypatch.setattr(recipes, "get", lambda variant, name: taught)
    own, whole = tmp_path / "own", bundle.read_model_spec(made[0])
    shutil.copytree(made[0], own)
    for recorded in (
        {"teacher": whole.weights_sha256, "views": 1},
        {"teacher": whole.weights_sha256, "views": 1, "policy": {"sepia": 1.0}},
    ):
        told = json.loads((made[0] / "model_spec.json").read_text())
        told["recipe"] |= {"teacher_weight": 0.5, "name": "taught", "distillation": recorded}
        (own / "model_spec.json").write_text(json.dumps(told))
        with pytest.raises(RunError, match="does not record or that are no longer drawn"):
            cross_fold.train(own, wards, tmp_path / "folds", only=[3], teachers=made[1])


def test_a_student_of_a_fold_learns_from_the_teacher_of_that_fold(
    made, wards, tmp_path, patched
) -> None:
    taught = dataclasses.replace(SHORT, teacher_weight=0.5, name="taught")
    own = tmp_path / "own"
    policy = dataclasses.replace(recipes.VIEWS, letters=0.1)
    distillation.make(
        made[0], wards, tmp_path / "pool", policy=policy, views=1, size=recipes.VIEW_SIZE
    )
    fit.fit(taught, wards, own, pool=tmp_path / "pool")
    student = evaluate.unmeasured(taught, own, wards)
    patched.setattr(recipes, "get", lambda variant, name: taught)
    with pytest.raises(RunError, match="give their folder with --teachers"):
        cross_fold.train(student, wards, tmp_path / "folds", only=[3])
    (stranger := tmp_path / "stranger").mkdir()
    (stranger / "folds.json").write_text('{"weights_sha256": "' + "f" * 64 + '"}')
    with pytest.raises(RunError, match="does not hold the folds of the bundle's teacher"):
        cross_fold.train(student, wards, tmp_path / "folds", only=[3], teachers=stranger)
    (lent,) = cross_fold.train(student, wards, tmp_path / "folds", only=[3], teachers=made[1])
    patched.setattr(recipes, "get", lambda variant, name: SHORT)
    teacher = bundle.read_model_spec(made[1] / "fold-3" / "bundle")
    distillation = bundle.read_model_spec(lent).recipe["distillation"]
    assert (
        distillation["teacher"] == teacher.weights_sha256
        and distillation["policy"]["letters"] == 0.1
    ), "the views are drawn as the bundle's were"
    assert distillation["precision"] == "float32"
    # The pool holds no patient that either of them is asked about.
    pool = distillation.read(tmp_path / "folds" / "pool-3")
    assert pool.files == [item.relative for item in items_of(wards, "fitted-3")]
