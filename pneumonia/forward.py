"""The forward pass as one compiled graph: what everything that asks a network goes through.

Layer by layer, Keras spends three times as long between the layers of Xception as inside them. So
a network is traced once, with its batch size left open: a batch of any size is asked without
another trace, from any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

# Brought where a network is asked: what asks none starts at once.
if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Images that go through at once. More are hardly any faster and only take memory: at 160 pixels
# some 10 MB an image in Xception.
CHUNK = 16


class Network:
    """A Keras network with its compiled forward pass.

    >>> Network(model)(np.zeros((1, 100, 100), np.uint8)).shape
    (1,)

    Weights are read when it is called: a network that learns on answers with what it has learned.

    Attributes:
        model: the network: float32 ``(N, H, W, 3)``, 0 to 255, to a probability ``(N, 1)``.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._graphs: dict[int, Callable[[tf.Tensor], tf.Tensor]] = {}
        self._tracing = Lock()

    def __call__(self, images: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
        """The network's own probability of PNEUMONIA, before any temperature: float64 ``(N,)``.

        Args:
            images: grey, uint8 ``(N, H, W)``, or as Keras takes them, float32 ``(N, H, W, 3)``, 0
                to 255, at the network's input size; any number of them, none included.
            chunk: how many go through at once.

        Raises:
            ValueError: the images have another shape or type.
        """
        from pneumonia.backend import keras, tf

        slices = (images[start : start + chunk] for start in range(0, len(images), chunk))
        if keras.backend.backend() == "tensorflow":
            graph = self._graph(images)
            parts = [graph(tf.convert_to_tensor(part)).numpy()[:, 0] for part in slices]
        else:
            # Training on JAX or PyTorch, which Keras compiles itself.
            self._check(images)
            parts = [
                self.model.predict_on_batch(colour(tf.convert_to_tensor(part)).numpy())[:, 0]
                for part in slices
            ]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

    def trace(self) -> None:
        """Compiles the pass for grey images now rather than with the first question."""
        self._graph(np.zeros((0, *(side or 1 for side in self.model.input_shape[1:3])), np.uint8))

    def _check(self, images: np.ndarray) -> tuple[tuple[int | None, ...], type]:
        height, width = self.model.input_shape[1:3]
        for dtype, channels in ((np.uint8, ()), (np.float32, (3,))):
            shape = (None, height, width, *channels)
            if images.dtype == dtype and _fits(images.shape, shape):
                return shape, dtype
        raise ValueError(
            f"Expected uint8 {(None, height, width)} or float32 {(None, height, width, 3)},"
            f" got {images.dtype} {images.shape}; use classifier.resize(pictures)."
        )

    def _graph(self, images: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
        shape, dtype = self._check(images)
        if len(shape) not in self._graphs:
            with self._tracing:
                if len(shape) not in self._graphs:
                    from pneumonia.backend import tf

                    self._graphs[len(shape)] = compile_function(
                        lambda tensor: self.model(colour(tensor), training=False),
                        tf.TensorSpec(shape, dtype),
                    )
        return self._graphs[len(shape)]


def colour(images: tf.Tensor) -> tf.Tensor:
    """Grey ``(N, H, W)`` as float32 ``(N, H, W, 3)``, in a graph; what has channels stays."""
    from pneumonia.backend import tf

    if images.shape.rank == 4:
        return images
    return tf.tile(tf.cast(images, tf.float32)[..., tf.newaxis], [1, 1, 1, 3])


def compile_function(
    function: Callable[[tf.Tensor], Any], given: tf.TensorSpec
) -> Callable[..., Any]:
    """A function of one tensor, traced once for everything that fits ``given``."""
    from pneumonia.backend import tf

    return tf.function(function).get_concrete_function(given)


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted is None or side == wanted for side, wanted in zip(shape, expected, strict=True)
    )
