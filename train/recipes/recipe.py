"""What a recipe is: data, which :mod:`train.training.fit` carries out; and the alterations of
training images that several of them share.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from pneumonia.views import PLAIN
from train.augmentation.geometry import Geometry
from train.augmentation.policy import Policy
from train.augmentation.reframing import ReframedPolicy


class RecipeError(ValueError):
    """There is no such recipe, or it contradicts itself; the message says what there is."""


SCHEDULES = ("constant", "cosine")

# What training images undergo in the recipes IMPROVED: crops, aspect, mirroring, exposure, borders,
# slight turns, and detail sharpened or softened. The last is there because the train folder's
# healthy have half as much detail again as its ill: a network that takes softness for pneumonia is
# wrong about every healthy child of a softer machine. Three of ten have letters burnt in and three
# of ten their margins shut out: without these all three networks called nearly every healthy child
# ill whose X-ray had its outer 12% blacked. Over one epoch so much alteration made validation
# worse, over sixteen it made it better (docs/experiments.md).
STRONG = Policy(
    rotation=8.0,
    zoom_out=0.2,
    gamma=0.5,
    contrast=0.5,
    blur=0.1,
    jpeg=0.15,
    detail=0.6,
    letters=0.3,
    collimate=0.3,
)
# The views that a teacher answers for are drawn alike, but mirrored only when a student takes them.
# Half have letters: the small networks took a large R for pneumonia, where Xception hardly minded
# it. Half have shut margins, wider than they are asked about: with three of ten, up to 12% of a
# side, hardly any healthy child with its outer 12% blacked was read as normal.
VIEWS = replace(STRONG, horizontal_flip=False, letters=0.5, collimate=0.5, margin=0.16)
# The same, but first drawn into the lung outline of a random other child.
REFRAMED = ReframedPolicy(**asdict(VIEWS))
VIEW_SIZE = (128, 128)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does, but for the data and the precision.

    Attributes:
        variant: a name in the catalogue.
        name: ``original`` repeats the original notebook's procedure; ``improved`` made the bundled
            model; ``first`` made the network that ``improved`` goes on from.
        input_size: ``(height, width)`` in pixels.
        epochs: how many the run has.
        keep_epoch: the epoch whose weights become the bundle.
        optimizer: a Keras optimizer's name.
        learning_rate: its constant learning rate, or the highest of its schedule.
        batch_size: images a step.
        seed: for Python's, NumPy's and TensorFlow's generators, the order of images and every
            random draw.
        augmentation: what happens to training images at random, or None.
        frozen_body: train only the head, on features of the body that are computed once.
        threshold: the operating point the original notebook used: a probability of PNEUMONIA at or
            above it is called PNEUMONIA.
        validation: the split whose curves are drawn and choices are made on; ``val`` is the
            original notebook's folder of 16 images, ``held-out`` a fold of the train folder, which
            is then not learned from.
        note: what to know about it, in a sentence.
        pretrained: start from ImageNet weights and train all of them.
        frozen_normalisation: but for the batch normalisations, which keep their scales, offsets and
            statistics; a step is a quarter cheaper, and a network answers in training as it will
            later.
        training_size: ``(height, width)`` of training images where it is not ``input_size``. Random
            crops magnify what they show, so a network that trains on smaller views sees things as
            large as it later does in whole pictures (Touvron et al., NeurIPS 2019), at less cost.
        schedule: ``constant``, or ``cosine``: from ``learning_rate`` to a hundredth of it, after a
            warm-up.
        warmup: epochs in which a cosine schedule rises from 0.
        weight_decay: of an optimizer that has one, such as adamw.
        label_smoothing: targets are moved by half of it towards one half.
        nuisance_reweighting: images are drawn so that exposure, sharpness and margins say less of
            the class (:mod:`train.augmentation.nuisances`); the classes keep their shares.
        penalty: L2 penalty in place of the architecture's own where it has one, or None.
        teacher_weight: share of a teacher's answer in the target (Hinton et al., 2015); above 0 the
            run learns from a pool of views that ``python -m train distil`` made.
        starts_from: the recipe whose bundle of the variant, which ``--start`` names, gives the
            weights to go on from; from random or ImageNet ones where it is empty.
        frozen_blocks: of Xception, so many early blocks keep the weights they start from.
        views: looks at a picture whose mean logit is the bundle's answer
            (:data:`pneumonia.views.VIEWS`).
    """

    variant: str
    name: str
    input_size: tuple[int, int]
    epochs: int
    keep_epoch: int
    optimizer: str
    learning_rate: float
    batch_size: int = 32
    seed: int = 42
    augmentation: Geometry | Policy | None = None
    frozen_body: bool = False
    threshold: float = 0.5
    validation: str = "val"
    note: str = ""
    pretrained: bool = False
    frozen_normalisation: bool = False
    training_size: tuple[int, int] | None = None
    schedule: str = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    nuisance_reweighting: bool = False
    penalty: float | None = None
    teacher_weight: float = 0.0
    starts_from: str = ""
    frozen_blocks: int = 0
    views: tuple[str, ...] = (PLAIN,)

    def __post_init__(self) -> None:
        if not 1 <= self.keep_epoch <= self.epochs:
            raise RecipeError(f"keep_epoch must lie in 1..{self.epochs}, got {self.keep_epoch}.")
        if self.frozen_body and self.augmentation:
            raise RecipeError(
                "A frozen body's features are computed once, so nothing random can come before it:"
                " drop augmentation or frozen_body."
            )
        if self.schedule not in SCHEDULES:
            raise RecipeError(
                f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}."
            )
        if (
            self.training_size
            and not self.teacher_weight
            and not isinstance(self.augmentation, Policy)
        ):
            raise RecipeError(
                "Another training_size needs a Policy as augmentation: only its crops come in a"
                " size of their own."
            )
        if self.teacher_weight and self.augmentation:
            raise RecipeError(
                "A teacher has seen the very views it answers for, so none are drawn anew: drop"
                " augmentation or teacher_weight."
            )
