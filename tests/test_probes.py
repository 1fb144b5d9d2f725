"""Probes and occlusion, on networks whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageFilter

from pneumonia import lungs, probes, radiograph
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.corruptions import CORRUPTIONS, shut
from pneumonia.model_spec import ModelSpec
from pneumonia.probes import PROBES, Probe
from pneumonia.radiograph import Radiograph

SIDE = 224
BY_NAME = {probe.name: probe for probe in PROBES}


@pytest.fixture
def mean_reader(make_spec: Callable[..., ModelSpec]) -> Callable[..., PneumoniaClassifier]:
    """A function from a box (top, bottom, left, right), in pixels, to a classifier whose
    probability is the mean grey value of that box over 255.
    """

    def build(top: int, bottom: int, left: int, right: int) -> PneumoniaClassifier:
        inputs = keras.Input((SIDE, SIDE, 3))
        box = keras.layers.Cropping2D(((top, SIDE - bottom), (left, SIDE - right)))(inputs)
        answer = keras.layers.Dense(
            1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / (3 * 255))
        )
        model = keras.Model(inputs, answer(keras.layers.GlobalAveragePooling2D()(box)))
        return PneumoniaClassifier(model, make_spec("baseline", (SIDE, SIDE)))

    return build


def flat(value: int) -> np.ndarray:
    return np.full((SIDE, SIDE), value, np.uint8)


def two_boxes() -> np.ndarray:
    """Two upright boxes where lungs may be, bool (224, 224)."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[60:160, 40:90] = mask[60:160, 134:184] = True
    return mask


class TestHiding:
    def test_hidden_lungs_become_the_mean_of_the_rest_and_the_rest_stays(self) -> None:
        mask = two_boxes()
        pixels = np.where(mask, 250, 80).astype(np.uint8)
        hidden = probes.lungs_hidden(pixels, mask)
        # 0.6% of the 170 grey values between the two may shine through at the mask's edge.
        assert np.abs(hidden.astype(int) - 80).max() <= 2

    def test_nothing_of_the_lungs_goes_into_their_cover(self) -> None:
        mask = two_boxes()
        rng = np.random.default_rng(0)
        rest = rng.integers(60, 200, (SIDE, SIDE))
        dark, bright = (
            probes.lungs_hidden(np.where(mask, value, rest).astype(np.uint8), mask)
            for value in (0, 255)
        )
        # Within the mask at most 4 grey values of 255 shine through the softened edge.
        assert np.abs(dark.astype(int) - bright.astype(int))[mask].max() <= 4
        inner = np.zeros_like(mask)
        inner[80:140, 55:75] = True
        assert np.array_equal(dark[inner], bright[inner])

    def test_with_all_but_the_lungs_hidden_their_inside_stays_and_the_far_rest_is_their_mean(
        self,
    ) -> None:
        mask = two_boxes()
        pixels = np.where(mask, 100, 220).astype(np.uint8)
        pixels[100, 60] = 30
        kept = probes.lungs_only(pixels, mask)
        assert kept[100, 60] == 30
        assert kept[5, 5] == 100
        assert kept[110, 112] == 100

    def test_the_edge_is_soft(self) -> None:
        mask = two_boxes()
        pixels = np.where(mask, 0, 0).astype(np.uint8)
        pixels[:, :20] = 255
        steps = np.abs(np.diff(probes.lungs_hidden(pixels, mask)[110, 22:110].astype(int)))
        assert steps.max() <= 5

    def test_a_mask_of_nothing_or_of_everything_divides_by_no_zero(self) -> None:
        pixels = flat(90)
        for mask in (np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)):
            assert np.array_equal(probes.lungs_hidden(pixels, mask), pixels)
            assert np.array_equal(probes.lungs_only(pixels, mask), pixels)


class TestAlterations:
    def test_names_are_unique_and_every_kind_is_there(self) -> None:
        assert len(BY_NAME) == len(PROBES)
        assert {probe.kind for probe in PROBES} == set(probes.KINDS)

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="kind"):
            Probe("x", "x", "colour", probes.copy_of)

    @pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
    @pytest.mark.parametrize("size", [(224, 224), (300, 500)])
    def test_every_probe_alters_the_copy_and_gives_a_copy(
        self, probe: Probe, size: tuple[int, int], drawn_radiograph: Callable[..., np.ndarray]
    ) -> None:
        picture = Radiograph(drawn_radiograph(3, 1, size), "child.png")
        before = picture.pixels.copy()
        altered = probe.apply(picture)
        assert altered.size == radiograph.COPY_SIZE and altered.name == "child.png"
        assert not np.array_equal(altered.pixels, probes.copy_of(picture).pixels)
        assert np.array_equal(picture.pixels, before)
        assert np.array_equal(probe.apply(probes.copy_of(picture)).pixels, altered.pixels)

    @pytest.mark.parametrize("name", sorted(BY_NAME.keys() & CORRUPTIONS.keys()))
    def test_a_probe_with_a_corruptions_name_is_that_corruption(
        self, name: str, drawn_radiograph: Callable[..., np.ndarray]
    ) -> None:
        pixels = drawn_radiograph(5, 0, (SIDE, SIDE))
        assert np.array_equal(
            BY_NAME[name].apply(Radiograph(pixels, "x")).pixels, CORRUPTIONS[name](pixels)
        )

    def test_blacked_borders_are_27_pixels_wide(self) -> None:
        kept = shut(flat(200))
        assert kept[27:197, 27:197].min() == 200
        assert kept.sum() == 200 * 170 * 170

    def test_a_letter_is_bright_lies_at_the_left_and_leaves_the_rest_alone(self) -> None:
        marked = BY_NAME["letter"].apply(Radiograph(flat(100), "x")).pixels
        rows, columns = np.nonzero(marked != 100)
        assert marked.max() == 235 and marked.min() == 100
        # Type of 31 pixels that begins 4 to the right and 45 down: a capital of some 22 by 20.
        assert rows.min() >= 45 and rows.max() <= 76 and columns.min() >= 4 and columns.max() <= 30
        assert 15 <= np.ptp(rows) <= 26 and 10 <= np.ptp(columns) <= 26

    def test_inverting_twice_changes_nothing(
        self, drawn_radiograph: Callable[..., np.ndarray]
    ) -> None:
        pixels = drawn_radiograph(1, 1)
        assert np.array_equal(probes.invert(probes.invert(pixels)), pixels)

    def test_a_restored_aspect_is_a_band_of_5_to_7(self) -> None:
        framed = probes.aspect_restored(flat(200))
        rows = np.flatnonzero(framed.any(axis=1))
        assert (len(rows), rows[0]) == (160, 32)
        assert framed[rows].min() == 200

    def test_brighter_and_darker_shift_by_40(self) -> None:
        for name, value in (("brighter", 140), ("darker", 60)):
            assert (BY_NAME[name].apply(Radiograph(flat(100), "x")).pixels == value).all()


class TestRun:
    def test_the_first_is_the_untouched_picture_and_changes_are_differences_from_it(
        self, mean_reader: Callable[..., PneumoniaClassifier]
    ) -> None:
        picture = Radiograph(flat(102), "x")
        results = probes.run(
            mean_reader(0, SIDE, 0, SIDE),
            picture,
            [BY_NAME["brighter"], BY_NAME["inverted"], BY_NAME["borders blacked"]],
        )
        assert [entry.probe.name for entry in results] == [
            "original",
            "brighter",
            "inverted",
            "borders blacked",
        ]
        expected = [102 / 255, 142 / 255, 153 / 255, 102 / 255 * 170**2 / SIDE**2]
        assert [entry.probability for entry in results] == pytest.approx(expected, abs=1e-5)
        assert [entry.change for entry in results] == pytest.approx(
            [value - expected[0] for value in expected], abs=1e-5
        )

    def test_hiding_the_lungs_moves_a_network_that_reads_a_lung_to_the_mean_of_the_rest(
        self, mean_reader: Callable[..., PneumoniaClassifier], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mask = two_boxes()
        monkeypatch.setattr(lungs, "mask_of", lambda found, size: mask)
        picture = Radiograph(np.where(mask, 51, 204).astype(np.uint8), "x")
        inside = {
            entry.probe.name: entry.probability
            for entry in probes.run(mean_reader(90, 130, 55, 75), picture)
        }
        beside = {
            entry.probe.name: entry.probability
            for entry in probes.run(mean_reader(0, 20, 0, SIDE), picture)
        }
        assert inside["original"] == pytest.approx(51 / 255, abs=1e-5)
        assert inside["lungs hidden"] == pytest.approx(204 / 255, abs=1e-5)
        assert inside["lungs only"] == pytest.approx(51 / 255, abs=1e-5)
        assert beside["original"] == beside["lungs hidden"] == pytest.approx(204 / 255, abs=1e-5)
        assert beside["lungs only"] == pytest.approx(51 / 255, abs=1e-5)

    def test_the_untouched_answer_is_that_of_predict(
        self, models_folder: Path, drawn_radiograph: Callable[..., np.ndarray]
    ) -> None:
        classifier = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
        picture = Radiograph(drawn_radiograph(2, 1, (300, 400)), "x")
        first = probes.run(classifier, picture, PROBES[:1])[0]
        assert first.probability == pytest.approx(classifier.predict(picture).probability, abs=1e-6)

    def test_one_pass_for_all_probes(
        self, mean_reader: Callable[..., PneumoniaClassifier], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        classifier = mean_reader(0, SIDE, 0, SIDE)
        asked: list[int] = []
        ask = classifier.probabilities
        monkeypatch.setattr(
            classifier, "probabilities", lambda images: asked.append(len(images)) or ask(images)
        )
        probes.run(classifier, Radiograph(flat(10), "x"))
        assert asked == [len(PROBES) + 1]

    def test_a_picture_without_lungs_is_noted_where_it_matters(
        self, mean_reader: Callable[..., PneumoniaClassifier]
    ) -> None:
        results = probes.run(mean_reader(0, SIDE, 0, SIDE), Radiograph(flat(120), "x"))
        assert {entry.probe.name for entry in results if entry.note} == {
            "lungs hidden",
            "lungs only",
        }


class TestOcclusion:
    def test_the_map_peaks_where_the_network_looks(
        self, mean_reader: Callable[..., PneumoniaClassifier]
    ) -> None:
        pixels = flat(0)
        pixels[96:128, 64:96] = 255
        falls = probes.occlusion(
            mean_reader(96, 128, 64, 96), Radiograph(pixels, "x"), window=32, stride=32
        )
        assert falls.shape == (7, 7) and falls.dtype == np.float32
        assert np.unravel_index(falls.argmax(), falls.shape) == (3, 2)
        # The patch is a 49th of the picture, so the grey that covers it is 255 / 49, rounded to 5.
        assert falls[3, 2] == pytest.approx(1 - 5 / 255, abs=1e-5)
        others = np.delete(falls.ravel(), 3 * 7 + 2)
        assert np.abs(others).max() == pytest.approx(0, abs=1e-6)

    def test_what_speaks_against_pneumonia_is_negative(
        self, mean_reader: Callable[..., PneumoniaClassifier]
    ) -> None:
        pixels = flat(255)
        pixels[:32, :32] = 0
        falls = probes.occlusion(
            mean_reader(0, 32, 0, 32), Radiograph(pixels, "x"), window=32, stride=32
        )
        assert falls[0, 0] == pytest.approx(-250 / 255, abs=1e-5)

    def test_the_last_patches_lie_at_the_edge_and_progress_is_told(
        self, mean_reader: Callable[..., PneumoniaClassifier]
    ) -> None:
        told: list[tuple[int, int]] = []
        pixels = flat(0)
        pixels[-4:, -4:] = 255
        falls = probes.occlusion(
            mean_reader(220, 224, 220, 224),
            Radiograph(pixels, "x"),
            window=50,
            stride=50,
            progress=lambda *at: told.append(at),
        )
        # Starts at 0, 50, 100, 150 and 174.
        assert falls.shape == (5, 5)
        assert (
            falls[4, 4] == pytest.approx(1, abs=1e-5)
            and np.count_nonzero(np.abs(falls) > 1e-6) == 1
        )
        assert told == [(25, 25)]

    def test_patches_go_through_in_batches(
        self, mean_reader: Callable[..., PneumoniaClassifier]
    ) -> None:
        told: list[tuple[int, int]] = []
        probes.occlusion(
            mean_reader(0, 32, 0, 32),
            Radiograph(flat(9), "x"),
            progress=lambda *at: told.append(at),
        )
        assert told == [(32, 81), (64, 81), (81, 81)]

    @pytest.mark.parametrize(("window", "stride"), [(0, 1), (225, 5), (32, 33), (32, 0)])
    def test_windows_that_leave_gaps_are_refused(
        self, mean_reader: Callable[..., PneumoniaClassifier], window: int, stride: int
    ) -> None:
        with pytest.raises(ValueError, match="stride <= window"):
            probes.occlusion(
                mean_reader(0, 32, 0, 32), Radiograph(flat(9), "x"), window=window, stride=stride
            )


@pytest.mark.parametrize("reach", [1, 8])
def test_a_grown_mask_is_what_the_filter_of_pillow_gives(reach: int) -> None:
    mask = np.random.default_rng(reach).random((60, 45)) > 0.98
    image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    expected = np.asarray(image.filter(ImageFilter.MaxFilter(2 * reach + 1))) > 0
    grown = probes._grow_mask(probes._grow_mask(mask, reach, 0), reach, 1)
    np.testing.assert_array_equal(grown, expected)
