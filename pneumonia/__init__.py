"""Reads a chest X-ray as NORMAL or PNEUMONIA. Not a medical device.

>>> from pneumonia import PneumoniaClassifier
>>> classifier = PneumoniaClassifier.from_pretrained()
>>> classifier("x.jpeg").label
'PNEUMONIA'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pneumonia.bundle import BundleError
    from pneumonia.classifier import PneumoniaClassifier
    from pneumonia.hub_errors import HubError
    from pneumonia.model_spec import (
        LABELS,
        ModelSpec,
        ModelSpecError,
        OperatingPoint,
        UnknownOperatingPoint,
    )
    from pneumonia.prediction import (
        InputCheckError,
        InputCheckWarning,
        InvalidProbability,
        Prediction,
    )
    from pneumonia.radiograph import Radiograph, UnreadableImage

__version__ = "0.1.0"

# Each name is brought when it is first asked for (PEP 562): the package itself costs no time.
_HOMES = {
    "BundleError": "bundle",
    "HubError": "hub_errors",
    "InputCheckError": "prediction",
    "InputCheckWarning": "prediction",
    "LABELS": "model_spec",
    "ModelSpec": "model_spec",
    "ModelSpecError": "model_spec",
    "InvalidProbability": "prediction",
    "OperatingPoint": "model_spec",
    "PneumoniaClassifier": "classifier",
    "Prediction": "prediction",
    "Radiograph": "radiograph",
    "UnknownOperatingPoint": "model_spec",
    "UnreadableImage": "radiograph",
}

__all__ = [
    "LABELS",
    "BundleError",
    "HubError",
    "InputCheckError",
    "InputCheckWarning",
    "InvalidProbability",
    "ModelSpec",
    "ModelSpecError",
    "OperatingPoint",
    "PneumoniaClassifier",
    "Prediction",
    "Radiograph",
    "UnknownOperatingPoint",
    "UnreadableImage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
