"""Fits and measures the input check: ``python -m tools.input_check --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.input_check import fit
from train import terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; for the exit codes see :func:`train.terminal.run`."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.input_check",
        description="Fits and measures the input check that refuses what is no chest X-ray.",
    )
    terminal.add_data(parser)
    parser.add_argument(
        "--volumes",
        type=Path,
        metavar="DIR",
        help="folder with CT volumes to compute films from; measured only",
    )
    parser.add_argument(
        "--keep", action="store_true", help="fit nothing; measure the input check that is there"
    )
    parser.add_argument(
        "--test",
        action="store_true",
        help="fit nothing; measure the finished input check on the test folder",
    )
    terminal.out(parser, "where input_check.json and input_check.png go", Path("assets/results"))
    parser.set_defaults(run=_run)
    return terminal.run(parser, arguments)


def _run(options: argparse.Namespace) -> int:
    dataset = terminal.dataset(options)
    facts = (
        fit.finish(dataset, options.out)
        if options.test
        else fit.run(dataset, options.out, volumes=options.volumes, keep=options.keep)
    )
    for side in ("accepted", "refused"):
        print(f"{side}:")
        for name, share in facts[side].items():
            print(f"  {name:44s} {share['share']:7.1%} of {share['images']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
