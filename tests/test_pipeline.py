"""The command line of training: what it refuses in a sentence, and the pipeline that goes on where
it was.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from train import pipeline
from train.__main__ import _parser, main


def plan_steps(*options: str) -> list[pipeline.Step]:
    return pipeline.steps(_parser().parse_args(["pipeline", *options]))


def place(names: list[str], start: str) -> int:
    return next(at for at, name in enumerate(names) if name.startswith(start))


@pytest.mark.parametrize(
    "options",
    [
        ("--recipe", "original"),
        ("--recipe", "improved"),
        ("--recipe", "improved", "--teachers", "3", "--precision", "mixed_bfloat16"),
        ("--epochs", "1", "--views", "1", "--teachers", "1", "--imagenet-weights", "x.h5"),
    ],
)
def test_each_step_is_a_command_that_may_be_typed(options: tuple[str, ...]) -> None:
    found = plan_steps(*options)
    for step in found:
        _parser().parse_args([*step.command, *(["--data", "x"] if step.reads_data else [])])
    names = [step.name for step in found]
    assert len(set(names)) == len(names)
    assert all(step.minutes is not None for step in found)
    finished = "original" if "original" in options else "improved"
    for variant in CATALOGUE:
        runs = [name for name in names if name.startswith(f"fit {variant} --recipe {finished}")]
        assert len(runs) == 1 and "--resume" in runs[0]
        assert place(names, f"fit {variant}") < place(names, "robustness")
    assert [name.split()[0] for name in names[-2:]] == ["compare", "card"]


@pytest.mark.parametrize("teachers", [0, 3])
def test_what_a_step_reads_was_made_by_one_before(teachers: int) -> None:
    names = [step.name for step in plan_steps("--teachers", str(teachers))]
    assert len([name for name in names if "xception --recipe first" in name]) == max(1, teachers)
    made: set[str] = set()
    for words in map(str.split, names):
        given = dict(itertools.pairwise(words))
        for option in ("--pool", "--start"):
            assert option not in given or given[option] in made
        if words[0] == "distil":
            asked = [word for word in words[1:] if word.endswith("/bundle")]
            assert set(asked) <= made
        if words[0] in ("fit", "distil"):
            made |= {given["--out"], f"{given['--out']}/bundle"}
        if words[0] == "install":
            assert words[1] in made
    last = [name for name in names if name.startswith("distil")][-1]
    assert ("--reframed" in last) == bool(teachers)
    assert not any(step.name.startswith("distil") for step in plan_steps("--recipe", "original"))


def test_what_fails_stops_the_pipeline_and_what_is_done_is_not_done_again(
    tiny_scan, tmp_path: Path, capsys, monkeypatch
) -> None:
    called: list[str] = []
    fails = {"fit augmented"}

    def call(command: list[str]) -> int:
        called.append(" ".join(command[:2]))
        return 3 if called[-1] in fails else 0

    monkeypatch.setattr(
        pipeline, "follow", lambda *given, follow=pipeline.follow: follow(*given, call)
    )
    command = ["pipeline", "--recipe", "original", "--data", str(tiny_scan.root)]
    command += ["--out", str(tmp_path / "runs"), "--into", str(tmp_path)]
    assert main([*command, "--dry-run"]) == 0 and not called
    assert not (tmp_path / "runs").exists()
    assert main(command) == 3
    assert called[-1] == "fit augmented" and "fit xception" not in called
    first = len(called) - 1
    called.clear()
    fails.clear()
    capsys.readouterr()
    assert main(command) == 0
    assert called[0] == "fit augmented" and "data --out" not in called
    assert capsys.readouterr().out.count("    done  ") == first
    called.clear()
    assert main(command) == 0 and not called
    # What is done depends on the data.
    note = tmp_path / "runs" / pipeline.NOTE
    note.write_text(json.dumps(json.loads(note.read_text()) | {"fingerprint": "other"}))
    assert main(command) == 1 and "other data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["baseline", "--epochs", "1"], 2, "fit baseline"),
        (["all"], 2, "fit all"),
        (["fit", "baseline", "--recipe", "first", "--push", "me/x"], 1, "no finished model"),
        (["fit", "baseline", "--recipe", "worst"], 1, "expected one of original, first, improved"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(command, code, said, capsys) -> None:
    assert main(command) == code
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["fit", "baseline", "--seed", "-1"], "--seed"),
        (["fit", "baseline", "--epochs", "0"], "--epochs"),
        (["fit", "resnet"], "resnet"),
        (["robustness", "x", "--limit", "1"], "--limit"),
        (["distil", "x", "--artefacts", "20"], "--artefacts"),
        (["data", "--out", __file__], "is a file, a folder is needed"),
        (["fit", "baseline", "--out", f"{__file__}/run"], "is a file, a folder is needed"),
    ],
)
def test_a_wrong_option_is_named(command, said, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


def test_a_fault_of_the_program_is_not_told_as_one_of_the_user(monkeypatch, tiny_scan) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr("train.data.audit.audit", fail)
    with pytest.raises(KeyError):
        main(["data", "--data", str(tiny_scan.root)])


def test_a_bundle_takes_the_place_of_the_one_before(models_folder, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "baseline").mkdir(parents=True)
    (models / "baseline" / "stale.png").write_bytes(b"old")
    new = models_folder / "baseline"
    assert main(["install", str(new), "--models", str(models)]) == 0
    assert {file.name for file in (models / "baseline").iterdir()} == {
        file.name for file in new.iterdir()
    }
    assert [folder.name for folder in models.iterdir()] == ["baseline"]
    assert main(["install", str(models / "baseline"), "--models", str(models)]) == 1


def test_a_fixed_threshold_is_not_calibrated_away(models_folder, capsys, tmp_path: Path) -> None:
    assert main(["calibrate", str(models_folder / "baseline"), "--data", str(tmp_path)]) == 1
    assert "fixed beforehand" in capsys.readouterr().err


@pytest.mark.parametrize("revision", ["contract.json", "model_spec.json"])
def test_specs_that_name_options_which_are_gone_still_load(
    models_folder, tmp_path: Path, revision: str
) -> None:
    spec = bundle.read_model_spec(models_folder / "baseline")
    values = json.loads(spec.to_json())
    values["recipe"] = {
        "name": "best" if revision == "contract.json" else "improved",
        "validation": "held-out",
        "balanced": False,
        "averaged": [1, 2],
        "augmentation": {"erase": 0.1, "equalize": 0.5, "framed_alike": True},
    }
    if revision == "contract.json":
        values["schema"] = 1
        for point in values["operating_points"]:
            point |= {"recall_promised": 0.98, "margin": "at most 3 of 348 below it"}
    (tmp_path / revision).write_text(json.dumps(values))
    found = bundle.read_model_spec(tmp_path)
    assert found.recipe["name"] == "improved" and found.recipe["averaged"] == [1, 2]
    assert dataclasses.replace(found, recipe=spec.recipe) == spec
