"""Lungs of one picture in the body of another: where they come to lie, what their grey becomes, who gives and who takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pneumonia import lungs
from train import folds, grafts
from train.data import load
from train.fit import Batches, fit
from train.recipes import get

SIDE = 100
MIDDLE = np.array([0.5, 0.5, np.log(0.4), np.log(0.4), 0.0])


def pose(across: float, down: float, wide: float, high: float, tilt: float = 0.0) -> np.ndarray:
    return np.array([across, down, np.log(wide), np.log(high), tilt])


def window(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (SIDE, SIDE)).astype(np.uint8)


def test_a_picture_grafted_into_itself_is_itself(noise):
    for own in (MIDDLE, pose(0.4, 0.6, 0.3, 0.35, 0.2)):
        assert np.abs(grafts.graft(noise, noise, own, own, window(30, 30, 70, 70)).astype(int) - noise).max() <= 1


def test_lungs_come_to_lie_where_the_bodys_are():
    # A white block from the middle of the source's frame to a half of it right and down: of a frame of 40 pixels around (50, 50), (50, 50) to (70, 70).
    source = np.full((SIDE, SIDE), 100, np.uint8)
    source[50:70, 50:70] = 200
    body = np.full((SIDE, SIDE), 100, np.uint8)
    # The body's frame is half as large and lies around (30, 60): the block fills (30, 60) to (40, 70).
    found = grafts.graft(source, body, MIDDLE, pose(0.3, 0.6, 0.2, 0.2), window(10, 40, 50, 80))
    rows, columns = np.nonzero(found > 150)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (30, 40, 60, 70)
    # Turned by a right angle, what lay right and below the middle lies left and below.
    turned = grafts.graft(source, body, MIDDLE, pose(0.5, 0.5, 0.4, 0.4, np.pi / 2), window(10, 10, 90, 90))
    rows, columns = np.nonzero(turned > 130)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (30, 50, 50, 70)


def test_only_what_the_mask_covers_changes_and_nothing_black_comes_from_beyond_the_edge(noise):
    bright = np.full((SIDE, SIDE), 250, np.uint8)
    mask = window(20, 20, 80, 80)
    # The source's lungs reach over its edge.
    found = grafts.graft(bright, noise, pose(0.1, 0.5, 0.4, 0.4), MIDDLE, mask)
    assert np.array_equal(found[mask == 0], noise[mask == 0])
    assert found[mask > 0].min() == found[mask > 0].max() == round(float(noise[mask == 0].mean()))


def test_lungs_take_the_bodys_exposure_and_stay_as_much_darker_than_their_chest():
    # Around the source's lungs 100 and 140 in turn, mean 120 and deviation 20, and lungs 60 darker; around the body's 80 and 160, twice the deviation.
    chequered = np.indices((SIDE, SIDE)).sum(axis=0) % 2
    source, body = (100 + 40 * chequered).astype(np.uint8), (80 + 80 * chequered).astype(np.uint8)
    mask = window(30, 30, 70, 70)
    source[mask > 0] = 60
    assert set(grafts.graft(source, body, MIDDLE, MIDDLE, mask)[mask > 0].tolist()) == {0}
    source[mask > 0] = 90
    # 30 below the mean there, 60 below it here.
    assert set(grafts.graft(source, body, MIDDLE, MIDDLE, mask)[mask > 0].tolist()) == {60}


def test_the_class_of_a_body_is_a_coin_and_images_without_lungs_neither_give_nor_take():
    # Six plain pictures of their own grey: what lies outside the lungs tells whose body it is.
    images = np.stack([np.full((20, 20), 40 * number, np.uint8) for number in range(6)])
    labels = np.array([0, 1, 1, 1, 1, 1])
    masks = np.zeros((6, 20, 20), np.uint8)
    masks[:, 8:12, 8:12] = 255
    known = grafts.Grafts(labels, np.tile(MIDDLE, (6, 1)), np.array([True] * 5 + [False]), masks)
    chosen = np.repeat(np.arange(6), 200)
    outside = known.apply(images, chosen, 1.0, np.random.default_rng(1))[:, 0, 0] // 40
    counts = np.bincount(outside[: 5 * 200], minlength=6)
    assert counts[0] / 1000 == pytest.approx(0.5, abs=0.05), "one healthy body of six is drawn as often as all ill ones together"
    assert counts[1:5].min() > 80 and counts[5] == 0
    assert set(outside[5 * 200 :].tolist()) == {5}
    half = known.apply(images, np.full(1000, 1), 0.5, np.random.default_rng(1))[:, 0, 0] // 40
    # Half stay as they are, and an eighth are laid into their own body.
    assert np.mean(half == 1) == pytest.approx(0.5 + 0.5 / 8, abs=0.05)
    assert np.array_equal(known.apply(images, chosen, 0.0, np.random.default_rng(1)), images[chosen])
    assert np.array_equal(images[:, 0, 0] // 40, np.arange(6)), "the images themselves are left alone"


def test_lungs_are_looked_for_once_and_kept(tiny_scan, tmp_path, monkeypatch):
    images, labels, _ = load(folds.items_of(tiny_scan, "fitted"), (64, 64))
    first = grafts.prepare(images, labels, cache=tmp_path)
    assert first.masks.shape == images.shape and first.masks.dtype == np.uint8 and first.poses.shape == (len(images), 5)
    # The mask is the library's, but for its soft edge.
    expected = lungs.lung_mask(images[0])
    assert np.mean((first.masks[0] > 127) == expected) > 0.97
    monkeypatch.setattr(lungs, "fit", lambda image: pytest.fail("they were found already"))
    again = grafts.prepare(images, labels, cache=tmp_path)
    assert np.array_equal(again.masks, first.masks) and np.array_equal(again.poses, first.poses) and np.array_equal(again.found, first.found)


def test_a_run_learns_from_grafts_and_the_same_seed_from_the_same(tiny_scan, tmp_path):
    images, labels, _ = load(folds.items_of(tiny_scan, "fitted"), (64, 64))
    recipe = replace(get("baseline", "best"), teacher_weight=0.0, input_size=(64, 64), epochs=1, keep_epoch=1, batch_size=8, grafts=1.0)
    bodies = grafts.prepare(images, labels)
    plain, one, same = (Batches(images, labels, recipe, 1, bodies=given)[0][0] for given in (None, bodies, bodies))
    assert np.array_equal(one, same) and all((a != b).any() for a, b in zip(plain, one, strict=True))
    fit(recipe, tiny_scan, tmp_path / "run")


def test_recipes_that_cannot_graft_are_refused():
    with pytest.raises(ValueError, match=r"0 to 1, got 1\.5"):
        replace(get("xception", "best"), grafts=1.5)
    with pytest.raises(ValueError, match="Grafts need images"):
        replace(get("baseline", "best"), grafts=0.5)
    with pytest.raises(ValueError, match="Grafts need images"):
        replace(get("xception", "seed"), grafts=0.5)
