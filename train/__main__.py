"""The command line of training, evaluation and publication: ``python -m train --help``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pneumonia import BundleError, ContractError, bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.hub import HubError, is_repo_name
from pneumonia.release import ReleaseError
from train import audit, card, compare, data, distil, evaluate, fit, guard, lungs, publish, recipes, seeds, stress, tries
from train.run_folder import RunError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns 0 where it did what was asked, 1 with a sentence on stderr where it could not."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (data.DataError, RunError, BundleError, ContractError, ReleaseError, HubError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Go on where it was with --resume.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Trains, measures and publishes the three networks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("data", help="audit the data set: counts, duplicates, patients, sizes; JSON and a picture")
    _add_data(command)
    command.add_argument("--out", type=Path, default=Path("assets/results"), help="where data.json and data.png go (default: %(default)s)")
    command.set_defaults(run=_audit)

    for name in (*CATALOGUE, "all"):
        help_text = f"train {CATALOGUE[name].title}" if name in CATALOGUE else "train all variants, one after the other"
        command = commands.add_parser(name, help=help_text)
        _add_data(command)
        command.add_argument("--recipe", default="seed", help="which recipe (default: %(default)s)")
        command.add_argument("--epochs", type=int, help="how many epochs, instead of the recipe's number")
        command.add_argument("--seed", type=int, help="another seed than the recipe's; the run's folder is then runs/VARIANT-RECIPE-SEED")
        command.add_argument("--pool", type=Path, metavar="DIR", help="a teacher's views and answers, for a recipe that learns from them (see distil)")
        command.add_argument("--out", type=Path, help="the run's folder (default: runs/VARIANT-RECIPE); the bundle is made in it")
        command.add_argument("--resume", action="store_true", help="go on with the run in that folder, if there is one")
        command.add_argument("--precision", choices=fit.PRECISIONS, default="float32", help="mixed_bfloat16 halves the time where the processor has it")
        command.add_argument("--imagenet-weights", metavar="FILE", help="local Xception weights (default: XCEPTION_WEIGHTS, else Keras downloads them)")
        where = "a namespace; each variant goes to NAMESPACE/pneumonia-xray-VARIANT" if name == "all" else "NAMESPACE/NAME"
        command.add_argument("--push", metavar="NAMESPACE" if name == "all" else "NAMESPACE/NAME", help=f"publish the finished bundle on the Hub: {where}")
        command.set_defaults(run=_train, variants=list(CATALOGUE) if name == "all" else [name])

    command = commands.add_parser("distil", help="have a bundle answer for random views of the training images, for smaller networks to learn from")
    command.add_argument("bundle", type=Path, help="the teacher's folder")
    _add_data(command)
    command.add_argument("--views", type=int, default=8, help="views of each image (default: %(default)s)")
    command.add_argument("--precision", choices=fit.PRECISIONS, default="float32", help="in which the teacher answers")
    command.add_argument("--out", type=Path, default=Path("runs/pool"), help="the pool's folder (default: %(default)s)")
    command.set_defaults(run=_distil)

    command = commands.add_parser("try", help="train a changed recipe, judge it on held-out patients under corruption, and write it into the log of tries")
    command.add_argument("name", help="of the try")
    command.add_argument("variant", choices=CATALOGUE)
    command.add_argument("--change", action="append", default=[], metavar="FIELD=JSON", help="a field of the recipe, or augmentation.FIELD; may be repeated")
    command.add_argument("--expect", default="", help="what is expected of it")
    command.add_argument("--conclude", help="train nothing; write down what was made of the try of that name")
    _add_data(command)
    command.add_argument("--precision", choices=fit.PRECISIONS, default="float32")
    command.add_argument("--imagenet-weights", metavar="FILE", help="local Xception weights")
    command.add_argument("--pool", type=Path, metavar="DIR", help="a teacher's views and answers")
    command.add_argument("--limit", type=int, help="so many held-out images at most")
    command.add_argument("--results", type=Path, default=Path("assets/results"), help="where the log is (default: %(default)s)")
    command.set_defaults(run=_try)

    command = commands.add_parser("guard", help="fit and measure the guard that refuses what is no frontal chest X-ray")
    _add_data(command)
    command.add_argument("--volumes", type=Path, metavar="DIR", help="folder with CT volumes to compute films from; measured only")
    command.add_argument("--keep", action="store_true", help="fit nothing; measure the guard that is there")
    command.add_argument("--test", action="store_true", help="fit nothing; measure the finished guard on the test folder")
    command.add_argument("--out", type=Path, default=Path("assets/results"), help="where guard.json and guard.png go (default: %(default)s)")
    command.set_defaults(run=_guard)

    command = commands.add_parser("evaluate", help="measure a bundle on the test folder, with intervals, tables and pictures")
    command.add_argument("bundle", type=Path, help="the bundle's folder")
    _add_data(command)
    command.add_argument("--out", type=Path, help="where the results go (default: runs/evaluation/VARIANT); the bundle itself is left as it is")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("stress", help="measure bundles with lungs or borders hidden, other framing, exposure and encoding; a table and a chart")
    command.add_argument("bundles", type=Path, nargs="+", metavar="bundle", help="a bundle's folder")
    _add_data(command)
    command.add_argument("--out", type=Path, help="where stress.json and stress.png go, a folder a variant (default: into each bundle)")
    command.add_argument("--limit", type=int, metavar="N", help="N images a split, for a quick look; what is written says so")
    command.set_defaults(run=_stress)

    command = commands.add_parser("lungs", help="fit the lung shape on the train folder; measure and draw its masks")
    _add_data(command)
    command.add_argument("--out", type=Path, default=Path("assets/results"), help="where lungs.json and lungs.png go (default: %(default)s)")
    command.add_argument("--keep", action="store_true", help="fit nothing; measure and draw with the shape that is there")
    command.set_defaults(run=_lungs)

    command = commands.add_parser("seeds", help="of several runs of a recipe, name the one with the best validation, and write the spread into its bundle")
    command.add_argument("bundles", type=Path, nargs="+", metavar="bundle", help="a finished run's bundle")
    command.set_defaults(run=_seeds)

    command = commands.add_parser("compare", help="one table and picture of the source's claims and ours; renews the README's table")
    command.add_argument("--models", type=Path, default=Path("assets/models"), help="folder of bundles (default: %(default)s)")
    command.add_argument("--results", type=Path, default=Path("assets/results"), help="further results, and where the picture goes (default: %(default)s)")
    command.add_argument("--readme", type=Path, default=Path("README.md"), help="file whose results block is renewed (default: %(default)s)")
    command.add_argument("--check", action="store_true", help="change nothing; fail if the block is not what the bundles say")
    command.set_defaults(run=_compare)

    command = commands.add_parser("card", help="renew the cards of the bundles and the generated block of model_card.md")
    command.add_argument("--models", type=Path, default=Path("assets/models"), help="folder of bundles (default: %(default)s)")
    command.add_argument("--prose", type=Path, default=card.PROSE, help="the card's text (default: model_card.md)")
    command.add_argument("--check", action="store_true", help="change nothing; fail if a card is not what its bundle says")
    command.set_defaults(run=_card)

    command = commands.add_parser("push", help="publish a bundle with its card on the Hugging Face Hub, in one commit")
    command.add_argument("bundle", type=Path, help="the bundle's folder, evaluated")
    command.add_argument("--repo", required=True, metavar="NAMESPACE/NAME", help="made if need be")
    command.add_argument("--space", metavar="NAMESPACE/NAME", help="the Space that the card's example calls")
    _add_hub(command)
    command.set_defaults(run=_push)

    command = commands.add_parser("push-space", help="publish the app with the bundled models as a Space, in one commit")
    command.add_argument("repo", metavar="NAMESPACE/NAME", help="made if need be")
    _add_hub(command)
    command.set_defaults(run=_push_space)
    return parser


def _add_hub(command: argparse.ArgumentParser) -> None:
    # No --token: a secret on a command line stays in the shell's history.
    command.add_argument("--private", action="store_true", help="make it a private repository")
    command.add_argument("--revision", metavar="BRANCH", help="push to this branch, made if need be (default: the main one)")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", metavar="DIR", help="folder with train, val and test (default: CHEST_XRAY_DIR, else Kaggle through kagglehub)")
    command.add_argument("--skip-corrupt", action="store_true", help="report images that cannot be decoded and leave them out, instead of stopping")


def _audit(options: argparse.Namespace) -> int:
    audit.audit(data.scan(data.locate(options.data)), options.out)
    return 0


def _guard(options: argparse.Namespace) -> int:
    dataset = data.scan(data.locate(options.data))
    facts = guard.finish(dataset, options.out) if options.test else guard.run(dataset, options.out, volumes=options.volumes, keep=options.keep)
    for side in ("accepted", "refused"):
        print(f"{side}:")
        print("\n".join(f"  {name:44s} {share['share']:7.1%} of {share['images']}" for name, share in facts[side].items()))
    return 0


def _train(options: argparse.Namespace) -> int:
    chosen = [recipes.get(variant, options.recipe) for variant in options.variants]
    if options.epochs is not None:
        if options.epochs < 1:
            raise RunError(f"--epochs must be 1 or more, got {options.epochs}.")
        chosen = [dataclasses.replace(recipe, epochs=options.epochs, keep_epoch=min(recipe.keep_epoch, options.epochs)) for recipe in chosen]
    suffix = ""
    if options.seed is not None:
        chosen = [dataclasses.replace(recipe, seed=options.seed) for recipe in chosen]
        suffix = f"-{options.seed}"
    if options.out and len(chosen) > 1:
        folders = [options.out / f"{recipe.variant}-{recipe.name}" for recipe in chosen]
    else:
        folders = [options.out or Path("runs") / f"{recipe.variant}-{recipe.name}{suffix}" for recipe in chosen]
    homes = [options.push if len(chosen) == 1 else f"{options.push}/pneumonia-xray-{recipe.variant}" for recipe in chosen] if options.push else []
    for home in homes:
        # Before the hours of training, not after them.
        if not is_repo_name(home):
            raise HubError(f"--push names {home!r}, which is no repository; expected {'NAMESPACE' if len(chosen) > 1 else 'NAMESPACE/NAME'}.", "name")
    dataset = data.scan(data.locate(options.data))
    for index, (recipe, folder) in enumerate(zip(chosen, folders, strict=True)):
        fit.fit(
            recipe,
            dataset,
            folder,
            resume=options.resume,
            precision=options.precision,
            imagenet_weights=options.imagenet_weights,
            pool=options.pool,
            skip_corrupt=options.skip_corrupt,
        )
        made = evaluate.assemble(recipe, folder, dataset, skip_corrupt=options.skip_corrupt)
        try:
            (made / "README.md").write_text(card.render(made), encoding="utf-8")
        except ReleaseError as error:
            # A run of an epoch or two may call nothing PNEUMONIA and so have no precision: it is trained all the same, but not fit to be published.
            print(f"No card was written: {error}", file=sys.stderr)
        print(f"{made}\n{evaluate.table(bundle.read_metrics(made))}")
        if homes:
            print(publish.push(made, homes[index]))
    return 0


def _distil(options: argparse.Namespace) -> int:
    dataset, out = data.scan(data.locate(options.data)), options.out
    distil.make(options.bundle, dataset, out, policy=recipes.VIEWS, views=options.views, size=recipes.VIEW_SIZE, precision=options.precision)
    return 0


def _try(options: argparse.Namespace) -> int:
    if options.conclude is not None:
        tries.conclude(options.results, options.name, options.conclude)
        return 0
    changes = {}
    for change in options.change:
        field, _, value = change.partition("=")
        try:
            changes[field] = json.loads(value)
        except ValueError:
            raise RunError(f"--change takes FIELD=JSON, such as epochs=1; got {change!r}.") from None
    record = tries.attempt(
        options.name,
        recipes.get(options.variant, "best"),
        changes,
        options.expect,
        data.scan(data.locate(options.data)),
        Path("runs") / f"try-{options.name}",
        options.results,
        precision=options.precision,
        imagenet_weights=options.imagenet_weights,
        pool=options.pool,
        limit=options.limit,
    )
    print(json.dumps(record["summary"], indent=1))
    return 0


def _card(options: argparse.Namespace) -> int:
    texts = {folder / "README.md": card.render(folder, prose=options.prose) for folder in sorted(options.models.iterdir()) if folder.is_dir()}
    stale = [file for file, text in texts.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    if not options.check:
        for file in stale:
            file.write_text(texts[file], encoding="utf-8")
    if not card.refresh(options.models, options.prose, check=options.check):
        stale.append(options.prose)
    if stale:
        names = ", ".join(map(str, stale))
        print(f"{names}: not what the bundles say; run python -m train card." if options.check else f"Renewed {names}.", file=sys.stderr)
    return 1 if options.check and stale else 0


def _push(options: argparse.Namespace) -> int:
    print(publish.push(options.bundle, options.repo, private=options.private, revision=options.revision, space=options.space))
    return 0


def _push_space(options: argparse.Namespace) -> int:
    print(publish.push_space(options.repo, private=options.private, revision=options.revision))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    contract = bundle.read_contract(options.bundle)
    out = options.out or Path("runs/evaluation") / contract.variant
    dataset = data.scan(data.locate(options.data))
    measured = evaluate.evaluate(options.bundle, dataset, out, cache=Path("runs/cache"), skip_corrupt=options.skip_corrupt)
    print(f"{evaluate.table(measured)}\nTables and pictures: {out}")
    if contract.data.get("fingerprint") != dataset.fingerprint:
        print("The bundle's own metrics.json was measured on another copy of the data; the two are not compared.")
        return 0
    found = evaluate.differences(bundle.read_metrics(options.bundle), measured)
    print("\n".join(["The bundle's metrics.json is not confirmed:", *found]) if found else "The bundle's metrics.json is confirmed.")
    return 1 if found else 0


def _stress(options: argparse.Namespace) -> int:
    if options.limit is not None and options.limit < 2:
        raise RunError(f"--limit must be 2 or more, got {options.limit}.")
    contracts = [bundle.read_contract(folder) for folder in options.bundles]
    dataset = data.scan(data.locate(options.data))
    for folder, contract in zip(options.bundles, contracts, strict=True):
        out = options.out / contract.variant if options.out else folder
        measured = stress.measure(folder, dataset, out, cache=Path("runs/cache"), limit=options.limit, skip_corrupt=options.skip_corrupt)
        print("\n".join((f"{contract.variant}: {out}", *stress.lines(measured))))
    return 0


def _lungs(options: argparse.Namespace) -> int:
    dataset, cache = data.scan(data.locate(options.data)), Path("runs/cache")
    if not options.keep:
        lungs.make(dataset, cache=cache)
    print(json.dumps(lungs.report(dataset, Path("assets/examples"), options.out, cache), indent=1))
    return 0


def _seeds(options: argparse.Namespace) -> int:
    print(seeds.write(options.bundles))
    return 0


def _compare(options: argparse.Namespace) -> int:
    current = compare.compare(options.models, options.results, options.readme, check=options.check)
    if not current:
        print(f"The results block of {options.readme} is not what the bundles say; run python -m train compare.", file=sys.stderr)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
