"""How wide, high and large the lungs of each training image lie in its picture.

The published files were squeezed square, each by as much as its own picture was wide. In the train
folder the pictures of ill children were wider, so their lungs look taller: the outline's width over
height alone tells the classes apart (``python -m train data`` says how far). Nothing of that is in
a lung.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pneumonia import lungs
from train.files import write_atomically

FRAMING = ("lungs' width over height", "lungs' size")


def poses(images: np.ndarray, *, cache: Path | None = None) -> np.ndarray:
    """Where the lungs lie in each picture.

    Args:
        images: uint8 ``(N, H, W)``.
        cache: folder in which the answer is kept, for thousands take some seconds; or None.

    Returns:
        float64 ``(N, 5)``, as :func:`pneumonia.lungs.place` gives it.
    """
    key = hashlib.sha256(images.tobytes() + lungs.MODEL.read_bytes()).hexdigest()[:16]
    stored = cache / f"lung-poses-{key}.npy" if cache else None
    if stored and stored.is_file():
        return np.load(stored)
    found = np.array(
        [
            lungs.place(image)
            for image in tqdm(images, "lungs' outlines", unit="image", mininterval=0.5)
        ]
    )
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(stored, partial(_save, array=found))
    return found


def lung_frames(images: np.ndarray, *, cache: Path | None = None) -> np.ndarray:
    """How the lungs are framed in each picture; the arguments are those of :func:`poses`.

    Returns:
        float64 ``(N, 2)``, in the order of :data:`FRAMING`: log of width over height, and half the
        log of width times height, sides as shares of the picture's.
    """
    found = poses(images, cache=cache)
    return np.stack([found[:, 2] - found[:, 3], (found[:, 2] + found[:, 3]) / 2], axis=1)


def _save(path: Path, array: np.ndarray) -> None:
    np.save(path, array)
