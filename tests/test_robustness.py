"""The robustness report: measured on a tiny data set, written, read, put into a table, and accepted
as part of a bundle.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from pneumonia import bundle, probes, radiograph, release
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.corruptions import CORRUPTIONS
from pneumonia.evidence import Condition, Robustness, read_robustness
from pneumonia.model_spec import Estimate, ModelSpec
from pneumonia.radiograph import Radiograph
from train.data import folds
from train.data.chest_xray import Dataset, Item
from train.evaluation import details, evaluate, robustness, robustness_plot
from train.reports import robustness_report


def figures(auc: float) -> dict[str, Estimate]:
    return {
        name: Estimate(value, value - 0.05, min(1, value + 0.04), "wilson")
        for name, value in {"auc": auc, "accuracy": 0.8, "recall": 0.9}.items()
    }


def report(
    *, hidden: float = 0.6, only: float = 0.8, dark: float = 0.7, limit: int | None = None
) -> Robustness:
    """A report as it might be: AUC .95 on whole pictures, and as given under three conditions."""
    aucs = {"original": 0.95, "lungs hidden": hidden, "lungs only": only, "darker": dark}
    conditions = tuple(Condition(name, f"title of {name}", "lungs") for name in aucs)
    split = {name: figures(auc) for name, auc in aucs.items()}
    moves = {"max": 0.25, "mean": 0.125, "change": 1}
    originals = {
        "images": 16,
        "with_copy_step": {"max": 0.0, "mean": 0.0, "change": 0},
        "without_copy_step": moves,
        "other_copies": moves,
    }
    return Robustness(
        "xception",
        "a" * 64,
        0.3,
        limit,
        {"test": 624, "held-out": 746},
        conditions,
        {"test": split, "held-out": split},
        originals,
    )


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, models_folder: Path, tiny_scan: Dataset
) -> tuple[Robustness, Path]:
    """The tiny baseline under robustness: the report, and the bundle it was written into."""
    folder = Path(
        shutil.copytree(
            models_folder / "baseline", tmp_path_factory.mktemp("robustness") / "baseline"
        )
    )
    return robustness.measure(folder, tiny_scan, folder, resamples=20), folder


class TestMeasure:
    def test_every_probe_and_corruption_is_there_once_on_both_splits(
        self, measured: tuple[Robustness, Path]
    ) -> None:
        report, _ = measured
        names = [condition.name for condition in report.conditions]
        assert names[0] == "original"
        assert set(names[1:]) == {probe.name for probe in probes.PROBES} | set(CORRUPTIONS)
        assert len(names) == len(set(names))
        assert [set(split) for split in report.figures.values()] == [set(names)] * 2
        assert list(report.figures) == ["held-out", "test"]

    def test_untouched_figures_are_those_of_the_classifier(
        self, measured: tuple[Robustness, Path], tiny_scan: Dataset
    ) -> None:
        report, folder = measured
        classifier, items = PneumoniaClassifier.from_pretrained(folder), tiny_scan.split("test")
        answers = classifier.predict([item.path for item in items])
        right = np.mean(
            [
                (answer.label == "PNEUMONIA") == (item.label == 1)
                for answer, item in zip(answers, items, strict=True)
            ]
        )
        assert report.figures["test"]["original"]["accuracy"].value == pytest.approx(right)
        held_out = folds.items_of(tiny_scan, folds.HELD_OUT)
        assert report.images == {"test": len(items), "held-out": len(held_out)}
        assert report.threshold == 0.5 and report.limit is None

    def test_what_is_written_is_read_again(self, measured: tuple[Robustness, Path]) -> None:
        report, folder = measured
        assert read_robustness(folder) == report
        with Image.open(folder / "robustness.png") as picture:
            assert picture.format == "PNG" and picture.width > 800
        assert str(folder.parent) not in (folder / "robustness.json").read_text()

    def test_a_bundle_may_hold_it(
        self, measured: tuple[Robustness, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, folder = measured
        monkeypatch.setattr(release, "check_card", lambda *_: None)
        assert {"robustness.json", "robustness.png"} <= {
            name for name, _ in release.check(folder, "card")
        }

    def test_a_limit_is_kept_and_said(
        self, models_folder: Path, tiny_scan: Dataset, tmp_path: Path
    ) -> None:
        report = robustness.measure(
            models_folder / "baseline", tiny_scan, tmp_path, limit=4, resamples=5
        )
        assert report.limit == 4 and report.images["test"] == 4
        assert "quick look at 4 images" in robustness_report.table(report)

    def test_some_alterations_alone_give_the_figures_they_have_among_all(
        self, measured: tuple[Robustness, Path], tiny_scan: Dataset, tmp_path: Path
    ) -> None:
        report, folder = measured
        some = robustness.measure(folder, tiny_scan, tmp_path, only=("lungs hidden",), resamples=20)
        assert [one.name for one in some.conditions] == ["original", "lungs hidden"]
        for split, found in some.figures.items():
            assert found == {name: report.figures[split][name] for name in found}


class TestRecordedAnswers:
    """What a bundle was calibrated on it has answered already."""

    @pytest.fixture
    def calibrated_bundle(self, models_folder: Path, tiny_scan: Dataset, tmp_path: Path) -> Path:
        folder = Path(shutil.copytree(models_folder / "baseline", tmp_path / "baseline"))
        # What was measured before is of another threshold now, and would contradict the spec.
        (folder / bundle.METRICS).unlink()
        evaluate.calibrate(folder, tiny_scan)
        return folder

    def test_they_give_the_figures_that_asking_again_gives(
        self, calibrated_bundle: Path, tiny_scan: Dataset, tmp_path: Path
    ) -> None:
        taken = robustness.measure(calibrated_bundle, tiny_scan, tmp_path / "taken", resamples=5)
        (calibrated_bundle / details.COPIES).unlink()
        assert (
            robustness.measure(calibrated_bundle, tiny_scan, tmp_path / "asked", resamples=5)
            == taken
        )

    def test_they_are_taken(
        self, calibrated_bundle: Path, tiny_scan: Dataset, tmp_path: Path
    ) -> None:
        names, labels, raw = details.read_copies(calibrated_bundle)
        details.write_copies(calibrated_bundle, names, raw | {"jpeg 20": labels.astype(float)})
        report = robustness.measure(calibrated_bundle, tiny_scan, tmp_path, resamples=5)
        assert report.figures["held-out"]["jpeg 20"]["auc"].value == 1.0

    def test_those_of_other_weights_or_other_images_are_not(
        self, calibrated_bundle: Path, tiny_scan: Dataset, tmp_path: Path
    ) -> None:
        names, _, raw = details.read_copies(calibrated_bundle)
        upside_down = {name: 1 - values for name, values in raw.items()}
        honest = robustness.measure(calibrated_bundle, tiny_scan, tmp_path / "honest", resamples=5)
        details.write_copies(calibrated_bundle, names, upside_down)
        assert (
            robustness.measure(
                calibrated_bundle, tiny_scan, tmp_path / "other weights", resamples=5
            )
            == honest
        )
        details.write_copies(calibrated_bundle, names[::-1], upside_down)
        assert (
            robustness.measure(calibrated_bundle, tiny_scan, tmp_path / "other images", resamples=5)
            == honest
        )


def test_a_damaged_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "robustness.json").write_text(json.dumps({"schema": 1, "variant": "xception"}))
    with pytest.raises(bundle.BundleError, match="python -m train robustness"):
        read_robustness(tmp_path)


class TestTable:
    def test_what_hiding_the_lungs_costs(self) -> None:
        found = robustness_report.lungs(report(hidden=0.94))
        # Unaltered, lungs hidden, everything else hidden.
        assert re.findall(r"0\.\d{3}", found) == ["0.950", "0.940", "0.800"]

    def test_one_class_alone_tells_nothing(self) -> None:
        whole = report()
        without = {
            name: {key: value for key, value in entry.items() if key != "auc"}
            for name, entry in whole.figures["test"].items()
        }
        assert not robustness_report.lungs(
            replace(whole, figures={**whole.figures, "test": without})
        )

    def test_the_table_has_a_row_a_condition_and_every_cell_its_interval(self) -> None:
        rows = robustness_report.table(report()).splitlines()
        assert rows[0] == "Threshold 0.3." and len(rows) == 2 + 2 + 4
        assert (
            rows[4] == "| title of original | 0.950 (0.900 to 0.990) | 80.0% (75.0 to 84.0) | 90.0%"
            " (85.0 to 94.0) |  | 0.950 (0.900 to 0.990) |"
        )
        assert {row.count("|") for row in rows[2:]} == {7}

    def test_the_biggest_loss(self) -> None:
        assert robustness_plot.biggest_loss(report(hidden=0.6, dark=0.55)).name == "darker"
        assert robustness_plot.biggest_loss(report(hidden=0.5, dark=0.55)).name == "lungs hidden"

    def test_inversion_is_no_loss_worth_marking(self) -> None:
        whole = report(hidden=0.5)
        inverted = Condition("inverted", "inverted", "exposure")
        split = {**whole.figures["test"], "inverted": figures(0.1)}
        assert (
            robustness_plot.biggest_loss(
                replace(
                    whole,
                    conditions=(*whole.conditions, inverted),
                    figures={"test": split, "held-out": split},
                )
            ).name
            == "lungs hidden"
        )


def test_the_chart_marks_the_biggest_loss() -> None:
    chart = robustness_plot.picture(report(dark=0.55))
    labels = chart.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels if label.get_fontweight() == "bold"] == [
        "title of darker"
    ]


class TestOriginals:
    @pytest.fixture
    def contrast_reader(self, make_spec: Callable[..., ModelSpec]) -> PneumoniaClassifier:
        """A network whose probability is the mean grey value of the picture's first column over
        255.
        """
        inputs = keras.Input((224, 224, 3))
        column = keras.layers.Cropping2D(((0, 0), (0, 223)))(inputs)
        answer = keras.layers.Dense(
            1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / (3 * 255))
        )
        return PneumoniaClassifier(
            keras.Model(inputs, answer(keras.layers.GlobalAveragePooling2D()(column))),
            make_spec("baseline", (224, 224)),
        )

    def test_the_copy_step_leaves_nothing_to_move(
        self, contrast_reader: PneumoniaClassifier, tmp_path: Path
    ) -> None:
        # Black and white columns of 1 pixel: where a copy's first column lies between them depends
        # on filter and encoding.
        stripes = np.tile(np.array([0, 255], np.uint8), (400, 225))
        Image.fromarray(stripes).save(tmp_path / "original.png")
        item = Item(tmp_path / "original.png", "val", 0, "x", None)
        found = robustness.originals_against_copies(contrast_reader, [item])
        assert found["images"] == 1
        assert found["with_copy_step"] == {"max": 0.0, "mean": 0.0, "change": 0}
        copy = radiograph.resize(Radiograph(stripes, "x"), (224, 224))
        direct = np.asarray(Image.fromarray(stripes).resize((224, 224), Image.Resampling.BILINEAR))
        by_hand = abs(float(copy[:, 0].mean()) - float(direct[:, 0].mean())) / 255
        assert found["without_copy_step"]["max"] == pytest.approx(by_hand, abs=1e-6)
        assert found["other_copies"]["max"] >= found["other_copies"]["mean"] > 0

    def test_copies_are_no_originals(
        self, contrast_reader: PneumoniaClassifier, tmp_path: Path
    ) -> None:
        Image.fromarray(np.zeros((224, 224), np.uint8)).save(tmp_path / "copy.png")
        assert robustness.originals_against_copies(
            contrast_reader, [Item(tmp_path / "copy.png", "val", 0, "x", None)]
        ) == {"images": 0}
