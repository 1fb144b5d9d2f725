"""What ``python -m train robustness`` found: its file, its words and its picture. Nothing is measured
here.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from pneumonia import probes
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import Condition, Robustness
from pneumonia.model_spec import Estimate
from pneumonia.probes import LUNGS_HIDDEN, LUNGS_ONLY
from train.data.folds import HELD_OUT
from train.evaluation.plots import BLUE, GREEN, GREY, ORANGE

PICTURE_NAME = "robustness.png"
FIGURES = ("auc", "accuracy", "recall", "specificity")
# A loss of AUC below this is hardly one: the interval of an AUC on 624 images is about as wide.
HARDLY = 0.02


def lines(robustness: Robustness) -> list[str]:
    """The measurement in Markdown: a table of the test folder with the held-out AUC beside it, the
    sentence on the lungs, and the one on originals.
    """
    test, held_out = robustness.figures["test"], robustness.figures[HELD_OUT]
    rows = [
        "| pictures | AUC | accuracy | recall | specificity | AUC, held-out patients |",
        "|---|---|---|---|---|---|",
    ]
    for condition in robustness.conditions:
        cells = [_cell(test[condition.name].get(name), percent=name != "auc") for name in FIGURES]
        rows.append(
            " | ".join(
                (
                    f"| {condition.title}",
                    *cells,
                    f"{_cell(held_out[condition.name].get('auc'), percent=False)} |",
                )
            )
        )
    limited = (
        ""
        if robustness.limit is None
        else f" **A quick look at {robustness.limit} images a split, no result.**"
    )
    count = (
        f"{robustness.images['test']} test images and {robustness.images[HELD_OUT]} of held-out patients of"
        " the train folder"
    )
    note = (
        f"{count}, at the threshold {robustness.threshold:g}.{limited} 95% intervals (Wilson; AUC"
        " bootstrap)."
    )
    if not robustness.unseen:
        note += " This model was trained on the held-out patients too, so their column flatters it."
    note += (
        " Lungs are outlined by a shape model; where they are hidden, their outline can still be"
        " seen."
    )
    return [*rows, "", note, "", lung_sentence(robustness), "", originals_sentence(robustness)]


def lung_sentence(robustness: Robustness) -> str:
    """Whether hiding the lungs hardly lowers the AUC on the test folder, in a sentence."""
    test = robustness.figures["test"]
    values = [test[name].get("auc") for name in (probes.ORIGINAL, LUNGS_HIDDEN, LUNGS_ONLY)]
    if any(value is None for value in values):
        return (
            "Whether the answers come from the lungs cannot be told: the images measured were all"
            " of one class."
        )
    whole, hidden, only = (value.value for value in values if value is not None)
    facts = (
        f"AUC {whole:.3f} on the whole picture, {hidden:.3f} with the lungs hidden, {only:.3f} with"
        " nothing but the lungs"
    )
    if whole - hidden < HARDLY:
        return (
            f"**Hiding the lungs hardly lowers the AUC** ({facts}): the two classes can be told"
            " apart without them, and this network does."
        )
    if hidden - 0.5 > (whole - 0.5) / 2:
        return (
            "Hiding the lungs lowers the AUC, but more than half of what lifts it above chance"
            f" remains ({facts}): much of the answer comes from elsewhere."
        )
    return (
        f"Hiding the lungs takes more than half of what lifts the AUC above chance ({facts}): most"
        " of the answer comes from the lungs."
    )


def originals_sentence(robustness: Robustness) -> str:
    """How far the probability moves between originals and copies, in a sentence."""
    found = robustness.originals
    if not found["images"]:
        return "There were no originals to hold against copies."
    step, direct, others = (
        found[name] for name in ("with_copy_step", "without_copy_step", "other_copies")
    )
    return (
        f"Between {found['images']} originals of the val folder and the same files squeezed as the"
        f" published ones were, the probability moves by {step['max']:.3f} at most"
        f" ({step['mean']:.3f} on average) as the library reads them, and by {direct['max']:.3f}"
        f" ({direct['mean']:.3f}) without its copy step; between copies made with other filters and"
        f" qualities by {others['max']:.3f} ({others['mean']:.3f})."
    )


def biggest_loss(robustness: Robustness, split: str = "test") -> Condition:
    """The condition that costs most AUC on a split, accuracy where only one class was measured;
    inversion apart, which no network here was made for.
    """
    name = "auc" if "auc" in robustness.figures[split][probes.ORIGINAL] else "accuracy"
    eligible = [
        condition for condition in robustness.conditions[1:] if condition.name != probes.INVERTED
    ]
    return min(
        eligible, key=lambda condition: robustness.figures[split][condition.name][name].value
    )


def picture(robustness: Robustness) -> Figure:
    """AUC, and recall and specificity, under every condition, the biggest loss marked."""
    rows = range(len(robustness.conditions))
    drawn = Figure(figsize=(11, 1.6 + 0.27 * len(rows)), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    loss = robustness.conditions.index(biggest_loss(robustness))
    series = (
        (left, HELD_OUT, "auc", GREY, "held-out patients", -0.14),
        (left, "test", "auc", BLUE, "test folder", 0.14),
        (right, "test", "recall", ORANGE, "recall (pneumonias found)", -0.14),
        (right, "test", "specificity", GREEN, "specificity (healthy cleared)", 0.14),
    )
    for axes, split, name, colour, label, offset in series:
        entries = [
            (row, figure)
            for row, condition in zip(rows, robustness.conditions, strict=True)
            if (figure := robustness.figures[split][condition.name].get(name))
        ]
        if not entries:
            continue
        places = [row + offset for row, _ in entries]
        values = [figure.value for _, figure in entries]
        arms = [
            [max(0, figure.value - figure.low) for _, figure in entries],
            [max(0, figure.high - figure.value) for _, figure in entries],
        ]
        axes.errorbar(
            values, places, xerr=arms, fmt="o", markersize=4, linewidth=1, color=colour, label=label
        )
        axes.axvline(values[0], color=colour, linewidth=0.8, linestyle=":")
    for axes, title in (
        (left, "AUC"),
        (right, f"recall and specificity, test folder, threshold {robustness.threshold:.3g}"),
    ):
        axes.axhspan(loss - 0.45, loss + 0.45, color=ORANGE, alpha=0.13, linewidth=0)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.legend(
            frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2
        )
    left.set(
        yticks=list(rows),
        yticklabels=[condition.title for condition in robustness.conditions],
        ylim=(len(rows) - 0.4, -0.6),
    )
    left.get_yticklabels()[loss].set_fontweight("bold")
    right.set_xlim(-0.02, 1.02)
    name = (
        CATALOGUE[robustness.variant].title
        if robustness.variant in CATALOGUE
        else robustness.variant
    )
    limited = (
        "" if robustness.limit is None else f"; a quick look at {robustness.limit} images a split"
    )
    drawn.suptitle(
        f"{name} on altered pictures, 95% intervals; shaded: the biggest loss{limited}", fontsize=11
    )
    return drawn


def _cell(figure: Estimate | None, *, percent: bool) -> str:
    if figure is None:
        return ""
    one, low, high = (
        f"{value:.1%}" if percent else f"{value:.3f}"
        for value in (figure.value, figure.low, figure.high)
    )
    return f"{one} ({low} to {high})"
