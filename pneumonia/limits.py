"""How large a network would be, from its configuration alone, before anything of it is built.

A few hundred bytes of JSON can ask for any amount of memory, so a downloaded configuration is
measured first: Keras's layers say the shape of their output without having weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Xception has 21 million parameters in 136 layers, and 2 million values in its largest output.
MOST_PARAMETERS = 100_000_000
MOST_LAYERS = 1_000
MOST_VALUES = 64_000_000


class TooLarge(ValueError):
    """A network is larger than this library builds, or its size cannot be told; the message says
    which.
    """


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
        layers: how many.
        parameters: of all layers.
        values: of the largest output of a layer, for one image.
    """

    layers: int
    parameters: int
    values: int


def measure(config: Mapping[str, Any]) -> Size:
    """The size of a network of Keras's Functional or Sequential configuration.

    Args:
        config: plain data, of known classes only (:func:`pneumonia.bundle.read_config`).

    Raises:
        TooLarge: it exceeds a limit, or its shapes do not fit together.
    """
    from pneumonia.backend import keras  # seconds, and only needed here

    try:
        entries = config["config"]["layers"]
        if len(entries) > MOST_LAYERS:
            raise TooLarge(f"it has {len(entries):,} layers, more than {MOST_LAYERS:,}")
        shapes: dict[str, tuple[Any, ...]] = {}
        last: tuple[Any, ...]
        parameters, largest, last = 0, 0, ()
        for entry in entries:
            name, values = entry["config"]["name"], entry["config"]
            if entry["class_name"] == "InputLayer":
                shapes[name] = last = tuple(values["batch_shape"])
            else:
                sources = [shapes[source] for source in _sources(entry)] or [last]
                given = sources[0] if len(sources) == 1 else sources
                parameters += _parameters(entry["class_name"], values, sources[0])
                if parameters > MOST_PARAMETERS:
                    raise TooLarge(f"it has more than {MOST_PARAMETERS:,} parameters")
                layer = keras.layers.deserialize(
                    {key: value for key, value in entry.items() if key != "build_config"}
                )
                shapes[name] = last = tuple(layer.compute_output_shape(given))
            largest = max(largest, math.prod(side for side in last[1:]))
            if largest > MOST_VALUES:
                raise TooLarge(f"an output of its layers has more than {MOST_VALUES:,} values")
    except TooLarge:
        raise
    # Whatever Keras or a missing key raises: the shapes do not fit together.
    except Exception as error:
        raise TooLarge(f"its size cannot be told ({type(error).__name__})") from error
    return Size(len(entries), parameters, largest)


def _sources(entry: Mapping[str, Any]) -> list[str]:
    """Names of the layers that a layer takes its input from."""
    found: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, Mapping):
            if "keras_history" in node:
                found.append(str(node["keras_history"][0]))
            for value in node.values():
                visit(value)
        elif isinstance(node, Sequence) and not isinstance(node, str):
            for value in node:
                visit(value)

    visit(entry.get("inbound_nodes", []))
    return found


def _parameters(kind: str, values: Mapping[str, Any], shape: Sequence[Any] | None) -> int:
    channels = int(shape[-1]) if shape else 0
    area = math.prod(values.get("kernel_size", (1,)))
    if kind == "Conv2D":
        return (area * channels // values.get("groups", 1) + 1) * values["filters"]
    if kind == "DepthwiseConv2D":
        return (area + 1) * channels * values["depth_multiplier"]
    if kind == "SeparableConv2D":
        spread = channels * values["depth_multiplier"]
        return area * spread + (spread + 1) * values["filters"]
    if kind == "Dense":
        return (channels + 1) * values["units"]
    return 4 * channels if kind in ("BatchNormalization", "Normalization") else 0
