"""The types that travel: what they refuse, and that writing and reading gives the same."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from pneumonia.model_spec import (
    LABELS,
    SCHEMA,
    Estimate,
    Metrics,
    ModelSpec,
    ModelSpecError,
    OperatingPoint,
    UnknownOperatingPoint,
)
from pneumonia.prediction import Prediction


@pytest.fixture
def spec(make_spec) -> ModelSpec:
    return make_spec("baseline", (100, 90), temperature=1.5)


def change_spec(spec: ModelSpec, **changes) -> str:
    return json.dumps(json.loads(spec.to_json()) | changes)


def test_a_model_spec_survives_writing_and_reading(spec):
    again = ModelSpec.from_json(spec.to_json())
    assert again == spec
    assert isinstance(again.input_size, tuple)
    assert again.operating_points == (
        OperatingPoint("default", 0.5),
        OperatingPoint("recall-0.98", 0.2, 0.98),
    )
    assert again.temperature == 1.5


def test_fields_with_a_usual_value_may_be_left_out(spec):
    values = json.loads(spec.to_json())
    for name in ("temperature", "labels", "uncertainty", "schema"):
        del values[name]
    for point in values["operating_points"]:
        del point["recall_interval"], point["rationale"]
    again = ModelSpec.from_json(json.dumps(values))
    assert (again.temperature, again.labels, again.uncertainty, again.schema) == (
        1.0,
        LABELS,
        0.0,
        SCHEMA,
    )
    assert (again.default.recall_interval, again.default.rationale) == (None, None)


def test_an_operating_point_survives_writing_and_reading(make_spec):
    points = (OperatingPoint("default", 0.25, 0.99, (0.975, 0.995), "finds 228 of 230"),)
    spec = make_spec("baseline", (100, 90), operating_points=points, uncertainty=0.75)
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "name",
    "variant recipe input_size preprocessing operating_points gallery_layers weights_sha256"
    " weights_dtype data versions commit".split(),
)
def test_each_other_field_is_needed(spec, name):
    values = json.loads(spec.to_json())
    del values[name]
    with pytest.raises(ModelSpecError, match=f"model_spec.json lacks {name}"):
        ModelSpec.from_json(json.dumps(values))


def test_unknown_fields_are_passed_over(spec):
    assert ModelSpec.from_json(change_spec(spec, colour="blue")) == spec
    points = json.loads(spec.to_json())["operating_points"]
    assert (
        ModelSpec.from_json(
            change_spec(spec, operating_points=[point | {"colour": "blue"} for point in points])
        )
        == spec
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["PNEUMONIA", "NORMAL"]}, "labels must be"),
        ({"labels": ["NORMAL"]}, "labels must be"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"uncertainty": -0.1}, "uncertainty must be a number of logits"),
        ({"uncertainty": float("inf")}, "uncertainty must be a number of logits"),
        ({"uncertainty": "much"}, "uncertainty"),
        ({"input_size": [100]}, "input_size must be two positive integers"),
        ({"input_size": [100, 0]}, "input_size must be two positive integers"),
        ({"input_size": [100.5, 100]}, "input_size must be two positive integers"),
        ({"input_size": ["100", "100"]}, "input_size must be two positive integers"),
        ({"input_size": 100}, "wrong type"),
        ({"operating_points": []}, "exactly one named 'default'"),
        (
            {"operating_points": [{"name": "other", "threshold": 0.5}]},
            "exactly one named 'default'",
        ),
        (
            {"operating_points": [{"name": "default", "threshold": 0.5}] * 2},
            "exactly one named 'default'",
        ),
        (
            {"operating_points": [{"name": "default", "threshold": 1.01}]},
            "must lie in 0..1, got 1.01",
        ),
        ({"operating_points": [{"name": "default", "threshold": "half"}]}, "threshold"),
        ({"operating_points": [{"name": "default"}]}, "wrong type"),
        ({"operating_points": "default"}, "wrong type"),
        (
            {
                "operating_points": [
                    {"name": "default", "threshold": 0.5, "recall_interval": [0.9, 1.1]}
                ]
            },
            "recall interval of operating point 'default'",
        ),
        (
            {"operating_points": [{"name": "default", "threshold": 0.5, "recall_interval": 0.9}]},
            "wrong type",
        ),
        (
            {"operating_points": [{"name": "default", "threshold": 0.5, "rationale": 3}]},
            "must be a sentence, got 3",
        ),
        ({"weights_sha256": "0" * 63}, "64 hexadecimal digits"),
        ({"weights_sha256": "G" * 64}, "64 hexadecimal digits"),
        ({"weights_sha256": None}, "64 hexadecimal digits"),
        ({"schema": SCHEMA + 1}, "newer than this library's"),
        ({"views": ["plain", "plain"]}, "different names of views"),
        ({"views": []}, "different names of views"),
        (
            {
                "single_view": {
                    "temperature": 0,
                    "operating_points": [{"name": "default", "threshold": 0.5}],
                }
            },
            "single_view must have a temperature above 0",
        ),
        ({"recipe": ["original"]}, "must be objects"),
        ({"commit": 7}, "commit must be text"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(spec, changes, message):
    with pytest.raises(ModelSpecError, match=message):
        ModelSpec.from_json(change_spec(spec, **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "an object, got list"),
        ("null", "an object, got NoneType"),
        ('"x"', "got str"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_object_is_refused(text, message):
    with pytest.raises(ModelSpecError, match=message):
        ModelSpec.from_json(text)


def test_the_default_point_is_found_by_name(make_spec):
    points = (OperatingPoint("recall-0.98", 0.2, 0.98), OperatingPoint("default", 0.4))
    assert make_spec("baseline", (100, 100), operating_points=points).default.threshold == 0.4


@pytest.mark.parametrize("threshold", [-0.01, 1.01, float("nan"), float("inf"), True])
def test_a_threshold_lies_between_0_and_1(threshold):
    assert OperatingPoint("x", 0).threshold == 0
    assert OperatingPoint("x", 1).threshold == 1
    with pytest.raises(
        ModelSpecError, match=r"threshold of operating point 'x' must lie in 0\.\.1"
    ):
        OperatingPoint("x", threshold)


@pytest.mark.parametrize("target", [0, -0.5, 1.5, float("nan")])
def test_a_recall_target_lies_above_0(target):
    assert OperatingPoint("x", 0.5, 1).recall_target == 1
    with pytest.raises(ModelSpecError, match="recall target"):
        OperatingPoint("x", 0.5, target)


def test_a_point_is_found_by_its_name_and_by_no_other(make_spec):
    spec = make_spec("baseline", (100, 100))
    assert spec.point("recall-0.98").threshold == 0.2
    with pytest.raises(UnknownOperatingPoint, match=r"default.*recall-0\.98"):
        spec.point("recall-0.5")
    with pytest.raises(TypeError):
        spec.point(0.5)


def test_a_prediction_becomes_plain_json_and_cannot_be_changed():
    prediction = Prediction(
        label="NORMAL",
        probability=0.25,
        threshold=0.5,
        operating_point=None,
        variant="baseline",
        uncertain=True,
        unfamiliar=False,
        warnings=("It is blank.",),
        name="x.jpeg",
        milliseconds=12.5,
    )
    plain = prediction.to_dict()
    assert list(plain) == [
        "label",
        "probability",
        "threshold",
        "operating_point",
        "variant",
        "uncertain",
        "unfamiliar",
        "warnings",
        "name",
        "milliseconds",
    ]
    assert json.loads(json.dumps(plain)) == plain
    assert plain["warnings"] == ["It is blank."]
    with pytest.raises(FrozenInstanceError):
        prediction.label = "PNEUMONIA"  # type: ignore[misc]


def test_metrics_survive_writing_and_reading(make_metrics):
    metrics = make_metrics("test")
    again = Metrics.from_dict(json.loads(json.dumps(asdict(metrics))))
    assert again == metrics
    assert again.figures["recall"] == Estimate(0.9, 0.84, 0.95, "wilson")


@pytest.mark.parametrize("name", ["split", "images", "threshold", "counts", "figures"])
def test_each_field_of_metrics_is_needed(make_metrics, name):
    values = asdict(make_metrics("test"))
    del values[name]
    with pytest.raises(ModelSpecError, match=f"KeyError '{name}'"):
        Metrics.from_dict(values)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": "many"},
        {"images": None},
        {"threshold": "half"},
        {"counts": 3},
        {"figures": []},
        {"figures": {"auc": {"value": 1}}},
        {"figures": {"auc": 0.9}},
    ],
    ids=str,
)
def test_metrics_of_the_wrong_type_are_refused(make_metrics, changes):
    with pytest.raises(ModelSpecError, match=r"metrics\.json has an entry that cannot be read"):
        Metrics.from_dict(asdict(make_metrics("test")) | changes)
