"""Views drawn into the lung outline of another child."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pneumonia import bundle
from train.augmentation.policy import Policy
from train.augmentation.reframing import Boxes, Crops, ReframedPolicy, warp
from train.data import folds
from train.recipes.catalogue import get
from train.training import distillation
from train.training.fit import fit
from train.training.run_folder import RunError

WHOLE = {"smallest_area": 1.0, "aspect": 0.0, "zoom_out": 0.0, "bordered": 0.0, "inside": 0.0}


def crop(**values: float) -> Crops:
    known = values.pop("known", (0.0, 0.0, 1.0, 1.0))
    single = {"x": 0.5, "y": 0.5, "wide": 1.0, "high": 1.0, "angle": 0.0} | values
    return Crops(*(np.array([value]) for value in single.values()), known=np.array([known]))


def test_a_box_is_brought_to_the_size_and_place_of_another():
    # Lungs of half-sides .1 and .2 in the middle of the picture, to be drawn at (.4, .6), .2, .2.
    own = np.array([[0.5, 0.5, np.log(0.1), np.log(0.2)]])
    others = Boxes(np.array([[0.4, 0.6, np.log(0.2), np.log(0.2)]] * 2), np.array([0, 1]))
    policy = ReframedPolicy(**WHOLE, as_is=0.0)
    found = policy.crops(own, others, np.random.default_rng(0))
    # The view spans half of the picture's width, for lungs come out twice as wide, and all of its
    # height; the centre of the lungs lies at (.4, .6) of the view.
    assert (found.wide[0], found.high[0]) == pytest.approx((0.5, 1.0))
    assert (0.5 - (found.x[0] - 0.25)) / 0.5 == pytest.approx(0.4)
    assert 0.5 - (found.y[0] - 0.5) == pytest.approx(0.6)


def test_views_that_stay_inside_show_no_border():
    rng = np.random.default_rng(1)
    own = np.column_stack([rng.uniform(0.4, 0.6, (60, 2)), np.log(rng.uniform(0.3, 0.45, (60, 2)))])
    others = Boxes(own[::-1], np.arange(60) % 2)
    policy = ReframedPolicy(**(WHOLE | {"inside": 1.0}), as_is=0.0)
    found = policy.crops(own, others, rng)
    assert (found.x - found.wide / 2 > -1e-9).all() and (found.x + found.wide / 2 < 1 + 1e-9).all()
    assert (found.y - found.high / 2 > -1e-9).all() and (found.y + found.high / 2 < 1 + 1e-9).all()


def test_framings_come_from_both_classes_alike():
    own = np.tile([0.5, 0.5, 0.0, 0.0], (4000, 1))
    boxes = np.array([[0.5, 0.5, 0.0, 0.0]] * 9 + [[0.5, 0.5, np.log(2.0), 0.0]])
    others = Boxes(boxes, np.array([0] * 9 + [1]))
    found = ReframedPolicy(**WHOLE, as_is=0.0).crops(own, others, np.random.default_rng(2))
    assert np.mean(found.wide < 0.75) == pytest.approx(0.5, abs=0.03)


def test_a_whole_crop_is_the_picture_itself():
    picture = np.random.default_rng(3).integers(0, 256, (1, 20, 30), dtype=np.uint8)
    np.testing.assert_allclose(warp(picture, (20, 30), crop(), np.random.default_rng(0)), picture)


def test_what_a_picture_loses_is_filled_alike():
    white = np.full((40, 50, 50), 200, np.uint8)
    many = Crops(
        *(np.full(40, value) for value in (0.5, 0.5, 1.0, 1.0, 0.0)),
        known=np.tile([0.2, 0.0, 1.0, 1.0], (40, 1)),
    )
    views = warp(white, (50, 50), many, np.random.default_rng(4))
    assert (views[:, :, 10:] == 200).all()
    fills = views[:, 0, 0]
    assert (views[:, :, :10] == fills[:, np.newaxis, np.newaxis]).all()
    # Black, a grey, or the edge drawn out.
    assert (fills == 0).any() and (fills == 200).any() and len(set(fills.tolist())) > 5


def test_half_of_the_teachers_see_the_mirror_image_by_turns():
    sides = distillation.assign_mirrors(4, 0, 0, 6)
    assert (sides.sum(axis=1) == 2).all() and (sides[0] != sides[1]).all()
    assert not distillation.assign_mirrors(1, 3, 5, 6).any()


def test_kept_answers_are_of_the_very_images(tiny_scan, tmp_path):
    with pytest.raises(RunError, match="other images"):
        distillation.redraw(tiny_scan, tmp_path / "pool")


def test_views_of_kept_answers_are_drawn_again_from_their_seed(tiny_scan, tmp_path):
    with np.load(distillation.KEPT) as archive:
        facts = json.loads(str(archive["facts"]))
    facts["files"] = [item.relative for item in folds.items_of(tiny_scan, folds.FITTED)]
    logits = np.linspace(-3, 3, 2 * len(facts["files"])).reshape(2, -1).astype(np.float16)
    np.savez(tmp_path / "kept.npz", answers=logits, facts=np.array(json.dumps(facts)))
    for name in ("one", "two"):
        distillation.redraw(tiny_scan, tmp_path / name, kept=tmp_path / "kept.npz")
    one, two = (distillation.read(tmp_path / name) for name in ("one", "two"))
    assert all((a == b).all() for a, b in zip(one.views, two.views, strict=True))
    assert one.views[0].shape == (len(facts["files"]), 128, 128)
    np.testing.assert_allclose(one.answers, 1 / (1 + np.exp(-logits.astype(float))), atol=1e-3)


def test_a_student_starts_from_a_bundle_and_learns_from_the_pool(
    models_folder, tiny_scan, tmp_path
):
    pool = tmp_path / "pool"
    distillation.make(
        [models_folder / "baseline", models_folder / "baseline"],
        tiny_scan,
        pool,
        policy=Policy(),
        views=1,
        size=(48, 48),
    )
    recipe = replace(
        get("baseline"),
        input_size=bundle.read_model_spec(models_folder / "baseline").input_size,
        epochs=1,
        keep_epoch=1,
        learning_rate=0.0,
        weight_decay=0.0,
        schedule="constant",
        nuisance_reweighting=False,
        starts_from="first",
    )
    with pytest.raises(RunError, match="--start"):
        fit(recipe, tiny_scan, tmp_path / "without", pool=pool)
    start = models_folder / "baseline"
    model = fit(recipe, tiny_scan, tmp_path / "run", pool=pool, start_from=start)
    # At a learning rate of 0 the weights are those it started from.
    for found, expected in zip(
        model.get_weights(), bundle.load(start)[0].get_weights(), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-3)
    other = models_folder / "augmented"
    with pytest.raises(RunError, match="do not fit"):
        fit(recipe, tiny_scan, tmp_path / "other", pool=pool, start_from=other)
