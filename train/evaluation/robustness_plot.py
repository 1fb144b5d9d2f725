"""The picture of what ``python -m train robustness`` found. Nothing is measured here."""

from __future__ import annotations

from matplotlib.figure import Figure

from pneumonia import probes
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import Condition, Robustness
from train.data.folds import HELD_OUT
from train.evaluation.plots import BLUE, GREEN, GREY, ORANGE

PICTURE_NAME = "robustness.png"
FIGURES = ("auc", "accuracy", "recall", "specificity")


def biggest_loss(measured: Robustness, split: str = "test") -> Condition:
    """The condition that costs most AUC on a split, accuracy where only one class was measured;
    inversion apart, which no network here was made for.
    """
    figures = measured.figures[split]
    name = "auc" if "auc" in figures[probes.ORIGINAL] else "accuracy"
    eligible = [entry for entry in measured.conditions[1:] if entry.name != probes.INVERTED]
    return min(
        eligible,
        key=lambda entry: figures[entry.name][name].value,
        default=measured.conditions[0],
    )


def picture(measured: Robustness) -> Figure:
    """AUC, and recall and specificity, under every condition, the biggest loss marked."""
    rows = range(len(measured.conditions))
    drawn = Figure(figsize=(11, 1.6 + 0.27 * len(rows)), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    loss = measured.conditions.index(biggest_loss(measured))
    series = (
        (left, HELD_OUT, "auc", GREY, "held-out patients", -0.14),
        (left, "test", "auc", BLUE, "test folder", 0.14),
        (right, "test", "recall", ORANGE, "recall", -0.14),
        (right, "test", "specificity", GREEN, "specificity", 0.14),
    )
    for axes, split, name, colour, label, offset in series:
        found = [
            (row + offset, estimate)
            for row, condition in zip(rows, measured.conditions, strict=True)
            if (estimate := measured.figures[split][condition.name].get(name))
        ]
        if not found:
            continue
        values = [estimate.value for _, estimate in found]
        arms = [
            [max(0, estimate.value - estimate.low) for _, estimate in found],
            [max(0, estimate.high - estimate.value) for _, estimate in found],
        ]
        places = [place for place, _ in found]
        style = {"fmt": "o", "markersize": 4, "linewidth": 1, "color": colour, "label": label}
        axes.errorbar(values, places, xerr=arms, **style)
        axes.axvline(values[0], color=colour, linewidth=0.8, linestyle=":")
    right_title = f"recall and specificity, test folder, threshold {measured.threshold:.3g}"
    for axes, title in ((left, "AUC"), (right, right_title)):
        axes.axhspan(loss - 0.45, loss + 0.45, color=ORANGE, alpha=0.13, linewidth=0)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.legend(
            frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2
        )
    left.set(
        yticks=list(rows),
        yticklabels=[condition.title for condition in measured.conditions],
        ylim=(len(rows) - 0.4, -0.6),
    )
    left.get_yticklabels()[loss].set_fontweight("bold")
    right.set_xlim(-0.02, 1.02)
    title = CATALOGUE[measured.variant].title
    limited = f"; a quick look at {measured.limit} images a split" if measured.limit else ""
    drawn.suptitle(
        f"{title} on altered pictures, 95% intervals; shaded: the biggest loss{limited}",
        fontsize=11,
    )
    return drawn
