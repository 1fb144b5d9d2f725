"""``python -m train compare``: the tables of README.md and docs/results.md, and a picture, from the
bundles and from what others published.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pneumonia.architectures import CATALOGUE
from pneumonia.bundle import BundleError
from pneumonia.evidence import (
    COLUMNS,
    Published,
    Result,
    read_further,
    read_published,
    read_result,
)
from pneumonia.model_spec import Estimate
from train.evaluation import familiarity, framing_swap
from train.evaluation.plots import BLUE, GREEN, GREY, ORANGE
from train.reports import markdown, tables

RESULTS_PAGE = Path("docs/results.md")


def collect(models: Path, results: Path) -> list[Result]:
    """The bundles under ``models`` in the catalogue's order, then the further runs under
    ``results`` that repeat the original procedure.

    Raises:
        BundleError, ModelSpecError: there is no bundle, or a folder cannot be read.
    """
    folders = [models / name for name in CATALOGUE if (models / name).is_dir()]
    found = [read_result(folder, bundled=True) for folder in folders]
    if not found:
        raise BundleError(f"{models} holds no bundles with metrics; train and evaluate one first.")
    further = read_further(results, [result.spec for result in found])
    return found + [result for result in further if not result.earlier]


def compare(
    models: Path, results: Path, readme: Path, page: Path | None = None, *, check: bool = False
) -> bool:
    """Renews the tables of README and results page, and ``results/compare.png``.

    Args:
        models, results: see :func:`collect`; ``results`` may also hold ``published.csv``,
            ``data.json``, ``input_check.json``, ``framing.json`` and
            ``familiarity.json``.
        readme, page: files with the blocks of :func:`train.reports.tables.blocks`; the page is
            ``docs/results.md`` beside the README, where there is one, if None.
        check: write nothing.

    Returns:
        Whether both files already said what the bundles say, or say it now.

    Raises:
        BundleError: nothing was measured, a file lacks its blocks, or evidence is of other weights.
    """
    found, others = collect(models, results), read_published(results)
    facts = {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name in ("data", "input_check")
        if (file := results / f"{name}.json").is_file()
    }
    swapped, unfamiliar = results / "framing.json", results / "familiarity.json"
    blocks = tables.blocks(
        found,
        others,
        facts,
        framing_swap.read(swapped) if swapped.is_file() else [],
        familiarity.read(unfamiliar) if unfamiliar.is_file() else [],
    )
    beside = readme.parent / RESULTS_PAGE
    for file in filter(None, (readme, page or (beside if beside.is_file() else None))):
        text = file.read_text(encoding="utf-8")
        renewed = markdown.fill(text, blocks)
        if check and renewed != text:
            return False
        if not check:
            file.write_text(renewed, encoding="utf-8")
    if not check:
        picture(found, others).savefig(
            results / "compare.png", dpi=110, metadata={"Software": None}
        )
    return True


def picture(found: Sequence[Result], others: Sequence[Published] = ()) -> Figure:
    """Accuracy, recall, specificity and AUC of each model with their intervals, the original
    notebook's accuracy, and what others published.
    """
    shown = [result for result in found if result.foremost]
    images = tables.images_of(found[0].test)
    rows: list[tuple[str, str, dict[str, Estimate | None], float | None]] = [
        (
            result.title if result.bundled else f"{result.title}, original procedure",
            BLUE if result.bundled else GREEN,
            {name: result.test.figures.get(name) for name in COLUMNS},
            result.claim,
        )
        for result in shown
    ]
    rows += [
        (
            other.name.replace(", ", ",\n", 1),
            GREY,
            {name: other.estimate(name, images) for name in COLUMNS},
            None,
        )
        for other in others
    ]
    labels = {BLUE: "bundled", GREEN: "original procedure, repeated", GREY: "published by others"}
    drawn = Figure(figsize=(13, 1.4 + 0.52 * len(rows)), layout="constrained")
    for axes, name in zip(drawn.subplots(1, 4, sharey=True), COLUMNS, strict=True):
        for row, (_, colour, figures, claimed) in enumerate(rows):
            if (measured := figures[name]) is not None:
                arms = [[measured.value - measured.low], [measured.high - measured.value]]
                style = {"fmt": "o", "color": colour, "capsize": 3, "label": labels[colour]}
                axes.errorbar([measured.value], [row], xerr=arms, **style)
                text = f"{measured.value:.3f}" if name == "auc" else f"{measured.value:.1%}"
                place = {"textcoords": "offset points", "xytext": (0, 7), "ha": "center"}
                axes.annotate(text, (measured.value, row), fontsize=9, **place)
            if name == "accuracy" and claimed is not None:
                axes.plot([claimed], [row], "D", color=ORANGE, label="original notebook")
        axes.set(
            title="AUC" if name == "auc" else name,
            yticks=range(len(rows)),
            yticklabels=[row[0] for row in rows],
            ylim=(len(rows) - 0.4, -0.6),
        )
        lows = [estimate.low for row in rows if (estimate := row[2][name]) is not None]
        axes.set_xlim((min([0.8, *(low - 0.02 for low in lows)]), 1.02) if name == "auc" else None)
        if name != "auc":
            axes.set_xlim(0, 1.04)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.axvline(1, color=GREY, linewidth=0.6)
        if name == COLUMNS[0]:
            handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            drawn.legend(
                handles.values(), handles.keys(), frameon=False, loc="outside upper center", ncols=4
            )
    return drawn
