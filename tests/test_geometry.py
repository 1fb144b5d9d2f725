"""Random geometry: against Keras's own generator, on points worked by hand, and in its
distribution.
"""

from __future__ import annotations

import numpy as np
import pytest
from keras.src.legacy.preprocessing.image import apply_affine_transform

from train.augmentation.geometry import Geometry, affine, draw, warp
from train.recipes.catalogue import get

NO_CHANGE = {
    "rotation": 0.0,
    "shift_x": 0.0,
    "shift_y": 0.0,
    "shear": 0.0,
    "zoom_x": 1.0,
    "zoom_y": 1.0,
}


def matrix(size: tuple[int, int], **changes: float) -> np.ndarray:
    return affine(
        **{name: np.array([value]) for name, value in (NO_CHANGE | changes).items()}, size=size
    )


def warp_image(image: np.ndarray, **changes: float) -> np.ndarray:
    return warp(image[np.newaxis], matrix(image.shape, **changes))[0]


COUNTED = np.arange(25, dtype=np.float32).reshape(5, 5)


# --- by hand
def test_no_change_is_the_identity():
    np.testing.assert_allclose(matrix((5, 7))[0], np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(warp_image(COUNTED), COUNTED)


def test_a_quarter_turn():
    # Output (x, y) is taken from (c - (y - c), c + (x - c)): the top left corner comes from the top
    # right one, so the content turns left.
    turned = warp_image(COUNTED, rotation=np.pi / 2)
    np.testing.assert_allclose(turned, np.rot90(COUNTED), atol=1e-4)
    assert turned[0, 0] == pytest.approx(4, abs=1e-4)


def test_a_shift_by_one_pixel_repeats_the_edge():
    left = warp_image(COUNTED, shift_x=1.0)
    np.testing.assert_array_equal(left[:, :4], COUNTED[:, 1:])
    np.testing.assert_array_equal(left[:, 4], COUNTED[:, 4])
    up = warp_image(COUNTED, shift_y=1.0)
    np.testing.assert_array_equal(up[:4], COUNTED[1:])
    np.testing.assert_array_equal(up[4], COUNTED[4])


def test_half_a_pixel_is_the_mean_of_two():
    np.testing.assert_allclose(
        warp_image(COUNTED, shift_x=0.5)[0, :4], [0.5, 1.5, 2.5, 3.5], atol=1e-5
    )


def test_zoom_below_1_magnifies_about_the_centre():
    # x = 0 lies 2 left of the centre; half of that is 1 left: column 1.
    zoomed = warp_image(COUNTED, zoom_x=0.5)
    np.testing.assert_allclose(zoomed[0], [1, 1.5, 2, 2.5, 3], atol=1e-5)


def test_shear_moves_rows_against_each_other():
    # sin(30 degrees) = 0.5: two rows above the centre move one pixel; cos keeps sqrt(3)/2 of the
    # height.
    x, y, _ = matrix((5, 5), shear=np.pi / 6)[0] @ [2, 0, 1]
    assert (x, y) == (pytest.approx(2 + 2 * 0.5), pytest.approx(2 - 2 * np.sqrt(3) / 2))


def test_an_oblong_image_turns_about_its_own_centre():
    # Height 3, width 5: the centre is (2, 1).
    for angle in (0.3, 1.0, np.pi):
        np.testing.assert_allclose(
            matrix((3, 5), rotation=angle)[0] @ [2, 1, 1], [2, 1, 1], atol=1e-12
        )


@pytest.mark.parametrize(
    ("flip", "expected"), [("vertical_flip", COUNTED[::-1]), ("horizontal_flip", COUNTED[:, ::-1])]
)
def test_flips_happen_to_half_of_the_images(flip, expected):
    matrices = draw(Geometry(**{flip: True}), 4000, (5, 5), np.random.default_rng(0))
    flipped = np.abs(matrices - np.eye(3)).max(axis=(1, 2)) > 0
    # Four standard deviations of a fair coin thrown 4000 times are 126.
    assert abs(int(flipped.sum()) - 2000) < 126
    image = warp(COUNTED[np.newaxis], matrices[flipped][:1])[0]
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_what_lies_outside_is_the_nearest_edge_and_nothing_new_appears():
    image = np.full((1, 9, 9), 40, np.float32)
    image[0, :, 0], image[0, :, -1] = 90, 140
    far = warp(image, matrix((9, 9), shift_x=-100.0))
    assert set(np.unique(far)) == {90}
    moved = warp(image, matrix((9, 9), rotation=0.4, shift_x=2.5, zoom_y=1.1))
    assert moved.min() >= 40
    assert moved.max() <= 140


# --- against the generator
# Keras's own old code asks for SciPy by an old name.
@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize(
    "changes",
    [
        {"rotation": 30.0},
        {"rotation": -17.0, "shift_x": 3.0, "shift_y": -7.5},
        {"shift_x": 9.6, "shift_y": 4.1},
        {"shear": 25.0},
        {"zoom_x": 0.9, "zoom_y": 1.1},
        {
            "rotation": 12.0,
            "shift_x": -5.0,
            "shift_y": 6.0,
            "shear": 10.0,
            "zoom_x": 1.08,
            "zoom_y": 0.93,
        },
    ],
    ids=str,
)
def test_the_same_draw_gives_the_generators_image(changes, drawn_radiograph):
    image = drawn_radiograph(5, 1, (64, 64)).astype(np.float32)
    radians = {
        name: np.deg2rad(value) if name in ("rotation", "shear") else value
        for name, value in changes.items()
    }
    names = {
        "rotation": "theta",
        "shift_x": "tx",
        "shift_y": "ty",
        "shear": "shear",
        "zoom_x": "zx",
        "zoom_y": "zy",
    }
    keras_image = apply_affine_transform(
        image[..., np.newaxis],
        **{names[name]: value for name, value in changes.items()},
        row_axis=0,
        col_axis=1,
        channel_axis=2,
        fill_mode="nearest",
        order=1,
    )[..., 0]
    assert np.abs(keras_image - image).max() > 50, "the change must be one that can be seen"
    assert np.abs(warp_image(image, **radians) - keras_image).max() < 0.01


# --- the distribution
def assert_uniform(values: np.ndarray, limit: float) -> None:
    assert np.abs(values).max() <= limit * (1 + 1e-9)
    # The largest of n uniform draws leaves limit / n on average.
    assert np.abs(values).max() > 0.99 * limit
    # A uniform draw in ±limit has mean 0 and variance limit² / 3; five standard errors of each.
    count = len(values)
    assert abs(values.mean()) < 5 * limit / np.sqrt(3 * count)
    assert abs(values.var() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / count)


def test_each_draw_is_uniform_in_its_range():
    count, size, rng = 20_000, (64, 128), np.random.default_rng(1)
    turn = draw(Geometry(rotation=30), count, size, rng)
    assert_uniform(np.rad2deg(np.arctan2(turn[:, 1, 0], turn[:, 0, 0])), 30)
    move = draw(Geometry(shift=0.15), count, size, rng)
    assert_uniform(move[:, 0, 2], 0.15 * 128)
    assert_uniform(move[:, 1, 2], 0.15 * 64)
    assert abs(np.corrcoef(move[:, 0, 2], move[:, 1, 2])[0, 1]) < 0.04
    slant = draw(Geometry(shear=10), count, size, rng)
    assert_uniform(np.rad2deg(np.arcsin(-slant[:, 0, 1])), 10)
    zoom = draw(Geometry(zoom=0.1), count, size, rng)
    assert_uniform(zoom[:, 0, 0] - 1, 0.1)
    assert_uniform(zoom[:, 1, 1] - 1, 0.1)
    # The two axes zoom on their own, as in the generator.
    assert abs(np.corrcoef(zoom[:, 0, 0], zoom[:, 1, 1])[0, 1]) < 0.04


def test_the_recipes_shear_is_a_tenth_of_a_degree():
    geometry = get("augmented", "original").augmentation
    assert geometry is not None
    slant = draw(Geometry(shear=geometry.shear), 1000, (128, 128), np.random.default_rng(2))
    # sin(0.1 degrees) = 0.001745; were it radians, it would be 0.0998.
    assert np.abs(slant[:, 0, 1]).max() == pytest.approx(0.001745, rel=0.01)


def test_the_same_generator_state_draws_the_same():
    geometry = Geometry(
        rotation=30, shift=0.15, shear=0.1, zoom=0.1, vertical_flip=True, horizontal_flip=True
    )
    first, again, other = (
        draw(geometry, 8, (64, 64), np.random.default_rng(seed))
        for seed in ([42, 1, 0], [42, 1, 0], [42, 1, 1])
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert len({tuple(one.ravel()) for one in first}) == 8


def test_a_batch_is_warped_image_by_image(drawn_radiograph):
    images = np.stack([drawn_radiograph(seed, 0, (48, 48)) for seed in range(3)])
    matrices = draw(Geometry(rotation=20, shift=0.1), 3, (48, 48), np.random.default_rng(3))
    together = warp(images, matrices)
    assert together.dtype == np.float32
    for index in range(3):
        np.testing.assert_allclose(
            together[index],
            warp(images[index : index + 1], matrices[index : index + 1])[0],
            atol=1e-4,
        )
