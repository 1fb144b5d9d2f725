"""The command line of training, evaluation and publication: ``python -m train --help``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As in app.py: products as small as those of pneumonia.lungs lose far more by waiting for a second
# thread's core than they gain.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before Keras is imported (pneumonia.backend).
os.environ.setdefault("PNEUMONIA_LEAN", "1")

from pneumonia.architectures import CATALOGUE
from train import commands, pipeline, terminal
from train.evaluation import robustness
from train.recipes.catalogue import DEFAULT
from train.recipes.recipe import VIEWS
from train.reports import card
from train.training.network import PRECISIONS

ALL = "all"
# Keras and NumPy both take seeds up to here.
_HIGHEST_SEED = 2**32 - 1
_MODELS, _RESULTS, _README = Path("assets/models"), Path("assets/results"), Path("README.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; for the exit codes see :func:`train.terminal.run`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in (*CATALOGUE, ALL):
        print(f"Variants are trained by fit: python -m train fit {given[0]}.", file=sys.stderr)
        return 2
    return terminal.run(_parser(), given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train", description="Trains, measures and publishes the three networks."
    )
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    for define in (
        _pipeline,
        _data,
        _fit,
        _distil,
        _seeds,
        _install,
        _calibrate,
        _evaluate,
        _robustness,
        _framing,
        _familiarity,
        _compare,
        _card,
        _push,
        _push_space,
    ):
        define(add)
    return parser


def _pipeline(add: Any) -> None:
    command = add(
        "pipeline",
        help="everything for all three variants: from images to bundles, reports and cards",
        description=(
            "Prints each step with how long it takes, then does what is not done yet; started"
            " again it goes on where it was."
        ),
    )
    terminal.add_data(command)
    _add_training(command)
    command.add_argument(
        "--teachers",
        type=terminal.whole(0),
        default=0,
        metavar="N",
        help="train so many Xceptions and ask them, instead of taking the kept answers of three;"
        " for other data than the published (default: %(default)s)",
    )
    command.add_argument(
        "--views",
        type=terminal.whole(1),
        default=pipeline.VIEWS,
        help="views of each image that a teacher answers for (default: %(default)s)",
    )
    command.add_argument(
        "--epochs",
        type=terminal.whole(1),
        help="of every run, instead of the recipes' numbers: for a trial of the pipeline itself",
    )
    command.add_argument(
        "--into",
        type=terminal.new_folder,
        default=Path(),
        metavar="DIR",
        help="folder with assets/, README.md and model_card.md that are renewed (default: here)",
    )
    command.add_argument("--dry-run", action="store_true", help="print the steps, do nothing")
    terminal.out(command, "folder of runs, and of the note of what is done", Path("runs"))
    command.set_defaults(run=pipeline.run)


def _data(add: Any) -> None:
    command = add(
        "data", help="audit the data set: counts, duplicates, patients, sizes; JSON and a picture"
    )
    terminal.add_data(command)
    terminal.out(command, "where data.json and data.png go", _RESULTS)
    command.set_defaults(run=commands.count)


def _fit(add: Any) -> None:
    command = add("fit", help="train variants by a recipe and make their bundles")
    command.add_argument(
        "variants",
        nargs="+",
        choices=(*CATALOGUE, ALL),
        metavar="VARIANT",
        help=f"{', '.join(CATALOGUE)}, or {ALL}",
    )
    terminal.add_data(command)
    _add_training(command)
    command.add_argument(
        "--epochs",
        type=terminal.whole(1),
        help="how many epochs, instead of the recipe's number",
    )
    command.add_argument(
        "--seed",
        type=terminal.whole(0, _HIGHEST_SEED),
        help="another seed than the recipe's; the run's folder is then runs/VARIANT-RECIPE-SEED",
    )
    command.add_argument(
        "--pool",
        type=Path,
        metavar="DIR",
        help="a teacher's views and answers, for a recipe that learns from them (see distil)",
    )
    command.add_argument(
        "--start",
        type=Path,
        metavar="DIR",
        help="the bundle whose weights a recipe that says so starts from",
    )
    terminal.out(
        command,
        "the run's folder, or with several variants the one theirs go into (default:"
        " runs/VARIANT-RECIPE)",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on with the run in that folder, if there is one"
    )
    command.add_argument(
        "--push",
        metavar="NAMESPACE/NAME",
        help=(
            "publish the finished bundle on the Hub; with several variants a NAMESPACE, and each"
            " goes to NAMESPACE/pneumonia-xray-VARIANT"
        ),
    )
    command.set_defaults(run=commands.train)


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--recipe", default=DEFAULT, help="which recipe (default: %(default)s)")
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="mixed_bfloat16 halves the time where the processor has it (default: %(default)s)",
    )
    command.add_argument(
        "--imagenet-weights",
        metavar="FILE",
        help="local Xception weights (default: XCEPTION_WEIGHTS, else Keras downloads them)",
    )


def _distil(add: Any) -> None:
    command = add(
        "distil",
        help="have bundles answer for random views of the training images, for other networks to"
        " learn from",
    )
    command.add_argument(
        "bundles",
        type=Path,
        nargs="*",
        metavar="bundle",
        help="a teacher's folder; without any, the answers kept in the repository are taken",
    )
    command.add_argument(
        "--reframed",
        action="store_true",
        help="draw each view into the lung outline of a random other child first",
    )
    terminal.add_data(command)
    command.add_argument(
        "--views",
        type=terminal.whole(1),
        default=10,
        help="views of each image (default: %(default)s)",
    )
    command.add_argument(
        "--artefacts",
        type=terminal.share,
        default=VIEWS.letters,
        metavar="SHARE",
        help=(
            "of the views, 0 to 1, that letters are burnt into; the margins of as many are shut,"
            " drawn independently (default: %(default)s)"
        ),
    )
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="in which the teacher answers (default: %(default)s)",
    )
    terminal.out(command, "the pool's folder", Path("runs/pool"))
    command.set_defaults(run=commands.distil_views)


def _seeds(add: Any) -> None:
    command = add(
        "seeds",
        help="of several runs of a recipe, name the one with the best validation, and write the"
        " spread into its bundle",
    )
    _add_bundles(command, "a finished run's bundle")
    command.set_defaults(run=commands.choose_seed)


def _install(add: Any) -> None:
    command = add(
        "install",
        help="put a finished run's bundle, of several seeds the best, in the bundled models' place",
    )
    _add_bundles(command, "a finished run's bundle")
    _add_models(command)
    command.set_defaults(run=commands.install)


def _calibrate(add: Any) -> None:
    command = add(
        "calibrate",
        help="place a bundle's temperature and thresholds by its answers on held-out patients, and"
        " measure it with them",
    )
    _add_bundles(command, "a bundle's folder; it is renewed")
    terminal.add_data(command)
    command.add_argument(
        "--ask",
        action="store_true",
        help="ask the network again, instead of reading validation_copies.csv in the bundle",
    )
    command.set_defaults(run=commands.calibrate_bundles)


def _evaluate(add: Any) -> None:
    command = add(
        "evaluate", help="measure a bundle on the test folder, with intervals, tables and pictures"
    )
    command.add_argument("bundle", type=Path, help="the bundle's folder")
    terminal.add_data(command)
    terminal.out(
        command,
        "where the results go (default: runs/evaluation/VARIANT); the bundle is left as it is",
    )
    command.set_defaults(run=commands.evaluate_bundle)


def _robustness(add: Any) -> None:
    command = add(
        "robustness",
        help="measure bundles with lungs or borders hidden, other framing, exposure and encoding; a"
        " table and a chart",
    )
    _add_bundles(command, "a bundle's folder")
    terminal.add_data(command)
    terminal.out(
        command,
        "where robustness.json and robustness.png go, a folder a variant (default: into each"
        " bundle)",
    )
    command.add_argument(
        "--limit",
        type=terminal.whole(2),
        metavar="N",
        help="N images a split, for a quick look; what is written says so",
    )
    command.add_argument(
        "--only",
        nargs="+",
        default=(),
        choices=robustness.conditions(),
        metavar="NAME",
        help="these alterations alone, such as 'lungs hidden' (default: all)",
    )
    command.set_defaults(run=commands.robustness_bundles)


def _framing(add: Any) -> None:
    command = add(
        "framing",
        help="judge bundles on held-out patients of whom framing says nothing: healthy lungs are"
        " stretched to the outline of ill ones",
        description=(
            "Prints AUC, and specificity at 98% recall, on held-out patients as they are and"
            " framing-swapped; of several bundles also for the mean of their logits."
        ),
    )
    _add_bundles(command, "a bundle's folder")
    terminal.add_data(command)
    command.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="bundles that are judged too and are not in the mean",
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the JSON file of the figures (default: they are only printed)",
    )
    command.set_defaults(run=commands.judge_framing)


def _familiarity(add: Any) -> None:
    command = add(
        "familiarity",
        help="count how often a bundle calls an X-ray unlike those it learned from: held-out, test,"
        " altered, of other origin",
    )
    _add_bundles(command, "a bundle's folder")
    terminal.add_data(command)
    command.add_argument(
        "--others", type=Path, metavar="DIR", help="a folder of X-rays of other origin"
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the JSON file of the counts (default: they are only printed)",
    )
    command.set_defaults(run=commands.count_unfamiliar)


def _compare(add: Any) -> None:
    command = add(
        "compare",
        help="one table and picture of the original notebook's claims and ours; renews the README's"
        " table",
    )
    _add_models(command)
    command.add_argument(
        "--results",
        type=Path,
        default=_RESULTS,
        help="further results, and where the picture goes (default: %(default)s)",
    )
    command.add_argument(
        "--readme",
        type=Path,
        default=_README,
        help="file whose results block is renewed (default: %(default)s)",
    )
    _add_check(command)
    command.set_defaults(run=commands.compare_models)


def _card(add: Any) -> None:
    command = add(
        "card", help="renew the cards of the bundles and the generated block of model_card.md"
    )
    _add_models(command)
    command.add_argument(
        "--prose", type=Path, default=card.PROSE, help="the card's text (default: model_card.md)"
    )
    _add_check(command)
    command.set_defaults(run=commands.write_cards)


def _push(add: Any) -> None:
    command = add("push", help="publish a bundle with its card on the Hugging Face Hub")
    command.add_argument("bundle", type=Path, help="the bundle's folder, evaluated")
    command.add_argument("--repo", required=True, metavar="NAMESPACE/NAME", help="made if need be")
    command.add_argument(
        "--space", metavar="NAMESPACE/NAME", help="the Space that the card's example calls"
    )
    command.add_argument(
        "--code", metavar="URL", help="this project's repository, for the card's links"
    )
    command.add_argument(
        "--onnx", action="store_true", help='send model.onnx too (pip install ".[export]")'
    )
    _add_hub(command)
    command.set_defaults(run=commands.push)


def _push_space(add: Any) -> None:
    command = add("push-space", help="publish the app with the bundled models as a Space")
    command.add_argument("repo", metavar="NAMESPACE/NAME", help="made if need be")
    _add_hub(command)
    command.set_defaults(run=commands.push_space)


def _add_bundles(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("bundles", type=Path, nargs="+", metavar="bundle", help=what)


def _add_models(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--models", type=Path, default=_MODELS, help="folder of bundles (default: %(default)s)"
    )


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail if something is not what the bundles say",
    )


def _add_hub(command: argparse.ArgumentParser) -> None:
    # No --token: a secret on a command line stays in the shell's history.
    command.add_argument("--private", action="store_true", help="make it a private repository")
    command.add_argument(
        "--revision",
        metavar="BRANCH",
        help="push to this branch, made if need be (default: the main one)",
    )


if __name__ == "__main__":
    sys.exit(main())
