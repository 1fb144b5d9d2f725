"""Framing: the outline's shape is measured as it lies in the picture, and a policy that frames
alike shows lungs of one shape from whatever picture.
"""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia import lungs
from pneumonia.corruptions import aspect
from train.augmentation import framing
from train.augmentation.policy import Policy
from train.data import folds
from train.data.chest_xray import load
from train.recipes import get
from train.training.fit import Batches

# Nothing but a crop of the whole picture's area, where its shape allows.
PLAIN = Policy(
    smallest_area=1.0,
    aspect=0.0,
    horizontal_flip=False,
    gamma=0.0,
    contrast=0.0,
    brightness=0.0,
    framed_alike=True,
)


def test_frames_are_the_outlines_shape_and_size(drawn_radiograph, tmp_path, monkeypatch):
    picture = drawn_radiograph(3, 0, (120, 120))
    pictures = np.stack([picture, aspect(picture, 1.2)])
    found = framing.lung_frames(pictures, cache=tmp_path)
    poses = [lungs.fit(image).pose for image in pictures]
    np.testing.assert_allclose(found[:, 0], [pose[2] - pose[3] for pose in poses])
    np.testing.assert_allclose(found[:, 1], [(pose[2] + pose[3]) / 2 for pose in poses])
    monkeypatch.setattr(
        lungs, "place", lambda image: pytest.fail("the second time nothing is fitted again")
    )
    assert np.array_equal(framing.lung_frames(pictures, cache=tmp_path), found)


def test_apart_is_counted_from_the_middle_between_the_classes():
    frames = np.array([[1.0, 0], [2, 0], [9, 0], [4, 1], [4, 1]])
    # The medians are (2, 0) of three healthy and (4, 1) of two ill, between them lies (3, .5).
    expected = [[-2, -0.5], [-1, -0.5], [6, -0.5], [1, 0.5], [1, 0.5]]
    assert framing.apart(frames, np.array([0, 0, 0, 1, 1])).tolist() == expected


def test_a_wide_and_a_tall_picture_of_one_square_look_alike():
    # A square of 20 pixels, once stretched to 28 x 20 and once to 20 x 28.
    images = np.zeros((2, 100, 100), np.uint8)
    images[0, 40:60, 36:64] = images[1, 36:64, 40:60] = 255
    for view in PLAIN.apply(
        images, (100, 100), np.random.default_rng(0), np.log([[1.4, 1], [1 / 1.4, 1]])
    ):
        # The larger side stays as it was and the other grows: what a view shows is cut from the
        # picture and has no border.
        lit = view > 127
        assert (lit.any(axis=0).sum(), lit.any(axis=1).sum()) == (
            pytest.approx(28, abs=1),
            pytest.approx(28, abs=1),
        )


def test_small_lungs_are_cut_out_closer_and_no_crop_leaves_the_picture():
    white = np.full((200, 60, 60), 255, np.uint8)
    offsets = np.tile([[0.3, -0.4], [-0.3, 0.2]], (100, 1))
    views = Policy(**(vars(PLAIN) | {"smallest_area": 0.5, "aspect": 0.4})).apply(
        white, (60, 60), np.random.default_rng(2), offsets
    )
    # Within half a pixel of the edge, where views are interpolated with what lies beyond.
    assert (views[:, 1:-1, 1:-1] == 255).all()
    across = np.tile(np.arange(100, dtype=np.uint8), (1, 100, 1))
    view = PLAIN.apply(
        across, (100, 100), np.random.default_rng(0), np.array([[0.0, np.log(0.8)]])
    )[0].astype(int)
    assert view[50, -1] - view[50, 0] == pytest.approx(80, abs=2)


def test_a_policy_that_frames_alike_must_be_told_how(drawn_radiograph):
    with pytest.raises(ValueError, match="framing="):
        PLAIN.apply(drawn_radiograph(1, 1)[np.newaxis], (20, 20), np.random.default_rng(0))


def test_a_batch_is_framed_by_the_frames_of_its_own_images(tiny_scan):
    images, labels, _ = load(folds.items_of(tiny_scan, "train"), (40, 40))
    recipe = get("xception", "improved").__class__(
        **(
            vars(get("xception", "improved"))
            | {
                "augmentation": PLAIN,
                "training_size": (40, 40),
                "batch_size": 5,
                "nuisance_reweighting": False,
            }
        )
    )
    frames = np.random.default_rng(4).uniform(-0.3, 0.3, (len(labels), 2))
    batches = Batches(images, labels, recipe, 1, frames=frames)
    order = np.random.default_rng([recipe.seed, 1]).permutation(len(labels))[5:10]
    expected = PLAIN.apply(
        images[order], (40, 40), np.random.default_rng([recipe.seed, 1, 1]), frames[order]
    )
    np.testing.assert_allclose(
        batches[1][0][..., 0] * (255 if batches[1][0].max() <= 1 else 1), expected, atol=1e-3
    )


def test_a_levelled_cut_lies_around_the_lungs_and_stays_in_the_picture(monkeypatch):
    across = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
    # Lungs of 80 by 40 pixels: a fifth more than they take, 96 by 48, around their middle.
    monkeypatch.setattr(
        lungs, "place", lambda pixels: np.array([0.5, 0.5, np.log(0.2), np.log(0.1), 0.0])
    )
    cut = framing.levelled(across)
    assert cut.shape == across.shape
    assert (int(cut[0, 0]), int(cut[0, -1])) == (
        pytest.approx(52, abs=1),
        pytest.approx(147, abs=1),
    )
    assert np.ptp(framing.levelled(across.T)[:, 0].astype(int)) == pytest.approx(47, abs=1)
    # Lungs of 180 by 90 at the left edge: what lies around them is what the picture has, 200 by
    # 100.
    monkeypatch.setattr(
        lungs, "place", lambda pixels: np.array([0.45, 0.9, np.log(0.45), np.log(0.225), 0.0])
    )
    assert np.array_equal(framing.levelled(across)[0], across[0])
    rows = framing.levelled(across.T)[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (pytest.approx(100, abs=1), 199)
