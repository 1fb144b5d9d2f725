"""Whether an X-ray is unlike those learned from: distance, threshold, file, and what an answer then
says.
"""

import csv
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from pneumonia import PneumoniaClassifier, bundle, familiarity, radiograph, score
from pneumonia.bundle import BundleError
from pneumonia.familiarity import SIDE, UNFAMILIAR, Familiarity
from train.__main__ import main
from train.data import folds
from train.data.chest_xray import DataError, load
from train.evaluation import familiarity as measured


def pictures(count, seed=0, slope=0.2):
    """Smooth pictures that differ in the slant of their brightness."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:224, :224] / 223
    made = []
    for _ in range(count):
        across, down = rng.normal(0, slope, 2)
        noise = np.kron(rng.normal(0, 2, (16, 16)), np.ones((14, 14)))
        made.append(60 + 100 * rows + 60 * across * columns + 60 * down * rows + noise)
    return np.clip(made, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known():
    return familiarity.fit(pictures(200), pictures(200, seed=1), components=4)


def test_distance_by_hand():
    eye = np.eye(SIDE * SIDE)
    own = Familiarity(np.zeros(SIDE * SIDE), eye[:2], np.array([1.0, 2.0]), 5.0, 3.0)
    picture = np.zeros((224, 224), np.uint8)
    picture[:14, :14], picture[:14, 14:28] = 255, 255
    # Two of 256 places are bright: freed of mean and spread they stand at sqrt(127), the rest at
    # -1/sqrt(127).
    high, low = np.sqrt(127), 1 / np.sqrt(127)
    along = high**2 / 1 + high**2 / 4
    rest = 0.25 * 2 * 254 * low**2 / 25
    assert own.distances(picture[np.newaxis])[0] == pytest.approx(np.sqrt(along + rest))
    assert own.unfamiliar(picture[np.newaxis]).tolist() == [True]


def test_brightness_and_contrast_say_nothing(known):
    own = pictures(5, seed=2)
    faint = (own * 0.5 + 40).astype(np.uint8)
    assert known.distances(faint) == pytest.approx(known.distances(own), rel=0.05)


def test_the_share_asked_for_passes(known):
    assert known.unfamiliar(pictures(200, seed=1)).mean() <= 0.02
    assert known.unfamiliar(pictures(200, seed=3)).mean() < 0.1


@pytest.mark.parametrize(
    "alter",
    [
        lambda picture: 255 - picture,
        lambda picture: picture[:, ::-1],
        lambda picture: picture[:, :, ::-1].transpose(0, 2, 1),
        np.zeros_like,
    ],
    ids=["inverted", "upside down", "turned", "blank"],
)
def test_what_is_laid_out_otherwise_is_unfamiliar(known, alter):
    assert known.unfamiliar(np.ascontiguousarray(alter(pictures(20, seed=4)))).all()


def test_it_survives_its_file(known, tmp_path):
    known.save(tmp_path / "familiarity.npz")
    again = familiarity.read(tmp_path / "familiarity.npz")
    own = pictures(50, seed=5)
    assert np.array_equal(again.distances(own), known.distances(own))
    assert again.threshold == known.threshold
    assert (tmp_path / "familiarity.npz").stat().st_size < 50_000


def archive(**arrays):
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


WHOLE = {
    "mean": np.zeros(SIDE * SIDE),
    "components": np.eye(SIDE * SIDE)[:2],
    "scale": np.ones(2),
    "rest": np.float64(1),
    "threshold": np.float64(1),
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        archive(**WHOLE)[:200],
        archive(mean=np.zeros(SIDE * SIDE)),
        archive(**WHOLE | {"scale": np.ones(3)}),
        archive(**WHOLE | {"scale": np.zeros(2)}),
        archive(**WHOLE | {"mean": np.full(SIDE * SIDE, np.nan)}),
        archive(**WHOLE | {"threshold": np.float64(np.inf)}),
        archive(**WHOLE | {"threshold": np.float64(-1)}),
        archive(**WHOLE | {"components": np.eye(9)[:2], "mean": np.zeros(9)}),
        archive(**WHOLE | {"mean": np.array([{"a": 1}] * SIDE * SIDE, dtype=object)}),
        archive(**WHOLE | {"mean": np.array(["x"] * SIDE * SIDE)}),
        archive(**WHOLE | {"threshold": np.ones(4)}),
    ],
    ids=[
        "empty",
        "no archive",
        "cut",
        "lacks arrays",
        "other length",
        "no spread",
        "nan",
        "infinite",
        "negative",
        "other size",
        "objects",
        "text",
        "four thresholds",
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / bundle.FAMILIARITY).write_bytes(content)
    with pytest.raises(BundleError, match=r"familiarity\.npz is damaged"):
        bundle.read_familiarity(tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "familiarity.npz", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("mean.npy", b"\0" * 50_000_000)
    with pytest.raises(ValueError, match="too large"):
        familiarity.read(tmp_path / "familiarity.npz")


@pytest.fixture
def knowing(models_folder, known):
    classifier = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
    classifier.familiarity = known
    return classifier


def test_an_unfamiliar_answer_is_uncertain_and_says_so(knowing):
    usual, strange = pictures(1, seed=6)[0], 255 - pictures(1, seed=6)[0]
    said, warned = knowing.predict([usual, strange], on_invalid="ignore")
    assert not said.unfamiliar and UNFAMILIAR not in said.warnings
    assert warned.unfamiliar and warned.uncertain and warned.warnings[-1] == UNFAMILIAR
    assert warned.label == ("PNEUMONIA" if warned.probability >= warned.threshold else "NORMAL")
    assert warned.to_dict()["unfamiliar"] is True


def test_a_bundle_without_it_calls_nothing_unfamiliar(models_folder):
    classifier = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
    assert classifier.familiarity is None
    assert not classifier.unfamiliar(255 - pictures(3)).any()


def test_a_table_says_it_too(knowing, tmp_path):
    for name, picture in {"a": pictures(1)[0], "b": 255 - pictures(1)[0]}.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    out = tmp_path / "found.csv"
    score.write(knowing, tmp_path, out, workers=0)
    with out.open(newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    assert rows["a.png"]["unfamiliar"] == "False"
    assert rows["b.png"]["unfamiliar"] == "True" and rows["b.png"]["uncertain"] == "True"
    assert UNFAMILIAR in rows["b.png"]["warnings"]


def test_it_is_loaded_from_the_bundle_and_missed_where_the_seal_names_it(
    models_folder, known, tmp_path
):
    folder = tmp_path / "baseline"
    shutil.copytree(models_folder / "baseline", folder)
    known.save(folder / bundle.FAMILIARITY)
    bundle.seal(folder)
    loaded = PneumoniaClassifier.from_pretrained(folder)
    assert loaded.familiarity.threshold == known.threshold
    (folder / bundle.FAMILIARITY).unlink()
    with pytest.raises(BundleError, match=r"familiarity\.npz"):
        PneumoniaClassifier.from_pretrained(folder)


def test_counts_of_warnings(known, tiny_scan, tmp_path):
    for number, picture in enumerate(pictures(3, seed=8)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match="no picture"):
        # Slanted grey is no chest X-ray, so none of them counts.
        measured.foreign(tmp_path)
    found = measured.measure(known, tiny_scan)
    titles = [one.title for one in found]
    assert titles[:2] == ["held-out patients", "test folder"]
    assert len(titles) == 2 + len(measured.ALTERED)
    assert all(0 <= one.warned <= one.images for one in found)
    held_out = load(folds.items_of(tiny_scan, folds.HELD_OUT), radiograph.COPY_SIZE)[0]
    assert (found[0].images, found[0].warned) == (
        len(held_out),
        known.unfamiliar(held_out).sum(),
    )
    measured.write(found, tmp_path / "deep" / "counts.json")
    assert measured.read(tmp_path / "deep" / "counts.json") == found


def test_the_command(models_folder, tiny_dataset, known, tmp_path, capsys):
    folder = tmp_path / "baseline"
    shutil.copytree(models_folder / "baseline", folder)
    ask = ["familiarity", str(folder), "--data", str(tiny_dataset)]
    assert main(ask) != 0 and "calibrate" in capsys.readouterr().err
    known.save(folder / bundle.FAMILIARITY)
    assert main([*ask, "--out", str(tmp_path / "counts.json")]) == 0
    assert "held-out patients" in capsys.readouterr().out
    assert json.loads((tmp_path / "counts.json").read_text())[0]["images"] > 0
