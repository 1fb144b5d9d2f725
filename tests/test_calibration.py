"""Temperatures, thresholds and intervals that can be worked out on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from train.evaluation import calibration


def sigmoid(value: float | np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(value, float)))


# --- weights and temperature
def test_each_patient_weighs_the_same() -> None:
    assert calibration.patient_weights(np.array([7, 3, 7, 7, 5, 3])).tolist() == pytest.approx(
        [1 / 3, 1 / 2, 1 / 3, 1 / 3, 1, 1 / 2]
    )


def test_the_temperature_makes_confidence_what_it_is_worth() -> None:
    # Logits of +-4 that are right nine times in ten: sigmoid(4 / T) must be .9, so T = 4 / ln 9 =
    # 1.8205.
    labels = np.array([1] * 9 + [0] + [0] * 9 + [1])
    raw = sigmoid(np.array([4.0] * 10 + [-4.0] * 10))
    assert calibration.temperature(labels, np.arange(20), {"clean": raw}) == pytest.approx(
        4 / math.log(9), rel=1e-3
    )


def test_a_timid_network_is_sharpened() -> None:
    labels = np.array([1] * 9 + [0] + [0] * 9 + [1])
    raw = sigmoid(np.array([1.0] * 10 + [-1.0] * 10))
    assert calibration.temperature(labels, np.arange(20), {"clean": raw}) == pytest.approx(
        1 / math.log(9), rel=1e-3
    )


def test_copies_and_patients_enter_the_temperature() -> None:
    labels = np.array([1, 1, 1, 1, 0])
    clean, copy = sigmoid(np.array([2.0, 2, 2, 2, 2])), sigmoid(np.array([2.0, 2, 2, 2, 2]))
    # Five patients, four right: sigmoid(2 / T) = .8. The same three times over changes nothing.
    expected = 2 / math.log(4)
    assert calibration.temperature(labels, np.arange(5), {"clean": clean}) == pytest.approx(
        expected, rel=1e-3
    )
    assert calibration.temperature(
        labels, np.arange(5), {"clean": clean, "a": copy, "b": copy}
    ) == pytest.approx(expected, rel=1e-3)
    # Were the first three of one patient, two patients of three would be right.
    assert calibration.temperature(
        labels, np.array([1, 1, 1, 2, 3]), {"clean": clean}
    ) == pytest.approx(2 / math.log(2), rel=1e-3)
    # Copies that are right half of the time make it warmer: in all, 4 + 2.5 of 10 right.
    half = sigmoid(np.array([2.0, 2, -2, -2, 2]))
    both = calibration.temperature(labels, np.arange(5), {"clean": clean, "a": half})
    assert both == pytest.approx(2 / math.log(6 / 4), rel=1e-3)


def test_a_network_that_never_errs_gets_the_coolest_there_is() -> None:
    assert (
        calibration.temperature(np.array([0, 1]), np.arange(2), {"clean": np.array([0.2, 0.8])})
        == calibration.COOLEST
    )
    assert (
        calibration.temperature(np.array([1, 0]), np.arange(2), {"clean": np.array([0.2, 0.8])})
        == calibration.HOTTEST
    )


# --- operating points
def test_operating_points_by_hand() -> None:
    # 100 X-rays with pneumonia at .001 to .1, and one healthy far above, which has no say.
    labels = np.array([1] * 100 + [0])
    probabilities = np.concatenate([np.arange(1, 101) / 1000, [0.9]])
    points = {point.name: point for point in calibration.operating_points(labels, probabilities)}
    # 95 of 100 lie at or above .006, 98 at or above .003, 99 at or above .002.
    assert [(name, point.threshold) for name, point in points.items()] == [
        ("recall-0.95", 0.006),
        ("recall-0.98", 0.003),
        ("recall-0.99", 0.002),
    ]
    # Wilson for 95 of 100: centre (.95 + .0192) / 1.0384 = .9334, reach .0451.
    assert points["recall-0.95"].recall_interval == pytest.approx((0.8882, 0.9785), abs=2e-4)
    assert points["recall-0.98"].recall_target == 0.98


@pytest.mark.parametrize(("target", "threshold"), [(0.5, 0.8), (0.51, 0.3), (0.75, 0.3), (1, 0.1)])
def test_the_threshold_is_the_highest_that_finds_enough(target: float, threshold: float) -> None:
    labels = np.array([1, 1, 1, 1, 0])
    probabilities = np.array([0.9, 0.8, 0.3, 0.1, 0.2])
    (point,) = calibration.operating_points(labels, probabilities, (target,))
    assert point.threshold == threshold


def test_equal_scores_are_found_together() -> None:
    labels, probabilities = np.ones(4, int), np.array([0.2, 0.2, 0.2, 0.9])
    (point,) = calibration.operating_points(labels, probabilities, (0.5,))
    assert point.threshold == 0.2 and "finds 4" in str(point.rationale)


def test_a_threshold_is_rounded_down_so_that_its_own_image_stays_found() -> None:
    for value in (0.123456789, 0.0516614, 3.4567e-6, 0.99996, 0.5):
        (point,) = calibration.operating_points(np.array([1]), np.array([value]), (0.98,))
        assert value * (1 - 1e-3) < point.threshold <= value


# --- uncertainty
def test_uncertainty_is_how_far_the_nearest_move() -> None:
    clean = np.array([-3.0, -0.5, 0.2, 1.0, 6.0])
    found = {
        "clean": sigmoid(clean),
        "a": sigmoid(clean + np.array([0, 0.4, -0.1, 0, 3])),
        "b": sigmoid(clean - np.array([0, 0.2, 0.3, 0, 3])),
    }
    # The two nearest to the threshold's logit 0 move by .4, .1 and .2, .3.
    assert calibration.uncertainty(found, 0.5, nearest=2) == pytest.approx(0.25)
    assert calibration.uncertainty({"clean": sigmoid(clean)}, 0.5) == 0.0


# --- all of it
def test_a_contract_is_calibrated_as_a_whole(make_spec) -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [200, 400])
    scores = np.where(labels == 1, 6.0, -6.0) + rng.normal(0, 3.0, 600)
    raw = {"clean": sigmoid(scores), "darker": sigmoid(scores - 0.8)}
    spec = make_spec("baseline", (100, 90))
    found = calibration.calibrate_spec(spec, calibration.Answers(labels, np.arange(600), raw))
    assert [point.name for point in found.operating_points] == [
        "default",
        "recall-0.95",
        "recall-0.98",
        "recall-0.99",
    ]
    thresholds = [point.threshold for point in found.operating_points[1:]]
    assert thresholds == sorted(thresholds, reverse=True)
    assert found.default.recall_target == 0.98
    assert found.default.threshold == found.operating_points[2].threshold
    assert (
        found.temperature == calibration.temperature(labels, np.arange(600), raw)
        and found.temperature != 1
    )
    # All answers move by .8 raw logits, so by .8 / T calibrated ones.
    assert found.uncertainty == pytest.approx(0.8 / found.temperature, rel=0.01)
    assert (found.variant, found.weights_sha256, found.gallery_layers) == (
        spec.variant,
        spec.weights_sha256,
        spec.gallery_layers,
    )


@pytest.mark.parametrize(
    ("labels", "raw"),
    [
        ([0, 1], {"darker": [0.1, 0.9]}),
        ([1, 1], {"clean": [0.1, 0.9]}),
        ([0, 1], {"clean": [0.1, 0.9, 0.5]}),
        ([0, 1], {"clean": [0.1, 0.9], "a": [0.1]}),
    ],
)
def test_nothing_is_calibrated_on_what_cannot_bear_it(
    labels: list[int], raw: dict[str, list[float]]
) -> None:
    with pytest.raises(ValueError, match="Calibration needs"):
        calibration.Answers(
            np.array(labels), np.arange(2), {name: np.array(values) for name, values in raw.items()}
        )


def test_the_plain_view_alone_has_a_temperature_and_thresholds_of_its_own(make_spec) -> None:
    labels = np.repeat([0, 1], 100)
    scores = np.concatenate([np.linspace(-6, 1, 100), np.linspace(-1, 8.9, 100)])
    all_views, plain = (
        calibration.Answers(labels, np.arange(200), {"clean": sigmoid(factor * scores)})
        for factor in (1, 2)
    )
    spec = make_spec("baseline", (100, 90))
    assert calibration.calibrate_spec(spec, all_views).single_view is None
    found = calibration.calibrate_spec(spec, all_views, plain)
    assert found.single_view is not None
    assert found.single_view.temperature == pytest.approx(2 * found.temperature, rel=1e-3)
    assert [point.name for point in found.single_view.operating_points] == [
        point.name for point in found.operating_points
    ]
