"""The network a recipe trains: where its weights start, what of it the optimizer sees, and the
optimizer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.backend import keras, tf
from pneumonia.forward import Network
from train.recipes.recipe import Recipe
from train.training.run_folder import RunError

PRECISIONS = ("float32", "mixed_bfloat16")
# Instructions for bfloat16, as Linux names them on x86.
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
_PROCESSOR = Path("/proc/cpuinfo")
FEATURES = "pool"


def build(recipe: Recipe, imagenet_weights: str | os.PathLike[str] | None = None) -> keras.Model:
    """The untrained network in float32, at the recipe's input size.

    Args:
        recipe: what is to be trained.
        imagenet_weights: ``"imagenet"`` or a file, for a recipe that starts from ImageNet;
            XCEPTION_WEIGHTS, else Keras's download, if None.

    Raises:
        RunError: the ImageNet weights cannot be had.
    """
    make = CATALOGUE[recipe.variant].build
    if recipe.starts_from or not (recipe.frozen_body or recipe.pretrained):
        return make(recipe.input_size)
    weights = imagenet_weights or os.environ.get("XCEPTION_WEIGHTS") or "imagenet"
    try:
        model = make(recipe.input_size, weights=weights)
    except FileNotFoundError as error:
        raise RunError(str(error)) from None
    # Keras's downloader wraps URL and HTTP errors in a bare Exception.
    except Exception as error:
        raise RunError(
            f"The ImageNet weights could not be had ({error}); give a local file with"
            " --imagenet-weights FILE or XCEPTION_WEIGHTS."
        ) from error
    if recipe.frozen_body:
        # A bundle stores float16, and rounding a body under a head that has learned its exact
        # features moves probabilities by up to .007. So the body is rounded first, and the head
        # learns the features it will have.
        round_to_float16(model)
    return model


def take_weights(model: keras.Model, folder: Path) -> None:
    """Gives a network the weights of a bundle.

    Raises:
        RunError: the bundle's network is another one.
        BundleError: the bundle cannot be trusted.
    """
    given, spec = bundle.load(folder)
    try:
        model.set_weights(given.get_weights())
    except ValueError:
        raise RunError(
            f"The weights of {folder}, a {spec.variant}, do not fit this network."
        ) from None


def trainable(recipe: Recipe, model: keras.Model, precision: str) -> keras.Model:
    """What the optimizer sees: the whole network or, over a frozen body, its head; the weights of
    ``model`` under the policy asked for.
    """
    if (
        precision == "float32"
        and not recipe.frozen_body
        and not recipe.pretrained
        and recipe.penalty is None
    ):
        return model
    # Built anew under the policy in force: a layer made from another one's config would bring that
    # one's float32 along. A network that trains on views of another size than it is asked about
    # takes any.
    with policy(precision):
        twin = CATALOGUE[recipe.variant].build(
            (None, None) if recipe.training_size else recipe.input_size
        )
    if recipe.penalty is not None:
        penalty = recipe.penalty
        twin = keras.models.clone_model(
            twin, clone_function=lambda layer: _with_penalty(layer, penalty)
        )
    twin.set_weights(model.get_weights())
    if recipe.pretrained:
        twin.trainable = True
        for layer in twin.layers:
            layer.trainable = not (
                (recipe.frozen_normalisation and isinstance(layer, keras.layers.BatchNormalization))
                or any(
                    layer.name.startswith(f"block{number}_")
                    for number in range(1, recipe.frozen_blocks + 1)
                )
            )
    if not recipe.frozen_body:
        return twin
    position = [layer.name for layer in twin.layers].index(FEATURES)
    head = twin.layers[position + 1 :]
    x = inputs = keras.Input(twin.get_layer(FEATURES).output.shape[1:], name="features")
    for layer in head:
        x = layer(x)
    return keras.Model(inputs, x, name="head")


def _with_penalty(layer: keras.Layer, penalty: float) -> keras.Layer:
    config = layer.get_config()
    if config.get("kernel_regularizer"):
        config["kernel_regularizer"] = (
            keras.regularizers.serialize(keras.regularizers.L2(penalty)) if penalty else None
        )
    return type(layer).from_config(config)


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule; ``steps`` are those of an epoch."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = round(recipe.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else recipe.learning_rate,
            max(1, recipe.epochs * steps - warmup),
            alpha=0.01,
            warmup_target=recipe.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    config = {"learning_rate": rate} | (
        {"weight_decay": recipe.weight_decay} if recipe.weight_decay else {}
    )
    return type(keras.optimizers.get(recipe.optimizer))(**config)


def share_among_devices(batch_size: int) -> int:
    """Has Keras split every batch among the devices it sees and returns their number; 1 where it
    cannot: Keras's ``DataParallel`` is JAX's alone.

    Raises:
        RunError: the batches cannot be split evenly.
    """
    devices = keras.distribution.list_devices() if keras.backend.backend() == "jax" else []
    if len(devices) < 2:
        return 1
    if batch_size % len(devices):
        raise RunError(
            f"Batches of {batch_size} cannot be split among {len(devices)} devices; show fewer of"
            " them, such as CUDA_VISIBLE_DEVICES=0."
        )
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    return len(devices)


def compile_network(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A network as one graph, uint8 ``(N, H, W)`` or float32 ``(N, H, W, 3)`` to float64 ``(N,)``,
    in batches that suit a graphics card too.
    """
    return partial(Network(model), chunk=64)


def describe_hardware() -> str:
    """What trains here: ``1 GPU``, or ``8 CPU cores`` where there is none."""
    count, kind = len(tf.config.list_physical_devices("GPU")), "GPU"
    if not count:
        count, kind = os.cpu_count() or 1, "CPU core"
    return f"{count} {kind}{'' if count == 1 else 's'}"


def bfloat16_is_emulated() -> bool:
    """Whether bfloat16 would be computed in software here: some ten times as long as float32
    instead of half. False if it cannot be told.
    """
    try:
        words = set(_PROCESSOR.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return "flags" in words and not _BFLOAT16 & words and not tf.config.list_physical_devices("GPU")


def copy_weights(trained: keras.Model, model: keras.Model) -> None:
    """Gives ``model`` the weights of the layers of ``trained``, by name."""
    for layer in trained.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def round_to_float16(model: keras.Model) -> None:
    """Rounds a network's weights to what a bundle stores, in place."""
    model.set_weights(
        [value.astype(np.float16).astype(np.float32) for value in model.get_weights()]
    )


def digest(model: keras.Model) -> str:
    """sha256 over a network's weights, whatever file they came from."""
    found = hashlib.sha256()
    for value in model.get_weights():
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


@contextmanager
def policy(precision: str) -> Iterator[None]:
    """Builds layers under another dtype policy."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
