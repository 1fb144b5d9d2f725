"""From a bundle to its evidence: tables that recompute, pictures that exist, figures that are
confirmed or not.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import PneumoniaClassifier, bundle, evidence
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import apply_temperature
from pneumonia.corruptions import CORRUPTIONS
from pneumonia.model_spec import Metrics, OperatingPoint
from train.__main__ import main
from train.data.chest_xray import Dataset
from train.data.folds import items_of
from train.evaluation import details, evaluate
from train.evaluation.metrics import confusion
from train.recipes.catalogue import get
from train.training import fit

PICTURES = ("roc.png", "precision_recall.png", "confusion.png", "calibration.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_scan: Dataset) -> Path:
    """A finished run of two epochs that keeps the first, assembled."""
    folder = tmp_path_factory.mktemp("runs") / "baseline-seed"
    recipe = dataclasses.replace(
        get("baseline", "original"), input_size=(48, 48), epochs=2, keep_epoch=1
    )
    fit.fit(recipe, tiny_scan, folder)
    evaluate.assemble(recipe, folder, tiny_scan)
    return folder


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory, tiny_scan: Dataset) -> Path:
    """A run that holds patients out, trained for two epochs, assembled: calibrated and measured."""
    folder = tmp_path_factory.mktemp("best") / "baseline-best"
    recipe = dataclasses.replace(
        get("baseline", "original"),
        name="improved",
        validation="held-out",
        input_size=(48, 48),
        epochs=2,
        keep_epoch=1,
    )
    fit.fit(recipe, tiny_scan, folder)
    evaluate.assemble(recipe, folder, tiny_scan)
    return folder


def test_a_run_becomes_a_bundle_with_its_evidence(run: Path, tiny_scan: Dataset) -> None:
    classifier = PneumoniaClassifier.from_pretrained(run / "bundle")
    assert classifier.spec.recipe["epoch"] == 1
    assert classifier.spec.recipe["precision"] == "float32"
    assert classifier.spec.data["fingerprint"] == tiny_scan.fingerprint
    assert classifier.metrics["test"].images == 8
    assert classifier.metrics["validation"].split == "val"
    for name in (*PICTURES, "training_curves.png"):
        with Image.open(run / "bundle" / name) as picture:
            assert picture.width > 400


def test_the_last_epoch_leaves_evidence_but_no_weights(run: Path) -> None:
    last = run / "last-epoch"
    assert bundle.read_model_spec(last).recipe["epoch"] == 2
    assert bundle.read_metrics(last)["test"].images == 8
    assert len(evaluate.read_history(last / evaluate.HISTORY)) == 2
    assert len(evaluate.read_history(run / "bundle" / evaluate.HISTORY)) == 1
    assert not (last / bundle.WEIGHTS).exists()


def test_a_recipe_that_holds_patients_out_is_calibrated_on_them(
    best: Path, tiny_scan: Dataset
) -> None:
    classifier = PneumoniaClassifier.from_pretrained(best / "bundle")
    spec, held_out = classifier.spec, items_of(tiny_scan, "held-out")
    assert [point.name for point in spec.operating_points] == [
        "default",
        "recall-0.95",
        "recall-0.98",
        "recall-0.99",
    ]
    # All of so few are found, and the interval says how little that means.
    ill = sum(item.label for item in held_out)
    assert spec.default.recall_interval == pytest.approx(evidence.wilson(ill, ill), abs=1e-4)
    assert spec.recipe["validation"] == "held-out" and "threshold" not in spec.recipe
    assert classifier.metrics["validation"].split == "held-out" and classifier.metrics[
        "validation"
    ].images == len(held_out)
    assert classifier.metrics["validation"].counts["false_negative"] == 0
    assert not (best / "last-epoch").exists()


def test_the_contract_recomputes_from_the_answers_beside_it(best: Path, tiny_scan: Dataset) -> None:
    names, _, raw = details.read_copies(best / "bundle")
    assert names == [item.relative for item in items_of(tiny_scan, "held-out")]
    assert list(raw) == ["clean", *CORRUPTIONS]
    spec = bundle.read_model_spec(best / "bundle")
    assert evaluate.recalibrate_spec(best / "bundle", evaluate.identical(tiny_scan)) == spec
    # The clean answers, calibrated, are those of the validation table.
    _, _, probabilities = evidence.read_predictions(best / "bundle" / "predictions_validation.csv")
    assert np.allclose(apply_temperature(raw["clean"], spec.temperature), probabilities, atol=1e-6)


def test_the_details_are_those_of_the_tables(best: Path, run: Path) -> None:
    found = bundle.read_details(best / "bundle")
    spec = bundle.read_model_spec(best / "bundle")
    names, labels, probabilities = evidence.read_predictions(
        best / "bundle" / "predictions_test.csv"
    )
    for point in spec.operating_points:
        counted = evidence.outcome(labels, probabilities, point.threshold)
        measured = Metrics.from_dict(found["operating_points"][point.name]["test"])
        assert (
            measured.counts["false_negative"] == counted.missed
            and measured.counts["false_positive"] == counted.false_alarms
        )
        assert (
            measured.figures["recall"] == counted.recall
            and measured.figures["specificity"] == counted.specificity
        )
    assert set(found["parts"]) == {"bacteria", "virus", "without duplicates", "by patient"}
    # Two images a healthy patient; of pneumonia, bacteria and virus alternate, and are patients of
    # their own.
    assert (
        found["parts"]["without duplicates"]["images"],
        found["parts"]["by patient"]["images"],
    ) == (8, 6)
    assert set(found["corruptions"]) == {"clean", *CORRUPTIONS}
    shares = found["uncertain"]
    wrong = int(np.sum((probabilities >= spec.default.threshold) != (labels == 1)))
    assert shares["wrong"] + shares["wrong_elsewhere"] == wrong and shares["wrong"] <= shares[
        "images"
    ] <= len(names)
    # A run of the notebook's procedure has one operating point and no answers under corruption.
    assert set(bundle.read_details(run / "bundle")) == {"operating_points", "parts"}


def test_a_second_measurement_confirms_a_calibrated_bundle(
    best: Path, tiny_scan: Dataset, tmp_path: Path
) -> None:
    assert (
        main(
            [
                "evaluate",
                str(best / "bundle"),
                "--data",
                str(tiny_scan.root),
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    assert (tmp_path / "metrics.json").read_text() == (best / "bundle" / "metrics.json").read_text()


def test_a_damaged_table_of_answers_is_named(tmp_path: Path) -> None:
    (tmp_path / details.COPIES).write_text("file,label,clean\ntrain/NORMAL/a.jpeg,0,much\n")
    with pytest.raises(bundle.BundleError, match=r"validation_copies\.csv must have the columns"):
        details.read_copies(tmp_path)


def test_the_confusion_counts_recompute_from_the_table(run: Path) -> None:
    with (run / "bundle" / "predictions_test.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    measured = bundle.read_metrics(run / "bundle")["test"]
    called = [float(row["probability"]) >= measured.threshold for row in rows]
    truth = [row["file"].split("/")[1] == "PNEUMONIA" for row in rows]
    assert (
        sum(c and t for c, t in zip(called, truth, strict=True)) == measured.counts["true_positive"]
    )
    assert (
        sum(c and not t for c, t in zip(called, truth, strict=True))
        == measured.counts["false_positive"]
    )
    assert [int(row["label"]) for row in rows] == [int(value) for value in truth]


def test_evaluation_gives_what_predict_gives(run: Path, tiny_scan: Dataset) -> None:
    classifier = PneumoniaClassifier.from_pretrained(run / "bundle")
    names, _, probabilities = evidence.read_predictions(run / "bundle" / "predictions_test.csv")
    direct = classifier.predict([tiny_scan.root / name for name in names])
    assert np.allclose(probabilities, [prediction.probability for prediction in direct], atol=1e-6)


def test_a_second_measurement_confirms_the_first(
    run: Path, tiny_scan: Dataset, tmp_path: Path
) -> None:
    measured = evaluate.evaluate(run / "bundle", tiny_scan, tmp_path)
    assert evaluate.differences(bundle.read_metrics(run / "bundle"), measured) == []


def test_the_command_confirms_a_true_bundle_and_exposes_a_false_one(
    run: Path, tiny_scan: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "evaluate",
                str(run / "bundle"),
                "--data",
                str(tiny_scan.root),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert "is confirmed" in capsys.readouterr().out
    false = Path(shutil.copytree(run / "bundle", tmp_path / "false"))
    metrics = bundle.read_metrics(false)
    flattered = dataclasses.replace(
        metrics["test"].figures["auc"], value=metrics["test"].figures["auc"].value - 0.02
    )
    boast = dataclasses.replace(
        metrics["test"], figures={**metrics["test"].figures, "auc": flattered}
    )
    bundle.write_metrics(false, metrics | {"test": boast}, bundle.read_model_spec(false))
    assert (
        main(
            ["evaluate", str(false), "--data", str(tiny_scan.root), "--out", str(tmp_path / "out2")]
        )
        == 1
    )
    assert "test auc" in capsys.readouterr().out


def test_another_data_set_is_not_held_against_the_bundle(
    run: Path, own_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((own_dataset / "test" / "NORMAL").iterdir()).unlink()
    assert (
        main(["evaluate", str(run / "bundle"), "--data", str(own_dataset), "--out", str(tmp_path)])
        == 0
    )
    assert "another copy of the data" in capsys.readouterr().out


def test_training_from_the_command_line_to_a_bundle_that_predicts(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"

    def fit_for(epochs: int, *further: str) -> int:
        command = ["fit", "baseline", "--recipe", "original", "--data", str(tiny_dataset)]
        return main([*command, "--epochs", str(epochs), "--out", str(out), *further])

    assert fit_for(1) == 0
    assert "recall" in capsys.readouterr().out
    image = next((tiny_dataset / "test" / "PNEUMONIA").iterdir())
    assert 0 <= PneumoniaClassifier.from_pretrained(out / "bundle").predict(image).probability <= 1
    # A second start must not overwrite the first, and says how to go on.
    assert fit_for(1) == 1
    assert "--resume" in capsys.readouterr().err
    assert fit_for(2, "--resume") == 0


@pytest.mark.parametrize("variant", CATALOGUE)
def test_the_published_spec_recomputes_from_the_published_answers(variant: str) -> None:
    assets = Path(__file__).parents[1] / "assets"
    folder = assets / "models" / variant
    spec = bundle.read_model_spec(folder)
    if spec.recipe.get("validation") != "held-out":
        # Fixed beforehand by its recipe, and by nothing measured.
        assert (spec.operating_points, spec.temperature) == (
            (OperatingPoint("default", get(variant, "original").threshold),),
            1.0,
        )
        return
    facts = json.loads((assets / "results" / "data.json").read_text())
    assert evaluate.recalibrate_spec(folder, facts["duplicates"]["groups"]) == spec


@pytest.mark.data
@pytest.mark.parametrize("variant", CATALOGUE)
def test_the_published_counts_recompute_from_the_published_table(
    variant: str, cxr_root: Path
) -> None:
    folder = Path(__file__).parents[1] / "assets" / "models" / variant
    names, labels, probabilities = evidence.read_predictions(folder / "predictions_test.csv")
    measured = bundle.read_metrics(folder)["test"]
    assert sorted(names) == sorted(
        path.relative_to(cxr_root).as_posix() for path in (cxr_root / "test").glob("*/*.jpeg")
    )
    assert confusion(labels, probabilities, measured.threshold) == dict(measured.counts)
    # The table is what the committed weights say, looked at on every 40th image.
    some = range(0, len(names), 40)
    predictions = PneumoniaClassifier.from_pretrained(folder).predict(
        [cxr_root / names[index] for index in some]
    )
    assert np.allclose(
        [prediction.probability for prediction in predictions], probabilities[list(some)], atol=2e-3
    )


def test_a_bundle_measured_into_its_own_folder_is_compared_with_what_it_said(
    best: Path, tiny_scan: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(best / "bundle", tmp_path / "bundle"))
    asked = ["evaluate", str(folder), "--data", str(tiny_scan.root), "--out", str(folder)]
    assert main(asked) == 0
    file = folder / bundle.METRICS
    said = json.loads(file.read_text())
    said["test"]["figures"]["brier"] |= {"value": 0.123, "low": 0.1, "high": 0.2}
    file.write_text(json.dumps(said))
    capsys.readouterr()
    assert main(asked) == 1
    assert "0.1230" in capsys.readouterr().out


def test_thresholds_are_not_taken_from_patients_that_were_learned_from(
    best: Path, own_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(best / "bundle", tmp_path / "bundle"))
    next((own_dataset / "train" / "NORMAL").iterdir()).unlink()
    before = (folder / bundle.MODEL_SPEC).read_bytes()
    for command in (["calibrate", str(folder), "--ask"], ["robustness", str(folder)]):
        assert main([*command, "--data", str(own_dataset)]) == 1
        assert "another copy of the data" in capsys.readouterr().err
    assert (folder / bundle.MODEL_SPEC).read_bytes() == before
