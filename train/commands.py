"""What each command of ``python -m train`` does with its options; all return the exit status."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from pneumonia import bundle
from pneumonia.hub import HubError, is_repo_name
from pneumonia.release import ReleaseError
from tools import lung_atlas
from tools.input_check import fit as input_check_fit
from train import recipes
from train.data import audit, chest_xray
from train.evaluation import details, evaluate, robustness, seeds
from train.reports import card, compare, publish, robustness_report
from train.training import distillation, fit
from train.training.run_folder import RunError


def count(options: argparse.Namespace) -> int:
    """Audits the data set."""
    audit.audit(chest_xray.scan(chest_xray.locate(options.data)), options.out)
    return 0


def fit_input_check(options: argparse.Namespace) -> int:
    """Fits or measures the input check and prints its shares."""
    dataset = chest_xray.scan(chest_xray.locate(options.data))
    facts = (
        input_check_fit.finish(dataset, options.out)
        if options.test
        else input_check_fit.run(dataset, options.out, volumes=options.volumes, keep=options.keep)
    )
    for side in ("accepted", "refused"):
        print(f"{side}:")
        print(
            "\n".join(
                f"  {name:44s} {share['share']:7.1%} of {share['images']}"
                for name, share in facts[side].items()
            )
        )
    return 0


def train(options: argparse.Namespace) -> int:
    """Trains one variant or all, and makes their bundles."""
    chosen = [recipes.get(variant, options.recipe) for variant in options.variants]
    if options.epochs is not None:
        if options.epochs < 1:
            raise RunError(f"--epochs must be 1 or more, got {options.epochs}.")
        chosen = [
            dataclasses.replace(
                recipe, epochs=options.epochs, keep_epoch=min(recipe.keep_epoch, options.epochs)
            )
            for recipe in chosen
        ]
    suffix = ""
    if options.seed is not None:
        chosen = [dataclasses.replace(recipe, seed=options.seed) for recipe in chosen]
        suffix = f"-{options.seed}"
    if options.out and len(chosen) > 1:
        folders = [options.out / f"{recipe.variant}-{recipe.name}" for recipe in chosen]
    else:
        folders = [
            options.out or Path("runs") / f"{recipe.variant}-{recipe.name}{suffix}"
            for recipe in chosen
        ]
    homes = (
        [
            options.push if len(chosen) == 1 else f"{options.push}/pneumonia-xray-{recipe.variant}"
            for recipe in chosen
        ]
        if options.push
        else []
    )
    for home in homes:
        # Before the hours of training, not after them.
        if not is_repo_name(home):
            raise HubError(
                f"--push names {home!r}, which is no repository; expected"
                f" {'NAMESPACE' if len(chosen) > 1 else 'NAMESPACE/NAME'}.",
                "name",
            )
    dataset = chest_xray.scan(chest_xray.locate(options.data))
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
        made = _finished(recipe, folder, dataset, options.skip_corrupt)
        if homes:
            print(publish.push(made, homes[index]))
    return 0


def _finished(
    recipe: recipes.Recipe, folder: Path, dataset: chest_xray.Dataset, skip_corrupt: bool
) -> Path:
    made = evaluate.assemble(recipe, folder, dataset, skip_corrupt=skip_corrupt)
    try:
        (made / "README.md").write_text(card.render(made), encoding="utf-8")
    except ReleaseError as error:
        # A run of an epoch or two may call nothing PNEUMONIA and so have no precision: it is
        # trained all the same, but not fit to be published.
        print(f"No card was written: {error}", file=sys.stderr)
    print(f"{made}\n{evaluate.table(bundle.read_metrics(made))}")
    return made


def distil_views(options: argparse.Namespace) -> int:
    """Makes a teacher's pool."""
    if not 0 <= options.marked <= 1:
        raise RunError(
            f"--marked is a share of the views and lies in 0 to 1, got {options.marked:g}."
        )
    dataset, out = chest_xray.scan(chest_xray.locate(options.data)), options.out
    policy = dataclasses.replace(recipes.VIEWS, letters=options.marked, collimate=options.marked)
    distillation.make(
        options.bundle,
        dataset,
        out,
        policy=policy,
        views=options.views,
        size=recipes.VIEW_SIZE,
        precision=options.precision,
        skip_corrupt=options.skip_corrupt,
    )
    return 0


def write_cards(options: argparse.Namespace) -> int:
    """Renews or checks the cards."""
    texts = {
        folder / "README.md": card.render(folder, prose=options.prose)
        for folder in sorted(options.models.iterdir())
        if folder.is_dir()
    }
    stale = [
        file
        for file, text in texts.items()
        if not file.is_file() or file.read_text(encoding="utf-8") != text
    ]
    if not options.check:
        for file in stale:
            file.write_text(texts[file], encoding="utf-8")
    if not card.refresh(options.models, options.prose, check=options.check):
        stale.append(options.prose)
    if stale:
        names = ", ".join(map(str, stale))
        print(
            (
                f"{names}: not what the bundles say; run python -m train card."
                if options.check
                else f"Renewed {names}."
            ),
            file=sys.stderr,
        )
    return 1 if options.check and stale else 0


def push(options: argparse.Namespace) -> int:
    """Publishes a bundle."""
    print(
        publish.push(
            options.bundle,
            options.repo,
            private=options.private,
            revision=options.revision,
            space=options.space,
            code=options.code,
        )
    )
    return 0


def push_space(options: argparse.Namespace) -> int:
    """Publishes the app."""
    print(publish.push_space(options.repo, private=options.private, revision=options.revision))
    return 0


def evaluate_bundle(options: argparse.Namespace) -> int:
    """Measures a bundle anew; 1 where its own figures are not confirmed."""
    spec = bundle.read_model_spec(options.bundle)
    out = options.out or Path("runs/evaluation") / spec.variant
    dataset = chest_xray.scan(chest_xray.locate(options.data))
    measured = evaluate.evaluate(
        options.bundle, dataset, out, cache=Path("runs/cache"), skip_corrupt=options.skip_corrupt
    )
    print(f"{evaluate.table(measured)}\nTables and pictures: {out}")
    if spec.data.get("fingerprint") != dataset.fingerprint:
        print(
            "The bundle's own metrics.json was measured on another copy of the data; the two are"
            " not compared."
        )
        return 0
    found = evaluate.differences(bundle.read_metrics(options.bundle), measured)
    print(
        "\n".join(["The bundle's metrics.json is not confirmed:", *found])
        if found
        else "The bundle's metrics.json is confirmed."
    )
    return 1 if found else 0


def calibrate_bundles(options: argparse.Namespace) -> int:
    """Places temperature and thresholds anew and measures the bundles with them."""
    dataset = chest_xray.scan(chest_xray.locate(options.data))
    cache, same = Path("runs/cache"), evaluate.identical(dataset)
    for folder in options.bundles:
        before = bundle.read_model_spec(folder).temperature
        if options.ask or not (folder / details.COPIES).is_file():
            spec = evaluate.calibrate(
                folder, dataset, cache=cache, skip_corrupt=options.skip_corrupt
            )
        else:
            spec = evaluate.place(folder, same)
        # At the temperature that the tables of predictions were written with they say it all.
        measured = (
            evaluate.measured(folder, folder, same)
            if spec.temperature == before and not options.ask
            else evaluate.evaluate(
                folder, dataset, folder, cache=cache, skip_corrupt=options.skip_corrupt
            )
        )
        print(f"{folder}\n{evaluate.table(measured)}")
    return 0


def robustness_bundles(options: argparse.Namespace) -> int:
    """Measures bundles under robustness."""
    if options.limit is not None and options.limit < 2:
        raise RunError(f"--limit must be 2 or more, got {options.limit}.")
    specs = [bundle.read_model_spec(folder) for folder in options.bundles]
    dataset = chest_xray.scan(chest_xray.locate(options.data))
    for folder, spec in zip(options.bundles, specs, strict=True):
        out = options.out / spec.variant if options.out else folder
        measured = robustness.measure(
            folder,
            dataset,
            out,
            cache=Path("runs/cache"),
            limit=options.limit,
            skip_corrupt=options.skip_corrupt,
        )
        print(f"{spec.variant}: {out}\n{robustness_report.table(measured)}")
    return 0


def fit_lungs(options: argparse.Namespace) -> int:
    """Fits, measures and draws the lung shape."""
    dataset, cache = chest_xray.scan(chest_xray.locate(options.data)), Path("runs/cache")
    if not options.keep:
        lung_atlas.make(dataset, cache=cache)
    print(
        json.dumps(
            lung_atlas.report(dataset, Path("assets/examples"), options.out, cache), indent=1
        )
    )
    return 0


def choose_seed(options: argparse.Namespace) -> int:
    """Picks the run that becomes the bundle."""
    print(seeds.write(options.bundles))
    return 0


def compare_models(options: argparse.Namespace) -> int:
    """Renews or checks the comparison."""
    current = compare.compare(options.models, options.results, options.readme, check=options.check)
    if not current:
        print(
            f"The results block of {options.readme} is not what the bundles say; run python -m"
            " train compare.",
            file=sys.stderr,
        )
    return 0 if current else 1
