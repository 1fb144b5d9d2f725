"""One file a variant, each with its frozen recipes; a recipe is data, :mod:`train.fit` carries it out."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from pneumonia.architectures import CATALOGUE
from train.augment import Geometry


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does, but for the data and the precision.

    Attributes:
        variant: a name in the catalogue.
        name: ``seed`` repeats the source's procedure.
        input_size: ``(height, width)`` in pixels.
        epochs: how many the run has.
        keep_epoch: the epoch whose weights become the bundle.
        optimizer: a Keras optimizer's name.
        learning_rate: its constant learning rate.
        batch_size: images a step.
        seed: for Python's, NumPy's and TensorFlow's generators, the order of images and every random draw.
        augmentation: random geometry for training images, or None.
        frozen_body: train only the head, on features of the body that are computed once.
        threshold: the operating point the source used: a probability of PNEUMONIA at or above it is called PNEUMONIA.
        validation: the split whose curves are drawn; ``val`` is the source's folder of 16 images.
        note: what to know about it, in a sentence.
    """

    variant: str
    name: str
    input_size: tuple[int, int]
    epochs: int
    keep_epoch: int
    optimizer: str
    learning_rate: float
    batch_size: int = 32
    seed: int = 42
    augmentation: Geometry | None = None
    frozen_body: bool = False
    threshold: float = 0.5
    validation: str = "val"
    note: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.keep_epoch <= self.epochs:
            raise ValueError(f"keep_epoch must lie in 1..{self.epochs}, got {self.keep_epoch}.")
        if self.frozen_body and self.augmentation:
            raise ValueError("A frozen body's features are computed once, so nothing random can come before it: drop augmentation or frozen_body.")


def get(variant: str, name: str = "seed") -> Recipe:
    """Looks a recipe up.

    Raises:
        KeyError: no such variant or recipe; names those there are.
    """
    if variant not in CATALOGUE:
        raise KeyError(f"There is no variant {variant!r}; expected one of {', '.join(CATALOGUE)}.")
    recipes = {key.lower(): value for key, value in vars(importlib.import_module(f"train.recipes.{variant}")).items() if isinstance(value, Recipe)}
    if name not in recipes:
        raise KeyError(f"{variant} has no recipe {name!r}; expected one of {', '.join(recipes)}.")
    return recipes[name]
