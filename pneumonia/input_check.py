"""Is it a frontal chest X-ray at all? A picture that is none gets its reasons, one plain sentence
each; what to do about it is left to the caller.

A classifier of chest X-rays answers NORMAL or PNEUMONIA to a cat, too. So before it is asked, a
picture is examined: what the file says of itself, its colour, and the score of a small logistic
model on hand-made measurements (:func:`measure`), most of them distances from the average chest of
the train folder and from its principal components (the idea of Turk and Pentland's eigenfaces,
1991, by which they told faces from other pictures). ``python -m tools.input_check`` fits it and
writes how often it is right to ``assets/results/input_check.json``.

It cannot tell an adult from a child, a mirrored film from its original, a film of another day's
patient, or a good film from a bad one, and it has seen few films of other parts of the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from pneumonia import radiograph
from pneumonia.radiograph import Facts, Radiograph, Source
from pneumonia.threads import one_blas_thread

PARAMETERS = Path(__file__).with_name("input_check.npz")
# The side of the reduced picture that is compared with the average chest, and how many pixels of
# the copy one of its pixels averages.
SIDE = 32
_BLOCK = radiograph.COPY_SIZE[0] // SIDE

# Below this side, in pixels, the smallest network would have to invent detail.
MIN_SIDE = 100
# A share of coloured pixels that no annotation reaches; and a range of grey values, of 255, that no
# exposed film falls short of.
MAX_COLOURED = 0.08
MIN_RANGE = 12

# DICOM's own lists (PS3.3 C.7.3.1.1.1 and PS3.16 annex L), as far as the word decides: what is in
# neither list is judged by its pixels.
_OTHER_MODALITIES = {
    *(
        "CT",
        "MR",
        "US",
        "NM",
        "PT",
        "MG",
        "BMD",
        "BDUS",
        "IVUS",
        "OCT",
        "OP",
        "OPT",
        "OPM",
        "ES",
        "XC",
        "GM",
        "SM",
        "IO",
        "PX",
        "ECG",
        "TG",
        "LS",
    ),
    *("RTIMAGE", "RTDOSE", "SEG", "DOC"),
}
_OTHER_PARTS = {
    *(
        "ABDOMEN",
        "ABDOMENPELVIS",
        "ANKLE",
        "ARM",
        "BRAIN",
        "BREAST",
        "CALCANEUS",
        "CALF",
        "CSPINE",
        "ELBOW",
        "EXTREMITY",
        "FEMUR",
        "FINGER",
        "FOOT",
        "FOREARM",
    ),
    *(
        "HAND",
        "HEAD",
        "HEADNECK",
        "HIP",
        "HUMERUS",
        "JAW",
        "KIDNEY",
        "KNEE",
        "LEG",
        "LIVER",
        "LOWERLEG",
        "LSPINE",
        "MANDIBLE",
        "NECK",
        "ORBIT",
        "PATELLA",
    ),
    *(
        "PELVIS",
        "SHOULDER",
        "SINUS",
        "SKULL",
        "SPINE",
        "SSPINE",
        "TEETH",
        "THIGH",
        "THUMB",
        "TIBIA",
        "TIBIAFIBULA",
        "TOE",
        "UPPERARM",
        "WHOLEBODY",
        "WRIST",
    ),
}
_LATERAL_VIEWS = {"LL", "RL", "LATERAL", "LLD", "RLD", "LAT", "XTABLE LAT"}

_SENTENCES = {
    "small": (
        "It has {found} pixels, too few to see the lungs; send the original, at least {least} a"
        " side."
    ),
    "modality": "Its file says that it is no X-ray of this kind (modality {found}).",
    "body part": "Its file says that it shows another part of the body ({found}).",
    "lateral": (
        "Its file says that it is a side view ({found}); a view from the front or back is expected."
    ),
    "colour": (
        "It is in colour, and an X-ray is grey; crop a photo of a film or of a screen to the film."
    ),
    "blank": "It is blank: hardly any difference between its brightest and its darkest parts.",
    "inverted": (
        "Its black and white are swapped: on a chest X-ray, bones are bright and the lungs dark."
    ),
    "turned": "It lies on its side or on its head; turn it upright.",
    "pair": "There seem to be two pictures side by side; send one of them.",
    "screenshot": (
        "It looks like text, a screenshot or a drawing; if it is a photo of a screen, crop it to"
        " the film."
    ),
    "narrow": (
        "It uses a few of 256 grey levels, the others were lost on its way here; export it again"
        " from where it was taken."
    ),
    "other": (
        "It does not look like a chest X-ray from the front: another part of the body, a side view,"
        " another kind of scan, or a photograph; crop a photo of a film or of a screen to the film."
    ),
}


@dataclass(frozen=True)
class Reason:
    """Why a picture is no frontal chest X-ray.

    Attributes:
        code: ``small``, ``modality``, ``body part``, ``lateral``, ``colour``, ``blank``,
            ``inverted``, ``turned``, ``pair``, ``screenshot``, ``narrow`` or ``other``.
        sentence: the same for a person, one plain sentence.
    """

    code: str
    sentence: str


@dataclass(frozen=True)
class InputCheck:
    """What the input check says of one picture.

    Attributes:
        score: log-odds of being a frontal chest X-ray, by its grey values alone; 0 is the border,
            chosen so that hardly any X-ray is refused.
        rejection_reasons: why it is refused, the plainest first; empty where it passed.
    """

    score: float
    rejection_reasons: tuple[Reason, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.rejection_reasons

    @property
    def sentences(self) -> tuple[str, ...]:
        """The reasons for a person."""
        return tuple(reason.sentence for reason in self.rejection_reasons)


def examine(source: Source) -> InputCheck:
    """Says whether a picture is a frontal chest X-ray, and if not, why.

    Args:
        source: anything :func:`pneumonia.radiograph.read` takes. Hand over the file rather than an
            array where there is one: DICOM says what it shows.

    Raises:
        UnreadableImage, FileNotFoundError: as :func:`pneumonia.radiograph.read`.
    """
    return radiograph.read(source).once(_run_checks)


@one_blas_thread()
def _run_checks(picture: Radiograph) -> InputCheck:
    reasons = _check_facts(picture.facts)
    if picture.facts.coloured > MAX_COLOURED:
        reasons.append(_reason("colour"))
    if min(picture.size) < MIN_SIDE:
        reasons.append(
            _reason("small", found=f"{picture.size[1]}x{picture.size[0]}", least=MIN_SIDE)
        )
    if picture.facts.narrow:
        reasons.append(_reason("narrow"))
    copy = picture.copy
    score = float(scores(copy[np.newaxis])[0])
    if np.ptp(np.percentile(copy, (1, 99))) < MIN_RANGE:
        reasons.append(_reason("blank"))
    elif score < 0 and not reasons:
        reasons.append(_reason(_explain_score(picture, copy)))
    return InputCheck(score, tuple(reasons))


def measure(copies: np.ndarray, fitted: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """The measurements a score is made of; see the lines for what each is.

    Args:
        copies: uint8 ``(N, 224, 224)``, as :func:`pneumonia.radiograph.resize` makes them at
            ``COPY_SIZE``.
        fitted: ``atlas``, ``components`` and ``spread`` to measure by; those of :func:`parameters`
            where None.

    Returns:
        float64 ``(N, M)``, about -5 to 5 each for a picture with any content.
    """
    used = parameters() if fitted is None else fitted
    return np.stack([_measure_features(copy, used) for copy in copies])


def equalise(copy: np.ndarray) -> np.ndarray:
    """A picture reduced to 32 x 32 and ranked: float64 ``(1024,)`` of mean 0 and standard deviation
    1, the same under any change of exposure or contrast.

    Equal pixels share their middle rank. A constant picture is all 0.
    """
    sums = (
        copy.reshape(SIDE, _BLOCK, -1)
        .sum(axis=1, dtype=np.intp)
        .reshape(SIDE, SIDE, _BLOCK)
        .sum(axis=2)
    )
    reduced = (sums.ravel() + _BLOCK**2 // 2) // _BLOCK**2
    counts = np.bincount(reduced, minlength=256)
    ranks = (np.cumsum(counts) - counts / 2)[reduced]
    spread = ranks.std()
    return (ranks - ranks.mean()) / spread if spread > 0 else np.zeros(ranks.shape)


def scores(copies: np.ndarray) -> np.ndarray:
    """Log-odds of being a frontal chest X-ray for uint8 ``(N, 224, 224)``, float64 ``(N,)``; below
    0 is refused.
    """
    return terms(measure(copies), parameters()) @ parameters()["weights"] + parameters()["bias"]


def terms(measured: np.ndarray, fitted: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the logistic model weighs, float64 ``(N, 2M)``: measurements in standard deviations from
    ``centre``, held within 6, and their squares.
    """
    standard = np.clip((measured - fitted["centre"]) / fitted["scale"], -6, 6)
    return np.hstack([standard, standard**2])


@cache
def parameters() -> dict[str, np.ndarray]:
    """What ``python -m tools.input_check`` fitted: ``atlas`` (1024,), ``components`` (K, 1024),
    ``spread`` (K,), and of the M measurements ``centre``, ``scale``.

    Beside these ``weights`` (2M,) for the measurements and their squares, and ``bias``; all
    float64.
    """
    with np.load(PARAMETERS) as archive:
        return {name: archive[name].astype(np.float64) for name in archive.files}


def _measure_features(copy: np.ndarray, fitted: Mapping[str, np.ndarray]) -> np.ndarray:
    ranked = equalise(copy)
    image = ranked.reshape(SIDE, SIDE)
    coordinates = fitted["components"] @ (ranked - fitted["atlas"])
    rest = ranked - fitted["atlas"] - coordinates @ fitted["components"]
    atlas = fitted["atlas"] / np.linalg.norm(fitted["atlas"])
    length = max(float(np.linalg.norm(ranked)), 1e-9)

    grey = copy.astype(np.float32) - np.float32(copy.mean())
    contrast = max(float(grey.std()), 1.0)
    down, across = np.abs(np.diff(grey, axis=0)[:, :-1]), np.abs(np.diff(grey, axis=1)[:-1])
    steps = np.sqrt(down**2 + across**2)
    edges = steps > 0.25 * contrast
    # Averaged over blocks of 2, 4, 8 and 16 pixels: the power that each halving of resolution takes
    # away is the detail of that scale.
    powers, scale = [float((grey**2).mean())], grey
    for _ in range(4):
        scale = (scale[::2, ::2] + scale[1::2, ::2] + scale[::2, 1::2] + scale[1::2, 1::2]) / 4
        powers.append(float((scale**2).mean()))
    detail = [
        np.log(np.sqrt(max(0.0, fine - coarse)) / contrast + 1e-3)
        for fine, coarse in pairwise(powers)
    ]
    counts = np.bincount(copy.ravel(), minlength=256) / copy.size
    values = [
        # How far from any mixture of principal components, and how unusual the mixture is.
        np.log(np.sqrt((rest**2).mean()) + 1e-3),
        np.log((coordinates**2 / fitted["spread"] ** 2).mean() + 1e-3),
        # Likeness, -1 to 1: to the average chest, to itself mirrored left to right and top to
        # bottom, of its columns and rows to the average's.
        float(ranked @ atlas) / length,
        _likeness(image, image[:, ::-1]),
        _likeness(image, image[::-1]),
        _likeness(image.mean(axis=0), fitted["atlas"].reshape(SIDE, SIDE).mean(axis=0)),
        _likeness(image.mean(axis=1), fitted["atlas"].reshape(SIDE, SIDE).mean(axis=1)),
        _likeness(image[8:24], fitted["atlas"].reshape(SIDE, SIDE)[8:24]),
        # Detail from fine to coarse, and how it falls off.
        *detail,
        detail[0] - detail[2],
        # Flat areas, sharp edges, edges along rows and columns as print and windows have them.
        float((steps < 0.5).mean()),
        np.log(edges.mean() + 1e-3),
        (
            float((np.minimum(down, across)[edges] < 0.15 * steps[edges]).mean())
            if edges.any()
            else 0.0
        ),
        # The histogram: its commonest value, how many it has, its entropy in bits, its darkest and
        # brightest ends.
        np.log(counts.max()),
        np.log((counts > 0).mean()),
        float(-(counts[counts > 0] * np.log2(counts[counts > 0])).sum()),
        np.log(counts[:8].sum() + 1e-3),
        np.log(counts[248:].sum() + 1e-3),
    ]
    return np.array(values)


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / max(float(np.sqrt((one**2).sum() * (other**2).sum())), 1e-9))


def _check_facts(facts: Facts) -> list[Reason]:
    reasons = []
    if facts.modality in _OTHER_MODALITIES:
        reasons.append(_reason("modality", found=facts.modality))
    if facts.body_part and facts.body_part.replace(" ", "").replace("_", "") in _OTHER_PARTS:
        reasons.append(_reason("body part", found=facts.body_part))
    if facts.view in _LATERAL_VIEWS:
        reasons.append(_reason("lateral", found=facts.view))
    return reasons


def _explain_score(picture: Radiograph, copy: np.ndarray) -> str:
    """Why grey values of a low score are refused: by what would have to be undone for them to pass,
    else by their edges.
    """
    width = picture.size[1]
    halves = [
        Radiograph(np.ascontiguousarray(half), "half")
        for half in (picture.pixels[:, : width // 2], picture.pixels[:, width // 2 :])
    ]
    undone = np.stack(
        [
            255 - copy,
            *(np.rot90(copy, turns) for turns in (1, 2, 3)),
            *(radiograph.resize(half, radiograph.COPY_SIZE) for half in halves),
        ]
    )
    inverse, left, upside_down, right, first, second = scores(undone)
    if max(left, upside_down, right, inverse) > 0:
        return "inverted" if inverse >= max(left, upside_down, right) else "turned"
    if min(first, second) > 0:
        return "pair"
    return "screenshot" if _is_drawn(copy) else "other"


def _is_drawn(copy: np.ndarray) -> bool:
    # Print, windows and drawings are flat between sharp edges; film, skin and sky have grain
    # everywhere but in black, where a scan has none either.
    grey = copy.astype(np.int16)
    steps = np.maximum(np.abs(np.diff(grey, axis=0))[:, :-1], np.abs(np.diff(grey, axis=1))[:-1])
    lit = steps[grey[:-1, :-1] > 16]
    return bool(lit.size and (lit <= 1).mean() > 0.45 and (lit > 40).mean() > 0.02)


def _reason(code: str, **found: object) -> Reason:
    return Reason(code, _SENTENCES[code].format(**found))
