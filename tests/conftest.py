"""What the tests share: drawn radiographs, a tiny data set in Kaggle's layout, a valid untrained
bundle of each variant, and the real data where it is.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# As in app.py: small products lose more by waiting for a second core than they gain, above all
# where two workers share two cores. NumPy reads it when it is first imported, which happens below.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Both are read when TensorFlow and Keras are first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# As in every program: the tests start dozens, and each would spend 1.5 s on what none uses. What
# a user of Python does (README, notebook) is tested without.
os.environ.setdefault("PNEUMONIA_LEAN", "1")
# train/ and app.py are run from the checkout and never installed, so a bare `pytest` has to be told
# where they are.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import absl.logging
import numpy as np
import pytest
from missing import absent
from PIL import Image

from pneumonia import bundle, radiograph
from pneumonia.architectures import CATALOGUE
from pneumonia.backend import keras
from pneumonia.model_spec import LABELS, Estimate, Metrics, ModelSpec, OperatingPoint
from train.data.chest_xray import SPLITS, Dataset, scan

# When uvicorn sets up its log, absl's handler closes the stream it found at import, unless it is
# the interpreter's own; here that would be pytest's capture.
absl.logging.get_absl_handler().python_handler.setStream(sys.__stderr__)

CHECKOUT = Path(__file__).resolve().parents[1]
Draw = Callable[..., np.ndarray]

# Each variant's network at the smallest useful size; Xception's own minimum is 71.
SMALL_SIZES = {"xception": (71, 71)}


# Half a minute and more each, the longest first: begun last, one would hold up the end alone.
LONGEST = (
    "test_fit",
    "test_drills",
    "test_browser",
    "test_app",
    "test_publish",
    "test_fit_best",
    "test_browser_tabs",
    "test_page",
    "test_audit",
    "test_browser_answers",
    "test_cluster",
    "test_predict_command",
    "test_readme",
    "test_hub",
    "test_stress",
    "test_notebook",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_configure(config: pytest.Config) -> None:
    # Keras 3.15 hands its own variables to NumPy 2 in the old way, hundreds of times a test.
    config.addinivalue_line(
        "filterwarnings",
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras",
    )
    # Drawn and plain pictures are no X-rays, and each answer to one says so.
    config.addinivalue_line("filterwarnings", "ignore::pneumonia.InputCheckWarning")


def draw_radiograph(seed: int, label: int, size: tuple[int, int] = (96, 120)) -> np.ndarray:
    """A chest as a child would draw it, uint8 ``(height, width)``: two dark lungs on grey and,
    where ``label`` is 1, bright clouds in them.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.array(size).reshape(2, 1, 1)
    picture = np.full(size, 170.0)
    for centre in (0.3, 0.7):
        lung = ((x - centre) / 0.16) ** 2 + ((y - 0.5 - rng.uniform(-0.03, 0.03)) / 0.36) ** 2 < 1
        picture[lung] = 50
        if label:
            cloud = np.exp(
                -(((x - centre - rng.uniform(-0.05, 0.05)) / 0.12) ** 2)
                - ((y - rng.uniform(0.4, 0.65)) / 0.2) ** 2
            )
            picture += 110 * cloud * lung
    return np.clip(picture + rng.normal(0, 6, size), 0, 255).astype(np.uint8)


def write_dataset(root: Path, pairs: dict[str, int]) -> Path:
    """Writes ``pairs[split]`` images a class of drawn JPEGs under ``root``, named as the real ones
    are.
    """
    for number, split in enumerate(SPLITS):
        for label, name in enumerate(LABELS):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(1, pairs[split] + 1):
                # Two images a patient, as in the real data; no patient is in two splits.
                patient = 100 * number + (index + 1) // 2
                file = (
                    f"person{patient}_{'virus' if index % 4 < 2 else 'bacteria'}_{index}.jpeg"
                    if label
                    else f"IM-{patient:04d}-{index:04d}.jpeg"
                )
                seed = 1000 * number + 2 * index + label
                Image.fromarray(draw_radiograph(seed, label)).save(folder / file, quality=90)
    return root


def plausible_metrics(split: str, threshold: float = 0.5) -> Metrics:
    """Metrics that fit together: 90 of 100 found, 40 of 50 read as normal; accuracy 130 / 150."""
    counts = {"true_positive": 90, "false_negative": 10, "true_negative": 40, "false_positive": 10}
    rates = {"accuracy": 130 / 150, "recall": 0.9, "specificity": 0.8, "precision": 0.9}
    others = {"f1": 0.9, "auc": 0.93, "average_precision": 0.95, "ece": 0.05, "brier": 0.1}
    figures = {
        name: Estimate(value, round(value - 0.06, 4), round(value + 0.05, 4), "wilson")
        for name, value in rates.items()
    }
    figures |= {
        name: Estimate(value, round(value - 0.03, 4), round(value + 0.03, 4), "bootstrap")
        for name, value in others.items()
    }
    return Metrics(split, 150, threshold, counts, figures)


def new_spec(variant: str, input_size: tuple[int, int], **changes: Any) -> ModelSpec:
    """A valid model spec for an untrained network; ``changes`` replace its fields."""
    values: dict[str, Any] = {
        "variant": variant,
        "recipe": {"name": "original", "precision": "float32"},
        "input_size": input_size,
        "preprocessing": radiograph.describe(),
        "operating_points": (
            OperatingPoint("default", 0.5),
            OperatingPoint("recall-0.98", 0.2, 0.98),
        ),
        "gallery_layers": CATALOGUE[variant].gallery_layers if variant in CATALOGUE else (),
        "weights_sha256": "0" * 64,
        "weights_dtype": "float32",
        "data": {"fingerprint": "f" * 64, "counts": {"train": {"NORMAL": 1341, "PNEUMONIA": 3875}}},
        "versions": {"keras": keras.__version__},
        "commit": "unknown",
    }
    return ModelSpec(**(values | changes))


@pytest.fixture(scope="session")
def drawn_radiograph() -> Draw:
    """The function ``(seed, label, size=(96, 120))`` to a drawn chest, uint8 ``(H, W)``."""
    return draw_radiograph


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., ModelSpec]:
    """The function ``(variant, input_size, **changes)`` to a valid model spec."""
    return new_spec


@pytest.fixture(scope="session")
def make_metrics() -> Callable[..., Metrics]:
    """The function ``(split, threshold=0.5)`` to metrics that fit together."""
    return plausible_metrics


@pytest.fixture(scope="session")
def small_size() -> Callable[[str], tuple[int, int]]:
    """The function from a variant's name to the smallest useful input size of its network."""
    return lambda variant: SMALL_SIZES.get(variant, (64, 64))


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Kaggle's layout with 24 train, 8 val and 8 test images, half of each class.
    Shared: do not change it, take ``own_dataset``.
    """
    return write_dataset(
        tmp_path_factory.mktemp("tiny") / "chest_xray", {"train": 12, "val": 4, "test": 4}
    )


@pytest.fixture(scope="session")
def tiny_scan(tiny_dataset: Path) -> Dataset:
    """``tiny_dataset`` as :func:`train.data.chest_xray.scan` lists it."""
    return scan(tiny_dataset)


@pytest.fixture(scope="session")
def wards(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same with enough patients that each of seven folds has both classes. Shared: do not
    change its files.
    """
    return scan(
        write_dataset(
            tmp_path_factory.mktemp("wards") / "chest_xray", {"train": 32, "val": 4, "test": 4}
        )
    )


@pytest.fixture
def own_dataset(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A copy of ``tiny_dataset`` that a test may spoil."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "chest_xray"))


def settle(model: keras.Model, images: np.ndarray) -> None:
    """Gives batch normalisations the statistics of ``images``: without, a random Xception's
    features are all but zero and tell no two images apart.
    """
    for layer in (
        normalisations := [
            layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]
    ):
        layer.trainable, layer.momentum = True, 0.0
    model(images, training=True)
    for layer in normalisations:
        layer.trainable, layer.momentum = False, 0.99


@pytest.fixture(scope="session")
def untrained_models() -> dict[str, keras.Model]:
    """A network of each variant, as first initialised, at its small size. Shared: do not change
    them.
    """
    models = {}
    for variant in CATALOGUE.values():
        keras.utils.set_random_seed(7)
        size = SMALL_SIZES.get(variant.name, (64, 64))
        models[variant.name] = variant.build(size)
        settle(
            models[variant.name],
            radiograph.to_input(
                np.stack([draw_radiograph(seed, seed % 2, size) for seed in range(8)])
            ),
        )
    return models


@pytest.fixture(scope="session")
def models_folder(
    tmp_path_factory: pytest.TempPathFactory, untrained_models: dict[str, keras.Model]
) -> Path:
    """A folder with one whole bundle a variant, ``metrics.json`` included, of ``untrained_models``.
    Shared: do not change it.
    """
    folder = tmp_path_factory.mktemp("models")
    for name, model in untrained_models.items():
        size = SMALL_SIZES.get(name, (64, 64))
        sample = radiograph.to_input(
            np.stack([draw_radiograph(seed, seed % 2, size) for seed in range(4)])
        )
        spec = bundle.save(model, folder / name, new_spec(name, size), sample)
        bundle.write_metrics(
            folder / name,
            {"validation": plausible_metrics("val"), "test": plausible_metrics("test")},
            spec,
        )
    return folder


@pytest.fixture(scope="session")
def small_models_folder(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without Xception, which a process takes seconds to load."""
    folder = tmp_path_factory.mktemp("small") / "models"
    shutil.copytree(models_folder, folder, ignore=shutil.ignore_patterns("xception"))
    return folder


@pytest.fixture(scope="session")
def random_xception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file laid out like the ImageNet weights of the topless Xception, with random values."""
    keras.utils.set_random_seed(3)
    file = tmp_path_factory.mktemp("xception") / "xception.weights.h5"
    model = keras.applications.Xception(include_top=False, weights=None, input_shape=(71, 71, 3))
    settle(
        model,
        radiograph.to_input(
            np.stack([draw_radiograph(seed, seed % 2, (71, 71)) for seed in range(8)])
        )
        / 127.5
        - 1,
    )
    model.save_weights(file)
    return file


def build_short_xception(
    input_size: tuple[int | None, int | None], weights: str | os.PathLike[str] | None = None
) -> keras.Model:
    """What training asks of the Xception, in three blocks of eight channels instead of fourteen:
    TensorFlow traces it in a second instead of half a minute.
    """
    layers = keras.layers
    x = image = keras.Input((*input_size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    body = []
    for block in (1, 2, 3):
        body += [
            layers.SeparableConv2D(8, 3, strides=2, use_bias=False, name=f"block{block}_conv"),
            layers.BatchNormalization(name=f"block{block}_bn"),
            layers.Activation("relu", name=f"block{block}_act"),
        ]
    for layer in body:
        layer.trainable = False
        x = layer(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    x = layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)
    model = keras.Model(image, x, name="xception")
    if weights:
        model.load_weights(weights)
    return model


@pytest.fixture
def short_xception_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Puts the short network in Xception's place; a file of weights for it."""
    monkeypatch.setitem(
        CATALOGUE, "xception", replace(CATALOGUE["xception"], build=build_short_xception)
    )
    keras.utils.set_random_seed(3)
    model = build_short_xception((71, 71))
    settle(
        model,
        radiograph.to_input(
            np.stack([draw_radiograph(seed, seed % 2, (71, 71)) for seed in range(8)])
        ),
    )
    file = tmp_path / "short.weights.h5"
    model.save_weights(file)
    return file


@pytest.fixture(scope="session")
def cxr_root() -> Path:
    """The real data's folder: ``CHEST_XRAY_DIR``, else ``../shared/data/chest_xray`` beside the
    checkout.
    """
    named = os.environ.get("CHEST_XRAY_DIR")
    if named:
        # Whoever names a folder wants these tests run: a wrong path is a failure, never a skip.
        assert Path(named).is_dir(), f"CHEST_XRAY_DIR names {named}, which is no folder"
        return Path(named)
    beside = CHECKOUT.parent / "shared" / "data" / "chest_xray"
    if not beside.is_dir():
        what = (
            "the X-rays are not here: CHEST_XRAY_DIR is not set and there is no"
            " ../shared/data/chest_xray beside the checkout"
        )
        # A fork's CI has no X-rays; who has none says so, and the skips are listed in the summary.
        if os.environ.get("WITHOUT_XRAYS"):
            pytest.skip(what)
        absent(f"{what} (WITHOUT_XRAYS=1 skips what needs them)")
    return beside
