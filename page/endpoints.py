"""What other programs may call."""

from collections.abc import Iterable
from types import ModuleType

import gradio as gr

from page.activations import Activations, tiles
from page.served import Models, received
from pneumonia import Prediction, figures


def endpoints(models: Models, modules: Iterable[ModuleType] = ()) -> None:
    """Registers ``/predict`` and ``/activations``, and what the ``endpoints(models)`` of a tab's module returns, which takes the place of one of that name."""

    def predict(image: gr.FileData, variant: str = models.default) -> Prediction:
        """Reads one chest X-ray (JPEG, PNG, TIFF, WebP or BMP) with one model: label, probability of pneumonia, threshold, variant, milliseconds, file name."""
        return models[variant].predict(received(image).picture)

    def activations(normal: gr.FileData, pneumonia: gr.FileData, layer: str, variant: str = models.default, count: int = 16) -> Activations:
        """The strongest channels of a layer for a pair of chest X-rays, strongest first, each with its strengths and a picture of its two maps."""
        found, images = tiles(models, variant, layer, count, received(normal).picture, received(pneumonia).picture)
        for channel, image in zip(found["channels"], images, strict=True):
            channel["picture"] = figures.data_uri(image)
        return found

    offered = {function.__name__: function for function in (predict, activations)}
    for module in modules:
        if hasattr(module, "endpoints"):
            offered |= {function.__name__: function for function in module.endpoints(models)}
    for function in offered.values():
        gr.api(function, api_name=function.__name__, concurrency_id="model", concurrency_limit=1)
