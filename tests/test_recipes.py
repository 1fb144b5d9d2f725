"""The recipes named ORIGINAL say what the original notebook did, number by number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pneumonia.architectures import CATALOGUE
from train.augmentation.geometry import Geometry
from train.recipes.catalogue import get
from train.recipes.recipe import Recipe, RecipeError


@pytest.mark.parametrize("variant", CATALOGUE)
def test_each_variant_repeats_the_source(variant):
    recipe = get(variant, "original")
    assert (recipe.variant, recipe.name) == (variant, "original")
    assert recipe == get(variant, "original")
    assert (recipe.seed, recipe.batch_size, recipe.threshold, recipe.validation) == (
        42,
        32,
        0.5,
        "val",
    )
    assert recipe.input_size == CATALOGUE[variant].input_size
    assert recipe.note


def test_baseline():
    recipe = get("baseline", "original")
    assert recipe.input_size == (100, 100)
    # One run of 150 epochs, which shows the divergence; the model is its state at 75.
    assert (recipe.epochs, recipe.keep_epoch) == (150, 75)
    # 0.01 is what Keras's SGD has where nothing is said.
    assert (recipe.optimizer, recipe.learning_rate) == ("sgd", 0.01)
    assert recipe.augmentation is None
    assert not recipe.frozen_body


def test_augmented():
    recipe = get("augmented", "original")
    assert recipe.input_size == (128, 128)
    assert (recipe.epochs, recipe.keep_epoch) == (40, 40)
    assert (recipe.optimizer, recipe.learning_rate) == ("adam", 0.001)
    assert recipe.augmentation == Geometry(
        rotation=30, shift=0.15, shear=0.1, zoom=0.1, vertical_flip=True, horizontal_flip=False
    )
    assert not recipe.frozen_body


def test_xception():
    recipe = get("xception", "original")
    assert (recipe.epochs, recipe.keep_epoch) == (20, 20)
    assert recipe.augmentation is None
    assert recipe.frozen_body


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(
        RecipeError, match=f"no variant 'resnet'; expected one of {', '.join(CATALOGUE)}"
    ):
        get("resnet")
    with pytest.raises(
        RecipeError,
        match=r"baseline has no recipe 'worst'; expected one of original, first, improved",
    ):
        get("baseline", "worst")
    # A module of the package that is no variant is none either.
    with pytest.raises(RecipeError, match="no variant"):
        get("__init__")


@pytest.mark.parametrize("keep_epoch", [0, -1, 151])
def test_the_kept_epoch_is_one_of_the_run(keep_epoch):
    with pytest.raises(ValueError, match=rf"keep_epoch must lie in 1\.\.150, got {keep_epoch}"):
        replace(get("baseline", "original"), keep_epoch=keep_epoch)


def test_nothing_random_comes_before_features_that_are_computed_once():
    with pytest.raises(ValueError, match="frozen body"):
        replace(get("xception", "original"), augmentation=Geometry(rotation=5))


def test_a_new_recipe_in_a_variants_file_is_found_by_its_name(monkeypatch):
    best = replace(get("baseline", "original"), name="improved", epochs=200)
    monkeypatch.setattr("train.recipes.baseline.IMPROVED", best, raising=False)
    assert get("baseline", "improved") is best
    assert isinstance(best, Recipe)
