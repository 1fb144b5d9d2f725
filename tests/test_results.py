from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from page import results, roc
from page.served import ASSETS, Models
from pneumonia import evidence
from pneumonia.model_spec import OperatingPoint

# Two healthy at .1 and .6, two ill at .4 and .9.
LABELS, PROBABILITIES = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])


def test_a_curve_counted_by_hand():
    curve = roc.curve(LABELS, PROBABILITIES)
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.6, 0.4, 0.1]
    assert curve.missed.tolist() == [2, 1, 1, 0, 0] and curve.alarms.tolist() == [
        0,
        0,
        1,
        1,
        2,
    ]
    # Of the four pairs of a healthy and an ill child, three are in the right order.
    assert curve.area == 0.75
    assert roc.curve(LABELS, PROBABILITIES, [0.5, 0.9]).thresholds.tolist() == [
        np.inf,
        0.9,
        0.6,
        0.5,
        0.4,
        0.1,
    ]


def test_ties_count_half_and_one_class_makes_no_curve():
    assert roc.curve(LABELS, np.full(4, 0.3)).area == 0.5
    with pytest.raises(ValueError, match="got 0 X-rays with pneumonia and 2 without"):
        roc.curve(np.zeros(2), np.zeros(2))


def test_the_drawing_stands_at_the_threshold_in_use_and_names_its_points():
    curve = roc.curve(LABELS, PROBABILITIES, [0.5])
    text = roc.drawing(
        {"a": curve},
        {"a": "A <b>"},
        "a",
        [
            ("cautious", OperatingPoint("recall-1.00", 0.4, 1.0)),
            ("set", OperatingPoint("default", 0.5)),
        ],
        0.5,
    )
    assert "At the threshold 50.0%: 1 of 2 pneumonias missed (recall 50.0%)" in text
    assert "set (in use): At the threshold 50.0%" in text
    assert "cautious: At the threshold 40.0%: 0 of 2 pneumonias missed" in text
    assert "<b>" not in text and "{" not in text and "$" not in text
    steps = json.loads(re.search(r"data-steps='([^']*)'", text)[1])
    assert steps == [[None, 2, 0], [0.9, 1, 0], [0.6, 1, 1], [0.5, 1, 1], [0.4, 0, 1], [0.1, 0, 2]]
    assert f"value='{steps.index([0.5, 1, 1])}'" in text


@pytest.fixture
def models(models_folder, tmp_path):
    """The tiny bundles, the baseline's with a table of test predictions."""
    folder = tmp_path / "models"
    shutil.copytree(models_folder, folder)
    rows = "".join(
        f"test/{place}.jpeg,{label},{value}\n"
        for place, (label, value) in enumerate(zip(LABELS, PROBABILITIES, strict=True))
    )
    (folder / "baseline" / results.PREDICTIONS).write_text(f"file,label,probability\n{rows}")
    return Models(folder)


def test_only_models_with_a_table_of_predictions_have_a_curve(models):
    assert "AUC 0.750" in results.walk(models, "baseline")
    assert "No table of test predictions" in results.walk(models, "xception")


def test_the_table_has_every_model_at_the_chosen_setting_and_the_notebooks_claims(models):
    text = results.render_models(models)
    for title in ("Baseline CNN", "Augmented CNN", "Xception"):
        assert text.count(f">{title} (") == 1
    assert all(f">{claim}<" in text for claim in ("72%", "85%", "75%"))
    # The baseline's table of predictions is counted anew; of the others only what was measured.
    assert "1 of 2<br>" in text and text.count("10 of 100<br>") == text.count("10 of 50<br>") == 2
    strict = results.render_models(models, "recall-0.98")
    assert "0 of 2<br>" in strict and strict.count("not measured") == 6


def test_stress_is_shown_of_the_weights_that_were_measured_and_of_no_others(models):
    folder = models.folder / "baseline"
    figure = {"value": 0.8, "low": 0.7, "high": 0.9, "interval": "bootstrap"}
    spec = json.loads((folder / "model_spec.json").read_text())
    written = {
        "variant": "baseline",
        "weights_sha256": spec["weights_sha256"],
        "threshold": 0.5,
        "limit": None,
        "originals": {"images": 0},
        "images": {"test": 624},
        "conditions": [
            {"name": "original", "title": "as they are", "kind": ""},
            {"name": "hidden", "title": "lungs <hidden>", "kind": "lungs"},
        ],
        "figures": {
            "test": {"original": {"auc": figure}, "hidden": {"auc": figure | {"value": 0.612}}}
        },
    }
    (folder / evidence.ROBUSTNESS).write_text(json.dumps(written))
    text = results.robustness(models, "baseline")
    assert (
        "as they are" in text
        and "lungs &lt;hidden&gt;" in text
        and "0.612" in text
        and "624 test X-rays" in " ".join(text.split())
    )
    (folder / evidence.ROBUSTNESS).write_text(json.dumps(written | {"weights_sha256": "0" * 64}))
    assert results.robustness(models, "baseline") == "" == results.robustness(models, "xception")


def test_what_others_published_is_read_from_its_table():
    text = results.render_published(ASSETS / "results")
    assert (
        "Kermany" in text
        and "not reported" in text
        and "<a href='https://doi.org/10.1016/j.cell.2018.02.010'" in text
    )
    assert results.render_published(ASSETS / "results" / "none") == ""


def test_the_original_recipes_stand_behind_a_disclosure_in_the_catalogues_order(
    models, monkeypatch, tmp_path
):
    for place, name in enumerate(
        ("augmented-original", "baseline-original", "baseline-original-150")
    ):
        folder = tmp_path / "results" / name
        shutil.copytree(models.folder / name.split("-")[0], folder)
        spec = json.loads((folder / "model_spec.json").read_text())
        spec["recipe"] |= {"epochs": 150 if "150" in name else 40}
        spec["weights_sha256"] = str(place) * 64
        (folder / "model_spec.json").write_text(json.dumps(spec))
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    text = results.originals(models)
    titles = re.findall(r"<th scope='row'>([^<]*)</th>", text)
    assert titles == [
        "Baseline CNN, 40 epochs",
        "Baseline CNN, 150 epochs",
        "Augmented CNN, 40 epochs",
    ]
    monkeypatch.setattr(results, "RESULTS", tmp_path / "none")
    assert results.originals(models) == ""
