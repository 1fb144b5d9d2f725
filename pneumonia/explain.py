"""What the layers of a network see: arrays in, arrays out.

>>> maps = activations(classifier, ["normal.jpeg", "pneumonia.jpeg"], "conv1")
>>> strongest = order(strength(maps))[:16]
>>> pictures = normalised(maps)[..., strongest]
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import keras
import numpy as np

from pneumonia import radiograph
from pneumonia.classifier import PneumoniaClassifier

# A network cut off at a layer costs a walk through its graph (0.1 s in Xception), so it is made once; it goes when its classifier goes.
_CUT: WeakKeyDictionary[PneumoniaClassifier, dict[str, keras.Model]] = WeakKeyDictionary()


def activations(classifier: PneumoniaClassifier, pictures: Sequence[radiograph.Source], layer: str) -> np.ndarray:
    """What one layer answers to each picture.

    Args:
        classifier: whose network.
        pictures: X-rays, in any form :func:`pneumonia.radiograph.read` takes; they go through the network in one batch.
        layer: name of a layer whose output is maps, such as those of ``classifier.contract.gallery_layers``.

    Returns:
        float32 ``(N, h, w, C)``: C maps of ``h`` by ``w`` for each picture; of any sign where the layer is linear.

    Raises:
        ValueError: there is no picture, no layer of that name, or the layer's output is no map; the message names the layers there are.
        UnreadableImage: a picture cannot be read.
    """
    if not pictures:
        raise ValueError("Expected one picture or more, got none.")
    cut = _cut(classifier, layer)
    return np.asarray(cut(classifier.inputs([radiograph.read(picture) for picture in pictures]), training=False), dtype=np.float32)


def strength(maps: np.ndarray) -> np.ndarray:
    """How much each channel answers: the mean of its absolute values over its map.

    After a ReLU that is the plain mean activation. The sums at the end of Xception's blocks are linear, and there a channel that answers with large negative
    values is as active as one with large positive ones, while its plain mean could be zero.

    Args:
        maps: ``(N, h, w, C)``.

    Returns:
        float32 ``(N, C)``, 0 or more, in the unit of the layer: it compares channels of a layer, not layers.
    """
    return np.abs(_checked(maps)).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


def order(strengths: np.ndarray) -> np.ndarray:
    """Channel numbers, strongest first, by the mean over the pictures; equals stand in the order of their numbers.

    One order for all pictures, so that a channel stands at the same place for each and they can be compared.

    Args:
        strengths: ``(N, C)``, from :func:`strength`.

    Returns:
        int array ``(C,)``.
    """
    return np.argsort(-strengths.mean(axis=0), kind="stable")


def normalised(maps: np.ndarray) -> np.ndarray:
    """Stretches every map on its own from its minimum and maximum to 0..1, so that a faint map shows its pattern; a constant map gives zeros.

    Args:
        maps: ``(N, h, w, C)``.

    Returns:
        float32 ``(N, h, w, C)``, 0 to 1.
    """
    maps = _checked(maps).astype(np.float64)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    span = high - low
    return ((maps - low) / np.where(span > 0, span, 1)).astype(np.float32)


def _cut(classifier: PneumoniaClassifier, layer: str) -> keras.Model:
    known = _CUT.setdefault(classifier, {})
    if layer not in known:
        found = next((candidate for candidate in classifier.model.layers if candidate.name == layer), None)
        if found is None or len(found.output.shape) != 4:
            problem = "has no layer" if found is None else "gives no maps at layer"
            raise ValueError(f"The {classifier.contract.variant} network {problem} {layer!r}; choose one of {', '.join(classifier.contract.gallery_layers)}.")
        known[layer] = keras.Model(classifier.model.input, found.output)
    return known[layer]


def _checked(maps: np.ndarray) -> np.ndarray:
    if maps.ndim != 4:
        raise ValueError(f"Expected maps (N, h, w, C), got {maps.shape}; use explain.activations().")
    return maps
