"""The comparison: from tables of predictions that can be counted by hand to Markdown and a picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import OperatingPoint, bundle, evidence
from train.evaluation.metrics import measure
from train.reports import compare, compare_tables

# Two healthy children with two X-rays each, two with bacterial and one with viral pneumonia.
NAMES = [
    *(f"test/NORMAL/IM-000{child}-000{number}.jpeg" for child in (1, 2) for number in (1, 2)),
    *(f"test/PNEUMONIA/person{child}_bacteria_{child}.jpeg" for child in (1, 2)),
    "test/PNEUMONIA/person3_virus_3.jpeg",
]
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])
# At .5 the older model calls both X-rays of the first healthy child back and misses the virus; the
# newer one errs nowhere.
OLD, NEW = (
    np.array([0.7, 0.6, 0.2, 0.1, 0.9, 0.8, 0.3]),
    np.array([0.2, 0.3, 0.2, 0.1, 0.9, 0.8, 0.7]),
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
            variant,
            (100, 100),
            recipe=recipe,
            weights_sha256=sha * 64,
            operating_points=(OperatingPoint("default", 0.5),),
        )
        (folder / "model_spec.json").write_text(spec.to_json())
        bundle.write_metrics(
            folder, {"test": measure(LABELS, probabilities, 0.5, "test", resamples=50)}, spec
        )
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
    """A newer baseline bundled, the older one and a longer run of it among the results."""
    write("models/baseline", "baseline", NEW, "improved", "a")
    write("results/baseline-original", "baseline", OLD, "original", "b")
    write("results/baseline-original-150", "baseline", OLD, "original", "c", epoch=150)
    return tmp_path / "models", tmp_path / "results"


def cells(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_earlier_runs_stand_below_what_is_bundled_and_keep_their_epoch(both) -> None:
    found = compare.collect(*both)
    assert [(result.title, result.recipe, result.bundled, result.claim) for result in found] == [
        ("Baseline CNN", "IMPROVED", True, None),
        ("Baseline CNN", "ORIGINAL", False, 0.72),
        ("Baseline CNN, epoch 150", "ORIGINAL", False, None),
    ]


def test_a_run_whose_weights_are_bundled_is_not_shown_twice(write, tmp_path: Path) -> None:
    write("models/baseline", "baseline", OLD, "original", "b")
    write("results/baseline-original", "baseline", OLD, "original", "b")
    found = compare.collect(tmp_path / "models", tmp_path / "results")
    assert [(result.recipe, result.bundled) for result in found] == [("ORIGINAL", True)]
    text = compare_tables.markdown(found)
    assert "difference" not in text and "2 of 4" in text


def test_other_weights_of_a_bundled_recipe_are_called_earlier_and_compared_but_offer_no_settings(
    write, tmp_path: Path
) -> None:
    write("models/baseline", "baseline", NEW, "improved", "a")
    write("results/baseline-improved-1", "baseline", OLD, "improved", "b")
    found = compare.collect(tmp_path / "models", tmp_path / "results")
    assert [result.title for result in found] == ["Baseline CNN", "Baseline CNN, earlier"]
    text = compare_tables.markdown(found)
    assert "Baseline CNN, IMPROVED minus Baseline CNN, earlier, IMPROVED" in text
    assert "setting for a recall" not in text
    # With two rounds behind it, each has its number.
    write("results/baseline-improved-2", "baseline", OLD, "improved", "c")
    titles = [result.title for result in compare.collect(tmp_path / "models", tmp_path / "results")]
    assert titles == ["Baseline CNN", "Baseline CNN, earlier 1", "Baseline CNN, earlier 2"]


def test_the_measured_table_by_hand(both) -> None:
    text = compare_tables.measured(compare.collect(*both))
    rows = [line for line in text.splitlines() if line.startswith("| Baseline")]
    # Wilson for 4 of 7: .2505 to .8418.
    assert "| ORIGINAL, epoch 75, float32 | 72% | **57.1%** (25.0% to 84.2%) | **66.7%**" in rows[1]
    assert rows[1].endswith("| 1 of 3 | 2 of 4 |") and rows[0].endswith("| 0 of 3 | 0 of 4 |")
    assert "| ORIGINAL, epoch 150, float32 |  | " in rows[2]


def test_what_is_bundled_and_what_repeats_the_source_stand_first_and_the_rest_is_folded_away(
    both, write, tmp_path: Path
) -> None:
    write("results/baseline-improved-1", "baseline", OLD, "improved", "d")
    first, *folded = compare_tables.markdown(compare.collect(*both)).split("<details>")
    assert [
        line.split(" | ")[:2] for line in first.splitlines() if line.startswith("| Baseline")
    ] == [
        ["| Baseline CNN", "IMPROVED, bundled, epoch 75, float32"],
        ["| Baseline CNN", "ORIGINAL, epoch 75, float32"],
    ]
    assert (
        "| Baseline CNN, earlier | IMPROVED" in folded[0]
        and "| Baseline CNN, epoch 150 | ORIGINAL" in folded[0]
    )
    assert [part.splitlines()[1].startswith("<summary>") for part in folded] == [True] * 3 and all(
        "</details>" in part for part in folded
    )


def test_differences_by_hand(both) -> None:
    text = compare_tables.markdown(compare.collect(*both))
    found = cells(text, "Baseline CNN, IMPROVED minus Baseline CNN, ORIGINAL")
    # 7 of 7 less 4 of 7; 3 of 3 less 2 of 3; 4 of 4 less 2 of 4; the old order has .3 below .7 and
    # .6, so 10 of 12 pairs.
    assert [cell.split(" ")[0].strip("*") for cell in found[1:]] == [
        "+42.9",
        "+33.3",
        "+50.0",
        "+0.167",
    ]
    # One healthy child of two is right in both models: half of the resamples without the other show
    # no difference.
    assert found[3] == "+50.0 (+0.0 to +100.0)"
    # The longer run of an older recipe is not what the source claims anything of, and is not
    # compared.
    assert "epoch 150, ORIGINAL minus" not in text and "minus Baseline CNN, epoch 150" not in text


def test_what_each_setting_keeps_by_hand(both) -> None:
    """At .5 the older model finds 2 of 3 and clears 2 of 4, at .3 it finds all three and clears the
    same two.
    """
    found = compare.collect(*both)
    assert not compare_tables.settings(found) and "setting for" not in compare_tables.markdown(
        found
    )
    points = (
        OperatingPoint("default", 0.3, 0.98, (0.96, 0.99)),
        OperatingPoint("recall-0.95", 0.5, 0.95, (0.93, 0.97)),
        OperatingPoint("recall-0.98", 0.3, 0.98, (0.96, 0.99)),
    )
    older = dataclasses.replace(
        found[1],
        bundled=True,
        spec=dataclasses.replace(found[1].spec, operating_points=points),
    )
    text = compare_tables.markdown([found[0], older])
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in compare_tables.settings([found[0], older]).splitlines()[2:4]
    ]
    assert [row[1] for row in rows] == ["95%", "98% (default)"] and [row[2] for row in rows] == [
        "93.0% to 97.0%",
        "96.0% to 99.0%",
    ]
    assert [[cell.split(" ")[0] for cell in row[3:6]] for row in rows] == [
        ["66.7%", "50.0%", "57.1%"],
        ["100.0%", "50.0%", "71.4%"],
    ]
    assert [row[6:] for row in rows] == [["1 of 3", "2 of 4"], ["0 of 3", "2 of 4"]]
    assert compare_tables.settings([older]) in text and "next to nothing" not in text
    lowest = dataclasses.replace(
        older,
        spec=dataclasses.replace(
            older.spec,
            operating_points=(points[0], OperatingPoint("recall-1.00", 0.0, 1.0, (0.99, 1.0))),
        ),
    )
    assert "| 0 of 3 | 4 of 4 |" in compare_tables.settings(
        [lowest]
    ) and "tells next to nothing" in compare_tables.settings([lowest])


def test_rows_are_matched_by_name_and_not_by_their_place(both) -> None:
    first = compare_tables.markdown(compare.collect(*both))
    file = both[1] / "baseline-original" / "predictions_test.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *reversed(rows)]) + "\n")
    assert cells(
        compare_tables.markdown(compare.collect(*both)),
        "Baseline CNN, IMPROVED minus Baseline CNN, ORIGINAL",
    ) == cells(first, "Baseline CNN, IMPROVED minus Baseline CNN, ORIGINAL")


def test_models_measured_on_other_images_are_not_compared(both) -> None:
    file = both[1] / "baseline-original" / "predictions_test.csv"
    file.write_text(file.read_text().replace("person3", "person4"))
    assert "IMPROVED less" not in compare_tables.markdown(compare.collect(*both))


def test_bundled_models_are_compared_among_each_other(write, tmp_path: Path) -> None:
    write("models/baseline", "baseline", OLD, "improved", "a")
    write("models/xception", "xception", NEW, "improved", "b")
    text = compare_tables.markdown(compare.collect(tmp_path / "models", tmp_path))
    assert cells(text, "Xception, IMPROVED minus Baseline CNN, IMPROVED")[2].startswith("+33.3")


def test_parts_by_hand(both) -> None:
    same = [[NAMES[2], NAMES[3]]]
    text = compare_tables.markdown(compare.collect(*both), duplicates=same)
    found = cells(text, "Baseline CNN, ORIGINAL")
    # Both bacteria found, the virus missed; six distinct files, three of them right; two of three
    # ill patients, one of two healthy.
    assert [cell.split(" ")[0] for cell in found[1:]] == [
        "100.0%",
        "0.0%",
        "50.0%",
        "66.7%",
        "50.0%",
    ]
    assert (
        "2 images of bacterial and 1 of viral pneumonia, 6 images with identical files counted"
        " once, 3 patients with pneumonia and 2 without" in text
    )


def test_published_figures_are_marked_and_get_the_intervals_their_counts_imply(both) -> None:
    (both[1] / "published.csv").write_text(
        'name,accuracy,recall,specificity,auc,note\n"Somebody, 2020",0.5714,,,0.9,picked on'
        " test\nSomebody else,0.5,0.6667,0.5,,\n"
    )
    others = evidence.read_published(both[1])
    text = compare_tables.published(others, compare.collect(*both)[0].test)
    assert cells(text, "Somebody, 2020") == [
        "Somebody, 2020",
        "57.1% (25.0% to 84.2%)",
        "",
        "",
        "0.900",
        "picked on test",
    ]
    # Half of four is two, two thirds of three are two.
    assert cells(text, "Somebody else")[2].startswith("66.7% (20.8% to 93.9%)")
    assert "none was measured again here" in text


def test_the_block_is_renewed_checked_and_drawn(both, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{compare.BEGIN}\nold\n{compare.END}\nafter\n")
    (both[1] / "data.json").write_text(
        json.dumps({"duplicates": {"groups": [[NAMES[2], NAMES[3]]]}})
    )
    (both[1] / "published.csv").write_text(
        "name,accuracy,recall,specificity,auc,note\nSomebody,0.9,,,0.95,\n"
    )
    assert not compare.compare(*both, readme, check=True)
    assert compare.compare(*both, readme)
    assert compare.compare(*both, readme, check=True)
    assert (
        "Somebody" in readme.read_text()
        and "6 images with identical files counted once" in readme.read_text()
    )
    with Image.open(both[1] / "compare.png") as picture:
        assert picture.width > 1000
    # A changed figure is noticed.
    metrics = bundle.read_metrics(both[0] / "baseline")
    counts = {**metrics["test"].counts, "false_negative": 1, "true_positive": 2}
    bundle.write_metrics(
        both[0] / "baseline",
        {"test": dataclasses.replace(metrics["test"], counts=counts)},
        bundle.read_model_spec(both[0] / "baseline"),
    )
    assert not compare.compare(*both, readme, check=True)
