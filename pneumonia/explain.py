"""What the layers of a network see: arrays in, arrays out.

>>> maps = activations(classifier, ["normal.jpeg", "pneumonia.jpeg"], "conv1")
>>> strongest = order(strength(maps))[:16]
>>> pictures = normalise(maps)[..., strongest]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from pneumonia import forward, radiograph
from pneumonia.backend import keras, tf
from pneumonia.classifier import PneumoniaClassifier

# A network cut off at a layer takes up to a second to compile, so it is made once; it goes when its
# classifier goes.
_CUT: WeakKeyDictionary[PneumoniaClassifier, dict[str, Callable[..., Any]]] = WeakKeyDictionary()


def activations(
    classifier: PneumoniaClassifier, pictures: Sequence[radiograph.Source], layer: str
) -> np.ndarray:
    """What one layer answers to each picture.

    Args:
        classifier: whose network.
        pictures: X-rays, in any form :func:`pneumonia.radiograph.read` takes; they go through the
            network in one batch.
        layer: name of a layer whose output is maps, such as those of
            ``classifier.spec.gallery_layers``.

    Returns:
        float32 ``(N, h, w, C)``: C maps of ``h`` by ``w`` for each picture; of any sign where the
        layer is linear.

    Raises:
        ValueError: there is no picture, no layer of that name, or the layer's output is no map; the
            message names the layers there are.
        UnreadableImage: a picture cannot be read.
    """
    if not pictures:
        raise ValueError("Expected one picture or more, got none.")
    known = _CUT.setdefault(classifier, {})
    if layer not in known:
        known[layer] = _cut(classifier, _layer(classifier, layer).output)
    read = [radiograph.read(picture) for picture in pictures]
    return np.asarray(known[layer](tf.constant(classifier.inputs(read))), dtype=np.float32)


def spatial_layers(classifier: PneumoniaClassifier) -> list[str]:
    """The names of all layers that answer with maps of more than one cell, in the order a picture
    passes them; the input itself is left out.
    """
    model = classifier.model
    return [
        layer.name
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer) and _is_spatial(layer)
    ]


def depth(
    classifier: PneumoniaClassifier, picture: radiograph.Source, layers: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """What every layer on the way answers to one picture, in one pass.

    Args:
        classifier: whose network.
        picture: an X-ray, in any form :func:`pneumonia.radiograph.read` takes.
        layers: names from :func:`spatial_layers`; ``classifier.spec.gallery_layers`` if None.

    Returns:
        For each layer, in the order given, float32 ``(h, w, C)`` as :func:`activations` has it.

    Raises:
        ValueError: a layer does not exist or gives no maps.
        UnreadableImage: the picture cannot be read.
    """
    names = tuple(classifier.spec.gallery_layers if layers is None else layers)
    known = _CUT.setdefault(classifier, {})
    # No layer's name has a comma, so this key is no layer's.
    key = f",{','.join(names)}"
    if key not in known:
        known[key] = _cut(classifier, {name: _layer(classifier, name).output for name in names})
    answers = known[key](tf.constant(classifier.inputs([radiograph.read(picture)])))
    return {name: np.asarray(answers[name][0], dtype=np.float32) for name in names}


def strength(maps: np.ndarray) -> np.ndarray:
    """How much each channel answers: the mean of its absolute values over its map.

    After a ReLU that is the plain mean activation. The sums at the end of Xception's blocks are
    linear, and there a channel that answers with large negative values is as active as one with
    large positive ones, while its plain mean could be zero.

    Args:
        maps: ``(N, h, w, C)``.

    Returns:
        float32 ``(N, C)``, 0 or more, in the unit of the layer: it compares channels of a layer,
        not layers.
    """
    return np.abs(_check_maps(maps)).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


def order(strengths: np.ndarray) -> np.ndarray:
    """Channel numbers, strongest first, by the mean over the pictures; equals stand in the order of
    their numbers.

    One order for all pictures, so that a channel stands at the same place for each and they can be
    compared.

    Args:
        strengths: ``(N, C)``, from :func:`strength`.

    Returns:
        int array ``(C,)``.
    """
    return np.argsort(-strengths.mean(axis=0), kind="stable")


def normalise(maps: np.ndarray) -> np.ndarray:
    """Stretches every map on its own from its minimum and maximum to 0..1, so that a faint map
    shows its pattern; a constant map gives zeros.

    Args:
        maps: ``(N, h, w, C)``.

    Returns:
        float32 ``(N, h, w, C)``, 0 to 1.
    """
    maps = _check_maps(maps).astype(np.float64)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    span = high - low
    return ((maps - low) / np.where(span > 0, span, 1)).astype(np.float32)


def _cut(classifier: PneumoniaClassifier, outputs: Any) -> Callable[..., Any]:
    """The network as far as these outputs, compiled: float32 ``(N, H, W, 3)`` to what they
    are.
    """
    cut = keras.Model(classifier.model.input, outputs)
    return forward.compile_function(
        lambda images: cut(images, training=False),
        tf.TensorSpec(classifier.model.input_shape, tf.float32),
    )


def _layer(classifier: PneumoniaClassifier, name: str) -> keras.Layer:
    found = next(
        (candidate for candidate in classifier.model.layers if candidate.name == name), None
    )
    if found is None or not _is_spatial(found):
        problem = "has no layer" if found is None else "gives no maps at layer"
        raise ValueError(
            f"The {classifier.spec.variant} network {problem} {name!r}; choose one of"
            f" {', '.join(classifier.spec.gallery_layers)}."
        )
    return found


def _is_spatial(layer: keras.Layer) -> bool:
    shape = layer.output.shape
    return len(shape) == 4 and min(shape[1:3]) > 1


def _check_maps(maps: np.ndarray) -> np.ndarray:
    if maps.ndim != 4:
        raise ValueError(
            f"Expected maps (N, h, w, C), got {maps.shape}; use explain.activations()."
        )
    return maps
