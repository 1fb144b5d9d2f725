"""What each command of ``python -m train`` does with its options; all return the exit status."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.hub import is_repo_name
from pneumonia.hub_errors import HubError
from pneumonia.model_spec import ModelSpec
from pneumonia.release import ReleaseError
from train.data import audit
from train.data.chest_xray import Dataset
from train.data.folds import HELD_OUT
from train.evaluation import details, evaluate, familiarity, framing_swap, robustness, seeds
from train.recipes.catalogue import FIRST, get
from train.recipes.recipe import REFRAMED, VIEW_SIZE, VIEWS, Recipe
from train.reports import card, compare, publish, robustness_report, tables
from train.terminal import CACHE, dataset
from train.training import distillation, fit
from train.training.run_folder import RunError


def count(options: argparse.Namespace) -> int:
    """Audits the data set."""
    audit.audit(dataset(options), options.out)
    return 0


def train(options: argparse.Namespace) -> int:
    """Trains variants, and makes their bundles."""
    variants = list(CATALOGUE) if "all" in options.variants else options.variants
    chosen = [_apply_options(get(variant, options.recipe), options) for variant in variants]
    several, suffix = len(chosen) > 1, "" if options.seed is None else f"-{options.seed}"
    folders = [
        options.out
        if options.out and not several
        else (options.out or Path("runs")) / f"{recipe.variant}-{recipe.name}{suffix}"
        for recipe in chosen
    ]
    homes = [
        f"{options.push}/pneumonia-xray-{recipe.variant}" if several else options.push
        for recipe in chosen
        if options.push
    ]
    for home in homes:
        # Before the hours of training, not after them.
        if not is_repo_name(home):
            raise HubError(
                f"--push names {home!r}, which is no repository; expected"
                f" {'NAMESPACE' if several else 'NAMESPACE/NAME'}.",
                "name",
            )
    if homes and FIRST in [recipe.name for recipe in chosen]:
        raise RunError(f"A network of the recipe {FIRST} is no finished model; publish improved.")
    found = dataset(options)
    for index, (recipe, folder) in enumerate(zip(chosen, folders, strict=True)):
        fit.fit(
            recipe,
            found,
            folder,
            resume=options.resume,
            precision=options.precision,
            imagenet_weights=options.imagenet_weights,
            pool=options.pool if recipe.teacher_weight or not several else None,
            start_from=_start(recipe, folder, options),
            skip_corrupt=options.skip_corrupt,
        )
        made = _finish_run(recipe, folder, found, options.skip_corrupt)
        if homes:
            print(publish.push(made, homes[index]))
    return 0


def _start(recipe: Recipe, folder: Path, options: argparse.Namespace) -> Path | None:
    """The bundle to go on from: that of ``--start``, else of the run beside ``folder``."""
    if options.start or not recipe.starts_from:
        return options.start
    start = folder.parent / f"{recipe.variant}-{recipe.starts_from}" / "bundle"
    if not start.is_dir():
        raise RunError(
            f"{recipe.name} goes on from {start}, which is not there; make it with python -m train"
            f" fit {recipe.variant} --recipe {recipe.starts_from}, or name a bundle with --start."
        )
    return start


def _apply_options(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    if options.epochs is not None:
        recipe = dataclasses.replace(
            recipe, epochs=options.epochs, keep_epoch=min(recipe.keep_epoch, options.epochs)
        )
    return recipe if options.seed is None else dataclasses.replace(recipe, seed=options.seed)


def _finish_run(recipe: Recipe, folder: Path, found: Dataset, skip_corrupt: bool) -> Path:
    if recipe.name == FIRST:
        # Only a finished model is measured on the test folder.
        made = evaluate.assemble_unmeasured(recipe, folder, found, skip_corrupt=skip_corrupt)
        print(made)
        return made
    made = evaluate.assemble(recipe, folder, found, skip_corrupt=skip_corrupt)
    try:
        (made / "README.md").write_text(card.render(made), encoding="utf-8")
    except ReleaseError as error:
        # A run of an epoch or two may call nothing PNEUMONIA and so have no precision: it is
        # trained all the same, but not fit to be published.
        print(f"No card was written: {error}", file=sys.stderr)
    print(f"{made}\n{evaluate.table(bundle.read_metrics(made))}")
    return made


def distil_views(options: argparse.Namespace) -> int:
    """Makes a pool of views with the answers of teachers, or of those that were kept."""
    if not options.bundles:
        distillation.redraw(dataset(options), options.out, skip_corrupt=options.skip_corrupt)
        return 0
    distillation.make(
        options.bundles,
        dataset(options),
        options.out,
        policy=dataclasses.replace(
            REFRAMED if options.reframed else VIEWS,
            letters=options.artefacts,
            collimate=options.artefacts,
        ),
        views=options.views,
        size=VIEW_SIZE,
        precision=options.precision,
        skip_corrupt=options.skip_corrupt,
    )
    return 0


def write_cards(options: argparse.Namespace) -> int:
    """Renews or checks the cards."""
    license_text = (card.PROSE.parent / "LICENSE").read_text(encoding="utf-8")
    texts = {}
    for folder in sorted(options.models.iterdir()):
        if folder.is_dir():
            texts[folder / "README.md"] = card.render(folder, prose=options.prose)
            texts[folder / "LICENSE"] = license_text
    stale = [
        file
        for file, text in texts.items()
        if not file.is_file() or file.read_text(encoding="utf-8") != text
    ]
    if not options.check:
        for file in stale:
            file.write_text(texts[file], encoding="utf-8")
    for folder in sorted({file.parent for file in texts}):
        if not bundle.is_sealed(folder):
            stale.append(folder / bundle.CHECKSUMS)
            if not options.check:
                bundle.seal(folder)
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
            onnx=options.onnx,
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
    out, found = options.out or Path("runs/evaluation") / spec.variant, dataset(options)
    # Before measuring, for the folder measured into may be the bundle's own.
    has_metrics = (options.bundle / bundle.METRICS).is_file()
    recorded = bundle.read_metrics(options.bundle) if has_metrics else None
    measured = evaluate.evaluate(
        options.bundle, found, out, cache=CACHE, skip_corrupt=options.skip_corrupt
    )
    print(f"{evaluate.table(measured)}\nTables and pictures: {out}")
    if spec.data.get("fingerprint") != found.fingerprint:
        print(
            "The bundle's own metrics.json was measured on another copy of the data; the two are"
            " not compared."
        )
        return 0
    if recorded is None:
        print("The bundle had no metrics.json to compare with.")
        return 0
    differences = evaluate.differences(recorded, measured)
    print(
        "\n".join(["The bundle's metrics.json is not confirmed:", *differences])
        if differences
        else "The bundle's metrics.json is confirmed."
    )
    return 1 if differences else 0


def calibrate_bundles(options: argparse.Namespace) -> int:
    """Places temperature and thresholds anew and measures the bundles with them."""
    before = {folder: bundle.read_model_spec(folder) for folder in options.bundles}
    for folder, spec in before.items():
        if spec.recipe.get("validation") != HELD_OUT:
            raise RunError(
                f"{folder} was trained by a recipe that holds no patients out; its threshold is"
                " fixed beforehand."
            )
    found = dataset(options)
    for folder, spec in before.items():
        _refuse_other_data(folder, spec, found)
    same = evaluate.identical(found)
    for folder, spec in before.items():
        asked = options.ask or not (folder / details.COPIES).is_file()
        now = (
            evaluate.calibrate(folder, found, cache=CACHE, skip_corrupt=options.skip_corrupt)
            if asked
            else evaluate.place(folder, same)
        )
        # At the temperature that the tables of predictions were written with they say it all.
        measured = (
            evaluate.evaluate(folder, found, folder, cache=CACHE, skip_corrupt=options.skip_corrupt)
            if asked or now.temperature != spec.temperature
            else evaluate.measure_bundle(folder, folder, same)
        )
        print(f"{folder}\n{evaluate.table(measured)}")
    return 0


def _refuse_other_data(folder: Path, spec: ModelSpec, found: Dataset) -> None:
    """Who is held out depends on every file of the train folder: of another copy of the data, those
    held out now may be among those the bundle learned from.

    Raises:
        RunError: the bundle learned from another copy.
    """
    if (
        spec.recipe.get("validation") == HELD_OUT
        and spec.data.get("fingerprint") != found.fingerprint
    ):
        raise RunError(
            f"{folder} learned from another copy of the data, so it may have learned from those who"
            " are held out of this one; give the copy it learned from."
        )


def robustness_bundles(options: argparse.Namespace) -> int:
    """Measures bundles under robustness."""
    specs = [bundle.read_model_spec(folder) for folder in options.bundles]
    found = dataset(options)
    quick = options.limit or options.only
    for folder, spec in zip(options.bundles, specs, strict=True):
        # A quick look is no evidence, so it does not take the place of a bundle's.
        beside = options.out or (Path("runs/robustness") if quick else None)
        out = beside / spec.variant if beside else folder
        if out == folder:
            _refuse_other_data(folder, spec, found)
        measured = robustness.measure(
            folder,
            found,
            out,
            cache=CACHE,
            limit=options.limit,
            only=options.only,
            skip_corrupt=options.skip_corrupt,
        )
        print(f"{spec.variant}: {out}\n{robustness_report.table(measured)}")
    return 0


def judge_framing(options: argparse.Namespace) -> int:
    """Judges bundles on framing-swapped held-out patients."""
    judged = framing_swap.measure(
        options.bundles,
        dataset(options),
        beside=options.beside,
        cache=CACHE,
        skip_corrupt=options.skip_corrupt,
    )
    print(tables.framing_swap(judged))
    if options.out:
        framing_swap.write(judged, options.out)
    return 0


def count_unfamiliar(options: argparse.Namespace) -> int:
    """Counts the X-rays that a bundle calls unfamiliar."""
    for folder in options.bundles:
        known = bundle.read_familiarity(folder)
        if known is None:
            raise RunError(
                f"{folder} has no {bundle.FAMILIARITY}; python -m train calibrate --ask writes it."
            )
        counted = familiarity.measure(
            known,
            dataset(options),
            others=options.others,
            cache=CACHE,
            skip_corrupt=options.skip_corrupt,
        )
        print(f"{folder}\n{tables.familiarity(counted)}")
        if options.out:
            familiarity.write(counted, options.out)
    return 0


def choose_seed(options: argparse.Namespace) -> int:
    """Picks the run that becomes the bundle."""
    print(seeds.write(options.bundles))
    return 0


def install(options: argparse.Namespace) -> int:
    """Puts a bundle, or the best of several, in the place of the one that has its variant."""
    chosen = seeds.write(options.bundles) if len(options.bundles) > 1 else options.bundles[0]
    target = options.models / bundle.read_model_spec(chosen).variant
    if chosen.resolve() == target.resolve():
        raise RunError(f"{chosen} is that place already.")
    partial = target.with_name(f"partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(chosen, partial)
    if target.is_dir():
        shutil.rmtree(target)
    partial.rename(target)
    print(f"{chosen} is now {target}.")
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
