"""Validation under corruption: the copies that a network is asked about, and the row that models
are chosen by.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pneumonia import PneumoniaClassifier, radiograph
from pneumonia.corruptions import detail
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


def stretched(name: str, pixels: np.ndarray) -> np.ndarray:
    """A dark bar, narrow for the taller and broad for the wider."""
    bar = np.full_like(pixels, 200)
    bar[:, : {"taller": 20, "wider": 120}.get(name, 60)] = 0
    return bar


def test_a_network_that_goes_by_detail_has_a_gap_and_one_that_goes_by_brightness_has_none(
    tiny_scan: Dataset, monkeypatch
) -> None:
    def softness(images: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.abs(np.diff(images.astype(float), axis=2)).mean(axis=(1, 2)))

    def truth(images: np.ndarray) -> np.ndarray:
        return (
            np.array([item.label for item in items_of(tiny_scan, "held-out")])[: len(images)] * 0.8
            + 0.1
        )

    assert validation.style_gap(truth, tiny_scan, size=(64, 64)) == dict.fromkeys(
        (
            "soft_specificity",
            "sharp_recall",
            "tall_specificity",
            "letter_specificity",
            "shut_specificity",
            "wide_recall",
            "shape_swapped_auc",
            "artefact_auc",
        ),
        1.0,
    )

    # A network that goes by width alone: the ill, made wider, all lie below the healthy, made
    # taller.
    def narrowness(images: np.ndarray) -> np.ndarray:
        return np.array(
            [1 / (1 + np.ptp(np.flatnonzero((image < 70).any(axis=0)))) for image in images]
        )

    with monkeypatch.context() as patch:
        patch.setattr(
            validation,
            "STYLES",
            {
                name: partial(stretched, name)
                for name in ("softened", "sharpened", "taller", "wider", "lettered", "shut")
            },
        )
        assert (
            validation.style_gap(narrowness, tiny_scan, size=(64, 64))["shape_swapped_auc"] == 0.0
        )

    # One that takes black margins for disease: every healthy child shut in is called ill.
    def shut_in(images: np.ndarray) -> np.ndarray:
        return 0.1 + 0.2 * truth(images) + 0.6 * (images[:, :4].max(axis=(1, 2)) == 0)

    found = validation.style_gap(shut_in, tiny_scan, size=(64, 64))
    assert found["shut_specificity"] == 0.0 and found["letter_specificity"] == 1.0
    # Ill as they are, with a letter, shut in: .28, .28, .88; healthy: .12, .12, .72. Of the nine
    # pairs, two are the wrong way round.
    assert found["artefact_auc"] == pytest.approx(7 / 9)
    # The sharpened ill all fall below what the ill reach as they are.
    assert validation.style_gap(softness, tiny_scan, size=(64, 64))["sharp_recall"] == 0.0


def test_levelled_figures_are_of_the_levelled_pictures_alone(
    tiny_scan: Dataset, monkeypatch
) -> None:
    # Cut so, every picture of the ill is plain white and of the healthy black; as they are, nothing
    # is.
    ill = iter([item.label for item in items_of(tiny_scan, "held-out")])
    monkeypatch.setattr(
        validation.framing, "levelled", lambda pixels: np.full_like(pixels, 255 * next(ill, 0))
    )
    found = validation.levelled(
        lambda images: images.mean(axis=(1, 2)) / 255, tiny_scan, size=(48, 48)
    )
    assert found == {"level_auc": 1.0, "level_specificity": 1.0}


def test_detail_by_hand() -> None:
    stripes = np.tile(np.array([100, 120], np.uint8), (40, 20))
    # Finer than anything a blur of 6% of 40 pixels lets through: what is left is the mean, and half
    # of the distance to it.
    inner = (slice(None), slice(10, -10))
    assert sorted(set(detail(stripes, 0.5)[inner].ravel().tolist())) == [105, 115]
    assert np.array_equal(detail(stripes, 1.0), stripes)


def test_even_handed_figures_weigh_each_image_as_nuisances_have_it(
    tiny_scan: Dataset, monkeypatch
) -> None:
    items = items_of(tiny_scan, "train")
    ill = np.array([item.label for item in items]) == 1
    # The network misses one of twelve ill and calls two of twelve healthy ill.
    said = np.where(ill, 0.8, 0.2)
    said[np.flatnonzero(ill)[0]], said[np.flatnonzero(~ill)[:2]] = 0.1, 0.9
    weights = np.ones(len(items))
    weights[np.flatnonzero(ill)[0]], weights[np.flatnonzero(~ill)[0]] = 4.0, 3.0
    monkeypatch.setattr(validation.balance, "weights", lambda pixels, labels: (weights, 0.9))
    found = validation.reweighted(
        lambda images: said[: len(images)], tiny_scan, "train", size=(48, 48)
    )
    # 98% of twelve is all twelve: the threshold is the missed one's .1, which none lies below, and
    # no healthy one does.
    assert (found["reweighted_recall"], found["reweighted_specificity"]) == (1.0, 0.0)
    # Of 15 weights of the ill and 14 of the healthy: the eleven at .8 beat the ten at .2,
    # everything at .1 loses, and nothing beats .9.
    assert found["reweighted_auc"] == pytest.approx(11 * 10 / (15 * 14))
    # Where a fold has too few of a class, nothing is said rather than something made up.
    assert (
        validation.reweighted(lambda images: said[: len(images)], tiny_scan, "test", size=(48, 48))
        == {}
    )
