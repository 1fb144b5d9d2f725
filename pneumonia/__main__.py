"""Prediction from a terminal: ``python -m pneumonia predict IMAGE...``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pneumonia import BundleError, ModelSpecError, PneumoniaClassifier, UnreadableImage
from pneumonia.architectures import CATALOGUE

# Beside the package in a checkout; an installed package has no weights of its own.
BUNDLED = Path(__file__).parents[1] / "assets" / "models"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns 0 if every image was answered, 1 otherwise, each failure or
    refusal being told on stderr.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pneumonia",
        description="Reads chest X-rays as NORMAL or PNEUMONIA. Not a medical device.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("predict", help="classify images")
    command.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    command.add_argument(
        "--variant",
        choices=list(CATALOGUE),
        default="xception",
        help="which bundled network (default: %(default)s)",
    )
    command.add_argument(
        "--model", metavar="BUNDLE", help="the folder of a bundle, instead of --variant"
    )
    command.add_argument(
        "--threshold",
        type=float,
        help="0 to 1; at or above it is PNEUMONIA (default: the model's own)",
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="answer even where the picture does not look like a frontal chest X-ray",
    )
    command.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    options = parser.parse_args(arguments)
    try:
        classifier = PneumoniaClassifier.from_pretrained(options.model or BUNDLED / options.variant)
        if options.threshold is not None and not 0 <= options.threshold <= 1:
            raise ValueError(f"--threshold must lie in 0..1, got {options.threshold}.")
    except (BundleError, ModelSpecError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return _predict(classifier, options)


def _predict(classifier: PneumoniaClassifier, options: argparse.Namespace) -> int:
    rows, failed = [], 0
    for image in options.images:
        try:
            prediction = classifier.predict(image, threshold=options.threshold)
        except (UnreadableImage, OSError) as error:
            # One bad file spoils nothing: the others are still read, and the exit code tells.
            failed += 1
            print(error, file=sys.stderr)
            continue
        if prediction.warnings and not options.force:
            failed += 1
            print(
                f"{image} was not answered. {' '.join(prediction.warnings)} Give --force to have"
                " an answer all the same.",
                file=sys.stderr,
            )
            continue
        rows.append(prediction.to_dict())
        if not options.json:
            near = ", too near for certainty" if prediction.uncertain else ""
            threshold = f"(threshold {prediction.threshold:.3g}{near})"
            print(
                f"{prediction.label:<9}  {prediction.probability:6.1%}  {threshold} "
                f" {prediction.milliseconds:5.0f} ms  {image}"
            )
    if options.json:
        print(json.dumps(rows, indent=2))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
