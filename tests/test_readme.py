"""What the README prints for the app's API runs as printed, and the figures within its sentences
are those of the bundles.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_app import serve

from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import read_predictions, wilson

CHECKOUT = Path(__file__).resolve().parents[1]


def test_the_calls_of_the_readme_work_as_printed(models_folder, tmp_path):
    code = next(
        block
        for block in re.findall(
            r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL
        )
        if "gradio_client" in block
    )
    assert set(re.findall(r'api_name="(/\w+)"', code)) == {
        "/predict",
        "/compare",
        "/explain",
        "/activations",
        "/batch",
    }
    with pytest.MonkeyPatch.context() as patch:
        page = serve(models_folder, tmp_path, patch)
        try:
            command = [sys.executable, "-c", code.replace("http://127.0.0.1:7860", page.local_url)]
            run = subprocess.run(
                command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False
            )
        finally:
            page.close()
    assert run.returncode == 0, run.stderr
    assert "PNEUMONIA" in run.stdout or "NORMAL" in run.stdout
    assert "file,answer,probability_of_pneumonia" in run.stdout


def test_the_lines_for_python_work_as_printed() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    code = "\n".join(block for block in blocks if "gradio_client" not in block)
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    usual, other = run.stdout.splitlines()
    assert "label='PNEUMONIA'" in usual and "warnings=()" in usual
    assert re.findall(r"threshold=([\d.]+)", usual) != re.findall(r"threshold=([\d.]+)", other)


def figures(file: str, *keys: str) -> Any:
    """What stands under ``keys`` in a file of evidence."""
    found = json.loads((CHECKOUT / "assets" / file).read_text())
    for key in keys:
        found = found[key]
    return found


def answered(variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and calibrated probabilities of the test folder, ``(N,)`` each."""
    _, labels, probabilities = read_predictions(
        CHECKOUT / "assets" / "models" / variant / "predictions_test.csv"
    )
    return labels, probabilities


def test_what_is_said_beside_what_others_published_is_what_the_tables_say() -> None:
    text = " ".join((CHECKOUT / "README.md").read_text().split())
    with (CHECKOUT / "assets" / "results" / "published.csv").open(newline="") as stream:
        theirs = [float(row["auc"]) for row in csv.DictReader(stream) if row["auc"]]
    ours = [
        figures(f"models/{variant}/metrics.json", "test", "figures", "auc", "value")
        for variant in CATALOGUE
    ]
    ends = [
        f"{value:.3f}".lstrip("0")
        for values in (ours, theirs)
        for value in (min(values), max(values))
    ]
    assert "our AUCs, {} to {}, lie within theirs, {} to {}.".format(*ends) in text
    assert min(theirs) <= min(ours) and max(ours) <= max(theirs)
    shares = {}
    for variant in CATALOGUE:
        labels, probabilities = answered(variant)
        points = {
            point["name"]: point["threshold"]
            for point in figures(f"models/{variant}/model_spec.json", "operating_points")
        }
        shares[variant] = (
            f"{np.mean((probabilities >= points['recall-0.95']) == (labels == 1)):.0%}"
        )
    assert (
        f"they are {shares['baseline']} (baseline), {shares['augmented']} (augmented) and"
        f" {shares['xception']} (Xception)" in text
    )
    labels, probabilities = answered("xception")
    assert f"would be right for {labels.mean():.1%}" in text
    band = (probabilities >= 0.8) & (probabilities < 0.95)
    count, ill = int(band.sum()), int(labels[band].sum())
    least, most = wilson(ill, count)
    assert (
        f"of the {count} images to which Xception gives 80 to 95%, {ill / count:.0%} were PNEUMONIA"
        f" ({ill}; 95% interval {least:.0%} to {most:.0%})" in text
    )
    known = {
        variant: (
            f"{figures(f'models/{variant}/metrics.json', 'validation', 'figures', 'accuracy', 'value'):.1%}"
        )
        for variant in CATALOGUE
    }
    assert (
        f"the default is right for {known['baseline']} (baseline), {known['augmented']} (augmented)"
        f" and {known['xception']} (Xception);" in text
    )
    copies = figures("models/xception/robustness.json", "originals", "other_copies")
    assert (
        f"moves by {copies['mean']:.3f} on average and {copies['max']:.3f} at most, and"
        f" {copies['change']} of its 16 answers change" in text
    )


def test_the_figures_within_sentences_are_those_of_the_bundles() -> None:
    text = " ".join((CHECKOUT / "README.md").read_text().split())

    def called_ill(variant: str, split: str) -> str:
        return f"{1 - figures(f'models/{variant}/metrics.json', split, 'figures', 'specificity', 'value'):.0%}"

    def cleared(variant: str, probe: str) -> str:
        return f"{figures(f'models/{variant}/robustness.json', 'figures', 'held-out', probe, 'specificity', 'value'):.0%}"

    def seen(variant: str, probe: str, figure: str = "specificity") -> float:
        return figures(
            f"models/{variant}/robustness.json", "figures", "test", probe, figure, "value"
        )

    lungs = {
        variant: f"{seen(variant, 'lungs only', 'auc'):.2f}".lstrip("0") for variant in CATALOGUE
    }
    assert all(seen(variant, "lungs only") == 0 for variant in CATALOGUE), (
        "README: all of the healthy are called ill"
    )
    blacked = {variant: f"{seen(variant, 'borders blacked'):.0%}" for variant in CATALOGUE}
    lettered = {
        variant: (f"{seen(variant, 'letter'):.0%}", f"{seen(variant, 'original'):.0%}")
        for variant in CATALOGUE
    }
    for variant in ("baseline", "augmented"):
        chance = figures(
            f"models/{variant}/robustness.json", "figures", "test", "lungs only", "auc"
        )
        assert chance["low"] < 0.5 < chance["high"], "README: no better than chance"
    price = {
        variant: (called_ill(variant, "test"), called_ill(variant, "validation"))
        for variant in ("baseline", "augmented", "xception")
    }
    seeds = {
        variant: [
            run["test"]["accuracy"] for run in figures(f"models/{variant}/seeds.json", "runs")
        ]
        for variant in ("baseline", "augmented")
    }
    bundled = {
        variant: figures(f"models/{variant}/metrics.json", "test", "figures", "accuracy", "value")
        for variant in seeds
    }
    assert bundled["baseline"] == min(seeds["baseline"]) and bundled["augmented"] == max(
        seeds["augmented"]
    ), "README: the lowest, the highest"
    alike = figures(
        "models/xception/metrics.json", "details", "were_it_like_the_others", "recall-0.98"
    )
    runs = figures("models/xception/seeds.json", "runs")
    two = [run["test"]["accuracy"] for run in runs]
    assert len(two) == 2 and next(run["test"]["accuracy"] for run in runs if run["chosen"]) == min(
        two
    ), "README: of two the lower"
    altered = {
        probe: found["recall"]["value"]
        for probe, found in figures("models/xception/robustness.json", "figures", "test").items()
    }
    assert min(altered.values()) >= 0.97, (
        "README: Xception's recall on the test folder stays at 97% or more under every change"
    )
    missed = 1 - figures(
        "results/augmented-seed/metrics.json", "test", "figures", "recall", "value"
    )
    before = figures("results/baseline-improved-2/robustness.json", "figures")
    before_cleared = {
        split: {
            probe: f"{found['specificity']['value']:.0%}" for probe, found in before[split].items()
        }
        for split in before
    }
    assert figures("models/baseline/metrics.json", "test", "figures", "recall", "value") == 1, (
        "README: it finds all of the ill"
    )
    for sentence in (
        (
            f"called PNEUMONIA were {price['baseline'][0]} of the healthy instead of"
            f" {price['baseline'][1]} (baseline), {price['augmented'][0]} instead of"
            f" {price['augmented'][1]} (augmented) and {price['xception'][0]} instead of"
            f" {price['xception'][1]} (Xception)"
        ),
        (
            f"with the R they clear {cleared('baseline', 'letter')} instead of"
            f" {cleared('baseline', 'original')} (baseline) and {cleared('augmented', 'letter')}"
            f" instead of {cleared('augmented', 'original')} (augmented) of the held-out healthy"
        ),
        (
            f"with borders blacked {cleared('baseline', 'borders blacked')} (baseline;"
            f" {before_cleared['held-out']['borders blacked']} the round before),"
            f" {cleared('augmented', 'borders blacked')} (augmented) and"
            f" {cleared('xception', 'borders blacked')} (Xception)"
        ),
        (
            f"the three seeds ranges from {min(seeds['baseline']):.0%} to"
            f" {max(seeds['baseline']):.0%} for the baseline network and from"
            f" {min(seeds['augmented']):.0%} to {max(seeds['augmented']):.0%} for the augmented one"
        ),
        (
            f"the AUC there is {lungs['baseline']} (baseline) and {lungs['augmented']} (augmented),"
            f" both no better than chance, and {lungs['xception']} (Xception)"
        ),
        (
            f"they clear {lettered['baseline'][0]} with the R instead of {lettered['baseline'][1]}"
            f" (baseline), {lettered['augmented'][0]} instead of {lettered['augmented'][1]}"
            f" (augmented) and {lettered['xception'][0]} instead of {lettered['xception'][1]}"
            f" (Xception); with borders blacked {blacked['baseline']}, {blacked['augmented']} and"
            f" {blacked['xception']}."
        ),
        (
            f"than the round before, {lettered['baseline'][1]} instead of"
            f" {before_cleared['test']['original']}; it finds all of the ill instead of"
            f" {before['test']['original']['recall']['value']:.1%}."
        ),
        (
            "better on it than the others on theirs, the confidence would be"
            f" {alike['confidence_if_alike']:.0%} instead of {alike['confidence']:.0%}"
        ),
        (
            f"of Xception's two the lower ({min(two):.0%} and {max(two):.0%} at thresholds of one"
            " fold)"
        ),
        f"misses {missed:.0%} of the ill",
    ):
        assert sentence in text, sentence
