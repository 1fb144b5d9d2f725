"""An ensemble's answers for views of the training images, made once and learned from by any number
of networks.

The mean logit of several networks is right more often than any of them (deep ensembles:
Lakshminarayanan et al., 2017), and one network can learn its answers.
Hinton et al. (2015): a teacher's answer says more than a label, above all of a view that shows half
a lung. Beyer et al. (CVPR 2022): it helps only where the teacher has seen the very view the student
sees; so the views are drawn first, kept, and both are shown the same. But for letters and shut
margins: these are laid over a view once the teacher has answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.architectures import CATALOGUE
from pneumonia.backend import keras
from pneumonia.classifier import PneumoniaClassifier, logits, sigmoid
from train.augmentation import framing
from train.augmentation.policy import Policy
from train.augmentation.reframing import Boxes, ReframedPolicy
from train.data import folds
from train.data.chest_xray import Dataset, Item, load
from train.files import write_atomically
from train.training import network
from train.training.run_folder import RunError

_FACTS = "pool.json"
# Images that a view is drawn of at once; part of what a seed stands for.
BATCH = 32
# What the ensemble behind the bundled networks said of 8 views of each image.
KEPT = Path(__file__).with_name("ensemble_answers.npz")


@dataclass(frozen=True, eq=False)
class Pool:
    """Views of N training images with a teacher's answers.

    Attributes:
        views: uint8 ``(V, N, H, W)``.
        answers: float32 ``(V, N)``, the teacher's probability of PNEUMONIA for each view.
        files: the N images, as :attr:`train.data.chest_xray.Item.relative` names them.
        fingerprint: sha256 over the answers.
        facts: how it came about: ``teachers`` (sha256 of their weights), ``views`` of each image,
            the ``policy`` they were drawn by, and the ``precision`` they answered in.
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
        views = _resize_views(
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
    teachers: Sequence[Path],
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
    """Draws views of every image of the ``fitted`` side and has the teachers answer for each; their
    mean logit is kept.

    Of several teachers each answers a view as it is or mirrored, by turns, so that both sides are
    in the mean at the cost of one. A view's file is written when it is whole, so a killed run goes
    on with the next.

    Args:
        teachers: the bundles' folders. A network that ends in a pool over whatever it is given is
            shown the views as they are, the rest get them resized.
        dataset: the data.
        out: the pool's folder, made if need be.
        policy: how views are drawn; mirroring is left to the student. A
            :class:`train.augmentation.reframing.ReframedPolicy` is told where the lungs lie. The
            teachers answer before letters are burnt in and margins shut out, for they may mind them
            themselves: what a student sees with artefacts, it learns to answer as if it were not.
        views: how many of each image.
        size: ``(height, width)`` of the views kept.
        seed: of the draws.
        precision: in which the teachers answer.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        RunError: the folder holds another pool.
        DataError: images are missing or damaged.
    """
    classifiers = [PneumoniaClassifier.from_pretrained(teacher) for teacher in teachers]
    cache = out.parent / "cache"
    images, labels, items = load(
        folds.items_of(dataset, folds.FITTED),
        classifiers[0].spec.input_size,
        cache=cache,
        skip_corrupt=skip_corrupt,
    )
    facts = {
        "teachers": [classifier.spec.weights_sha256 for classifier in classifiers],
        "data": dataset.fingerprint,
        "policy": asdict(policy),
        "size": list(size),
        "seed": seed,
        "precision": precision,
        "files": [item.relative for item in items],
    }
    out.mkdir(parents=True, exist_ok=True)
    # How many views there are to be may change on the way.
    if (out / _FACTS).is_file() and (
        json.loads((out / _FACTS).read_text()) | {"views": views} != facts | {"views": views}
    ):
        raise RunError(
            f"{out} holds the views of another teacher, policy or data; give another --out."
        )
    facts["views"] = views
    write_atomically(out / _FACTS, lambda path: path.write_text(json.dumps(facts) + "\n"))
    asked = [_compile_teacher(classifier, size, precision) for classifier in classifiers]
    others = None
    if isinstance(policy, ReframedPolicy):
        published = load(items, radiograph.COPY_SIZE, cache=cache, skip_corrupt=skip_corrupt)[0]
        others = Boxes(framing.poses(published, cache=cache)[:, :4], labels)
    with tqdm(total=views * len(items), desc="views", unit="view", mininterval=0.5) as bar:
        for view in range(views):
            file = out / f"view-{view:03d}.npz"
            if file.is_file():
                bar.update(len(items))
                continue
            drawn, answers = [], []
            for start in range(0, len(items), BATCH):
                part, shown = draw(policy, images, start, size, (seed, view), others)
                sides = assign_mirrors(len(asked), view, start, len(part))
                found = np.empty((len(asked), len(part)))
                for number, answer in enumerate(asked):
                    flip = sides[:, number, np.newaxis, np.newaxis]
                    found[number] = logits(answer(np.where(flip, part[:, :, ::-1], part)))
                answers.append(sigmoid(found.mean(axis=0)))
                drawn.append(shown)
                bar.update(len(part))
            write_atomically(
                file,
                partial(
                    np.savez,
                    views=np.concatenate(drawn),
                    answers=np.concatenate(answers).astype(np.float32),
                ),
            )


def check_kept(dataset: Dataset, kept: Path = KEPT) -> None:
    """Sees to it that the kept answers are of this data, before anything takes hours.

    Raises:
        RunError: they are of other images.
    """
    with np.load(kept) as archive:
        facts = json.loads(str(archive["facts"]))
    _check_files(kept, facts, folds.items_of(dataset, folds.FITTED))


def _check_files(kept: Path, facts: dict[str, Any], items: Sequence[Item]) -> None:
    if [item.relative for item in items] != facts["files"]:
        raise RunError(
            f"{kept.name} holds answers for other images than these; have teachers of your own"
            " answer (python -m train pipeline --teachers N)."
        )


def redraw(dataset: Dataset, out: Path, *, kept: Path = KEPT, skip_corrupt: bool = False) -> None:
    """Makes a pool of answers that were kept: its views are drawn again from their seed, and no
    teacher is asked.

    Args:
        dataset: the data the answers were given for.
        out: the pool's folder, made if need be.
        kept: answers float16 ``(V, N)`` as logits, and ``facts`` as a pool has them, in JSON.
        skip_corrupt: leave undecodable images out instead of stopping.

    Raises:
        RunError: the answers are of other images, or the folder holds another pool.
        DataError: images are missing or damaged.
    """
    with np.load(kept) as archive:
        answers, facts = archive["answers"], json.loads(str(archive["facts"]))
    facts["views"] = len(answers)
    policy, size = ReframedPolicy(**facts["policy"]), tuple(facts["size"])
    cache = out.parent / "cache"
    images, labels, items = load(
        folds.items_of(dataset, folds.FITTED),
        tuple(facts["drawn_from"]),
        cache=cache,
        skip_corrupt=skip_corrupt,
    )
    _check_files(kept, facts, items)
    if (out / _FACTS).is_file() and json.loads((out / _FACTS).read_text()) != facts:
        raise RunError(f"{out} holds other views; give another --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / _FACTS, lambda path: path.write_text(json.dumps(facts) + "\n"))
    published = load(items, radiograph.COPY_SIZE, cache=cache, skip_corrupt=skip_corrupt)[0]
    others = Boxes(framing.poses(published, cache=cache)[:, :4], labels)
    for view, logit in enumerate(tqdm(answers, "views", unit="view", mininterval=0.5)):
        file = out / f"view-{view:03d}.npz"
        if not file.is_file():
            seed = (facts["seed"], view)
            parts = [
                draw(policy, images, start, size, seed, others)[1]
                for start in range(0, len(items), BATCH)
            ]
            said = sigmoid(logit.astype(np.float64)).astype(np.float32)
            write_atomically(file, partial(np.savez, views=np.concatenate(parts), answers=said))


def draw(
    policy: Policy,
    images: np.ndarray,
    start: int,
    size: tuple[int, int],
    seed: tuple[int, int],
    others: Boxes | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A view of each of the :data:`BATCH` images from ``start`` on, from the seed alone.

    Args:
        policy: how views are drawn.
        images: uint8 ``(N, H, W)``, all of them.
        start: the first of the batch.
        size: ``(height, width)`` of the views.
        seed: of the pool, and the view's number.
        others: of a policy that reframes, the lungs' boxes of the N images.

    Returns:
        uint8 ``(n, height, width)`` twice: as teachers see it, and with artefacts as students do.
    """
    rng = np.random.default_rng([*seed, start])
    chosen = slice(start, start + BATCH)
    if isinstance(policy, ReframedPolicy) and others is not None:
        part = policy.reframe(images[chosen], size, rng, others.boxes[chosen], others)
    else:
        part = replace(policy, letters=0.0, collimate=0.0).apply(images[chosen], size, rng)
    return part, policy.mark_views(part.copy(), rng)


def assign_mirrors(teachers: int, view: int, start: int, count: int) -> np.ndarray:
    """Which teachers see the mirror image of each of ``count`` views: bool ``(count, teachers)``,
    half of them, by turns; none where there is one teacher alone.
    """
    if teachers == 1:
        return np.zeros((count, 1), bool)
    turn = np.arange(start, start + count)[:, np.newaxis] + view
    return (np.arange(teachers) + turn) % 2 == 1


def _compile_teacher(
    classifier: PneumoniaClassifier, size: tuple[int, int], precision: str
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 views ``(N, *size)`` to a teacher's own probabilities ``(N,)``."""
    flat = any(isinstance(layer, keras.layers.Flatten) for layer in classifier.model.layers)
    at = classifier.spec.input_size if flat else size
    with network.policy(precision):
        twin = CATALOGUE[classifier.spec.variant].build(at)
    twin.set_weights(classifier.model.get_weights())
    answer = network.compile_network(twin)
    return lambda views: answer(radiograph.to_input(_resize_views(views, at)))


def read(folder: Path) -> Pool:
    """What :func:`make` wrote.

    Raises:
        RunError: there is no pool in that folder, or not the whole of it.
    """
    files = sorted(folder.glob("view-*.npz"))
    if not files or not (folder / _FACTS).is_file():
        raise RunError(
            f"{folder} holds no views with a teacher's answers; make them with python -m train"
            " distil."
        )
    facts = json.loads((folder / _FACTS).read_text())
    wanted = facts.get("views", len(files))
    if len(files) < wanted:
        raise RunError(
            f"{folder} holds {len(files)} of {wanted} views; the same python -m train distil goes"
            " on with it."
        )
    views, answers = [], []
    for file in files[:wanted]:
        with np.load(file) as archive:
            views.append(archive["views"])
            answers.append(archive["answers"])
    said = np.stack(answers)
    told = {
        "teachers": facts["teachers"],
        "views": wanted,
        "policy": facts["policy"],
        "precision": facts["precision"],
    }
    return Pool(views, said, facts["files"], hashlib.sha256(said.tobytes()).hexdigest(), told)


def _resize_views(views: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if views.shape[1:] == size:
        return views
    return np.stack(
        [
            np.asarray(Image.fromarray(view).resize((size[1], size[0]), Image.Resampling.BILINEAR))
            for view in views
        ]
    )
