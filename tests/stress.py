"""The app under attack and under load, bounded in time: ``make stress`` prints a table.

PYTHONPATH=. python tests/stress.py [--models FOLDER] [--inputs 200] [--requests 500] [--clients 16]

Hostile inputs each end in an answer or one sentence, soon, with little memory, and name no folder
of the server; of many requests from many clients at once none is lost, and each answer is the
library's; past the end of the line there is a clear word; afterwards nothing is left on disk.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import io
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from page.served import EXAMPLES
from pneumonia import PneumoniaClassifier, explain, radiograph

CHECKOUT = Path(__file__).resolve().parents[1]
# What a visitor may wait for a refusal, and bytes that it may cost beyond an idle server's.
SECONDS, MEMORY = 2.0, 300e6
LEAK = re.compile(r"/(tmp|home|work|root|usr|proc)/|Traceback|File \"|site-packages|object at 0x")
FILES = [file for files in EXAMPLES.values() for file in files]


class Server:
    """The app in a process of its own."""

    def __init__(self, models: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/gradio_api"
        self.folder = Path(tempfile.mkdtemp())
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read when the server has ended)
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--models", str(models)],
            cwd=CHECKOUT,
            env=os.environ | {"GRADIO_TEMP_DIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    @property
    def memory(self) -> int:
        """Resident bytes of the app and what it started; 0 where there is no /proc."""
        family, pages = {self.process.pid}, 0
        for stat in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda file: int(file.parts[2])):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[1]) in family or int(stat.parts[2]) in family:
                    family.add(int(stat.parts[2]))
                    pages += int(fields[21])
            except (OSError, IndexError):
                continue
        return pages * 4096

    def left(self) -> list[str]:
        """Files that lie in its folder."""
        return [file.name for file in self.folder.rglob("*") if file.is_file()]

    def stop(self) -> str:
        """Ends it; returns what it wrote on the terminal."""
        self.process.terminate()
        self.process.wait(30)
        self.log.seek(0)
        return self.log.read()


class Busy(Exception):
    """The line is full; the server said so."""


def upload(server: Server, name: str, content: bytes) -> dict[str, Any]:
    """Sends a file; returns what stands for it in a call."""
    sent = httpx.post(f"{server.url}/upload", files={"files": (name, content)}, timeout=60)
    if sent.status_code == 503:
        raise Busy(sent.text)
    sent.raise_for_status()
    return {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}


def call(server: Server, name: str, *data: Any) -> tuple[bool, Any]:
    """Calls an endpoint: whether it answered, and the answer, or what it said instead."""
    joined = httpx.post(f"{server.url}/call/{name}", json={"data": list(data)}, timeout=60)
    if joined.status_code == 503:
        raise Busy(joined.json()["detail"])
    if joined.status_code != 200:
        return False, str(joined.json().get("detail", ""))
    event = joined.json()["event_id"]
    said = httpx.get(f"{server.url}/call/{name}/{event}", timeout=300).text
    for kind, text in re.findall(r"event: (\w+)\ndata: (.*)", said):
        if kind == "complete":
            return True, json.loads(text)[0]
        if kind == "error":
            found = json.loads(text)
            return False, found.get("error") if isinstance(found, dict) else found
    return False, None


# --- hostile inputs


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _header(width: int, height: int, depth: int = 8, colour: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def _tiff(tags: int, following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", (256 + n) % 65536, 4, 1, 64) for n in range(tags))
    return (
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", tags % 65536)
        + entries
        + (struct.pack("<I", following))
    )


def _zip(*members: tuple[str, bytes, int]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content, kind in members:
            archive.writestr(name, content, kind)
    return written.getvalue()


def _dicom(rng: random.Random) -> bytes:
    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    head = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0")
    side = struct.pack("<H", rng.choice([64, 0, 65535]))
    body = b"".join(
        (
            element(8, 0x60, b"CS", b"DX"),
            element(0x28, 2, b"US", struct.pack("<H", rng.choice([1, 3, 0]))),
            element(0x28, 4, b"CS", rng.choice([b"MONOCHROME2", b"RGB", b"NONSENSE"])),
            element(0x28, 0x10, b"US", side),
            element(0x28, 0x11, b"US", side),
            element(0x28, 0x100, b"US", struct.pack("<H", rng.choice([8, 16, 12, 64]))),
            element(0x28, 0x101, b"US", struct.pack("<H", rng.choice([8, 16, 99]))),
            struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, rng.choice([4096, 2**31])),
            b"\7" * 4096,
        )
    )
    group = element(2, 0, b"UL", struct.pack("<I", len(head)))
    return b"\0" * 128 + b"DICM" + group + head + body


def hostile(most: int) -> Iterator[tuple[str, str, bytes, list[Any]]]:
    """Endpoint, name of the file, its content, further arguments: ``most`` of them, always the
    same, of every kind.
    """
    rng = random.Random(7)
    whole = FILES[0].read_bytes()
    flat = np.full((600, 500), 90, np.uint8)
    small = io.BytesIO()
    Image.fromarray(flat).save(small, "PNG")
    png = small.getvalue()

    def cut(content: bytes) -> bytes:
        return content[: rng.randrange(len(content))]

    def flip_bits(content: bytes, ahead: int) -> bytes:
        spoiled = bytearray(content)
        for _ in range(rng.randrange(1, 9)):
            spoiled[rng.randrange(min(ahead, len(spoiled)))] ^= 1 << rng.randrange(8)
        return bytes(spoiled)

    bomb = zlib.compress(b"\0" * 10**7, 9)
    wrong = [
        ["basline"], ["../baseline"], [3], [["baseline"]], [{"a": 1}],
        ["baseline", "recall-95"], ["baseline", 0.5], ["baseline", "default", "false"],
        ["baseline", "default", 1], ["baseline", "default", False, "one", "too", "many"],
    ]  # fmt: skip
    names = [
        "../../etc/passwd",
        "a" * 5000,
        "\x1b[2Jx.png",
        "=1+1;=2.png",
        "\u202egpj.exe",
        "<b>$x",
    ]
    kinds: list[Callable[[], tuple[str, str, bytes, list[Any]]]] = [
        lambda: ("predict", "cut.jpeg", cut(whole), []),
        lambda: ("predict", "flipped.jpeg", flip_bits(whole, 700), []),
        lambda: ("predict", "cut.png", cut(png), []),
        lambda: ("compare", "flipped.png", flip_bits(png, 60), []),
        lambda: ("predict", "bomb.png", _png(_header(*rng.choice(
            [(10_000, 10_000), (2**31 - 1, 1), (60_000, 60_000), (0, 0), (7000, 7000)])),
            (b"IDAT", bomb), (b"IEND", b"")), []),
        lambda: ("robustness", "chunks.png", _png(_header(64, 64),
            *[(b"tEXt", b"k\0v")] * rng.randrange(10_000, 60_000)), []),
        lambda: ("predict", "x.dcm", flip_bits(_dicom(rng), 600), []),
        lambda: ("predict", "y.dcm", _dicom(rng), []),
        lambda: ("predict", "tags.tif", _tiff(rng.choice([1, 200, 65_535]), 8), []),
        lambda: ("predict", "noise.webp", b"RIFF" + rng.randbytes(3000), []),
        lambda: ("predict", "noise", rng.randbytes(rng.randrange(5000)), []),
        lambda: ("predict", "page.svg", b"<svg onload='alert(1)'/>" * rng.randrange(1, 99), []),
        lambda: ("predict", "a.zip", _zip(("a.jpeg", whole, zipfile.ZIP_STORED)), []),
        lambda: ("batch", "bomb.zip", _zip(*[(f"{n}.png", b"\0" * 31_000_000,
            rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])) for n in range(2)]), []),
        lambda: ("batch", "many.zip", _zip(*[(f"{n}", b"x", 0) for n in range(3000)]), []),
        lambda: ("batch", "cut.zip", flip_bits(_zip(("a.jpeg", whole, 8)), 10**9), []),
        lambda: ("batch", "nested.zip", _zip(("b.zip", _zip(("c", b"x", 0)), 0)), []),
        lambda: ("predict", rng.choice(names), rng.choice([b"x", png]), []),
        lambda: ("predict", "fine.jpeg", whole, rng.choice(wrong)),
        lambda: ("activations", "fine.jpeg", whole, rng.choice(
            [["conv9"], [None], ["conv1", "baseline", 99], ["conv1", "baseline", "x"]])),
    ]  # fmt: skip
    for number in range(most):
        yield kinds[number % len(kinds)]()


@dataclass
class Outcome:
    """What became of one hostile input."""

    kind: str
    seconds: float
    problem: str | None


def attack(server: Server, most: int) -> list[Outcome]:
    """Sends hostile inputs one after the other."""
    found = []
    for endpoint, name, content, more in hostile(most):
        started = time.perf_counter()
        try:
            sent = upload(server, name, content)
            files = {"batch": [[sent]], "activations": [sent, sent]}.get(endpoint, [sent])
            answered, said = call(server, endpoint, *files, *more)
            problem = None if answered else _unsaid(said)
            if answered and LEAK.search(json.dumps(said)):
                problem = "an answer that names a folder"
        except httpx.HTTPStatusError as error:
            problem = None if error.response.status_code < 500 else str(error)
        except Exception as error:
            problem = f"{type(error).__name__} {error}"
        found.append(Outcome(f"{endpoint} {name[:20]!r}", time.perf_counter() - started, problem))
    return found


def _unsaid(said: Any) -> str | None:
    if not isinstance(said, str) or not said.strip():
        return "no sentence"
    if LEAK.search(said):
        return f"a folder or a traceback: {said[:80]}"
    if len(said) > 1000 or not said.rstrip("'\")").endswith((".", "?")):
        return f"no sentence: {said[:80]}"
    return None


# --- load


class Expected:
    """What the library says of the same files."""

    def __init__(self, models: Path) -> None:
        self.classifiers = {
            folder.name: PneumoniaClassifier.from_pretrained(folder)
            for folder in sorted(models.iterdir())
            if (folder / "model_spec.json").is_file()
        }
        self.of = {
            (name, file): classifier.predict(file, on_invalid="ignore").probability
            for name, classifier in self.classifiers.items()
            for file in FILES
        }
        self.layers = {
            name: classifier.spec.gallery_layers[0] for name, classifier in self.classifiers.items()
        }

    def channels(self, name: str, pair: tuple[Path, Path]) -> list[int]:
        """The strongest channels of a model's first layer."""
        pictures = [radiograph.read(file) for file in pair]
        maps = explain.activations(self.classifiers[name], pictures, self.layers[name])
        return [int(channel) for channel in explain.order(explain.strength(maps))[:4]]


def ask(server: Server, expected: Expected, number: int) -> str:
    """One request of many: ``right``, ``busy``, or what is wrong with the answer."""
    rng = random.Random(number)
    file, other = rng.choice(FILES), rng.choice(FILES)
    name = rng.choice(list(expected.classifiers))
    endpoint = ("predict", "compare", "predict", "activations", "batch", "predict", "robustness")[
        number % 7
    ]
    try:
        first = upload(server, file.name, file.read_bytes())
        second = upload(server, other.name, other.read_bytes()) if rng.random() < 0.5 else first
        other = file if second is first else other
        if endpoint == "compare":
            _, said = call(server, endpoint, first, "default", True)
            pairs = [(one["probability"], (one["variant"], file)) for one in said["answers"]]
            if {variant for _, (variant, _) in pairs} != set(expected.classifiers):
                return f"compare: {said}"
        elif endpoint == "batch":
            _, said = call(server, endpoint, [first, second], name, "default", True)
            pairs = [
                (row["probability"], (name, sent))
                for row, sent in zip(said["rows"], (file, other), strict=True)
            ]
        elif endpoint == "activations":
            layer = expected.layers[name]
            _, said = call(server, endpoint, first, second, layer, name, 4, True)
            got = [channel["channel"] for channel in said["channels"]]
            return "right" if got == expected.channels(name, (file, other)) else f"channels {got}"
        elif endpoint == "robustness":
            _, said = call(server, endpoint, first, name, True)
            pairs = [(said["probability"], (name, file))]
        else:
            _, said = call(server, endpoint, first, name, "default", True)
            pairs = [(said["probability"], (name, file))]
    except Busy:
        return "busy"
    except (TypeError, KeyError):
        return f"{endpoint}: {said}"
    except Exception as error:
        return f"{endpoint}: lost, {type(error).__name__}"
    wrong = [got for got, key in pairs if abs(got - expected.of[key]) > 1e-3]
    return f"{endpoint}: other than the library's by up to {max(wrong)}" if wrong else "right"


def load(server: Server, expected: Expected, requests: int, clients: int) -> Counter[str]:
    """Many requests from many clients at once; who is told to come back does."""
    outcomes: Counter[str] = Counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:

        def patient(number: int) -> str:
            for _ in range(60):
                said = ask(server, expected, number)
                if said != "busy":
                    return said
                time.sleep(1)
            return "never let in"

        outcomes.update(pool.map(patient, range(requests)))
    return outcomes


def flood(server: Server, most: int) -> Counter[str]:
    """More at once than the line holds: each is answered or told so."""
    sent = upload(server, FILES[0].name, FILES[0].read_bytes())

    def one(_: int) -> str:
        try:
            answered, said = call(server, "predict", sent, None, None, True)
            return "answered" if answered else str(_unsaid(said) or said)
        except Busy as error:
            return "told to come back" if str(error).endswith(".") else f"told {error}"

    with concurrent.futures.ThreadPoolExecutor(most) as pool:
        return Counter(pool.map(one, range(most)))


class Watch:
    """The most memory that the server took while watched."""

    def __init__(self, server: Server) -> None:
        self.server, self.most, self._end = server, 0, threading.Event()

    def __enter__(self) -> Watch:
        self.before = self.server.memory
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._end.wait(0.1):
            self.most = max(self.most, self.server.memory - self.before)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def run(models: Path, inputs: int, requests: int, clients: int, crowd: int) -> list[str]:
    """Everything; prints the table and returns what is wrong."""
    expected, server, wrong = Expected(models), Server(models), []
    try:
        for name in expected.classifiers:
            file = upload(server, "warm.jpeg", FILES[0].read_bytes())
            call(server, "robustness", file, name, True)
        with Watch(server) as watch:
            found = attack(server, inputs)
        slow = [one for one in found if one.seconds > SECONDS]
        fine = sum(one.problem is None for one in found)
        slowest = max(one.seconds for one in found)
        print(
            f"hostile inputs     {len(found)}, {fine} ended in an answer or a sentence; slowest"
            f" {slowest:.1f} s, {len(slow)} over {SECONDS:.0f} s; {watch.most / 1e6:.0f} MB more",
            flush=True,
        )
        wrong += [f"{one.kind}: {one.problem}" for one in found if one.problem]
        wrong += [f"{one.kind}: {one.seconds:.1f} s" for one in slow]
        wrong += [f"{watch.most / 1e6:.0f} MB more"] if watch.most > MEMORY else []
        started = time.perf_counter()
        outcomes = load(server, expected, requests, clients)
        took = time.perf_counter() - started
        print(
            f"requests           {requests} from {clients} clients in {took:.0f} s:"
            f" {dict(outcomes)}",
            flush=True,
        )
        wrong += [outcome for outcome in outcomes if outcome != "right"]
        crowded = flood(server, crowd)
        print(f"at once            {crowd}: {dict(crowded)}", flush=True)
        wrong += [said for said in crowded if said not in ("answered", "told to come back")]
        wrong += [] if crowded["answered"] else ["at once: nobody was answered"]
        wrong += [] if server.process.poll() is None else ["the app has ended"]
    finally:
        said = server.stop()
    leaked = [file.name for file in FILES if file.name in said] + LEAK.findall(said)
    print(f"on the terminal    {len(said.splitlines())} lines, {len(leaked)} that name a file")
    print(f"left on disk       {server.left()}")
    wrong += [f"on the terminal: {name}" for name in leaked]
    wrong += [f"left: {name}" for name in server.left()]
    return wrong


def main() -> None:
    """Reads the command line; exits with 1 where something is wrong."""
    parser = argparse.ArgumentParser(description="The app under attack and under load.")
    parser.add_argument("--models", type=Path, default=CHECKOUT / "assets" / "models")
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--crowd", type=int, default=100)
    options = parser.parse_args()
    wrong = run(
        options.models.resolve(), options.inputs, options.requests, options.clients, options.crowd
    )
    for what in wrong:
        print(f"WRONG  {what}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
