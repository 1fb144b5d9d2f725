"""Strong augmentation: every draw stays in its bounds, nothing but the generator decides, and doing
nothing changes nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from train.augmentation.policy import Policy

NOTHING = Policy(
    smallest_area=1.0, aspect=0.0, horizontal_flip=False, gamma=0.0, contrast=0.0, brightness=0.0
)


@pytest.fixture
def images(drawn_radiograph) -> np.ndarray:
    return np.stack([drawn_radiograph(seed, seed % 2, (40, 48)) for seed in range(6)])


def test_a_policy_that_does_nothing_gives_the_images_back(images):
    assert np.array_equal(NOTHING.apply(images, (40, 48), np.random.default_rng(0)), images)


def test_views_have_the_size_asked_for(images):
    views = Policy().apply(images, (24, 32), np.random.default_rng(0))
    assert (views.shape, views.dtype) == ((6, 24, 32), np.uint8)


def test_the_generator_alone_decides(images):
    before = images.copy()
    strong = Policy(rotation=12, zoom_out=0.5, blur=0.5, jpeg=0.5)
    same, again, other = (
        strong.apply(images, (40, 48), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)
    assert images.flags.writeable
    assert np.array_equal(images, before)


def test_a_flip_mirrors_about_half_of_the_images():
    ramp = np.tile(np.arange(40, dtype=np.uint8) * 6, (200, 40, 1))
    flipped = NOTHING.__class__(**(vars(NOTHING) | {"horizontal_flip": True})).apply(
        ramp, (40, 40), np.random.default_rng(3)
    )
    mirrored = [np.array_equal(view, ramp[0][:, ::-1]) for view in flipped]
    assert all(
        mirror or np.array_equal(view, ramp[0])
        for mirror, view in zip(mirrored, flipped, strict=True)
    )
    assert 70 < sum(mirrored) < 130


def test_a_crop_keeps_at_least_its_area_and_stays_in_the_picture():
    # Columns and rows count up, so a view's first and last values tell what it shows.
    size = 100
    across = np.tile(np.arange(size, dtype=np.uint8), (300, size, 1))
    policy = Policy(**(vars(NOTHING) | {"smallest_area": 0.36}))
    wide = policy.apply(across, (size, size), np.random.default_rng(4)).astype(int)
    shown = (wide[:, 50, -1] - wide[:, 50, 0] + 1) / size
    assert shown.min() == pytest.approx(0.6, abs=0.03)
    assert shown.max() == pytest.approx(1.0, abs=0.03)
    # Nothing was invented beyond the edge: neighbours in a view never lie further apart than in the
    # picture.
    assert np.diff(wide, axis=2).max() <= 2
    assert np.diff(wide, axis=2).min() >= -2


def test_zooming_out_shows_the_whole_picture_smaller():
    white = np.full((50, 60, 60), 255, np.uint8)
    policy = Policy(**(vars(NOTHING) | {"zoom_out": 1.0}))
    drawn = [
        (policy.apply(white, (60, 60), np.random.default_rng(seed)) > 127).mean(axis=(1, 2))
        for seed in range(8)
    ]
    # Where the edge is drawn out all is white; else 70% of the sides is 49% of the area.
    black = [shares for shares in drawn if shares.min() < 1]
    assert 0 < len(black) < 8
    assert all(0.45 < shares.min() < 0.65 and shares.max() > 0.9 for shares in black)


def test_exposure_moves_grey_values_and_keeps_them_in_range(images):
    views = Policy(**(vars(NOTHING) | {"brightness": 0.2})).apply(
        images, (40, 48), np.random.default_rng(5)
    )
    moved = np.median(views.astype(int) - images, axis=(1, 2))
    assert np.abs(moved).max() <= 51
    assert len(set(moved.tolist())) > 3


def test_detail_is_softened_or_sharpened_and_what_is_even_stays():
    policy = Policy(**(vars(NOTHING) | {"detail": 0.7}))
    even = np.full((4, 64, 64), 90, np.uint8)
    assert np.array_equal(policy.apply(even, (64, 64), np.random.default_rng(0)), even)
    # A fine chequerboard has nothing but fine detail: its deviation is multiplied by e to the power
    # of ±.7 at most.
    board = np.tile(
        np.where(np.indices((64, 64)).sum(0) % 2, 108, 148).astype(np.uint8), (200, 1, 1)
    )
    gains = (
        policy.apply(board, (64, 64), np.random.default_rng(1)).astype(float).std(axis=(1, 2))
        / board[0].std()
    )
    assert gains.min() == pytest.approx(np.exp(-0.7), rel=0.06)
    assert gains.max() == pytest.approx(np.exp(0.7), rel=0.06)


def test_letters_are_burnt_into_some_views_bright_and_small_and_anywhere(images):
    black = np.zeros((200, 100, 120), np.uint8)
    views = Policy(**(vars(NOTHING) | {"letters": 0.5})).apply(
        black, (100, 120), np.random.default_rng(9)
    )
    marked = views.max(axis=(1, 2)) > 0
    assert 70 < marked.sum() < 130
    shares = (views[marked] > 60).mean(axis=(1, 2))
    assert 0 < shares.mean() < 0.05 and shares.max() < 0.2
    # Over many views no quarter of the picture goes without.
    seen = views.max(axis=0) > 60
    assert all(
        quarter.mean() > 0.3 for half in np.split(seen, 2) for quarter in np.split(half, 2, axis=1)
    )
    again = Policy(**(vars(NOTHING) | {"letters": 0.5})).apply(
        black, (100, 120), np.random.default_rng(9)
    )
    assert np.array_equal(views, again)


def test_a_collimator_shuts_out_up_to_an_eighth_of_each_side_and_nothing_inside():
    white = np.full((300, 100, 100), 255, np.uint8)
    views = Policy(**(vars(NOTHING) | {"collimate": 0.4})).apply(
        white, (100, 100), np.random.default_rng(3)
    )
    assert (views[:, 12:88, 12:88] == 255).all()
    shut = (views == 0).any(axis=(1, 2))
    assert 90 < shut.sum() < 150
    rows = (views[shut] == 0).all(axis=2).sum(axis=1)
    assert rows.max() <= 24 and rows.mean() == pytest.approx(12, abs=1.5)
    wider = Policy(**(vars(NOTHING) | {"collimate": 1.0, "margin": 0.3})).apply(
        white, (100, 100), np.random.default_rng(3)
    )
    assert (wider[:, 30:70, 30:70] == 255).all() and (wider == 0).all(axis=2).sum(
        axis=1
    ).mean() == pytest.approx(30, abs=2)
