"""What other programs may call."""

from collections.abc import Iterable
from types import ModuleType

import gradio as gr

from page.served import Models, received
from pneumonia import Prediction


def endpoints(models: Models, modules: Iterable[ModuleType] = ()) -> None:
    """Registers ``/predict``, and what the ``endpoints(models)`` of a tab's module returns, which takes the place of one of that name."""

    def predict(image: gr.FileData, variant: str = models.default) -> Prediction:
        """Reads one chest X-ray (JPEG, PNG, TIFF, WebP or BMP) with one model: label, probability of pneumonia, threshold, variant, milliseconds, file name."""
        return models[variant].predict(received(image).picture)

    offered = {function.__name__: function for function in (predict,)}
    for module in modules:
        if hasattr(module, "endpoints"):
            offered |= {function.__name__: function for function in module.endpoints(models)}
    for function in offered.values():
        gr.api(function, api_name=function.__name__, concurrency_id="model", concurrency_limit=1)
