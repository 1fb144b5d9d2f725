"""Where in an X-ray a network's answer comes from: networks and arrays in, arrays and pictures out.

>>> heat = contributions(classifier.model, classifier.inputs([picture]))
>>> overlay(picture, heat.towards("PNEUMONIA"), 0.6).save("why.png")

Everything is asked of the logit, never of the probability: the sigmoid's slope is all but zero
where the network is sure, and a map of its gradient would be noise just there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from pneumonia import figures
from pneumonia.backend import keras, tf
from pneumonia.model_spec import LABELS
from pneumonia.radiograph import Radiograph

# Colours that grow darker and more saturated with the heat, so that they stand out on white bone
# and on black air; told apart without red and green.
COLOURMAPS = {"PNEUMONIA": "YlOrRd", "NORMAL": "YlGnBu"}

# For rows and for columns: pixels of the input from one cell of a map to the next, and the input
# pixel at the centre of the first cell.
Grid: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

# Tracing Xception takes a second or two, its every use a tenth of one: so each layer's function is
# made once, and it goes when its network goes.
_DERIVED: WeakKeyDictionary[keras.Model, dict[str, tuple[Callable[..., Any], Grid]]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """What each cell of a layer adds to the logit of PNEUMONIA.

    Attributes:
        cells: float32 ``(h, w)``, in logits: above 0 it speaks for PNEUMONIA, below 0 for NORMAL.
        logit: of PNEUMONIA, as the network gives it, before any temperature.
        layer: whose cells these are.
        input_size: ``(height, width)`` of the network's input, pixels.
        grid: where the cells lie on the input.
    """

    cells: np.ndarray
    logit: float
    layer: str
    input_size: tuple[int, int]
    grid: Grid

    def towards(self, label: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """How strongly each place speaks for a class.

        Both classes are measured on one scale, the strongest cell of either: where all speaks for
        NORMAL, the map for PNEUMONIA stays pale instead of being stretched until its noise glows.

        Args:
            label: ``NORMAL`` or ``PNEUMONIA``.
            size: ``(height, width)`` of the map, pixels; the network's input size if None. The
                network saw the X-ray squeezed, so any size will do.

        Returns:
            float32 ``size``, 0 to 1: linear between the centres of the cells, each where it lies on
            the input.

        Raises:
            ValueError: there is no such class.
        """
        if label not in LABELS:
            raise ValueError(f"Expected one of {', '.join(LABELS)}, got {label!r}.")
        strongest = float(np.abs(self.cells).max())
        signed = self.cells if label == "PNEUMONIA" else -self.cells
        shares = np.clip(signed, 0, None).astype(np.float64) / (strongest or 1.0)
        return spread_cells(shares, self.grid, self.input_size, size or self.input_size)


def contributions(model: keras.Model, image: np.ndarray, layer: str | None = None) -> HeatMap:
    """What each cell of a layer adds to the logit: HiResCAM (Draelos and Carin, 2020,
    arXiv:2011.08891), with its sign.

    A cell's activations times the logit's gradient at that very cell, summed over the channels. The
    catalogue's networks are piecewise linear behind every layer, so the cells and a constant (what
    the biases bring) add up to the logit: the map promises that, and Grad-CAM does not. Grad-CAM
    spreads the mean of the gradient over all cells. In Xception, whose last maps are averaged,
    gradient and mean are the same, and so are both methods. The two small networks flatten their
    maps and weigh each place on its own; there Grad-CAM can light up places that the network never
    used, and this cannot.

    Args:
        model: ends in a Dense layer of one unit with a sigmoid, as every network of the catalogue.
        image: float32 ``(1, H, W, 3)``, 0 to 255, the network's input.
        layer: name of a layer whose output is maps ``(1, h, w, C)``; None for the last maps there
            are, those that the head reads: ``pool3`` in the small networks (each of its cells holds
            exactly what its four of ``conv3`` add) and ``block14_sepconv2_act`` in Xception.

    Raises:
        ValueError: the image is no single input of this network, the layer does not exist or gives
            no maps, or the network ends otherwise.
    """
    maps, gradients, logit, grid, name = _differentiate(model, image, layer)
    return HeatMap(
        (maps * gradients).sum(axis=-1), logit, name, (image.shape[1], image.shape[2]), grid
    )


def overlay(
    radiograph: Radiograph, heat: np.ndarray, opacity: float, label: str = "PNEUMONIA"
) -> Image.Image:
    """Lays a map over an X-ray: the more heat, the more colour; where there is none the X-ray stays
    as it is.

    Args:
        radiograph: the X-ray.
        heat: float ``(h, w)``, 0 to 1; stretched over the X-ray.
        opacity: 0 to 1, of the colour where the heat is 1.
        label: the class the map speaks for; it chooses the colours.

    Returns:
        RGB image of the X-ray's size.

    Raises:
        ValueError: the opacity is outside 0..1, or there is no such class.
    """
    if label not in LABELS:
        raise ValueError(f"Expected one of {', '.join(LABELS)}, got {label!r}.")
    picture = radiograph.to_pil()
    film = figures.film(heat, COLOURMAPS[label], opacity).resize(
        picture.size, Image.Resampling.BILINEAR
    )
    return Image.alpha_composite(picture.convert("RGBA"), film).convert("RGB")


def _differentiate(
    model: keras.Model, image: np.ndarray, layer: str | None
) -> tuple[np.ndarray, np.ndarray, float, Grid, str]:
    if image.shape != (1, *model.input_shape[1:]):
        raise ValueError(
            f"Expected one image {(1, *model.input_shape[1:])}, got {image.shape}; use"
            " classifier.inputs([picture])."
        )
    head = model.layers[-1]
    if not (
        isinstance(head, keras.layers.Dense)
        and head.units == 1
        and head.activation is keras.activations.sigmoid
    ):
        raise ValueError(
            "Expected a network that ends in a Dense layer of one unit with a sigmoid, got"
            f" {type(head).__name__} {head.name!r}."
        )
    name = layer or _last_maps(model)
    known = _DERIVED.setdefault(model, {})
    if name not in known:
        tensor = _output(model, name)
        known[name] = (
            _derivative(keras.Model(model.input, [tensor, head.input]), head, name),
            _grid(model, tensor),
        )
    derivative, grid = known[name]
    maps, gradients, logit = derivative(tf.convert_to_tensor(image, tf.float32))
    return (
        np.asarray(maps[0], np.float32),
        np.asarray(gradients[0], np.float32),
        float(logit[0, 0]),
        grid,
        name,
    )


def _derivative(
    cut: keras.Model, head: keras.layers.Dense, name: str
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    @tf.function
    def derivative(given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        maps, features = cut(given, training=False)
        # The layer's own sum, before its sigmoid.
        logit = tf.cast(features, tf.float32) @ tf.cast(head.kernel, tf.float32) + tf.cast(
            head.bias, tf.float32
        )
        # Between logit and maps only: a tape would also have to watch the 120 layers of Xception
        # that lie before them.
        gradients = tf.gradients(logit, maps)[0]
        if gradients is None:
            raise ValueError(
                f"The answer of this network does not hang on its layer {name!r}; choose another."
            )
        return maps, gradients, logit

    return derivative


def _last_maps(model: keras.Model) -> str:
    """The layer that the head reads: the source of what is flattened or averaged into a vector."""
    folds = [
        layer
        for layer in model.layers
        if len(layer.output.shape) == 2 and len(layer.input.shape) == 4
    ]
    if not folds:
        raise ValueError(
            f"The network {model.name!r} has no layer that turns maps into a vector; name one of"
            " its layers."
        )
    return next(layer.name for layer in reversed(model.layers) if _tensor(layer) is folds[-1].input)


def _output(model: keras.Model, name: str) -> keras.KerasTensor:
    maps = {
        layer.name: _tensor(layer)
        for layer in model.layers
        if len(layer.output.shape) == 4 and layer.output is not model.input
    }
    if name not in maps:
        raise ValueError(
            f"The network {model.name!r} gives no maps at a layer {name!r}; choose one of"
            f" {', '.join(maps)}."
        )
    return maps[name]


def _tensor(layer: keras.Layer) -> keras.KerasTensor:
    """A layer's output in the outer graph; that of a network used as a layer is not its ``output``,
    which belongs to its own inner graph.
    """
    return (
        layer._inbound_nodes[0].output_tensors[0]
        if isinstance(layer, keras.Model)
        else layer.output
    )


# --- where cells lie
def _grid(model: keras.Model, target: keras.KerasTensor) -> Grid:
    """Walks from the input to a layer and keeps the centre of each one's first cell.

    Convolutions without padding eat the margin: the 10 x 10 cells of the baseline's ``pool3`` have
    their centres on pixels 10 to 82 of 100, and stretching them over the whole picture would move
    the heat by up to an eighth of it. Where branches meet (the shortcuts of Xception), the centres
    are averaged.
    """
    known: dict[int, list[tuple[float, float]]] = {id(model.input): [(1.0, 0.0), (1.0, 0.0)]}
    for layer in model.layers:
        if isinstance(layer, (keras.layers.InputLayer, keras.Model)):
            continue
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        if (
            any(id(source) not in known or len(source.shape) != 4 for source in sources)
            or len(layer.output.shape) != 4
        ):
            continue
        ends = [
            [
                _pass_layer(layer, axis, side, *known[id(source)][axis])
                for axis, side in enumerate(source.shape[1:3])
            ]
            for source in sources
        ]
        known[id(layer.output)] = [
            (axis[0][0], float(np.mean([offset for _, offset in axis])))
            for axis in zip(*ends, strict=True)
        ]
    if id(target) in known:
        rows, columns = known[id(target)]
        return rows, columns
    # Behind a network used as a layer: even cells over the whole picture.
    (height, width), (rows_, columns_) = model.input.shape[1:3], target.shape[1:3]
    return (height / rows_, height / rows_ / 2 - 0.5), (
        width / columns_,
        width / columns_ / 2 - 0.5,
    )


def _pass_layer(
    layer: keras.Layer, axis: int, side: int, stride: float, offset: float
) -> tuple[float, float]:
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is None:
        return stride, offset
    size = (window[axis] - 1) * getattr(layer, "dilation_rate", (1, 1))[axis] + 1
    step = layer.strides[axis]
    # TensorFlow's "same": what padding there is stands evenly on both sides, the odd pixel at the
    # end.
    before = (
        max((-(-side // step) - 1) * step + size - side, 0) // 2 if layer.padding == "same" else 0
    )
    return stride * step, offset + stride * ((size - 1) / 2 - before)


def spread_cells(
    cells: np.ndarray, grid: Grid, input_size: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Draws cells out over a picture, linear between their centres, the outermost reaching to its
    border.

    Args:
        cells: float ``(h, w)``.
        grid: where they lie on the input.
        input_size: ``(height, width)`` of that input, pixels.
        size: ``(height, width)`` of the result; it covers the whole input, whatever its aspect.

    Returns:
        float32 ``size``, within the range of the cells.
    """
    rows, columns = (
        _weights(*axis) for axis in zip(cells.shape, grid, input_size, size, strict=True)
    )
    return (rows @ cells @ columns.T).astype(np.float32)


def _weights(cells: int, grid: tuple[float, float], side: int, to: int) -> np.ndarray:
    """How much of each cell every pixel gets, float64 ``(to, cells)``."""
    stride, offset = grid
    centres = (offset + stride * np.arange(cells) + 0.5) / side
    pixels = (np.arange(to) + 0.5) / to
    return np.stack([np.interp(pixels, centres, cell) for cell in np.eye(cells)], axis=1)
