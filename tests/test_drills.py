"""What the machine does to people: a kill, a full disk, a home that cannot be written, bytes that
rot, two programs on one cache. Nothing is lost, and what is wrong is one sentence.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import PneumoniaClassifier, bundle, cli, familiarity
from pneumonia.bundle import BundleError
from pneumonia.model_spec import ModelSpecError
from pneumonia.score import write as write_table
from train.__main__ import main as train_command

CHECKOUT = Path(__file__).resolve().parents[1]


def run(
    *words: str | Path, setup: str = "", seconds: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``python -m WORDS`` in a process of its own, after ``setup`` was executed in it."""
    module, *arguments = map(str, words)
    program = (
        f"import sys, runpy\n{setup}\n"
        f"sys.argv = {[module, *arguments]!r}\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def read_complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a failed command said last; nothing of it is a traceback."""
    assert ended.returncode not in (0, -signal.SIGKILL), ended.stdout
    assert "Traceback" not in ended.stderr, ended.stderr[-3000:]
    return ended.stderr.replace("\r", "\n").strip().splitlines()[-1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, drawn_radiograph) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(160):
        Image.fromarray(drawn_radiograph(number % 8, number % 2)).save(folder / f"{number:03d}.png")
    return folder


def score_rest(model: str, pictures: Path, out: Path) -> int:
    """Goes on with a table; how many pictures were left to score."""
    classifier = PneumoniaClassifier.from_pretrained(model)
    return write_table(classifier, pictures, out)["scored"]


def test_a_killed_score_goes_on_and_its_table_is_that_of_an_unbroken_one(
    models_folder, pictures, tmp_path
):
    model = str(models_folder / "baseline")
    score = ("pneumonia", "score", str(pictures), "--force", "--model", model, "--out")
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    assert cli.main([*score[1:], str(whole)]) == 0
    # Killed as soon as a chunk is on disk, in the middle of the next.
    deadly = (
        "import os, signal\nfrom pneumonia import score\nsync = os.fsync\n"
        "def killed(file):\n    sync(file)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.fsync = killed"
    )
    killed = run(*score, out, setup=deadly)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not out.exists() and (tmp_path / "out.csv.part").stat().st_size > 0
    assert 0 < score_rest(model, pictures, out) < 160
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "out.csv.part").exists()


# A limit on the size of files stands for a full disk: writing fails in the middle of a file.
FULL = (
    "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
)


def test_a_full_disk_ends_a_score_in_a_sentence_and_keeps_what_is_done(
    models_folder, pictures, tmp_path
):
    model, out = str(models_folder / "baseline"), tmp_path / "out.csv"
    score = ("pneumonia", "score", str(pictures), "--force", "--model", model, "--out", out)
    said = read_complaint(run(*score, setup=FULL.format(6_000)))
    assert "out.csv" in said and "cannot be written" in said
    assert not out.exists()
    assert 0 < score_rest(model, pictures, out) < 160
    assert len(out.read_text().splitlines()) == 161


@pytest.mark.parametrize("size", [2_000, 200_000])
def test_a_full_disk_ends_training_in_a_sentence(tiny_scan, tmp_path, size):
    fit = ("train", "fit", "baseline", "--recipe", "original", "--epochs", "1")
    folders = ("--data", tiny_scan.root, "--out", tmp_path / "run")
    said = read_complaint(run(*fit, *folders, setup=FULL.format(size)))
    assert "disk" in said.lower() or "written" in said.lower() or "too large" in said.lower(), said
    # Whatever was kept is whole: with room again the run is made anew or goes on.
    assert train_command([str(word) for word in (*fit[1:], *folders, "--resume")]) == 0


def test_a_full_disk_leaves_no_half_of_a_saved_model(models_folder, tmp_path):
    saving = (
        "import sys\nfrom pneumonia import PneumoniaClassifier\n"
        f"classifier = PneumoniaClassifier.from_pretrained({str(models_folder / 'baseline')!r})\n"
        f"{FULL.format(20_000)}\n"
        f"classifier.save_pretrained({str(tmp_path / 'copy')!r})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", saving],
        cwd=CHECKOUT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 1
    assert re.fullmatch(r"OSError: .* cannot be written: .*", ended.stderr.splitlines()[-1])
    assert not list((tmp_path / "copy").iterdir())


def test_a_home_that_cannot_be_written_is_no_hindrance(models_folder, pictures):
    nowhere = "/proc/1/nowhere"
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR"), nowhere)
    ended = run(
        *("pneumonia", "predict", pictures / "000.png", "--model", models_folder / "baseline"),
        *("--force", "--json"),
        **homes,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert json.loads(ended.stdout)[0]["label"] in ("NORMAL", "PNEUMONIA")
    assert "Traceback" not in ended.stderr


@pytest.fixture
def sealed(models_folder, tmp_path) -> Path:
    folder = tmp_path / "sealed"
    shutil.copytree(models_folder / "baseline", folder)
    rng = np.random.default_rng(0)
    known = rng.integers(0, 255, (40, 224, 224), np.uint8)
    familiarity.fit(known, known).save(folder / bundle.FAMILIARITY)
    bundle.seal(folder)
    bundle.load(folder)
    return folder


def flip_bit(content: bytes, at: float) -> bytes:
    place = min(int(len(content) * at), len(content) - 1)
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "rotten",
    [
        *(lambda content, at=at: flip_bit(content, at) for at in (0, 0.25, 0.5, 0.75, 1)),
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: content.replace(b"\n", b"\r\n") + b" ",
        lambda content: b"",
        lambda content: bytes(len(content)),
    ],
    ids=[
        *("first byte", "first quarter", "middle", "last quarter", "last byte"),
        *("cut", "longer", "other line ends", "empty", "zeros"),
    ],
)
@pytest.mark.parametrize(
    "name", [*bundle.NEEDED, bundle.METRICS, bundle.FAMILIARITY, bundle.CHECKSUMS]
)
def test_rotten_bytes_are_noticed_in_every_file_that_is_read(sealed, name, rotten):
    file = sealed / name
    file.write_bytes(rotten(file.read_bytes()))
    with pytest.raises((BundleError, ModelSpecError)) as caught:
        bundle.load(sealed)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_two_programs_start_at_once_on_one_cache(models_folder, tmp_path):
    """Both make whatever the cache lacks, and both answer alike."""
    program = (
        "from pneumonia import PneumoniaClassifier\n"
        f"classifier = PneumoniaClassifier.from_pretrained({str(models_folder / 'baseline')!r})\n"
        "import numpy as np\n"
        "print(classifier.predict(np.full((64, 64), 90, np.uint8), on_invalid='ignore')"
        ".probability)"
    )
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **dict.fromkeys(("HOME", "HF_HOME", "XDG_CACHE_HOME"), str(tmp_path)),
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=CHECKOUT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    deadline = time.monotonic() + 240
    said = [one.communicate(timeout=max(1, deadline - time.monotonic())) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert said[0][0] == said[1][0]
