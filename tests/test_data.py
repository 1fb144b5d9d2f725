"""The data set: found wherever it may be, refused with the culprit's name where something is wrong,
decoded once.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from missing import absent
from PIL import Image

from pneumonia import radiograph
from train.data import chest_xray
from train.data.chest_xray import DataError, Dataset, counts, load, locate, scan


# --- what is in it
def test_every_image_is_listed_with_its_label_and_split(tiny_scan):
    assert counts(tiny_scan.items) == {
        split: {"NORMAL": number, "PNEUMONIA": number}
        for split, number in (("train", 12), ("val", 4), ("test", 4))
    }
    for split in chest_xray.SPLITS:
        assert {item.split for item in tiny_scan.split(split)} == {split}
    first = tiny_scan.items[0]
    assert (first.relative, first.label, first.split) == (
        "train/NORMAL/IM-0001-0001.jpeg",
        0,
        "train",
    )
    assert [item.relative for item in tiny_scan.split("val")] == sorted(
        item.relative for item in tiny_scan.split("val")
    )
    assert len(tiny_scan.digests) == len(tiny_scan.items) == 40


def test_an_unknown_split_is_answered_with_those_there_are(tiny_scan):
    with pytest.raises(DataError, match="no split 'valid'; expected one of train, val, test"):
        tiny_scan.split("valid")


@pytest.mark.parametrize(
    ("folder", "name", "patient", "cause"),
    [
        ("NORMAL", "IM-0115-0001.jpeg", "IM-0115", None),
        ("NORMAL", "NORMAL2-IM-0115-0001.jpeg", "NORMAL2-IM-0115", None),
        ("NORMAL", "IM-0011-0001-0002.jpeg", "IM-0011", None),
        ("PNEUMONIA", "person1_bacteria_1.jpeg", "person1_bacteria", "bacteria"),
        ("PNEUMONIA", "person1_virus_12.jpeg", "person1_virus", "virus"),
        ("PNEUMONIA", "person1000_virus_1681.jpeg", "person1000_virus", "virus"),
        ("NORMAL", "chest-from-elsewhere.png", "val/NORMAL/chest-from-elsewhere.png", None),
        ("PNEUMONIA", "1.jpeg", "val/PNEUMONIA/1.jpeg", None),
    ],
)
def test_the_patient_is_the_whole_prefix(own_dataset, folder, name, patient, cause):
    file = own_dataset / "val" / folder / name
    shutil.copy(next((own_dataset / "val" / folder).iterdir()), file)
    item = next(item for item in scan(own_dataset).items if item.path == file)
    assert (item.patient, item.cause) == (patient, cause)


def test_a_name_in_a_table_tells_label_patient_and_cause(tiny_scan):
    for item in tiny_scan.items:
        found = chest_xray.parse_item(item.relative)
        assert (found.relative, found.split, found.label, found.patient, found.cause) == (
            item.relative,
            item.split,
            item.label,
            item.patient,
            item.cause,
        )
    for name in ("IM-0001-0001.jpeg", "holdout/NORMAL/IM-0001-0001.jpeg", "test/COVID/x.jpeg"):
        with pytest.raises(DataError, match="names no image"):
            chest_xray.parse_item(name)


# --- what may be wrong with it
@pytest.mark.parametrize("split", chest_xray.SPLITS)
def test_a_missing_split_is_named(own_dataset, split):
    shutil.rmtree(own_dataset / split)
    with pytest.raises(DataError, match=f"has no folder {split}; expected train, val, test"):
        scan(own_dataset)


@pytest.mark.parametrize("label", ["NORMAL", "PNEUMONIA"])
def test_a_missing_class_is_named(own_dataset, label):
    shutil.rmtree(own_dataset / "test" / label)
    with pytest.raises(
        DataError, match=f"test has no folder {label}; expected NORMAL and PNEUMONIA"
    ):
        scan(own_dataset)


def test_an_empty_class_folder_is_named(own_dataset):
    for path in (own_dataset / "val" / "NORMAL").iterdir():
        path.unlink()
    with pytest.raises(
        DataError, match=r"val.NORMAL has no images; expected \.jpeg, \.jpg, \.png files"
    ):
        scan(own_dataset)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("extra", "chest_xray has extra beside the split folders train, val, test;"),
        ("train/COVID", "train has COVID beside the class folders NORMAL, PNEUMONIA"),
        ("train/chest_xray", "train has chest_xray beside the class folders"),
        ("test/NORMAL/more", "NORMAL has more, no .jpeg, .jpg, .png files"),
    ],
)
def test_an_extra_folder_is_named(own_dataset, place, message):
    (own_dataset / place).mkdir()
    with pytest.raises(DataError, match=message):
        scan(own_dataset)


@pytest.mark.parametrize(
    "place",
    [
        "notes.txt",
        "train/labels.csv",
        "train/NORMAL/scan.dcm",
        "train/NORMAL/IM-0001-0001.jpeg.bak",
    ],
)
def test_an_extra_file_is_named(own_dataset, place):
    (own_dataset / place).write_text("something")
    with pytest.raises(DataError, match=Path(place).name):
        scan(own_dataset)


def test_at_most_five_culprits_are_named(own_dataset):
    for number in range(7):
        (own_dataset / f"extra{number}").mkdir()
    with pytest.raises(DataError, match="extra0, extra1, extra2, extra3, extra4 and 2 more beside"):
        scan(own_dataset)


def test_an_empty_file_is_named(own_dataset):
    (own_dataset / "train" / "NORMAL" / "IM-0001-0001.jpeg").write_bytes(b"")
    with pytest.raises(DataError, match=r"NORMAL has empty files, IM-0001-0001\.jpeg"):
        scan(own_dataset)


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("IM-0001-0001.jpeg", "PNEUMONIA", "NORMAL"),
        ("NORMAL2-IM-0001-0001.jpeg", "PNEUMONIA", "NORMAL"),
        ("person5_virus_9.jpeg", "NORMAL", "PNEUMONIA"),
    ],
)
def test_a_misfiled_image_is_named_with_where_it_belongs(own_dataset, name, wrong, right):
    folder = own_dataset / "train" / wrong
    shutil.copy(next(folder.iterdir()), folder / name)
    with pytest.raises(
        DataError,
        match=(
            rf"{name} lies in {wrong}, but its name is that of a {right} image; move it to"
            rf" train/{right}"
        ),
    ):
        scan(own_dataset)


def test_what_file_managers_leave_behind_is_ignored_and_counted(own_dataset, tiny_scan):
    for folder in (own_dataset, own_dataset / "train", own_dataset / "train" / "NORMAL"):
        for name in (".DS_Store", "Thumbs.db", "._IM-0001-0001.jpeg"):
            (folder / name).write_bytes(b"litter")
        for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
            (folder / name).mkdir()
    found = scan(own_dataset)
    assert found.fingerprint == tiny_scan.fingerprint
    assert (len(found.ignored), len(tiny_scan.ignored)) == (18, 0)


@pytest.mark.parametrize(
    ("place", "right"),
    [
        ("train/Normal", "NORMAL"),
        ("train/PNEUMONIAS", "PNEUMONIA"),
        ("test/Pnuemonia", "PNEUMONIA"),
        ("validation", "val"),
        ("Training", "train"),
    ],
)
def test_a_misspelt_folder_is_offered_as_a_rename(own_dataset, place, right):
    wrong = own_dataset / place
    (wrong.parent / right).rename(wrong)
    with pytest.raises(DataError, match=f"has {wrong.name} and no {right}.*rename it to {right}"):
        scan(own_dataset)


@pytest.mark.parametrize("name", [b"r\xf6ntgen.jpeg", b"new\nline.jpeg", b"\x1b[31mred.jpeg"])
def test_a_name_that_is_no_text_is_named_harmlessly(own_dataset, name):
    folder = own_dataset / "train" / "NORMAL"
    shutil.copy(next(folder.iterdir()), folder / os.fsdecode(name))
    with pytest.raises(DataError, match="rename") as told:
        scan(own_dataset)
    assert str(told.value).isprintable()


def test_kaggles_inner_copy_is_found_or_passed_over(own_dataset, tiny_scan, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    moved = Path(shutil.copytree(own_dataset, outer / "chest_xray"))
    assert scan(outer).root == moved
    assert scan(outer).fingerprint == tiny_scan.fingerprint
    # Both beside each other: the inner one is not counted a second time.
    shutil.copytree(own_dataset, moved / "chest_xray")
    assert scan(outer).fingerprint == tiny_scan.fingerprint


def test_a_folder_that_is_none_of_this_is_named(tmp_path):
    with pytest.raises(DataError, match="has no folder train"):
        scan(tmp_path)


# --- the fingerprint
def test_one_byte_changes_the_fingerprint_and_the_place_does_not(own_dataset, tiny_scan):
    assert scan(own_dataset).fingerprint == tiny_scan.fingerprint
    file = own_dataset / "test" / "PNEUMONIA" / "person201_virus_1.jpeg"
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    changed = scan(own_dataset).fingerprint
    assert changed != tiny_scan.fingerprint
    file.rename(file.with_name("person201_virus_9.jpeg"))
    assert scan(own_dataset).fingerprint not in (changed, tiny_scan.fingerprint)


def test_the_fingerprint_is_that_of_a_checksum_listing(tiny_scan):
    one = Dataset(tiny_scan.root, tiny_scan.items[:1], ("ab" * 32,))
    # printf '%s  train/NORMAL/IM-0001-0001.jpeg\n' abab...ab | sha256sum
    assert one.fingerprint == "6e713ece378c0c88a21e6a04431021bc9dfb22d7dbf5a8718bbd9ecd27dbb76e"


# --- where it is
@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.delenv("CHEST_XRAY_DIR", raising=False)
    # None in sys.modules makes the import fail, whether kagglehub is installed here or not.
    monkeypatch.setitem(sys.modules, "kagglehub", None)


def kaggle(monkeypatch, download) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))


def test_the_folder_given_comes_first(nowhere, monkeypatch, tiny_dataset, tmp_path):
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path))
    assert locate(tiny_dataset) == tiny_dataset
    assert locate(str(tiny_dataset.parent)) == tiny_dataset


def test_then_the_environment(nowhere, monkeypatch, tiny_dataset):
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tiny_dataset))
    assert locate() == tiny_dataset
    monkeypatch.setenv("HOME", str(tiny_dataset.parent))
    monkeypatch.setenv("CHEST_XRAY_DIR", "~/chest_xray")
    assert locate() == tiny_dataset


@pytest.mark.parametrize("through", ["argument", "environment"])
def test_a_folder_that_is_not_there_is_no_reason_to_download(
    nowhere, monkeypatch, tmp_path, through
):
    kaggle(monkeypatch, lambda name: pytest.fail("downloaded although a folder was named"))
    absent = tmp_path / "absent"
    if through == "environment":
        monkeypatch.setenv("CHEST_XRAY_DIR", str(absent))
    with pytest.raises(
        DataError, match=r"no data folder .*absent; it should hold train, val, test"
    ):
        locate(absent if through == "argument" else None)


def test_then_kaggle(nowhere, monkeypatch, tiny_dataset):
    asked = []

    def download(name: str) -> str:
        asked.append(name)
        return str(tiny_dataset.parent)

    kaggle(monkeypatch, download)
    assert locate() == tiny_dataset
    assert asked == ["paultimothymooney/chest-xray-pneumonia"]


def test_without_kagglehub_one_sentence_says_what_to_do(nowhere):
    with pytest.raises(
        DataError,
        match=(
            r"kagglehub is not installed\. Download paultimothymooney/chest-xray-pneumonia .* with"
            r" --data DIR or CHEST_XRAY_DIR"
        ),
    ):
        locate()


def test_without_a_network_too(nowhere, monkeypatch):
    def download(name: str) -> str:
        raise ConnectionError("no route to host")

    kaggle(monkeypatch, download)
    with pytest.raises(
        DataError,
        match=r"Kaggle could not be reached \(ConnectionError\)\. Download paultimothymooney",
    ):
        locate()


# --- its images
@pytest.fixture
def decoded(monkeypatch) -> list[Path]:
    """What has been decoded, in order."""
    paths: list[Path] = []
    read = radiograph.read

    def note_path(source: Path) -> radiograph.Radiograph:
        paths.append(source)
        return read(source)

    monkeypatch.setattr(radiograph, "read", note_path)
    return paths


def test_images_come_in_the_order_asked_for(tiny_scan):
    items = list(reversed(tiny_scan.split("val")))
    images, labels, kept = load(items, (40, 50))
    assert images.shape == (8, 40, 50)
    assert images.dtype == np.uint8
    assert labels.tolist() == [item.label for item in items] == [1] * 4 + [0] * 4
    assert kept == items
    np.testing.assert_array_equal(
        images[2], radiograph.resize(radiograph.read(items[2].path), (40, 50))
    )


def test_the_cache_saves_decoding_and_gives_the_same(tiny_scan, tmp_path, decoded):
    items = tiny_scan.split("val")
    first = load(items, (40, 40), cache=tmp_path)
    assert len(decoded) == 8
    again = load(items, (40, 40), cache=tmp_path)
    assert len(decoded) == 8
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[2] == again[2]
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_another_size_order_or_decoder_is_another_cache(tiny_scan, tmp_path, decoded, monkeypatch):
    items = tiny_scan.split("val")
    load(items, (40, 40), cache=tmp_path)
    _, labels, _ = load(list(reversed(items)), (40, 40), cache=tmp_path)
    assert labels.tolist() == [1] * 4 + [0] * 4
    assert load(items, (40, 48), cache=tmp_path)[0].shape == (8, 40, 48)
    monkeypatch.setattr(radiograph, "DECODER_VERSION", radiograph.DECODER_VERSION + 1)
    load(items, (40, 40), cache=tmp_path)
    assert len(decoded) == 4 * 8


def test_a_changed_file_is_decoded_again(own_dataset, tmp_path, decoded):
    items = scan(own_dataset).split("val")
    before = load(items, (40, 40), cache=tmp_path / "cache")[0]
    Image.new("L", (96, 96), 200).save(items[3].path)
    after = load(items, (40, 40), cache=tmp_path / "cache")[0]
    assert len(decoded) == 16
    assert np.abs(after[3].astype(int) - 200).max() <= 2
    np.testing.assert_array_equal(np.delete(after, 3, axis=0), np.delete(before, 3, axis=0))


@pytest.fixture
def damaged(own_dataset) -> Dataset:
    file = own_dataset / "val" / "NORMAL" / "IM-0101-0002.jpeg"
    file.write_bytes(file.read_bytes()[:600])
    return scan(own_dataset)


@pytest.mark.parametrize("cached", [False, True])
def test_a_corrupt_image_stops_with_its_name(damaged, tmp_path, cached):
    cache = tmp_path / "cache" if cached else None
    with pytest.raises(
        DataError, match=r"val/NORMAL/IM-0101-0002\.jpeg cannot be decoded; .* --skip-corrupt"
    ):
        load(damaged.split("val"), (40, 40), cache=cache)


def test_a_corrupt_image_is_reported_and_skipped_if_asked(damaged, tmp_path, capsys, decoded):
    items = damaged.split("val")
    for _ in range(2):
        # The second time the array comes from the cache; the report must come all the same.
        images, labels, kept = load(items, (40, 40), cache=tmp_path / "cache", skip_corrupt=True)
        assert "corrupt: val/NORMAL/IM-0101-0002.jpeg" in capsys.readouterr().err
        assert images.shape == (7, 40, 40)
        assert labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert [item.path.name for item in kept if not item.label] == [
            "IM-0101-0001.jpeg",
            "IM-0102-0003.jpeg",
            "IM-0102-0004.jpeg",
        ]
    assert len(decoded) == 8
    # What was skipped on purpose once is no permission to skip it now.
    with pytest.raises(DataError, match=r"IM-0101-0002\.jpeg cannot be decoded"):
        load(items, (40, 40), cache=tmp_path / "cache")


def test_nothing_left_is_an_error(damaged):
    broken = [item for item in damaged.items if item.path.name == "IM-0101-0002.jpeg"]
    with pytest.raises(DataError, match="None of the 1 images could be decoded"):
        load(broken, (40, 40), skip_corrupt=True)


# --- the real data
@pytest.fixture(scope="module")
def real(cxr_root) -> Dataset:
    return scan(cxr_root)


@pytest.mark.data
def test_the_real_data_is_what_was_published(real):
    assert counts(real.items) == {
        "train": {"NORMAL": 1341, "PNEUMONIA": 3875},
        "val": {"NORMAL": 8, "PNEUMONIA": 8},
        "test": {"NORMAL": 234, "PNEUMONIA": 390},
    }
    patients = {split: {item.patient for item in real.split(split)} for split in chest_xray.SPLITS}
    assert (len(patients["train"]), len(patients["test"])) == (3654, 428)
    assert not patients["train"] & patients["test"]


@pytest.mark.data
def test_the_real_data_matches_its_checksums(real, cxr_root):
    sums = cxr_root.parent / "SHA256SUMS"
    if not sums.is_file():
        absent("there is no SHA256SUMS beside the data folder, so nothing to compare with")
    listed = dict(reversed(line.split(maxsplit=1)) for line in sums.read_text().splitlines())
    found = {
        f"chest_xray/{item.relative}": digest
        for item, digest in zip(real.items, real.digests, strict=True)
    }
    assert found == listed
