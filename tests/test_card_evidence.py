"""What a card says of promises, parts, corruptions, seeds and other hospitals, from numbers worked
out by hand.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pneumonia import OperatingPoint, bundle, probes
from pneumonia.model_spec import Estimate, ModelSpec
from train.evaluation import details, robustness, seeds
from train.evaluation.metrics import measure
from train.reports import card, card_evidence, card_sections, robustness_report

# 50 pneumonias at .505 to .995, 50 healthy at .005 to .495, and one of each far on the wrong side.
LABELS = np.array([1] * 51 + [0] * 51)
TEST = np.concatenate(
    [np.arange(0.505, 1, 0.01)[:50], [0.1], np.arange(0.005, 0.5, 0.01)[:50], [0.9]]
)
NAMES = [
    f"test/PNEUMONIA/person{n}_{'virus' if n % 2 else 'bacteria'}_{n}.jpeg" for n in range(51)
] + [f"test/NORMAL/IM-{n:04d}-0001.jpeg" for n in range(51)]
POINTS = (
    OperatingPoint("default", 0.5, 0.98, (0.96, 0.99)),
    OperatingPoint("recall-0.95", 0.6, 0.95, (0.93, 0.97)),
    OperatingPoint("recall-0.98", 0.5, 0.98, (0.96, 0.99)),
)


@pytest.fixture
def spec(make_spec) -> ModelSpec:
    recipe = {
        "name": "improved",
        "validation": "held-out",
        "augmentation": {"rotation": 12},
        "seed": 1,
        "epochs": 5,
    }
    return make_spec(
        "baseline",
        (100, 100),
        operating_points=POINTS,
        uncertainty=0.5,
        recipe=recipe,
        temperature=1.5,
    )


@pytest.fixture
def found(spec) -> dict:
    table = (NAMES, LABELS, TEST)
    copies = (NAMES, LABELS, {"clean": TEST, "darker": 1 - TEST})
    return details.of(
        spec,
        {"validation": "held-out", "test": "test"},
        {"validation": table, "test": table},
        (),
        copies,
    )


def row(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_a_setting_was_chosen_for_stands_beside_what_was_seen(spec, found) -> None:
    text = card_evidence.operating_points(spec, found)
    # At .5 one of 51 is missed, .9804 of them found. At .6 ten more are missed, 40 of 51 found.
    assert row(text, "`default`")[1] == "0.5" and row(text, "`default`")[2].startswith("0.980 (")
    assert row(text, "`default`")[-2:] == ["1 of 51", "1 of 51"]
    assert row(text, "`recall-0.95`")[3].startswith("0.784 (")
    assert row(text, "`recall-0.95`")[-2:] == ["11 of 51", "1 of 51"]


def test_a_setting_that_calls_nearly_everything_ill_is_named(make_spec, spec, found) -> None:
    assert "tells next to nothing" not in card_evidence.operating_points(spec, found)
    points = (
        *POINTS,
        OperatingPoint("recall-1.00", 0.01, 1.0, (0.99, 1.0)),
    )
    lower = make_spec(
        "baseline", (100, 100), operating_points=points, recipe=spec.recipe, temperature=1.5
    )
    table = (NAMES, LABELS, TEST)
    told = details.of(
        lower,
        {"validation": "held-out", "test": "test"},
        {"validation": table, "test": table},
        (),
        (NAMES, LABELS, {"clean": TEST}),
    )
    # Of 51 healthy only the one at .005 lies below, and below .001 none.
    text = card_evidence.operating_points(lower, told)
    lowest = dataclasses.replace(
        lower, operating_points=(*POINTS, dataclasses.replace(points[-1], threshold=0.001))
    )
    told = details.of(
        lowest, {"validation": "held-out", "test": "test"}, {"validation": table, "test": table}
    )
    assert "**`recall-1.00`** calls every X-ray PNEUMONIA" in card_evidence.operating_points(
        lowest, told
    )
    assert (
        row(text, "`recall-1.00`")[-1] == "50 of 51"
        and "**`recall-1.00`** calls nearly every X-ray PNEUMONIA" in text
    )


def test_uncertain_answers_are_counted(spec, found) -> None:
    # Within half a logit of .5 lie probabilities from .378 to .622: twelve of each side, none of
    # them an error.
    assert found["uncertain"] == {"images": 24, "wrong": 0, "wrong_elsewhere": 2}
    text = " ".join(card_evidence.operating_points(spec, found).split())
    assert (
        "lies within 0.5 of the threshold's is **uncertain**" in text
        and "that is 24 images, which hold 0 of the 2 errors" in text
    )


def test_parts_and_corruptions_become_tables(spec, found, tmp_path: Path) -> None:
    text = card_evidence.parts(found)
    # 26 bacteria and 25 virus beside 51 healthy; the one missed is the 51st, a bacterium by its
    # even number.
    assert row(text, "Bacterial pneumonia against all healthy")[1:3] == [
        "77",
        "0.962 (0.811 to 0.993)",
    ]
    assert row(text, "Viral pneumonia against all healthy")[1:3] == ["76", "1.000 (0.867 to 1.000)"]
    assert row(text, "By patient: called where any X-ray is")[1] == "102"
    text = card_evidence.robustness(spec, found, tmp_path)
    assert row(text, "as they are")[2:] == ["0.980", "0.980"]
    # All upside down: the 51st alone is found.
    assert row(text, "darker")[2:] == ["0.020", "0.020"]


def test_stress_is_shown_where_it_was_measured_on_these_weights(spec, tmp_path: Path) -> None:
    names = (probes.ORIGINAL, probes.LUNGS_HIDDEN, probes.LUNGS_ONLY)
    auc = dict(zip(names, (0.98, 0.62, 0.95), strict=True))
    figures = {
        split: {
            name: {"auc": Estimate(value, value, value, "bootstrap")} for name, value in auc.items()
        }
        for split in robustness.SPLITS
    }
    listed = tuple(robustness_report.Condition(name, name, "") for name in names)
    images = dict.fromkeys(robustness.SPLITS, 102)
    found = robustness_report.Robustness(
        "baseline", spec.weights_sha256, 0.5, None, images, listed, figures, {"images": 0}
    )
    (tmp_path / robustness_report.JSON_NAME).write_text(json.dumps(asdict(found)))
    text = card_evidence.robustness(spec, {}, tmp_path)
    assert (
        text.startswith("## When the picture changes")
        and "0.620" in text
        and "most of the answer comes from the lungs" in text
    )
    with pytest.raises(bundle.BundleError, match="other weights"):
        card_evidence.robustness(dataclasses.replace(spec, weights_sha256="1" * 64), {}, tmp_path)


def test_a_bundle_without_promises_gets_none_of_these_sections(make_spec, tmp_path: Path) -> None:
    spec = make_spec("baseline", (100, 100))
    assert card_evidence.operating_points(spec, {"operating_points": {}}) == ""
    assert (
        card_evidence.operating_points(dataclasses.replace(spec, operating_points=POINTS), {}) == ""
    )
    assert (
        card_evidence.parts({})
        == card_evidence.robustness(spec, {}, tmp_path)
        == card_evidence.seeds(tmp_path)
        == card_evidence.elsewhere(spec)
        == ""
    )


def test_the_section_on_other_hospitals_says_what_was_done_and_what_is_not_known(spec) -> None:
    text = " ".join(card_evidence.elsewhere(spec).split())
    assert "other framing, aspect, exposure and encoding" in text and "larger network" not in text
    assert "sharpened or softened" not in text
    processed = dataclasses.replace(
        spec, recipe=dict(spec.recipe) | {"augmentation": {"detail": 0.6}}
    )
    assert "detail sharpened or softened as other machines would (the settings" in " ".join(
        card_evidence.elsewhere(processed).split()
    )
    even = dataclasses.replace(spec, recipe=dict(spec.recipe) | {"nuisance_reweighting": True})
    assert "drawn more often" in card_evidence.elsewhere(even) and "drawn more often" not in text
    assert (
        "Nothing was measured on another hospital's X-rays" in text
        and "assets/results/tries.md" in text
    )
    taught = dataclasses.replace(
        spec, uncertainty=0.0, recipe={"validation": "held-out", "teacher_weight": 0.7}
    )
    text = card_evidence.elsewhere(taught)
    assert "larger network" in text and "does not know" not in text and "other framing" not in text


def test_a_whole_card_of_a_calibrated_bundle(spec, found, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model_spec.json").write_text(spec.to_json())
    metrics = {
        name: measure(LABELS, TEST, 0.5, split, resamples=50)
        for name, split in (("validation", "held-out"), ("test", "test"))
    }
    bundle.write_metrics(folder, metrics, spec, found)
    details.write_copies(
        folder,
        [name.replace("test/", "train/") for name in NAMES],
        {"clean": TEST, "darker": TEST / 2},
    )
    other = tmp_path / "other"
    other.mkdir()
    second = dataclasses.replace(
        spec, recipe=dict(spec.recipe) | {"seed": 2}, weights_sha256="1" * 64
    )
    (other / "model_spec.json").write_text(second.to_json())
    bundle.write_metrics(other, metrics, second)
    details.write_copies(other, NAMES, {"clean": TEST, "darker": 1 - TEST})
    assert seeds.write([other, folder]) == folder
    text = card.render(folder, "me/pneumonia-xray-baseline")
    for title in (
        "Operating points",
        "Parts of the test folder",
        "When the picture changes",
        "Seeds",
        "For another hospital",
    ):
        assert text.count(f"\n## {title}\n") == 1
    assert (
        row(text, "1 (this bundle)")[4:]
        == row(text, "2")[4:]
        == ["0.980", "0.980", "0.980", f"{metrics['test'].figures['auc'].value:.3f}"]
    )
    assert "0.980 ± 0.000" in text
    assert (
        "fitted on validation, on the X-rays as they are and on their corrupted copies together"
        in text
    )
    assert (
        "102 images of patients that training did not see" in text
        and "read that folder five times" in text
    )


def test_the_training_section_brings_back_the_teacher_of_that_time(spec) -> None:
    taught = dataclasses.replace(
        spec,
        commit="a1b2c3d" + "0" * 33,
        recipe=dict(spec.recipe) | {"teacher_weight": 0.7},
    )
    data, checkout, distil, train = (
        card_sections.training(taught).split("```bash\n")[1].splitlines()[:4]
    )
    assert data == 'DATA="$PWD/chest_xray"', "whole, for the next line leaves the folder"
    assert checkout == "git worktree add ../then a1b2c3d && cd ../then"
    assert distil.startswith("python -m train distil assets/models/xception") and train.endswith(
        "--pool runs/pool"
    )
    unknown = dataclasses.replace(taught, commit="unknown")
    assert "git worktree" not in card_sections.training(unknown)


def test_a_pools_views_are_in_the_command_and_its_letters_in_words(spec) -> None:
    distillation = {"teacher": "f" * 64, "views": 7, "policy": {"rotation": 8.0, "letters": 0.5}}
    taught = dataclasses.replace(
        spec,
        recipe=dict(spec.recipe)
        | {"validation": "held-out", "teacher_weight": 0.7, "distillation": distillation},
    )
    assert "--out runs/pool --views 7\n" in card_sections.training(taught)
    halved = dataclasses.replace(
        taught,
        recipe=dict(taught.recipe)
        | {"distillation": distillation | {"precision": "mixed_bfloat16"}},
    )
    assert "--out runs/pool --views 7 --precision mixed_bfloat16\n" in card_sections.training(
        halved
    )
    for letters, collimate, said in (
        (0.2, 0.2, "--views 7 --marked 0.2\n"),
        (0.5, 0.3, "--views 7\n"),
        (0.2, 0.0, "--views 7\n"),
    ):
        rare = distillation | {"policy": {"letters": letters, "collimate": collimate}}
        assert said in card_sections.training(
            dataclasses.replace(taught, recipe=dict(taught.recipe) | {"distillation": rare})
        )
    assert "is not recorded" in card_sections.training(
        taught
    ) and "is not recorded" not in card_sections.training(halved)
    assert "Letters were burnt into many of these views" in card_evidence.elsewhere(taught)
    assert "Letters" not in card_evidence.elsewhere(
        dataclasses.replace(taught, recipe=dict(taught.recipe) | {"distillation": {"views": 7}})
    )
