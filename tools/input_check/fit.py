"""Fits the input check that refuses what is no frontal chest X-ray, and writes down how often it is
right: ``python -m tools.input_check``.

Fitted on part of the train folder (the fold ``fitted``), on pictures of packages and on drawings.
The border is chosen there too. Everything else, the fold ``held-out``, the test folder, pictures of
other packages and films computed from CT volumes, is only measured.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from pneumonia import corruptions, input_check, radiograph
from pneumonia.evidence import wilson
from pneumonia.input_check import InputCheck
from pneumonia.model_spec import LABELS
from tools.input_check import pictures
from tools.input_check.pictures import Picture
from train.data import folds
from train.data.chest_xray import DataError, Dataset, Item, load

JSON_NAME, PICTURE_NAME = "input_check.json", "input_check.png"
ORIGINAL = 2018
# As many X-rays as the measurements take a minute for; each is used as it is and once varied.
XRAYS = 1500
# Parts taken of the pictures of one kind and package, all together.
PARTS = 200
DRAWINGS = 720
# Further X-rays that are spoiled, in each of four ways, to be refused.
SPOILED = 200
# Held-out X-rays that are measured under each corruption.
CHANGED = 200
COMPONENTS = 24
# Parameters of more entries than this are stored in half precision.
SMALL = 1000
# What may be refused of the first so many X-rays, by the border's choice: as they are, and under
# each corruption.
BORDERED = 300
REFUSED, REFUSED_CHANGED = 0.003, 0.02


def run(
    dataset: Dataset, out: Path, *, volumes: Path | None = None, keep: bool = False
) -> dict[str, Any]:
    """Fits the input check anew, measures it, and writes its parameters
    (``pneumonia/input_check.npz``), ``input_check.json`` and ``input_check.png``.

    The test folder is left alone: :func:`finish` measures it, once the input check is as it shall
    be.

    Args:
        dataset: the X-rays.
        out: folder of the two results; made if need be.
        volumes: folder with CT volumes, see :func:`tools.input_check.pictures.project_volumes`;
            what comes of them is only measured.
        keep: fit nothing; measure the input check that is there, of which there is an
            ``input_check.json`` in ``out``.

    Returns:
        What ``input_check.json`` holds.

    Raises:
        DataError: ``keep`` is set and there is no ``input_check.json`` in ``out``.
    """
    facts: dict[str, Any] = {"schema": 1, "fingerprint": dataset.fingerprint}
    if keep:
        if not (out / JSON_NAME).is_file():
            raise DataError(
                f"There is no {out / JSON_NAME} that says what the input check was fitted on; fit"
                " it anew, without --keep."
            )
        facts["fitted"] = json.loads((out / JSON_NAME).read_text(encoding="utf-8"))["fitted"]
    else:
        copies = _choose_images(dataset, folds.FITTED, XRAYS + SPOILED)
        wrong = negatives(copies[XRAYS:])
        np.savez_compressed(
            input_check.PARAMETERS, allow_pickle=False, **fit(copies[:XRAYS], wrong)
        )
        input_check.parameters.cache_clear()
        sources = Counter(f"{picture.kind}, {picture.source}" for picture in wrong)
        facts["fitted"] = {"X-rays": XRAYS, "others": dict(sorted(sources.items()))}
    facts["parameters"] = _digest()
    accepted: dict[str, list[InputCheck]] = {}
    accepted |= _split(dataset, folds.HELD_OUT)
    held_out = _choose_images(dataset, folds.HELD_OUT, CHANGED)
    for name, change in corruptions.CORRUPTIONS.items():
        accepted[f"{folds.HELD_OUT}, {name}"] = [
            input_check.examine(change(copy)) for copy in held_out
        ]
    refused: dict[str, list[InputCheck]] = {}
    for name, members in _others(held_out, volumes).items():
        (accepted if name.startswith("frontal") else refused)[name] = [
            input_check.examine(picture.radiograph) for picture in members
        ]
    facts["accepted"] = {name: _share(examined, True) for name, examined in accepted.items()}
    facts["refused"] = {name: _share(examined, False) for name, examined in refused.items()}
    out.mkdir(parents=True, exist_ok=True)
    _write(facts, out)
    _draw(accepted, refused).savefig(out / PICTURE_NAME, dpi=110, metadata={"Software": None})
    return facts


def finish(dataset: Dataset, out: Path) -> dict[str, Any]:
    """Measures the input check that is there on the test folder and adds that to
    ``input_check.json``. Only for an input check at which nothing will be changed any more.

    Raises:
        DataError: there is no ``input_check.json`` in ``out``, or it is another input check's.
    """
    file = out / JSON_NAME
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if facts.get("parameters") != _digest():
        raise DataError(
            f"{file} is not there or not of {input_check.PARAMETERS.name} as it is; fit and measure"
            " it first, without --test."
        )
    facts["accepted"] |= {
        name: _share(examined, True) for name, examined in _split(dataset, "test").items()
    }
    _write(facts, out)
    return facts


def _choose_images(dataset: Dataset, name: str, count: int) -> np.ndarray:
    """So many of a split's images, by lot, as copies."""
    items = folds.items_of(dataset, name)
    order = np.random.default_rng(ORIGINAL).permutation(len(items))[:count]
    return load([items[index] for index in order], radiograph.COPY_SIZE)[0]


def _split(dataset: Dataset, name: str) -> dict[str, list[InputCheck]]:
    """Examines the files of a split: all of them, and its healthy, bacterial and viral apart."""
    items = folds.items_of(dataset, name)
    examined = [input_check.examine(item.path) for item in items]
    parts = {
        part: [one for one, item in zip(examined, items, strict=True) if _part(item) == part]
        for part in sorted({_part(item) for item in items})
    }
    return {name: examined} | {f"{name}, {part}": members for part, members in parts.items()}


def _write(facts: Mapping[str, Any], out: Path) -> None:
    (out / JSON_NAME).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _digest() -> str:
    return hashlib.sha256(input_check.PARAMETERS.read_bytes()).hexdigest()


def _part(item: Item) -> str:
    return item.cause or LABELS[item.label]


def _others(held_out: np.ndarray, volumes: Path | None) -> dict[str, list[Picture]]:
    """Everything but X-rays that the input check was not fitted on, by kind and source."""
    rng = np.random.default_rng(ORIGINAL + 2)
    shipped = list(pictures.find_pictures(pictures.HELD_BACK))
    groups: dict[str, list[Picture]] = {}
    for picture in (*shipped, *(pictures.project_volumes(volumes) if volumes else ())):
        groups.setdefault(f"{picture.kind}, {picture.source}", []).append(picture)
    for picture in shipped:
        # In grey, in parts: photographs are refused for their colour otherwise, and the score would
        # not be put to the test.
        groups.setdefault(f"{picture.kind}, {picture.source}, grey parts", []).extend(
            pictures.vary_picture(picture, rng) for _ in range(10)
        )
    for picture in pictures.draw_pictures(DRAWINGS // 5, ORIGINAL + 3):
        groups.setdefault(f"{picture.kind}, other drawings", []).append(picture)
    for kind, broken in spoil_copies(held_out[:100]).items():
        groups[f"{kind}, {folds.HELD_OUT} X-rays"] = [
            Picture(kind, "X-rays", radiograph.read(image)) for image in broken
        ]
    return dict(sorted(groups.items()))


def _share(examined: Sequence[InputCheck], accepted: bool) -> dict[str, Any]:
    """How many were accepted, or refused, with the 95% Wilson interval, and the first reason of
    each refusal.
    """
    count = sum(examination.passed == accepted for examination in examined)
    low, high = wilson(count, len(examined))
    reasons = Counter(
        examination.rejection_reasons[0].code
        for examination in examined
        if examination.rejection_reasons
    )
    return {
        "images": len(examined),
        "share": round(count / len(examined), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "reasons": dict(sorted(reasons.items())),
    }


def _draw(
    accepted: Mapping[str, Sequence[InputCheck]], refused: Mapping[str, Sequence[InputCheck]]
) -> Figure:
    """Scores of what should pass and of what should not, and the average chest with the first
    components of its variation.
    """
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    grid = figure.add_gridspec(2, 8, height_ratios=(2.6, 1))
    axes = figure.add_subplot(grid[0, :])
    plain = accepted[folds.HELD_OUT]
    changed = [
        one for name in corruptions.CORRUPTIONS for one in accepted[f"{folds.HELD_OUT}, {name}"]
    ]
    strangers = {
        kind: [one for name, members in refused.items() if name.startswith(kind) for one in members]
        for kind in ("photograph", "modality")
    }
    spoilt = [
        one for name, members in refused.items() if name.endswith("X-rays") for one in members
    ]
    shown = [
        (plain, "#0072B2", f"X-rays held out ({len(plain)})"),
        (
            changed,
            "#56B4E9",
            f"the same under {len(corruptions.CORRUPTIONS)} corruptions ({len(changed)})",
        ),
        (
            strangers["photograph"],
            "#D55E00",
            f"photographs, in colour and in grey parts ({len(strangers['photograph'])})",
        ),
        (
            strangers["modality"],
            "#E69F00",
            f"other scans and microscopy, whole and in parts ({len(strangers['modality'])})",
        ),
        (spoilt, "#6b7280", f"X-rays inverted, turned, halved, paired ({len(spoilt)})"),
    ]
    edges = np.linspace(-20, 14, 69)
    for examined, colour, label in shown:
        if examined:
            values = np.clip([examination.score for examination in examined], edges[0], edges[-1])
            axes.hist(
                values,
                edges.tolist(),
                weights=np.full(len(values), 1 / len(values)),
                histtype="step",
                color=colour,
                linewidth=1.8,
                label=label,
            )
    axes.axvline(0, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="score by grey values (below 0: refused)", ylabel="share of the pictures")
    axes.set_title("What the input check was not fitted on", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    # Right of the leftmost bar, in which everything below the scale is heaped.
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.1, 1))
    fitted = input_check.parameters()
    for index, image in enumerate((fitted["atlas"], *fitted["components"][:7])):
        cell = figure.add_subplot(grid[1, index])
        cell.imshow(image.reshape(input_check.SIDE, input_check.SIDE), cmap="gray")
        cell.set_title("average" if index == 0 else f"component {index}", fontsize=8)
        cell.axis("off")
    return figure


def fit(copies: np.ndarray, negatives: Sequence[Picture]) -> dict[str, np.ndarray]:
    """The parameters of :mod:`pneumonia.input_check`.

    Args:
        copies: X-rays, uint8 ``(N, 224, 224)``.
        negatives: pictures that are none; each weighs less the more there are of its kind and
            source.

    Returns:
        ``atlas``, ``components``, ``spread``, ``centre``, ``scale``, ``weights`` and ``bias``, as
        :func:`pneumonia.input_check.parameters` describes them.
    """
    rng = np.random.default_rng(ORIGINAL)
    changed = np.stack([vary_copy(copy, rng) for copy in copies])
    ranked = np.stack([input_check.equalise(copy) for copy in (*copies, *changed)])
    atlas = ranked.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov(ranked, rowvar=False))
    # The sign of a principal component is anybody's choice: its largest entry is made positive.
    components = vectors[:, ::-1][:, :COMPONENTS].T
    components = (
        components
        * np.sign(components[np.arange(COMPONENTS), np.abs(components).argmax(axis=1)])[
            :, np.newaxis
        ]
    )
    fitted = {
        "atlas": atlas,
        "components": components,
        "spread": np.sqrt(variances[::-1][:COMPONENTS]),
    }
    # Rounded as they are stored, before anything is fitted on top.
    fitted = {
        name: values.astype(np.float16 if values.size > SMALL else np.float32).astype(np.float64)
        for name, values in fitted.items()
    }
    others = np.stack(
        [radiograph.resize(picture.radiograph, radiograph.COPY_SIZE) for picture in negatives]
    )
    plain, loose, wrong = (
        input_check.measure(images, fitted) for images in (copies, changed, others)
    )
    fitted["centre"], fitted["scale"] = (
        plain.mean(axis=0),
        np.vstack([plain, loose]).std(axis=0) + 1e-6,
    )
    groups = Counter((picture.kind, picture.source) for picture in negatives)
    shares = np.array([1 / groups[picture.kind, picture.source] for picture in negatives])
    weights = np.concatenate(
        [
            np.full(len(plain) + len(loose), 0.5 / (len(plain) + len(loose))),
            0.5 * shares / shares.sum(),
        ]
    )
    model = LogisticRegression(C=0.3, max_iter=2000)
    truth = np.repeat([1, 0], [len(plain) + len(loose), len(wrong)])
    model.fit(
        input_check.terms(np.vstack([plain, loose, wrong]), fitted), truth, weights * len(weights)
    )
    fitted["weights"] = model.coef_[0]
    fitted = {
        name: values.astype(np.float16 if values.size > SMALL else np.float32)
        for name, values in fitted.items()
    }
    return fitted | {"bias": np.array(-border(copies[:BORDERED], fitted), np.float32)}


def border(copies: np.ndarray, fitted: Mapping[str, np.ndarray]) -> float:
    """The score below which a picture is refused: the highest that lets through what is promised of
    X-rays as they are and under each corruption.
    """
    parameters = {name: values.astype(np.float64) for name, values in fitted.items()}

    def quantile(images: np.ndarray, share: float) -> float:
        return float(
            np.quantile(
                input_check.terms(input_check.measure(images, parameters), parameters)
                @ parameters["weights"],
                share,
            )
        )

    changed = (
        quantile(np.stack([change(copy) for copy in copies]), REFUSED_CHANGED)
        for change in corruptions.CORRUPTIONS.values()
    )
    return min(quantile(copies, REFUSED), *changed)


def vary_copy(copy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An X-ray under a random framing, exposure, sharpness and turn: what films of other hospitals
    may differ by. uint8 ``(H, W)`` in and out.
    """
    changes: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda pixels: corruptions.crop(pixels, *rng.uniform(0, 0.22, 2), *rng.uniform(0, 0.13, 2)),
        lambda pixels: corruptions.border(
            pixels, rng.uniform(0.75, 1), int(rng.choice([0, 0, 128, 255]))
        ),
        lambda pixels: corruptions.gamma(pixels, float(np.exp(rng.uniform(-0.7, 0.7)))),
        lambda pixels: corruptions.contrast(pixels, rng.uniform(0.45, 1.8)),
        lambda pixels: corruptions.brightness(pixels, rng.uniform(-45, 45)),
        lambda pixels: corruptions.aspect(pixels, float(np.exp(rng.uniform(-0.3, 0.3)))),
        lambda pixels: corruptions.blur(pixels, rng.uniform(0, 0.011)),
        lambda pixels: corruptions.rotate(pixels, rng.uniform(-10, 10)),
    ]
    for index in rng.permutation(len(changes))[: int(rng.integers(1, 4))]:
        copy = changes[index](copy)
    return copy


def spoil_copies(copies: np.ndarray) -> dict[str, list[np.ndarray]]:
    """X-rays that are to be refused: black and white swapped, on their side or head, two side by
    side, one half alone.
    """
    return {
        "inverted": [255 - copy for copy in copies],
        "turned": [
            np.ascontiguousarray(np.rot90(copy, 1 + index % 3)) for index, copy in enumerate(copies)
        ],
        "pair": [np.hstack(both) for both in pairwise(copies)],
        "half": [
            np.ascontiguousarray(copy[:, :112] if index % 2 else copy[:, 112:])
            for index, copy in enumerate(copies)
        ],
    }


def negatives(copies: np.ndarray) -> list[Picture]:
    """All that the input check is fitted to refuse: pictures of packages in many parts, drawings,
    and X-rays of ``copies`` spoiled.
    """
    rng = np.random.default_rng(ORIGINAL + 1)
    shipped = [
        picture
        for picture in pictures.find_pictures(pictures.FITTED)
        if picture.radiograph.facts.modality not in ("RTDOSE", "SEG")
    ]
    sizes = Counter((picture.kind, picture.source) for picture in shipped)
    parts = [
        pictures.vary_picture(picture, rng)
        for picture in shipped
        for _ in range(-(-PARTS // sizes[picture.kind, picture.source]))
    ]
    broken = [
        Picture(kind, "X-rays", radiograph.read(image))
        for kind, images in spoil_copies(copies).items()
        for image in images
    ]
    return [*shipped, *parts, *pictures.draw_pictures(DRAWINGS, ORIGINAL), *broken]
