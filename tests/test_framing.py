"""Framing: the outline's shape is measured as it lies in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia import lungs
from pneumonia.corruptions import aspect
from train.augmentation import framing


def test_frames_are_the_outlines_shape_and_size(drawn_radiograph, tmp_path, monkeypatch):
    picture = drawn_radiograph(3, 0, (120, 120))
    pictures = np.stack([picture, aspect(picture, 1.2)])
    found = framing.lung_frames(pictures, cache=tmp_path)
    poses = [lungs.fit(image).pose for image in pictures]
    np.testing.assert_allclose(found[:, 0], [pose[2] - pose[3] for pose in poses])
    np.testing.assert_allclose(found[:, 1], [(pose[2] + pose[3]) / 2 for pose in poses])
    monkeypatch.setattr(
        lungs, "place", lambda image: pytest.fail("the second time nothing is fitted again")
    )
    assert np.array_equal(framing.lung_frames(pictures, cache=tmp_path), found)
