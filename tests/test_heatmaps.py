from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from pneumonia import PneumoniaClassifier, Radiograph, explain, heatmaps
from pneumonia.architectures import CATALOGUE

# The first channel of a 2x2 picture, as it reaches the head.
PICTURE = np.array([[1, 2], [3, 4]], np.float32)


def paper(head: str, bias: float = 0.0) -> keras.Model:
    """Two maps, the picture and twice the picture, and a logit of weights that fit on a page.

    ``flatten``: the first map counts 1 at the upper left and -1 at the lower right, the second
    counts 1 at the upper right: 1 - 4 + 4 = 1. ``average``: the means, 2.5 and 5, count 2 and -0.5:
    5 - 2.5 = 2.5.
    """
    image = keras.Input((2, 2, 3), name="image")
    maps = layers.Conv2D(2, 1, use_bias=False, activation="relu", name="maps")(image)
    folded = (
        layers.Flatten(name="flatten")(maps)
        if head == "flatten"
        else layers.GlobalAveragePooling2D(name="average")(maps)
    )
    model = keras.Model(
        image, layers.Dense(1, activation="sigmoid", name="probability")(folded), name="paper"
    )
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0] = 1, 2
    model.get_layer("maps").set_weights([kernel])
    # Flattened: position by position, the two channels of each side by side.
    weights = [1, 0, 0, 1, 0, 0, -1, 0] if head == "flatten" else [2, -0.5]
    model.get_layer("probability").set_weights(
        [np.array(weights, np.float32)[:, np.newaxis], np.array([bias], np.float32)]
    )
    return model


def given(scale: float = 1.0) -> np.ndarray:
    image = np.zeros((1, 2, 2, 3), np.float32)
    image[0, ..., 0] = PICTURE * scale
    return image


def test_contributions_are_those_worked_out_on_paper_and_add_up_to_the_logit():
    heat = heatmaps.contributions(paper("flatten", bias=0.5), given())
    np.testing.assert_allclose(heat.cells, [[1, 4], [0, -4]])
    assert heat.logit == pytest.approx(heat.cells.sum() + 0.5) == pytest.approx(1.5)
    assert (heat.layer, heat.input_size, heat.grid) == ("maps", (2, 2), ((1, 0), (1, 0)))


def test_where_maps_are_averaged_each_cell_adds_its_share():
    model = paper("average")
    heat = heatmaps.contributions(model, given())
    # Each cell: (2 * x - 0.5 * 2x) / 4 = x / 4.
    np.testing.assert_allclose(heat.cells, PICTURE / 4)
    assert heat.logit == pytest.approx(2.5)


def test_a_saturated_probability_leaves_the_map_as_it_is():
    model = paper("flatten", bias=200)
    assert float(model(given())[0, 0]) == 1.0
    np.testing.assert_allclose(heatmaps.contributions(model, given()).cells, [[1, 4], [0, -4]])
    assert heatmaps.contributions(model, given()).logit == pytest.approx(201)


def test_both_classes_are_measured_on_one_scale():
    heat = heatmaps.contributions(paper("flatten"), given())
    np.testing.assert_allclose(heat.towards("PNEUMONIA"), [[0.25, 1], [0, 0]])
    np.testing.assert_allclose(heat.towards("NORMAL"), [[0, 0], [0, 1]])
    np.testing.assert_array_equal(
        heatmaps.contributions(paper("flatten"), given(0)).towards("PNEUMONIA"), 0
    )


def test_a_map_is_linear_between_the_centres_of_its_cells():
    heat = heatmaps.HeatMap(
        np.array([[0, 4]], np.float32), 4.0, "maps", (4, 8), ((4, 1.5), (4, 1.5))
    )
    # Centres at 1.5 and 5.5 of eight pixels; each pixel between adds a quarter; outside, the
    # outermost cell goes on.
    np.testing.assert_allclose(
        heat.towards("PNEUMONIA")[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    )
    assert heat.towards("PNEUMONIA", (30, 50)).shape == (30, 50)


@pytest.mark.parametrize(
    ("variant", "size", "first", "last"),
    [
        # 3x3 valid and 2x2, three times: 1.5, then 2 * 1 + ... : strides 2, 4, 8 and centres 1.5,
        # 4.5, 10.5.
        ("baseline", (100, 100), 10.5, 82.5),
        # The same with padding: centres 0.5, 1.5, 3.5, and the last as far from the right as the
        # first from the left.
        ("augmented", (128, 128), 3.5, 123.5),
    ],
)
def test_cells_lie_where_the_convolutions_put_them(variant, size, first, last):
    heat = heatmaps.contributions(
        CATALOGUE[variant].build(size), np.zeros((1, *size, 3), np.float32)
    )
    assert heat.layer == "pool3"
    for stride, offset in heat.grid:
        assert (stride, offset) == (8, first)
        assert offset + stride * (heat.cells.shape[0] - 1) == last


def test_a_bright_patch_is_found_where_it_is(untrained_models):
    # Equal weights everywhere: the heat of a network that only counts brightness has to stand on
    # the one bright patch, out where margins are eaten.
    model = keras.models.clone_model(untrained_models["baseline"])
    model.set_weights(
        [np.full_like(weights, 1e-3 if weights.ndim > 1 else 0) for weights in model.get_weights()]
    )
    image = np.zeros((1, 64, 64, 3), np.float32)
    image[0, 12:20, 40:52] = 255
    heat = heatmaps.contributions(model, image).towards("PNEUMONIA")
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    assert abs(y - 15.5) <= 4 and abs(x - 45.5) <= 4


@pytest.mark.parametrize("variant", CATALOGUE)
def test_every_variant_and_its_logit(untrained_models, variant, drawn_radiograph):
    model = untrained_models[variant]
    image = np.repeat(
        drawn_radiograph(3, 1, model.input_shape[1:3])[np.newaxis, ..., np.newaxis], 3, axis=-1
    ).astype(np.float32)
    heat = heatmaps.contributions(model, image)
    assert heat.layer == {"xception": "block14_sepconv2_act"}.get(variant, "pool3")
    assert (
        heat.cells.shape == model.get_layer(heat.layer).output.shape[1:3]
        and heat.cells.dtype == np.float32
    )
    probability = float(model(image, training=False)[0, 0])
    assert 1 / (1 + np.exp(-heat.logit)) == pytest.approx(probability, abs=1e-5)


def test_the_pooled_cells_hold_what_their_four_add(untrained_models, drawn_radiograph):
    model = untrained_models["augmented"]
    image = np.repeat(
        drawn_radiograph(5, 1, (64, 64))[np.newaxis, ..., np.newaxis], 3, axis=-1
    ).astype(np.float32)
    pooled, before = (
        heatmaps.contributions(model, image).cells,
        heatmaps.contributions(model, image, "conv3").cells,
    )
    np.testing.assert_allclose(before.reshape(8, 2, 8, 2).sum(axis=(1, 3)), pooled, atol=1e-5)


def test_a_layer_within_a_branch_can_be_asked(untrained_models, drawn_radiograph):
    image = np.repeat(
        drawn_radiograph(3, 1, (71, 71))[np.newaxis, ..., np.newaxis], 3, axis=-1
    ).astype(np.float32)
    assert heatmaps.contributions(
        untrained_models["xception"], image, "block13_sepconv2_bn"
    ).cells.shape == (5, 5)


def test_a_network_inside_a_network_gives_its_last_maps():
    inner = keras.Sequential(
        [keras.Input((2, 2, 3)), layers.Conv2D(2, 1, use_bias=False, activation="relu")],
        name="inner",
    )
    flat = paper("flatten")
    inner.set_weights(flat.get_layer("maps").get_weights())
    image = keras.Input((2, 2, 3), name="image")
    nested = keras.Model(
        image,
        layers.Dense(1, activation="sigmoid", name="probability")(layers.Flatten()(inner(image))),
    )
    nested.get_layer("probability").set_weights(flat.get_layer("probability").get_weights())
    heat = heatmaps.contributions(nested, given())
    np.testing.assert_allclose(heat.cells, [[1, 4], [0, -4]])
    assert (heat.layer, heat.grid) == ("inner", ((1, 0), (1, 0)))


def test_wrong_input_says_what_was_expected(untrained_models):
    model = paper("flatten")
    with pytest.raises(ValueError, match=r"one image \(1, 2, 2, 3\), got \(2, 2, 2, 3\)"):
        heatmaps.contributions(model, np.zeros((2, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="no maps at a layer 'flatten'; choose one of maps"):
        heatmaps.contributions(model, given(), "flatten")
    with pytest.raises(
        ValueError, match="ends in a Dense layer of one unit with a sigmoid, got Conv2D 'maps'"
    ):
        heatmaps.contributions(keras.Model(model.input, model.get_layer("maps").output), given())
    with pytest.raises(ValueError, match="one of NORMAL, PNEUMONIA, got 'ILL'"):
        heatmaps.contributions(model, given()).towards("ILL")
    with pytest.raises(ValueError, match=r"opacity in 0\.\.1, got 2"):
        heatmaps.overlay(Radiograph(np.zeros((2, 2), np.uint8), "x"), np.zeros((2, 2)), 2)
    with pytest.raises(ValueError, match="got 'ILL'"):
        heatmaps.overlay(Radiograph(np.zeros((2, 2), np.uint8), "x"), np.zeros((2, 2)), 1, "ILL")


def test_an_overlay_colours_heat_and_leaves_the_rest():
    picture = Radiograph(np.array([[100, 100], [0, 200]], np.uint8), "x")
    laid = np.asarray(
        heatmaps.overlay(picture, np.array([[0, 1], [0, 0]], np.float32), 0.5)
    ).astype(int)
    assert laid[0, 0].tolist() == [100] * 3 and laid[1, 1].tolist() == [200] * 3
    # YlOrRd ends in (128, 0, 38): half of it, half of the X-ray's 100.
    assert np.abs(laid[0, 1] - [114, 50, 69]).max() <= 1
    np.testing.assert_array_equal(
        np.asarray(heatmaps.overlay(picture, np.ones((1, 1), np.float32), 0)),
        np.repeat(picture.pixels[..., np.newaxis], 3, -1),
    )


def test_a_derivative_is_made_once_and_goes_with_its_network():
    model = paper("flatten")
    heatmaps.contributions(model, given())
    made = heatmaps._DERIVED[model]["maps"]
    heatmaps.contributions(model, given())
    assert heatmaps._DERIVED[model]["maps"] is made
    del made
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("variant", CATALOGUE)
def test_the_map_is_of_the_picture_the_classifier_reads(models_folder, drawn_radiograph, variant):
    classifier = PneumoniaClassifier.from_pretrained(models_folder / variant)
    picture = Radiograph(drawn_radiograph(9, 1), "x")
    heat = heatmaps.contributions(classifier.model, classifier.inputs([picture]))
    assert 1 / (1 + np.exp(-heat.logit)) == pytest.approx(
        classifier.predict(picture).probability, abs=1e-5
    )
    assert heat.cells.shape == explain.activations(classifier, [picture], heat.layer).shape[1:3]
