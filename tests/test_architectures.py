"""The networks: their listings layer by layer, their weights counted by hand, and what every entry
of the catalogue must have.
"""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from missing import absent

from pneumonia import architectures, radiograph
from pneumonia.architectures import CATALOGUE


@pytest.fixture
def built(untrained_models) -> dict[str, keras.Model]:
    return untrained_models


@pytest.fixture(scope="module")
def built_again(small_size) -> dict[str, keras.Model]:
    """Each variant a second time, under mixed precision."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        return {name: variant.build(small_size(name)) for name, variant in CATALOGUE.items()}
    finally:
        keras.mixed_precision.set_dtype_policy(before)


@pytest.fixture(scope="module")
def inputs(drawn_radiograph) -> np.ndarray:
    return radiograph.to_input(
        np.stack([drawn_radiograph(seed, seed % 2, (71, 71)) for seed in range(3)])
    )


# --- every variant
@pytest.mark.parametrize("variant", CATALOGUE)
class TestEveryVariant:
    def test_it_maps_images_to_one_probability(self, variant, built, small_size, drawn_radiograph):
        model, size = built[variant], small_size(variant)
        assert model.input_shape == (None, *size, 3)
        assert model.output_shape == (None, 1)
        last = model.layers[-1]
        assert (last.name, last.activation) == ("probability", keras.activations.sigmoid)
        values = np.asarray(
            model(
                radiograph.to_input(
                    np.stack([drawn_radiograph(seed, seed % 2, size) for seed in range(2)])
                )
            )
        )
        assert values.dtype == np.float32
        assert ((values > 0) & (values < 1)).all()
        assert values[0] != values[1]

    def test_scaling_is_its_first_layer(self, variant, built):
        image, scale = built[variant].layers[:2]
        assert isinstance(image, layers.InputLayer)
        assert (type(scale), scale.name) == (layers.Rescaling, "scale")

    def test_it_is_flat_and_every_name_is_given_by_hand(self, variant, built, built_again):
        names = [layer.name for layer in built[variant].layers]
        assert len(set(names)) == len(names)
        assert not any(isinstance(layer, keras.Model) for layer in built[variant].layers)
        # Names that Keras gives carry a running number, so a second build would have others.
        assert [layer.name for layer in built_again[variant].layers] == names

    def test_its_gallery_shows_maps_from_the_input_to_the_output(self, variant, built):
        names = [layer.name for layer in built[variant].layers]
        gallery = CATALOGUE[variant].gallery_layers
        assert len(gallery) >= 3
        assert [name for name in names if name in gallery] == list(gallery)
        for name in gallery:
            assert len(built[variant].get_layer(name).output.shape) == 4

    def test_its_probability_is_float32_under_mixed_precision(self, variant, built_again):
        assert built_again[variant].layers[-1].compute_dtype == "float32"
        assert built_again[variant].get_layer("dense").compute_dtype == "bfloat16"

    def test_its_line_in_the_catalogue_is_whole(self, variant):
        entry = CATALOGUE[variant]
        assert entry.name == variant
        assert entry.title
        assert entry.summary.endswith(".")
        assert all(side >= radiograph.MIN_SIDE for side in entry.input_size)


# --- the listings, by hand
def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}


def test_baseline_as_listed():
    model = architectures.baseline()
    # A 3x3 valid convolution takes 2 from each side, pooling halves and rounds down.
    assert shapes(model) == {
        "image": (100, 100, 3),
        "scale": (100, 100, 3),
        "conv1": (98, 98, 50),
        "pool1": (49, 49, 50),
        "conv2": (47, 47, 50),
        "pool2": (23, 23, 50),
        "conv3": (21, 21, 75),
        "pool3": (10, 10, 75),
        "flatten": (7500,),
        "dense": (75,),
        "probability": (1,),
    }
    by_hand = (
        (9 * 3 * 50 + 50) + (9 * 50 * 50 + 50) + (9 * 50 * 75 + 75) + (7500 * 75 + 75) + (75 + 1)
    )
    assert model.count_params() == by_hand == 620_426
    assert {
        layer.activation for layer in model.layers if layer.name.startswith(("conv", "dense"))
    } == {keras.activations.relu}
    assert not any(getattr(layer, "kernel_regularizer", None) for layer in model.layers)


def test_augmented_as_listed():
    model = architectures.augmented()
    assert shapes(model) == {
        "image": (128, 128, 3),
        "scale": (128, 128, 3),
        "conv1": (128, 128, 64),
        "pool1": (64, 64, 64),
        "conv2": (64, 64, 128),
        "pool2": (32, 32, 128),
        "conv3": (32, 32, 256),
        "pool3": (16, 16, 256),
        "flatten": (65_536,),
        "dense": (64,),
        "probability": (1,),
    }
    by_hand = (
        (9 * 3 * 64 + 64)
        + (9 * 64 * 128 + 128)
        + (9 * 128 * 256 + 256)
        + (65_536 * 64 + 64)
        + (64 + 1)
    )
    assert model.count_params() == by_hand == 4_565_249
    for name in ("conv1", "conv2", "conv3", "dense"):
        layer = model.get_layer(name)
        assert layer.activation is keras.activations.relu
        assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)
        assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
        # What the text 'l2' means to Keras.
        assert float(layer.kernel_regularizer.l2) == pytest.approx(0.01)
    assert model.get_layer("probability").kernel_regularizer is None


@pytest.mark.parametrize("build", [architectures.baseline, architectures.augmented])
def test_small_networks_scale_to_0_to_1(build):
    scale = build((64, 64)).get_layer("scale")
    assert np.asarray(
        scale(np.array([[[[0.0, 51.0, 255.0]]]], np.float32))
    ).ravel() == pytest.approx([0, 0.2, 1])


def test_xception_scales_to_minus_1_to_1(built):
    scale = built["xception"].get_layer("scale")
    assert np.asarray(
        scale(np.array([[[[0.0, 127.5, 255.0]]]], np.float32))
    ).ravel() == pytest.approx([-1, 0, 1])


def test_xception_has_a_frozen_body_and_a_small_head(built):
    model = built["xception"]
    # 22,910,480 with ImageNet's top of 2048 * 1000 + 1000, as keras.io lists it.
    body = 22_910_480 - 2_049_000
    head = (2048 * 128 + 128) + (128 + 1)
    assert model.count_params() == body + head
    assert [weight.path for weight in model.trainable_weights] == [
        "dense/kernel",
        "dense/bias",
        "probability/kernel",
        "probability/bias",
    ]
    position = [layer.name for layer in model.layers].index("pool")
    assert not any(layer.trainable for layer in model.layers[:position] if layer.weights)
    assert sum(bool(layer.weights) for layer in model.layers[:position]) == 80


def test_xceptions_shortcuts_are_named_after_their_blocks(built):
    model = built["xception"]
    assert sorted(layer.name for layer in model.layers if layer.name.endswith("_shortcut")) == [
        f"block{block}_shortcut" for block in (13, 2, 3, 4)
    ]
    for block, filters in ((2, 128), (3, 256), (4, 728), (13, 1024)):
        assert model.get_layer(f"block{block}_shortcut").output.shape[-1] == filters
        assert (
            model.get_layer(f"block{block}_shortcut_bn").input
            is model.get_layer(f"block{block}_shortcut").output
        )
        # The sum of a block has the block's own shortcut and its own last layer.
        sources = {
            tensor._keras_history.operation.name
            for tensor in model.get_layer(f"block{block}_add").input
        }
        assert sources == {f"block{block}_pool", f"block{block}_shortcut_bn"}
    for block in range(5, 13):
        sources = {
            tensor._keras_history.operation.name
            for tensor in model.get_layer(f"block{block}_add").input
        }
        assert sources == {f"block{block}_sepconv3_bn", f"block{block - 1}_add"}


# --- Xception's weights
def assert_same_features(weights: Path, inputs: np.ndarray) -> None:
    model = architectures.xception((71, 71), weights)
    features = keras.Model(model.input, model.get_layer("pool").output)
    original = keras.applications.Xception(
        include_top=False, weights=weights, input_shape=(71, 71, 3), pooling="avg"
    )
    expected = np.asarray(
        original(keras.applications.xception.preprocess_input(inputs.copy()), training=False)
    )
    assert expected.std() > 1e-6
    np.testing.assert_allclose(
        np.asarray(features(inputs, training=False)), expected, rtol=1e-4, atol=1e-5
    )
    assert not any(layer.trainable for layer in features.layers if layer.weights)


def test_a_weights_file_gives_the_features_of_keras_own_xception(random_xception_weights, inputs):
    assert_same_features(random_xception_weights, inputs)


@pytest.mark.data
def test_the_imagenet_weights_do_too(cxr_root, inputs):
    named = os.environ.get("XCEPTION_WEIGHTS")
    weights = (
        Path(named)
        if named
        else cxr_root.parents[1] / "weights" / "xception_imagenet_notop.weights.h5"
    )
    if not weights.is_file() and not named:
        absent(
            "the ImageNet weights are not here: XCEPTION_WEIGHTS is not set and there is no weights"
            " folder beside the data's"
        )
    assert_same_features(weights, inputs)


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights file .*absent\.weights\.h5"):
        architectures.xception((71, 71), tmp_path / "absent.weights.h5")
