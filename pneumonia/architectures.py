"""The three networks, each built as its recipe's listing reads, every layer named.

All take float32 ``(N, H, W, 3)``, 0 to 255, scale inside, and return the sigmoid probability of
PNEUMONIA, ``(N, 1)``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


# --- baseline: three plain convolutions
def baseline(input_size: tuple[int, int] = (100, 100)) -> keras.Model:
    """Conv 50, 50, 75 (3x3, valid, ReLU), each with 2x2 max pooling; Dense 75; Dense 1. About 0.6
    million weights.
    """
    from pneumonia.backend import keras

    layers = keras.layers
    x = image = keras.Input((*input_size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="scale")(x)
    for number, filters in enumerate((50, 50, 75), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(75, activation="relu", name="dense")(x)
    return keras.Model(image, _probability(x), name="baseline")


# --- augmented: wider, regularised, meant for augmented images
def augmented(input_size: tuple[int, int] = (128, 128)) -> keras.Model:
    """Conv 64, 128, 256 (3x3, same, ReLU, He, L2), each with 2x2 max pooling; Dense 64 (He, L2);
    Dense 1. About 4.6 million weights.
    """
    from pneumonia.backend import keras

    layers = keras.layers
    he_l2 = {"kernel_initializer": "he_normal", "kernel_regularizer": "l2"}
    x = image = keras.Input((*input_size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="scale")(x)
    for number, filters in enumerate((64, 128, 256), start=1):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"conv{number}", **he_l2
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense", **he_l2)(x)
    return keras.Model(image, _probability(x), name="augmented")


# --- xception: ImageNet features, frozen, under a small head
def xception(
    input_size: tuple[int, int] = (224, 224), weights: str | os.PathLike[str] | None = None
) -> keras.Model:
    """Xception (Chollet, CVPR 2017) without its top, frozen; global average pooling; Dense 128;
    Dense 1. About 21 million weights.

    The graph is flat, not a model nested in a model, so each inner block can be looked at like any
    other layer; Keras's running numbers on the shortcuts (``conv2d_3``, ``add_11``) become the
    names of their blocks.

    Args:
        input_size: ``(height, width)``; 71 pixels a side at least.
        weights: ``"imagenet"`` (Keras downloads them), the path of a ``.weights.h5`` file of the
            topless network, or None for random values.

    Raises:
        FileNotFoundError: the weights file is missing.
    """
    from pneumonia.backend import keras

    layers = keras.layers
    if weights is not None and str(weights) != "imagenet" and not Path(weights).is_file():
        raise FileNotFoundError(
            f"There is no weights file {weights}; give that of"
            " keras.applications.Xception(include_top=False), or 'imagenet'."
        )
    image = keras.Input((*input_size, 3), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(image)
    body = keras.applications.Xception(include_top=False, weights=None, input_tensor=scaled)
    body.trainable = False
    x = layers.GlobalAveragePooling2D(name="pool")(body.output)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    names = _block_names(body)

    def rename_layer(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(
            layer.get_config() | {"name": names.get(layer.name, layer.name)}
        )

    model = keras.models.clone_model(
        keras.Model(image, _probability(x), name="xception"), clone_function=rename_layer
    )
    if weights is not None:
        _load_imagenet(model, weights)
    return model


def _probability(x: keras.KerasTensor) -> keras.KerasTensor:
    from pneumonia.backend import keras

    # float32 whatever the precision policy: a bfloat16 sigmoid has three digits, too few for a
    # threshold.
    return keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)


def _block_names(body: keras.Model) -> dict[str, str]:
    from pneumonia.backend import keras

    layers = keras.layers
    shortcut_blocks = iter((2, 3, 4, 13))
    add_blocks = iter(range(2, 14))
    names: dict[str, str] = {}
    convolutions = [
        layer
        for layer in body.layers
        if type(layer) is layers.Conv2D and not layer.name.startswith("block")
    ]
    normalisations = [
        layer
        for layer in body.layers
        if isinstance(layer, layers.BatchNormalization) and not layer.name.startswith("block")
    ]
    for block, convolution, normalisation in zip(
        shortcut_blocks, convolutions, normalisations, strict=True
    ):
        names[convolution.name] = f"block{block}_shortcut"
        names[normalisation.name] = f"block{block}_shortcut_bn"
    for block, add in zip(
        add_blocks, (layer for layer in body.layers if isinstance(layer, layers.Add)), strict=True
    ):
        names[add.name] = f"block{block}_add"
    return names


def _load_imagenet(model: keras.Model, weights: str | os.PathLike[str]) -> None:
    from pneumonia.backend import keras

    if str(weights) == "imagenet":
        source = keras.applications.Xception(include_top=False, weights="imagenet")
    else:
        source = keras.applications.Xception(include_top=False, weights=None)
        source.load_weights(weights)
    # The body's layers come first and in the same order in both; only names differ.
    with_weights = [layer for layer in model.layers if layer.weights][
        : sum(bool(layer.weights) for layer in source.layers)
    ]
    for target, origin in zip(
        with_weights, (layer for layer in source.layers if layer.weights), strict=True
    ):
        target.set_weights(origin.get_weights())


# --- the catalogue
@dataclass(frozen=True)
class Variant:
    """One line of the catalogue.

    Attributes:
        name: the key, also the folder in ``assets/models`` and the end of the Hub repository's
            name.
        title: for people.
        summary: one sentence for the app and the card.
        build: makes the untrained network from ``(height, width)``.
        input_size: the size the recipes use unless they say otherwise.
        gallery_layers: the layers worth looking at, from the input to the output.
        claimed: test accuracy, 0 to 1, that the original notebook reports for it, without interval,
            recall or AUC; None where it reports none.
    """

    name: str
    title: str
    summary: str
    build: Callable[..., keras.Model]
    input_size: tuple[int, int]
    gallery_layers: tuple[str, ...]
    claimed: float | None = None

    def claim(self, recipe: Mapping[str, Any]) -> float | None:
        """What the original notebook claims of a run of this recipe: of its own procedure, to its
        own last epoch, and of no other.
        """
        finished = recipe.get("epoch") == recipe.get("keep_epoch", recipe.get("epoch"))
        return self.claimed if recipe.get("name") == "original" and finished else None


_SMALL_LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3")
_XCEPTION_LAYERS = (
    "block1_conv1_act",
    "block1_conv2_act",
    "block2_sepconv2_act",
    *(f"block{block}_add" for block in range(2, 14)),
    "block14_sepconv1_act",
    "block14_sepconv2_act",
)

CATALOGUE: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "baseline",
            "Baseline CNN",
            "Three plain convolutions, from random weights.",
            baseline,
            (100, 100),
            _SMALL_LAYERS,
            0.72,
        ),
        Variant(
            "augmented",
            "Augmented CNN",
            "Three wider, regularised convolutions, from random weights.",
            augmented,
            (128, 128),
            _SMALL_LAYERS,
            0.85,
        ),
        Variant(
            "xception",
            "Xception",
            "Xception under a small head, from ImageNet weights.",
            xception,
            (224, 224),
            _XCEPTION_LAYERS,
            0.75,
        ),
    )
}
