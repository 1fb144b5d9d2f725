"""Reads a chest X-ray as NORMAL or PNEUMONIA. Not a medical device.

>>> from pneumonia import PneumoniaClassifier
>>> PneumoniaClassifier.from_pretrained("assets/models/xception").predict("x.jpeg")
"""

from pneumonia.bundle import BundleError
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.contract import LABELS, Contract, ContractError, OperatingPoint, Prediction
from pneumonia.hub import HubError
from pneumonia.radiograph import Radiograph, UnreadableImage

__version__ = "0.1.0"

__all__ = [
    "LABELS",
    "BundleError",
    "Contract",
    "ContractError",
    "HubError",
    "OperatingPoint",
    "PneumoniaClassifier",
    "Prediction",
    "Radiograph",
    "UnreadableImage",
    "__version__",
]
