"""Parts of a test folder small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from train.evaluation.breakdown import breakdown, patients_of

NAMES = [
    "test/NORMAL/IM-0001-0001.jpeg",
    "test/NORMAL/IM-0001-0002.jpeg",
    "test/NORMAL/IM-0002-0001.jpeg",
    "test/NORMAL/IM-0003-0001.jpeg",
    "test/PNEUMONIA/person1_bacteria_1.jpeg",
    "test/PNEUMONIA/person1_bacteria_2.jpeg",
    "test/PNEUMONIA/person2_bacteria_1.jpeg",
    "test/PNEUMONIA/person1_virus_1.jpeg",
]
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
# At .5: one false alarm; of the bacteria one of three missed, the virus found.
PROBABILITIES = np.array([0.1, 0.6, 0.2, 0.2, 0.9, 0.3, 0.8, 0.7])
SAME = [
    ["test/NORMAL/IM-0002-0001.jpeg", "test/NORMAL/IM-0003-0001.jpeg"],
    ["train/NORMAL/a.jpeg", "train/NORMAL/b.jpeg"],
]


def test_causes_against_all_healthy() -> None:
    parts = breakdown(NAMES, LABELS, PROBABILITIES, 0.5, resamples=20)
    assert parts["bacteria"].counts == {
        "true_positive": 2,
        "false_negative": 1,
        "true_negative": 3,
        "false_positive": 1,
    }
    assert parts["virus"].counts == {
        "true_positive": 1,
        "false_negative": 0,
        "true_negative": 3,
        "false_positive": 1,
    }
    # .3 loses to .6, else all of 12 pairs are in order.
    assert parts["bacteria"].figures["auc"].value == pytest.approx(11 / 12)


def test_of_identical_files_the_first_counts() -> None:
    parts = breakdown(NAMES, LABELS, PROBABILITIES, 0.5, SAME, resamples=20)
    assert parts["without duplicates"].images == 7
    assert parts["without duplicates"].counts["true_negative"] == 2
    assert (
        breakdown(NAMES, LABELS, PROBABILITIES, 0.5, resamples=20)["without duplicates"].images == 8
    )


def test_a_patient_is_called_where_any_x_ray_is() -> None:
    parts = breakdown(NAMES, LABELS, PROBABILITIES, 0.5, SAME, resamples=20)
    # Five patients: IM-0001 a false alarm for its second X-ray, IM-0002 and IM-0003 one by their
    # file; person1's bacteria found by its first.
    assert parts["by patient"].counts == {
        "true_positive": 3,
        "false_negative": 0,
        "true_negative": 1,
        "false_positive": 1,
    }


def test_patients_go_by_name_and_by_shared_files() -> None:
    assert patients_of(NAMES).tolist() == [0, 0, 1, 2, 3, 3, 4, 5]
    assert patients_of(NAMES, SAME).tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert patients_of(NAMES, [*SAME, [NAMES[1], NAMES[3]]]).tolist() == [0, 0, 0, 0, 1, 1, 2, 3]


def test_a_cause_that_no_name_tells_is_left_out() -> None:
    parts = breakdown(
        ["test/NORMAL/a.png", "test/PNEUMONIA/b.png"],
        np.array([0, 1]),
        np.array([0.1, 0.9]),
        0.5,
        resamples=5,
    )
    assert set(parts) == {"without duplicates", "by patient"}
