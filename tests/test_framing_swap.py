"""Framing-swapped held-out patients: the warp, the draws and the figures, by hand."""

import numpy as np
import pytest

from pneumonia.model_spec import Estimate
from train.__main__ import main
from train.data.folds import HELD_OUT, items_of
from train.evaluation import framing_swap


def pose(x=0.5, y=0.5, half_width=0.3, half_height=0.3):
    return np.array([x, y, np.log(half_width), np.log(half_height), 0.0])


def disc(half_width, half_height, x=0.5, y=0.5, side=200):
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side
    inside = ((columns - x) / half_width) ** 2 + ((rows - y) / half_height) ** 2 <= 1
    return np.where(inside, 200, 40).astype(np.uint8)


def test_lungs_take_the_others_width_and_height():
    found = framing_swap.swap(disc(0.3, 0.2), pose(0.5, 0.5, 0.3, 0.2), pose(0.5, 0.5, 0.15, 0.3))
    middle = found > 120
    assert abs(middle[100].sum() - 60) <= 2
    assert abs(middle[:, 100].sum() - 120) <= 2


def test_lungs_stay_about_their_own_centre():
    own = pose(0.4, 0.6, 0.2, 0.2)
    found = framing_swap.swap(disc(0.2, 0.2, 0.4, 0.6), own, pose(0.9, 0.1, 0.1, 0.1))
    rows, columns = np.nonzero(found > 120)
    assert columns.mean() == pytest.approx(0.4 * 200, abs=1.5)
    assert rows.mean() == pytest.approx(0.6 * 200, abs=1.5)


def test_what_lies_beyond_is_black_and_an_own_box_changes_nothing():
    picture = disc(0.3, 0.3)
    shrunk = framing_swap.swap(picture, pose(), pose(half_width=0.15, half_height=0.15))
    assert shrunk[0].max() == 0 and shrunk[:, 0].max() == 0
    assert np.array_equal(framing_swap.swap(picture, pose(), pose()), picture)


def test_only_the_healthy_are_drawn_and_only_from_the_ill():
    images = np.stack([disc(0.3, 0.3)] * 5)
    poses = np.stack([pose(), pose(), pose(half_width=0.1), pose(half_width=0.1), pose()])
    labels = np.array([0, 0, 1, 1, 0])
    stacks = list(framing_swap.swaps(images, poses, labels, draws=3))
    assert [stack.shape for stack in stacks] == [(3, 200, 200)] * 3
    for stack in stacks:
        assert all(abs((picture[100] > 120).sum() - 40) <= 2 for picture in stack)


def test_the_same_seed_draws_the_same():
    images = np.stack([disc(0.3, 0.3)] * 6)
    poses = np.stack([pose(half_width=0.1 + 0.03 * k) for k in range(6)])
    labels = np.array([0, 0, 0, 1, 1, 1])
    first, again = (np.stack(list(framing_swap.swaps(images, poses, labels))) for _ in range(2))
    assert np.array_equal(first, again)
    other = np.stack(list(framing_swap.swaps(images, poses, labels, seed=1)))
    assert not np.array_equal(first, other)


def test_figures_by_hand():
    labels = np.array([0, 0, 1, 1])
    plain = np.array([0.0, 1.0, 2.0, 3.0])
    # Swapped, one of the two healthy passes one of the ill, then both pass all of them.
    swapped = np.array([[0.0, 2.5], [4.0, 4.0]])
    found = framing_swap.judge_scores("one", labels, np.arange(4), plain, swapped)
    assert found.auc.value == 1.0 and found.specificity.value == 1.0
    assert found.swapped_auc.value == pytest.approx((0.75 + 0) / 2)
    assert found.swapped_specificity.value == pytest.approx((0.5 + 0) / 2)
    for figure in (found.auc, found.swapped_auc, found.swapped_specificity):
        assert figure.low <= figure.value <= figure.high


def test_a_network_is_judged_alone_and_in_the_mean(tiny_scan, tmp_path):
    labels = np.array([item.label for item in items_of(tiny_scan, HELD_OUT)])
    asked = []

    def bright(pictures):
        asked.append(len(pictures))
        return pictures.mean(axis=(1, 2)) / 255

    def undecided(pictures):
        asked.append(len(pictures))
        return np.full(len(pictures), 0.3)

    found = framing_swap.judge({"bright": bright, "undecided": undecided}, tiny_scan)
    assert [judged.name for judged in found] == ["bright", "undecided", framing_swap.ENSEMBLE]
    assert found[1].auc.value == 0.5 and found[1].swapped_auc.value == 0.5
    # A constant in the mean moves no rank.
    assert found[2].auc == found[0].auc and found[2].swapped_auc == found[0].swapped_auc
    beside = framing_swap.judge({"undecided": undecided}, tiny_scan, beside={"bright": bright})
    assert [judged.name for judged in beside] == ["undecided", "bright"]
    assert [beside[1], beside[0]] == found[:2]
    del asked[len(asked) // 2 :]
    healthy = int((labels == 0).sum())
    assert sum(asked) == 2 * (len(labels) + framing_swap.DRAWS * healthy)
    framing_swap.write(found, tmp_path / "deep" / "framing.json")
    assert framing_swap.read(tmp_path / "deep" / "framing.json") == found


def test_the_command_prints_a_table_and_keeps_it(models_folder, tiny_dataset, tmp_path, capsys):
    kept = tmp_path / "framing.json"
    models = [str(models_folder / name) for name in ("baseline", "augmented")]
    assert main(["framing", *models, "--data", str(tiny_dataset), "--out", str(kept)]) == 0
    printed = capsys.readouterr().out
    found = framing_swap.read(kept)
    assert len(found) == 3 and all(judged.name in printed for judged in found)
    assert all(isinstance(judged.auc, Estimate) for judged in found)
