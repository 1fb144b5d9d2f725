"""Training from end to end on drawn radiographs: it learns, it survives a kill, and it refuses to
mix runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

from pneumonia import bundle, radiograph
from pneumonia.architectures import CATALOGUE
from train.augmentation.geometry import Geometry
from train.data.chest_xray import DataError, Dataset, counts, load, scan
from train.files import write_atomically
from train.recipes.catalogue import get
from train.recipes.recipe import Recipe
from train.training import network
from train.training.fit import Batches, at_epoch, fit
from train.training.run_folder import RunError, history_of, run_facts

CHECKOUT = Path(__file__).resolve().parents[1]
EPOCHS, KEPT, STOPPED = 10, 9, 4
SIZES = {"xception": (71, 71)}
RATES = {"xception": 0.004}


def small(variant: str, **changes) -> Recipe:
    """A variant's recipe, cut down to seconds: 6 steps an epoch, and Adam for all, because SGD
    needs hundreds of steps.
    """
    usual = {
        "input_size": SIZES.get(variant, (40, 40)),
        "epochs": EPOCHS,
        "keep_epoch": KEPT,
        "batch_size": 4,
        "optimizer": "adam",
        "learning_rate": RATES.get(variant, 0.001),
    }
    return replace(get(variant, "original"), **(usual | changes))


@dataclass(frozen=True)
class Run:
    """A whole run, with what was on disk after epoch STOPPED and its weights after epoch KEPT."""

    recipe: Recipe
    folder: Path
    stopped: Path
    at_kept: list[np.ndarray]
    model: keras.Model


@pytest.fixture(scope="module")
def unbroken(tiny_scan, tmp_path_factory, random_xception_weights) -> dict[str, Run]:
    """One whole run of each variant."""
    root = tmp_path_factory.mktemp("unbroken")

    def run(variant: str) -> Run:
        folder, stopped, at_kept = root / variant, root / f"{variant}-stopped", []

        def on_epoch(finished: int) -> None:
            if finished == STOPPED:
                shutil.copytree(folder, stopped)
            if finished == KEPT:
                at_kept.extend(keras.saving.load_model(folder / "state.keras").get_weights())

        model = fit(
            small(variant),
            tiny_scan,
            folder,
            imagenet_weights=random_xception_weights,
            on_epoch=on_epoch,
        )
        return Run(small(variant), folder, stopped, at_kept, model)

    return {variant: run(variant) for variant in CATALOGUE}


def rows(folder: Path) -> list[dict[str, float]]:
    """A run's history without the time it took."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in history_of(folder)
    ]


def assert_same_path(folder: Path, model: keras.Model, run: Run) -> None:
    found, expected = rows(folder), rows(run.folder)
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    for mine, theirs in zip(model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


# --- learning
@pytest.mark.parametrize("variant", CATALOGUE)
def test_it_learns_the_drawn_classes(variant, unbroken, tiny_scan):
    run = unbroken[variant]
    history = history_of(run.folder)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    # Images and patients it has never seen: each with a cloud scores above each without.
    images, labels, _ = load(tiny_scan.split("test"), run.recipe.input_size)
    values = bundle.probabilities(run.model, radiograph.to_input(images))
    assert values[labels == 1].min() > values[labels == 0].max() + 0.1


@pytest.mark.parametrize("variant", CATALOGUE)
def test_each_epoch_is_a_row_of_history(variant, unbroken):
    history = history_of(unbroken[variant].folder)
    assert [row["epoch"] for row in history] == list(range(1, EPOCHS + 1))
    for row in history:
        assert set(row) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
        assert row["val_accuracy"] * 8 == pytest.approx(round(row["val_accuracy"] * 8), abs=1e-4), (
            "8 images of the val folder"
        )
        assert row["accuracy"] * 24 == pytest.approx(round(row["accuracy"] * 24), abs=1e-4), (
            "24 images of the train folder"
        )


def test_the_run_says_what_was_done_on_what(unbroken, tiny_scan):
    facts = run_facts(unbroken["augmented"].folder)
    assert facts["precision"] == "float32"
    assert facts["recipe"]["augmentation"]["rotation"] == 30
    assert (
        facts["recipe"]["variant"],
        facts["recipe"]["seed"],
        facts["recipe"]["learning_rate"],
    ) == ("augmented", 42, 0.001)
    assert facts["data"] == {
        "fingerprint": tiny_scan.fingerprint,
        "counts": counts(tiny_scan.items),
    }
    assert facts["versions"]["keras"] == keras.__version__
    assert facts["commit"] == "unknown" or len(facts["commit"]) == 40


@pytest.mark.parametrize(
    "variant", [name for name in CATALOGUE if not get(name, "original").frozen_body]
)
def test_the_kept_epoch_is_the_one_asked_for_and_not_the_last(variant, unbroken):
    run = unbroken[variant]
    for mine, theirs in zip(run.model.get_weights(), run.at_kept, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    last = at_epoch(run.recipe, run.folder, EPOCHS)
    assert (
        max(
            np.abs(mine - theirs).max()
            for mine, theirs in zip(run.model.get_weights(), last.get_weights(), strict=True)
        )
        > 1e-4
    )
    with pytest.raises(
        RunError,
        match=f"holds no weights of epoch {KEPT - 1}; train it to that epoch with --resume",
    ):
        at_epoch(run.recipe, run.folder, KEPT - 1)


def test_over_a_frozen_body_the_head_alone_is_trained(unbroken, random_xception_weights):
    run = unbroken["xception"]
    original = keras.applications.Xception(
        include_top=False, weights=random_xception_weights, input_shape=(71, 71, 3)
    )
    body, head = run.model.get_weights()[:-4], run.model.get_weights()[-4:]
    for mine, theirs in zip(body, original.get_weights(), strict=True):
        # Rounded as the bundle stores it, so that the head learns the features it will have.
        np.testing.assert_array_equal(mine, theirs.astype(np.float16).astype(np.float32))
    for mine, theirs in zip(head, run.at_kept, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# --- interruption
KILLED = """
import os, signal, sys
from pathlib import Path
import test_fit
from train.data import chest_xray
from train.training import fit

batch = fit.Batches.__getitem__

def deadly(self, index):
    if self._epoch == 3 and index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch(self, index)

fit.Batches.__getitem__ = deadly
fit.fit(test_fit.small("augmented"), chest_xray.scan(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_as_if_nothing_had_happened(
    unbroken, tiny_scan, tmp_path
):
    # The hardest case: random draws, Adam's moments, and a process that gets no chance to tidy up.
    folders = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tiny_scan.root), str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": folders, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert len(rows(tmp_path / "run")) == 2, "one epoch is lost at most"
    model = fit(small("augmented"), tiny_scan, tmp_path / "run", resume=True)
    assert_same_path(tmp_path / "run", model, unbroken["augmented"])


@pytest.mark.parametrize("variant", CATALOGUE)
def test_a_stopped_run_goes_on_to_the_same_end(
    variant, unbroken, tiny_scan, tmp_path, random_xception_weights
):
    run = unbroken[variant]
    folder = Path(shutil.copytree(run.stopped, tmp_path / "run"))
    # A kill between the two writes of an epoch leaves its row of history without its state.
    (folder / "history.json").write_text(json.dumps(history_of(run.folder)[: STOPPED + 1]))
    # And a run that was meant to end here may be made longer.
    facts = run_facts(folder)
    facts["recipe"] |= {"epochs": STOPPED, "keep_epoch": STOPPED}
    (folder / "run.json").write_text(json.dumps(facts))
    cached = shutil.copytree(run.folder.parent / "cache", tmp_path / "cache")
    written = {file.name: file.stat().st_mtime_ns for file in cached.iterdir()}
    trained: list[int] = []
    model = fit(
        run.recipe,
        tiny_scan,
        folder,
        resume=True,
        imagenet_weights=random_xception_weights,
        on_epoch=trained.append,
    )
    assert trained == list(range(STOPPED + 1, EPOCHS + 1))
    assert_same_path(folder, model, run)
    # Neither images nor features of a frozen body are computed a second time.
    assert {file.name: file.stat().st_mtime_ns for file in cached.iterdir()} == written


def test_features_of_a_frozen_body_are_kept_for_each_split(unbroken, tiny_scan):
    run = unbroken["xception"]
    files = sorted((run.folder.parent / "cache").glob("features-*.npy"))
    assert [file.name.split("-")[1] for file in files] == ["train", "val"]
    body = keras.Model(run.model.input, run.model.get_layer("pool").output)
    images, _, _ = load(tiny_scan.split("val"), run.recipe.input_size)
    expected = keras.ops.convert_to_numpy(body(radiograph.to_input(images), training=False))
    assert expected.shape == (8, 2048)
    np.testing.assert_allclose(np.load(files[1]), expected, atol=1e-4)
    assert np.load(files[0]).shape == (24, 2048)


def test_nothing_is_left_to_do_on_a_finished_run(unbroken, tiny_scan, tmp_path):
    run = unbroken["baseline"]
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    again = fit(
        run.recipe,
        tiny_scan,
        folder,
        resume=True,
        on_epoch=lambda epoch: pytest.fail(f"trained epoch {epoch} again"),
    )
    for mine, theirs in zip(again.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert history_of(folder) == history_of(run.folder)


# --- refusals
@pytest.fixture
def begun(unbroken, tmp_path) -> Path:
    """A run's folder of one's own."""
    return Path(shutil.copytree(unbroken["baseline"].folder, tmp_path / "runs" / "baseline"))


def test_a_run_is_never_overwritten_by_accident(begun, tiny_scan):
    before = {path.name: path.read_bytes() for path in begun.iterdir()}
    with pytest.raises(
        RunError, match="already holds a run; go on with --resume, or give another --out"
    ):
        fit(small("baseline"), tiny_scan, begun)
    assert {path.name: path.read_bytes() for path in begun.iterdir()} == before


@pytest.mark.parametrize(
    ("section", "recipe", "options"),
    [
        ("recipe", {"seed": 7}, {}),
        ("recipe", {"learning_rate": 0.5}, {}),
        ("recipe", {"augmentation": Geometry(rotation=5)}, {}),
        ("precision", {}, {"precision": "mixed_bfloat16"}),
    ],
    ids=str,
)
def test_a_run_is_never_continued_as_another(begun, tiny_scan, section, recipe, options):
    with pytest.raises(RunError, match=f"was started with another {section}"):
        fit(small("baseline", **recipe), tiny_scan, begun, resume=True, **options)


def test_nor_on_other_data(begun, tiny_scan):
    fewer = Dataset(tiny_scan.root, tiny_scan.items[1:], tiny_scan.digests[1:])
    with pytest.raises(RunError, match="was started with another data"):
        fit(small("baseline"), fewer, begun, resume=True)


def test_one_class_is_nothing_to_learn(tiny_scan, tmp_path):
    kept = [
        index
        for index, item in enumerate(tiny_scan.items)
        if item.split != "train" or item.label == 1
    ]
    one_class = Dataset(
        tiny_scan.root,
        tuple(tiny_scan.items[index] for index in kept),
        tuple(tiny_scan.digests[index] for index in kept),
    )
    with pytest.raises(DataError, match="all of one class; both are needed"):
        fit(small("baseline"), one_class, tmp_path / "run")


def test_unknown_precisions_and_missing_files_are_named(tiny_scan, tmp_path, monkeypatch):
    with pytest.raises(
        RunError, match="precision must be one of float32, mixed_bfloat16, got 'float8'"
    ):
        fit(small("baseline"), tiny_scan, tmp_path / "run", precision="float8")
    assert not (tmp_path / "run").exists()
    with pytest.raises(RunError, match=r"no weights file .*absent\.h5"):
        fit(
            small("xception"),
            tiny_scan,
            tmp_path / "other",
            imagenet_weights=tmp_path / "absent.h5",
        )
    with pytest.raises(RunError, match=r"holds no history\.json; train first"):
        history_of(tmp_path)


# --- precision
@pytest.mark.parametrize(
    ("words", "emulated"),
    [
        ("flags\t\t: fpu avx2 fma\n", True),
        ("flags\t\t: fpu avx512_bf16 avx2\n", False),
        ("Features\t: fp asimd bf16\n", False),
        (None, False),
    ],
    ids=["without", "with", "not x86", "no such file"],
)
def test_a_processor_that_must_emulate_bfloat16_is_told_apart(
    words, emulated, tmp_path, monkeypatch
):
    file = tmp_path / "cpuinfo"
    if words is not None:
        file.write_text(words)
    monkeypatch.setattr(network, "_PROCESSOR", file)
    monkeypatch.setattr(network.tf.config, "list_physical_devices", lambda kind: [])
    assert network.bfloat16_is_emulated() is emulated


def test_a_run_that_would_crawl_says_so_first(tiny_scan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(network, "bfloat16_is_emulated", lambda: True)
    fit(
        small("baseline", epochs=1, keep_epoch=1),
        tiny_scan,
        tmp_path / "slow",
        precision="mixed_bfloat16",
    )
    assert "emulates it" in capsys.readouterr().err
    fit(
        small("baseline", epochs=1, keep_epoch=1),
        tiny_scan,
        tmp_path / "whole",
        precision="float32",
    )
    assert "emulates it" not in capsys.readouterr().err


def test_mixed_precision_trains_in_bfloat16_and_gives_a_float32_network(tiny_scan, tmp_path):
    recipe = small("baseline", epochs=1, keep_epoch=1, optimizer="sgd", learning_rate=0.01)
    model = fit(recipe, tiny_scan, tmp_path / "run", precision="mixed_bfloat16")
    trained = keras.saving.load_model(tmp_path / "run" / "state.keras")
    assert isinstance(trained.optimizer, keras.optimizers.SGD)
    assert float(keras.ops.convert_to_numpy(trained.optimizer.learning_rate)) == pytest.approx(0.01)
    assert trained.get_layer("conv2").compute_dtype == "bfloat16"
    assert trained.get_layer("conv2").variable_dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {value.dtype for value in model.get_weights()} == {np.dtype("float32")}
    for mine, theirs in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert run_facts(tmp_path / "run")["precision"] == "mixed_bfloat16"
    assert keras.mixed_precision.dtype_policy().name == "float32", "the policy is put back"


def test_mixed_precision_reaches_the_head_of_a_frozen_body(
    tiny_scan, tmp_path, short_xception_weights
):
    recipe = small("xception", epochs=1, keep_epoch=1)
    folder = tmp_path / "run"
    model = fit(
        recipe,
        tiny_scan,
        folder,
        precision="mixed_bfloat16",
        imagenet_weights=short_xception_weights,
    )
    trained = keras.saving.load_model(folder / "state.keras")
    assert trained.get_layer("dense").compute_dtype == "bfloat16"
    assert trained.get_layer("probability").compute_dtype == "float32"
    assert {value.dtype for value in model.get_weights()} == {np.dtype("float32")}
    np.testing.assert_array_equal(
        model.get_layer("dense").get_weights()[0], trained.get_layer("dense").get_weights()[0]
    )


def test_a_run_does_not_go_on_over_another_body(tiny_scan, tmp_path, short_xception_weights):
    recipe, folder = small("xception", epochs=1, keep_epoch=1), tmp_path / "run"
    fit(recipe, tiny_scan, folder, imagenet_weights=short_xception_weights)
    keras.utils.set_random_seed(11)
    other = tmp_path / "other.weights.h5"
    CATALOGUE["xception"].build(recipe.input_size).save_weights(other)
    with pytest.raises(RunError, match="another body"):
        fit(recipe, tiny_scan, folder, resume=True, imagenet_weights=other)


def test_images_left_out_are_on_record(own_dataset, tmp_path):
    broken = sorted((own_dataset / "train" / "NORMAL").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:200])
    fit(
        small("baseline", epochs=1, keep_epoch=1),
        scan(own_dataset),
        tmp_path / "run",
        skip_corrupt=True,
    )
    assert run_facts(tmp_path / "run")["skipped"] == [f"train/NORMAL/{broken.name}"]


# --- batches
@pytest.fixture
def numbered() -> tuple[np.ndarray, np.ndarray]:
    """Ten images that are each all of one level, their number times 10."""
    return (
        np.repeat(np.arange(10, dtype=np.uint8) * 10, 40 * 40).reshape(10, 40, 40),
        np.arange(10) % 2,
    )


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(numbered):
    batches = Batches(*numbered, small("baseline"), epoch=1)
    assert len(batches) == 3
    shown = [batches[index] for index in range(3)]
    assert [images.shape for images, _ in shown] == [(4, 40, 40, 3), (4, 40, 40, 3), (2, 40, 40, 3)]
    order = np.concatenate([images[:, 0, 0, 0] for images, _ in shown]) / 10
    assert sorted(order) == list(range(10))
    assert list(order) != sorted(order)
    labels = np.concatenate([labels for _, labels in shown])
    assert (labels.shape, labels.dtype) == ((10, 1), np.float32)
    np.testing.assert_array_equal(labels[:, 0], order % 2)


def test_batches_are_drawn_ahead_in_order_and_without_the_autotuner_that_keeps_epochs_waiting(
    numbered,
):
    batches = Batches(*numbered, small("baseline"), epoch=1)
    dataset = PyDatasetAdapter(batches).get_tf_dataset()
    assert dataset.options().autotune.enabled is False, (
        "its thread sleeps up to a minute, and the end of an epoch waits for it"
    )
    drawn = [images.numpy() for images, _ in dataset]
    assert len(drawn) == 3
    for index, images in enumerate(drawn):
        np.testing.assert_array_equal(images, batches[index][0])


def test_batches_depend_on_seed_and_epoch_alone(drawn_radiograph):
    images = np.stack([drawn_radiograph(seed, 0, (40, 40)) for seed in range(6)])
    labels = np.array([0, 1] * 3)

    def epoch(seed: int, number: int, backwards: bool = False) -> list[np.ndarray]:
        batches = Batches(images, labels, small("augmented", batch_size=3, seed=seed), number)
        shown = (
            {index: batches[index][0] for index in (1, 0)}
            if backwards
            else {index: batches[index][0] for index in (0, 1)}
        )
        return [shown[0], shown[1]]

    first = epoch(42, 1)
    np.testing.assert_array_equal(first, epoch(42, 1))
    # Whatever was asked for before, a batch is the same.
    np.testing.assert_array_equal(first, epoch(42, 1, backwards=True))
    for other in (epoch(42, 2), epoch(7, 1)):
        assert np.abs(np.array(first) - np.array(other)).max() > 10


def test_several_devices_take_as_many_images_each(numbered, monkeypatch):
    epochs = [Batches(*numbered, small("baseline"), epoch, devices=4) for epoch in (1, 2)]
    assert [len(batches) for batches in epochs] == [2, 2]
    shown = [[batches[index][0][:, 0, 0, 0] / 10 for index in range(2)] for batches in epochs]
    assert [len(levels) for levels in shown[0]] == [4, 4]
    # Others are left over each time.
    assert set(np.concatenate(shown[0])) != set(np.concatenate(shown[1]))
    assert network.share_among_devices(4) == 1
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1"])
    with pytest.raises(RunError, match="Batches of 5 cannot be split among 2 devices"):
        network.share_among_devices(5)


def test_a_batch_of_features_is_passed_on_as_it_is():
    features = np.random.default_rng(0).normal(size=(5, 2048)).astype(np.float32)
    batches = Batches(features, np.array([0, 1, 0, 1, 0]), small("xception", batch_size=5), 1)
    values, _ = batches[0]
    np.testing.assert_array_equal(np.sort(values, axis=0), np.sort(features, axis=0))


def test_files_are_put_in_place_whole(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("old")

    def write_half(path: Path) -> None:
        path.write_text("hal")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, write_half)
    assert file.read_text() == "old"
    write_atomically(file, lambda path: path.write_text(json.dumps([1])))
    assert json.loads(file.read_text()) == [1]
