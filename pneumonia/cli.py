"""The command ``pneumonia``: reads X-rays on a terminal, scores archives, exports models, starts
the page.

Exit codes: 0, every picture was answered; 1, one was not, or there is no model; 2, the command line
is wrong; 130, interrupted; 141, whoever read the answers has gone. Each comes with its sentence on
stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import json
import math
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pneumonia import __version__
from pneumonia.locations import DEFAULT_VARIANT
from pneumonia.text import harmless

if TYPE_CHECKING:
    from pneumonia.classifier import PneumoniaClassifier
    from pneumonia.prediction import Prediction
    from pneumonia.score import Progress

INTERRUPTED, PIPE_CLOSED = 130, 141
# The page belongs to the checkout, beside the package.
APP = Path(__file__).resolve().parent.parent / "app.py"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    # What a terminal cannot show stands as its escape, rather than ending the answers.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    # Before Keras is imported (pneumonia.backend).
    os.environ.setdefault("PNEUMONIA_LEAN", "1")
    try:
        code: int = options.run(options)
        _flush(sys.stdout)
    except KeyboardInterrupt:
        _tell("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more on its way out.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _tell("Whoever read the answers has gone; the rest was left.")
        return PIPE_CLOSED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pneumonia",
        description="Reads chest X-rays as NORMAL or PNEUMONIA. Not a medical device.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_score(commands)
    _add_export(commands)
    _add_serve(commands)
    return parser


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="read pictures, a line or a JSON entry each")
    command.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    add_model(command)
    _add_point(command)
    _add_force(command)
    command.add_argument(
        "--views",
        type=int,
        metavar="1",
        help="1: look at each picture once, faster and a little less right (default: as often as"
        " the model was measured with)",
    )
    command.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    command.set_defaults(run=_predict)


def _add_score(commands: Any) -> None:
    command = commands.add_parser(
        "score",
        help="read a folder, a list or a zip archive into a table, a row a file",
        description="Reads any number of files into a table, a row a file, in their order. After a"
        " kill the same command goes on where it was.",
    )
    command.add_argument(
        "where",
        type=Path,
        metavar="FOLDER|LIST|ZIP",
        help="a folder and all below it, a .txt with a path a line, or a zip archive",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="TABLE", help="a .csv or a .parquet"
    )
    add_model(command)
    _add_point(command)
    _add_force(command)
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that decode (default: one a core; 0: none but this one)",
    )
    command.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="let a Ray cluster answer: host:port, auto for the one this machine belongs to, or"
        " nothing for one of this machine alone (needs pip install '.[ray]')",
    )
    command.set_defaults(run=_score)


def _add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export", help="write a model in the format of another runtime, checked"
    )
    command.add_argument("model", metavar="MODEL", help="as for the option --model of predict")
    command.add_argument(
        "--format",
        required=True,
        choices=("onnx", "litert", "saved_model"),
        help="of which runtime",
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where the model and its model_spec.json go",
    )
    command.set_defaults(run=_export)


def _add_point(command: argparse.ArgumentParser) -> None:
    point = command.add_mutually_exclusive_group()
    point.add_argument(
        "--operating-point",
        metavar="NAME",
        help="one of the model's, such as recall-0.98 (default: the model's own)",
    )
    point.add_argument(
        "--threshold",
        type=_share,
        help="0 to 1; a probability at or above it is PNEUMONIA",
    )


def _add_serve(commands: Any) -> None:
    command = commands.add_parser(
        "serve",
        help="start the page; further options are those of app.py",
        # Nothing here looks like an option, so all of them go on to app.py, --help too.
        add_help=False,
        prefix_chars="\0",
    )
    command.add_argument("options", nargs=argparse.REMAINDER)
    command.set_defaults(run=_serve)


def _add_force(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--force",
        action="store_true",
        help="answer even where the picture does not look like a frontal chest X-ray",
    )


def add_model(command: argparse.ArgumentParser) -> None:
    """The option that every command has which asks a network."""
    command.add_argument(
        "--model",
        metavar="MODEL",
        help="baseline, augmented or xception; the folder of a bundle; or namespace/name or an"
        f" address on the Hub (default: {DEFAULT_VARIANT})",
    )


def load(model: str | None) -> PneumoniaClassifier | None:
    """The classifier of ``--model``, or None after saying why there is none."""
    from pneumonia import BundleError, HubError, ModelSpecError, PneumoniaClassifier

    try:
        return PneumoniaClassifier.from_pretrained(model)
    except (BundleError, HubError, ModelSpecError, OSError, ValueError) as error:
        _tell(error)
        return None


def _predict(options: argparse.Namespace) -> int:
    from pneumonia import InputCheckError, UnknownOperatingPoint, UnreadableImage, decoding

    # While the network is loaded, the processes start that decode under limits.
    decoding.warm_up()
    classifier = load(options.model)
    if classifier is None:
        return 1
    try:
        classifier.threshold(options.operating_point, options.threshold, views=options.views)
    except (UnknownOperatingPoint, ValueError) as error:
        _tell(error)
        return 2
    failed = 0
    with _open_output(options.json) as write:
        for image in options.images:
            try:
                started = time.perf_counter()
                prediction = classifier.predict(
                    decoding.read_limited(image),
                    views=options.views,
                    operating_point=options.operating_point,
                    threshold=options.threshold,
                    on_invalid="ignore" if options.force else "raise",
                )
            except InputCheckError as error:
                failed += 1
                _tell(f"{error} Give --force to have an answer all the same.")
            except (UnreadableImage, OSError) as error:
                failed += 1
                _tell(error)
            # One bad file spoils nothing: the others are still read, and the exit code tells.
            except Exception as error:
                failed += 1
                _tell(f"{image} could not be read ({type(error).__name__}: {error}).")
            else:
                milliseconds = (time.perf_counter() - started) * 1000
                write(image, dataclasses.replace(prediction, milliseconds=milliseconds))
    return 1 if failed else 0


def _score(options: argparse.Namespace) -> int:
    from pneumonia import UnknownOperatingPoint, cluster, score

    classifier = load(options.model)
    if classifier is None:
        return 1
    bar = _Bar()
    try:
        counts = score.write(
            classifier,
            options.where,
            options.out,
            operating_point=options.operating_point,
            threshold=options.threshold,
            force=options.force,
            workers=options.workers,
            answer=functools.partial(cluster.score_on, options.ray) if options.ray else None,
            progress=bar,
        )
    except UnknownOperatingPoint as error:
        _tell(error)
        return 2
    except score.ScoreError as error:
        _tell(error)
        return 1
    finally:
        bar.close()
    before = counts["files"] - counts["scored"]
    done = f" ({before:,} of them were done before)" if before else ""
    files = f"{counts['files']:,} file{'' if counts['files'] == 1 else 's'}"
    unreadable, refused = counts["unreadable"], counts["refused"]
    why = " (no frontal chest X-rays; --force answers them)" if refused else ""
    _tell(f"{options.out}: {files}{done}, {unreadable:,} unreadable, {refused:,} refused{why}.")
    return 1 if unreadable or refused else 0


class _Bar:
    """How far a long command is, on one line of a terminal; elsewhere a line every half minute."""

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._said = time.monotonic()
        self._open = False

    def __call__(self, now: Progress) -> None:
        if not self._terminal and time.monotonic() - self._said < 30:
            return
        self._said = time.monotonic()
        share = now.done / max(1, now.total)
        bar = f"[{'=' * int(20 * share):<20}]"
        minutes, seconds = divmod(round(now.left or 0), 60)
        text = (
            f"{bar} {now.done:,} of {now.total:,}  {now.rate:.0f} a second,"
            f" {minutes}:{seconds:02} left"
        )
        with contextlib.suppress(OSError, ValueError):
            print(text, end="\r" if self._terminal else "\n", file=sys.stderr, flush=True)
        self._open = self._terminal

    def close(self) -> None:
        """Leaves the line, so that what follows begins on one of its own."""
        if self._open:
            with contextlib.suppress(OSError, ValueError):
                print(file=sys.stderr, flush=True)


def _export(options: argparse.Namespace) -> int:
    from pneumonia import export

    classifier = load(options.model)
    if classifier is None:
        return 1
    try:
        made = export.export(classifier, options.format, options.out)
    except export.ExportError as error:
        _tell(error)
        return 1
    except OSError as error:
        _tell(f"{options.out} cannot be written: {error.strerror or error}")
        return 1
    print(
        f"{made.path}: answers on {made.pictures} pictures differ from the original's by at most"
        f" {made.largest_difference:.1e}; {made.path.parent / 'model_spec.json'} says how to"
        " prepare a picture."
    )
    return 0


@contextlib.contextmanager
def _open_output(as_json: bool) -> Iterator[Callable[[Path, Prediction], None]]:
    """What writes an answer as soon as it is there; a JSON list is closed whatever happens."""
    count = 0

    def line(image: Path, found: Prediction) -> None:
        if found.unfamiliar:
            near = ", unlike the X-rays it learned from"
        else:
            near = ", too near for certainty" if found.uncertain else ""
        print(
            f"{found.label:<9}  {found.probability:6.1%}  (threshold {found.threshold:.3g}{near}) "
            f" {found.milliseconds:5.0f} ms  {harmless(image)}",
            flush=True,
        )
        # On stderr, so that the answers stay a line each.
        if len(found.warnings) > found.unfamiliar:
            _tell(f"{image}: {' '.join(found.warnings)}")

    def entry(image: Path, found: Prediction) -> None:
        nonlocal count
        row = found.to_dict() | {"name": harmless(found.name)}
        print("," if count else "[", json.dumps(row, indent=2), sep="\n", end="", flush=True)
        count += 1

    if not as_json:
        yield line
        return
    try:
        yield entry
    finally:
        print("\n]" if count else "[]", flush=True)


def _serve(options: argparse.Namespace) -> int:
    if not APP.is_file():
        _tell("The page is part of the checkout, not of the package; run python app.py there.")
        return 1
    if importlib.util.find_spec("gradio") is None:
        _tell('The page needs Gradio: pip install -e ".[app]" in the checkout.')
        return 1
    sys.argv = [str(APP), *options.options]
    sys.path.insert(0, str(APP.parent))
    runpy.run_path(str(APP), run_name="__main__")
    return 0


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"it must lie in 0..1, got {harmless(text, 40)}")
    return value


def _tell(message: object) -> None:
    # A closed stderr is no reason to fail.
    with contextlib.suppress(OSError, ValueError):
        print(harmless(message, 2000), file=sys.stderr, flush=True)


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(ValueError):
        stream.flush()
