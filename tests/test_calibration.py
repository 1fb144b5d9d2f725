"""Temperatures, thresholds and promises that can be worked out on paper, and a promise that is
tried out on patients nobody saw.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from pneumonia.model_spec import OperatingPoint
from train.evaluation import calibration, promise


def sigmoid(value: float | np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(value, float)))


# --- weights and temperature
# --------------------------------------------------------------------------------------------------------------
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


# --- the order statistic
# --------------------------------------------------------------------------------------------------------------------
def test_ranks_by_hand() -> None:
    # The lowest of n promises recall r with confidence 1 - r^n: for .9 and .9, 22 patients are
    # needed (.9^22 = .0985), 21 are too few (.1094).
    assert [promise.rank(patients, 0.9) for patients in (21, 22)] == [0, 1]
    # Two below of n: r^n + n (1 - r) r^(n-1) <= .1 from n = 38 on (.0946, at 37 .1036).
    assert [promise.rank(patients, 0.9) for patients in (37, 38)] == [1, 2]
    assert (
        promise.rank(10, 0.5) == 3
    )  # P[Bin(10, .5) >= 3] = 1 - 56/1024 = .945; for 4 it is 1 - 176/1024 = .828
    assert promise.rank(100_000, 1.0) == 0


def test_the_promise_by_hand() -> None:
    # The recall that the lowest of n promises with 90% is .1^(1/n).
    assert promise.promise(348, 1) == pytest.approx(0.1 ** (1 / 348))
    assert (
        promise.promise(22, 1) == pytest.approx(0.1 ** (1 / 22)) and promise.promise(22, 1) >= 0.9
    )
    for patients in (50, 348):
        for target in (0.9, 0.95, 0.98):
            k = promise.rank(patients, target)
            if k:
                assert promise.promise(patients, k) >= target > promise.promise(patients, k + 1)


@pytest.mark.parametrize(
    ("allowance", "expected"),
    [(0, 0.1), (0.9, 0.1), (1, 0.2), (1.4, 0.2), (1.5, 0.2), (2, 0.3), (3, 0.3), (9, 0.3)],
)
def test_a_threshold_keeps_its_allowance(allowance: float, expected: float) -> None:
    # Below .2 lies weight 1, below .3 lies 1 + .5 + .5.
    assert (
        calibration.threshold_keeping(
            np.array([0.3, 0.2, 0.1, 0.2]), np.array([1, 0.5, 1, 0.5]), allowance
        )
        == expected
    )


# --- operating points
# ---------------------------------------------------------------------------------------------------------------------
def test_operating_points_by_hand() -> None:
    # 100 patients with one X-ray each, at logits 0.1 to 10, and 10 healthy far below.
    labels = np.array([1] * 100 + [0] * 10)
    clean = sigmoid(np.concatenate([np.arange(1, 101) / 10, np.full(10, -5.0)]))
    points = {
        point.name: point
        for point in calibration.operating_points(labels, np.arange(110), {"clean": clean})
    }
    assert list(points) == ["recall-0.95", "recall-0.98", "recall-0.99", "recall-1.00"]
    # P[Bin(100, .05) >= 2] = 1 - .95^100 - 100 * .05 * .95^99 = .963, for 3 it is .882: one may lie
    # below, so the second lowest it is, at logit .2.
    assert points["recall-0.95"].threshold == pytest.approx(sigmoid(0.19), abs=1e-6)
    assert points["recall-0.95"].recall_lower_bound == 0.95
    assert (
        "at most 1 of 100 validation patients below it, which promises 0.95 on new ones with 90%"
        " confidence" in str(points["recall-0.95"].rationale)
    )
    # .98^100 = .133 is more than a tenth: even the lowest cannot promise .98; .1^(1/100) = .9772 it
    # can.
    for name, target in (("recall-0.98", 0.98), ("recall-0.99", 0.99), ("recall-1.00", 1.0)):
        assert points[name].threshold == pytest.approx(sigmoid(0.09), abs=1e-6)
        assert (points[name].recall_target, points[name].recall_lower_bound) == (target, 0.977)
        assert "none of 100 validation patients below it" in str(
            points[name].rationale
        ) and "no more, from so few" in str(points[name].rationale)


def test_a_threshold_lies_just_below_the_score_it_was_read_from() -> None:
    labels, clean = np.array([1] * 30 + [0]), np.concatenate([np.linspace(0.4, 0.9, 30), [0.1]])
    point = calibration.operating_points(labels, np.arange(31), {"clean": clean}, targets=(1.0,))[0]
    assert 0.4 - 0.005 < point.threshold < 0.4
    assert (
        0
        < calibration.operating_points(
            labels, np.arange(31), {"clean": np.full(31, 1e-9)}, targets=(1.0,)
        )[0].threshold
        < 1e-7
    )


def test_corrupted_copies_lower_a_threshold_and_never_raise_it() -> None:
    labels = np.array([1] * 100 + [0] * 2)
    scores = np.concatenate([np.arange(1, 101) / 10, [-5.0, -5.0]])
    found = {"clean": sigmoid(scores), "a": sigmoid(scores - 3), "b": sigmoid(scores + 3)}
    by_name = {
        point.name: point for point in calibration.operating_points(labels, np.arange(102), found)
    }
    # On the average of a and b five of 100 may lie below: ten of the copies of a, whose eleventh
    # lowest stands at 1.1 - 3 = -1.9.
    assert by_name["recall-0.95"].threshold == pytest.approx(sigmoid(-1.91), abs=1e-6)
    assert "to keep 95% on the average of 2 corruptions" in str(by_name["recall-0.95"].rationale)
    # None at all for 1.00: the lowest copy, .1 - 3.
    assert by_name["recall-1.00"].threshold == pytest.approx(sigmoid(-2.91), abs=1e-6)
    easier = calibration.operating_points(
        labels, np.arange(102), {"clean": sigmoid(scores), "b": sigmoid(scores + 3)}
    )
    assert [point.threshold for point in easier] == [
        point.threshold
        for point in calibration.operating_points(
            labels, np.arange(102), {"clean": sigmoid(scores)}
        )
    ]
    assert not any("lowered" in str(point.rationale) for point in easier)


def test_a_patient_with_many_x_rays_counts_once() -> None:
    # Patient 0 has ten X-rays at the bottom, 99 others one each above: .95 allows one patient, so
    # all ten may lie below.
    groups = np.concatenate([np.zeros(10, int), np.arange(1, 100), [200]])
    labels = np.array([1] * 109 + [0])
    clean = sigmoid(np.concatenate([np.full(10, -4.0), np.arange(1, 100) / 10, [-6.0]]))
    assert calibration.operating_points(labels, groups, {"clean": clean}, targets=(0.95,))[
        0
    ].threshold == pytest.approx(sigmoid(0.09), abs=1e-6)
    # Counted by images, ten of 109 below would be far too many.
    assert calibration.operating_points(labels, np.arange(110), {"clean": clean}, targets=(0.95,))[
        0
    ].threshold < sigmoid(-4.0)


def test_the_promise_holds_on_patients_nobody_saw() -> None:
    """Patients with one to five X-rays that resemble each other, drawn 600 times: the recall among
    all there could be is kept nine times in ten.
    """
    rng = np.random.default_rng(11)
    kept = 0
    for _ in range(600):
        sizes = rng.choice([1, 2, 5], 120, p=[0.75, 0.15, 0.1])
        groups = np.repeat(np.arange(120), sizes)
        # Half of the variance is the patient's own, half the X-ray's: each score is standard
        # normal.
        scores = rng.normal(0, math.sqrt(0.5), 120)[groups] + rng.normal(
            0, math.sqrt(0.5), len(groups)
        )
        labels = np.append(np.ones(len(groups), int), 0)
        point = calibration.operating_points(
            labels,
            np.append(groups, 999),
            {"clean": sigmoid(np.append(scores, -9))},
            targets=(0.95,),
        )[0]
        found = 0.5 * math.erfc(math.log(point.threshold / (1 - point.threshold)) / math.sqrt(2))
        kept += found >= 0.95
    # Two standard errors of 600 draws are .025.
    assert kept / 600 >= 0.9 - 0.025


# --- default and uncertainty
# ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("promised", "below", "expected"), [(0.99, 9, 0.99), (0.99, 8, 0.98), (0.985, 10, 0.98)]
)
def test_the_default_is_cautious_where_that_can_be_afforded(
    promised: float, below: int, expected: float
) -> None:
    points = [
        OperatingPoint("recall-0.98", 0.4, 0.98, 0.98),
        OperatingPoint("recall-0.99", 0.2, 0.99, promised),
    ]
    labels = np.array([0] * 10 + [1])
    found = {"clean": np.array([0.1] * below + [0.3] * (10 - below) + [0.9])}
    assert calibration.chosen_default(labels, points, found).recall_target == expected


def test_the_default_looks_at_the_corrupted_healthy_too() -> None:
    points = [
        OperatingPoint("recall-0.98", 0.4, 0.98, 0.98),
        OperatingPoint("recall-0.99", 0.2, 0.99, 0.99),
    ]
    labels, fine = np.array([0] * 10 + [1]), np.array([0.1] * 10 + [0.9])
    spoilt = np.array([0.1] * 7 + [0.3] * 3 + [0.9])
    # 10 and 7 of ten are .85 on average, 10 and 10 and 7 are .9.
    assert (
        calibration.chosen_default(labels, points, {"clean": fine, "a": spoilt}).recall_target
        == 0.98
    )
    assert (
        calibration.chosen_default(
            labels, points, {"clean": fine, "a": fine, "b": spoilt}
        ).recall_target
        == 0.99
    )


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
# ----------------------------------------------------------------------------------------------------------------------------
def test_a_contract_is_calibrated_as_a_whole(make_spec) -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [200, 400])
    scores = np.where(labels == 1, 6.0, -6.0) + rng.normal(0, 3.0, 600)
    raw = {"clean": sigmoid(scores), "darker": sigmoid(scores - 0.8)}
    spec = make_spec("baseline", (100, 90))
    found = calibration.calibrated_spec(spec, calibration.Answers(labels, np.arange(600), raw))
    assert [point.name for point in found.operating_points] == [
        "default",
        "recall-0.95",
        "recall-0.98",
        "recall-0.99",
        "recall-1.00",
    ]
    thresholds = [point.threshold for point in found.operating_points[1:]]
    assert thresholds == sorted(thresholds, reverse=True)
    assert found.default.recall_target in (0.98, 0.99)
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


@pytest.fixture
def two_networks() -> tuple[calibration.Answers, calibration.Answers]:
    """Of 200 patients with pneumonia each; the second says everything with twice the logit. Its
    patients have the same numbers and are others all the same.
    """
    labels = np.repeat([0, 1], 200)
    scores = np.concatenate([np.linspace(-6, 1, 200), np.linspace(-0.995, 8.955, 200)])
    first, second = (
        {"clean": sigmoid(factor * scores), "darker": sigmoid(factor * (scores - moved))}
        for factor, moved in ((1, 0.2), (2, 0.9))
    )
    return calibration.Answers(labels, np.arange(400), first), calibration.Answers(
        labels, np.arange(400), second
    )


def test_thresholds_rest_on_the_patients_of_all_folds_each_network_at_its_own_temperature(
    make_spec, two_networks
) -> None:
    one, _ = two_networks
    twice = calibration.Answers(
        one.labels,
        one.groups,
        {name: sigmoid(2 * calibration.logits(values)) for name, values in one.raw.items()},
    )
    assert twice.temperature == pytest.approx(2 * one.temperature, rel=1e-3)
    spec = make_spec("baseline", (100, 90))
    alone, both = (calibration.calibrated_spec(spec, one, others) for others in ((), (twice,)))
    # A step of the ill is .05. Alone, 5 of 200 may lie below, so the sixth lowest is the threshold
    # for 95%; both miss alike, so a few more may.
    missed = [
        round(
            (
                calibration.logits(np.array(found.operating_points[1].threshold))
                * found.temperature
                + 0.995
            )
            / 0.05
            + 0.1
        )
        for found in (alone, both)
    ]
    assert missed[0] == 5 and missed[1] in (6, 7)
    for count, kept in ((missed[1], True), (missed[1] + 1, False)):
        assert (
            promise.confidence_in(0.95, [count, count], [200, 200]) >= promise.CONFIDENCE
        ) is kept
    rationale = both.operating_points[1].rationale
    assert rationale.startswith(
        f"at most {2 * missed[1]} of 400 patients with pneumonia below it, those of 2 folds, each"
        f" as answered by the network that did not learn from it, and at most {missed[1]} of the"
        " 200 that this one was asked about"
    )
    assert alone.operating_points[1].rationale.startswith(
        "at most 5 of 200 validation patients below it, which promises 0.95"
    )
    with pytest.raises(ValueError, match="under the same names"):
        calibration.calibrated_spec(
            spec,
            one,
            [calibration.Answers(one.labels, one.groups, {"clean": twice.raw["clean"]})],
        )


def test_temperature_and_uncertainty_are_a_networks_own_whatever_others_say(
    make_spec, two_networks
) -> None:
    one, other = two_networks
    found = calibration.calibrated_spec(make_spec("baseline", (100, 90)), one, [other])
    assert found.temperature == one.temperature != other.temperature
    # Its own answers move by .2 raw logits under the corruption; the other's by 1.8.
    assert found.uncertainty == pytest.approx(0.2 / one.temperature, rel=0.01)


def test_corrupted_copies_of_all_folds_lower_a_threshold(make_spec, two_networks) -> None:
    one, _ = two_networks
    # Under the corruption the other network misses a quarter of its patients, so of all 400 an
    # eighth: more than 5%.
    spoiled = one.raw["darker"].copy()
    spoiled[200:250] = 1e-4
    other = calibration.Answers(one.labels, one.groups, one.raw | {"darker": spoiled})
    steady, lowered = (
        calibration.calibrated_spec(make_spec("baseline", (100, 90)), one, [fold]).operating_points[
            1
        ]
        for fold in (one, other)
    )
    assert (
        lowered.threshold < steady.threshold
        and "lowered further, to keep 95% on the average of 1 corruptions" in lowered.rationale
    )
