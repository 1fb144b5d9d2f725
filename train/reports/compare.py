"""What the source claims and others published, beside what was measured here: tables and a picture,
written from the bundles and never by hand.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import rate, read_predictions, rounds
from pneumonia.model_spec import Estimate, Metrics, ModelSpec
from train.data.audit import JSON_NAME
from train.evaluation.details import Table
from train.evaluation.plots import BLUE, GREEN, GREY, ORANGE
from train.reports import compare_tables as tables

BEGIN, END = "<!-- results: written by python -m train compare -->", "<!-- end of results -->"
# Figures that others published on the same 624 images, with where they stand; typed from there, as
# nobody can compute them here.
PUBLISHED = "published.csv"
COLUMNS = ("accuracy", "recall", "specificity", "auc")


@dataclass(frozen=True)
class Result:
    """One measured model.

    Attributes:
        title: its network's, and the epoch where it is not the recipe's own.
        claimed: test accuracy that the source reports of its network, whatever the recipe; None for
            a run that went on past its own epoch.
        model spec, test: what the folder says.
        table: names, labels and calibrated probabilities of the test folder, where the folder has
            them.
        bundled: whether it is one of the models that the project carries.
        earlier: whether a bundled model has its recipe and other weights.
    """

    title: str
    claimed: float | None
    spec: ModelSpec
    test: Metrics
    table: Table | None = None
    bundled: bool = True
    earlier: bool = False

    @property
    def foremost(self) -> bool:
        """Whether a reader should see it first: what is bundled and what repeats the source, not an
        earlier round or a run that went on.
        """
        return self.bundled or (not self.earlier and self.claimed is not None)

    @property
    def claim(self) -> float | None:
        """What the source claims of this very run; see
        :meth:`pneumonia.architectures.Variant.claim`.
        """
        return CATALOGUE[self.spec.variant].claim(self.spec.recipe)

    @property
    def recipe(self) -> str:
        """The recipe's name as tables print it: ORIGINAL, IMPROVED."""
        return str(self.spec.recipe["name"]).upper()


@dataclass(frozen=True)
class Published:
    """Figures that somebody else reports of the same test folder, and where; what they do not
    report is None.
    """

    name: str
    figures: dict[str, float | None]
    note: str
    link: str = ""

    def measured(self, name: str, images: dict[str, int]) -> Estimate | None:
        """A rate with the Wilson interval of the counts it implies; an AUC alone, for its interval
        cannot be had.
        """
        value = self.figures[name]
        if value is None or name == "auc":
            return None if value is None else Estimate(value, value, value, "none")
        interval = rate(round(value * images[name]), images[name])
        assert interval is not None
        return Estimate(value, interval.low, interval.high, "wilson")


def collect(models: Path, results: Path) -> list[Result]:
    """The bundles under ``models`` in the catalogue's order, then further evaluated runs (folders
    with a model spec and metrics) under ``results``.

    A run under ``results`` whose weights are bundled is passed over: it is there already. Those of
    a bundled model's recipe with other weights are called earlier, and numbered by their folders'
    names where there are several.

    Raises:
        BundleError, ModelSpecError: a folder lacks its model spec or cannot be read.
    """
    found = [_result(models / name, bundled=True) for name in CATALOGUE if (models / name).is_dir()]
    bundled = {result.spec.weights_sha256 for result in found}
    further = [
        _result(file.parent, bundled=False)
        for file in sorted(results.glob(f"*/{bundle.MODEL_SPEC}"))
    ]
    further = [result for result in further if result.spec.weights_sha256 not in bundled]
    suffixes = rounds([result.spec for result in found], [result.spec for result in further])
    titled = [
        replace(result, title=f"{result.title}{suffix}", earlier=bool(suffix))
        for result, suffix in zip(further, suffixes, strict=True)
    ]
    order = list(CATALOGUE)
    titled.sort(
        key=lambda result: (
            order.index(result.spec.variant),
            result.spec.recipe.get("epoch", 0),
        )
    )
    return found + titled


def published(results: Path) -> list[Published]:
    """The rows of ``published.csv``; none where there is no such file."""
    file = results / PUBLISHED
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [
            Published(
                row["name"],
                {name: float(row[name]) if row[name] else None for name in COLUMNS},
                row["note"] or "",
                row.get("link") or "",
            )
            for row in csv.DictReader(stream)
        ]


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
    found, others = collect(models, results), published(results)
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
            {name: other.measured(name, images) for name in COLUMNS},
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


def _result(folder: Path, *, bundled: bool) -> Result:
    metrics, spec = bundle.read_metrics(folder), bundle.read_model_spec(folder)
    if "test" not in metrics:
        raise bundle.BundleError(
            f"{folder} has no test metrics; run python -m train evaluate {folder} --out {folder}."
        )
    variant, recipe = CATALOGUE[spec.variant], spec.recipe
    # The source's claim belongs to its own epoch, not to a run that went on.
    own = "epoch" not in recipe or recipe["epoch"] == recipe.get("keep_epoch", recipe["epoch"])
    title = variant.title if own else f"{variant.title}, epoch {recipe['epoch']}"
    file = folder / "predictions_test.csv"
    return Result(
        title,
        variant.claimed if own else None,
        spec,
        metrics["test"],
        read_predictions(file) if file.is_file() else None,
        bundled,
    )
