"""The lungs of one child in the body of another: what lies around the lungs then says nothing of the class.

Hidden lungs hardly lower the AUC of a network that learned from pictures as they are, for framing, exposure and what lies beside the lungs differ between the
train folder's classes too. Mixing foreground and background at random makes the two independent in what is learned from (Xiao et al., "Noise or Signal: The
Role of Image Backgrounds in Object Recognition", ICLR 2021; Chang et al., "Towards Robust Classification Model by Counterfactual and Invariant Data
Generation", CVPR 2021). Here the foreground is the two lung fields of :mod:`pneumonia.lungs`, moved, stretched and turned to where the other child's lie.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pneumonia import lungs
from train.run_folder import write_atomically

# How far the edge of a graft reaches, in the frame's unit: half a lung pair is 1 wide.
_EDGE = 0.1
# A body's lungs may lie nearer to the middle than a graft's to the edge; beyond a picture's edge stands what is at it.
_BEYOND = 0.5


@dataclass(frozen=True, eq=False)
class Grafts:
    """What is needed to lay lungs into another body, of N training images.

    Attributes:
        labels: ``(N,)``, 0 and 1.
        poses: float64 ``(N, 5)``, see :class:`pneumonia.lungs.Fit`.
        found: bool ``(N,)``, whether the lungs were made out; where not, an image neither gives nor takes.
        masks: uint8 ``(N, H, W)``, 255 in the lungs, falling to 0 outside.
    """

    labels: np.ndarray
    poses: np.ndarray
    found: np.ndarray
    masks: np.ndarray

    def apply(self, images: np.ndarray, chosen: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """Lays the lungs of some of the chosen images into bodies of others; the class of a body is drawn by a coin, so that it says nothing.

        Args:
            images: uint8 ``(N, H, W)``, all of them.
            chosen: positions ``(n,)``, whose lungs are kept and whose labels stay true.
            share: chance for each, 0 to 1.
            rng: every draw comes from it.

        Returns:
            uint8 ``(n, H, W)``.
        """
        batch = images[chosen]
        bodies = [np.flatnonzero(self.found & (self.labels == label)) for label in (0, 1)]
        # Drawn for each whether used or not, so that another share leaves all other draws as they were.
        chances, sides, places = rng.random(len(chosen)), rng.integers(0, 2, len(chosen)), rng.random(len(chosen))
        for row, position in enumerate(chosen):
            pool = bodies[sides[row]]
            if chances[row] < share and self.found[position] and len(pool):
                body = pool[int(places[row] * len(pool))]
                batch[row] = graft(images[position], images[body], self.poses[position], self.poses[body], self.masks[body])
        return batch


def prepare(images: np.ndarray, labels: np.ndarray, *, cache: Path | None = None) -> Grafts:
    """Finds the lungs of every image.

    Args:
        images: uint8 ``(N, H, W)``.
        labels: ``(N,)``, 0 and 1.
        cache: folder in which the answer is kept, or None.
    """
    key = hashlib.sha256(images.tobytes() + lungs.MODEL.read_bytes()).hexdigest()[:16]
    stored = cache / f"grafts-{key}.npz" if cache else None
    if stored is None or not stored.is_file():
        fits = [lungs.fit(image) for image in tqdm(images, "lungs", unit="image", mininterval=0.5)]
        masks = np.stack([_soft(fit.distance, image.shape) for fit, image in zip(fits, images, strict=True)])
        made = Grafts(labels, np.stack([fit.pose for fit in fits]), np.array([fit.found for fit in fits]), masks)
        if stored is None:
            return made
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(stored, partial(np.savez, poses=made.poses, found=made.found, masks=made.masks))
    with np.load(stored) as archive:
        return Grafts(labels, archive["poses"], archive["found"], archive["masks"])


def graft(source: np.ndarray, body: np.ndarray, source_pose: np.ndarray, body_pose: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lays the lungs of one picture into another.

    Grey values are those that the source's would be in the body's exposure: mean and deviation of what lies around the lungs are made the body's, so a lung
    stays as much darker than its chest as it was.

    Args:
        source: uint8 ``(H, W)``, whose lungs.
        body: uint8 ``(H, W)``, whose everything else.
        source_pose, body_pose: ``(5,)`` of :class:`pneumonia.lungs.Fit`.
        mask: uint8 ``(H, W)``, of the body's lungs.

    Returns:
        uint8 ``(H, W)``.
    """
    height, width = body.shape
    across, down = int(_BEYOND * width), int(_BEYOND * height)
    wide = np.pad(source, ((down, down), (across, across)), mode="edge")
    turn = _axes(source_pose) @ np.linalg.inv(_axes(body_pose))
    shift = source_pose[:2] - turn @ body_pose[:2]
    # In pixels; x of one picture counts in widths and y in heights, whatever these are.
    matrix = (turn[0, 0], turn[0, 1] * width / height, shift[0] * width + across, turn[1, 0] * height / width, turn[1, 1], shift[1] * height + down)
    moved = np.asarray(Image.fromarray(wide).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR), np.float32)
    share = mask.astype(np.float32) / 255
    outside = mask == 0
    if not outside.any():
        return body
    here, there = body[outside].astype(np.float32), moved[outside]
    gain = np.clip(here.std() / max(float(there.std()), 1.0), 0.5, 2.0)
    levelled = here.mean() + gain * (moved - there.mean())
    return np.rint(np.clip(share * levelled + (1 - share) * body, 0, 255)).astype(np.uint8)


def _axes(pose: np.ndarray) -> np.ndarray:
    """The frame's unit across and down, as columns, in shares of the picture's sides."""
    wide, high = np.exp(pose[2:4])
    cosine, sine = np.cos(pose[4]), np.sin(pose[4])
    return np.array([[cosine * wide, -sine * high], [sine * wide, cosine * high]])


def _soft(distance: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    inside = np.clip((distance + lungs.MARGIN) / _EDGE + 0.5, 0, 1) * 255
    return np.asarray(Image.fromarray(np.rint(inside).astype(np.uint8)).resize((size[1], size[0]), Image.Resampling.BILINEAR))
