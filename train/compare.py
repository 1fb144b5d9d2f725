"""What the source claims beside what was measured here: one table, one picture, written from the bundles and never by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.contract import Contract, Metrics
from pneumonia.contract import Figure as Measured
from train.plots import BLUE, GREY, ORANGE

BEGIN, END = "<!-- results: written by python -m train compare -->", "<!-- end of results -->"
_COLUMNS = ("accuracy", "recall", "specificity", "auc")


@dataclass(frozen=True)
class Result:
    """One measured model: its title, what the source claims of it, contract and test metrics."""

    title: str
    claimed: float | None
    contract: Contract
    test: Metrics


def collect(models: Path, results: Path) -> list[Result]:
    """The bundles under ``models`` in the catalogue's order, then further evaluated runs (folders with a contract and metrics) under ``results``.

    Raises:
        BundleError, ContractError: a folder lacks its contract or cannot be read.
    """
    found = []
    for name, variant in CATALOGUE.items():
        folder = models / name
        if folder.is_dir():
            found.append(_result(folder, variant.title, variant.claimed))
    bundled = {result.contract.weights_sha256 for result in found}
    for file in sorted(results.glob(f"*/{bundle.CONTRACT}")):
        further = _result(file.parent, "", None)
        if further.contract.weights_sha256 not in bundled:
            recipe = further.contract.recipe
            title = f"{CATALOGUE[further.contract.variant].title}, epoch {recipe['epoch']}"
            found.append(Result(title, None, further.contract, further.test))
    return found


def compare(models: Path, results: Path, readme: Path, *, check: bool = False) -> bool:
    """Renews ``results/compare.png`` and the results block of ``readme``.

    Args:
        models, results: see :func:`collect`.
        readme: a text file with the block's two markers.
        check: write nothing.

    Returns:
        Whether the block already said what the bundles say, or says it now.

    Raises:
        BundleError: nothing was measured, or the file lacks the markers.
    """
    found = collect(models, results)
    if not found:
        raise bundle.BundleError(f"{models} holds no bundles with metrics; train and evaluate one first.")
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise bundle.BundleError(f"{readme} lacks the lines {BEGIN!r} and {END!r} between which the table goes.")
    before, rest = text.split(BEGIN, 1)
    renewed = f"{before}{BEGIN}\n{markdown(found)}\n{END}{rest.split(END, 1)[1]}"
    if check:
        return renewed == text
    readme.write_text(renewed, encoding="utf-8")
    results.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(results / "compare.png", dpi=110, metadata={"Software": None})
    return True


def markdown(found: list[Result]) -> str:
    """The results as a Markdown table, each figure with its 95% interval."""
    lines = [
        "| model | recipe | source's accuracy | accuracy | recall | specificity | AUC | missed | called back |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in found:
        cells = [_cell(result.test.figures[name], percent=name != "auc") for name in _COLUMNS]
        counts = result.test.counts
        recipe = result.contract.recipe
        claimed = "" if result.claimed is None else f"{result.claimed:.0%}"
        missed = f"{counts['false_negative']} of {counts['false_negative'] + counts['true_positive']}"
        called_back = f"{counts['false_positive']} of {counts['false_positive'] + counts['true_negative']}"
        recipe_text = ", ".join(filter(None, (str(recipe["name"]).upper(), f"epoch {recipe['epoch']}" if "epoch" in recipe else "", recipe.get("precision"))))
        lines.append(" | ".join((f"| {result.title}", recipe_text, claimed, *cells, missed, f"{called_back} |")))
    sample = found[0].test
    lines += ["", f"Test folder, {sample.images} images, at each model's default threshold, which nobody tuned on it; 95% intervals (Wilson; AUC bootstrap)."]
    return "\n".join(lines)


def picture(found: list[Result]) -> Figure:
    """Accuracy, recall and specificity of each model with their intervals, and the source's accuracy."""
    figure = Figure(figsize=(10, 1.2 + 0.62 * len(found)), layout="constrained")
    rows = range(len(found))
    for position, (axes, name) in enumerate(zip(figure.subplots(1, 3, sharey=True), _COLUMNS[:3], strict=True)):
        for row, result in zip(rows, found, strict=True):
            measured = result.test.figures[name]
            arms = [[measured.value - measured.low], [measured.high - measured.value]]
            axes.errorbar([measured.value], [row], xerr=arms, fmt="o", color=BLUE, capsize=3, label="measured, 95%")
            axes.annotate(f"{measured.value:.1%}", (measured.value, row), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=9)
            if name == "accuracy" and result.claimed is not None:
                axes.plot([result.claimed], [row], "D", color=ORANGE, label="source's claim")
        axes.set(title=name, xlim=(0, 1.04), yticks=list(rows), yticklabels=[result.title for result in found], ylim=(len(found) - 0.4, -0.6))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.axvline(1, color=GREY, linewidth=0.6)
        if position == 0:
            handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="lower left")
    return figure


def _cell(figure: Measured, *, percent: bool) -> str:
    def text(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.3f}"

    return f"**{text(figure.value)}** ({text(figure.low)} to {text(figure.high)})"


def _result(folder: Path, title: str, claimed: float | None) -> Result:
    metrics = bundle.read_metrics(folder)
    if "test" not in metrics:
        raise bundle.BundleError(f"{folder} has no test metrics; run python -m train evaluate {folder} --out {folder}.")
    return Result(title, claimed, bundle.read_contract(folder), metrics["test"])
