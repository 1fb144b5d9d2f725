"""Figures that can be worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from pneumonia.evidence import wilson
from pneumonia.model_spec import Metrics
from train.evaluation import metrics

# Four pneumonias and four healthy; at 0.5 one is missed and one is a false alarm.
LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0])
PROBABILITIES = np.array([0.9, 0.8, 0.6, 0.4, 0.7, 0.3, 0.2, 0.1])


def measure(**changes: object) -> Metrics:
    return metrics.measure(
        LABELS, PROBABILITIES, **{"threshold": 0.5, "split": "test", "resamples": 200, **changes}
    )  # type: ignore[arg-type]


def test_counts_and_rates() -> None:
    result = measure()
    assert result.counts == {
        "true_positive": 3,
        "false_negative": 1,
        "true_negative": 3,
        "false_positive": 1,
    }
    assert {
        name: result.figures[name].value
        for name in ("accuracy", "recall", "specificity", "precision", "f1")
    } == dict.fromkeys(("accuracy", "recall", "specificity", "precision", "f1"), 0.75)


def test_the_threshold_itself_counts_as_pneumonia() -> None:
    assert measure(threshold=0.4).counts["false_negative"] == 0
    assert measure(threshold=np.nextafter(0.4, 1)).counts["false_negative"] == 1


def test_auc_is_the_share_of_ordered_pairs() -> None:
    # 16 pairs; 0.7 beats 0.6 and 0.4, so 14 are in order.
    assert measure().figures["auc"].value == pytest.approx(14 / 16)


def test_average_precision_by_hand() -> None:
    # In falling order: hit, hit, miss (0.7), hit, hit (0.4). Precision at each hit: 1, 1, 3/4, 4/5;
    # each is a quarter of the recall.
    assert measure().figures["average_precision"].value == pytest.approx(
        (1 + 1 + 3 / 4 + 4 / 5) / 4
    )


def test_brier_by_hand() -> None:
    assert measure().figures["brier"].value == pytest.approx(
        (0.1**2 + 0.2**2 + 0.4**2 + 0.6**2 + 0.7**2 + 0.3**2 + 0.2**2 + 0.1**2) / 8
    )


def test_ece_by_hand() -> None:
    # Two bins of the ten: 0.25 said 0.2 on average with one of two ill, 0.95 said with both ill.
    labels, probabilities = np.array([0, 1, 1, 1]), np.array([0.22, 0.28, 0.95, 0.95])
    assert metrics.measure(labels, probabilities, 0.5, "mine", resamples=10).figures[
        "ece"
    ].value == pytest.approx((abs(1 - 0.5) + abs(2 - 1.9)) / 4)


def test_probability_one_is_in_the_last_bin() -> None:
    assert metrics.calibration_bins(np.array([1.0, 0.0]))[-1].tolist() == [True, False]


def test_every_resample_scores_as_scikit_learn_scores_its_images() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 60)
    # One digit: many ties, which is where implementations part.
    probabilities = np.round(rng.random(60), 1)
    weights = rng.integers(0, 4, (6, 60))
    found = metrics.scores(labels, probabilities, 0.5, weights)
    for row, counts in enumerate(weights):
        y, p = np.repeat(labels, counts), np.repeat(probabilities, counts)
        assert found["auc"][row] == pytest.approx(roc_auc_score(y, p))
        assert found["average_precision"][row] == pytest.approx(average_precision_score(y, p))
        assert found["brier"][row] == pytest.approx(brier_score_loss(y, p))
        assert found["f1"][row] == pytest.approx(f1_score(y, p >= 0.5))


def test_wilson_against_the_textbook() -> None:
    # Newcombe (Statistics in Medicine 1998), table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20
    # gives 0 to 0.1611.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_every_interval_holds_its_value_and_repeats() -> None:
    first, second = measure(), measure()
    assert first == second
    assert len(first.figures) == 9
    for figure in first.figures.values():
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_the_bootstrap_narrows_with_more_images() -> None:
    few = measure().figures["auc"]
    many = metrics.measure(
        np.tile(LABELS, 50), np.tile(PROBABILITIES, 50), 0.5, "test", resamples=200
    ).figures["auc"]
    assert many.value == pytest.approx(few.value)
    assert many.high - many.low < (few.high - few.low) / 3


def test_one_class_leaves_out_what_it_cannot_tell() -> None:
    figures = metrics.measure(np.ones(3, int), np.array([0.9, 0.8, 0.1]), 0.5, "mine").figures
    assert figures["recall"].value == pytest.approx(2 / 3)
    assert not {"specificity", "auc", "ece"} & figures.keys()


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([], []),
        ([0, 1], [0.5]),
        ([0, 2], [0.1, 0.2]),
        ([0, 1], [0.1, 1.2]),
        ([0, 1], [0.1, float("nan")]),
    ],
)
def test_refuses_what_it_cannot_measure(labels: list[int], probabilities: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        metrics.measure(np.array(labels), np.array(probabilities), 0.5, "test")


def test_without_resamples_the_rates_alone_are_measured() -> None:
    assert set(measure(resamples=0).figures) == {"accuracy", "recall", "specificity", "precision"}


def test_a_paired_difference_by_hand() -> None:
    # The other model finds the fourth pneumonia too and calls nobody back: one of eight more right
    # on each side, and all 16 pairs in order instead of 14.
    better = np.array([0.9, 0.8, 0.6, 0.55, 0.45, 0.3, 0.2, 0.1])
    found = metrics.paired_differences(
        LABELS, np.arange(8), (better, 0.5), (PROBABILITIES, 0.5), resamples=500
    )
    assert {name: figure.value for name, figure in found.items()} == pytest.approx(
        {"accuracy": 0.25, "recall": 0.25, "specificity": 0.25, "auc": 2 / 16}
    )
    for figure in found.values():
        assert figure.low <= figure.value <= figure.high
    # Each side's one image is drawn never or up to four times of four.
    assert (found["recall"].low, found["recall"].high) == (0.0, 0.75)


def test_a_model_does_not_differ_from_itself() -> None:
    found = metrics.paired_differences(
        LABELS, np.arange(8), (PROBABILITIES, 0.5), (PROBABILITIES, 0.5), resamples=50
    )
    assert all((figure.value, figure.low, figure.high) == (0, 0, 0) for figure in found.values())


def test_x_rays_of_one_patient_are_drawn_together() -> None:
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(80), 5)
    labels = (groups < 40).astype(int)
    # Both models err by patient: where one X-ray is wrong, all five are.
    ours, theirs = (
        np.where(rng.random(80)[groups] < 0.2, 1 - labels, labels).astype(float) for _ in range(2)
    )
    by_patient = metrics.paired_differences(
        labels, groups, (ours, 0.5), (theirs, 0.5), resamples=400
    )["accuracy"]
    by_image = metrics.paired_differences(
        labels, np.arange(400), (ours, 0.5), (theirs, 0.5), resamples=400
    )["accuracy"]
    # Five alike are one piece of evidence: the interval is sqrt(5) times as wide.
    assert (by_patient.high - by_patient.low) / (by_image.high - by_image.low) == pytest.approx(
        np.sqrt(5), rel=0.2
    )
