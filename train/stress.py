"""What a finished bundle is worth when its pictures change: under every probe and corruption, and on originals against their published copies.

It reports and chooses nothing: neither a threshold nor a recipe may be picked by what is measured here on the test folder.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Picture
from PIL import Image

from pneumonia import bundle, probes, radiograph
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.contract import Figure
from pneumonia.corruptions import CORRUPTIONS, Corruption
from pneumonia.probes import LUNGS_HIDDEN, LUNGS_ONLY, Probe
from pneumonia.radiograph import Radiograph
from train import metrics, validate
from train.data import Dataset, Item
from train.folds import HELD_OUT
from train.plots import BLUE, GREEN, GREY, ORANGE

JSON_NAME, PICTURE_NAME = "stress.json", "stress.png"
SPLITS = (HELD_OUT, "test")
FIGURES = ("auc", "accuracy", "recall", "specificity")
# A loss of AUC below this is hardly one: the interval of an AUC on 624 images is about as wide.
HARDLY = 0.02
# How other programs shrink and store: sharper filters, a plain average of pixels, little compression.
_OTHER_COPIES = ((Image.Resampling.BICUBIC, 75), (Image.Resampling.LANCZOS, 90), (Image.Resampling.BOX, 75), (Image.Resampling.BILINEAR, 95))


@dataclass(frozen=True)
class Condition:
    """What was done to the pictures: a name, words for it, and the kind of probe or ``corruption``."""

    name: str
    title: str
    kind: str


@dataclass(frozen=True)
class Stress:
    """What ``stress.json`` holds.

    Attributes:
        variant, weights_sha256: of the bundle.
        threshold: the bundle's default; a probability at or above it was called PNEUMONIA.
        limit: how many images a split were taken; None for all. A limited measurement is a quick look and no result.
        images: how many of each split.
        conditions: in the order of every table, the untouched pictures first.
        figures: by split, then condition, then ``auc``, ``accuracy``, ``recall``, ``specificity``.
        originals: how far probabilities move between originals and their copies, see :func:`originals_against_copies`.
        unseen: whether the recipe kept the held-out patients from training; SEED did not.
    """

    variant: str
    weights_sha256: str
    threshold: float
    limit: int | None
    images: Mapping[str, int]
    conditions: tuple[Condition, ...]
    figures: Mapping[str, Mapping[str, Mapping[str, Figure]]]
    originals: Mapping[str, Any]
    unseen: bool = True


def conditions() -> dict[str, tuple[Condition, Corruption]]:
    """Every probe and every corruption as a function on uint8 ``(224, 224)``; those that are both are there once."""
    found: dict[str, tuple[Condition, Corruption]] = {
        probe.name: (Condition(probe.name, probe.title, probe.kind), partial(_on_pixels, probe)) for probe in probes.PROBES
    }
    for name, corrupt in CORRUPTIONS.items():
        found.setdefault(name, (Condition(name, name, "corruption"), corrupt))
    return found


def measure(
    folder: Path, dataset: Dataset, out: Path, *, cache: Path | None = None, limit: int | None = None, resamples: int = 500, skip_corrupt: bool = False
) -> Stress:
    """Measures a bundle under every condition on the held-out patients and on the test folder, and writes ``stress.json`` and ``stress.png``.

    Args:
        folder: the bundle.
        dataset: what to measure it on.
        out: where to write; may be the bundle itself.
        cache: folder for the altered pictures; they are the same for all bundles of one input size.
        limit: so many images of a split, evenly spread; None for all.
        resamples: of the bootstrap for the AUC.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        BundleError, ContractError: the bundle cannot be trusted.
        DataError: images are missing or damaged.
    """
    classifier = PneumoniaClassifier.from_pretrained(folder)
    contract, known = classifier.contract, conditions()
    figures: dict[str, dict[str, dict[str, Figure]]] = {}
    images = {}
    for split in SPLITS:
        prepared = validate.copies(
            dataset, contract.input_size, split, {name: alter for name, (_, alter) in known.items()}, cache=cache, limit=limit, skip_corrupt=skip_corrupt
        )
        found = validate.answers(classifier, prepared)
        found = {probes.ORIGINAL if name == validate.CLEAN else name: values for name, values in found.items()}
        figures[split] = {name: _figures(prepared.labels, values, contract.default.threshold, split, resamples) for name, values in found.items()}
        images[split] = len(prepared.items)
    stress = Stress(
        contract.variant,
        contract.weights_sha256,
        contract.default.threshold,
        limit,
        images,
        (Condition(probes.ORIGINAL, "as they are", ""), *(condition for condition, _ in known.values())),
        figures,
        originals_against_copies(classifier, dataset.split("val")),
        contract.recipe.get("validation") == HELD_OUT,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / JSON_NAME).write_text(json.dumps({"schema": 1, **asdict(stress)}, indent=1) + "\n", encoding="utf-8")
    picture(stress).savefig(out / PICTURE_NAME, dpi=110, metadata={"Software": None})
    return stress


def read(file: Path) -> Stress:
    """Reads what :func:`measure` wrote.

    Raises:
        FileNotFoundError: the bundle was not put under stress.
        BundleError: the file is there, but not what it should be.
    """
    values = json.loads(file.read_text(encoding="utf-8"))
    try:
        figures = {
            split: {name: {figure: Figure(**entry) for figure, entry in entries.items()} for name, entries in named.items()}
            for split, named in values["figures"].items()
        }
        listed = tuple(Condition(**entry) for entry in values["conditions"])
        plain = {name: values[name] for name in ("variant", "weights_sha256", "threshold", "limit", "images", "originals")}
        return Stress(**plain, conditions=listed, figures=figures, unseen=values.get("unseen", True))
    except (KeyError, TypeError, AttributeError) as error:
        raise bundle.BundleError(f"{file} cannot be read ({type(error).__name__} {error}); write it again with python -m train stress.") from None


def originals_against_copies(classifier: PneumoniaClassifier, items: Sequence[Item]) -> dict[str, Any]:
    """How far the probability moves between an original and a copy of it such as the published ones.

    The train and test folders hold copies, squeezed to 224 x 224 and encoded again; the val folder holds originals, as users bring them. Three readings are
    held against the copy: the library's, which makes such a copy first and so should not move at all; one that goes to the input size at once, as a program
    without that step would; and copies made with other filters and qualities, for nobody can know what was done to an upload.

    Returns:
        ``images``: how many of ``items`` are originals; ``with_copy_step``, ``without_copy_step`` and ``other_copies``: ``max`` and ``mean`` of the absolute
        differences, 0 to 1, and how many answers ``change`` at the default threshold. Without any original, ``images`` alone.
    """
    pictures = [picture for item in items if (picture := radiograph.read(item.path)).size != radiograph.COPY_SIZE]
    if not pictures:
        return {"images": 0}
    height, width = classifier.contract.input_size
    direct = np.stack([np.asarray(picture.to_pil().resize((width, height), Image.Resampling.BILINEAR)) for picture in pictures])
    copied = classifier.probabilities(classifier.resized([_published(picture) for picture in pictures]))
    others = [classifier.resized([_published(picture, *made) for picture in pictures]) for made in _OTHER_COPIES]
    threshold = classifier.contract.default.threshold
    found: dict[str, Any] = {"images": len(pictures)}
    for name, readings in (("with_copy_step", [classifier.resized(pictures)]), ("without_copy_step", [direct]), ("other_copies", others)):
        answers = np.stack([classifier.probabilities(inputs) for inputs in readings])
        moved, change = np.abs(answers - copied), (answers >= threshold) != (copied >= threshold)
        found[name] = {"max": float(moved.max()), "mean": float(moved.mean()), "change": int(change.any(axis=0).sum())}
    return found


def lines(stress: Stress) -> list[str]:
    """The measurement in Markdown: a table of the test folder with the held-out AUC beside it, the sentence on the lungs, and the one on originals."""
    test, held_out = stress.figures["test"], stress.figures[HELD_OUT]
    rows = ["| pictures | AUC | accuracy | recall | specificity | AUC, held-out patients |", "|---|---|---|---|---|---|"]
    for condition in stress.conditions:
        cells = [_cell(test[condition.name].get(name), percent=name != "auc") for name in FIGURES]
        rows.append(" | ".join((f"| {condition.title}", *cells, f"{_cell(held_out[condition.name].get('auc'), percent=False)} |")))
    limited = "" if stress.limit is None else f" **A quick look at {stress.limit} images a split, no result.**"
    count = f"{stress.images['test']} test images and {stress.images[HELD_OUT]} of held-out patients of the train folder"
    note = f"{count}, at the threshold {stress.threshold:g}.{limited} 95% intervals (Wilson; AUC bootstrap)."
    if not stress.unseen:
        note += " This model was trained on the held-out patients too, so their column flatters it."
    note += " Lungs are outlined by a shape model; where they are hidden, their outline can still be seen."
    return [*rows, "", note, "", lung_sentence(stress), "", originals_sentence(stress)]


def lung_sentence(stress: Stress) -> str:
    """Whether hiding the lungs hardly lowers the AUC on the test folder, in a sentence."""
    test = stress.figures["test"]
    values = [test[name].get("auc") for name in (probes.ORIGINAL, LUNGS_HIDDEN, LUNGS_ONLY)]
    if any(value is None for value in values):
        return "Whether the answers come from the lungs cannot be told: the images measured were all of one class."
    whole, hidden, only = (value.value for value in values if value is not None)
    facts = f"AUC {whole:.3f} on the whole picture, {hidden:.3f} with the lungs hidden, {only:.3f} with nothing but the lungs"
    if whole - hidden < HARDLY:
        return f"**Hiding the lungs hardly lowers the AUC** ({facts}): the two classes can be told apart without them, and this network does."
    if hidden - 0.5 > (whole - 0.5) / 2:
        return f"Hiding the lungs lowers the AUC, but more than half of what lifts it above chance remains ({facts}): much of the answer comes from elsewhere."
    return f"Hiding the lungs takes more than half of what lifts the AUC above chance ({facts}): most of the answer comes from the lungs."


def originals_sentence(stress: Stress) -> str:
    """How far the probability moves between originals and copies, in a sentence."""
    found = stress.originals
    if not found["images"]:
        return "There were no originals to hold against copies."
    step, direct, others = (found[name] for name in ("with_copy_step", "without_copy_step", "other_copies"))
    return (
        f"Between {found['images']} originals of the val folder and the same files squeezed as the published ones were, the probability moves by "
        f"{step['max']:.3f} at most ({step['mean']:.3f} on average) as the library reads them, and by {direct['max']:.3f} ({direct['mean']:.3f}) without its "
        f"copy step; between copies made with other filters and qualities by {others['max']:.3f} ({others['mean']:.3f})."
    )


def biggest_loss(stress: Stress, split: str = "test") -> Condition:
    """The condition that costs most AUC on a split, accuracy where only one class was measured; inversion apart, which no network here was made for."""
    name = "auc" if "auc" in stress.figures[split][probes.ORIGINAL] else "accuracy"
    eligible = [condition for condition in stress.conditions[1:] if condition.name != probes.INVERTED]
    return min(eligible, key=lambda condition: stress.figures[split][condition.name][name].value)


def picture(stress: Stress) -> Picture:
    """AUC, and recall and specificity, under every condition, the biggest loss marked."""
    rows = range(len(stress.conditions))
    drawn = Picture(figsize=(11, 1.6 + 0.27 * len(rows)), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    loss = stress.conditions.index(biggest_loss(stress))
    series = (
        (left, HELD_OUT, "auc", GREY, "held-out patients", -0.14),
        (left, "test", "auc", BLUE, "test folder", 0.14),
        (right, "test", "recall", ORANGE, "recall (pneumonias found)", -0.14),
        (right, "test", "specificity", GREEN, "specificity (healthy cleared)", 0.14),
    )
    for axes, split, name, colour, label, offset in series:
        entries = [(row, figure) for row, condition in zip(rows, stress.conditions, strict=True) if (figure := stress.figures[split][condition.name].get(name))]
        if not entries:
            continue
        places = [row + offset for row, _ in entries]
        values = [figure.value for _, figure in entries]
        arms = [[max(0, figure.value - figure.low) for _, figure in entries], [max(0, figure.high - figure.value) for _, figure in entries]]
        axes.errorbar(values, places, xerr=arms, fmt="o", markersize=4, linewidth=1, color=colour, label=label)
        axes.axvline(values[0], color=colour, linewidth=0.8, linestyle=":")
    for axes, title in ((left, "AUC"), (right, f"recall and specificity on the test folder, at the threshold {stress.threshold:.3g}")):
        axes.axhspan(loss - 0.45, loss + 0.45, color=ORANGE, alpha=0.13, linewidth=0)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    left.set(yticks=list(rows), yticklabels=[condition.title for condition in stress.conditions], ylim=(len(rows) - 0.4, -0.6))
    left.get_yticklabels()[loss].set_fontweight("bold")
    right.set_xlim(-0.02, 1.02)
    name = CATALOGUE[stress.variant].title if stress.variant in CATALOGUE else stress.variant
    limited = "" if stress.limit is None else f"; a quick look at {stress.limit} images a split"
    drawn.suptitle(f"{name} on altered pictures, 95% intervals; shaded: the biggest loss{limited}", fontsize=11)
    return drawn


def _on_pixels(probe: Probe, pixels: np.ndarray) -> np.ndarray:
    return probe.apply(Radiograph(pixels, "copy")).pixels


def _figures(labels: np.ndarray, probabilities: np.ndarray, threshold: float, split: str, resamples: int) -> dict[str, Figure]:
    measured = metrics.measure(labels, probabilities, threshold, split, resamples=resamples).figures
    return {name: measured[name] for name in FIGURES if name in measured}


def _published(picture: Radiograph, resampling: Image.Resampling = Image.Resampling.BILINEAR, quality: int = radiograph.COPY_QUALITY) -> Radiograph:
    """A file of the train folder made of an original: squeezed, encoded, and read again."""
    encoded = io.BytesIO()
    height, width = radiograph.COPY_SIZE
    picture.to_pil().resize((width, height), resampling).save(encoded, "JPEG", quality=quality)
    return radiograph.read(encoded.getvalue())


def _cell(figure: Figure | None, *, percent: bool) -> str:
    if figure is None:
        return ""
    one, low, high = (f"{value:.1%}" if percent else f"{value:.3f}" for value in (figure.value, figure.low, figure.high))
    return f"{one} ({low} to {high})"
