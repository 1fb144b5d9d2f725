"""The audit: what it counts on a set made by hand, and on the real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from train.augmentation import framing, nuisances
from train.data import audit
from train.data.chest_xray import scan

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def uneven(own_dataset) -> Path:
    """Three duplicates: of one patient, of two classes, and of two splits; and one image of another
    size; in all 44 files.
    """
    train, test = own_dataset / "train", own_dataset / "test"
    shutil.copy(train / "NORMAL" / "IM-0001-0001.jpeg", train / "NORMAL" / "IM-0001-0091.jpeg")
    shutil.copy(
        train / "NORMAL" / "IM-0002-0003.jpeg", train / "PNEUMONIA" / "person9_virus_91.jpeg"
    )
    # The same name in both splits makes the same patient in both.
    shutil.copy(
        train / "PNEUMONIA" / "person1_virus_1.jpeg", test / "PNEUMONIA" / "person1_virus_1.jpeg"
    )
    Image.new("L", (300, 200), 90).save(test / "NORMAL" / "IM-0203-0092.jpeg")
    return own_dataset


def test_the_audit_counts_what_was_put_there(uneven, tmp_path, capsys):
    facts = audit.audit(scan(uneven), tmp_path / "results")
    assert facts["images"] == 44
    assert facts["counts"] == {
        "train": {"NORMAL": 13, "PNEUMONIA": 13},
        "val": {"NORMAL": 4, "PNEUMONIA": 4},
        "test": {"NORMAL": 5, "PNEUMONIA": 5},
    }
    # Of twelve numbers 1 to 12 those with n % 4 < 2 are viruses: 1, 4, 5, 8, 9, 12; and the copied
    # person9.
    assert facts["causes"]["train"] == {"bacteria": 6, "virus": 7}
    assert facts["duplicates"]["groups"] == [
        ["test/PNEUMONIA/person1_virus_1.jpeg", "train/PNEUMONIA/person1_virus_1.jpeg"],
        ["train/NORMAL/IM-0001-0001.jpeg", "train/NORMAL/IM-0001-0091.jpeg"],
        ["train/NORMAL/IM-0002-0003.jpeg", "train/PNEUMONIA/person9_virus_91.jpeg"],
    ]
    assert facts["duplicates"]["files"] == 6
    assert facts["duplicates"]["across_splits"] == [
        ["test/PNEUMONIA/person1_virus_1.jpeg", "train/PNEUMONIA/person1_virus_1.jpeg"]
    ]
    assert facts["duplicates"]["across_classes"] == [
        ["train/NORMAL/IM-0002-0003.jpeg", "train/PNEUMONIA/person9_virus_91.jpeg"]
    ]
    assert facts["duplicates"]["across_patients"] == facts["duplicates"]["across_classes"]
    assert facts["patients"]["in_both"] == {
        "train and val": [],
        "train and test": ["person1_virus"],
        "val and test": [],
    }
    # NORMAL 201, 202 and the odd-sized 203; PNEUMONIA 201 and 202, a virus and a bacteria each, and
    # the copied person1_virus.
    assert facts["patients"]["groups"]["test"] == 3 + 4 + 1
    # Four of 120x96 and one of 300x200.
    assert facts["sizes"]["test"]["NORMAL"] == {
        "distinct": 2,
        "height": {"min": 96, "median": 96, "max": 200},
        "width": {"min": 120, "median": 120, "max": 300},
        "aspect": {"min": 1.25, "median": 1.25, "max": 1.5},
    }
    assert set(facts["nuisances"]["single"]) == {*nuisances.NUISANCES, *framing.FRAMING}
    printed = capsys.readouterr().out
    assert f"with an AUC of {facts['nuisances']['together']:.3f}" in printed
    assert (
        "duplicates: 3 groups of 6 files; across splits 1, across classes 1, across patients 1"
        in printed
    )
    assert "train and test 1" in printed


def test_with_too_few_of_a_class_nothing_is_said_of_nuisances(own_dataset, tmp_path, capsys):
    for path in sorted((own_dataset / "train" / "NORMAL").iterdir())[4:]:
        path.unlink()
    assert audit.audit(scan(own_dataset), tmp_path)["nuisances"] == {}
    assert "beside disease" not in capsys.readouterr().out


def test_what_is_written_is_what_is_returned_and_depends_on_the_data_alone(
    uneven, tiny_dataset, tmp_path
):
    facts = audit.audit(scan(uneven), tmp_path / "one")
    shutil.move(uneven, tmp_path / "elsewhere")
    audit.audit(scan(tmp_path / "elsewhere"), tmp_path / "two")
    for name in (audit.JSON_NAME, audit.PICTURE_NAME):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    text = (tmp_path / "one" / audit.JSON_NAME).read_text()
    assert json.loads(text) == facts
    assert str(tmp_path) not in text
    with Image.open(tmp_path / "one" / audit.PICTURE_NAME) as picture:
        assert picture.width >= 1500
    audit.audit(scan(tiny_dataset), tmp_path / "three")
    assert (tmp_path / "one" / audit.PICTURE_NAME).read_bytes() != (
        tmp_path / "three" / audit.PICTURE_NAME
    ).read_bytes()


def test_an_unreadable_file_is_named_and_the_rest_counted(own_dataset, tmp_path):
    for path in (own_dataset / "val" / "NORMAL").iterdir():
        path.write_bytes(b"no picture at all")
    facts = audit.audit(scan(own_dataset), tmp_path)
    assert facts["unreadable"] == [
        f"val/NORMAL/IM-010{patient}-000{number}.jpeg"
        for patient, number in ((1, 1), (1, 2), (2, 3), (2, 4))
    ]
    assert facts["sizes"]["val"]["NORMAL"] == {"distinct": 0}
    assert facts["images"] == 40


def test_an_image_that_breaks_off_is_unreadable(own_dataset, tmp_path, capsys):
    file = next((own_dataset / "test" / "NORMAL").iterdir())
    file.write_bytes(file.read_bytes()[:900])
    (own_dataset / "train" / "Thumbs.db").write_bytes(b"litter")
    facts = audit.audit(scan(own_dataset), tmp_path)
    assert facts["unreadable"] == [f"test/NORMAL/{file.name}"]
    assert "unreadable 1; ignored 1;" in capsys.readouterr().out


@pytest.mark.data
def test_the_committed_audit_is_that_of_the_real_data(cxr_root, tmp_path, monkeypatch):
    # All files are counted; what their pictures tell is computed of every eighth, which is enough
    # to see that the committed figures are of these images.
    load = audit.load
    monkeypatch.setattr(
        audit, "load", lambda items, *more, **named: load(items[::8], *more, **named)
    )
    facts = audit.audit(scan(cxr_root), tmp_path)
    committed = json.loads((CHECKOUT / "assets" / "results" / audit.JSON_NAME).read_text())
    some, whole = facts.pop("nuisances"), committed.pop("nuisances")
    assert facts == committed
    assert some["together"] == pytest.approx(whole["together"], abs=0.05)
    assert set(some["single"]) == set(whole["single"])
    for name, found in some["single"].items():
        assert found["auc"] == pytest.approx(whole["single"][name]["auc"], abs=0.06), name
    assert facts["images"] == 5856
    assert len(facts["duplicates"]["groups"]) == 30
    assert facts["duplicates"]["across_splits"] == facts["duplicates"]["across_classes"] == []
    assert facts["patients"]["groups"] == {"train": 3654, "val": 15, "test": 428}
    assert facts["patients"]["in_both"]["train and test"] == []
    assert facts["unreadable"] == []
    # Why recipes alter exposure and detail: without a look at the lungs, the classes can be told
    # apart.
    assert whole["together"] > 0.9
    medians = whole["single"]["fine detail"]["medians"]
    assert medians["NORMAL"] > medians["PNEUMONIA"]
    # The original sizes, of which only the val folder is left, tell the classes apart: see the
    # limits in the README.
    assert (
        facts["sizes"]["val"]["PNEUMONIA"]["aspect"]["median"]
        > facts["sizes"]["val"]["NORMAL"]["aspect"]["median"] + 0.2
    )


def test_the_committed_audit_names_no_path():
    text = (CHECKOUT / "assets" / "results" / audit.JSON_NAME).read_text()
    facts = json.loads(text)
    assert facts["counts"]["train"] == {"NORMAL": 1341, "PNEUMONIA": 3875}
    assert '"/' not in text
