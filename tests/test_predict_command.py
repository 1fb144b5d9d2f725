"""Prediction from a terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import pneumonia
from pneumonia import PneumoniaClassifier, cli
from pneumonia.cli import main
from pneumonia.text import harmless

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


def test_a_photograph_is_refused_with_its_reason_unless_forced(
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
    assert "temple.jpeg" in captured.err
    assert captured.err.count("\n") == 1
    assert main([*asked, "--force", "--json"]) == 0
    temple, chest = json.loads(capsys.readouterr().out)
    assert temple["warnings"]
    assert chest["warnings"] == []
    # A forced line says them beside the answers.
    assert main([*asked, "--force"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert captured.err.count("\n") == 1 and temple["warnings"][0] in captured.err


def test_an_operating_point_is_asked_for_by_its_name(
    models_folder: Path, images: list[str], capsys: Capture
) -> None:
    asked = ["predict", images[0], "--model", str(models_folder / "baseline"), "--json"]
    assert main([*asked, "--operating-point", "recall-0.98"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["operating_point"], row["threshold"]) == ("recall-0.98", 0.2)
    assert main([*asked, "--operating-point", "recall-0.5"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_picture_is_looked_at_once_where_that_is_asked_for(
    models_folder: Path, images: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, predict = [], PneumoniaClassifier.predict

    def noted(classifier: PneumoniaClassifier, *given: Any, **options: Any) -> Any:
        seen.append(options["views"])
        return predict(classifier, *given, **options)

    monkeypatch.setattr(PneumoniaClassifier, "predict", noted)
    asked = ["predict", images[0], "--model", str(models_folder / "baseline"), "--json"]
    assert main([*asked, "--views", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1 and seen == [1]
    assert main([*asked, "--views", "7"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_file_is_told_and_never_read(
    models_folder: Path, images: list[str], tmp_path: Path, capsys: Capture
) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    asked = ["predict", str(tmp_path / "pipe.dcm"), str(tmp_path), "/dev/zero", images[0]]
    assert main([*asked, "--model", str(models_folder / "baseline")]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err.count("\n") == 3


@pytest.mark.parametrize(
    "extra",
    [["--threshold", "2"], ["--threshold", "nan"], ["--threshold", "1", "--operating-point", "x"]],
    ids=str,
)
def test_a_wrong_option_ends_in_2(extra: list[str], images: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["predict", images[0], *extra])
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("model", ["nowhere", "models/xception", "hf://me/none", "https://x.org/a"])
def test_a_model_that_is_not_there_is_one_sentence(
    model: str, images: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["predict", images[0], "--model", model]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


# --- as a process
def run(*arguments: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "pneumonia", *arguments],
        env=os.environ | environment,
        cwd=EXAMPLES.parents[1],
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_names_that_the_terminal_cannot_show_lose_no_answer(
    models_folder: Path, images: list[str], tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path)
    names = ["胸部.jpeg".encode(), b"caf\xe9.jpeg", b"a\x1b[2J\nb.jpeg", b"plain.jpeg"]
    files = [os.path.join(folder, name) for name in names]  # noqa: PTH118 (bytes)
    for file in files:
        shutil.copy(images[0], file)
    done = run(
        "predict",
        *files,
        "--model",
        str(models_folder / "baseline"),
        PYTHONIOENCODING="cp1252",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.splitlines()
    assert len(lines) == len(files)
    assert b"\x1b" not in done.stdout
    assert lines[1].endswith(rb"caf\xe9.jpeg")


def test_nothing_is_read_after_the_reader_has_gone(
    models_folder: Path, images: list[str], tmp_path: Path
) -> None:
    asked = [sys.executable, "-m", "pneumonia", "predict", *images * 100]
    with subprocess.Popen(
        [*asked, "--model", str(models_folder / "baseline")],
        cwd=EXAMPLES.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(300) == 141
    assert said.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["--version"]], ids=str)
def test_help_brings_neither_tensorflow_nor_numpy(arguments: list[str]) -> None:
    script = (
        "import sys; from pneumonia.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: code = end.code\n"
        "sys.exit(code or bool({'tensorflow', 'keras', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_class_is_there_before_tensorflow_is() -> None:
    script = (
        "import sys, pneumonia; from pneumonia import *\n"
        "assert set(pneumonia.__all__) <= set(dir(pneumonia))\n"
        "sys.exit(bool({'tensorflow', 'keras'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    with pytest.raises(AttributeError):
        pneumonia.nothing_of_this_name  # noqa: B018


def test_the_page_is_said_to_be_elsewhere_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(cli, "APP", tmp_path / "app.py")
    assert main(["serve", "--port", "1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "app.py").write_text("import sys; sys.exit(sys.argv[1:] != ['--port', '1'])")
    with pytest.raises(SystemExit) as end:
        main(["serve", "--port", "1"])
    assert end.value.code == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("胸部 é.jpeg", "胸部 é.jpeg"),
        ("a\nb\tc\x1b[2J", r"a\nb\tc\x1b[2J"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("x" * 20_000, "x" * 149 + "…" + "x" * 149),
    ],
)
def test_what_could_steer_a_terminal_stands_as_its_escape(text: str, expected: str) -> None:
    assert harmless(text) == expected
