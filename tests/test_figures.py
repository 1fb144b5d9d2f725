from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pneumonia import figures


def test_a_map_takes_its_colours_from_the_table():
    image = figures.apply_colours(np.array([[0.0, 1.0], [-3.0, 0.5]]), "gray")
    assert image.mode == "RGB" and image.size == (2, 2)
    assert np.asarray(image)[..., 0].tolist() == [[0, 255], [0, 128]]


def test_the_standard_colours_grow_brighter():
    luma = np.asarray(figures.apply_colours(np.linspace(0, 1, 256)[np.newaxis]).convert("L"), int)[
        0
    ]
    assert luma[0] < 5 and luma[-1] > 240 and (np.diff(luma) >= -1).all()


def test_small_maps_are_repeated_not_blurred():
    small = Image.fromarray(np.array([[0, 255]], np.uint8))
    large = figures.enlarge(small, 5)
    assert large.size == (6, 3)
    assert np.asarray(large).tolist() == [[0, 0, 0, 255, 255, 255]] * 3
    assert figures.enlarge(Image.new("L", (300, 200)), 192).size == (300, 200)


def test_reduced_keeps_the_aspect_and_never_enlarges():
    assert figures.shrink(Image.new("L", (2000, 1000)), 500).size == (500, 250)
    assert figures.shrink(Image.new("L", (20, 10)), 500).size == (20, 10)


def test_a_pair_stands_left_and_right_of_its_gap():
    joined = np.asarray(
        figures.pair(Image.new("RGB", (4, 2), "red"), Image.new("RGB", (4, 2), "blue"))
    )
    assert joined.shape == (2, 8 + figures.GAP, 3)
    assert joined[0, 3].tolist() == [255, 0, 0] and joined[0, -4].tolist() == [0, 0, 255]
    assert joined[0, 4].tolist() == list(figures.GAP_COLOUR)


def test_a_data_address_holds_the_picture():
    kind, data = figures.data_uri(Image.new("RGB", (3, 2), "red")).split(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (3, 2)
    assert figures.data_uri(Image.new("L", (3, 2)), "JPEG").startswith("data:image/jpeg;base64,")


def test_wrong_input_says_what_was_expected():
    with pytest.raises(ValueError, match=r"one map \(h, w\), got \(2, 2, 3\)"):
        figures.apply_colours(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="no colour map 'rainbowz'"):
        figures.apply_colours(np.zeros((2, 2)), "rainbowz")
    with pytest.raises(ValueError, match="one height, got 2 and 3"):
        figures.pair(Image.new("L", (2, 2)), Image.new("L", (2, 3)))


def test_a_palette_shows_the_same_colours_in_fewer_bytes():
    values = np.random.default_rng(0).random((64, 64))
    indexed, coloured = figures.apply_palette(values), figures.apply_colours(values)
    assert indexed.mode == "P"
    np.testing.assert_array_equal(np.asarray(indexed.convert("RGB")), np.asarray(coloured))
    assert len(figures.data_uri(indexed)) < len(figures.data_uri(coloured)) / 2
