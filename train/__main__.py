"""The command line of training, evaluation and publication: ``python -m train --help``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As in app.py: products as small as those of pneumonia.lungs lose far more by waiting for a second
# thread's core than they gain.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pneumonia import BundleError, ModelSpecError
from pneumonia.architectures import CATALOGUE
from pneumonia.hub import HubError
from pneumonia.release import ReleaseError
from train import commands, recipes
from train.data import chest_xray
from train.reports import card
from train.training import fit
from train.training.run_folder import RunError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns 0 where it did what was asked, 1 with a sentence on stderr where it
    could not.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (
        chest_xray.DataError,
        RunError,
        BundleError,
        ModelSpecError,
        ReleaseError,
        HubError,
    ) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. The same command goes on where it was, with --resume where it has that"
            " option.",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train", description="Trains, measures and publishes the three networks."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    command = subparsers.add_parser(
        "data", help="audit the data set: counts, duplicates, patients, sizes; JSON and a picture"
    )
    _add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        default=Path("assets/results"),
        help="where data.json and data.png go (default: %(default)s)",
    )
    command.set_defaults(run=commands.count)

    for name in (*CATALOGUE, "all"):
        help_text = (
            f"train {CATALOGUE[name].title}"
            if name in CATALOGUE
            else "train all variants, one after the other"
        )
        command = subparsers.add_parser(name, help=help_text)
        _add_data(command)
        command.add_argument(
            "--recipe", default="original", help="which recipe (default: %(default)s)"
        )
        command.add_argument(
            "--epochs", type=int, help="how many epochs, instead of the recipe's number"
        )
        command.add_argument(
            "--seed",
            type=int,
            help=(
                "another seed than the recipe's; the run's folder is then runs/VARIANT-RECIPE-SEED"
            ),
        )
        command.add_argument(
            "--pool",
            type=Path,
            metavar="DIR",
            help="a teacher's views and answers, for a recipe that learns from them (see distil)",
        )
        command.add_argument(
            "--out",
            type=Path,
            help="the run's folder (default: runs/VARIANT-RECIPE); the bundle is made in it",
        )
        command.add_argument(
            "--resume",
            action="store_true",
            help="go on with the run in that folder, if there is one",
        )
        command.add_argument(
            "--precision",
            choices=fit.PRECISIONS,
            default="float32",
            help="mixed_bfloat16 halves the time where the processor has it",
        )
        command.add_argument(
            "--imagenet-weights",
            metavar="FILE",
            help="local Xception weights (default: XCEPTION_WEIGHTS, else Keras downloads them)",
        )
        where = (
            "a namespace; each variant goes to NAMESPACE/pneumonia-xray-VARIANT"
            if name == "all"
            else "NAMESPACE/NAME"
        )
        command.add_argument(
            "--push",
            metavar="NAMESPACE" if name == "all" else "NAMESPACE/NAME",
            help=f"publish the finished bundle on the Hub: {where}",
        )
        command.set_defaults(
            run=commands.train, variants=list(CATALOGUE) if name == "all" else [name]
        )

    command = subparsers.add_parser(
        "distil",
        help=(
            "have a bundle answer for random views of the training images, for smaller networks to"
            " learn from"
        ),
    )
    command.add_argument("bundle", type=Path, help="the teacher's folder")
    _add_data(command)
    command.add_argument(
        "--views", type=int, default=10, help="views of each image (default: %(default)s)"
    )
    command.add_argument(
        "--marked",
        type=float,
        default=recipes.VIEWS.letters,
        metavar="SHARE",
        help=(
            "of the views, 0 to 1, that letters are burnt into; the margins of as many are shut,"
            " drawn independently (default: %(default)s)"
        ),
    )
    command.add_argument(
        "--precision",
        choices=fit.PRECISIONS,
        default="float32",
        help="in which the teacher answers",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("runs/pool"),
        help="the pool's folder (default: %(default)s)",
    )
    command.set_defaults(run=commands.distil_views)

    command = subparsers.add_parser(
        "input check",
        help="fit and measure the input check that refuses what is no frontal chest X-ray",
    )
    _add_data(command)
    command.add_argument(
        "--volumes",
        type=Path,
        metavar="DIR",
        help="folder with CT volumes to compute films from; measured only",
    )
    command.add_argument(
        "--keep", action="store_true", help="fit nothing; measure the input check that is there"
    )
    command.add_argument(
        "--test",
        action="store_true",
        help="fit nothing; measure the finished input check on the test folder",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("assets/results"),
        help="where input_check.json and input_check.png go (default: %(default)s)",
    )
    command.set_defaults(run=commands.fit_input_check)

    command = subparsers.add_parser(
        "evaluate", help="measure a bundle on the test folder, with intervals, tables and pictures"
    )
    command.add_argument("bundle", type=Path, help="the bundle's folder")
    _add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        help=(
            "where the results go (default: runs/evaluation/VARIANT); the bundle itself is left as"
            " it is"
        ),
    )
    command.set_defaults(run=commands.evaluate_bundle)

    command = subparsers.add_parser(
        "calibrate",
        help=(
            "place a bundle's temperature and thresholds by its answers on held-out patients, and"
            " measure it with them"
        ),
    )
    command.add_argument(
        "bundles", type=Path, nargs="+", metavar="bundle", help="a bundle's folder; it is renewed"
    )
    _add_data(command)
    command.add_argument(
        "--ask",
        action="store_true",
        help="ask the network again, instead of reading validation_copies.csv in the bundle",
    )
    command.set_defaults(run=commands.calibrate_bundles)

    command = subparsers.add_parser(
        "robustness",
        help=(
            "measure bundles with lungs or borders hidden, other framing, exposure and encoding; a"
            " table and a chart"
        ),
    )
    command.add_argument(
        "bundles", type=Path, nargs="+", metavar="bundle", help="a bundle's folder"
    )
    _add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        help="where robustness.json and robustness.png go, a folder a variant (default: into each bundle)",
    )
    command.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="N images a split, for a quick look; what is written says so",
    )
    command.set_defaults(run=commands.robustness_bundles)

    command = subparsers.add_parser(
        "lungs", help="fit the lung shape on the train folder; measure and draw its masks"
    )
    _add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        default=Path("assets/results"),
        help="where lungs.json and lungs.png go (default: %(default)s)",
    )
    command.add_argument(
        "--keep",
        action="store_true",
        help="fit nothing; measure and draw with the shape that is there",
    )
    command.set_defaults(run=commands.fit_lungs)

    command = subparsers.add_parser(
        "seeds",
        help=(
            "of several runs of a recipe, name the one with the best validation, and write the"
            " spread into its bundle"
        ),
    )
    command.add_argument(
        "bundles", type=Path, nargs="+", metavar="bundle", help="a finished run's bundle"
    )
    command.set_defaults(run=commands.choose_seed)

    command = subparsers.add_parser(
        "compare",
        help="one table and picture of the source's claims and ours; renews the README's table",
    )
    command.add_argument(
        "--models",
        type=Path,
        default=Path("assets/models"),
        help="folder of bundles (default: %(default)s)",
    )
    command.add_argument(
        "--results",
        type=Path,
        default=Path("assets/results"),
        help="further results, and where the picture goes (default: %(default)s)",
    )
    command.add_argument(
        "--readme",
        type=Path,
        default=Path("README.md"),
        help="file whose results block is renewed (default: %(default)s)",
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail if the block is not what the bundles say",
    )
    command.set_defaults(run=commands.compare_models)

    command = subparsers.add_parser(
        "card", help="renew the cards of the bundles and the generated block of model_card.md"
    )
    command.add_argument(
        "--models",
        type=Path,
        default=Path("assets/models"),
        help="folder of bundles (default: %(default)s)",
    )
    command.add_argument(
        "--prose", type=Path, default=card.PROSE, help="the card's text (default: model_card.md)"
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail if a card is not what its bundle says",
    )
    command.set_defaults(run=commands.write_cards)

    command = subparsers.add_parser(
        "push", help="publish a bundle with its card on the Hugging Face Hub, in one commit"
    )
    command.add_argument("bundle", type=Path, help="the bundle's folder, evaluated")
    command.add_argument("--repo", required=True, metavar="NAMESPACE/NAME", help="made if need be")
    command.add_argument(
        "--space", metavar="NAMESPACE/NAME", help="the Space that the card's example calls"
    )
    command.add_argument(
        "--code", metavar="URL", help="this project's repository, for the card's links"
    )
    _add_hub(command)
    command.set_defaults(run=commands.push)

    command = subparsers.add_parser(
        "push-space", help="publish the app with the bundled models as a Space, in one commit"
    )
    command.add_argument("repo", metavar="NAMESPACE/NAME", help="made if need be")
    _add_hub(command)
    command.set_defaults(run=commands.push_space)
    return parser


def _add_hub(command: argparse.ArgumentParser) -> None:
    # No --token: a secret on a command line stays in the shell's history.
    command.add_argument("--private", action="store_true", help="make it a private repository")
    command.add_argument(
        "--revision",
        metavar="BRANCH",
        help="push to this branch, made if need be (default: the main one)",
    )


def _add_data(command: argparse.ArgumentParser) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
