"""What the source claims and others published, beside what was measured here: tables and a picture,
written from the bundles and never by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import (
    COLUMNS,
    Published,
    Result,
    read_further,
    read_published,
    read_result,
)
from pneumonia.model_spec import Estimate
from train.data.audit import JSON_NAME
from train.evaluation.plots import BLUE, GREEN, GREY, ORANGE
from train.reports import compare_tables as tables

BEGIN, END = "<!-- results: written by python -m train compare -->", "<!-- end of results -->"


def collect(models: Path, results: Path) -> list[Result]:
    """The bundles under ``models`` in the catalogue's order, then further evaluated runs under
    ``results`` (:func:`pneumonia.evidence.read_further`).

    Raises:
        BundleError, ModelSpecError: a folder lacks its model spec or cannot be read.
    """
    folders = [models / name for name in CATALOGUE if (models / name).is_dir()]
    found = [read_result(folder, bundled=True) for folder in folders]
    return found + read_further(results, [result.spec for result in found])


def duplicates(results: Path) -> list[list[str]]:
    """Groups of names whose files are identical, as ``python -m train data`` found them; none where
    there is no such file.
    """
    file = results / JSON_NAME
    return (
        json.loads(file.read_text(encoding="utf-8"))["duplicates"]["groups"]
        if file.is_file()
        else []
    )


def compare(models: Path, results: Path, readme: Path, *, check: bool = False) -> bool:
    """Renews ``results/compare.png`` and the results block of ``readme``.

    Args:
        models, results: see :func:`collect`; ``results`` may also hold ``published.csv`` and the
            ``data.json`` of ``python -m train data``.
        readme: a text file with the block's two markers.
        check: write nothing.

    Returns:
        Whether the block already said what the bundles say, or says it now.

    Raises:
        BundleError: nothing was measured, or the file lacks the markers.
    """
    found, others = collect(models, results), read_published(results)
    if not found:
        raise bundle.BundleError(
            f"{models} holds no bundles with metrics; train and evaluate one first."
        )
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise bundle.BundleError(
            f"{readme} lacks the lines {BEGIN!r} and {END!r} between which the table goes."
        )
    before, rest = text.split(BEGIN, 1)
    renewed = f"{before}{BEGIN}\n{tables.markdown(found, others, duplicates(results))}\n{END}{rest.split(END, 1)[1]}"
    if check:
        return renewed == text
    readme.write_text(renewed, encoding="utf-8")
    results.mkdir(parents=True, exist_ok=True)
    picture(found, others).savefig(results / "compare.png", dpi=110, metadata={"Software": None})
    return True


def picture(found: Sequence[Result], others: Sequence[Published] = ()) -> Figure:
    """Accuracy, recall, specificity and AUC of each model with their intervals, the source's
    accuracy, and what others published.
    """
    # Earlier rounds and runs that went on stand in a table of their own: here they would bury what
    # is bundled.
    found = [result for result in found if result.foremost]
    several = len({result.recipe for result in found}) > 1
    images = tables.images_of(found[0].test)
    rows: list[tuple[str, str, dict[str, Estimate | None], float | None]] = []
    for result in found:
        colour = BLUE if result.bundled else GREEN
        title = f"{result.title}, {result.recipe}" if several else result.title
        rows.append(
            (title, colour, {name: result.test.figures[name] for name in COLUMNS}, result.claim)
        )
    rows += [
        (
            other.name.replace(", ", ",\n", 1),
            GREY,
            {name: other.estimate(name, images) for name in COLUMNS},
            None,
        )
        for other in others
    ]
    labels = {
        BLUE: "bundled",
        GREEN: "the source's procedure, repeated",
        GREY: "published by others",
    }
    figure = Figure(figsize=(13, 1.4 + 0.52 * len(rows)), layout="constrained")
    for position, (axes, name) in enumerate(
        zip(figure.subplots(1, 4, sharey=True), COLUMNS, strict=True)
    ):
        for row, (_, colour, figures, claimed) in enumerate(rows):
            measured = figures[name]
            if measured is not None:
                arms = [[measured.value - measured.low], [measured.high - measured.value]]
                axes.errorbar(
                    [measured.value],
                    [row],
                    xerr=arms,
                    fmt="o",
                    color=colour,
                    capsize=3,
                    label=labels[colour],
                )
                text = f"{measured.value:.3f}" if name == "auc" else f"{measured.value:.1%}"
                axes.annotate(
                    text,
                    (measured.value, row),
                    textcoords="offset points",
                    xytext=(0, 7),
                    ha="center",
                    fontsize=9,
                )
            if name == "accuracy" and claimed is not None:
                axes.plot([claimed], [row], "D", color=ORANGE, label="source's claim")
        axes.set(
            title="AUC" if name == "auc" else name,
            yticks=range(len(rows)),
            yticklabels=[row[0] for row in rows],
            ylim=(len(rows) - 0.4, -0.6),
        )
        lowest = min(
            (entry.low for row in rows if (entry := row[2][name]) is not None), default=0.0
        )
        axes.set_xlim((min(0.8, lowest - 0.02), 1.02) if name == "auc" else (0, 1.04))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.axvline(1, color=GREY, linewidth=0.6)
        if position == 0:
            handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            figure.legend(
                handles.values(), handles.keys(), frameon=False, loc="outside upper center", ncols=4
            )
    return figure
