"""Where the bundles are that come with this package, and which answers where none is named."""

from __future__ import annotations

import os
from pathlib import Path

# In a checkout beside the package, in an installed one inside it.
_HERE = Path(__file__).resolve().parent
MODELS = (_HERE.parent / "assets" / "models", _HERE / "models")
DEFAULT_VARIANT = "xception"
NAMESPACE_VARIABLE = "PNEUMONIA_HUB_NAMESPACE"


def bundles() -> dict[str, Path]:
    """The bundles that come with this package: the folder by the name of its variant."""
    folder = next((folder for folder in MODELS if folder.is_dir()), None)
    specs = sorted(folder.glob("*/model_spec.json")) if folder else []
    return {file.parent.name: file.parent for file in specs}


def default() -> str | Path:
    """What answers where no model is named: the bundled Xception, else that of the Hub namespace
    which ``PNEUMONIA_HUB_NAMESPACE`` names.

    Raises:
        FileNotFoundError: there is neither; the message has the line that fetches one.
    """
    if folder := bundles().get(DEFAULT_VARIANT):
        return folder
    if namespace := os.environ.get(NAMESPACE_VARIABLE):
        return f"{namespace}/pneumonia-xray-{DEFAULT_VARIANT}"
    raise FileNotFoundError(
        "This package came without a model; `hf download NAMESPACE/pneumonia-xray-xception"
        " --local-dir xception` fetches one into the folder xception, which is then its name."
    )
