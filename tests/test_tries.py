"""The log of tries: a recipe is changed as asked, trained, judged on held-out patients alone, and
written down.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from train import recipes, tries
from train.__main__ import main
from train.recipes import STRONG, get
from train.training.run_folder import RunError


def test_changes_reach_fields_and_the_policy():
    recipe = get("xception", "improved")
    changed = tries.changed(
        recipe, {"epochs": 1, "training_size": [96, 96], "augmentation.jpeg": 0.0}
    )
    assert (changed.epochs, changed.keep_epoch, changed.training_size) == (1, 1, (96, 96))
    assert changed.augmentation == replace(STRONG, jpeg=0.0)
    with pytest.raises(RunError, match="cannot be changed so"):
        tries.changed(recipe, {"epoch": 1})
    with pytest.raises(RunError, match="schedule must be one of"):
        tries.changed(recipe, {"schedule": "steep"})


def test_a_try_is_trained_judged_and_written_down(tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    best = replace(get("baseline", "improved"), teacher_weight=0.0, batch_size=8)
    monkeypatch.setattr(recipes, "get", lambda variant, name: best)
    arguments = [
        "try",
        "short",
        "baseline",
        "--change",
        "epochs=1",
        "--change",
        "input_size=[40, 40]",
        "--expect",
        "little",
        "--data",
        str(tiny_dataset),
    ]
    assert main([*arguments, "--results", "log"]) == 0
    printed = json.loads(capsys.readouterr().out)
    [record] = tries.read(tmp_path / "log")
    assert record["summary"] == printed
    assert (record["name"], record["changes"], record["expected"]) == (
        "short",
        {"epochs": 1, "input_size": [40, 40]},
        "little",
    )
    assert record["images"] < 24
    assert 0 <= printed["worst_auc"] <= printed["mean_auc"] <= 1
    # A second try of that name takes the first one's place.
    assert main([*arguments, "--results", "log"]) == 0
    assert len(tries.read(tmp_path / "log")) == 1
    assert main(["try", "short", "baseline", "--conclude", "kept", "--results", "log"]) == 0
    assert f"{printed['clean_auc']:.4f}" in (tmp_path / "log" / "tries.md").read_text()
    assert "| kept |" in (tmp_path / "log" / "tries.md").read_text()
    assert (tmp_path / "log" / "tries.png").stat().st_size > 5000


def test_what_cannot_be_understood_is_said(tmp_path, capsys):
    assert main(["try", "x", "baseline", "--change", "epochs", "--results", str(tmp_path)]) == 1
    assert "FIELD=JSON" in capsys.readouterr().err
    assert main(["try", "x", "baseline", "--conclude", "kept", "--results", str(tmp_path)]) == 1
    assert "no try 'x'" in capsys.readouterr().err
