from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from pneumonia import PneumoniaClassifier, Radiograph, explain, radiograph
from pneumonia.architectures import CATALOGUE

# Small enough for paper: a 2x2 window sees its lower right pixel, so the windows of this picture
# read 4, 5, 7, 8, whose mean is 6.
PIXELS = np.arange(9, dtype=np.uint8).reshape(3, 3)
LOWER_RIGHT = np.array([[4, 5], [7, 8]], np.float32)


@pytest.fixture
def classifier(make_spec, monkeypatch):
    image = keras.Input((3, 3, 3), name="image")
    linear = layers.Conv2D(3, 2, name="linear")(image)
    rectified = layers.ReLU(name="rectified")(linear)
    answer = layers.Dense(1, activation="sigmoid", name="probability")(
        layers.Flatten(name="flatten")(rectified)
    )
    model = keras.Model(image, answer)
    kernel = np.zeros((2, 2, 3, 3), np.float32)
    kernel[1, 1, 0, 0], kernel[1, 1, 0, 1] = 1, -3
    model.get_layer("linear").set_weights([kernel, np.array([0, 0, 2], np.float32)])
    classifier = PneumoniaClassifier(
        model, make_spec("baseline", (3, 3), gallery_layers=("linear", "rectified"))
    )
    # Nine pixels on paper would not survive being made a 224-pixel JPEG.
    monkeypatch.setattr(
        classifier,
        "inputs",
        lambda pictures: radiograph.to_input(np.stack([picture.pixels for picture in pictures])),
    )
    return classifier


@pytest.fixture
def picture():
    return Radiograph(PIXELS, "paper")


def test_activations_are_those_worked_out_on_paper(classifier, picture):
    maps = explain.activations(classifier, [picture, picture], "linear")
    assert maps.shape == (2, 2, 2, 3) and maps.dtype == np.float32
    for one in maps:
        np.testing.assert_array_equal(one[..., 0], LOWER_RIGHT)
        np.testing.assert_array_equal(one[..., 1], -3 * LOWER_RIGHT)
        np.testing.assert_array_equal(one[..., 2], 2)


def test_a_later_layer_sees_what_the_earlier_one_gave(classifier, picture):
    maps = explain.activations(classifier, [picture], "rectified")[0]
    np.testing.assert_array_equal(maps[..., 0], LOWER_RIGHT)
    np.testing.assert_array_equal(maps[..., 1], 0)


def test_one_pass_gives_what_each_layer_gives_alone(classifier, picture):
    maps = explain.depth(classifier, picture)
    assert list(maps) == ["linear", "rectified"]
    np.testing.assert_array_equal(maps["linear"][..., 1], -3 * LOWER_RIGHT)
    np.testing.assert_array_equal(maps["rectified"][..., 0], LOWER_RIGHT)
    assert list(explain.depth(classifier, picture, ["rectified"])) == ["rectified"]
    assert explain.depth(classifier, picture, ["rectified"])["rectified"].shape == (2, 2, 3)
    with pytest.raises(ValueError, match="gives no maps at layer 'flatten'"):
        explain.depth(classifier, picture, ["linear", "flatten"])


def test_every_layer_with_maps_is_listed_and_no_other(classifier):
    assert explain.spatial_layers(classifier) == ["linear", "rectified"]


@pytest.mark.parametrize("variant", CATALOGUE)
def test_the_gallery_is_a_part_of_the_listed_layers_in_their_order(
    untrained_models, make_spec, small_size, variant
):
    classifier = PneumoniaClassifier(
        untrained_models[variant], make_spec(variant, small_size(variant))
    )
    listed = explain.spatial_layers(classifier)
    assert [name for name in listed if name in classifier.spec.gallery_layers] == list(
        classifier.spec.gallery_layers
    )


def test_strength_counts_negative_answers_of_a_linear_layer(classifier, picture):
    strengths = explain.strength(explain.activations(classifier, [picture], "linear"))
    np.testing.assert_allclose(strengths, [[6, 18, 2]])
    assert explain.order(strengths).tolist() == [1, 0, 2]


def test_strength_after_relu_is_the_mean(classifier, picture):
    strengths = explain.strength(explain.activations(classifier, [picture], "rectified"))
    np.testing.assert_allclose(strengths, [[6, 0, 2]])
    assert explain.order(strengths).tolist() == [0, 2, 1]


def test_order_is_by_the_mean_over_pictures_and_keeps_equals_in_place():
    # Means 2, 2, 3, 2.
    assert explain.order(np.array([[4, 1, 3, 2], [0, 3, 3, 2]], np.float32)).tolist() == [
        2,
        0,
        1,
        3,
    ]


def test_each_map_is_normalised_on_its_own_and_a_constant_one_is_zero(classifier, picture):
    maps = explain.activations(classifier, [picture, Radiograph(PIXELS * 10, "brighter")], "linear")
    shades = explain.normalise(maps)
    for one in shades:
        np.testing.assert_allclose(one[..., 0], [[0, 0.25], [0.75, 1]])
        np.testing.assert_allclose(one[..., 1], [[1, 0.75], [0.25, 0]])
        np.testing.assert_array_equal(one[..., 2], 0)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [("conv99", "has no layer 'conv99'"), ("flatten", "gives no maps at layer 'flatten'")],
)
def test_a_layer_that_cannot_be_shown_names_those_that_can(classifier, picture, layer, problem):
    with pytest.raises(ValueError, match=rf"{problem}; choose one of linear, rectified\."):
        explain.activations(classifier, [picture], layer)


def test_no_picture_and_no_maps_are_refused(classifier):
    with pytest.raises(ValueError, match="one picture or more"):
        explain.activations(classifier, [], "linear")
    with pytest.raises(ValueError, match=r"\(N, h, w, C\), got \(3, 3\)"):
        explain.normalise(np.zeros((3, 3)))


def test_a_cut_network_is_made_once_and_goes_with_its_classifier(classifier, picture):
    explain.activations(classifier, [picture], "linear")
    cut = explain._CUT[classifier]["linear"]
    explain.activations(classifier, [picture], "linear")
    assert explain._CUT[classifier]["linear"] is cut
    other = PneumoniaClassifier(classifier.model, classifier.spec)
    explain.activations(other, [picture], "linear")
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("variant", CATALOGUE)
def test_every_gallery_layer_of_every_variant_gives_maps(models_folder, drawn_radiograph, variant):
    classifier = PneumoniaClassifier.from_pretrained(models_folder / variant)
    pictures = [drawn_radiograph(1, 0), drawn_radiograph(2, 1)]
    for layer in classifier.spec.gallery_layers:
        maps = explain.activations(classifier, pictures, layer)
        assert maps.ndim == 4 and len(maps) == 2 and np.isfinite(maps).all(), layer
        assert maps.shape[3] == classifier.model.get_layer(layer).output.shape[3]
