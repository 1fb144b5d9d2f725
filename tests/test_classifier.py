"""The class people use, on a network whose answer can be worked by hand, and on one of each
variant.
"""

from __future__ import annotations

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from pneumonia import (
    InputCheckError,
    InputCheckWarning,
    InvalidProbability,
    PneumoniaClassifier,
    Prediction,
    UnknownOperatingPoint,
    UnreadableImage,
    bundle,
    hub,
    locations,
)
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import apply_temperature
from pneumonia.model_spec import ModelSpecError, OperatingPoint


def sigmoid(logit: float) -> float:
    return 1 / (1 + np.exp(-logit))


@pytest.fixture(scope="module")
def meter() -> keras.Model:
    """A network that measures brightness: the logit runs from -5 for black to 5 for white."""
    image = keras.Input((40, 40, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))
    model.layers[-1].set_weights([np.full((3, 1), 10 / 3), np.array([-5.0])])
    return model


@pytest.fixture
def classifier(meter, make_spec) -> PneumoniaClassifier:
    return PneumoniaClassifier(meter, make_spec("baseline", (40, 40)))


@pytest.fixture(scope="module")
def untrained(models_folder) -> dict[str, PneumoniaClassifier]:
    return {
        variant: PneumoniaClassifier.from_pretrained(models_folder / variant)
        for variant in CATALOGUE
    }


def plain(brightness: int) -> np.ndarray:
    return np.full((50, 60), brightness, np.uint8)


# --- predict
def test_one_image_gives_one_prediction(classifier):
    prediction = classifier.predict(plain(204))
    # 204 / 255 = 0.8: the logit is 8 - 5.
    assert prediction.probability == pytest.approx(sigmoid(3), abs=1e-4)
    assert (prediction.label, prediction.threshold, prediction.variant, prediction.name) == (
        "PNEUMONIA",
        0.5,
        "baseline",
        "array",
    )
    assert 0 < prediction.milliseconds < 60_000
    assert type(prediction.probability) is float
    assert classifier.predict(plain(51)).label == "NORMAL"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_a_list_gives_a_list_in_its_order(classifier, batch_size):
    levels = [255, 0, 51, 204, 102, 153, 10]
    predictions = classifier.predict([plain(level) for level in levels], batch_size=batch_size)
    assert [prediction.probability for prediction in predictions] == pytest.approx(
        [sigmoid(level / 25.5 - 5) for level in levels], abs=1e-4
    )
    assert [prediction.label for prediction in predictions] == [
        "PNEUMONIA",
        "NORMAL",
        "NORMAL",
        "PNEUMONIA",
        "NORMAL",
        "PNEUMONIA",
        "NORMAL",
    ]


def test_a_list_of_one_is_a_list_and_of_none_is_empty(classifier):
    single = classifier.predict([plain(0)])
    assert isinstance(single, list)
    assert len(single) == 1
    assert isinstance(single[0], Prediction)
    assert len(classifier.predict((plain(0), plain(255)))) == 2
    assert classifier.predict([]) == []


@pytest.mark.parametrize("variant", CATALOGUE)
def test_the_answer_does_not_depend_on_the_company(variant, untrained, drawn_radiograph):
    images = [drawn_radiograph(seed, seed % 2) for seed in range(5)]
    alone = [untrained[variant].predict(image).probability for image in images]
    assert len(set(alone)) == 5
    for batch_size in (2, 5, 32):
        together = [
            prediction.probability
            for prediction in untrained[variant].predict(images, batch_size=batch_size)
        ]
        assert together == pytest.approx(alone, abs=1e-6)


def test_path_bytes_image_and_array_give_the_same_answer(untrained, drawn_radiograph, tmp_path):
    file = tmp_path / "x.png"
    array = drawn_radiograph(4, 1)
    Image.fromarray(array).save(file)
    predictions = untrained["baseline"].predict(
        [file, str(file), file.read_bytes(), Image.open(file), array]
    )
    assert len({prediction.probability for prediction in predictions}) == 1
    assert [prediction.name for prediction in predictions] == [
        "x.png",
        "x.png",
        "upload",
        "image",
        "array",
    ]


def test_a_probability_at_the_threshold_is_pneumonia(classifier):
    probability = classifier.predict(plain(100)).probability
    assert classifier.predict(plain(100), threshold=probability).label == "PNEUMONIA"
    assert classifier.predict(plain(100), threshold=np.nextafter(probability, 1)).label == "NORMAL"
    assert classifier.predict(plain(0), threshold=0).label == "PNEUMONIA"
    assert classifier.predict(plain(255), threshold=1).label == "NORMAL"


def test_the_specs_default_point_is_used_where_none_is_asked_for(meter, make_spec):
    points = (OperatingPoint("recall-0.98", 0.9, 0.98), OperatingPoint("default", 0.1))
    classifier = PneumoniaClassifier(
        meter, make_spec("baseline", (40, 40), operating_points=points)
    )
    # sigmoid(75 / 25.5 - 5) = sigmoid(-2.06) = 0.113
    prediction = classifier.predict(plain(75))
    assert (prediction.label, prediction.threshold) == ("PNEUMONIA", 0.1)
    assert classifier.predict(plain(75), threshold=0.5).label == "NORMAL"


def test_near_the_threshold_a_prediction_says_that_it_is_uncertain(meter, make_spec):
    # The logit of 75 is 75 / 25.5 - 5 = -2.06, that of the threshold .5 is 0.
    for uncertainty, expected in ((2.0, False), (2.1, True), (0.0, False)):
        spec = make_spec(
            "baseline",
            (40, 40),
            operating_points=(OperatingPoint("default", 0.5),),
            uncertainty=uncertainty,
        )
        found = PneumoniaClassifier(meter, spec).predict(plain(75))
        assert (found.label, found.uncertain) == ("NORMAL", expected)
    assert PneumoniaClassifier(meter, spec).predict(plain(75), threshold=0.11).uncertain is False


def test_an_operating_point_is_used_by_its_name(meter, make_spec):
    points = (OperatingPoint("default", 0.1), OperatingPoint("recall-0.98", 0.9, 0.98))
    classifier = PneumoniaClassifier(
        meter, make_spec("baseline", (40, 40), operating_points=points)
    )
    found = classifier.predict(plain(75), operating_point="recall-0.98")
    assert (found.label, found.threshold, found.operating_point) == ("NORMAL", 0.9, "recall-0.98")
    assert classifier.predict(plain(75)).operating_point == "default"
    assert classifier.predict(plain(75), threshold=0.1).operating_point is None
    assert classifier(plain(75), operating_point="recall-0.98").to_dict() | {
        "milliseconds": 0
    } == found.to_dict() | {"milliseconds": 0}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"threshold": -0.1}, ValueError),
        ({"threshold": 1.1}, ValueError),
        ({"threshold": float("nan")}, ValueError),
        ({"threshold": "0.5"}, TypeError),
        ({"threshold": True}, TypeError),
        ({"threshold": np.True_}, TypeError),
        ({"threshold": 0.5, "operating_point": "default"}, ValueError),
        ({"operating_point": "recall-0.5"}, UnknownOperatingPoint),
        ({"operating_point": 0.5}, TypeError),
        ({"operating_point": True}, TypeError),
        ({"on_invalid": "force"}, ValueError),
        ({"on_invalid": None}, ValueError),
        ({"batch_size": 0}, ValueError),
        ({"batch_size": -3}, ValueError),
        ({"batch_size": 2.0}, TypeError),
        ({"batch_size": True}, TypeError),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_before_a_picture_is_read(classifier, options, error):
    with pytest.raises(error):
        classifier.predict("absent.jpeg", **options)
    with pytest.raises(error):
        classifier.predict([], **options)


def test_a_picture_that_fails_the_input_check_is_answered_with_a_warning_or_refused(classifier):
    with pytest.warns(InputCheckWarning) as caught:
        warned = classifier.predict(plain(204))
    # The warning points at the line that asked.
    assert [entry.filename for entry in caught] == [__file__]
    assert warned.warnings
    with pytest.raises(InputCheckError) as refused:
        classifier.predict([plain(204)], on_invalid="raise")
    assert (refused.value.name, refused.value.reasons) == ("array", warned.warnings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ignored = classifier(plain(204), on_invalid="ignore")
    assert (ignored.probability, ignored.warnings) == (warned.probability, warned.warnings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.5, -0.5])
def test_what_is_no_probability_is_never_an_answer(make_spec, value):
    image = keras.Input((40, 40, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(1)(pooled))
    model.layers[-1].set_weights([np.zeros((3, 1)), np.array([value])])
    for temperature in (1.0, 2.0):
        classifier = PneumoniaClassifier(
            model, make_spec("baseline", (40, 40), temperature=temperature)
        )
        with pytest.raises(InvalidProbability):
            classifier.predict(plain(204))
    with pytest.raises(InvalidProbability):
        classifier.judge(value)


def test_it_says_what_it_is(classifier, untrained, models_folder):
    assert "baseline" in repr(classifier)
    loaded = untrained["xception"]
    shown = repr(loaded)
    assert "xception" in shown
    assert str(models_folder / "xception") in shown
    assert "0.5" in shown
    loaded = PneumoniaClassifier(
        loaded.model, loaded.spec, repo="me/lungs", commit="0123456789" * 4
    )
    assert "me/lungs" in repr(loaded)
    assert "0123456" in repr(loaded)


def test_an_unreadable_image_in_a_list_is_named(classifier, tmp_path):
    (tmp_path / "letter.jpeg").write_text("Dear doctor")
    with pytest.raises(UnreadableImage, match=r"letter\.jpeg is no picture"):
        classifier.predict([plain(0), tmp_path / "letter.jpeg"])
    with pytest.raises(FileNotFoundError):
        classifier.predict(tmp_path / "absent.jpeg")


@pytest.mark.parametrize("variant", CATALOGUE)
def test_threads_get_the_answers_they_would_get_alone(variant, untrained, drawn_radiograph):
    images = [drawn_radiograph(seed, seed % 2) for seed in range(8)]
    alone = [
        prediction.probability for prediction in untrained[variant].predict(images, batch_size=1)
    ]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(
            pool.map(lambda image: untrained[variant].predict(image).probability, images)
        )
    assert threaded == pytest.approx(alone, abs=1e-6)


# --- temperature
def test_a_temperature_divides_the_logit():
    # The logit of 0.8 is ln 4; half of it is ln 2, and that is 2 to 1.
    assert apply_temperature(np.array([0.8, 0.2, 0.5]), 2.0) == pytest.approx([2 / 3, 1 / 3, 0.5])
    # Twice ln 4 is ln 16: 16 to 1.
    assert apply_temperature(np.array([0.8]), 0.5) == pytest.approx([16 / 17])


def test_a_temperature_of_1_changes_no_bit():
    values = np.array([0.0, 1e-12, 0.3, 1.0])
    np.testing.assert_array_equal(apply_temperature(values, 1.0), values)


def test_certainty_stays_finite_and_order_is_kept():
    values = apply_temperature(np.array([0.0, 1e-5, 0.4, 0.9, 1.0]), 3.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()
    assert 0 < values[0] < values[-1] < 1


def test_predictions_are_calibrated(meter, make_spec):
    classifier = PneumoniaClassifier(meter, make_spec("baseline", (40, 40), temperature=2.0))
    assert classifier.predict(plain(204)).probability == pytest.approx(sigmoid(1.5), abs=1e-4)


# --- load and save
@pytest.mark.parametrize("variant", CATALOGUE)
def test_a_bundle_becomes_a_classifier_with_its_spec_and_metrics(
    variant, untrained, models_folder, make_metrics
):
    classifier = untrained[variant]
    assert classifier.spec == bundle.read_model_spec(models_folder / variant)
    assert classifier.metrics == {"validation": make_metrics("val"), "test": make_metrics("test")}
    assert classifier.folder == models_folder / variant


def test_saving_copies_every_byte(untrained, models_folder, tmp_path):
    target = tmp_path / "copy"
    untrained["baseline"].save_pretrained(target)
    original = models_folder / "baseline"
    names = sorted(path.name for path in original.iterdir())
    assert sorted(path.name for path in target.iterdir()) == names
    for name in names:
        assert (target / name).read_bytes() == (original / name).read_bytes()
    assert PneumoniaClassifier.from_pretrained(str(target)).spec == untrained["baseline"].spec


def test_a_network_that_learned_on_is_not_saved_as_the_bundle_it_came_from(models_folder, tmp_path):
    classifier = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
    last = classifier.model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias + 1])
    with pytest.raises(bundle.BundleError, match=r"not those of .*bundle\.save"):
        classifier.save_pretrained(tmp_path / "copy")
    with pytest.raises(bundle.BundleError, match="not those of"):
        classifier.push_to_hub("me/fine-tuned")
    assert not (tmp_path / "copy").exists()
    last.set_weights([kernel, bias])
    classifier.save_pretrained(tmp_path / "copy")


def test_a_classifier_of_no_bundle_cannot_be_copied(classifier, tmp_path):
    with pytest.raises(ValueError, match="not loaded from a bundle"):
        classifier.save_pretrained(tmp_path)


def test_publishing_what_was_saved_needs_a_name(untrained, tmp_path):
    with pytest.raises(ValueError, match="repo_id"):
        untrained["baseline"].save_pretrained(tmp_path / "copy", push_to_hub=True)
    assert not (tmp_path / "copy").exists()
    with pytest.raises(TypeError):
        untrained["baseline"].save_pretrained(tmp_path / "copy", private=True)


@pytest.mark.parametrize(
    "change",
    [
        {"operating_points": [{"name": "default", "threshold": 0.9}]},
        {"variant": "xception"},
    ],
    ids=str,
)
def test_an_edited_model_spec_is_not_loaded(models_folder, tmp_path, change):
    folder = shutil.copytree(models_folder / "baseline", tmp_path / "edited")
    (folder / bundle.CHECKSUMS).unlink(missing_ok=True)
    spec = json.loads((folder / bundle.MODEL_SPEC).read_text())
    (folder / bundle.MODEL_SPEC).write_text(json.dumps(spec | change))
    with pytest.raises(bundle.BundleError):
        PneumoniaClassifier.from_pretrained(folder)
    # What does not contradict the figures is no edit that matters.
    (folder / bundle.MODEL_SPEC).write_text(json.dumps(spec | {"commit": "a" * 40}))
    assert PneumoniaClassifier.from_pretrained(folder).spec.commit == "a" * 40


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"weights_sha256": "1" * 64}, bundle.BundleError),
        (
            {"details": {"operating_points": {"recall-0.98": {"test": {"threshold": 0.3}}}}},
            bundle.BundleError,
        ),
        ({"details": {"operating_points": ["recall-0.98"]}}, ModelSpecError),
        ({"details": 3}, ModelSpecError),
    ],
    ids=str,
)
def test_metrics_of_another_model_are_not_taken_for_its_own(models_folder, tmp_path, change, error):
    folder = shutil.copytree(models_folder / "baseline", tmp_path / "edited")
    (folder / bundle.CHECKSUMS).unlink(missing_ok=True)
    metrics = json.loads((folder / bundle.METRICS).read_text())
    (folder / bundle.METRICS).write_text(json.dumps(metrics | change))
    with pytest.raises(error):
        PneumoniaClassifier.from_pretrained(folder)


def test_without_a_name_the_bundled_xception_is_loaded(models_folder, tmp_path, monkeypatch):
    monkeypatch.delenv(locations.NAMESPACE_VARIABLE, raising=False)
    monkeypatch.setattr(locations, "MODELS", (tmp_path / "absent", models_folder))
    monkeypatch.chdir(tmp_path)
    assert PneumoniaClassifier.from_pretrained().spec.variant == "xception"
    assert PneumoniaClassifier.from_pretrained("baseline").spec.variant == "baseline"
    monkeypatch.setattr(locations, "MODELS", (tmp_path / "absent",))
    with pytest.raises(FileNotFoundError, match="hf download"):
        PneumoniaClassifier.from_pretrained()
    monkeypatch.setenv(locations.NAMESPACE_VARIABLE, "me")
    assert locations.default() == "me/pneumonia-xray-xception"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model folder .*absent"):
        PneumoniaClassifier.from_pretrained(tmp_path / "absent")
    with pytest.raises(bundle.BundleError, match="is no model bundle"):
        PneumoniaClassifier.from_pretrained(Path(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me/lungs", ("me/lungs", None)),
        (" me/lungs\n", ("me/lungs", None)),
        ("hf://me/lungs", ("me/lungs", None)),
        ("hf://me/lungs@v1", ("me/lungs", "v1")),
        ("https://huggingface.co/me/lungs", ("me/lungs", None)),
        ("huggingface.co/me/lungs/", ("me/lungs", None)),
        ("https://hf.co/me/lungs?library=keras", ("me/lungs", None)),
        ("https://huggingface.co/me/lungs/tree/main", ("me/lungs", "main")),
        ("https://huggingface.co/me/lungs/blob/main/README.md", ("me/lungs", "main")),
        ("https://huggingface.co/me/lungs/tree/refs%2Fpr%2F1", ("me/lungs", "refs/pr/1")),
        ("https://huggingface.co/spaces/me/lungs", None),
        ("https://huggingface.co/me", None),
        ("https://example.org/me/lungs", None),
        ("hf://datasets/me/lungs", None),
        ("assets/models/xception", None),
        ("/tmp/lungs", None),
        ("[backup]/xception", None),
        ("[me", None),
        ("", None),
        (None, None),
        (Path("me/lungs"), None),
    ],
)
def test_a_repository_is_read_from_whatever_names_it(text, expected):
    assert hub.parse_name(text) == expected


def test_two_revisions_at_once_are_refused():
    with pytest.raises(ValueError, match="v1"):
        PneumoniaClassifier.from_pretrained("hf://me/lungs@v1", revision="v2")
