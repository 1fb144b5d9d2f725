"""Prediction from a terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from pneumonia.__main__ import main

Capture = pytest.CaptureFixture[str]
EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    # Drawn radiographs would be refused.
    return [
        str(shutil.copy(EXAMPLES / name, tmp_path))
        for name in ("NORMAL2-IM-1427-0001.jpeg", "person1946_bacteria_4874.jpeg")
    ]


def test_a_line_an_image_in_the_order_given(
    models_folder: Path, images: list[str], capsys: Capture
) -> None:
    assert main(["predict", *images, "--model", str(models_folder / "baseline")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == images
    assert all(line.split()[0] in ("NORMAL", "PNEUMONIA") for line in lines)


def test_json_has_what_the_prediction_has(
    models_folder: Path, images: list[str], capsys: Capture
) -> None:
    assert (
        main(
            [
                "predict",
                *images,
                "--model",
                str(models_folder / "augmented"),
                "--json",
                "--threshold",
                "1",
            ]
        )
        == 0
    )
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [Path(image).name for image in images]
    assert {row["variant"] for row in rows} == {"augmented"}
    # Nothing untrained reaches a probability of 1.
    assert {(row["label"], row["threshold"]) for row in rows} == {("NORMAL", 1.0)}


def test_one_bad_file_spoils_nothing_and_is_told(
    models_folder: Path, images: list[str], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    assert (
        main(
            [
                "predict",
                images[0],
                str(tmp_path / "notes.txt"),
                str(tmp_path / "gone.png"),
                images[1],
                "--model",
                str(models_folder / "baseline"),
            ]
        )
        == 1
    )
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert "notes.txt is no picture" in captured.err
    assert "gone.png" in captured.err
    assert "Traceback" not in captured.err


def test_a_photograph_is_refused_with_its_reason_unless_overruled(
    models_folder: Path, images: list[str], tmp_path: Path, capsys: Capture
) -> None:
    Image.fromarray(load_sample_image("china.jpg")).save(tmp_path / "temple.jpeg")
    asked = [
        "predict",
        str(tmp_path / "temple.jpeg"),
        images[1],
        "--model",
        str(models_folder / "baseline"),
    ]
    assert main(asked) == 1
    captured = capsys.readouterr()
    assert [line.split()[-1] for line in captured.out.splitlines()] == [images[1]]
    assert "temple.jpeg was not answered. It is in colour" in captured.err
    assert main([*asked, "--force", "--json"]) == 0
    temple, chest = json.loads(capsys.readouterr().out)
    assert temple["warnings"][0].startswith("It is in colour")
    assert chest["warnings"] == []


@pytest.mark.parametrize(
    ("extra", "said"),
    [(["--threshold", "2"], "0..1"), (["--model", "nowhere"], "no model folder nowhere")],
)
def test_a_wrong_option_is_one_sentence(
    extra: list[str], said: str, models_folder: Path, images: list[str], capsys: Capture
) -> None:
    assert main(["predict", images[0], "--model", str(models_folder / "baseline"), *extra]) == 1
    assert said in capsys.readouterr().err
