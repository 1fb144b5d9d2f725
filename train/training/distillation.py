"""A teacher's answers for views of the training images, made once and learned from by any number of
smaller networks.

Hinton et al. (2015): a teacher's answer says more than a label, above all of a view that shows half
a lung. Beyer et al. (CVPR 2022): it helps only where the teacher has seen the very view the student
sees; so the views are drawn first, kept, and both are shown the same. But for letters and shut
margins: these are laid over a view once the teacher has answered.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import PneumoniaClassifier
from train.augmentation.policy import Policy
from train.data import folds
from train.data.chest_xray import Dataset, load
from train.files import write_atomically
from train.training import network
from train.training.run_folder import RunError

_FACTS = "pool.json"


@dataclass(frozen=True, eq=False)
class Pool:
    """Views of N training images with a teacher's answers.

    Attributes:
        views: uint8 ``(V, N, H, W)``.
        answers: float32 ``(V, N)``, the teacher's probability of PNEUMONIA for each view.
        files: the N images, as :attr:`train.data.chest_xray.Item.relative` names them.
        fingerprint: sha256 over the answers.
        facts: how it came about: ``teacher`` (sha256 of its weights), ``views`` of each image, the
            ``policy`` they were drawn by, and the ``precision`` it answered in.
    """

    views: list[np.ndarray]
    answers: np.ndarray
    files: list[str]
    fingerprint: str
    facts: dict[str, Any]

    def draw(
        self, chosen: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random view of each chosen image, mirrored half of the time: uint8 ``(n, height,
        width)`` and float32 ``(n,)`` answers.
        """
        which = rng.integers(len(self.views), size=len(chosen))
        mirrored = rng.random(len(chosen)) < 0.5
        views = _resized(
            np.stack(
                [self.views[view][position] for view, position in zip(which, chosen, strict=True)]
            ),
            size,
        )
        return (
            np.stack(
                [
                    view[:, ::-1] if flip else view
                    for view, flip in zip(views, mirrored, strict=True)
                ]
            ),
            self.answers[which, chosen],
        )


def make(
    teacher: Path,
    dataset: Dataset,
    out: Path,
    *,
    policy: Policy,
    views: int,
    size: tuple[int, int],
    seed: int = 0,
    precision: str = "float32",
    skip_corrupt: bool = False,
) -> None:
    """Draws views of every image of the ``fitted`` side and has the teacher answer for each.

    A view's file is written when it is whole, so a killed run goes on with the next.

    Args:
        teacher: the bundle's folder. A network that ends in a pool over whatever it is given is
            shown the views as they are, the rest get them resized.
        dataset: the data.
        out: the pool's folder, made if need be.
        policy: how views are drawn; mirroring is left to the student. The teacher answers before
            letters are burnt in and margins shut out, for it may mind them itself: what a student
            sees marked, it learns to answer as if it were not.
        views: how many of each image.
        size: ``(height, width)`` of the views kept.
        seed: of the draws.
        precision: in which the teacher answers.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        RunError: the folder holds another pool.
        DataError: images are missing or damaged.
    """
    classifier = PneumoniaClassifier.from_pretrained(teacher)
    cache = out.parent / "cache"
    images, _, items = load(
        folds.items_of(dataset, folds.FITTED),
        classifier.spec.input_size,
        cache=cache,
        skip_corrupt=skip_corrupt,
    )
    facts = {
        "teacher": classifier.spec.weights_sha256,
        "data": dataset.fingerprint,
        "policy": asdict(policy),
        "size": list(size),
        "seed": seed,
        "precision": precision,
        "files": [item.relative for item in items],
    }
    out.mkdir(parents=True, exist_ok=True)
    if (out / _FACTS).is_file():
        if json.loads((out / _FACTS).read_text()) != facts:
            raise RunError(
                f"{out} holds the views of another teacher, policy or data; give another --out."
            )
    else:
        write_atomically(out / _FACTS, lambda path: path.write_text(json.dumps(facts) + "\n"))
    asked_at = (
        classifier.spec.input_size
        if any(isinstance(layer, keras.layers.Flatten) for layer in classifier.model.layers)
        else size
    )
    with network.policy(precision):
        twin = CATALOGUE[classifier.spec.variant].build(asked_at)
    twin.set_weights(classifier.model.get_weights())
    answer = network.compiled(twin)
    unmarked = replace(policy, letters=0.0, collimate=0.0)
    batch = 64
    with tqdm(total=views * len(items), desc="views", unit="view", mininterval=0.5) as bar:
        for view in range(views):
            file = out / f"view-{view:03d}.npz"
            if file.is_file():
                bar.update(len(items))
                continue
            drawn, answers = [], []
            for start in range(0, len(items), batch):
                rng = np.random.default_rng([seed, view, start])
                part = unmarked.apply(images[start : start + batch], size, rng)
                answers.append(answer(radiograph.to_input(_resized(part, asked_at))))
                drawn.append(policy.marked(part, rng))
                bar.update(len(part))
            write_atomically(
                file,
                partial(
                    np.savez,
                    views=np.concatenate(drawn),
                    answers=np.concatenate(answers).astype(np.float32),
                ),
            )


def read(folder: Path) -> Pool:
    """What :func:`make` wrote.

    Raises:
        RunError: there is no pool in that folder.
    """
    files = sorted(folder.glob("view-*.npz"))
    if not files or not (folder / _FACTS).is_file():
        raise RunError(
            f"{folder} holds no views with a teacher's answers; make them with python -m train"
            " distil."
        )
    views, answers = [], []
    for file in files:
        with np.load(file) as archive:
            views.append(archive["views"])
            answers.append(archive["answers"])
    said = np.stack(answers)
    facts = json.loads((folder / _FACTS).read_text())
    told = {
        "teacher": facts["teacher"],
        "views": len(files),
        "policy": facts["policy"],
        "precision": facts["precision"],
    }
    return Pool(views, said, facts["files"], hashlib.sha256(said.tobytes()).hexdigest(), told)


def _resized(views: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if views.shape[1:] == size:
        return views
    return np.stack(
        [
            np.asarray(Image.fromarray(view).resize((size[1], size[0]), Image.Resampling.BILINEAR))
            for view in views
        ]
    )
