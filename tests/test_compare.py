"""The comparison: from predictions that can be counted by hand to Markdown and a picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import BundleError, OperatingPoint, bundle
from pneumonia.evidence import read_published
from train.evaluation.metrics import measure
from train.reports import compare, tables

# Two healthy children with two X-rays each, two with bacterial and one with viral pneumonia.
NAMES = [
    *(f"test/NORMAL/IM-000{child}-000{number}.jpeg" for child in (1, 2) for number in (1, 2)),
    *(f"test/PNEUMONIA/person{child}_bacteria_{child}.jpeg" for child in (1, 2)),
    "test/PNEUMONIA/person3_virus_3.jpeg",
]
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])
# At .5 the older model has two false alarms, both of the first healthy child, and misses the virus;
# the newer one errs nowhere.
OLD, NEW = (
    np.array([0.7, 0.6, 0.2, 0.1, 0.9, 0.8, 0.3]),
    np.array([0.2, 0.3, 0.2, 0.1, 0.9, 0.8, 0.7]),
)
POINTS = (
    OperatingPoint("default", 0.5, 0.66),
    OperatingPoint("recall-0.66", 0.5, 0.66, (0.5, 0.75)),
    OperatingPoint("recall-0.95", 0.3, 0.95),
)


@pytest.fixture
def write(tmp_path: Path, make_spec) -> Callable[..., Path]:
    """Makes a folder with model spec, metrics and table under ``models`` or ``results``."""

    def make(
        place: str, variant: str, probabilities: np.ndarray, name: str, sha: str, epoch: int = 75
    ) -> Path:
        folder = tmp_path / place
        folder.mkdir(parents=True)
        recipe = {"name": name, "epoch": epoch, "keep_epoch": 75, "precision": "float32"}
        spec = make_spec(
            variant, (100, 100), recipe=recipe, weights_sha256=sha * 64, operating_points=POINTS
        )
        (folder / "model_spec.json").write_text(spec.to_json())
        test = measure(LABELS, probabilities, 0.5, "test", resamples=50)
        bundle.write_metrics(folder, {"test": test}, spec)
        rows = [
            f"{file},{label},{value}"
            for file, label, value in zip(NAMES, LABELS, probabilities, strict=True)
        ]
        (folder / "predictions_test.csv").write_text(
            "\n".join(["file,label,probability", *rows]) + "\n"
        )
        return folder

    return make


@pytest.fixture
def both(write, tmp_path: Path) -> tuple[Path, Path]:
    """A newer baseline bundled, the original procedure and a longer run of it in the results."""
    write("models/baseline", "baseline", NEW, "improved", "a")
    write("results/baseline-original", "baseline", OLD, "original", "b")
    write("results/baseline-original-150", "baseline", OLD, "original", "c", epoch=150)
    return tmp_path / "models", tmp_path / "results"


def cells(text: str, start: str) -> list[list[str]]:
    """The cells of the rows that start with ``start``, each without its interval."""
    return [
        [cell.strip().split(" (")[0].strip("*") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| {start} |")
    ]


def test_bundles_come_first_and_a_longer_run_keeps_its_epoch(both) -> None:
    found = compare.collect(*both)
    assert [(result.title, result.bundled, result.claim) for result in found] == [
        ("Baseline CNN", True, None),
        ("Baseline CNN", False, 0.72),
        ("Baseline CNN, epoch 150", False, None),
    ]


def test_a_run_whose_weights_are_bundled_is_not_shown_twice(write, tmp_path: Path) -> None:
    write("models/baseline", "baseline", OLD, "original", "b")
    write("results/baseline-original", "baseline", OLD, "original", "b")
    assert len(compare.collect(tmp_path / "models", tmp_path / "results")) == 1


def test_the_readmes_table_by_hand(write, tmp_path: Path) -> None:
    write("models/baseline", "baseline", OLD, "improved", "b")
    text = tables.models(compare.collect(tmp_path / "models", tmp_path))
    # 2 of 3 found, 2 of 4 right, 4 of 7 in all, 10 of 12 pairs in order.
    expected = ["`baseline`", "33", "50", "66.7%", "50.0%", "57.1%", "0.833", "72%"]
    assert cells(text, "`baseline`") == [expected]
    assert "7 test X-rays, 3 with pneumonia" in text and "right for 42.9%" in text


def test_precision_follows_how_many_are_ill():
    # Of 1,000 with 100 ill: 90 found, and 180 false alarms among 900.
    assert tables.precision(0.9, 0.8, 0.1) == pytest.approx(90 / 270)
    # As many ill as healthy.
    assert tables.precision(0.9, 0.8, 0.5) == pytest.approx(90 / 110)


def test_the_measured_table_by_hand(both) -> None:
    older = compare.collect(*both)[1]
    text = tables.tabulate_measured([older])
    # Wilson for 4 of 7: .2505 to .8418.
    assert "57.1% (25.0 to 84.2)" in text
    assert cells(text, "Baseline CNN")[0][-2:] == ["1 of 3", "2 of 4"]


def test_operating_points_by_hand(write, tmp_path: Path) -> None:
    write("models/baseline", "baseline", OLD, "improved", "b")
    text = tables.operating_points(compare.collect(tmp_path / "models", tmp_path))
    usual, other = cells(text, "Baseline CNN")
    assert usual[1:5] == ["`recall-0.66`", "0.5", "66%", "50.0% to 75.0%"]
    assert "`recall-0.66` (default)" in text and usual[-2:] == ["1 of 3", "2 of 4"]
    assert other[3] == "95%" and other[5:] == ["100.0%", "50.0%", "71.4%", "0 of 3", "2 of 4"]


def test_differences_by_hand(both) -> None:
    text = tables.differences(compare.collect(*both))
    # 3 of 3 less 2 of 3; 4 of 4 less 2 of 4; 7 of 7 less 4 of 7; the old order has .3 below .7 and
    # .6, so 10 of 12 pairs.
    start = "Baseline CNN minus Baseline CNN, original procedure"
    assert cells(text, start) == [[start, "+33.3", "+50.0", "+42.9", "+0.167"]]
    # One healthy child of two is right in both models: half of the resamples without the other show
    # no difference.
    assert "+50.0 (+0.0 to +100.0)" in text and "epoch 150" not in text


def test_rows_are_matched_by_name_and_not_by_their_place(both) -> None:
    first = tables.differences(compare.collect(*both))
    file = both[1] / "baseline-original" / "predictions_test.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *reversed(rows)]) + "\n")
    assert tables.differences(compare.collect(*both)) == first


def test_models_measured_on_other_images_are_not_compared(both) -> None:
    file = both[1] / "baseline-original" / "predictions_test.csv"
    file.write_text(file.read_text().replace("person3", "person4"))
    assert "minus" not in tables.differences(compare.collect(*both))


def test_bundled_models_are_compared_among_each_other(write, tmp_path: Path) -> None:
    write("models/baseline", "baseline", OLD, "improved", "a")
    write("models/xception", "xception", NEW, "improved", "b")
    text = tables.differences(compare.collect(tmp_path / "models", tmp_path))
    assert cells(text, "Xception minus Baseline CNN")[0][1] == "+33.3"


def test_published_figures_get_the_intervals_their_counts_imply(both) -> None:
    (both[1] / "published.csv").write_text(
        'name,accuracy,recall,specificity,auc,note\n"Somebody, 2020",0.5714,,,0.9,picked on'
        " test\nSomebody else,0.5,0.6667,0.5,,\n"
    )
    text = tables.tabulate_published(read_published(both[1]), compare.collect(*both)[0].test)
    assert "| Somebody, 2020 | 57.1% (25.0 to 84.2) |  |  | 0.900 | picked on test |" in text
    # Two thirds of three are two.
    assert "66.7% (20.8 to 93.9)" in text


def test_the_refused_kinds_of_the_input_check_are_added_up() -> None:
    interval = {"low": 0.5, "high": 1.0}
    facts = {
        "accepted": {
            name: {"images": 4, "share": 1.0, **interval} for name in ("held-out", "test")
        },
        "refused": {
            "photograph, one": {"images": 3, "share": 1.0, **interval},
            "photograph, other": {"images": 1, "share": 0.0, **interval},
        },
    }
    assert cells(tables.input_check(facts), "photograph") == [
        ["photograph", "4", "refused", "75.0%"]
    ]


def test_both_files_are_renewed_checked_and_drawn(both, tmp_path: Path) -> None:
    readme, page = tmp_path / "README.md", tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    readme.write_text("before\n<!-- begin models: x -->\nold\n<!-- end models -->\nafter\n")
    page.write_text("<!-- begin published: x -->\n<!-- end published -->\n")
    (both[1] / "published.csv").write_text(
        "name,accuracy,recall,specificity,auc,note\nSomebody,0.9,,,0.95,\n"
    )
    assert not compare.compare(*both, readme, check=True)
    assert compare.compare(*both, readme)
    assert compare.compare(*both, readme, check=True)
    text = readme.read_text()
    assert text.startswith("before\n<!-- begin models: x -->\n| model |") and "\nold\n" not in text
    assert text.endswith("<!-- end models -->\nafter\n") and "Somebody" in page.read_text()
    with Image.open(both[1] / "compare.png") as picture:
        assert picture.width > 1000
    # A changed figure is noticed.
    metrics = bundle.read_metrics(both[0] / "baseline")
    figures = {**metrics["test"].figures, "recall": metrics["test"].figures["auc"]}
    bundle.write_metrics(
        both[0] / "baseline",
        {"test": dataclasses.replace(metrics["test"], figures=figures | {"recall": SEVENTY})},
        bundle.read_model_spec(both[0] / "baseline"),
    )
    assert not compare.compare(*both, readme, check=True)


SEVENTY = dataclasses.replace(
    measure(LABELS, OLD, 0.5, "test", resamples=5).figures["recall"], value=0.7
)


def test_nothing_measured_and_stale_robustness_are_errors(both, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundles"):
        compare.collect(tmp_path, both[1])
    found = compare.collect(*both)
    entry = {"variant": "baseline", "weights_sha256": "f" * 64, "threshold": 0.5, "limit": None}
    values = entry | {"images": {}, "conditions": [], "figures": {}, "originals": {}}
    (found[0].folder / "robustness.json").write_text(json.dumps(values))
    with pytest.raises(BundleError, match="other weights"):
        tables.robustness(found[:1])
