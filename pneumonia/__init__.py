"""Reads a chest X-ray as NORMAL or PNEUMONIA. Not a medical device.

>>> from pneumonia import PneumoniaClassifier
>>> PneumoniaClassifier.from_pretrained("assets/models/xception").predict("x.jpeg")
"""

from pneumonia.bundle import BundleError
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.hub import HubError
from pneumonia.model_spec import LABELS, ModelSpec, ModelSpecError, OperatingPoint, Prediction
from pneumonia.radiograph import Radiograph, UnreadableImage

__version__ = "0.1.0"

__all__ = [
    "LABELS",
    "BundleError",
    "HubError",
    "ModelSpec",
    "ModelSpecError",
    "OperatingPoint",
    "PneumoniaClassifier",
    "Prediction",
    "Radiograph",
    "UnreadableImage",
    "__version__",
]
