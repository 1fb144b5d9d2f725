"""Counts, intervals and sentences that can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pneumonia import bundle, evidence
from pneumonia.model_spec import Estimate, Metrics, ModelSpec, ModelSpecError

# Five pneumonias and four healthy; at .5 two are missed and one is a false alarm.
LABELS = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0])
PROBABILITIES = np.array([0.9, 0.8, 0.5, 0.4, 0.1, 0.7, 0.3, 0.2, 0.1])


def test_an_outcome_counts_people() -> None:
    found = evidence.outcome(LABELS, PROBABILITIES, 0.5)
    assert (found.missed, found.ill, found.false_alarms, found.healthy, found.threshold) == (
        2,
        5,
        1,
        4,
        0.5,
    )
    assert found.recall == Estimate(3 / 5, *evidence.wilson(3, 5), "wilson")
    assert found.specificity == Estimate(3 / 4, *evidence.wilson(3, 4), "wilson")
    assert found.accuracy == Estimate(6 / 9, *evidence.wilson(6, 9), "wilson")
    assert found.missed_interval == evidence.wilson(2, 5)
    assert found.false_alarms_interval == evidence.wilson(1, 4)


@pytest.mark.parametrize(
    ("threshold", "missed", "false_alarms"),
    [(0.0, 0, 4), (0.1, 0, 4), (0.100001, 1, 3), (1.0, 5, 0)],
)
def test_the_threshold_itself_is_called(threshold: float, missed: int, false_alarms: int) -> None:
    found = evidence.outcome(LABELS, PROBABILITIES, threshold)
    assert (found.missed, found.false_alarms) == (missed, false_alarms)


def test_intervals_computed_by_hand() -> None:
    # Wilson for 4 of 390: centre (.010256 + .004925) / 1.00985 = .015033, reach .011033; for 31 of
    # 234: .0949 to .1819.
    found = evidence.Outcome(0.2, 4, 390, 31, 234)
    assert found.missed_interval == pytest.approx((0.0040, 0.0261), abs=1e-4)
    assert found.false_alarms_interval == pytest.approx((0.0949, 0.1819), abs=1e-4)


def test_false_alarms_on_nine_in_ten_of_the_healthy_tell_little() -> None:
    assert [
        evidence.Outcome(0.2, 0, 5, back, healthy).tells_little
        for back, healthy in ((17, 20), (18, 20), (20, 20), (0, 0))
    ] == [False, True, True, False]


def test_wilson_stays_within_0_and_1() -> None:
    # Wilson for 0 of 7: 3.8415 / (7 + 3.8415) = .3543 is its upper end, and so mirrored.
    assert evidence.wilson(0, 7) == (0.0, pytest.approx(0.3543, abs=1e-4))
    assert evidence.wilson(7, 7) == (pytest.approx(0.6457, abs=1e-4), 1.0)
    assert evidence.wilson(0, 0) == (0.0, 1.0)


def test_a_class_that_is_missing_has_no_rate() -> None:
    found = evidence.outcome(np.array([1, 1]), np.array([0.2, 0.9]), 0.5)
    assert found.specificity is None and found.recall is not None
    assert found.false_alarms_interval == (0.0, 1.0)
    assert evidence.outcome(np.array([], int), np.array([]), 0.5).accuracy is None


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="as many labels"):
        evidence.outcome(LABELS, PROBABILITIES[:-1], 0.5)


def test_a_table_of_predictions_is_read(tmp_path: Path) -> None:
    file = tmp_path / "predictions_test.csv"
    file.write_text(
        "file,label,probability\ntest/NORMAL/a.jpeg,0,0.25\ntest/PNEUMONIA/b.jpeg,1,1e-05\n"
    )
    names, labels, probabilities = evidence.read_predictions(file)
    assert names == ["test/NORMAL/a.jpeg", "test/PNEUMONIA/b.jpeg"]
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1]
    assert probabilities.dtype == np.float64 and probabilities.tolist() == [0.25, 1e-05]
    file.write_text("file,label,probability\n")
    assert [len(column) for column in evidence.read_predictions(file)] == [0, 0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na,1\n",
        "file,label,probability\na,1\n",
        "file,label,probability\na,ill,0.5\n",
        "file,label,probability\na,1,\n",
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "predictions_test.csv"
    file.write_text(text)
    with pytest.raises(ModelSpecError, match=r"predictions_test\.csv must have the columns"):
        evidence.read_predictions(file)
    with pytest.raises(FileNotFoundError):
        evidence.read_predictions(tmp_path / "none.csv")


def write_measured(folder: Path, spec: ModelSpec, metrics: Metrics) -> Path:
    folder.mkdir(parents=True)
    (folder / bundle.MODEL_SPEC).write_text(spec.to_json())
    bundle.write_metrics(folder, {"test": metrics}, spec)
    return folder


def test_further_runs_come_in_the_catalogues_order_and_bettered_rounds_are_counted(
    make_spec, make_metrics, tmp_path: Path
) -> None:
    def of(variant: str, name: str, weights: str, **recipe: object) -> ModelSpec:
        return make_spec(
            variant, (64, 64), recipe={"name": name} | recipe, weights_sha256=weights * 64
        )

    on_duty = [of("baseline", "improved", "0"), of("xception", "improved", "1")]
    further = {
        "a": of("xception", "improved", "2"),
        "b": of("xception", "improved", "3"),
        "c": of("baseline", "original", "4", epoch=150, keep_epoch=100),
        "d": of("baseline", "original", "5"),
        "e": of("baseline", "improved", "6"),
        "f": on_duty[0],
    }
    for name, spec in further.items():
        write_measured(tmp_path / name, spec, make_metrics("test"))
    found = evidence.read_further(tmp_path, on_duty)
    assert [(result.folder.name, result.earlier, result.foremost) for result in found] == [
        ("d", False, True),
        ("e", True, False),
        ("c", False, False),
        ("a", True, False),
        ("b", True, False),
    ]
    assert [result.title.removeprefix("Baseline CNN") for result in found[:3]] == [
        "",
        ", earlier",
        ", epoch 150",
    ]
    assert [result.title[-1] for result in found[3:]] == ["1", "2"]
    assert [result.claim for result in found] == [0.72, None, None, None, None]
    assert evidence.read_further(tmp_path / "none", on_duty) == []


def test_a_run_that_was_not_measured_is_refused(make_spec, tmp_path: Path) -> None:
    (tmp_path / bundle.MODEL_SPEC).write_text(make_spec("baseline", (64, 64)).to_json())
    with pytest.raises(bundle.BundleError):
        evidence.read_result(tmp_path, bundled=True)


def test_what_others_published_gets_the_intervals_its_counts_imply(tmp_path: Path) -> None:
    assert evidence.read_published(tmp_path) == []
    (tmp_path / evidence.PUBLISHED).write_text(
        'name,accuracy,recall,specificity,auc,note\n"Somebody, 2020",0.5714,,,0.9,by hand\n'
    )
    (found,) = evidence.read_published(tmp_path)
    assert found.estimate("accuracy", {"accuracy": 7}) == Estimate(
        0.5714, *evidence.wilson(4, 7), "wilson"
    )
    assert found.estimate("recall", {"recall": 4}) is None
    assert found.estimate("auc", {}) == Estimate(0.9, 0.9, 0.9, "none")
    assert (found.note, found.link) == ("by hand", "")


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"variant": "x"}', "[" * 100_000])
def test_a_damaged_robustness_file_is_refused(tmp_path: Path, text: str) -> None:
    assert evidence.read_robustness(tmp_path) is None
    (tmp_path / evidence.ROBUSTNESS).write_text(text)
    with pytest.raises(bundle.BundleError):
        evidence.read_robustness(tmp_path)


def test_counts_of_a_metrics_file_become_an_outcome(make_metrics) -> None:
    assert evidence.Outcome.of_counts(0.5, make_metrics("test").counts) == evidence.Outcome(
        0.5, 10, 100, 10, 50
    )
