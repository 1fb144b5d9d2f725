"""The log of tries: what was changed, what was expected of it, and what the held-out patients said,
clean and under corruption. The test folder has no part.

``tries.json`` holds the records, ``tries.md`` and ``tries.png`` are drawn from it.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from pneumonia import radiograph
from pneumonia.architectures import CATALOGUE
from train.augmentation.policy import Policy
from train.data.chest_xray import Dataset
from train.evaluation import validation
from train.recipes import Recipe
from train.training import fit, network
from train.training.run_folder import RunError, history_of, write_atomically

RECORDS, TABLE, PICTURE = "tries.json", "tries.md", "tries.png"


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields replaced; ``augmentation.NAME`` reaches into its policy.
    ``keep_epoch`` follows ``epochs``.

    Raises:
        RunError: there is no such field, or the recipe contradicts itself then.
    """
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in changes.items()
        if "." not in name
    }
    inner = {
        name.split(".", 1)[1]: value
        for name, value in changes.items()
        if name.startswith("augmentation.")
    }
    if "epochs" in plain:
        plain.setdefault("keep_epoch", plain["epochs"])
    try:
        if inner:
            plain["augmentation"] = dataclasses.replace(
                recipe.augmentation if isinstance(recipe.augmentation, Policy) else Policy(),
                **inner,
            )
        return dataclasses.replace(recipe, **plain)
    except (TypeError, ValueError) as error:
        raise RunError(f"The recipe cannot be changed so: {error}") from None


def attempt(
    name: str,
    recipe: Recipe,
    changes: Mapping[str, Any],
    expected: str,
    dataset: Dataset,
    run_folder: Path,
    results: Path,
    *,
    precision: str = "float32",
    imagenet_weights: str | None = None,
    pool: Path | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Trains a changed recipe, asks the held-out patients, and adds a record to the log.

    Args:
        name: of the try; a second one of that name replaces the first.
        recipe: what is changed.
        changes: see :func:`changed`.
        expected: what is expected of it, written before.
        dataset, precision, imagenet_weights, pool: see :func:`train.training.fit.fit`.
        run_folder: of the run, resumed if it is there.
        results: the folder of the log.
        limit: so many held-out images at most, for a quick look; None for all.

    Returns:
        The record.

    Raises:
        RunError, DataError: see :func:`train.training.fit.fit`.
    """
    tried = dataclasses.replace(changed(recipe, changes), name=name)
    model = fit.fit(
        tried,
        dataset,
        run_folder,
        resume=True,
        precision=precision,
        imagenet_weights=imagenet_weights,
        pool=pool,
    )
    split = tried.validation
    copies = validation.copies(
        dataset, tried.input_size, split, cache=run_folder.parent / "cache", limit=limit
    )
    # Asked in the precision it was trained in: half the time, and far less than what a seed makes
    # different. A bundle is always measured in float32.
    with network.policy(precision):
        twin = CATALOGUE[tried.variant].build(tried.input_size)
    twin.set_weights(model.get_weights())
    graph = network.compiled(twin)

    def ask(images: np.ndarray) -> np.ndarray:
        return graph(radiograph.to_input(images))

    found = validation.answers(ask, copies)
    record = {
        "name": name,
        "variant": recipe.variant,
        "changes": dict(changes),
        "expected": expected,
        "split": split,
        "images": len(copies.items),
        "seconds": round(sum(row["seconds"] for row in history_of(run_folder))),
        "summary": (
            validation.summary(copies.labels, found)
            | suspicions(ask, dataset, split, tried.input_size, run_folder.parent / "cache")
        ),
    }
    record_all(results, [*(known for known in read(results) if known["name"] != name), record])
    return record


def suspicions(
    ask: validation.Predict, dataset: Dataset, split: str, size: tuple[int, int], cache: Path
) -> dict[str, float]:
    """What tells a network that reads machines from one that reads lungs:
    :func:`train.evaluation.validation.style_gap`, its ``even_hand`` and its ``levelled``.
    """
    measures = (validation.style_gap, validation.reweighted, validation.levelled)
    return {
        name: value
        for measure in measures
        for name, value in measure(ask, dataset, split, size=size, cache=cache).items()
    }


def read(results: Path) -> list[dict[str, Any]]:
    """The records of the log in the order they were made; empty where there is none."""
    file = results / RECORDS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def record_all(results: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes the log anew: records, table and picture."""
    results.mkdir(parents=True, exist_ok=True)
    write_atomically(
        results / RECORDS,
        lambda path: path.write_text(
            json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        ),
    )
    write_atomically(
        results / TABLE, lambda path: path.write_text(table(records), encoding="utf-8")
    )
    if records:
        write_atomically(results / PICTURE, lambda path: _draw(records, path))


def conclude(results: Path, name: str, verdict: str) -> None:
    """Adds to a record what was made of it.

    Raises:
        RunError: there is no try of that name.
    """
    records = read(results)
    if name not in {record["name"] for record in records}:
        raise RunError(
            f"There is no try {name!r}; the log has"
            f" {', '.join(record['name'] for record in records) or 'none'}."
        )
    record_all(
        results,
        [record | {"verdict": verdict} if record["name"] == name else record for record in records],
    )


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """The log as Markdown."""
    lines = [
        "# What was tried",
        "",
        (
            "Made by `python -m train try`. Every figure is of patients held out of the train"
            " folder; the test folder was not asked."
        ),
        (
            "Asked: a fold drawn at random (held-out), or both ends of each series of patients'"
            " numbers (ends), which the try then did not learn from."
        ),
        (
            "AUC: of their X-rays as they are, then mean and worst over the corruptions; log loss"
            " over all of these, uncalibrated."
        ),
        "Cleared: specificity at 98% recall, as they are and in the heap of all copies.",
        (
            "Even-handed: AUC with each image weighed so that exposure, sharpness and margins say"
            " nothing of the class, and recall and specificity, so weighed, at"
        ),
        "the threshold that 98% of the ill reach when all weigh alike.",
        (
            "Levelled: AUC, and specificity at 98% recall, with every X-ray cut so that its lungs"
            " are as wide as high and as large as all others'."
        ),
        (
            "Softened: specificity for the healthy with the detail of the ill (and recall of the"
            " ill with that of the healthy) at the threshold for 98% recall."
        ),
        (
            "Taller: the same for the healthy stretched to the shape that the lungs of the ill have"
            " in the squeezed files (and the ill to that of the healthy),"
        ),
        "then swapped: the AUC of these ill against these healthy.",
        (
            "Marked: the same for the healthy with a large R burnt in, and with the outer 12%"
            " blacked; then AUC of all as they are and so marked in one heap."
        ),
        "",
        (
            "| try | variant | what was changed | expected | asked | AUC as they are | mean | worst"
            " (under) | log loss | cleared | even-handed | levelled | softened | taller | marked |"
            " images | training | verdict |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        found = record["summary"]
        changes = (
            ", ".join(f"{name} {json.dumps(value)}" for name, value in record["changes"].items())
            or "nothing: the recipe itself"
        )
        cells = (
            record["name"],
            record["variant"],
            changes,
            record["expected"],
            record.get("split", "held-out"),
            f"{found['clean_auc']:.4f}",
            f"{found['mean_auc']:.4f}",
            f"{found['worst_auc']:.4f} ({found['worst_name']})",
            f"{found['log_loss']:.4f}",
            (
                f"{found['clean_specificity']:.1%}, {found['pooled_specificity']:.1%}"
                if "clean_specificity" in found
                else ""
            ),
            (
                f"{found['reweighted_auc']:.4f}: {found['reweighted_recall']:.1%},"
                f" {found['reweighted_specificity']:.1%}"
                if "reweighted_auc" in found
                else ""
            ),
            (
                f"{found['level_auc']:.4f}: {found['level_specificity']:.1%}"
                if "level_auc" in found
                else ""
            ),
            (
                f"{found['soft_specificity']:.1%} ({found['sharp_recall']:.1%})"
                if "soft_specificity" in found
                else ""
            ),
            _taller(found),
            _marked(found),
            str(record["images"]),
            f"{record['seconds'] / 60:.0f} min",
            record.get("verdict", ""),
        )
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _taller(found: Mapping[str, Any]) -> str:
    shares = (
        f"{found['tall_specificity']:.1%} ({found['wide_recall']:.1%})"
        if "tall_specificity" in found
        else ""
    )
    return f"{shares}, {found['shape_swapped_auc']:.4f}" if "shape_swapped_auc" in found else shares


def _marked(found: Mapping[str, Any]) -> str:
    known = [
        f"{found[name]:.1%}" for name in ("letter_specificity", "shut_specificity") if name in found
    ]
    return ", ".join([*known, f"{found['artefact_auc']:.4f}"] if "artefact_auc" in found else known)


def _draw(records: Sequence[Mapping[str, Any]], file: Path) -> None:
    positions = np.arange(len(records))[::-1]
    figure, axes = plt.subplots(figsize=(12, 1.5 + 0.36 * len(records)), layout="constrained")
    for position, record in zip(positions, records, strict=True):
        found = record["summary"]
        axes.plot(
            [found["worst_auc"], found["clean_auc"]],
            [position, position],
            color="0.75",
            linewidth=2,
            zorder=1,
        )
    for name, mark, title in (
        ("worst_auc", "v", "worst corruption"),
        ("mean_auc", "o", "mean of the corruptions"),
        ("clean_auc", "D", "as they are"),
    ):
        axes.scatter(
            [record["summary"][name] for record in records],
            positions,
            marker=mark,
            label=title,
            zorder=2,
        )
    axes.set_yticks(
        positions,
        [textwrap.fill(f"{record['variant']}: {record['name']}", 84) for record in records],
        fontsize="small",
    )
    axes.set_ylim(-1, len(records))
    axes.set_xlabel("AUC on held-out patients")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(file, dpi=110)
    plt.close(figure)
