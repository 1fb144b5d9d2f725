"""What is in the data set, counted: classes, patients, causes, duplicates, sizes, and what tells
the classes apart beside disease; as JSON and a picture.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.model_spec import LABELS
from train.augmentation import nuisances
from train.data.chest_xray import SPLITS, Dataset, Item, counts, load

JSON_NAME, PICTURE_NAME = "data.json", "data.png"
CAUSES = ("bacteria", "virus")

# Blue and orange differ in lightness too, so the classes stay apart in grey print and for
# colour-blind readers.
_COLOURS = {"NORMAL": "#2f6db5", "PNEUMONIA": "#cc642b"}
_MARKERS = {"train": "o", "val": "^", "test": "s"}
_INK, _FAINT = "#222222", "#8a8a8a"


def audit(dataset: Dataset, out: Path) -> dict[str, Any]:
    """Counts a data set, writes ``data.json`` and ``data.png``, and prints a short table.

    Neither file holds a path, a date or anything else that differs between two people with the same
    data.

    Args:
        dataset: what :func:`train.data.chest_xray.scan` found.
        out: folder for the two files; made if need be.

    Returns:
        What ``data.json`` holds: ``fingerprint``, ``images``, ``counts``, ``causes``, ``patients``,
        ``duplicates``, ``sizes``, ``unreadable`` and ``nuisances`` of the train folder
        (:func:`train.augmentation.nuisances.audit_images`).
    """
    sizes, unreadable = _sizes(dataset.items)
    facts = {
        "schema": 1,
        "fingerprint": dataset.fingerprint,
        "images": len(dataset.items),
        "counts": counts(dataset.items),
        "causes": {
            split: _tally([item.cause for item in dataset.split(split)], CAUSES) for split in SPLITS
        },
        "patients": _patients(dataset),
        "duplicates": _duplicates(dataset),
        "sizes": {
            split: {
                label: _size_facts(
                    [
                        sizes[item]
                        for item in dataset.split(split)
                        if item in sizes and LABELS[item.label] == label
                    ]
                )
                for label in LABELS
            }
            for split in SPLITS
        },
        "unreadable": [item.relative for item in unreadable],
        "nuisances": nuisances.audit_images(
            *load(dataset.split("train"), radiograph.COPY_SIZE, skip_corrupt=True)[:2]
        ),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / JSON_NAME).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    # Without the name of the program that drew it, the picture changes only with the data.
    FigureCanvasAgg(_picture(facts, sizes)).print_png(
        out / PICTURE_NAME, metadata={"Software": None}
    )
    print(table(facts, len(dataset.ignored)))
    return facts


def table(facts: dict[str, Any], ignored: int = 0) -> str:
    """The audit's facts as a few lines of text; ``ignored`` is how many files were passed over."""
    lines = [
        f"{'split':<7}{'NORMAL':>8}{'PNEUMONIA':>11}{'bacteria':>10}{'virus':>7}{'patients':>10}"
    ]
    for split in SPLITS:
        count, cause = facts["counts"][split], facts["causes"][split]
        row = (
            f"{count['NORMAL']:>8,}{count['PNEUMONIA']:>11,}{cause['bacteria']:>10,}"
            f"{cause['virus']:>7,}{facts['patients']['groups'][split]:>10,}"
        )
        lines.append(f"{split:<7}{row}")
    duplicates, shared = facts["duplicates"], facts["patients"]["in_both"]
    lines += [
        (
            f"images {facts['images']:,}; unreadable {len(facts['unreadable'])}; ignored {ignored};"
            f" fingerprint {facts['fingerprint'][:16]}"
        ),
        (
            "patients in two splits:"
            f" {', '.join(f'{pair} {len(keys)}' for pair, keys in shared.items())}"
        ),
        (
            f"duplicates: {len(duplicates['groups'])} groups of {duplicates['files']} files; across"
            f" splits {len(duplicates['across_splits'])}, across classes"
            f" {len(duplicates['across_classes'])}, across patients"
            f" {len(duplicates['across_patients'])}"
        ),
    ]
    if found := facts["nuisances"]:
        strongest = max(found["single"], key=lambda name: abs(found["single"][name]["auc"] - 0.5))
        lines.append(
            "beside disease: exposure, sharpness, margins and the lungs' framing alone tell the"
            f" train folder's classes apart with an AUC of {found['together']:.3f}; {strongest} by"
            f" itself with {_apart(found['single'][strongest]['auc']):.3f}"
        )
    return "\n".join(lines)


def _apart(auc: float) -> float:
    """How well a figure tells the classes apart, whichever has more of it."""
    return max(auc, 1 - auc)


# --- counting
def _tally(values: Sequence[str | None], names: Sequence[str]) -> dict[str, int]:
    tally = Counter(values)
    return {name: tally[name] for name in names}


def _sizes(items: Sequence[Item]) -> tuple[dict[Item, tuple[int, int]], list[Item]]:
    sizes: dict[Item, tuple[int, int]] = {}
    unreadable: list[Item] = []
    for item in tqdm(items, "measuring", unit="file", disable=None, leave=False):
        try:
            size = radiograph.header_size(item.path)
            # Headers of files that break off are whole: only who reads to the end knows.
            radiograph.read(item.path)
            sizes[item] = size
        # An audit says what is wrong with all the files, rather than stop at the first.
        except radiograph.UnreadableImage:
            unreadable.append(item)
    return sizes, unreadable


def _patients(dataset: Dataset) -> dict[str, Any]:
    keys = {split: {item.patient for item in dataset.split(split)} for split in SPLITS}
    return {
        "groups": {split: len(keys[split]) for split in SPLITS},
        "in_both": {
            f"{one} and {other}": sorted(keys[one] & keys[other])
            for one, other in combinations(SPLITS, 2)
        },
    }


def _duplicates(dataset: Dataset) -> dict[str, Any]:
    by_digest: dict[str, list[Item]] = defaultdict(list)
    for item, digest in zip(dataset.items, dataset.digests, strict=True):
        by_digest[digest].append(item)
    groups = [group for group in by_digest.values() if len(group) > 1]

    def name_groups(chosen: Sequence[Sequence[Item]]) -> list[list[str]]:
        return sorted(sorted(item.relative for item in group) for group in chosen)

    return {
        "files": sum(len(group) for group in groups),
        "groups": name_groups(groups),
        "across_splits": name_groups(
            [group for group in groups if len({item.split for item in group}) > 1]
        ),
        "across_classes": name_groups(
            [group for group in groups if len({item.label for item in group}) > 1]
        ),
        "across_patients": name_groups(
            [group for group in groups if len({item.patient for item in group}) > 1]
        ),
    }


def _size_facts(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if not sizes:
        return {"distinct": 0}
    heights, widths = np.array(sizes, float).T
    return {
        "distinct": len(set(sizes)),
        "height": _summarise(heights),
        "width": _summarise(widths),
        "aspect": _summarise(widths / heights),
    }


def _summarise(values: np.ndarray) -> dict[str, float]:
    return {
        "min": round(float(values.min()), 3),
        "median": round(float(np.median(values)), 3),
        "max": round(float(values.max()), 3),
    }


# --- the picture
def _picture(facts: dict[str, Any], sizes: dict[Item, tuple[int, int]]) -> Figure:
    figure = Figure(figsize=(11, 8.4), dpi=160, facecolor="white", layout="constrained")
    (shares, aspect), (size, nuisance) = figure.subplots(2, 2, width_ratios=(1.15, 1))
    _draw_balance(shares, facts["counts"])
    _draw_aspects(aspect, sizes)
    _draw_sizes(size, sizes)
    _draw_nuisances(nuisance, facts["nuisances"])
    for axes in (shares, aspect, size, nuisance):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_FAINT)
        axes.tick_params(labelsize=10, colors=_INK, length=3)
    return figure


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11.5, fontweight="bold", color=_INK, pad=10)


def _draw_balance(axes: Axes, tally: dict[str, dict[str, int]]) -> None:
    # Shares, not counts, make the length: 16 images beside 5,216 would be no bar at all. The counts
    # are written in. The larger share is also the accuracy of always naming that class, the figure
    # any accuracy stands against.
    for row, split in enumerate(SPLITS):
        total, left = sum(tally[split].values()), 0.0
        for label in LABELS:
            share = tally[split][label] / total
            axes.barh(
                row,
                share,
                left=left,
                height=0.62,
                color=_COLOURS[label],
                edgecolor="white",
                label=label if row == 0 else None,
            )
            axes.text(
                left + share / 2,
                row,
                f"{tally[split][label]:,}\n{share:.0%}",
                ha="center",
                va="center",
                color="white",
                fontsize=10,
                fontweight="bold",
            )
            left += share
    axes.set_yticks(
        range(len(SPLITS)), [f"{split}\n{sum(tally[split].values()):,}" for split in SPLITS]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
    axes.set_xlabel("share of the split's images", fontsize=10, color=_INK)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=2,
        frameon=False,
        fontsize=10,
        handlelength=1,
    )
    _title(axes, "Class balance, by split")


def _draw_aspects(axes: Axes, sizes: dict[Item, tuple[int, int]]) -> None:
    rows = [(split, label) for split in SPLITS for label in LABELS]
    jitter = np.random.default_rng(0)
    for row, (split, label) in enumerate(rows):
        found = [
            size
            for item, size in sizes.items()
            if item.split == split and LABELS[item.label] == label
        ]
        if not found:
            continue
        values = np.array([width / height for height, width in found])
        offsets = jitter.uniform(-0.24, 0.24, len(values))
        axes.scatter(
            values,
            row + offsets,
            s=10,
            color=_COLOURS[label],
            alpha=max(0.05, min(0.8, 60 / len(values))),
            linewidths=0,
        )
        median = float(np.median(values))
        axes.plot([median, median], [row - 0.36, row + 0.36], color=_INK, linewidth=1.6)
        axes.annotate(
            f"{median:.2f}",
            (median, row - 0.36),
            xytext=(4, -1),
            textcoords="offset points",
            fontsize=9,
            color=_INK,
            va="center",
        )
    axes.set_yticks(range(len(rows)), [f"{split} {label.lower()}" for split, label in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.set_xlabel("width / height; line: median", fontsize=10, color=_INK)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    _title(axes, "Aspect, by class")


def _draw_sizes(axes: Axes, sizes: dict[Item, tuple[int, int]]) -> None:
    for split in SPLITS:
        for label in LABELS:
            # One mark a distinct size: 5,840 files of one size are one point.
            tally = Counter(
                size
                for item, size in sizes.items()
                if item.split == split and LABELS[item.label] == label
            )
            widths, heights = [width for _, width in tally], [height for height, _ in tally]
            face = _COLOURS[label] if split == "train" else "none"
            axes.scatter(
                widths,
                heights,
                s=32,
                marker=_MARKERS[split],
                facecolors=face,
                edgecolors=_COLOURS[label],
                linewidths=1.3,
                alpha=0.8,
            )
    (size, files), *_ = Counter(sizes.values()).most_common(1) or [((0, 0), 0)]
    if files > len(sizes) / 2:
        text = f"{size[1]} x {size[0]}:\n{files:,} of {len(sizes):,} files"
        axes.annotate(
            text,
            (size[1], size[0]),
            xytext=(10, 2),
            textcoords="offset points",
            fontsize=9,
            color=_INK,
            va="bottom",
        )
    # Empty marks, for a legend that tells splits apart by shape and leaves colour to the classes.
    for split in SPLITS:
        axes.scatter(
            [],
            [],
            marker=_MARKERS[split],
            facecolors=_INK if split == "train" else "none",
            edgecolors=_INK,
            label=split,
        )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("width, pixels", fontsize=10, color=_INK)
    axes.set_ylabel("height, pixels", fontsize=10, color=_INK)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=3,
        frameon=False,
        fontsize=10,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    _title(axes, "Sizes, by split")


def _draw_nuisances(axes: Axes, found: dict[str, Any]) -> None:
    _title(axes, "Beside disease, in the train folder")
    axes.set_xlim(0.5, 1)
    axes.set_xlabel("AUC; colour: the class that has more of it", fontsize=10, color=_INK)
    if not found:
        axes.set_yticks([])
        return
    names = [*found["single"], "all together"]
    values = [*(one["auc"] for one in found["single"].values()), found["together"]]
    for row, value in enumerate(values):
        colour = (
            _INK if row == len(names) - 1 else _COLOURS["NORMAL" if value < 0.5 else "PNEUMONIA"]
        )
        axes.barh(row, _apart(value) - 0.5, left=0.5, height=0.66, color=colour)
        axes.text(
            _apart(value) + 0.006, row, f"{_apart(value):.2f}", va="center", fontsize=9, color=_INK
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
