"""Validation under corruption: the copies that a network is asked about, and the row that models
are chosen by.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pneumonia import PneumoniaClassifier, radiograph
from train.data.chest_xray import Dataset
from train.data.folds import groups_of, items_of
from train.evaluation import validation

DARKER = {"darker": lambda pixels: pixels // 2, "mirrored": lambda pixels: pixels[:, ::-1]}


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(1, 2)) / 255


def test_each_copy_is_the_corrupted_original_brought_to_size(tiny_scan: Dataset) -> None:
    found = validation.copies(tiny_scan, (112, 100), corruptions=DARKER)
    items = items_of(tiny_scan, "held-out")
    assert found.items == items
    assert found.labels.tolist() == [item.label for item in items]
    assert found.groups.tolist() == groups_of(tiny_scan, "held-out").tolist()
    assert list(found.pixels) == ["clean", "darker", "mirrored"]
    original = radiograph.resize(radiograph.read(items[1].path), (224, 224))
    assert np.array_equal(
        found.pixels["clean"][1], radiograph.resize(radiograph.read(items[1].path), (112, 100))
    )
    assert np.array_equal(
        found.pixels["darker"][1],
        radiograph.resize(radiograph.Radiograph(original // 2, "x"), (112, 100)),
    )


def test_the_scores_are_the_networks_answers_in_the_order_of_the_split(tiny_scan: Dataset) -> None:
    found = validation.scores(brightness, tiny_scan, corruptions=DARKER, size=(48, 48))
    pixels = validation.copies(tiny_scan, (48, 48), corruptions=DARKER).pixels
    for name, values in found.items():
        assert values.dtype == np.float64
        assert values == pytest.approx(brightness(pixels[name]))
    # Half as bright, but for the halves that integers lose; a mirror changes no mean, but for
    # rounding.
    assert found["darker"] == pytest.approx(found["clean"] / 2, abs=0.01)
    assert found["mirrored"] == pytest.approx(found["clean"], abs=0.01)


def test_a_classifier_brings_its_size_and_its_temperature(
    tiny_scan: Dataset, models_folder: Path
) -> None:
    classifier = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
    found = validation.scores(classifier, tiny_scan, "val", {})
    assert found["clean"] == pytest.approx(
        [
            prediction.probability
            for prediction in classifier.predict([item.path for item in tiny_scan.split("val")])
        ],
        abs=1e-6,
    )
    with pytest.raises(ValueError, match="give size="):
        validation.scores(brightness, tiny_scan)


def test_the_cache_gives_the_same_and_a_changed_corruption_is_made_anew(
    tiny_scan: Dataset, tmp_path: Path
) -> None:
    first = validation.scores(
        brightness, tiny_scan, corruptions=DARKER, size=(48, 48), cache=tmp_path
    )
    stored = sorted(tmp_path.glob("copies-48x48-*.npy"))
    assert len(stored) == 2
    again = validation.scores(
        brightness, tiny_scan, corruptions=DARKER, size=(48, 48), cache=tmp_path
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert sorted(tmp_path.glob("copies-48x48-*.npy")) == stored
    changed = validation.scores(
        brightness,
        tiny_scan,
        corruptions={"darker": lambda pixels: pixels // 4},
        size=(48, 48),
        cache=tmp_path,
    )
    assert changed["darker"] == pytest.approx(first["clean"] / 4, abs=0.01)


def test_a_limit_keeps_both_classes(tiny_scan: Dataset) -> None:
    found = validation.copies(tiny_scan, (48, 48), "train", {}, limit=4)
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert len(found.pixels["clean"]) == 4
    assert [found.items[0], found.items[-1]] == [
        tiny_scan.split("train")[0],
        tiny_scan.split("train")[-1],
    ]


def test_a_summary_worked_out_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    found = {
        "clean": np.array([0.1, 0.2, 0.7, 0.8]),
        "a": np.array([0.1, 0.6, 0.5, 0.8]),
        "b": np.array([0.8, 0.9, 0.95, 0.99]),
    }
    row = validation.summary(labels, found)
    assert (row["clean_auc"], row["worst_auc"], row["worst_name"]) == (1.0, 0.75, "a")
    assert row["mean_auc"] == pytest.approx((0.75 + 1) / 2)
    # In one heap the healthy of b at .8 and .9 stand above pneumonias of the others: 36 pairs; .1,
    # .1 and .2 lose to all 6, .6 to all but .5, .8 ties with two and loses to two, .9 loses to two.
    assert row["pooled_auc"] == pytest.approx((6 + 6 + 6 + 5 + (2 + 2 * 0.5) + 2) / 36)
    right = np.array([0.9, 0.8, 0.7, 0.8, 0.9, 0.4, 0.5, 0.8, 0.2, 0.1, 0.95, 0.99])
    assert row["log_loss"] == pytest.approx(-np.log(right).mean())
    # All four pneumonias must be reached to keep 98% of so few: the lowest of the heap is .5, and
    # three of six healthy are below.
    assert (row["clean_specificity"], row["pooled_specificity"]) == (1.0, 0.5)


def test_specificity_at_a_recall() -> None:
    labels = np.array([1] * 100 + [0] * 4)
    probabilities = np.concatenate([np.arange(1, 101) / 101, [0.005, 0.025, 0.035, 0.5]])
    # 98 of 100 must be reached, so two may lie below: the threshold is the third, 3 / 101 = .0297.
    assert validation.specificity_at(labels, probabilities, 0.98) == 0.5
    assert validation.specificity_at(labels, probabilities, 1.0) == 0.25


def test_the_fixed_set_comes_out_as_pictures_and_clean_comes_first(tiny_scan: Dataset) -> None:
    found = validation.copies(tiny_scan, (48, 48), "val", limit=2)
    assert len(found.pixels) == 16 and next(iter(found.pixels)) == "clean"
    assert all(
        pixels.shape == (2, 48, 48) and pixels.dtype == np.uint8 for pixels in found.pixels.values()
    )
