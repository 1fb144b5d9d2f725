"""The command ``pneumonia``: reads X-rays on a terminal, starts the page.

Exit codes: 0, every picture was answered; 1, one was not, or there is no model; 2, the command line
is wrong; 130, interrupted; 141, whoever read the answers has gone. Each comes with its sentence on
stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pneumonia import __version__
from pneumonia.locations import DEFAULT_VARIANT
from pneumonia.text import harmless

if TYPE_CHECKING:
    from pneumonia.classifier import PneumoniaClassifier
    from pneumonia.prediction import Prediction

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
    _add_serve(commands)
    return parser


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="read pictures, a line or a JSON entry each")
    command.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    add_model(command)
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
    command.add_argument(
        "--force",
        action="store_true",
        help="answer even where the picture does not look like a frontal chest X-ray",
    )
    command.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    command.set_defaults(run=_predict)


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
    from pneumonia import InputCheckError, UnknownOperatingPoint, UnreadableImage

    classifier = load(options.model)
    if classifier is None:
        return 1
    try:
        classifier.threshold(options.operating_point, options.threshold)
    except UnknownOperatingPoint as error:
        _tell(error)
        return 2
    failed = 0
    with _written(options.json) as write:
        for image in options.images:
            try:
                prediction = classifier.predict(
                    image,
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
                write(image, prediction)
    return 1 if failed else 0


@contextlib.contextmanager
def _written(as_json: bool) -> Iterator[Callable[[Path, Prediction], None]]:
    """What writes an answer as soon as it is there; a JSON list is closed whatever happens."""
    count = 0

    def line(image: Path, found: Prediction) -> None:
        near = ", too near for certainty" if found.uncertain else ""
        print(
            f"{found.label:<9}  {found.probability:6.1%}  (threshold {found.threshold:.3g}{near}) "
            f" {found.milliseconds:5.0f} ms  {harmless(image)}",
            flush=True,
        )

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
        _tell('The page needs Gradio: pip install "pneumonia-xray[app]".')
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
