"""Whether an X-ray is laid out like those that a model learned from.

A picture of 16 by 16 pixels, freed of brightness and contrast, shows how a chest fills its frame:
shoulders, arms, neck, heart, belly, border. Its Mahalanobis distance from the training images', on
their first principal components, tells adults, turned and inverted pictures and parts of a chest
(Lee et al., NeurIPS 2018, measure features of the network instead; on adults of other hospitals
that told a fifth of what this tells, see docs/methods.md). What the components leave out counts as
one more direction: a picture may be strange where no training image varies.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

UNFAMILIAR = (
    "This X-ray is unlike those the model learned from (children of one hospital), so its answer is"
    " less certain than it looks."
)
SIDE = 16
# What the components leave out counts as much as a quarter of them.
_REST = 0.25
_LARGEST = 4_000_000


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Where the thumbnails of a model's training images lie, C being ``SIDE * SIDE``.

    Attributes:
        mean: float ``(C,)``, their mean.
        components: float ``(K, C)``, orthonormal directions in which they vary most.
        scale: float ``(K,)``, their standard deviation along each; above 0.
        rest: the root mean square of what the components leave out; above 0.
        threshold: the distance that 98% of held-out patients' X-rays do not pass.

    Raises:
        ValueError: the arrays do not fit each other.
    """

    mean: np.ndarray
    components: np.ndarray
    scale: np.ndarray
    rest: float
    threshold: float

    def __post_init__(self) -> None:
        count, width = self.components.shape if self.components.ndim == 2 else (0, 0)
        whole = all(
            np.isfinite(part).all()
            for part in (self.mean, self.components, self.scale, self.rest, self.threshold)
        )
        if (
            not count
            or width != SIDE * SIDE
            or self.mean.shape != (width,)
            or self.scale.shape != (count,)
            or not whole
            or min(float(self.scale.min()), self.rest, self.threshold) <= 0
        ):
            raise ValueError("its arrays do not fit each other, or are no finite numbers above 0")

    def distances(self, prepared: np.ndarray) -> np.ndarray:
        """How far pictures, uint8 ``(N, 224, 224)``, lie from the training images: float64
        ``(N,)``.
        """
        away = thumbnails(prepared) - self.mean
        along = away @ self.components.T.astype(np.float64)
        left = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        share = _REST * len(self.scale)
        return np.sqrt(((along / self.scale) ** 2).sum(axis=1) + share * left / self.rest**2)

    def unfamiliar(self, prepared: np.ndarray) -> np.ndarray:
        """Bool ``(N,)``: whether pictures, uint8 ``(N, 224, 224)``, lie beyond the threshold."""
        return self.distances(prepared) > self.threshold

    def save(self, file: Path) -> None:
        """Writes it, components as float16."""
        np.savez_compressed(
            file,
            mean=self.mean.astype(np.float32),
            components=self.components.astype(np.float16),
            scale=self.scale.astype(np.float32),
            rest=np.float64(self.rest),
            threshold=np.float64(self.threshold),
        )


def thumbnails(prepared: np.ndarray) -> np.ndarray:
    """Pictures, uint8 ``(N, 224, 224)``, as float64 ``(N, SIDE * SIDE)`` of mean 0 and standard
    deviation 1.
    """
    small = np.array(
        [
            Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX)
            for picture in prepared
        ]
    )
    flat = small.reshape(len(prepared), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(flat.std(axis=1, keepdims=True), 1.0)


def fit(
    learned: np.ndarray, held_out: np.ndarray, *, components: int = 16, share: float = 0.98
) -> Familiarity:
    """Learns it.

    Args:
        learned: uint8 ``(N, 224, 224)``, what the network learned from.
        held_out: uint8 ``(M, 224, 224)``, of other patients.
        components: how many directions; fewer where there are not so many images.
        share: of the held-out images that are to pass.

    Raises:
        ValueError: the images are too few, or all the same.
    """
    known = thumbnails(learned)
    mean = known.mean(axis=0)
    _, spread, directions = np.linalg.svd(known - mean, full_matrices=False)
    count = min(components, len(known) - 2)
    # Rounded as the file will have them, so that the threshold is that of what is read back.
    chosen = directions[:count].astype(np.float16)
    left = ((known - mean) ** 2).sum(axis=1) - (((known - mean) @ chosen.T) ** 2).sum(axis=1)
    found = Familiarity(
        mean.astype(np.float32),
        chosen,
        (spread[:count] / np.sqrt(len(known))).astype(np.float32),
        float(np.sqrt(np.maximum(left, 0).mean())),
        threshold=1.0,
    )
    return replace(
        found, threshold=float(np.quantile(found.distances(held_out), share, method="higher"))
    )


def read(file: Path) -> Familiarity:
    """What :meth:`Familiarity.save` wrote.

    Raises:
        ValueError: the file is damaged, or something else.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST:
                raise ValueError("it is too large")
        with np.load(file, allow_pickle=False) as kept:
            return Familiarity(
                kept["mean"],
                kept["components"],
                kept["scale"],
                float(kept["rest"]),
                float(kept["threshold"]),
            )
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file.name} is damaged: {error}.") from error
