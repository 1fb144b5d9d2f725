"""Carries out a recipe: epochs, a history on disk, and a state from which a killed run goes on as
if nothing had happened.

A run's folder holds ``run.json`` (what is being trained, on what), ``history.json`` (one row an
epoch), ``state.keras`` (model and optimizer after the last whole epoch) and
``epoch-NNN.weights.h5`` for each epoch worth keeping.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.architectures import CATALOGUE
from pneumonia.backend import keras
from train.augmentation import nuisances
from train.augmentation.policy import Policy
from train.data import folds
from train.data.chest_xray import DataError, Dataset, load
from train.files import write_atomically
from train.recipes.recipe import Recipe
from train.training import distillation, network
from train.training.network import PRECISIONS
from train.training.run_folder import (
    STATE,
    RunError,
    history_of,
    kept_name,
    note,
    open_run,
    run_facts,
    write_history,
)


def fit(
    recipe: Recipe,
    dataset: Dataset,
    run_folder: Path,
    *,
    resume: bool = False,
    precision: str = "float32",
    imagenet_weights: str | os.PathLike[str] | None = None,
    pool: Path | None = None,
    start_from: Path | None = None,
    skip_corrupt: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> keras.Model:
    """Trains a recipe to its last epoch.

    Each epoch's order and random draws come from the recipe's seed and the epoch's number alone,
    and the state holds the optimizer, so a run that was killed and resumed follows the same path as
    one that was not.

    Args:
        recipe: what to do.
        dataset: what to do it on.
        run_folder: where state and history go; made if need be.
        resume: go on from the state in ``run_folder``, if there is one.
        precision: Keras dtype policy, ``float32`` or ``mixed_bfloat16``; variables are float32 in
            both.
        imagenet_weights: ``"imagenet"`` or a file, for a recipe that starts from ImageNet.
        pool: the folder of a teacher's views and answers (:mod:`train.training.distillation`), for
            a recipe that learns from them.
        start_from: the folder of a bundle of this variant, whose weights a recipe that says so
            starts from.
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
    if precision == "mixed_bfloat16" and network.bfloat16_is_emulated():
        tqdm.write(
            "This processor has no instructions for bfloat16 and emulates it: training will take"
            " about ten times as long as in float32.",
            sys.stderr,
        )
    if bool(recipe.teacher_weight) != bool(pool):
        raise RunError(
            "This recipe learns from a teacher's pool; give its folder with --pool."
            if recipe.teacher_weight
            else f"{recipe.name} uses no pool."
        )
    if bool(recipe.starts_from) != bool(start_from):
        raise RunError(
            "This recipe starts from the weights of a bundle; give its folder with --start."
            if recipe.starts_from
            else f"{recipe.name} starts from no bundle."
        )
    taught = distillation.read(pool) if pool else None
    keras.utils.set_random_seed(recipe.seed)
    devices = network.share_among_devices(recipe.batch_size)
    model = network.build(recipe, imagenet_weights)
    if start_from:
        network.take_weights(model, start_from)
    body = (
        keras.Model(model.input, model.get_layer(network.FEATURES).output)
        if recipe.frozen_body
        else None
    )
    start = body or (model if recipe.pretrained or start_from else None)
    open_run(
        run_folder,
        recipe,
        dataset,
        precision,
        resume,
        body=network.digest(start) if start else None,
        pool=taught.fingerprint if taught else None,
    )
    note(run_folder, hardware=network.describe_hardware())
    cache = run_folder.parent / "cache"
    learned = folds.items_of(dataset, folds.choose_learned_split(recipe.validation))
    images, labels, kept = load(learned, recipe.input_size, cache=cache, skip_corrupt=skip_corrupt)
    note(run_folder, skipped=sorted(item.relative for item in set(learned) - set(kept)))
    if taught:
        if taught.files != [item.relative for item in kept]:
            raise RunError(
                f"{pool} holds views of other images than this run learns from; make it anew with"
                " python -m train distil."
            )
        note(run_folder, distillation=taught.facts)
    validation = load(
        folds.items_of(dataset, recipe.validation),
        recipe.input_size,
        cache=cache,
        skip_corrupt=skip_corrupt,
    )[:2]
    if len(set(labels.tolist())) < 2:
        raise DataError("The train folder's images are all of one class; both are needed.")

    if body:
        started = time.monotonic()
        inputs = _features(body, images, cache, "train")
        held_out = _features(body, validation[0], cache, recipe.validation)
        # The longest time counts: a resumed run finds its features made, but they were not free.
        note(
            run_folder,
            feature_seconds=round(
                max(time.monotonic() - started, run_facts(run_folder).get("feature_seconds", 0.0)),
                1,
            ),
        )
    else:
        inputs, held_out = images, radiograph.to_input(validation[0])

    shares = None
    if recipe.nuisance_reweighting:
        shares, told = nuisances.weights(images, labels)
        note(run_folder, nuisance_auc=round(told, 4))
    history: list[dict[str, float]] = []
    steps = math.ceil((len(labels) - len(labels) % devices) / recipe.batch_size)
    state = run_folder / STATE
    if resume and state.is_file():
        trained = keras.saving.load_model(state)
        done = int(keras.ops.convert_to_numpy(trained.optimizer.iterations))
        history = history_of(run_folder)[: done // steps]
    else:
        trained = network.trainable(recipe, model, precision)
        loss = keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
        optimizer = network.optimizer(recipe, steps)
        trained.compile(
            optimizer=optimizer, loss=loss, metrics=[agreement if taught else "accuracy"]
        )
        # A step that makes the optimizer's variables is traced twice, 10 s more for Xception.
        trained.optimizer.build(trained.trainable_variables)

    with tqdm(
        total=recipe.epochs * steps,
        initial=len(history) * steps,
        desc=f"{recipe.variant} {recipe.name}",
        unit="step",
        mininterval=0.5,
    ) as bar:
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            started = time.monotonic()
            batches = Batches(inputs, labels, recipe, epoch, taught, shares, devices)
            result = trained.fit(
                batches,
                initial_epoch=epoch - 1,
                epochs=epoch,
                validation_data=tuple(
                    part[: len(part) - len(part) % devices] for part in (held_out, validation[1])
                ),
                shuffle=False,
                verbose=0,
                callbacks=[_Advance(bar)],
            )
            # Whatever measures it, the history's column is called accuracy.
            row = {
                "epoch": epoch,
                **{
                    name.replace("agreement", "accuracy"): float(values[-1])
                    for name, values in result.history.items()
                },
                "seconds": round(time.monotonic() - started, 2),
            }
            history.append(row)
            bar.set_postfix_str(
                f"epoch {epoch}/{recipe.epochs} loss {row['loss']:.4f} accuracy"
                f" {row['accuracy']:.4f} val_accuracy {row['val_accuracy']:.4f}"
            )
            # The history goes first: a kill between the two writes leaves one row too many, which
            # the next start drops, never a row too few.
            write_history(run_folder, history)
            if epoch in (recipe.keep_epoch, recipe.epochs):
                _keep(run_folder, epoch, recipe, model, trained)
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
        raise RunError(
            f"{run_folder} holds no weights of epoch {epoch}; train it to that epoch with --resume."
        )
    model = CATALOGUE[recipe.variant].build(recipe.input_size)
    model.load_weights(kept)
    return model


@keras.saving.register_keras_serializable("pneumonia", "agreement")
def agreement(y_true: Any, y_pred: Any) -> Any:
    """Accuracy against targets that need not be 0 or 1: the share on the same side of one half."""
    targets = keras.ops.reshape(keras.ops.cast(y_true, "float32"), (-1, 1))
    return keras.ops.mean(
        keras.ops.cast(keras.ops.equal(targets >= 0.5, y_pred >= 0.5), "float32"), axis=-1
    )


class Batches(keras.utils.PyDataset):
    """One epoch's batches, in an order and with draws that depend on the recipe's seed and the
    epoch alone.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        labels: np.ndarray,
        recipe: Recipe,
        epoch: int,
        taught: distillation.Pool | None = None,
        shares: np.ndarray | None = None,
        devices: int = 1,
    ) -> None:
        # Two threads draw, and Keras keeps their order. With one it leaves the queue to tf.data's
        # autotuner, whose thread an iterator's end waits for while it sleeps 10 ms, 20 ms, and so
        # on up to a minute: an epoch of 101 s then often took 142 s, one of 29 s took 41 s
        # (TensorFlow 2.21, Keras 3.15).
        super().__init__(workers=2, max_queue_size=16)
        self._inputs, self._labels, self._recipe, self._epoch, self._taught = (
            inputs,
            labels,
            recipe,
            epoch,
            taught,
        )
        rng = np.random.default_rng([recipe.seed, epoch])
        order = (
            rng.permutation(len(labels))
            if shares is None
            else nuisances.draw_positions(shares, rng)
        )
        # Each device takes as many; which images are left over differs by epoch.
        self._order = order[: len(order) - len(order) % devices]

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        recipe = self._recipe
        chosen = self._order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
        labels = self._labels[chosen].astype(np.float32)[:, np.newaxis]
        rng = np.random.default_rng([recipe.seed, self._epoch, index])
        if self._taught:
            size = recipe.training_size or recipe.input_size
            batch, answers = self._taught.draw(chosen, size, rng)
            labels = (1 - recipe.teacher_weight) * labels + recipe.teacher_weight * answers[
                :, np.newaxis
            ]
        else:
            batch = self._inputs[chosen]
        if isinstance(recipe.augmentation, Policy):
            batch = recipe.augmentation.apply(batch, recipe.training_size or recipe.input_size, rng)
        elif recipe.augmentation:
            batch = recipe.augmentation.apply(batch, recipe.input_size, rng)
        # Features of a frozen body are (N, C) already; images are (N, H, W).
        return (radiograph.to_input(batch) if batch.ndim == 3 else batch), labels


class _Advance(keras.callbacks.Callback):
    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()


def _keep(
    run_folder: Path, epoch: int, recipe: Recipe, model: keras.Model, trained: keras.Model
) -> None:
    network.copy_weights(trained, model)
    if recipe.pretrained:
        # Twenty million weights trained in float32 do not survive the rounding of a bundle unmoved.
        # So the rounded network is the one that is kept, and thresholds, temperature and figures
        # are all its own.
        network.round_to_float16(model)
    write_atomically(run_folder / kept_name(epoch), model.save_weights)


def _features(body: keras.Model, images: np.ndarray, cache: Path, split: str) -> np.ndarray:
    """float32 ``(N, C)`` features of a frozen body, computed once and kept."""
    key = hashlib.sha256(images.tobytes() + network.digest(body).encode()).hexdigest()[:16]
    stored = cache / f"features-{split}-{key}.npy"
    if not stored.is_file():
        parts = [
            keras.ops.convert_to_numpy(
                body(radiograph.to_input(images[start : start + 32]), training=False)
            )
            for start in tqdm(
                range(0, len(images), 32), f"features of {split}", unit="batch", mininterval=0.5
            )
        ]
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(stored, lambda path: np.save(path, np.concatenate(parts)))
    return np.load(stored)
