"""The mean of several runs' weights: by hand, as a run of its own, and refused where it would mean
nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pneumonia import PneumoniaClassifier, bundle
from pneumonia.architectures import baseline
from train import recipes, soup
from train.__main__ import main
from train.training import fit
from train.training.run_folder import RunError, history_of, run_facts

SHORT = replace(
    recipes.get("baseline", "improved"),
    teacher_weight=0.0,
    input_size=(48, 48),
    epochs=2,
    keep_epoch=2,
    batch_size=8,
    warmup=0.0,
    schedule="constant",
)


@pytest.fixture(scope="module")
def runs(tiny_scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        fit.fit(replace(SHORT, seed=seed), tiny_scan, folder / str(seed))
    return folder


def test_the_mean_is_that_of_each_weight():
    one, other = baseline((48, 48)), baseline((48, 48))
    one.set_weights([np.full_like(value, 1.0) for value in one.get_weights()])
    other.set_weights([np.full_like(value, 4.0) for value in other.get_weights()])
    assert all(np.all(value == 2.5) for value in soup.mean([one, other]).get_weights())


def test_a_soup_is_a_run_whose_bundle_says_whose_mean_it_is(
    runs, tiny_dataset, monkeypatch, tmp_path
):
    monkeypatch.setattr(recipes, "get", lambda variant, name: SHORT)
    assert (
        main(
            [
                "soup",
                str(runs / "1"),
                str(runs / "2"),
                "--data",
                str(tiny_dataset),
                "--out",
                str(tmp_path / "soup"),
            ]
        )
        == 0
    )
    made = PneumoniaClassifier.from_pretrained(tmp_path / "soup" / "bundle")
    assert made.spec.recipe["averaged"] == [1, 2]
    first, second = (fit.at_epoch(SHORT, runs / name, 2).get_weights() for name in ("1", "2"))
    for value, one, other in zip(made.model.get_weights(), first, second, strict=True):
        assert value == pytest.approx((one + other) / 2, abs=1e-3)
    rows = [history_of(folder) for folder in (runs / "1", runs / "2", tmp_path / "soup")]
    assert rows[2][1]["loss"] == pytest.approx((rows[0][1]["loss"] + rows[1][1]["loss"]) / 2)
    assert bundle.read_metrics(tmp_path / "soup" / "bundle")["test"].split == "test"


def test_what_has_no_mean_is_refused(runs, tmp_path):
    with pytest.raises(RunError, match="two runs or more, got 1"):
        soup.average(SHORT, [runs / "1"], tmp_path)
    with pytest.raises(RunError, match=r"of one seed: \[1, 1\]"):
        soup.average(SHORT, [runs / "1", runs / "1"], tmp_path)
    with pytest.raises(RunError, match="more differs than the seed"):
        soup.average(replace(SHORT, learning_rate=0.5), [runs / "1", runs / "2"], tmp_path)
    with pytest.raises(RunError, match=r"holds no run\.json"):
        soup.average(SHORT, [runs / "1", runs / "3"], tmp_path)
    assert not run_facts(runs / "1")["recipe"]["averaged"]
