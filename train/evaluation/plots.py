"""The pictures of a bundle: arrays in, PNG files out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from pneumonia.evidence import wilson
from pneumonia.model_spec import LABELS, Metrics
from train.evaluation.metrics import calibration_bins

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b7280"


def draw_all(
    folder: Path,
    title: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    metrics: Metrics,
    history: Sequence[Mapping[str, float]],
) -> list[Path]:
    """Writes ``roc.png``, ``precision_recall.png``, ``confusion.png``, ``calibration.png`` and,
    where there is a history, ``training_curves.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in (
        ("roc", roc),
        ("precision_recall", precision_recall),
        ("confusion", confusion),
        ("calibration", calibration),
    ):
        written.append(_save(draw(title, labels, probabilities, metrics), folder / f"{name}.png"))
    if history:
        written.append(_save(training_curves(title, history), folder / "training_curves.png"))
    return written


def roc(title: str, labels: np.ndarray, probabilities: np.ndarray, metrics: Metrics) -> Figure:
    """Recall against false alarms, with the operating point and its recall's interval."""
    figure, axes = _square(f"{title}: ROC on {metrics.split}, {metrics.images} images")
    false_alarms, recalls, _ = roc_curve(labels, probabilities)
    auc, recall, specificity = (metrics.figures[name] for name in ("auc", "recall", "specificity"))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="chance")
    axes.plot(
        false_alarms,
        recalls,
        color=BLUE,
        linewidth=2,
        label=f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})",
    )
    axes.errorbar(
        [1 - specificity.value],
        [recall.value],
        yerr=[[recall.value - recall.low], [recall.high - recall.value]],
        xerr=[[specificity.high - specificity.value], [specificity.value - specificity.low]],
        fmt="o",
        color=ORANGE,
        capsize=3,
        label=(
            f"threshold {metrics.threshold:.3g}: recall {recall.value:.3f}, specificity"
            f" {specificity.value:.3f}"
        ),
    )
    axes.set(
        xlabel="1 − specificity (false alarms among the healthy)",
        ylabel="recall (pneumonias found)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(loc="lower right", frameon=False)
    return figure


def precision_recall(
    title: str, labels: np.ndarray, probabilities: np.ndarray, metrics: Metrics
) -> Figure:
    """Precision against recall, with the operating point and the share of PNEUMONIA as floor."""
    figure, axes = _square(
        f"{title}: precision and recall on {metrics.split}, {metrics.images} images"
    )
    precisions, recalls, _ = precision_recall_curve(labels, probabilities)
    area, share = metrics.figures["average_precision"], float(np.mean(labels))
    axes.axhline(
        share, color=GREY, linewidth=1, linestyle=":", label=f"share of PNEUMONIA {share:.3f}"
    )
    axes.step(
        recalls,
        precisions,
        where="post",
        color=BLUE,
        linewidth=2,
        label=f"average precision {area.value:.3f} ({area.low:.3f} to {area.high:.3f})",
    )
    if "precision" in metrics.figures:
        at = (metrics.figures["recall"].value, metrics.figures["precision"].value)
        axes.plot(
            *at,
            "o",
            color=ORANGE,
            label=f"threshold {metrics.threshold:.3g}: recall {at[0]:.3f}, precision {at[1]:.3f}",
        )
    axes.set(
        xlabel="recall (pneumonias found)",
        ylabel="precision (calls that are right)",
        xlim=(-0.02, 1.02),
        ylim=(min(0.48, share - 0.05), 1.02),
    )
    axes.legend(loc="lower left", frameon=False)
    return figure


def confusion(
    title: str, labels: np.ndarray, probabilities: np.ndarray, metrics: Metrics
) -> Figure:
    """The four counts, shaded by their share of the true class."""
    del labels, probabilities  # the counts are in the metrics; one signature for all pictures
    figure, axes = _square(f"{title}: {metrics.split} at threshold {metrics.threshold:.3g}")
    counts = metrics.counts
    table = np.array(
        [
            [counts["true_negative"], counts["false_positive"]],
            [counts["false_negative"], counts["true_positive"]],
        ]
    )
    shares = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = (("right", "false alarm"), ("missed", "found"))
    for row in range(2):
        for column in range(2):
            text = f"{table[row, column]}\n{shares[row, column]:.1%}\n{names[row][column]}"
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.55 else "black",
                fontsize=12,
            )
    axes.set(
        xticks=[0, 1],
        yticks=[0, 1],
        xticklabels=LABELS,
        yticklabels=LABELS,
        xlabel="what the model says",
        ylabel="what it is",
    )
    axes.grid(False)
    axes.tick_params(axis="y", rotation=90)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    return figure


def calibration(
    title: str, labels: np.ndarray, probabilities: np.ndarray, metrics: Metrics
) -> Figure:
    """Frequency of PNEUMONIA against the probability said, with the number of images in each bin
    below.
    """
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = {index: mask for index, mask in enumerate(calibration_bins(probabilities)) if mask.any()}
    masks = list(bins.values())
    said = [float(np.mean(probabilities[mask])) for mask in masks]
    seen = [float(np.mean(labels[mask])) for mask in masks]
    ece = metrics.figures["ece"]
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect")
    # A bin of a few images says little: its interval shows how little, and the bars below how few.
    low, high = np.transpose([wilson(int(labels[mask].sum()), int(mask.sum())) for mask in masks])
    # Rounding can put the end of an interval a hair inside a share of 0 or 1.
    arms = np.maximum([seen - low, high - seen], 0)
    label = (
        f"each tenth, with its 95% interval\nECE {ece.value:.3f} ({ece.low:.3f} to {ece.high:.3f})"
    )
    upper.errorbar(
        said,
        seen,
        yerr=arms,
        fmt="o-",
        color=BLUE,
        linewidth=1.5,
        elinewidth=1,
        capsize=3,
        label=label,
    )
    upper.set(ylabel="frequency of PNEUMONIA", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    upper.legend(loc="upper left", frameon=False)
    upper.set_title(
        f"{title}: calibration on {metrics.split}, {metrics.images} images", fontsize=11
    )
    edges = np.linspace(0, 1, 11)
    lower.hist(
        [probabilities[labels == 0], probabilities[labels == 1]],
        bins=edges,
        stacked=True,
        color=[GREEN, ORANGE],
        label=LABELS,
    )
    lower.set(xlabel="probability of PNEUMONIA", ylabel="images")
    for index, mask in bins.items():
        place = ((edges[index] + edges[index + 1]) / 2, mask.sum())
        lower.annotate(
            f"{mask.sum()}",
            place,
            textcoords="offset points",
            xytext=(0, 2),
            ha="center",
            fontsize=8,
        )
    lower.set_ylim(0, 1.25 * max(int(mask.sum()) for mask in masks))
    lower.legend(frameon=False, fontsize=8)
    for axes in (upper, lower):
        _quiet(axes)
    return figure


def training_curves(title: str, history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss, and accuracy or AUC, of training and validation over the epochs; of these, what the
    history holds.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    second = "accuracy" if {"accuracy", "val_accuracy"} & history[0].keys() else "auc"
    for axes, name in zip(figure.subplots(1, 2), ("loss", second), strict=True):
        for key, colour, label in ((name, BLUE, "training"), (f"val_{name}", ORANGE, "validation")):
            if key in history[0]:
                values = [row[key] for row in history]
                axes.plot(epochs, values, color=colour, linewidth=2, label=label)
        axes.set(xlabel="epoch", ylabel="AUC" if name == "auc" else name)
        axes.legend(frameon=False)
        _quiet(axes)
    figure.suptitle(f"{title}: training curves", fontsize=11)
    return figure


def _square(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    _quiet(axes)
    return figure, axes


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _save(figure: Figure, file: Path) -> Path:
    # Without the version string of the drawing library, so that the same figures give the same
    # bytes.
    figure.savefig(file, dpi=110, metadata={"Software": None})
    return file
