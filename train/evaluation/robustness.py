"""What a finished bundle is worth when its pictures change: under every probe and corruption, and
on originals against their published copies.

It reports and chooses nothing: neither a threshold nor a recipe may be picked by what is measured
here on the test folder.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pneumonia import probes, radiograph
from pneumonia.classifier import PneumoniaClassifier, apply_temperature
from pneumonia.corruptions import CORRUPTIONS, TITLES, Corruption
from pneumonia.evidence import ROBUSTNESS, Condition, Movement, Originals, Robustness
from pneumonia.model_spec import Estimate, ModelSpec
from pneumonia.probes import Probe
from pneumonia.radiograph import Radiograph
from train.data.chest_xray import DataError, Dataset, Item, load
from train.data.folds import HELD_OUT, items_of
from train.evaluation import details, metrics, validation
from train.evaluation.robustness_plot import FIGURES, PICTURE_NAME, picture

SPLITS = (HELD_OUT, "test")
# So many recorded answers are asked for again before the rest is believed, and so far may they be
# off: rounding is a thousandth of it.
_ASKED_AGAIN, _AS_RECORDED = 16, 0.002
# How other programs shrink and store: sharper filters, a plain average of pixels, little
# compression.
_OTHER_COPIES = (
    (Image.Resampling.BICUBIC, 75),
    (Image.Resampling.LANCZOS, 90),
    (Image.Resampling.BOX, 75),
    (Image.Resampling.BILINEAR, 95),
)


def conditions() -> dict[str, tuple[Condition, Corruption]]:
    """Every probe and every corruption as a function on uint8 ``(224, 224)``; those that are both
    are there once.
    """
    found: dict[str, tuple[Condition, Corruption]] = {
        probe.name: (Condition(probe.name, probe.title, probe.kind), partial(_on_pixels, probe))
        for probe in probes.PROBES
    }
    for name, corrupt in CORRUPTIONS.items():
        found.setdefault(name, (Condition(name, TITLES[name], "corruption"), corrupt))
    return found


def measure(
    folder: Path,
    dataset: Dataset,
    out: Path,
    *,
    cache: Path | None = None,
    limit: int | None = None,
    only: Collection[str] = (),
    resamples: int = 500,
    skip_corrupt: bool = False,
) -> Robustness:
    """Measures a bundle under every condition on the held-out patients and on the test folder, and
    writes ``robustness.json`` and ``robustness.png``.

    Args:
        folder: the bundle.
        dataset: what to measure it on.
        out: where to write; may be the bundle itself.
        cache: folder for the altered pictures; they are the same for all bundles.
        limit: so many images of a split, evenly spread; None for all.
        only: names of :func:`conditions`; all of them if empty.
        resamples: of the bootstrap for the AUC.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        BundleError, ModelSpecError: the bundle cannot be trusted.
        DataError: images are missing or damaged.
    """
    classifier = PneumoniaClassifier.from_pretrained(folder)
    spec = classifier.spec
    known = {name: found for name, found in conditions().items() if not only or name in only}
    figures: dict[str, dict[str, dict[str, Estimate]]] = {}
    images = {}
    ask = classifier.probabilities
    for split in SPLITS:
        recorded = (
            _read_recorded(folder, ask, dataset, spec, known)
            if split == HELD_OUT and limit is None and not skip_corrupt
            else {}
        )
        open_ones = {name: alter for name, (_, alter) in known.items() if name not in recorded}
        prepared = validation.copies(
            dataset,
            radiograph.COPY_SIZE,
            split,
            open_ones,
            cache=cache,
            limit=limit,
            skip_corrupt=skip_corrupt,
        )
        found = validation.answers(ask, prepared)
        found |= recorded
        found = {
            probes.ORIGINAL if name == validation.CLEAN else name: values
            for name, values in found.items()
        }
        figures[split] = {
            name: _figures(prepared.labels, values, spec.default.threshold, split, resamples)
            for name, values in found.items()
        }
        images[split] = len(prepared.items)
    robustness = Robustness(
        spec.variant,
        spec.weights_sha256,
        spec.default.threshold,
        limit,
        images,
        (
            Condition(probes.ORIGINAL, "as they are", ""),
            *(condition for condition, _ in known.values()),
        ),
        figures,
        originals_against_copies(classifier, dataset.split("val"), skip_corrupt=skip_corrupt),
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / ROBUSTNESS).write_text(
        json.dumps({"schema": 1, **asdict(robustness)}, indent=1) + "\n", encoding="utf-8"
    )
    picture(robustness).savefig(out / PICTURE_NAME, dpi=110, metadata={"Software": None})
    return robustness


def originals_against_copies(
    classifier: PneumoniaClassifier, items: Sequence[Item], *, skip_corrupt: bool = False
) -> Originals:
    """How far the probability moves between an original and a copy of it such as the published
    ones.

    The train and test folders hold copies, squeezed to 224 x 224 and encoded again; the val folder
    holds originals, as users bring them. Three readings are held against the copy: the library's,
    which makes such a copy first and so should not move at all; one that goes to the input size at
    once, as a program without that step would; and copies made with other filters and qualities,
    for nobody can know what was done to an upload.

    Returns:
        ``images``: how many of ``items`` are originals; ``with_copy_step``, ``without_copy_step``
            and ``other_copies``: ``max`` and ``mean`` of the absolute
        differences, 0 to 1, and how many answers ``change`` at the default threshold. Without any
        original, ``images`` alone.
    """
    pictures = []
    for item in items:
        try:
            pictures.append(radiograph.read(item.path))
        except radiograph.UnreadableImage as error:
            if not skip_corrupt:
                raise DataError(f"{item.relative}: {error}") from None
    pictures = [picture for picture in pictures if picture.size != radiograph.COPY_SIZE]
    if not pictures:
        return {"images": 0}
    height, width = radiograph.COPY_SIZE
    direct = np.stack(
        [
            np.asarray(picture.to_pil().resize((width, height), Image.Resampling.BILINEAR))
            for picture in pictures
        ]
    )
    copied = classifier.probabilities(
        classifier.prepare([_copy_as_published(picture) for picture in pictures])
    )
    others = [
        classifier.prepare([_copy_as_published(picture, *made) for picture in pictures])
        for made in _OTHER_COPIES
    ]
    threshold = classifier.spec.default.threshold

    def compare_readings(readings: list[np.ndarray]) -> Movement:
        answers = np.stack([classifier.probabilities(inputs) for inputs in readings])
        moved, change = np.abs(answers - copied), (answers >= threshold) != (copied >= threshold)
        return {
            "max": float(moved.max()),
            "mean": float(moved.mean()),
            "change": int(change.any(axis=0).sum()),
        }

    return {
        "images": len(pictures),
        "with_copy_step": compare_readings([classifier.prepare(pictures)]),
        "without_copy_step": compare_readings([direct]),
        "other_copies": compare_readings(others),
    }


def _read_recorded(
    folder: Path,
    ask: validation.Predict,
    dataset: Dataset,
    spec: ModelSpec,
    known: dict[str, tuple[Condition, Corruption]],
) -> dict[str, np.ndarray]:
    """What the bundle already answered, under the corruptions it was calibrated on, for the
    held-out patients of this very data set.

    A third of all answers, which need not be had twice. They are taken only if the images are the
    same and a few, asked again, are answered as recorded; a probe of the same name counts if it
    does the same.

    Returns:
        Calibrated probabilities float64 ``(N,)`` by the name of the corruption; none where there is
        no such record.
    """
    if not (folder / details.COPIES).is_file():
        return {}
    names, _, raw = details.read_copies(folder)
    items = items_of(dataset, HELD_OUT)
    if names != [item.relative for item in items]:
        return {}
    answers = {name: apply_temperature(values, spec.temperature) for name, values in raw.items()}
    few = np.linspace(0, len(items) - 1, min(_ASKED_AGAIN, len(items))).round().astype(int)
    pixels, _, _ = load([items[index] for index in few], radiograph.COPY_SIZE)
    if np.abs(ask(pixels) - answers[validation.CLEAN][few]).max() > _AS_RECORDED:
        return {}
    picture = np.random.default_rng(0).integers(0, 256, radiograph.COPY_SIZE).astype(np.uint8)
    return {
        name: answers[name]
        for name, corrupt in CORRUPTIONS.items()
        if name in answers
        and name in known
        and np.array_equal(corrupt(picture), np.asarray(known[name][1](picture)))
    }


def _on_pixels(probe: Probe, pixels: np.ndarray) -> np.ndarray:
    return probe.apply(Radiograph(pixels, "copy")).pixels


def _figures(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, split: str, resamples: int
) -> dict[str, Estimate]:
    measured = metrics.measure(labels, probabilities, threshold, split, resamples=resamples).figures
    return {name: measured[name] for name in FIGURES if name in measured}


def _copy_as_published(
    picture: Radiograph,
    resampling: Image.Resampling = Image.Resampling.BILINEAR,
    quality: int = radiograph.COPY_QUALITY,
) -> Radiograph:
    """A file of the train folder made of an original: squeezed, encoded, and read again."""
    encoded = io.BytesIO()
    height, width = radiograph.COPY_SIZE
    picture.to_pil().resize((width, height), resampling).save(encoded, "JPEG", quality=quality)
    return radiograph.read(encoded.getvalue())
