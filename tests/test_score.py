from __future__ import annotations

import csv
import importlib.util
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from missing import absent
from PIL import Image

from pneumonia import cli, decoding, radiograph, score
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.score import ScoreError


@pytest.fixture(scope="module")
def classifier(make_spec):
    keras.utils.set_random_seed(1)
    return PneumoniaClassifier(
        CATALOGUE["baseline"].build((64, 64)), make_spec("baseline", (64, 64))
    )


@pytest.fixture
def archive(tmp_path, drawn_radiograph):
    """Twelve files of which three cannot be read, in an order that is not the one written in."""
    folder = tmp_path / "archive"
    (folder / "b").mkdir(parents=True)
    for number in (3, 0, 7, 1, 2, 8, 4, 5, 6):
        place = folder / ("b" if number > 4 else ".") / f"{number}.png"
        Image.fromarray(drawn_radiograph(number, number % 2)).save(place)
    (folder / "b" / "6b.png").write_bytes((folder / "b" / "6.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no X-ray")
    (folder / "=1+1.png").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"")
    return folder


NAMES = [
    *("0.png", "1.png", "2.png", "3.png", "4.png", "'=1+1.png"),
    *("b/5.png", "b/6.png", "b/6b.png", "b/7.png", "b/8.png", "notes.txt"),
]
UNREADABLE = ["'=1+1.png", "b/6b.png", "notes.txt"]


def _read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_row_a_file_in_their_order_and_as_predict_answers(classifier, archive, tmp_path):
    told = []
    counts = score.write(classifier, archive, tmp_path / "out.csv", workers=2, progress=told.append)
    assert counts == {"files": 12, "scored": 12, "unreadable": 3, "refused": 0}
    found = _read(tmp_path / "out.csv")
    assert [row["file"] for row in found] == NAMES
    assert [row["file"] for row in found if row["problem"]] == UNREADABLE
    assert all(bool(row["label"]) != bool(row["problem"]) for row in found)
    for row in found[:5]:
        expected = classifier.predict(archive / row["file"], on_invalid="ignore")
        assert row["label"] == expected.label
        assert float(row["probability"]) == pytest.approx(expected.probability, abs=1e-6)
        assert row["warnings"] == " ".join(expected.warnings)
    assert told[-1].done == told[-1].total == 12
    assert {file.name for file in tmp_path.iterdir()} == {"archive", "out.csv", "out.csv.json"}
    # Once more, and once more after a new file at the end.
    assert score.write(classifier, archive, tmp_path / "out.csv", workers=0)["scored"] == 0
    (archive / "z.png").write_bytes((archive / "0.png").read_bytes())
    assert score.write(classifier, archive, tmp_path / "out.csv", workers=0)["scored"] == 1
    again = _read(tmp_path / "out.csv")
    assert again[:-1] == found and again[-1]["file"] == "z.png"


def test_folder_list_and_archive_give_the_same_rows(classifier, archive, tmp_path):
    names = [source.name for source in score.find_sources(archive)]
    (archive / "all.txt").write_text("\n".join([*names, "missing.png"]) + "\n")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for name in names:
            packed.write(archive / name, name)
        packed.writestr("__MACOSX/0.png", b"")
    listed, packed_rows = (
        list(score.rows(classifier, score.find_sources(where), workers=0))
        for where in (archive / "all.txt", tmp_path / "all.zip")
    )
    assert [row.file for row in packed_rows] == names
    assert [row.file for row in listed] == [*names, "missing.png"]
    assert "There is no file" in listed[-1].problem
    for one, other in zip(listed, packed_rows, strict=False):
        assert (one.prediction is None) == (other.prediction is None)
        if one.prediction:
            assert one.prediction.probability == other.prediction.probability


def test_a_kill_loses_one_chunk_at_most(classifier, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(score, "CHUNK", 4)
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score.write(classifier, archive, whole, workers=0)

    def interrupt(now):
        if now.done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score.write(classifier, archive, out, workers=0, progress=interrupt)
    assert not out.exists()
    part = tmp_path / "out.csv.part"
    # A kill in the middle of a line.
    part.write_bytes(part.read_bytes()[:-7])
    assert score.write(classifier, archive, out, workers=0)["scored"] == 5
    assert out.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_a_table_of_another_threshold_is_not_gone_on_with(classifier, archive, tmp_path):
    out = tmp_path / "out.csv"
    score.write(classifier, archive, out, workers=0)
    with pytest.raises(ScoreError, match="another operating point"):
        score.write(classifier, archive, out, threshold=0.9, workers=0)
    # What was there is there, untouched.
    assert out.exists() and not (tmp_path / "out.csv.part").exists()
    assert score.write(classifier, archive, out, workers=0)["scored"] == 0
    (tmp_path / "mine.csv").write_text("a table of someone's own")
    with pytest.raises(ScoreError, match="was not made here"):
        score.write(classifier, archive, tmp_path / "mine.csv", workers=0)


def test_a_file_that_brings_its_decoder_down_costs_its_own_row(archive, monkeypatch):
    # What no worker survives is the decoding module's to test; here one breaks down by the clock.
    (archive / "b" / "7.png").write_bytes(b"kill me")
    exchange = decoding._Worker._exchange

    def deadly(worker, content, *rest):
        if content == b"kill me":
            worker.process.kill()
        return exchange(worker, content, *rest)

    monkeypatch.setattr(decoding._Worker, "_exchange", deadly)
    done = list(score.prepare_all(score.find_sources(archive), workers=2, ahead=3))
    assert [one.file for one in done] == [name.lstrip("'") for name in NAMES]
    gave_up = [one.file for one in done if "its decoder gave up" in one.problem]
    assert gave_up == ["b/7.png"]
    assert sum(one.copy is not None for one in done) == 8


def test_memory_holds_no_more_than_is_asked_for(archive, monkeypatch, classifier):
    begun = []
    prepare = score.prepare
    monkeypatch.setattr(score, "prepare", lambda source: begun.append(source) or prepare(source))
    answers = score.rows(classifier, score.find_sources(archive), workers=0, chunk=2)
    next(answers)
    assert len(begun) == 2


def test_an_archive_that_cannot_be_bounded_or_lies_is_told_so(classifier, archive, tmp_path):
    packed = tmp_path / "odd.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.write(archive / "0.png", "0.png")
        made.writestr("a=b.png", (archive / "1.png").read_bytes(), zipfile.ZIP_DEFLATED)
        made.writestr("bomb.png", bytes(10**6), zipfile.ZIP_BZIP2)
    content = bytearray(packed.read_bytes())
    content[content.index(b"IDAT") + 9] ^= 255
    packed.write_bytes(content)
    first, second, third = score.rows(classifier, score.find_sources(packed), workers=0)
    assert "damaged inside the archive" in first.problem
    assert second.prediction is not None and second.cells()["file"] == "a=b.png"
    assert "zip it anew" in third.problem


@pytest.mark.parametrize("name", ["=1+1.png", " +x", "a;=1", "\t-1", "＝1"])
def test_no_cell_is_a_formula(name):
    cells = score.Row(name, None, f"{name} is damaged").cells()
    for text in (cells["file"], cells["problem"]):
        assert ";" not in text and not text.lstrip().startswith(("=", "+", "-", "@", "＝"))


def test_says_what_is_wrong_with_the_question(classifier, archive, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScoreError, match="There is no file in"):
        score.write(classifier, tmp_path / "empty", tmp_path / "out.csv")
    with pytest.raises(ScoreError, match=r"\.csv or \.parquet, got out\.xlsx"):
        score.write(classifier, archive, tmp_path / "out.xlsx")
    for where in (tmp_path / "nowhere", archive / "0.png"):
        with pytest.raises(ScoreError, match=r"is no folder, no zip archive and no list|cannot be"):
            list(score.find_sources(where))


def test_the_page_hands_over_what_it_decoded_itself(classifier, drawn_radiograph):
    picture = radiograph.read(drawn_radiograph(1, 1, (300, 400)))
    ready = [
        score.Prepared("a", picture.copy, ("no chest",)),
        score.Prepared("b", None, (), "It is empty."),
    ]
    first, second = score.answer_files(classifier, ready)
    assert first.prediction.warnings == ("no chest",) and first.prediction.name == "a"
    assert first.prediction.probability == pytest.approx(
        classifier.predict(picture, on_invalid="ignore").probability, abs=1e-6
    )
    assert second.prediction is None and second.problem == "It is empty."


def test_parquet_holds_the_same(classifier, archive, tmp_path):
    if importlib.util.find_spec("pyarrow") is None:
        absent("pyarrow is not installed (pip install .[parquet])")
    parquet = importlib.import_module("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    score.write(classifier, archive, out, workers=0)
    table = parquet.read_table(out).to_pylist()
    assert [row["file"] for row in table] == NAMES
    assert table[0]["probability"] == pytest.approx(
        classifier.predict(archive / "0.png", on_invalid="ignore").probability, abs=1e-6
    )
    assert table[5]["probability"] is None and np.isfinite(table[0]["threshold"])
    assert score.write(classifier, archive, out, workers=0)["scored"] == 0


def test_the_command_says_what_it_did_and_fails_where_a_file_cannot_be_read(
    models_folder, archive, tmp_path, capsys
):
    out = tmp_path / "out.csv"
    line = ["score", str(archive), "--out", str(out), "--workers", "0"]
    line += ["--model", str(models_folder / "baseline"), "--force"]
    assert cli.main(line) == 1
    assert "12 files, 3 unreadable, 0 refused." in capsys.readouterr().err
    # Not by a second run either, which has nothing left to read.
    assert cli.main(line) == 1
    assert "3 unreadable" in capsys.readouterr().err
    assert [row["file"] for row in _read(out)] == NAMES
    for name in UNREADABLE:
        (archive / name.lstrip("'")).unlink()
    out.unlink()
    assert cli.main(line) == 0
    assert cli.main(line) == 0
    assert (
        "9 files (9 of them were done before), 0 unreadable, 0 refused." in capsys.readouterr().err
    )
    assert cli.main([*line, "--threshold", "0.9"]) == 1
    assert "another operating point" in capsys.readouterr().err
    assert cli.main([*line, "--operating-point", "best"]) == 2


def test_a_table_of_other_files_begins_anew_where_they_differ(classifier, archive, tmp_path):
    out = tmp_path / "out.csv"
    score.write(classifier, archive, out, workers=0)
    (archive / "b" / "5.png").unlink()
    assert score.write(classifier, archive, out, workers=0)["scored"] == 5
    assert [row["file"] for row in _read(out)] == [name for name in NAMES if name != "b/5.png"]


def test_a_table_in_its_own_folder_is_no_row_of_it(classifier, archive):
    out = archive / "out.csv"
    assert score.write(classifier, archive, out, workers=0)["files"] == 12
    assert score.write(classifier, archive, out, workers=0) == {
        "files": 12,
        "scored": 0,
        "unreadable": 3,
        "refused": 0,
    }


def test_what_fails_the_input_check_is_refused_unless_forced(classifier, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.full((300, 300), 128, np.uint8)).save(folder / "grey.png")
    (folder / "broken.png").write_bytes(b"")
    out = tmp_path / "out.csv"
    counts = score.write(classifier, folder, out, force=False, workers=0)
    assert (counts["unreadable"], counts["refused"]) == (1, 1)
    _, grey = _read(out)
    assert grey["warnings"] and not (grey["label"] or grey["probability"] or grey["problem"])
    # A second run counts them from the table.
    again = score.write(classifier, folder, out, force=False, workers=0)
    assert again == counts | {"scored": 0}
    with pytest.raises(ScoreError, match="force"):
        score.write(classifier, folder, out, workers=0)
    forced = tmp_path / "forced.csv"
    score.write(classifier, folder, forced, workers=0)
    assert _read(forced)[1]["label"] and _read(forced)[1]["warnings"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_answers_of_another_folder_are_not_taken_for_this_ones(
    classifier, archive, tmp_path, suffix
):
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        absent("pyarrow is not installed (pip install .[parquet])")
    other, out = tmp_path / "other", tmp_path / f"out{suffix}"
    other.mkdir()
    (other / "0.png").write_bytes((archive / "1.png").read_bytes())
    score.write(classifier, archive, out, workers=0)
    before = out.read_bytes()
    with pytest.raises(ScoreError, match=rf"another folder.* delete out\{suffix} to"):
        score.write(classifier, other, out, workers=0)
    assert out.read_bytes() == before
    assert {file.name for file in tmp_path.glob("out*")} == {out.name, f"{out.name}.json"}


@pytest.mark.parametrize("facts", ["", "{", "[]", "{}"])
def test_a_record_that_a_kill_spoiled_is_said_and_costs_no_traceback(
    classifier, archive, tmp_path, facts
):
    out = tmp_path / "out.csv"
    score.write(classifier, archive, out, workers=0)
    (tmp_path / "out.csv.json").write_text(facts)
    with pytest.raises(ScoreError, match=r"name another table, or delete out\.csv"):
        score.write(classifier, archive, out, workers=0)


def test_a_name_that_is_no_text_costs_no_table(classifier, archive, tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    for name in (b"m\xfcller.png", b"line\nbreak.png", b"plain.png"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(
            (archive / "0.png").read_bytes()
        )
    out = tmp_path / "out.csv"
    score.write(classifier, folder, out, workers=0)
    assert [row["file"] for row in _read(out)] == ["line break.png", r"m\xfcller.png", "plain.png"]
    assert all(row["label"] for row in _read(out))
    assert score.write(classifier, folder, out, workers=0)["scored"] == 0


def test_a_list_of_windows_and_an_archive_with_one_name_twice(classifier, archive, tmp_path):
    (archive / "list.txt").write_text("0.png\n1.png\n", encoding="utf-8-sig")
    first, second = score.rows(classifier, score.find_sources(archive / "list.txt"), workers=0)
    assert first.prediction and second.prediction
    packed = tmp_path / "twice.zip"
    with zipfile.ZipFile(packed, "w") as made, pytest.warns(UserWarning, match="Duplicate name"):
        made.write(archive / "0.png", "x.png")
        made.write(archive / "1.png", "x.png")
    twice = list(score.rows(classifier, score.find_sources(packed), workers=0))
    assert [row.prediction.probability for row in twice] == pytest.approx(
        [first.prediction.probability, second.prediction.probability], abs=1e-6
    )


def test_an_archive_that_was_replaced_is_read_anew(classifier, archive, tmp_path):
    packed = tmp_path / "a.zip"
    found = []
    for name in ("0.png", "1.png"):
        with zipfile.ZipFile(packed, "w") as made:
            made.write(archive / name, "x.png")
        (row,) = score.rows(classifier, score.find_sources(packed), workers=0)
        found.append(row.prediction.probability)
    expected = [
        classifier.predict(archive / name, on_invalid="ignore").probability
        for name in ("0.png", "1.png")
    ]
    assert found == pytest.approx(expected, abs=1e-6)
