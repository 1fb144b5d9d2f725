"""How often an X-ray is called unlike those that a model learned from: held-out patients as they
are and altered, the test folder, and X-rays of other origin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pneumonia import input_check, radiograph
from pneumonia.corruptions import CORRUPTIONS, TITLES
from pneumonia.familiarity import Familiarity
from pneumonia.radiograph import UnreadableImage
from train.data.chest_xray import DataError, Dataset, load
from train.data.folds import HELD_OUT, items_of
from train.files import write_atomically

ALTERED: Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "inverted": ("black and white swapped", lambda picture: 255 - picture),
    "quarter turn": ("turned by 90 degrees", np.rot90),
    "upside down": ("upside down", lambda picture: picture[::-1]),
    "half": ("left half alone", lambda picture: np.repeat(picture[:, : len(picture) // 2], 2, 1)),
    **{name: (TITLES[name], corrupt) for name, corrupt in CORRUPTIONS.items()},
}


@dataclass(frozen=True)
class Warned:
    """How many of some X-rays carry the warning.

    Attributes:
        title: what they are.
        images: how many there are.
        warned: how many of them are called unfamiliar.
    """

    title: str
    images: int
    warned: int


def measure(
    known: Familiarity,
    dataset: Dataset,
    *,
    others: Path | None = None,
    cache: Path | None = None,
    skip_corrupt: bool = False,
) -> list[Warned]:
    """Counts warnings.

    Args:
        known: of a bundle.
        dataset: whose held-out patients and test folder are asked.
        others: a folder of X-rays of other origin, of which those count that pass the input check.
        cache: folder for decoded images.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        DataError: images are missing or damaged, or ``others`` holds none.
    """
    found = []
    held_out, test = (
        load(items_of(dataset, split), radiograph.COPY_SIZE, cache=cache, skip_corrupt=skip_corrupt)
        for split in (HELD_OUT, "test")
    )
    stacks = {"held-out patients": held_out[0], "test folder": test[0]}
    if others:
        stacks["X-rays of other origin"] = foreign(others)
    for title, pictures in stacks.items():
        found.append(Warned(title, len(pictures), int(known.unfamiliar(pictures).sum())))
    for title, alter in tqdm(ALTERED.values(), "alterations", mininterval=0.5):
        altered = np.stack([np.ascontiguousarray(alter(picture)) for picture in held_out[0]])
        found.append(
            Warned(f"held-out, {title}", len(altered), int(known.unfamiliar(altered).sum()))
        )
    return found


def foreign(folder: Path) -> np.ndarray:
    """The readable pictures of a folder that pass the input check: uint8 ``(N, 224, 224)``.

    Raises:
        DataError: there are none.
    """
    pictures = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            picture = radiograph.read(file)
        except UnreadableImage:
            continue
        if not input_check.examine(picture).sentences:
            pictures.append(picture.copy)
    if not pictures:
        raise DataError(f"{folder} holds no picture that looks like a frontal chest X-ray.")
    return np.stack(pictures)


def write(found: list[Warned], file: Path) -> None:
    """Keeps the counts as JSON."""
    text = json.dumps([asdict(warned) for warned in found], indent=1) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def read(file: Path) -> list[Warned]:
    """What :func:`write` kept."""
    return [Warned(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
