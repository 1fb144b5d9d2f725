"""Measures a bundle on a split, and turns a finished run into a bundle with its evidence. The same
function judges any bundle, ours or downloaded.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pneumonia import bundle, familiarity, radiograph
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.evidence import read_predictions
from pneumonia.model_spec import Metrics, ModelSpec, OperatingPoint
from pneumonia.views import PLAIN
from train.data.chest_xray import DataError, Dataset, Item, load
from train.data.folds import HELD_OUT, choose_learned_split, items_of
from train.evaluation import details, plots, validation
from train.evaluation.breakdown import patients_of
from train.evaluation.calibration import Answers, calibrate_spec
from train.evaluation.metrics import measure
from train.files import write_atomically
from train.recipes.recipe import Recipe
from train.training import fit
from train.training import run_folder as run_folders

HISTORY = "history.csv"
# Images that the float16 rounding of the weights is measured on.
_ROUNDING_SAMPLE = 128


def evaluate(
    folder: Path,
    dataset: Dataset,
    out: Path,
    *,
    cache: Path | None = None,
    skip_corrupt: bool = False,
) -> dict[str, Metrics]:
    """Asks a bundle about the test folder and its validation split, and measures what it says.

    Writes ``predictions_test.csv`` and ``predictions_validation.csv``, and what
    :func:`measure_bundle` writes.

    Args:
        folder: the bundle.
        dataset: what to measure it on.
        out: where to write; may be the bundle itself.
        cache: folder for decoded images.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        BundleError, ModelSpecError: the bundle cannot be trusted.
        DataError: images are missing or damaged.
    """
    # What its metrics say is about to be renewed, so they need not agree with the model spec.
    classifier = PneumoniaClassifier(*bundle.load(folder))
    out.mkdir(parents=True, exist_ok=True)
    for entry, split in _splits(classifier.spec).items():
        items, _, probabilities = predict_split(classifier, dataset, split, cache, skip_corrupt)
        write_predictions(out / f"predictions_{entry}.csv", items, probabilities)
    return measure_bundle(folder, out, identical(dataset))


def measure_bundle(
    folder: Path, out: Path, duplicates: Iterable[Sequence[str]] = ()
) -> dict[str, Metrics]:
    """Measures what a bundle said, at its default operating point and in brief at all others; no
    image is looked at.

    Writes ``metrics.json`` (for what is in it beside two entries see
    :func:`pneumonia.bundle.read_details`), ``roc.png``, ``precision_recall.png``,
    ``confusion.png``, ``calibration.png`` and, where the bundle has a history,
    ``training_curves.png``.

    Args:
        folder: the bundle.
        out: where its two tables of predictions are, and where to write; may be the bundle itself.
        duplicates: groups of names whose files are the same, byte for byte.

    Raises:
        FileNotFoundError: a table is missing.
        BundleError, ModelSpecError: the bundle or a table cannot be read.
    """
    spec = bundle.read_model_spec(folder)
    splits, threshold = _splits(spec), spec.default.threshold
    tables = {entry: read_predictions(out / f"predictions_{entry}.csv") for entry in splits}
    metrics = {
        entry: measure(*tables[entry][1:], threshold, split) for entry, split in splits.items()
    }
    title = CATALOGUE[spec.variant].title if spec.variant in CATALOGUE else spec.variant
    history = read_history(folder / HISTORY)
    plots.draw_all(out, title, *tables["test"][1:], metrics["test"], history)
    copies = details.read_copies(folder) if (folder / details.COPIES).is_file() else None
    found = details.of(spec, splits, tables, duplicates, copies)
    bundle.write_metrics(out, metrics, spec, found)
    if (out / bundle.CHECKSUMS).is_file():
        bundle.seal(out)
    return metrics


def _splits(spec: ModelSpec) -> dict[str, str]:
    return {"validation": spec.recipe.get("validation", "val"), "test": "test"}


def predict_split(
    classifier: PneumoniaClassifier,
    dataset: Dataset,
    split: str,
    cache: Path | None = None,
    skip_corrupt: bool = False,
) -> tuple[list[Item], np.ndarray, np.ndarray]:
    """Calibrated probabilities of every image of a split: the items, int64 ``(N,)`` labels and
    float64 ``(N,)`` probabilities as the tables hold them.
    """
    images, labels, items = load(
        items_of(dataset, split),
        radiograph.COPY_SIZE,
        cache=cache,
        skip_corrupt=skip_corrupt,
    )
    parts = []
    for start in tqdm(
        range(0, len(items), 32),
        f"{classifier.spec.variant} on {split}",
        unit="batch",
        mininterval=0.5,
        leave=False,
    ):
        parts.append(classifier.probabilities(images[start : start + 32]))
    # Rounded to what the table holds, so that whoever recomputes from the table gets these figures
    # and not their neighbours.
    return (
        items,
        labels,
        np.array([float(details.digits(value)) for value in np.concatenate(parts)]),
    )


def write_predictions(file: Path, items: Sequence[Item], probabilities: np.ndarray) -> None:
    """Writes the table ``file, label, probability``; label 1 is PNEUMONIA."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "label", "probability"))
        writer.writerows(
            (item.relative, item.label, details.digits(value))
            for item, value in zip(items, probabilities, strict=True)
        )


def assemble(
    recipe: Recipe, run_folder: Path, dataset: Dataset, *, skip_corrupt: bool = False
) -> Path:
    """Makes ``run_folder/bundle`` of a finished run: the weights of ``recipe.keep_epoch``, the
    model spec, the history and the evaluation.

    A recipe that holds patients out is calibrated on them first, and the test folder is then
    measured once. Of a recipe that repeats the original notebook's procedure, where the run went
    on after that epoch, ``run_folder/last-epoch`` gets the evaluation of its last one too, without
    weights.

    Raises:
        RunError: the run kept no weights of that epoch.
        DataError: images are missing or damaged.
    """
    history, cache = run_folders.history_of(run_folder), run_folder.parent / "cache"
    target = assemble_unmeasured(recipe, run_folder, dataset, skip_corrupt=skip_corrupt)
    evaluate(target, dataset, target, cache=cache, skip_corrupt=skip_corrupt)
    if recipe.validation != HELD_OUT and recipe.epochs > recipe.keep_epoch:
        with tempfile.TemporaryDirectory(dir=run_folder) as scratch:
            last = Path(scratch) / "bundle"
            _write_bundle(recipe, run_folder, dataset, recipe.epochs, history, last)
            evaluate(last, dataset, last, cache=cache, skip_corrupt=skip_corrupt)
            for name in (bundle.CONFIG, bundle.METADATA, bundle.WEIGHTS):
                (last / name).unlink()
            shutil.rmtree(run_folder / "last-epoch", ignore_errors=True)
            shutil.copytree(last, run_folder / "last-epoch")
    return target


def assemble_unmeasured(
    recipe: Recipe, run_folder: Path, dataset: Dataset, *, skip_corrupt: bool = False
) -> Path:
    """Makes ``run_folder/bundle`` as :func:`assemble` does, calibrated where patients are held out,
    and asks nothing about the test folder.

    Raises:
        RunError, DataError: see :func:`assemble`.
    """
    target = run_folder / "bundle"
    _write_bundle(
        recipe, run_folder, dataset, recipe.keep_epoch, run_folders.history_of(run_folder), target
    )
    if recipe.validation == HELD_OUT:
        calibrate(target, dataset, cache=run_folder.parent / "cache", skip_corrupt=skip_corrupt)
    return target


def calibrate(
    folder: Path, dataset: Dataset, *, cache: Path | None = None, skip_corrupt: bool = False
) -> ModelSpec:
    """Gives a bundle's model spec what validation supports (see
    :mod:`train.evaluation.calibration`), leaves the answers it was read from in
    ``validation_copies.csv``, and what X-rays are familiar to it in ``familiarity.npz``.

    The patients are those that its recipe holds out. Nothing of the test folder is looked at, and
    what the bundle was calibrated to before has no effect.

    Args:
        folder: the bundle; its model spec is replaced.
        dataset: where the held-out patients are.
        cache: folder for the corrupted copies.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        BundleError, ModelSpecError: the bundle cannot be trusted.
        DataError: images are missing or damaged, or the patients held out are all of one class.
    """
    # What its metrics say is about to be renewed, so they need not agree with the model spec.
    classifier = PneumoniaClassifier(*bundle.load(folder))
    split = classifier.spec.recipe.get("validation", HELD_OUT)
    prepared = validation.copies(
        dataset, radiograph.COPY_SIZE, split, cache=cache, skip_corrupt=skip_corrupt
    )
    if len(set(prepared.labels.tolist())) != 2:
        raise DataError(
            "The patients held out are all of one class; to calibrate on them, both are needed."
        )
    names = [item.relative for item in prepared.items]
    details.write_copies(folder, names, validation.answers(classifier.raw, prepared))
    (folder / details.SINGLE).unlink(missing_ok=True)
    if len(classifier.spec.views) > 1:
        alone = validation.answers(partial(classifier.raw, names=(PLAIN,)), prepared)
        details.write_table(folder / details.SINGLE, names, alone)
    learned, held_out = (
        load(items_of(dataset, side), radiograph.COPY_SIZE, cache=cache, skip_corrupt=skip_corrupt)
        for side in (choose_learned_split(split), split)
    )
    write_atomically(folder / bundle.FAMILIARITY, familiarity.fit(learned[0], held_out[0]).save)
    return place(folder, identical(dataset))


def recalibrate_spec(folder: Path, duplicates: Iterable[Sequence[str]] = ()) -> ModelSpec:
    """A bundle's model spec with what the answers in its ``validation_copies.csv`` support, and of
    the plain view alone those in its ``validation_single_view.csv`` where there is one.

    Args:
        folder: the bundle, which stays as it is.
        duplicates: groups of names whose files are the same; their patients are taken for one.

    Raises:
        FileNotFoundError: it holds no such answers.
        BundleError, ModelSpecError: the bundle cannot be read.
    """
    same = list(duplicates)

    def answers(table: str) -> Answers:
        names, labels, raw = details.read_table(folder / table)
        return Answers(labels, patients_of(names, same), raw)

    single = answers(details.SINGLE) if (folder / details.SINGLE).is_file() else None
    return calibrate_spec(bundle.read_model_spec(folder), answers(details.COPIES), single)


def place(folder: Path, duplicates: Iterable[Sequence[str]] = ()) -> ModelSpec:
    """Writes what :func:`recalibrate_spec` gives into the bundle. Its metrics then speak of another
    threshold; measure it again with :func:`evaluate`.
    """
    spec = recalibrate_spec(folder, duplicates)
    write_atomically(
        folder / bundle.MODEL_SPEC, lambda file: file.write_text(spec.to_json(), encoding="utf-8")
    )
    if (folder / bundle.CHECKSUMS).is_file():
        bundle.seal(folder)
    return spec


def identical(dataset: Dataset) -> list[list[str]]:
    """Groups of names whose files are the same, byte for byte."""
    by_digest: dict[str, list[str]] = {}
    for item, digest in zip(dataset.items, dataset.digests, strict=True):
        by_digest.setdefault(digest, []).append(item.relative)
    return [names for names in by_digest.values() if len(names) > 1]


def _write_bundle(
    recipe: Recipe,
    run_folder: Path,
    dataset: Dataset,
    epoch: int,
    history: Sequence[Mapping[str, float]],
    target: Path,
) -> None:
    variant, facts = CATALOGUE[recipe.variant], run_folders.run_facts(run_folder)
    held_out = items_of(dataset, recipe.validation)
    # Spread over the split: its first images are all of one class.
    images, _, _ = load(
        held_out[:: -(-len(held_out) // _ROUNDING_SAMPLE)], recipe.input_size, skip_corrupt=True
    )
    until = [row for row in history if row["epoch"] <= epoch]
    # A threshold fixed beforehand is the notebook's; where patients are held out, it is read from
    # their answers.
    settings = {
        name: value
        for name, value in asdict(recipe).items()
        if name != "threshold" or recipe.validation != HELD_OUT
    }
    spec = ModelSpec(
        variant=variant.name,
        recipe={
            **settings,
            **({"distillation": facts["distillation"]} if "distillation" in facts else {}),
            "epoch": epoch,
            "precision": facts["precision"],
            **({"hardware": facts["hardware"]} if "hardware" in facts else {}),
            "training_seconds": round(
                facts.get("feature_seconds", 0.0) + sum(row["seconds"] for row in until)
            ),
        },
        input_size=recipe.input_size,
        preprocessing=radiograph.describe(),
        operating_points=(OperatingPoint("default", recipe.threshold),),
        gallery_layers=variant.gallery_layers,
        weights_sha256="0" * 64,
        weights_dtype="float32",
        data=facts["data"] | {"skipped": facts.get("skipped", [])},
        versions=facts["versions"],
        commit=facts["commit"],
        views=recipe.views,
    )
    bundle.save(fit.at_epoch(recipe, run_folder, epoch), target, spec, radiograph.to_input(images))
    with (target / HISTORY).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, until[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(until)


def read_history(file: Path) -> list[dict[str, float]]:
    """The rows of a bundle's ``history.csv``; empty where there is none."""
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)
        ]


def table(metrics: Mapping[str, Metrics]) -> str:
    """The figures as lines of text for a terminal."""
    lines = []
    for entry, measured in metrics.items():
        counted = ", ".join(
            f"{name.replace('_', ' ')} {count}" for name, count in measured.counts.items()
        )
        lines.append(
            f"{entry} ({measured.split}, {measured.images} images, threshold"
            f" {measured.threshold:.4g}): {counted}"
        )
        lines += [
            f"  {name:<18} {figure.value:.4f}  95% {figure.low:.4f} to {figure.high:.4f} "
            f" ({figure.interval})"
            for name, figure in measured.figures.items()
        ]
    return "\n".join(lines)


def differences(
    recorded: Mapping[str, Metrics], measured: Mapping[str, Metrics], tolerance: float = 0.005
) -> list[str]:
    """What a fresh measurement does not confirm of a bundle's own ``metrics.json``, a sentence
    each; empty where all holds.
    """
    found = []
    for entry in sorted(recorded.keys() & measured.keys()):
        for name, figure in recorded[entry].figures.items():
            now = measured[entry].figures.get(name)
            if now is None or abs(now.value - figure.value) > tolerance:
                found.append(
                    f"{entry} {name}: the bundle says {figure.value:.4f}, measured now"
                    f" {'nothing' if now is None else format(now.value, '.4f')}"
                )
    return found
