"""Prediction from a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia.__main__ import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def images(tmp_path: Path, drawn_radiograph: Callable[..., np.ndarray]) -> list[str]:
    files = []
    for label in (0, 1):
        file = tmp_path / f"x{label}.png"
        Image.fromarray(drawn_radiograph(3, label)).save(file)
        files.append(str(file))
    return files


def test_a_line_an_image_in_the_order_given(models_folder: Path, images: list[str], capsys: Capture) -> None:
    assert main(["predict", *images, "--model", str(models_folder / "baseline")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == images
    assert all(line.split()[0] in ("NORMAL", "PNEUMONIA") for line in lines)


def test_json_has_what_the_prediction_has(models_folder: Path, images: list[str], capsys: Capture) -> None:
    assert main(["predict", *images, "--model", str(models_folder / "augmented"), "--json", "--threshold", "1"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["x0.png", "x1.png"]
    assert {row["variant"] for row in rows} == {"augmented"}
    # Nothing untrained reaches a probability of 1.
    assert {(row["label"], row["threshold"]) for row in rows} == {("NORMAL", 1.0)}


def test_one_bad_file_spoils_nothing_and_is_told(models_folder: Path, images: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    assert main(["predict", images[0], str(tmp_path / "notes.txt"), str(tmp_path / "gone.png"), images[1], "--model", str(models_folder / "baseline")]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert "notes.txt is no picture" in captured.err
    assert "gone.png" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(("extra", "said"), [(["--threshold", "2"], "0..1"), (["--model", "nowhere"], "no model folder nowhere")])
def test_a_wrong_option_is_one_sentence(extra: list[str], said: str, models_folder: Path, images: list[str], capsys: Capture) -> None:
    assert main(["predict", images[0], "--model", str(models_folder / "baseline"), *extra]) == 1
    assert said in capsys.readouterr().err
