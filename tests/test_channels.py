from __future__ import annotations

import numpy as np
import pytest

from pneumonia import channels


def test_a_map_is_told_from_its_negative_and_from_its_edges():
    picture = np.zeros((8, 8), np.uint8)
    picture[:, 4:] = 100
    edges = np.hypot(*np.gradient(picture.astype(float)))
    maps = np.stack([picture, 100.0 - picture, edges, np.full((8, 8), 3.0)], axis=-1)[None]
    like = channels.likeness(maps, picture[None])
    assert like.picture[0] == pytest.approx([1, -1, 0, 0])
    assert like.edges[0] == pytest.approx([0, 0, 1, 0])
    assert like.brightness[0, [0, 3]] == pytest.approx([50, 3])
    kinds = channels.kinds(like.picture.mean(axis=0), like.edges.mean(axis=0))
    assert kinds.tolist() == ["plain", "inverted", "edges", "other"]


def test_contrast_is_the_spread_of_a_stretched_map_as_a_multiple_of_the_x_rays():
    # Half black, half white: the most there is; then one white cell of four.
    picture = np.array([[0, 200], [0, 200]], np.uint8)
    maps = np.stack([[[0, 7.0], [0, 7.0]], [[0, 0], [0, 1.0]]], axis=-1)[None]
    like = channels.likeness(maps, picture[None])
    assert like.contrast[0] == pytest.approx([1, np.std([0, 0, 0, 1]) / 0.5])


def test_larger_pictures_are_reduced_to_the_maps():
    picture = np.kron(np.array([[10, 20], [30, 40]]), np.ones((5, 5))).astype(np.uint8)
    maps = np.array([[1.0, 2], [3, 4]])[None, ..., None]
    assert channels.likeness(maps, picture[None]).picture == pytest.approx(1)
    with pytest.raises(ValueError, match="Expected maps"):
        channels.likeness(maps, picture)
