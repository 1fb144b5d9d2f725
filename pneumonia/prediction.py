"""What a network says of a picture, the same in Python, on the terminal, over the API and in a
table: one type, one warning, and the errors that stand in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

# What to do about a picture that fails the input check: answer and warn, refuse, or answer.
OnInvalid: TypeAlias = Literal["warn", "raise", "ignore"]
ON_INVALID: tuple[str, ...] = get_args(OnInvalid)


class InputCheckWarning(UserWarning):
    """A picture that was answered does not look like a frontal chest X-ray, so its answer means
    nothing; the message says why.
    """


class InputCheckError(ValueError):
    """A picture was not answered, for it does not look like a frontal chest X-ray.

    Attributes:
        name: the picture's.
        reasons: why, a sentence each.
    """

    def __init__(self, name: str, reasons: Sequence[str]) -> None:
        super().__init__(f"{name} was not answered. {' '.join(reasons)}")
        self.name = name
        self.reasons = tuple(reasons)


class InvalidProbability(ArithmeticError):
    """A network answered nan, or what else is no probability: its weights are damaged, or overflow
    on this picture. Never taken for an answer.
    """


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        label: ``NORMAL`` or ``PNEUMONIA``: PNEUMONIA where ``probability >= threshold``.
        probability: of PNEUMONIA, 0 to 1, after the model spec's temperature.
        threshold: that was used, 0 to 1.
        operating_point: whose threshold it is; None where the threshold was given as a number.
        variant: which network.
        uncertain: whether the probability lies so near the threshold that the same X-ray, delivered
            in another framing, exposure or encoding, may well get the other label; see
            :attr:`pneumonia.ModelSpec.uncertainty`. Never where that was not measured. Also where
            the X-ray is unfamiliar.
        unfamiliar: whether the X-ray is unlike those that the model learned from
            (:mod:`pneumonia.familiarity`). Never where the bundle cannot tell.
        warnings: the input check's rejection reasons, a sentence each: why this is no frontal chest
            X-ray that a network could read (:func:`pneumonia.input_check.examine`). Where there are
            any of these, label and probability mean nothing. One more where the X-ray is
            unfamiliar. Empty where nothing speaks against it.
        name: the image's file name, or ``upload``, ``image``, ``array``.
        milliseconds: decoding, resizing, input check and the network's pass; for a batch, the
            batch's time divided by its images.
    """

    label: str
    probability: float
    threshold: float
    operating_point: str | None
    variant: str
    uncertain: bool
    unfamiliar: bool
    warnings: tuple[str, ...]
    name: str
    milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """The fields, in this order, as plain JSON types."""
        return asdict(self) | {"warnings": list(self.warnings)}
