"""Decoding under limits: the same pixels and sentences as in this process, and an end to whatever
would not end by itself.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pneumonia import decoding, radiograph
from pneumonia.decoding import read_limited
from pneumonia.radiograph import UnreadableImage, read

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def workers():
    decoding.warm_up()
    yield
    decoding.close()


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def grey(drawn_radiograph) -> np.ndarray:
    return drawn_radiograph(1, 1, (40, 64))


def test_a_worker_reads_what_this_process_reads(grey, tmp_path):
    deep = imagecodecs.png_encode(np.dstack([grey.astype(np.uint16) * 16] * 3))
    for number, content in enumerate((png(grey), deep)):
        file = tmp_path / f"{number}.png"
        file.write_bytes(content)
        for source in (file, str(file), content):
            here, there = read(source), read_limited(source)
            np.testing.assert_array_equal(there.pixels, here.pixels)
            assert (there.name, there.facts) == (here.name, here.facts)
    assert read_limited(png(grey), "mine.png").name == "mine.png"


@pytest.mark.parametrize("content", [b"", b"text", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"])
def test_a_worker_refuses_in_the_same_words(content):
    with pytest.raises(UnreadableImage) as here:
        radiograph.decode(content, "x.png")
    with pytest.raises(UnreadableImage) as there:
        read_limited(content, "x.png")
    assert str(here.value) == str(there.value)


def test_many_threads_each_get_their_own_picture(drawn_radiograph):
    pictures = [drawn_radiograph(seed, seed % 2, (40, 64)) for seed in range(24)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda pixels: read_limited(png(pixels)).pixels, pictures))
    for picture, pixels in zip(pictures, found, strict=True):
        np.testing.assert_array_equal(pixels, picture)


def endless_tiff(entries: int) -> bytes:
    """A TIFF of one directory with ``entries`` tags, each pointing at the others' bytes."""
    tag = (65000).to_bytes(2, "little") + b"\2\0" + (1 << 20).to_bytes(4, "little") + b"\x08\0\0\0"
    body = tag * entries
    return b"II*\0\x08\0\0\0" + (entries & 0xFFFF).to_bytes(2, "little") + body + bytes(1 << 20)


def bzip_like_bomb() -> bytes:
    """A JPEG 2000 stream of 20000 x 20000 pixels in hundreds of bytes is refused by its header; a
    deflated DICOM has no header to be refused by.
    """
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflater.compress(bytes(300_000_000)) + deflater.flush()
    meta = b"\2\0\x10\0UI\x16\0" + b"1.2.840.10008.1.2.1.99"
    return bytes(128) + b"DICM" + meta + packed


@pytest.mark.parametrize("content", [endless_tiff(60_000), bzip_like_bomb()])
def test_what_is_made_to_take_long_ends_in_one_sentence(content, grey):
    with pytest.raises(UnreadableImage) as caught:
        read_limited(content, "trap")
    assert str(caught.value).startswith("trap ")
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(read_limited(png(grey)).pixels, grey)


def child(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs code in a process of its own, with other limits than ours."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


SLOW = """
import os
import pneumonia.decoding as d
# The time limit is to end the loop; whoever is stopped from outside instead says nothing.
d._Worker._stop = lambda worker: os._exit(9)
d._SERVE = d._SERVE.replace("decoding._serve()", '''radiograph = decoding.radiograph
def stuck(content, name):
    {trap}
decoding.radiograph.decode = stuck
decoding.SECONDS = .3
decoding._serve()''').replace("; from", "\\nfrom").replace("; radiograph", "\\nradiograph")
d._SERVE = d._SERVE.replace("import decoding; ", "import decoding\\n")
try:
    d.read_limited(b"x", "trap")
except d.UnreadableImage as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("trap", "sentence"),
    [
        ("while True: pass", "trap takes more than 2 seconds to decode"),
        ("import os; os.abort()", "its decoder gave up"),
        ("import os; os.kill(os.getpid(), 11)", "its decoder gave up"),
        ("bytearray(1_000_000_000)", "trap needs more memory"),
        ("import os; os._exit(3)", "its decoder gave up"),
        ("print('noise'); import sys; sys.stderr.write('noise'); 1 / 0", "its decoder gave up"),
    ],
    ids=["loop", "abort", "segmentation fault", "memory", "exit", "traceback"],
)
def test_a_decoder_that_breaks_down_takes_its_worker_along_and_nothing_else(trap, sentence):
    result = child(SLOW.format(trap=trap))
    assert sentence in result.stdout
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_a_worker_imports_no_network_and_knows_no_token():
    result = child(
        """
import sys
import pneumonia.decoding as d
assert not {"tensorflow", "keras", "gradio", "matplotlib"} & set(sys.modules), "heavy"
d.warm_up()
worker = d._pool._idle.get()
from pathlib import Path
environment = Path(f"/proc/{worker.process.pid}/environ")
assert not environment.exists() or b"secret" not in environment.read_bytes()
worker.end()
""",
        HF_TOKEN="secret",
    )
    assert result.returncode == 0, result.stderr


def test_files_by_path_are_refused_before_they_are_read(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    large = tmp_path / "large.dcm"
    with large.open("wb") as file:
        file.truncate(radiograph.MAX_BYTES + 1)
    for function in (read, read_limited):
        for path, message in (
            (pipe, "pipe is a pipe or a device"),
            (Path("/dev/zero"), "zero is a pipe or a device"),
            (large, r"large\.dcm is too large, 110 MB"),
            (tmp_path, "is a folder"),
        ):
            with pytest.raises(UnreadableImage, match=message):
                function(path)
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "nothing.png")
        with pytest.raises(UnreadableImage, match="cannot be opened"):
            function("a\0b.png")


@pytest.mark.parametrize(
    "name", ["a\nb\x1b[31mc.png", "x" * 20_000, "", "\u202egnp.exe", "\ud800.png"]
)
def test_names_are_shortened_and_made_harmless(name, grey):
    picture = read_limited(png(grey), name)
    assert picture.name.isprintable()
    assert 0 < len(picture.name) <= 60
    with pytest.raises(UnreadableImage) as caught:
        read_limited(b"text", name)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_a_worker_that_is_gone_is_replaced(grey):
    read_limited(png(grey))
    worker = decoding._pool._idle.get()
    worker.process.kill()
    worker.process.wait()
    decoding._pool._idle.put(worker)
    np.testing.assert_array_equal(read_limited(png(grey)).pixels, grey)


def runs(pid: int) -> bool:
    """Whether a process is at work; one that ended and was not yet taken notice of is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_end_of_this_process_is_the_end_of_its_workers():
    result = child(
        "import pneumonia.decoding as d, os; d.warm_up();"
        " print(*[w.process.pid for w in d._pool._idle.queue], flush=True); os._exit(0)"
    )
    assert result.returncode == 0, result.stderr
    workers = list(map(int, result.stdout.split()))
    assert len(workers) == decoding.WORKERS
    deadline = time.monotonic() + 30
    while any(map(runs, workers)):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)
