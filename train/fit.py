"""Carries out a recipe: epochs, a history on disk, and a state from which a killed run goes on as if nothing had happened.

A run's folder holds ``run.json`` (what is being trained, on what), ``history.json`` (one row an epoch), ``state.keras`` (model and optimizer after the last
whole epoch) and ``epoch-NNN.weights.h5`` for each epoch worth keeping.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.architectures import CATALOGUE
from train import augment
from train.data import DataError, Dataset, load
from train.recipes import Recipe
from train.run_folder import STATE, RunError, history_of, kept_name, note, open_run, run_facts, write_atomically, write_history

PRECISIONS = ("float32", "mixed_bfloat16")
_FEATURES = "pool"


def fit(
    recipe: Recipe,
    dataset: Dataset,
    run_folder: Path,
    *,
    resume: bool = False,
    precision: str = "float32",
    imagenet_weights: str | os.PathLike[str] | None = None,
    skip_corrupt: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> keras.Model:
    """Trains a recipe to its last epoch.

    Each epoch's order and random draws come from the recipe's seed and the epoch's number alone, and the state holds the optimizer, so a run that was killed
    and resumed follows the same path as one that was not.

    Args:
        recipe: what to do.
        dataset: what to do it on.
        run_folder: where state and history go; made if need be.
        resume: go on from the state in ``run_folder``, if there is one.
        precision: Keras dtype policy, ``float32`` or ``mixed_bfloat16``; variables are float32 in both.
        imagenet_weights: ``"imagenet"`` or a file, for a frozen body.
        skip_corrupt: leave undecodable images out instead of stopping.
        on_epoch: called with each finished epoch's number, after its state is on disk.

    Returns:
        The network in float32 with the weights of ``recipe.keep_epoch``.

    Raises:
        RunError: the folder holds another run, or one that ``resume`` was not asked to continue.
        DataError: images are missing or damaged.
    """
    if precision not in PRECISIONS:
        raise RunError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    keras.utils.set_random_seed(recipe.seed)
    model = _build(recipe, imagenet_weights)
    body = keras.Model(model.input, model.get_layer(_FEATURES).output) if recipe.frozen_body else None
    open_run(run_folder, recipe, dataset, precision, resume, body=_digest(body) if body else None)
    cache = run_folder.parent / "cache"
    images, labels, kept = load(dataset.split("train"), recipe.input_size, cache=cache, skip_corrupt=skip_corrupt)
    note(run_folder, skipped=sorted(item.relative for item in set(dataset.split("train")) - set(kept)))
    validation = load(dataset.split(recipe.validation), recipe.input_size, cache=cache, skip_corrupt=skip_corrupt)[:2]
    if len(set(labels.tolist())) < 2:
        raise DataError("The train folder's images are all of one class; both are needed.")

    if body:
        started = time.monotonic()
        inputs = _features(body, images, cache, "train")
        held_out = _features(body, validation[0], cache, recipe.validation)
        # The longest time counts: a resumed run finds its features made, but they were not free.
        note(run_folder, feature_seconds=round(max(time.monotonic() - started, run_facts(run_folder).get("feature_seconds", 0.0)), 1))
    else:
        inputs, held_out = images, radiograph.to_input(validation[0])

    history: list[dict[str, float]] = []
    state = run_folder / STATE
    if resume and state.is_file():
        trained = keras.saving.load_model(state)
        history = history_of(run_folder)[: int(trained.optimizer.iterations.numpy()) // math.ceil(len(labels) / recipe.batch_size)]
    else:
        with _policy(precision):
            trained = _trainable(recipe, model, precision)
        optimizer = keras.optimizers.get({"class_name": recipe.optimizer, "config": {"learning_rate": recipe.learning_rate}})
        trained.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])

    steps = math.ceil(len(labels) / recipe.batch_size)
    with tqdm(total=recipe.epochs * steps, initial=len(history) * steps, desc=f"{recipe.variant} {recipe.name}", unit="step", mininterval=0.5) as bar:
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            started = time.monotonic()
            batches = Batches(inputs, labels, recipe, epoch)
            result = trained.fit(
                batches, initial_epoch=epoch - 1, epochs=epoch, validation_data=(held_out, validation[1]), shuffle=False, verbose=0, callbacks=[_Advance(bar)]
            )
            row = {"epoch": epoch, **{name: float(values[-1]) for name, values in result.history.items()}, "seconds": round(time.monotonic() - started, 2)}
            history.append(row)
            bar.set_postfix_str(f"epoch {epoch}/{recipe.epochs} loss {row['loss']:.4f} accuracy {row['accuracy']:.4f} val_accuracy {row['val_accuracy']:.4f}")
            # The history goes first: a kill between the two writes leaves one row too many, which the next start drops, never a row too few.
            write_history(run_folder, history)
            if epoch in (recipe.keep_epoch, recipe.epochs):
                _keep(run_folder, epoch, model, trained)
            write_atomically(state, trained.save)
            if on_epoch:
                on_epoch(epoch)
    return at_epoch(recipe, run_folder, recipe.keep_epoch)


def at_epoch(recipe: Recipe, run_folder: Path, epoch: int) -> keras.Model:
    """The network, float32, with the weights a run kept after ``epoch``.

    Raises:
        RunError: the run kept none for that epoch.
    """
    kept = run_folder / kept_name(epoch)
    if not kept.is_file():
        raise RunError(f"{run_folder} holds no weights of epoch {epoch}; train it to that epoch with --resume.")
    model = CATALOGUE[recipe.variant].build(recipe.input_size)
    model.load_weights(kept)
    return model


class Batches(keras.utils.PyDataset):
    """One epoch's batches, in an order and with draws that depend on the recipe's seed and the epoch alone."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, recipe: Recipe, epoch: int) -> None:
        super().__init__(workers=1, max_queue_size=16)
        self._inputs, self._labels, self._recipe, self._epoch = inputs, labels, recipe, epoch
        self._order = np.random.default_rng([recipe.seed, epoch]).permutation(len(labels))

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._recipe.batch_size : (index + 1) * self._recipe.batch_size]
        batch, labels = self._inputs[chosen], self._labels[chosen].astype(np.float32)[:, np.newaxis]
        if self._recipe.augmentation:
            rng = np.random.default_rng([self._recipe.seed, self._epoch, index])
            batch = augment.warp(batch, augment.draw(self._recipe.augmentation, len(batch), self._recipe.input_size, rng))
        # Features of a frozen body are (N, C) already; images are (N, H, W).
        return (radiograph.to_input(batch) if batch.ndim == 3 else batch), labels


class _Advance(keras.callbacks.Callback):
    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()


def _build(recipe: Recipe, imagenet_weights: str | os.PathLike[str] | None) -> keras.Model:
    build = CATALOGUE[recipe.variant].build
    if not recipe.frozen_body:
        return build(recipe.input_size)
    weights = imagenet_weights or os.environ.get("XCEPTION_WEIGHTS") or "imagenet"
    try:
        model = build(recipe.input_size, weights=weights)
    except FileNotFoundError as error:
        raise RunError(str(error)) from None
    # Keras's downloader wraps URL and HTTP errors in a bare Exception.
    except Exception as error:
        raise RunError(f"The ImageNet weights could not be had ({error}); give a local file with --imagenet-weights FILE or XCEPTION_WEIGHTS.") from error
    # A bundle stores float16, and rounding a body under a head that has learned its exact features moves probabilities by up to .007. So the body is
    # rounded first, and the head learns the features it will have.
    model.set_weights([value.astype(np.float16).astype(np.float32) for value in model.get_weights()])
    return model


def _trainable(recipe: Recipe, model: keras.Model, precision: str) -> keras.Model:
    """What the optimizer sees: the whole network or, over a frozen body, its head; the same initial weights under the policy asked for."""
    if precision == "float32" and not recipe.frozen_body:
        return model
    # Built anew under the policy in force: a layer made from another one's config would bring that one's float32 along.
    twin = CATALOGUE[recipe.variant].build(recipe.input_size)
    twin.set_weights(model.get_weights())
    if not recipe.frozen_body:
        return twin
    position = [layer.name for layer in twin.layers].index(_FEATURES)
    head = twin.layers[position + 1 :]
    x = inputs = keras.Input(twin.get_layer(_FEATURES).output.shape[1:], name="features")
    for layer in head:
        x = layer(x)
    return keras.Model(inputs, x, name="head")


def _keep(run_folder: Path, epoch: int, model: keras.Model, trained: keras.Model) -> None:
    for layer in trained.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    write_atomically(run_folder / kept_name(epoch), model.save_weights)


def _features(body: keras.Model, images: np.ndarray, cache: Path, split: str) -> np.ndarray:
    """float32 ``(N, C)`` features of a frozen body, computed once and kept."""
    key = hashlib.sha256(images.tobytes() + _digest(body).encode()).hexdigest()[:16]
    stored = cache / f"features-{split}-{key}.npy"
    if not stored.is_file():
        parts = [
            keras.ops.convert_to_numpy(body(radiograph.to_input(images[start : start + 32]), training=False))
            for start in tqdm(range(0, len(images), 32), f"features of {split}", unit="batch", mininterval=0.5)
        ]
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(stored, lambda path: np.save(path, np.concatenate(parts)))
    return np.load(stored)


def _digest(model: keras.Model) -> str:
    """sha256 over a network's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


@contextmanager
def _policy(precision: str) -> Iterator[None]:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
