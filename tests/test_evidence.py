"""Counts, intervals and sentences that can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pneumonia import evidence
from pneumonia.model_spec import Estimate, ModelSpec, ModelSpecError

# Five pneumonias and four healthy; at .5 two are missed and one is called back.
LABELS = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0])
PROBABILITIES = np.array([0.9, 0.8, 0.5, 0.4, 0.1, 0.7, 0.3, 0.2, 0.1])


def test_an_outcome_counts_people() -> None:
    found = evidence.outcome(LABELS, PROBABILITIES, 0.5)
    assert (found.missed, found.ill, found.called_back, found.healthy, found.threshold) == (
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
    assert found.called_back_interval == evidence.wilson(1, 4)


@pytest.mark.parametrize(
    ("threshold", "missed", "called_back"),
    [(0.0, 0, 4), (0.1, 0, 4), (0.100001, 1, 3), (1.0, 5, 0)],
)
def test_the_threshold_itself_is_called(threshold: float, missed: int, called_back: int) -> None:
    found = evidence.outcome(LABELS, PROBABILITIES, threshold)
    assert (found.missed, found.called_back) == (missed, called_back)


def test_the_sentence_has_counts_and_intervals() -> None:
    # Wilson for 4 of 390: centre (.010256 + .004925) / 1.00985 = .015033, reach .011033; for 31 of
    # 234: .0949 to .1819.
    found = evidence.Outcome(0.2, 4, 390, 31, 234)
    assert (
        found.sentence()
        == "4 of 390 pneumonias were missed (95%: 0.4% to 2.6%) and 31 of 234 healthy were called"
        " back (95%: 9.5% to 18.2%)"
    )


def test_nine_in_ten_of_the_healthy_called_back_tell_little() -> None:
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
    assert found.called_back_interval == (0.0, 1.0)
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


def test_bettered_rounds_are_called_earlier_and_counted(make_spec) -> None:
    def of(variant: str, name: str) -> ModelSpec:
        return make_spec(variant, (64, 64), recipe={"name": name})

    further = [
        of("baseline", "improved"),
        of("xception", "improved"),
        of("baseline", "original"),
        of("xception", "improved"),
    ]
    assert evidence.rounds([of("baseline", "improved"), of("xception", "improved")], further) == [
        ", earlier",
        ", earlier 1",
        "",
        ", earlier 2",
    ]
    assert evidence.rounds([], further) == [""] * 4
