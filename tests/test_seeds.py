"""Runs that differ in their seed: which is kept, and how far they spread."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import bundle
from train.__main__ import main
from train.evaluation import details, seeds
from train.evaluation.metrics import measure

NAMES = [
    "train/NORMAL/a.jpeg",
    "train/NORMAL/b.jpeg",
    "train/PNEUMONIA/c.jpeg",
    "train/PNEUMONIA/d.jpeg",
]
LABELS = np.array([0, 0, 1, 1])
ORDERED, ONE_WRONG = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.1, 0.85, 0.8, 0.9])


@pytest.fixture
def run(tmp_path: Path, make_spec) -> Callable[..., Path]:
    """Makes a finished run's bundle, without weights: its answers under two corruptions, and what
    the test folder said.
    """

    def make(
        seed: int, sha: str, first: np.ndarray, second: np.ndarray, test: np.ndarray, **recipe
    ) -> Path:
        folder = tmp_path / f"run-{seed}-{sha}"
        folder.mkdir()
        settings = {
            "name": "improved",
            "seed": seed,
            "epochs": 3,
            "training_seconds": 100 * seed,
        } | recipe
        spec = make_spec(
            "baseline", (100, 100), recipe=settings, weights_sha256=sha * 64, temperature=2.0
        )
        (folder / "model_spec.json").write_text(spec.to_json())
        details.write_copies(folder, NAMES, {"clean": ORDERED, "first": first, "second": second})
        bundle.write_metrics(
            folder, {"test": measure(LABELS, test, 0.5, "test", resamples=20)}, spec
        )
        return folder

    return make


def test_the_best_validation_is_kept_whatever_the_test_folder_says(run) -> None:
    # AUC .75 where one pair of four is the wrong way round: (mean .875 + worst .75) / 2 against 1.
    worse, better = (
        run(1, "a", ORDERED, ONE_WRONG, ORDERED),
        run(2, "b", ORDERED, ORDERED, ONE_WRONG),
    )
    assert seeds.write([worse, better]) == better
    assert not (worse / "seeds.json").exists() and not (worse / "seeds.png").exists()
    values = seeds.read(better)
    assert values is not None
    assert [(entry["seed"], entry["chosen"]) for entry in values["runs"]] == [(1, False), (2, True)]
    assert seeds.selection_score(values["runs"][0]["validation"]) == pytest.approx(
        (0.875 + 0.75) / 2
    )
    assert values["runs"][0]["validation"]["worst_name"] == "second"
    assert main(["seeds", str(worse), str(better)]) == 0 and main(["seeds", str(worse)]) == 1
    # Test accuracy 1 and .75: mean .875, standard deviation .25 / sqrt(2).
    assert values["mean"]["accuracy"] == pytest.approx(0.875)
    assert values["standard_deviation"]["accuracy"] == pytest.approx(0.25 / np.sqrt(2))


def test_the_picture_shows_every_run_the_mean_and_which_was_kept(run) -> None:
    kept = seeds.write(
        [run(1, "a", ORDERED, ONE_WRONG, ORDERED), run(2, "b", ORDERED, ORDERED, ONE_WRONG)]
    )
    with Image.open(kept / "seeds.png") as stored:
        assert stored.width > 800
    values = seeds.read(kept)
    assert values is not None
    drawn = seeds.picture(values)
    worst, both, accuracy = drawn.axes[1], drawn.axes[2], drawn.axes[-1]
    # The mean under corruption is 1 and 1, the worst .75 and 1: what decides is between the two.
    assert [text.get_text() for text in worst.texts] == [
        "0.7500",
        "1.0000",
    ] and "chooses" in both.get_title()
    assert [text.get_text() for text in both.texts] == [
        f"{seeds.selection_score(entry['validation']):.4f}" for entry in values["runs"]
    ]
    assert [text.get_text() for text in accuracy.texts] == ["1.000", "0.750"]
    mean, first, second = worst.lines
    assert list(mean.get_xdata()) == [0.875, 0.875]
    assert first.get_markerfacecolor() == "white" and second.get_markerfacecolor() != "white"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"seed": 1}, "of one seed"), ({"seed": 2, "epochs": 4}, "more differs than the seed")],
)
def test_what_is_no_second_run_of_the_recipe_is_refused(run, changes, message) -> None:
    first = run(1, "a", ORDERED, ORDERED, ORDERED)
    with pytest.raises(bundle.BundleError, match=message):
        seeds.write([first, run(changes.pop("seed"), "b", ORDERED, ORDERED, ORDERED, **changes)])


def test_one_run_has_no_spread_and_an_unfinished_one_no_figures(run) -> None:
    one, other = run(1, "a", ORDERED, ORDERED, ORDERED), run(2, "b", ORDERED, ORDERED, ORDERED)
    with pytest.raises(bundle.BundleError, match="two runs or more, got 1"):
        seeds.write([one])
    (other / details.COPIES).unlink()
    with pytest.raises(bundle.BundleError, match=r"has no validation_copies\.csv"):
        seeds.write([one, other])


def test_seeds_of_other_weights_are_refused(run) -> None:
    one, other = run(1, "a", ORDERED, ORDERED, ORDERED), run(2, "b", ORDERED, ONE_WRONG, ORDERED)
    assert seeds.read(one) is None
    assert seeds.write([one, other]) == one
    (other / "seeds.json").write_text((one / "seeds.json").read_text())
    with pytest.raises(bundle.BundleError, match="other weights"):
        seeds.read(other)
    (one / "seeds.json").write_text(json.dumps({"runs": 3}))
    with pytest.raises(bundle.BundleError, match="cannot be read"):
        seeds.read(one)
