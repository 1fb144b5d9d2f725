"""The model card: prose and generated blocks, whole, and what keeps a wrong one from going out."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pneumonia import BundleError, OperatingPoint, bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.release import FIGURES, ReleaseError
from train.reports import card

GOLDEN = Path(__file__).with_name("golden") / "card_baseline.md"
RECIPE = {
    "variant": "baseline",
    "name": "original",
    "epoch": 75,
    "precision": "float32",
    "training_seconds": 3100,
    "note": "The original notebook's procedure.",
}


@pytest.fixture
def measured(tmp_path, make_spec, make_metrics):
    """Makes a folder with a model spec and metrics: all that a card is written from."""

    def make(**changes) -> Path:
        folder = tmp_path / "baseline"
        folder.mkdir()
        values = {
            "recipe": RECIPE,
            "versions": {"python": "3.11.7", "keras": "3.15.1"},
            "operating_points": (OperatingPoint("default", 0.5),),
        }
        spec = make_spec("baseline", (100, 100), **(values | changes))
        (folder / "model_spec.json").write_text(spec.to_json())
        threshold = spec.default.threshold
        counts = dict.fromkeys(("true_positive", "true_negative"), 8)
        counts |= dict.fromkeys(("false_positive", "false_negative"), 0)
        validation = dataclasses.replace(make_metrics("val", threshold), images=16, counts=counts)
        entries = {"validation": validation, "test": make_metrics("test", threshold)}
        bundle.write_metrics(folder, entries, spec)
        (folder / "roc.png").write_bytes(b"png")
        return folder

    return make


def test_golden_card(measured, tmp_path):
    """To renew it after a wanted change: delete the file, run this test twice, and read the
    difference.
    """
    prose = tmp_path / "prose.md"
    markers = (
        f"<!-- begin {name}: x -->\n<!-- end {name} -->\n"
        for name in ("results", "usage", "training")
    )
    prose.write_text("# Title\n\nSee [methods](docs/methods.md).\n\n" + "\n".join(markers))
    found = card.render(measured(), "me/pneumonia-xray-baseline", prose=prose)
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(found)
        pytest.fail(f"{GOLDEN} was not there and has been written; read it and run again")
    assert found == GOLDEN.read_text()


def test_each_operating_point_stands_beside_what_the_test_folder_saw(measured):
    points = (OperatingPoint("default", 0.2), OperatingPoint("recall-0.98", 0.2, 0.98))
    folder = measured(operating_points=points)
    # At .2 two of three ill are found, and one of two healthy is a false alarm.
    (folder / "predictions_test.csv").write_text(
        "file,label,probability\na,1,0.1\nb,1,0.2\nc,1,0.9\nd,0,0.3\ne,0,0.1\n"
    )
    lines = card.render(folder, "me/pneumonia-xray-baseline").splitlines()
    row = next(line for line in lines if line.startswith("| `recall-0.98`"))
    assert [cell.strip() for cell in row.strip("|").split("|")][-2:] == ["1", "1"]


def test_the_card_parses_and_its_model_index_is_metrics_json(measured, tmp_path):
    folder = measured()
    file = tmp_path / "README.md"
    file.write_text(card.render(folder, "me/pneumonia-xray-baseline"))
    data = ModelCard.load(file).data
    test = json.loads((folder / "metrics.json").read_text())["test"]
    results = {result.metric_type: result for result in data.eval_results}
    assert results.keys() == set(FIGURES.values())
    for name, hub_name in FIGURES.items():
        figure = test["figures"][name]
        assert results[hub_name].metric_value == figure["value"]
        assert results[hub_name].metric_args["interval_95"] == [figure["low"], figure["high"]]
        assert results[hub_name].dataset_split == "test"
    assert data.model_name == "pneumonia-xray-baseline" and data.base_model is None
    assert "baseline" in data.tags and data.metrics == list(FIGURES.values())
    # 3,100 s at 20 W are 0.0172 kWh, at 480 g each.
    assert data.co2_eq_emissions["emissions"] == pytest.approx(8.3)
    assert "estimated" in data.co2_eq_emissions["source"]


def test_errors_are_told_in_people(measured):
    text = card.render(measured())
    # 90 of 100 found, 40 of 50 read as normal.
    assert "missed 10 of " in text and "10 in 100 (95% interval 5.0 to 16)" in text
    assert "10 false alarms in " in text and "20 in 100 (15 to 26)" in text


def test_a_high_probability_is_held_against_what_was_seen(measured):
    folder = measured()
    assert "Read a probability" not in card.render(folder)
    # 0.8 and 0.9 lie within 0.8 to 0.95, 0.95 and 0.2 do not.
    (folder / "predictions_test.csv").write_text(
        "file,label,probability\na,1,0.8\nb,0,0.9\nc,1,0.95\nd,1,0.2\n"
    )
    assert "Of 2 test X-rays given 80% to 95%, 1 show" in card.render(folder)


def test_a_run_without_a_clock_has_no_emissions(measured):
    data = ModelCard(card.render(measured(recipe={"name": "original"}))).data
    assert "co2_eq_emissions" not in data.to_dict()


def test_links_lead_to_the_code_where_somebody_says_where_it_is(measured):
    folder = measured()
    published = card.render(folder, "me/x", code="https://example.org/me/code")
    assert "](https://example.org/me/code/blob/main/docs/results.md)" in published
    assert 'pip install "git+https://example.org/me/code"' in published
    unnamed = card.render(folder, "me/x")
    assert "](docs/" not in unnamed and "`docs/results.md` of the project" in unnamed
    assert "](../../../docs/results.md)" in card.render(folder)


def test_examples_are_python_and_name_the_repository_or_the_folder(measured):
    folder = measured(temperature=1.25)
    for repo, expected in (("me/x", "hf://me/x"), (None, '"assets/models/baseline"')):
        text = card.render(folder, repo, space="me/app")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len(blocks) == 3 and expected in blocks[1] and 'Client("me/app")' in blocks[2]
        for block in blocks:
            compile(block, "card", "exec")
    # The temperature as the example applies it is the classifier's.
    values = {"probability": 0.8}
    lines = [
        line
        for line in blocks[1].splitlines()
        if line.startswith("probability = ") and "model.predict" not in line
    ]
    exec("\n".join(lines), values)
    assert values["probability"] == pytest.approx(1 / (1 + (0.2 / 0.8) ** (1 / 1.25)))


def test_a_missing_metric_is_an_error_and_never_a_blank(measured):
    folder = measured()
    values = json.loads((folder / "metrics.json").read_text())
    del values["test"]["figures"]["ece"]
    (folder / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(ReleaseError, match="ece"):
        card.render(folder)


BLOCK = "<!-- begin results: x -->\n<!-- end results -->\n"


@pytest.mark.parametrize(
    "text",
    [
        "# x\n",
        "# x\n<!-- begin results: x -->\n",
        f"# x\n{BLOCK}<!-- begin other: x -->\n<!-- end other -->\n",
        f"# x\n{BLOCK}<!-- begin usage: x -->\n<!-- end results -->\n",
    ],
)
def test_prose_without_whole_known_blocks_is_an_error(measured, tmp_path, text):
    prose = tmp_path / "prose.md"
    prose.write_text(text)
    with pytest.raises(BundleError, match="Expected whole blocks"):
        card.render(measured(), prose=prose)


def test_something_left_over_in_the_prose_is_an_error(measured, tmp_path):
    prose = tmp_path / "prose.md"
    prose.write_text(f"# baseline\n\n{{{{ description }}}}\n{BLOCK}")
    with pytest.raises(ReleaseError, match="still has"):
        card.render(measured(), prose=prose)


def test_the_projects_own_card_gets_a_row_for_each_bundle(models_folder, tmp_path):
    prose = tmp_path / "card.md"
    prose.write_text(card.PROSE.read_text())
    assert not card.refresh(models_folder, prose, check=True)
    assert prose.read_text() == card.PROSE.read_text()
    assert not card.refresh(models_folder, prose)
    text = prose.read_text()
    for name in ("baseline", "augmented", "xception"):
        assert f"| `{name}` | 10 | 20 | 90.0% (84.0 to 95.0)" in text
    assert card.refresh(models_folder, prose, check=True)
    with pytest.raises(BundleError, match="no bundles"):
        card.refresh(tmp_path, prose)


def test_the_committed_card_is_what_the_bundles_say():
    models = card.PROSE.parent / "assets" / "models"
    assert card.refresh(models, check=True), "run python -m train card"


@pytest.mark.parametrize("variant", CATALOGUE)
def test_a_committed_card_is_short(variant):
    text = (card.PROSE.parent / "assets" / "models" / variant / "README.md").read_text()
    prose = re.sub(r"^---.*?^---|```.*?```|^\|.*?$|^!\[.*?$", "", text, flags=re.DOTALL | re.M)
    assert len(prose.split()) <= 900


def test_a_card_names_the_machine_and_assumes_nothing_of_a_gpu(measured):
    folder = measured(recipe=RECIPE | {"hardware": "1 GPU"})
    found = card.render(folder, "me/pneumonia-xray-baseline")
    assert "on 1 GPU" in found and "CO2" not in found and "co2_eq_emissions" not in found


def test_the_counts_in_the_prose_are_those_of_the_data():
    """The card's own sentences on the data, which no bundle generates."""
    counts = json.loads((card.PROSE.parent / "assets/results/data.json").read_text())["counts"]
    prose = card.PROSE.read_text(encoding="utf-8")
    train, test = counts["train"], counts["test"]
    (found,) = re.findall(
        r"([\d,]+) training images\s+\(([\d,]+) NORMAL, ([\d,]+) PNEUMONIA\), (\d+) test images"
        r" \((\d+) and (\d+)\) and (\d+) in a folder `val`",
        prose,
    )
    assert [int(number.replace(",", "")) for number in found] == [
        sum(train.values()),
        *(train[label] for label in ("NORMAL", "PNEUMONIA")),
        sum(test.values()),
        *(test[label] for label in ("NORMAL", "PNEUMONIA")),
        sum(counts["val"].values()),
    ]
    (share,) = re.findall(r"([\d.]+)% of the test images are PNEUMONIA", prose)
    assert float(share) == pytest.approx(100 * test["PNEUMONIA"] / sum(test.values()), abs=0.05)
