"""What moves the answer: one X-ray, altered in one respect at a time, asked about again.

Every probe acts on the 224 x 224 copy that a network sees (:func:`pneumonia.radiograph.resize`),
never on the original. An original that was altered first and copied afterwards would be filtered
and encoded together with its alteration, and the change in the answer would have two causes. The
copy of a copy is itself, so what a probe returns reaches the network as it is, and "original" here
is the answer that the app gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from pneumonia import lungs, radiograph
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.corruptions import CORRUPTIONS, TITLES, Corruption, brightness, letter, rotate, shut
from pneumonia.radiograph import Radiograph

KINDS = ("lungs", "not lungs", "letters", "exposure", "framing", "encoding")
ORIGINAL = "original"
LUNGS_HIDDEN, LUNGS_ONLY, INVERTED = "lungs hidden", "lungs only", "inverted"
# Standard deviation of a hiding patch's edge, as a share of the picture: a hard edge would be a new
# thing to look at.
SOFTNESS = 0.015
# Median width over height of the originals lies near 1.25 for NORMAL and 1.5 for PNEUMONIA. One
# middle ratio for all, or the probe would tell the class.
ASPECT = 1.4
# Grey values of 255 that "brighter" adds and "darker" takes.
_SHIFT = 40
_BATCH = 32


@dataclass(frozen=True)
class Probe:
    """One way to alter a picture.

    Attributes:
        name: short and unique, for tables and files.
        title: for people, as what was done to the picture.
        kind: what it takes away or changes, one of :data:`KINDS`.
        apply: a radiograph of any size to the altered copy of 224 x 224.
    """

    name: str
    title: str
    kind: str
    apply: Callable[[Radiograph], Radiograph]

    def __post_init__(self) -> None:
        if self.kind not in KINDS and self.name != ORIGINAL:
            raise ValueError(
                f"A probe's kind must be one of {', '.join(KINDS)}, got {self.kind!r}."
            )


@dataclass(frozen=True, eq=False)
class Probed:
    """What a classifier says of a picture under one probe.

    Attributes:
        probe: what was done.
        radiograph: the altered picture, 224 x 224.
        probability: calibrated, of PNEUMONIA, 0 to 1.
        change: ``probability`` minus that of the untouched picture, -1 to 1.
        note: what to know about this one; empty mostly.
    """

    probe: Probe
    radiograph: Radiograph
    probability: float
    change: float
    note: str = ""


def copy_of(picture: Radiograph) -> Radiograph:
    """The 224 x 224 copy of a radiograph that the networks see; a copy is its own copy."""
    return picture.copied


def lungs_hidden(pixels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Covers the lungs with the mean of everything else, softened at the edge.

    Black would be a lung full of air, the healthiest there is, and white one full of fluid: both
    would be answers. The mean of the rest is the grey that says least, and nothing of the lungs
    goes into it. What stays visible is their outline, so a network can still know their size and
    place.

    Args:
        pixels: uint8 ``(H, W)``.
        mask: bool ``(H, W)``, True in the lungs; :func:`pneumonia.lungs.lung_mask` if None.
    """
    mask = lungs.lung_mask(pixels) if mask is None else mask
    return _cover_area(pixels, _soft(mask), _mean(pixels, ~mask))


def lungs_only(pixels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Covers everything but the lungs with the lungs' own mean, softened at the edge.

    As in :func:`lungs_hidden`, nothing of what is hidden goes into the fill, and hidden means
    hidden: the soft edge lies inside the lungs and costs a rim.

    Args:
        pixels: uint8 ``(H, W)``.
        mask: bool ``(H, W)``, True in the lungs; :func:`pneumonia.lungs.lung_mask` if None.
    """
    mask = lungs.lung_mask(pixels) if mask is None else mask
    return _cover_area(pixels, _soft(~mask), _mean(pixels, mask))


def invert(pixels: np.ndarray) -> np.ndarray:
    """Black for white, as some viewers show X-rays."""
    return 255 - pixels


def aspect_restored(pixels: np.ndarray, ratio: float = ASPECT) -> np.ndarray:
    """Undoes the squeeze to a square: the full picture ``ratio`` times as wide as high, on a black
    square.
    """
    height, width = pixels.shape
    flat = max(1, round(height / ratio))
    framed = np.zeros_like(pixels)
    top = (height - flat) // 2
    framed[top : top + flat] = np.asarray(
        Image.fromarray(pixels).resize((width, flat), Image.Resampling.BILINEAR)
    )
    return framed


def _probe(name: str, title: str, kind: str, alter: Corruption) -> Probe:
    return Probe(
        name,
        title,
        kind,
        lambda picture: Radiograph(
            np.ascontiguousarray(alter(copy_of(picture).pixels)), picture.name
        ),
    )


def _make_lung_probe(
    name: str, title: str, kind: str, cover: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Probe:
    """A probe that needs the lungs' outline, which is looked for once a picture."""

    def apply(picture: Radiograph) -> Radiograph:
        copy = copy_of(picture)
        mask = lungs.mask_of(lungs.find(copy), copy.size)
        return Radiograph(np.ascontiguousarray(cover(copy.pixels, mask)), picture.name)

    return Probe(name, title, kind, apply)


def _corruption(name: str, kind: str) -> Probe:
    """The very corruption of that name that models are validated under, so that what it does here
    is what was measured there.
    """
    return _probe(name, TITLES[name], kind, CORRUPTIONS[name])


PROBES: tuple[Probe, ...] = (
    _make_lung_probe(LUNGS_HIDDEN, "lungs hidden", "lungs", lungs_hidden),
    _make_lung_probe(LUNGS_ONLY, "everything but the lungs hidden", "not lungs", lungs_only),
    _probe("borders blacked", "outer 12% blacked", "not lungs", shut),
    _probe("letter", "a large R burnt in", "letters", letter),
    _probe("brighter", "brighter", "exposure", lambda pixels: brightness(pixels, _SHIFT)),
    _probe("darker", "darker", "exposure", lambda pixels: brightness(pixels, -_SHIFT)),
    _corruption("low contrast", "exposure"),
    _probe(INVERTED, "black and white exchanged", "exposure", invert),
    _corruption("tight crop", "framing"),
    _corruption("black border", "framing"),
    _probe(
        "turned 10 left", "turned 10° to the left", "framing", lambda pixels: rotate(pixels, 10)
    ),
    _probe(
        "turned 10 right", "turned 10° to the right", "framing", lambda pixels: rotate(pixels, -10)
    ),
    _corruption("wide aspect", "framing"),
    _corruption("tall aspect", "framing"),
    _probe("aspect restored", "true proportions, on black", "framing", aspect_restored),
    _probe("mirrored", "left and right exchanged", "framing", np.fliplr),
    _corruption("blur", "encoding"),
    _corruption("jpeg 20", "encoding"),
)
_UNTOUCHED = Probe(ORIGINAL, "as it is", "", copy_of)


def run(
    classifier: PneumoniaClassifier, picture: Radiograph, probes: Sequence[Probe] = PROBES
) -> list[Probed]:
    """Asks a classifier about a picture as it is and under each probe, in one batch.

    Args:
        classifier: whose answers.
        picture: of any size.
        probes: which.

    Returns:
        One entry for the untouched copy, whose probe is named ``original``, then one a probe, in
        their order.
    """
    copy = copy_of(picture)
    asked = (_UNTOUCHED, *probes)
    altered = [probe.apply(copy) for probe in asked]
    answers = classifier.probabilities(classifier.prepare(altered))
    unsure = (
        any(probe.name in (LUNGS_HIDDEN, LUNGS_ONLY) for probe in probes)
        and not lungs.find(copy).found
    )
    note = "The lungs could not be made out; an average outline was used."
    return [
        Probed(
            probe,
            image,
            float(answer),
            float(answer - answers[0]),
            note if unsure and probe.name in (LUNGS_HIDDEN, LUNGS_ONLY) else "",
        )
        for probe, image, answer in zip(asked, altered, answers, strict=True)
    ]


def occlusion(
    classifier: PneumoniaClassifier,
    picture: Radiograph,
    window: int = 32,
    stride: int = 24,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Covers one patch after the other with the picture's mean grey and sees how far the
    probability by the plain view falls (Zeiler and Fergus, ECCV 2014).

    Args:
        classifier: whose answers.
        picture: of any size; patches are laid on its 224 x 224 copy.
        window: side of a patch in pixels of the copy, 1 to 224.
        stride: from one patch to the next, 1 to ``window``, so that none of the picture is passed
            over; the last row and column lie at the edge.
        progress: called with patches done and patches in all, once a batch.

    Returns:
        float32 ``(rows, cols)``, -1 to 1, top left first: the probability of PNEUMONIA as it is
        minus that with the patch covered. Positive where the picture speaks for pneumonia.

    Raises:
        ValueError: window or stride is outside its range.
    """
    copy = copy_of(picture).pixels
    corners = patch_corners(window, stride)
    grey = np.uint8(round(float(copy.mean())))
    whole = float(classifier.plain_probabilities(copy[np.newaxis])[0])
    falls: list[float] = []
    for begin in range(0, len(corners), _BATCH):
        patched = []
        for top, left in corners[begin : begin + _BATCH]:
            covered = copy.copy()
            covered[top : top + window, left : left + window] = grey
            patched.append(covered)
        answers = classifier.plain_probabilities(np.stack(patched))
        falls += [whole - float(value) for value in answers]
        if progress is not None:
            progress(len(falls), len(corners))
    rows = len({top for top, _ in corners})
    return np.array(falls, np.float32).reshape(rows, -1)


def patch_corners(window: int = 32, stride: int = 24) -> list[tuple[int, int]]:
    """Where :func:`occlusion` lays its patches: top and left of each in pixels of the copy, row
    after row.

    Raises:
        ValueError: window or stride is outside its range.
    """
    side = radiograph.COPY_SIZE[0]
    if not (1 <= window <= side and 1 <= stride <= window):
        raise ValueError(
            f"Expected 1 <= stride <= window <= {side}, got stride {stride} and window {window}."
        )
    starts = _starts(side, window, stride)
    return [(top, left) for top in starts for left in starts]


def _starts(side: int, window: int, stride: int) -> list[int]:
    starts = list(range(0, side - window + 1, stride))
    return starts if starts[-1] == side - window else [*starts, side - window]


def _soft(mask: np.ndarray) -> np.ndarray:
    # Grown by 2.5 deviations, where a blurred edge still covers 99.4%: the mask itself is hidden
    # and the edge lies outside it.
    deviation = SOFTNESS * min(mask.shape)
    reach = max(1, round(2.5 * deviation))
    grown = Image.fromarray(
        np.where(_grow_mask(_grow_mask(mask, reach, 0), reach, 1), 255, 0).astype(np.uint8)
    )
    return np.asarray(grown.filter(ImageFilter.GaussianBlur(deviation)), np.float32) / 255


def _grow_mask(mask: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """True wherever the mask is within ``reach`` pixels along an axis: twice that is Pillow's
    MaxFilter, in a thirtieth of its time.
    """
    before = np.insert(np.cumsum(mask, axis), 0, 0, axis)
    place, last = np.arange(mask.shape[axis]), mask.shape[axis]
    upper, lower = np.minimum(place + reach + 1, last), np.maximum(place - reach, 0)
    return before.take(upper, axis) > before.take(lower, axis)


def _cover_area(pixels: np.ndarray, cover: np.ndarray, grey: float) -> np.ndarray:
    return np.rint(pixels * (1 - cover) + grey * cover).astype(np.uint8)


def _mean(pixels: np.ndarray, mask: np.ndarray) -> float:
    return float(pixels[mask].mean()) if mask.any() else float(pixels.mean())
