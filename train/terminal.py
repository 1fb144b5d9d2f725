"""What the command lines of the checkout share: the options that find the data, values that are
checked before anything starts, and faults told in a sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pneumonia import BundleError, ModelSpecError
from pneumonia.export import ExportError
from pneumonia.hub_errors import HubError
from pneumonia.release import ReleaseError
from pneumonia.text import harmless
from train.data import chest_xray
from train.recipes.recipe import RecipeError
from train.training.run_folder import RunError

INTERRUPTED, PIPE_CLOSED = 130, 141
CACHE = Path("runs/cache")
# Faults of what was asked for, not of the program: their message is all there is to say.
_TOLD = (
    chest_xray.DataError,
    RecipeError,
    RunError,
    BundleError,
    ModelSpecError,
    ReleaseError,
    HubError,
    ExportError,
)


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Parses, calls what the command set as ``run``, and returns the exit code: 0 where it did what
    was asked, 1 with a sentence on stderr where it could not, 130 where it was interrupted, 141
    where whoever read its output has gone.
    """
    # What a terminal cannot show stands as its escape, rather than ending the work.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except _TOLD as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Python flushes stdout once more on its way out.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        # A full disk, a folder that may not be written, a file that is not there.
        place = harmless(str(error.filename)) if error.filename is not None else "A file"
        print(f"{place}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Training goes on where it was with --resume.", file=sys.stderr)
        return INTERRUPTED
    return code


def add_data(command: argparse.ArgumentParser) -> None:
    """The options of every command that reads the X-rays."""
    command.add_argument(
        "--data",
        metavar="DIR",
        help=(
            "folder with train, val and test (default: CHEST_XRAY_DIR, else Kaggle through"
            " kagglehub)"
        ),
    )
    command.add_argument(
        "--skip-corrupt",
        action="store_true",
        help="report images that cannot be decoded and leave them out, instead of stopping",
    )


def dataset(options: argparse.Namespace) -> chest_xray.Dataset:
    """The X-rays that ``--data`` names.

    Raises:
        DataError: they are missing or not as they should be.
    """
    return chest_xray.scan(chest_xray.locate(options.data))


def new_folder(text: str) -> Path:
    """A folder that is there or may be made, for argparse."""
    path = Path(text)
    if file := next((part for part in (path, *path.parents) if part.is_file()), None):
        raise argparse.ArgumentTypeError(f"{harmless(str(file))} is a file, a folder is needed")
    return path


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """A whole number within limits, for argparse."""
    limits = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest or (highest is not None and value > highest):
            raise argparse.ArgumentTypeError(f"must be a whole number, {limits}, got {text}")
        return value

    return parse


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a share, 0 to 1, got {text}")
    return value


def out(command: argparse.ArgumentParser, what: str, default: Any = None) -> None:
    """The option ``--out``: where ``what`` goes."""
    shown = f" (default: {default})" if default else ""
    command.add_argument("--out", type=new_folder, default=default, help=f"{what}{shown}")
