"""Training beside the original notebook's way: ImageDataGenerator over folders, and ``fit``.

Both train the same network on the same files, one epoch to warm up and one that counts: the
notebook's in float32, ours with ``--precision mixed_bfloat16`` where the processor has it. Ours
decodes once a run; the recipe's epochs share that time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pneumonia.architectures import CATALOGUE
from pneumonia.backend import keras, tf
from pneumonia.model_spec import LABELS
from train.augmentation.geometry import Geometry
from train.data.chest_xray import Item, load
from train.recipes.catalogue import get
from train.recipes.recipe import Recipe
from train.training import network
from train.training.fit import Batches


@dataclass(frozen=True)
class Measured:
    """Milliseconds an image, and the share of the processor's matrix products that training does.

    Attributes:
        decode: reading and resizing, spread over the recipe's epochs.
        draw: order, random views and casting.
        step: forward, backward, update, drawing of the next batches beside them.
        notebook: everything, the notebook's way.
        share: of the rate at which one large float32 matrix product runs here.
        precision: ours.
    """

    decode: float
    draw: float
    step: float
    notebook: float
    share: float
    precision: str

    @property
    def ours(self) -> float:
        """Everything, our way; views are drawn while the network computes."""
        return self.decode + self.step


def measure(variant: str, content: Callable[[int], bytes], images: int = 192) -> Measured:
    """Trains on so many copies of pictures, half of each class.

    Args:
        variant: ``baseline`` or ``augmented``, by its recipe ``original``.
        content: the file of a number, JPEG.
        images: how many.
    """
    recipe = get(variant, "original")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        items = _write(root, content, images)
        notebook = _time_notebook(recipe, root / "train", images)
        begun = time.perf_counter()
        pixels, labels, _ = load(items, recipe.input_size)
        decode = (time.perf_counter() - begun) / recipe.epochs
    begun = time.perf_counter()
    drawn = Batches(pixels, labels, recipe, 1)
    for index in range(len(drawn)):
        drawn[index]
    draw = time.perf_counter() - begun
    precision = "float32" if network.bfloat16_is_emulated() else "mixed_bfloat16"
    step = _time_second_epoch(
        recipe, precision, lambda epoch: Batches(pixels, labels, recipe, epoch)
    )
    operations = 3 * _operations(CATALOGUE[variant].build(recipe.input_size)) * images
    each = 1000 / images
    return Measured(
        decode * each,
        draw * each,
        step * each,
        notebook * each,
        operations / step / _peak(),
        precision,
    )


def _write(root: Path, content: Callable[[int], bytes], images: int) -> list[Item]:
    items = []
    for number in range(images):
        label = number % 2
        file = root / "train" / LABELS[label] / f"{number:04d}.jpeg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(number))
        items.append(Item(file, "train", label, str(number), None))
    return items


def _compile(recipe: Recipe, precision: str) -> keras.Model:
    model = network.trainable(recipe, network.build(recipe), precision)
    model.compile(optimizer=recipe.optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    return model


def _time_second_epoch(recipe: Recipe, precision: str, data: Callable[[int], Any]) -> float:
    model = _compile(recipe, precision)
    model.fit(data(1), verbose=0)
    second = data(2)
    begun = time.perf_counter()
    model.fit(second, verbose=0)
    return time.perf_counter() - begun


def _time_notebook(recipe: Recipe, folder: Path, images: int) -> float:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # noqa: PLC0415

    geometry = recipe.augmentation if isinstance(recipe.augmentation, Geometry) else Geometry()
    generator = ImageDataGenerator(
        rotation_range=geometry.rotation,
        width_shift_range=geometry.shift,
        height_shift_range=geometry.shift,
        shear_range=geometry.shear,
        zoom_range=geometry.zoom,
        vertical_flip=geometry.vertical_flip,
    ).flow_from_directory(
        str(folder),
        target_size=recipe.input_size,
        class_mode="binary",
        batch_size=recipe.batch_size,
    )
    assert generator.samples == images
    return _time_second_epoch(recipe, "float32", lambda epoch: generator)


def _operations(model: keras.Model) -> float:
    """Multiplications and additions of one forward pass of one image."""
    total = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += 2 * height * width * float(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * float(np.prod(layer.kernel.shape))
    return total


def _peak(side: int = 2048, times: int = 8) -> float:
    """Operations a second of a float32 matrix product, the best of some."""
    square = tf.random.normal((side, side))
    best = np.inf
    for _ in range(times):
        begun = time.perf_counter()
        tf.linalg.matmul(square, square).numpy()
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / float(best)
