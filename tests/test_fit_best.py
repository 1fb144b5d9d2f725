"""What the recipes IMPROVED ask of training: a pre-trained network trained whole, views of another
size, schedules, balance and penalties.
"""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumonia.architectures import CATALOGUE
from train.data import folds
from train.data.chest_xray import load
from train.recipes.catalogue import get
from train.training import network
from train.training.fit import Batches, agreement, fit
from train.training.run_folder import RunError, history_of, run_facts


@pytest.fixture(scope="module")
def recipe():
    return replace(
        get("xception", "first"),
        input_size=(80, 80),
        training_size=(72, 72),
        epochs=2,
        keep_epoch=2,
        batch_size=8,
        learning_rate=0.001,
        warmup=0.5,
        nuisance_reweighting=False,
    )


def test_a_network_is_trained_whole_from_its_pre_trained_weights(
    recipe, tiny_scan, tmp_path, short_xception_weights
):
    kept = fit(recipe, tiny_scan, tmp_path / "run", imagenet_weights=short_xception_weights)
    start = network.build(recipe, short_xception_weights)
    network.round_to_float16(start)
    normalisations = {
        layer.name for layer in kept.layers if isinstance(layer, keras.layers.BatchNormalization)
    }
    for layer in kept.layers:
        pairs = list(
            zip(layer.get_weights(), start.get_layer(layer.name).get_weights(), strict=True)
        )
        assert all(
            np.array_equal(now, before) == (layer.name in normalisations) for now, before in pairs
        ), layer.name
    # What is kept is what a bundle stores: rounding it again changes nothing.
    assert all(
        np.array_equal(value, value.astype(np.float16).astype(np.float32))
        for value in kept.get_weights()
    )
    assert kept.input_shape == (None, 80, 80, 3)
    assert [row["epoch"] for row in history_of(tmp_path / "run")] == [1, 2]


def test_a_run_whose_rate_falls_is_not_made_longer(recipe, tiny_scan, tmp_path):
    plain = replace(
        get("baseline", "first"), teacher_weight=0.0, input_size=(40, 40), epochs=1, keep_epoch=1
    )
    assert plain.schedule == "cosine"
    fit(plain, tiny_scan, tmp_path / "run")
    with pytest.raises(RunError, match="planned for 1 epochs"):
        fit(replace(plain, epochs=2, keep_epoch=2), tiny_scan, tmp_path / "run", resume=True)


def test_without_weights_to_start_from_it_says_how_to_have_them(
    recipe, tiny_scan, tmp_path, monkeypatch
):
    monkeypatch.setenv("XCEPTION_WEIGHTS", str(tmp_path / "nowhere.weights.h5"))
    with pytest.raises(RunError, match=r"nowhere\.weights\.h5"):
        fit(recipe, tiny_scan, tmp_path / "run")


def test_the_rate_rises_and_falls_as_the_schedule_says(recipe):
    rate = network.optimizer(recipe, steps=10).learning_rate
    schedule = rate if callable(rate) else network.optimizer(recipe, steps=10)._learning_rate
    # 5 of 20 steps are warm-up; then a cosine to a hundredth.
    values = [float(schedule(step)) for step in (0, 5, 20)]
    np.testing.assert_allclose(values, [0.0, 0.001, 0.00001], atol=1e-8)
    # Half-way down a cosine is the mean of its ends.
    assert float(schedule(12.5)) == pytest.approx((0.001 + 0.00001) / 2, rel=1e-3)


def test_a_recipe_against_nuisances_notes_what_they_told(tiny_scan, tmp_path):
    plain = replace(
        get("baseline", "first"),
        teacher_weight=0.0,
        input_size=(40, 40),
        epochs=1,
        keep_epoch=1,
        nuisance_reweighting=True,
    )
    fit(plain, tiny_scan, tmp_path / "run")
    assert 0 <= run_facts(tmp_path / "run")["nuisance_auc"] <= 1


def test_views_come_at_the_training_size(recipe, tiny_scan):
    images, labels, _ = load(folds.items_of(tiny_scan, "fitted"), recipe.input_size)
    inputs, targets = Batches(images, labels, recipe, epoch=1)[0]
    assert (inputs.shape, targets.shape) == ((8, 72, 72, 3), (8, 1))


def test_another_penalty_replaces_the_architectures_own(recipe):
    augmented = replace(
        get("augmented", "original"), name="tried", input_size=(64, 64), penalty=0.0
    )
    model = CATALOGUE["augmented"].build((64, 64))
    assert model.losses
    free = network.trainable(augmented, model, "float32")
    assert not free.losses
    weighed = network.trainable(replace(augmented, penalty=0.001), model, "float32")
    # The architecture's own is Keras's 0.01.
    assert float(sum(weighed.losses)) == pytest.approx(float(sum(model.losses)) / 10, rel=1e-4)


def test_agreement_counts_sides_of_one_half():
    soft = np.array([[0.9], [0.2], [0.6], [0.4]], np.float32)
    said = np.array([[0.7], [0.6], [0.5], [0.1]], np.float32)
    assert np.mean(agreement(soft, said)) == pytest.approx(3 / 4)
    # Labels of a validation split are whole numbers without a second axis.
    assert np.mean(agreement(np.array([1, 0, 1, 1]), said)) == pytest.approx(2 / 4)


def test_a_recipe_that_contradicts_itself_is_refused(recipe):
    with pytest.raises(ValueError, match="schedule must be one of constant, cosine"):
        replace(recipe, schedule="linear")
    with pytest.raises(ValueError, match="needs a Policy"):
        replace(recipe, augmentation=None)
    with pytest.raises(ValueError, match="teacher"):
        replace(recipe, teacher_weight=0.5)
