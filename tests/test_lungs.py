"""Lung masks: on drawn chests whose lungs are known, and the fitting of the shape itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pneumonia import lungs, radiograph
from pneumonia.corruptions import border, brightness, contrast, crop
from pneumonia.lungs import Shape, lung_mask
from tools import lung_atlas as fitting
from tools.lung_atlas import dice, islands, pose_of

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


def chest(side: int = 192, dark: int = 60, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A drawn chest and its lungs: body on black, ribbed lungs, bright spine, heart and belly;
    ``shift`` moves it down. uint8 and bool ``(side, side)``.
    """
    y, x = np.mgrid[0:side, 0:side] / side
    y = y - shift
    away = np.abs(x - 0.5)
    body, heart = away < 0.42, ((x - 0.55) / 0.14) ** 2 + ((y - 0.58) / 0.2) ** 2 < 1
    # Wider from apex to base, with a domed floor.
    lung = (
        (away > 0.08) & (away < 0.14 + 0.23 * np.sqrt(np.clip((y - 0.14) / 0.5, 0, 1))) & (y > 0.14)
    )
    lung &= (y < 0.68 + np.maximum(0, away - 0.2) ** 2 * 4) & ~heart
    picture = (
        np.where(body, 150.0, 8.0)
        + 50 * (body & (away < 0.07))
        + 40 * (body & (y > 0.72))
        + 25 * heart
    )
    picture[lung] = dark + 12 * np.sin(y[lung] * 70)
    return np.clip(picture + np.random.default_rng(0).normal(0, 3, picture.shape), 0, 255).astype(
        np.uint8
    ), lung


class TestMask:
    def test_known_lungs_are_found(self) -> None:
        picture, lung = chest()
        assert lungs.fit(picture).found
        mask = lung_mask(picture)
        assert dice(mask, lung) > 0.7
        assert mask[lung].mean() > 0.9

    def test_a_lung_turned_white_is_still_covered(self) -> None:
        picture, lung = chest()
        white = picture.copy()
        white[lung & (np.arange(192) > 96)] = 150
        mask = lung_mask(white)
        half = lung[:, 96:]
        assert mask[:, 96:][half].mean() > 0.7
        # What a threshold would have found there is nothing.
        assert (white[:, 96:][half] < 100).mean() == 0

    def test_exposure_hardly_moves_it(self) -> None:
        picture, _ = chest()
        mask = lung_mask(picture)
        for altered in (
            brightness(picture, 40),
            contrast(picture, 0.5),
            (picture * 0.6).astype(np.uint8),
        ):
            assert dice(lung_mask(altered), mask) > 0.9

    def test_it_follows_the_picture(self) -> None:
        picture, _ = chest()
        middle = np.argwhere(lung_mask(picture)).mean(axis=0)
        lower, _ = chest(shift=0.05)
        assert np.argwhere(lung_mask(lower)).mean(axis=0)[0] > middle[0] + 3
        small, large = (
            lung_mask(border(picture, 0.85)).mean(),
            lung_mask(crop(picture, 0.06, 0.06, 0.06, 0.06)).mean(),
        )
        assert small < lung_mask(picture).mean() < large

    @pytest.mark.parametrize("size", [(60, 60), (300, 200), (224, 224), (500, 900)])
    def test_any_size_keeps_its_size(self, size: tuple[int, int]) -> None:
        picture, _ = chest()
        whole = np.asarray(radiograph.Image.fromarray(picture).resize(size[::-1]))
        mask = lung_mask(whole)
        assert mask.shape == size and mask.dtype == bool
        assert 0.05 < mask.mean() < 0.5

    @pytest.mark.parametrize("value", [0, 128, 255])
    def test_a_blank_picture_gets_the_average_outline(self, value: int) -> None:
        blank = np.full((200, 200), value, np.uint8)
        found, shape = lungs.fit(blank), lungs.load()
        assert not found.found and abs(found.likeness) < 0.2
        assert np.array_equal(found.pose, shape.pose)
        assert 0.1 < lung_mask(blank).mean() < 0.4

    def test_an_inverted_chest_is_not_believed(self) -> None:
        assert not lungs.fit(255 - chest()[0]).found

    def test_two_fields_left_and_right_of_the_middle(self) -> None:
        for path in sorted(EXAMPLES.glob("*.jpeg")):
            mask = lung_mask(radiograph.read(path).pixels)
            left, right = mask[:, : mask.shape[1] // 2].mean(), mask[:, mask.shape[1] // 2 :].mean()
            assert 0.1 < mask.mean() < 0.5, path.name
            assert 0.5 < left / right < 2, path.name
            assert not mask[mask.shape[0] // 2, int(0.49 * mask.shape[1])], path.name

    def test_lungs_of_the_healthy_examples_are_darker_than_the_rest_of_the_chest(self) -> None:
        for path in sorted(EXAMPLES.glob("NORMAL*.jpeg")):
            pixels = radiograph.resize(radiograph.read(path), radiograph.COPY_SIZE)
            mask = lung_mask(pixels)
            assert pixels[mask].mean() < pixels[(pixels > 60) & ~mask].mean() - 15, path.name

    @pytest.mark.parametrize(
        "pixels", [np.zeros((5, 5, 3), np.uint8), np.zeros((50, 50), np.float32)]
    )
    def test_what_is_no_grey_picture_is_refused(self, pixels: np.ndarray) -> None:
        with pytest.raises(ValueError, match="uint8"):
            lung_mask(pixels)


class TestGeometry:
    def test_a_sampled_map_laid_back_is_the_map(self) -> None:
        pose = np.array([0.52, 0.47, np.log(0.3), np.log(0.25), 0.1])
        y, x = np.mgrid[0:96, 0:96] / 95
        picture = (np.sin(3 * x) + y)[np.newaxis].astype(np.float32)
        framed = lungs.sample(picture, pose, 64)[0]
        back = lungs.draw_map(framed, pose, 96)
        assert np.abs(back - picture[0])[40:56, 40:56].max() < 0.02

    def test_a_step_and_its_measure_undo_each_other(self) -> None:
        one, other = np.array([0.5, 0.5, -0.8, -0.9, 0.0]), np.array([0.56, 0.4, -0.7, -1.1, 0.2])
        assert lungs.move_pose(one, lungs.step_between(one, other)) == pytest.approx(other)
        # A shift of 0.06 is a tenth of a half-width of 0.6.
        assert lungs.step_between(
            np.array([0.5, 0.5, np.log(0.6), 0, 0]), np.array([0.56, 0.5, 0, 0, 0])
        )[0] == pytest.approx(0.1)

    def test_outside_the_picture_is_zero(self) -> None:
        far = np.array([3.0, 3.0, np.log(0.3), np.log(0.3), 0.0])
        assert not lungs.sample(np.ones((2, 96, 96), np.float32), far, 8).any()

    def test_channels_do_not_know_brightness_and_hardly_contrast(self) -> None:
        picture, _ = chest()
        dim = np.clip(picture, 0, 200)
        first, second = lungs.channels(dim), lungs.channels(dim + np.uint8(50))
        assert np.abs(first - second).max() < 0.01
        assert lungs.correlation(first[0], lungs.channels((dim * 0.5).astype(np.uint8))[0]) > 0.99

    def test_pose_of_a_box(self) -> None:
        mask = np.zeros((100, 200), bool)
        mask[20:60, 50:150] = True
        assert pose_of(mask) == pytest.approx([0.5, 0.4, np.log(0.25), np.log(0.2), 0])


class TestIslands:
    def test_dark_lungs_are_islands(self) -> None:
        picture, lung = chest()
        found = islands(picture)
        assert found is not None
        small = np.asarray(radiograph.Image.fromarray(lung).resize(found.shape))
        assert dice(found, small) > 0.85

    def test_a_white_lung_is_none(self) -> None:
        picture, lung = chest()
        picture[lung & (np.arange(192) > 96)] = 150
        assert islands(picture) is None

    def test_dice_by_hand(self) -> None:
        one, other = np.array([[True, True, False]]), np.array([[False, True, True]])
        assert dice(one, other) == 0.5
        assert dice(one & False, one & False) == 1


class TestFitting:
    @pytest.fixture(scope="class")
    @classmethod
    def own(cls) -> Shape:
        rng = np.random.default_rng(4)
        shifts = rng.uniform(-0.04, 0.04, 24)
        pictures = [
            chest(side=128, dark=int(rng.integers(40, 90)), shift=float(shift))[0]
            for shift in shifts
        ]
        pairs = [
            (picture, found) for picture in pictures if (found := islands(picture)) is not None
        ]
        assert len(pairs) > 20
        return fitting.learn([picture for picture, _ in pairs], [mask for _, mask in pairs])

    def test_a_shape_learned_from_drawings_finds_lungs_in_another(self, own: Shape) -> None:
        picture, lung = chest(shift=0.02)
        found = lungs.fit(picture, own)
        large = np.asarray(radiograph.Image.fromarray(found.distance).resize((192, 192))) > 0
        assert found.found and dice(large, lung) > 0.85

    def test_it_is_kept_in_a_file_as_it_is(self, own: Shape, tmp_path: Path) -> None:
        lungs.save(own, tmp_path / "own.h5", side="fitted", images=24)
        read = lungs.load(tmp_path / "own.h5")
        assert read.least_likeness == own.least_likeness
        for name in ("pose", "mean", "modes", "weights", "appearance"):
            assert getattr(read, name) == pytest.approx(getattr(own, name), rel=2e-3, abs=2e-3), (
                name
            )

    def test_the_packaged_shape_holds_sums_and_no_picture(self) -> None:
        shape = lungs.load()
        assert shape.mean.shape == (lungs.MAP_SIDE, lungs.MAP_SIDE)
        assert shape.modes.shape[1:] == shape.mean.shape
        assert shape.weights.shape[1:] == (3 * lungs.GRID**2 + 1, 5 + len(shape.modes))
        assert lungs.MODEL.stat().st_size < 300_000


@pytest.mark.data
def test_held_out_patients_have_lungs_where_threshold_finds_them(cxr_root: Path) -> None:
    paths = sorted((cxr_root / "train" / "NORMAL").glob("*.jpeg"))[::60]
    pairs = [
        (picture, found)
        for path in paths
        if (found := islands(picture := radiograph.read(path).pixels)) is not None
    ]
    assert len(pairs) >= 8
    agreement = [
        dice(np.asarray(radiograph.Image.fromarray(lung_mask(picture)).resize(found.shape)), found)
        for picture, found in pairs
    ]
    assert np.median(agreement) > 0.85


def test_a_mask_takes_less_than_200_milliseconds_of_the_processor(
    drawn_radiograph: Callable[..., np.ndarray],
) -> None:
    picture = drawn_radiograph(1, 1, (1200, 1600))
    lung_mask(picture)
    taken = []
    for _ in range(5):
        started = time.process_time()
        lung_mask(picture)
        taken.append(time.process_time() - started)
    assert min(taken) < 2
