"""How long everything takes beside the arithmetic in it: ``make bench``.

Each figure stands beside what it must be, and nearly all are ratios between two things timed in
turn in one process, so that a busy machine moves both. Writes ``docs/bench.md``; ``--smoke`` asks
the smallest network a few times and writes nothing.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import io
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from pneumonia import heatmaps, input_check, lungs, probes, radiograph, score, views
from pneumonia.backend import keras
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.locations import bundles
from pneumonia.radiograph import Radiograph
from tools import bench_training

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((CHECKOUT / "assets" / "examples").glob("*.jpeg"))
REPORT = CHECKOUT / "docs" / "bench.md"
# What `pneumonia score` is timed on: the examples again and again.
_ARCHIVE = 240


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        name: what was measured.
        value: how much.
        unit: of what.
        target: what it must be at most, or at least.
        at_least: whether the target is a floor.
        note: what the value is made of.
    """

    name: str
    value: float
    unit: str
    target: float
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def cells(self) -> tuple[str, ...]:
        """The line as a table has it."""
        sign = "≥" if self.at_least else "≤"
        return (
            self.name,
            f"{self.value:.2f} {self.unit}",
            f"{sign} {self.target:g} {self.unit}",
            "yes" if self.met else "**no**",
            self.note,
        )


def medians(things: Mapping[str, Callable[[], object]], times: int) -> dict[str, float]:
    """Median milliseconds of each thing, all asked in turn, after one call that does not count."""
    for thing in things.values():
        thing()
    taken: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(times):
        for name, thing in things.items():
            begun = time.perf_counter()
            thing()
            taken[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def one_picture(classifier: PneumoniaClassifier, times: int) -> list[Figure]:
    """A prediction, from the file to the answer, beside the network's pass over its views alone:
    for an original and for a picture in the form that the data set was published in.
    """
    variant = classifier.spec.variant
    figures = []
    for kind, content in (("original", EXAMPLES[0]), ("224 px", _encode_published())):
        shown = _draw(classifier, [radiograph.read(content)])
        found = medians(
            {
                "predict": partial(classifier.predict, content),
                "pass": partial(classifier.network, shown),
                "read": partial(radiograph.read, content),
                "check": partial(input_check.examine, content),
            },
            times,
        )
        decode, rest = found["read"], found["check"] - found["read"]
        figures.append(
            Figure(
                f"{variant}, one X-ray ({kind}) over its pass",
                found["predict"] / found["pass"],
                "times",
                1.3,
                note=f"{found['predict']:.1f} ms over {found['pass']:.1f}; decoding {decode:.1f},"
                f" copy and input check {rest:.1f}",
            )
        )
    return figures


def questions(classifier: PneumoniaClassifier, times: int) -> list[Figure]:
    """Heat map, robustness and occlusion beside the arithmetic they need."""
    variant, network = classifier.spec.variant, classifier.network
    picture = radiograph.read(EXAMPLES[-1])
    shown = classifier.resize([picture])
    altered = np.repeat(_draw(classifier, [picture]), len(probes.PROBES) + 1, axis=0)
    patches = len(probes.patch_corners()) + 1
    covered = np.repeat(shown, patches, axis=0)
    inputs = classifier.inputs([picture])
    found = medians(
        {
            "pass": lambda: network(shown),
            "heat": lambda: heatmaps.contributions(classifier.model, inputs),
            "probes": lambda: probes.run(classifier, _again(picture)),
            "altered": lambda: network(altered),
            "occlusion": lambda: probes.occlusion(classifier, _again(picture)),
            "covered": lambda: network(covered),
        },
        times,
    )

    def over(name: str, whole: str, part: str) -> Figure:
        note = f"{found[whole]:.0f} ms over {found[part]:.0f}"
        return Figure(f"{variant}, {name}", found[whole] / found[part], "times", 1.5, note=note)

    return [
        over("heat map over one pass", "heat", "pass"),
        over("robustness over its passes", "probes", "altered"),
        over("occlusion over its passes", "occlusion", "covered"),
        Figure(f"{variant}, occlusion", found["occlusion"] / 1000, "s", 3.0),
    ]


def archive(classifier: PneumoniaClassifier, files: int) -> Figure:
    """Files of an archive a second, from disk to table, beside the network's own rate."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "archive"
        place.mkdir()
        for number in range(files):
            shutil.copyfile(EXAMPLES[number % len(EXAMPLES)], place / f"{number:05d}.jpeg")
        many = min(files, score.CHUNK)
        shown = np.repeat(_draw(classifier, [radiograph.read(EXAMPLES[0])]), many, axis=0)
        alone = medians({"pass": lambda: classifier.network(shown)}, 3)["pass"] / 1000 / many
        told = [(0, time.perf_counter())]
        score.write(
            classifier,
            place,
            Path(folder) / "table.csv",
            progress=lambda now: told.append((now.done, time.perf_counter())),
        )
        # From the first chunk on: an archive is long, and what starts starts once.
        (done, begun), (last, ended) = told[min(1, len(told) - 2)], told[-1]
        each = (ended - begun) / (last - done)
    return Figure(
        f"{classifier.spec.variant}, pneumonia score over the compiled batch rate",
        alone / each,
        "times",
        0.85,
        at_least=True,
        note=f"{files} originals, {1 / each:.1f} a second over {1 / alone:.1f}; ten million take"
        f" {1e7 * each * (os.cpu_count() or 1) / 3600:,.0f} core hours",
    )


def rival(classifier: PneumoniaClassifier, wheel: Path, times: int) -> list[Figure]:
    """One view of one X-ray, from the file to the answer, beside a package that others published:
    its network asked as it asks it, by Keras's own reading, resizing and ``predict``. Its data
    frame and its log are left out, which favours it.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            name = next(one for one in archive.namelist() if one.endswith(".keras"))
            file = Path(archive.extract(name, folder))
        theirs = keras.saving.load_model(file, compile=False, safe_mode=True)
    side = theirs.input_shape[1:3]

    def answer() -> object:
        picture = keras.utils.load_img(EXAMPLES[0], target_size=side)
        return theirs.predict(keras.utils.img_to_array(picture)[np.newaxis] / 255, verbose=0)

    found = medians(
        {"theirs": answer, "ours": partial(classifier.predict, EXAMPLES[0], views=1)}, times
    )
    batch = np.repeat(classifier.resize([radiograph.read(EXAMPLES[0])]), score.CHUNK, axis=0)
    rate = len(batch) / medians({"pass": lambda: classifier.network(batch)}, 3)["pass"] * 1000
    return [
        Figure(
            f"{wheel.name.split('-')[0]} over {classifier.spec.variant}, one view",
            found["theirs"] / found["ours"],
            "times",
            4.0,
            at_least=True,
            note=f"{found['theirs']:.0f} ms over {found['ours']:.0f}",
        ),
        Figure(f"{classifier.spec.variant}, X-rays in a batch", rate, "a second", 150, True),
    ]


def once_a_picture() -> Figure:
    """What a second question about the same picture costs in copies, checks and outlines."""
    picture = radiograph.read(EXAMPLES[0])

    def ask(one: Radiograph) -> None:
        input_check.examine(one)
        lungs.find(one)

    found = medians({"first": lambda: ask(_again(picture)), "again": lambda: ask(picture)}, 9)
    return Figure(
        "input check and lungs, asked again over asked first",
        found["again"] / found["first"],
        "times",
        0.05,
        note=f"{found['first']:.1f} ms, then {found['again']:.3f}",
    )


# Run in a process of its own, so that nothing of this one counts.
_MEMORY = """
import sys
from pathlib import Path
from pneumonia import PneumoniaClassifier
def read_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(sys.argv[1]))
models = [PneumoniaClassifier.from_pretrained(name) for name in sys.argv[3].split(",")]
files = sys.argv[4:]
for number in range(int(sys.argv[2])):
    models[number % len(models)].predict(files[number % len(files)])
print(read_memory())
models[-1].predict((files * 128)[:128])
print(read_memory())
for number in range(4 * int(sys.argv[2])):
    models[number % len(models)].predict(files[number % len(files)])
print(read_memory())
"""


def memory(names: Sequence[str], times: int) -> list[Figure]:
    """Memory of a process with all models, after a batch, and after many predictions more; none
    where the system does not say.
    """
    if not Path("/proc/self/status").exists():
        return []
    begin, batch, end = map(
        float,
        _run(
            "-c", _MEMORY, "VmRSS", str(times), ",".join(names), *map(str, EXAMPLES)
        ).stdout.split(),
    )
    return [
        Figure(f"memory, {len(names)} models after {times} predictions", begin / 1e3, "GB", 1.3),
        Figure("memory, a batch of 128 more", batch - begin, "MB", 300),
        Figure(f"memory, {4 * times} predictions later", end - batch, "MB", 50),
    ]


def start_up(times: int = 3) -> list[Figure]:
    """Seconds until the package, and the command, answer without a network."""

    def best(*arguments: str) -> float:
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            _run(*arguments)
            taken.append(time.perf_counter() - begun)
        return min(taken)

    return [
        Figure("import pneumonia", best("-c", "import pneumonia"), "s", 0.5),
        Figure("pneumonia --help", best("-m", "pneumonia", "--help"), "s", 0.5),
    ]


def training(times: int = 192) -> tuple[list[Figure], dict[str, bench_training.Measured]]:
    """Images a second beside the original notebook's way, and where the time goes."""
    figures, found = [], {}
    kinds: dict[str, tuple[float, Callable[[int], bytes]]] = {
        "224 px": (2.0, _encode_published),
        "originals": (3.0, lambda number: EXAMPLES[number % len(EXAMPLES)].read_bytes()),
    }
    for variant in ("baseline", "augmented"):
        for kind, (target, content) in kinds.items():
            one = bench_training.measure(variant, content, times)
            found[f"{variant}, {kind}"] = one
            figures.append(
                Figure(
                    f"{variant}, training on {kind} over the notebook's way",
                    one.notebook / one.ours,
                    "times",
                    target,
                    at_least=True,
                    note=f"{1000 / one.ours:.0f} images a second over {1000 / one.notebook:.0f};"
                    f" {one.precision}",
                )
            )
        figures.append(
            Figure(
                f"{variant}, training over one large matrix product",
                one.share,
                "times",
                0.5,
                at_least=True,
                note="operations a second",
            )
        )
    return figures, found


def serving(rounds: int = 60) -> list[Figure]:
    """A cold ``python app.py`` until it has answered, and its memory after mixed use."""
    from gradio_client import Client, handle_file  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process)
        client = Client(address, verbose=False)
        client.predict(handle_file(str(EXAMPLES[0])), "xception", api_name="/predict")
        first = time.perf_counter() - begun
        names = list(bundles())
        for number in range(rounds):
            picture = handle_file(str(EXAMPLES[number % len(EXAMPLES)]))
            name = names[number % len(names)]
            for endpoint in ("/predict", "/robustness"):
                client.predict(picture, name, api_name=endpoint)
            client.predict([picture], name, api_name="/batch")
            client.predict(picture, api_name="/compare")
        taken = _memory_of(process.pid)
    finally:
        process.terminate()
        process.wait(30)
    return [
        Figure("python app.py, cold, to its first answer", first, "s", 7),
        Figure(f"the app after {4 * rounds} requests, helpers included", taken, "GB", 2.0),
    ]


def chart(found: Mapping[str, bench_training.Measured], file: Path) -> None:
    """Where an image's training time goes, beside the notebook's, as PNG."""
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

    canvas = Canvas(figsize=(7.2, 0.8 + 0.75 * len(found)), layout="constrained")
    axes = canvas.subplots()
    for row, one in enumerate(found.values()):
        for place, parts in (
            (row - 0.2, (("decode, once a run", one.decode, "C2"), ("step", one.step, "C0"))),
            (row + 0.05, (("views, drawn meanwhile", one.draw, "C1"),)),
            (row + 0.3, (("the notebook's way", one.notebook, "0.6"),)),
        ):
            left = 0.0
            for label, width, colour in parts:
                axes.barh(place, width, 0.22, left, color=colour, label=label if not row else None)
                left += width
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds an image")
    axes.legend(frameon=False)
    canvas.savefig(file, dpi=110)


_MISSES = """## What misses, why, and what was tried

- **One original with a small network.** Decoding, copy and input check take as long as the
  baseline's network. A 224 px file comes nearer. Kept: NumPy's small products on one thread, grey
  in three channels read as one, input check and lungs once a picture.
- **An archive with a small network.** Decoding keeps both cores busier than the network does.
  Kept: the worker processes make the copy and check it, 14 to 21% more a second.
- **Robustness with the baseline.** Altering a picture is dear beside asking so small a network.
- **Four times the rival, 150 a second.** One view of Xception is mostly float32 arithmetic.
  bfloat16 halves it and moves answers by more than 1e-3. OpenVINO, ONNX Runtime and LiteRT were
  measured ([runtimes.md](runtimes.md)).
- **A cold start.** Most of it is imports: TensorFlow 1.9 s, Gradio 1.5, SciPy's statistics 0.7.
  Loading Xception and its first answer take 2.3. Kept: no type stubs renewed at Gradio's import
  (9.1 s became 8.0), Keras's unused imports left out. Dropped, no faster: loading Xception
  in a thread meanwhile (8.5 s beside 8.6), starting the decoding workers earlier (8.3 beside 8.0).
- **Training on 224 px** lies about its target and may miss it: the step is most of it (see the
  chart), and 192 images are few.
"""


def report(figures: Sequence[Figure]) -> str:
    """The report as Markdown."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tensorflow", "keras", "numpy", "pillow")
    )
    met = sum(figure.met for figure in figures)
    head = ("", "measured", "must be", "met", "")
    lines = [head, ("---",) * len(head), *(figure.cells() for figure in figures)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"# How fast it is\n\nWritten by `make bench` on {datetime.now(UTC):%Y-%m-%d}:"
        f" {os.cpu_count()} cores ({_processor()}), load {load}, Python"
        f" {platform.python_version()}, {versions}. Medians of things timed in turn in one process;"
        f" {met} of {len(figures)} targets are met. On a busy machine ratios hold and seconds do"
        f" not.\n\n{table}\n\n![Where an image's training time goes](bench.png)\n\n{_MISSES}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measures and reports; returns 0 whatever was met."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one network, few calls, no report")
    parser.add_argument("--times", type=int, default=25, help="calls a median is of (25)")
    parser.add_argument("--files", type=int, default=_ARCHIVE, help="of the archive (%(default)s)")
    parser.add_argument(
        "--rival",
        type=Path,
        metavar="WHEEL",
        help="pneumonia-model-package, as pip download saves it",
    )
    parser.add_argument("--out", type=Path, default=REPORT, help="default: docs/bench.md")
    options = parser.parse_args(arguments)
    names = ["baseline"] if options.smoke else list(bundles())
    times = 1 if options.smoke else options.times
    figures: list[Figure] = []

    def add(found: Sequence[Figure]) -> None:
        figures.extend(found)
        for figure in found:
            print("  ".join(figure.cells()), flush=True)

    add([once_a_picture()])
    for name in names:
        classifier = PneumoniaClassifier.from_pretrained(name)
        add(one_picture(classifier, times))
        add(questions(classifier, max(1, times // 5)))
        add([archive(classifier, 3 if options.smoke else options.files)])
        if options.rival and name == "xception":
            add(rival(classifier, options.rival, times))
    if not options.smoke:
        add(start_up())
        add(memory(names, 200))
        add(serving())
        trained, parts = training()
        add(trained)
        chart(parts, options.out.with_suffix(".png"))
        options.out.write_text(report(figures), encoding="utf-8")
    return 0


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("The app ended before it answered.")


def _memory_of(process: int) -> float:
    """GB of a process and all it started, what they share counted once; 0 without /proc."""
    family, total = {process}, 0
    for place in sorted(Path("/proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if int(place.name) in family or parent in family:
                family.add(int(place.name))
                lines = (place / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1e6


@functools.cache
def _encode_published(number: int = 0) -> bytes:
    """An example as the data set was published: squeezed to 224 pixels, JPEG of quality 75."""
    stream = io.BytesIO()
    squeezed = radiograph.read(EXAMPLES[number % len(EXAMPLES)]).to_pil().resize((224, 224))
    squeezed.save(stream, "JPEG", quality=radiograph.COPY_QUALITY)
    return stream.getvalue()


def _draw(classifier: PneumoniaClassifier, pictures: Sequence[Radiograph]) -> np.ndarray:
    """The views that the model answers by, as one batch."""
    size = classifier.spec.input_size
    drawn = views.draw_views(classifier.prepare(pictures), classifier.spec.views, size)
    return drawn.reshape(-1, *size)


def _again(picture: Radiograph) -> Radiograph:
    """The same picture, nothing about it known yet."""
    return Radiograph(picture.pixels, picture.name, picture.facts)


def _processor() -> str:
    with_name = Path("/proc/cpuinfo")
    if with_name.exists():
        for line in with_name.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )


if __name__ == "__main__":
    sys.exit(main())
