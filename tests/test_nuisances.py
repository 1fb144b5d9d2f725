"""How often images are drawn: nuisances counted by hand, weights that part them from the class, and
epochs that keep to the weights.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from train.augmentation import framing, nuisances


def test_nuisances_are_what_they_say():
    image = np.full((100, 100), 100, np.uint8)
    image[:6], image[-6:] = 0, 200
    fine, middle, mean, spread, black, top, bottom, left, right = nuisances.nuisances(
        image[np.newaxis]
    )[0]
    assert mean == pytest.approx((6 * 0 + 6 * 200 + 88 * 100) / 100)
    assert spread == pytest.approx(np.sqrt((6 * 100**2 + 6 * 100**2) / 100))
    assert (black, top, bottom) == pytest.approx((0.06, 0, 200))
    assert left == right == pytest.approx(mean)
    flat = nuisances.nuisances(np.full((1, 100, 100), 100, np.uint8))[0]
    assert flat[0] == flat[1] == 0 < fine < middle


@pytest.fixture(scope="module")
def told():
    """Two classes of noise, of which the healthy are sharp nine times in ten and the ill once."""
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 4 > 0).astype(int)
    sharp = np.where(rng.random(400) < 0.9, labels == 0, labels == 1)
    strength = np.where(sharp, 20, 8) * np.exp(rng.normal(0, 0.3, 400))
    images = np.clip(120 + rng.normal(size=(400, 40, 40)) * strength[:, None, None], 0, 255).astype(
        np.uint8
    )
    return images, labels, sharp


def test_weights_part_the_class_from_what_tells_it(told):
    images, labels, sharp = told
    found, auc = nuisances.weights(images, labels)
    assert auc > 0.85
    assert found.max() <= nuisances.HIGHEST + 1e-6
    for label in (0, 1):
        assert found[labels == label].mean() == pytest.approx(1, abs=1e-3)
    before = [sharp[labels == label].mean() for label in (0, 1)]
    after = [np.average(sharp[labels == label], weights=found[labels == label]) for label in (0, 1)]
    assert abs(after[0] - after[1]) < abs(before[0] - before[1]) * 0.65
    assert roc_auc_score(
        labels, nuisances.nuisances(images)[:, 0], sample_weight=found
    ) > roc_auc_score(labels, nuisances.nuisances(images)[:, 0])


def test_without_anything_to_tell_all_weigh_about_the_same(told):
    images, labels, _ = told
    found, auc = nuisances.weights(images, np.random.default_rng(1).permutation(labels))
    assert 0.35 < auc < 0.65
    assert np.percentile(found, 95) < 1.6


def test_an_epoch_keeps_to_the_weights():
    found = np.array([0.5, 2.0, 1.0, 0.25, 1.25, 1.0])
    order = nuisances.draw_positions(found, np.random.default_rng(3))
    assert len(order) == 6
    counts = np.bincount(order, minlength=6)
    assert all(
        np.floor(weight) <= count <= np.ceil(weight)
        for weight, count in zip(found, counts, strict=True)
    )
    # Over many epochs each comes as often as it weighs.
    many = np.mean(
        [
            np.bincount(nuisances.draw_positions(found, np.random.default_rng(seed)), minlength=6)
            for seed in range(2000)
        ],
        axis=0,
    )
    np.testing.assert_allclose(many, found, atol=0.05)
    assert nuisances.draw_positions(found, np.random.default_rng(3)).tolist() == order.tolist()


def test_an_audit_names_the_class_that_has_more(told):
    images, labels, _ = told
    found = nuisances.audit_images(images, labels)
    one = found["single"]["fine detail"]
    assert one["medians"]["NORMAL"] > one["medians"]["PNEUMONIA"] and one["auc"] < 0.2
    everything = np.hstack([nuisances.nuisances(images), framing.lung_frames(images)])
    assert found["together"] == pytest.approx(
        roc_auc_score(labels, nuisances.cross_predict(everything, labels)), abs=1e-3
    )
    assert [*found["single"]] == [*nuisances.NUISANCES, *framing.FRAMING]
    with pytest.raises(ValueError, match="needs as many images of each class, got 2"):
        nuisances.cross_predict(nuisances.nuisances(images[:6]), np.array([0, 0, 1, 1, 1, 1]))
