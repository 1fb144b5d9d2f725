from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from page import batch
from page.archive import Entry
from page.served import EXAMPLES, Models, Shown
from page.uploads import Uploads
from pneumonia import PneumoniaClassifier

FILES = [EXAMPLES["NORMAL"][0], EXAMPLES["PNEUMONIA"][0], EXAMPLES["NORMAL"][1]]


@pytest.fixture
def models(models_folder):
    return Models(models_folder)


def entries(*files):
    return [Entry(file.name, file.read_bytes()) for file in files]


def refuse(monkeypatch, name):
    """The input check refuses the picture of that name."""
    monkeypatch.setattr(
        batch,
        "examine_upload",
        lambda picture: Shown(picture, reasons=("It is blank.",) if picture.name == name else ()),
    )


def test_each_row_is_what_the_model_says_of_the_file_alone(models, models_folder):
    decoded = list(batch.items(entries(*FILES)))
    found = batch.rows(models, "baseline", "default", decoded, force=True)
    classifier = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
    assert [row["file"] for row in found] == [file.name for file in FILES]
    for row, file in zip(found, FILES, strict=True):
        assert row["probability"] == pytest.approx(classifier.predict(file).probability, abs=1e-5)
        assert (
            row["answer"] == ("PNEUMONIA" if row["probability"] >= 0.5 else "NORMAL")
            and row["threshold"] == 0.5
        )
    # Another model and another operating point of the same decoded files.
    found = batch.rows(models, "xception", "recall-0.98", decoded, force=True)
    expected = PneumoniaClassifier.from_pretrained(models_folder / "xception").predict(FILES[1])
    assert (
        found[1]["probability"] == pytest.approx(expected.probability, abs=1e-5)
        and found[1]["threshold"] == 0.2
    )


def test_a_bad_file_says_why_and_spoils_nothing(models, monkeypatch):
    broken = Entry("notes.txt", b"no picture")
    locked = Entry("b.zip/x.png", None, "It is locked with a password.")
    odd = Entry("odd.png", entries(FILES[0])[0].content)

    def fail_at_odd(picture):
        if picture.name == "odd.png":
            raise RuntimeError("/srv/secret")
        return Shown(picture)

    monkeypatch.setattr(batch, "examine_upload", fail_at_odd)
    found = batch.rows(
        models,
        "baseline",
        "default",
        list(batch.items([broken, *entries(FILES[0]), locked, odd, *entries(FILES[1])])),
        force=False,
    )
    assert [row["answer"] == "UNREADABLE" for row in found] == [True, False, True, True, False]
    assert [bool(row["problem"]) for row in found] == [True, False, True, True, False]
    assert found[2]["problem"] == locked.problem
    assert "secret" not in found[3]["problem"]
    assert (found[0]["probability"], found[0]["label"], found[0]["warnings"]) == (None, None, [])


def test_what_is_refused_has_no_label_unless_forced(models, monkeypatch):
    refuse(monkeypatch, FILES[1].name)
    decoded = list(batch.items(entries(*FILES)))
    found = batch.rows(models, "baseline", "default", decoded, force=False)
    assert (found[1]["answer"], found[1]["probability"], found[1]["warnings"]) == (
        "REFUSED",
        None,
        ["It is blank."],
    )
    forced = batch.rows(models, "baseline", "default", decoded, force=True)
    assert forced[1]["probability"] is not None and forced[1]["warnings"] == ["It is blank."]
    # The others are the same, and each at its own place.
    assert [found[place]["probability"] for place in (0, 2)] == pytest.approx(
        [forced[place]["probability"] for place in (0, 2)], abs=1e-6
    )


def row(file: str, probability: float | None = None, **fields) -> batch.Row:
    values = {
        "answer": "UNREADABLE",
        "label": None,
        "threshold": 0.5,
        "operating_point": "default",
        "variant": "baseline",
        "uncertain": False,
        "unfamiliar": False,
        "warnings": [],
        "problem": "",
    }
    return batch.Row(file=file, probability=probability, **(values | fields))


def test_no_cell_of_the_csv_is_a_formula():
    rows = [
        row("=HYPERLINK(1)", 0.25, answer="NORMAL", label="NORMAL", warnings=["-1", "two"]),
        row('a "quoted", name\nof two lines; =A1', problem="+1"),
    ]
    read = list(csv.DictReader(io.StringIO(batch.as_csv(rows))))
    assert read[0].keys() == rows[0].keys()
    assert [line["file"] for line in read] == [
        "'=HYPERLINK(1)",
        'a "quoted", name of two lines, =A1',
    ]
    assert [line["probability"] for line in read] == ["0.250000", ""]
    assert [line["label"] for line in read] == ["NORMAL", ""]
    assert (read[0]["warnings"], read[1]["problem"]) == ("'-1 two", "'+1")


def test_names_are_escaped_in_the_table():
    rows = [row("<img src=x onerror=alert(1)>${1}{{x}}", problem="<b>")]
    shown = batch._table(rows)
    assert "<img" not in shown and "<b>" not in shown and "${" not in shown and "{{" not in shown


def test_sixteen_bits_and_an_archive_go_through_the_endpoint(
    models, models_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    uploads = Uploads()
    place = uploads.place()
    ramp = np.linspace(1000, 40_000, 200 * 200).reshape(200, 200).astype(np.uint16)
    deep = io.BytesIO()
    Image.fromarray(ramp).save(deep, "PNG")
    with zipfile.ZipFile(place / "b.zip", "w") as written:
        written.writestr("ward/deep.png", deep.getvalue())
        written.writestr("__MACOSX/x", b"")
        written.writestr("ward/a.jpeg", FILES[0].read_bytes())
    uploads.mark_arrived(place)
    (endpoint,) = batch.endpoints(models)
    found = endpoint([str(place / "b.zip")], "baseline", "default", True)
    assert [row["file"] for row in found["rows"]] == ["b.zip/ward/deep.png", "b.zip/ward/a.jpeg"]
    expected = (
        PneumoniaClassifier.from_pretrained(models_folder / "baseline").predict(ramp).probability
    )
    assert found["rows"][0]["probability"] == pytest.approx(expected, abs=1e-5)
    assert found["csv"].count("\n") == 3
    # Nothing of it is left.
    assert not place.exists()
    uploads.close()
