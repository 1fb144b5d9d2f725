"""What is said of a prediction and of a model, as HTML: the frozen types in, text out.

Every text that comes from outside (file names, recipe names) is escaped. Pictures are ``data:``
addresses, so that nothing a person uploads is written to disk to be shown.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pneumonia import bundle, figures
from pneumonia.model_spec import Estimate, Metrics, ModelSpec
from pneumonia.radiograph import Radiograph

# Pixels of the longer side: sharp at the size it is shown in, a tenth of the bytes of the original.
PREVIEW_SIDE, THUMB_SIDE = 720, 144


@dataclass(frozen=True)
class Evidence:
    """What stands beside an answer: where a model comes from and what was measured.

    Attributes:
        title: the variant's, for people.
        source: where the weights lie, ``bundle xception`` or ``namespace/name at 1a2b3c4``.
        spec: the bundle's.
        metrics: its ``validation`` and ``test`` entries; empty where nothing was measured.
        why: why these weights answer, a sentence; empty where there is nothing to explain.
        repo, commit: where on the Hub they come from; None of the bundled ones.
    """

    title: str
    source: str
    spec: ModelSpec
    metrics: Mapping[str, Metrics]
    why: str = ""
    repo: str | None = None
    commit: str | None = None

    @classmethod
    def from_bundle(cls, folder: Path, title: str, why: str = "") -> Evidence:
        """Reads a bundle's model spec and metrics without its weights.

        Raises:
            BundleError: the folder has no model spec.
            ModelSpecError: the model spec or the metrics cannot be read.
        """
        return cls(
            title,
            f"bundle {folder.name}",
            bundle.read_model_spec(folder),
            bundle.read_metrics(folder),
            why,
        )


def escape(text: object) -> str:
    """Text that is safe inside HTML, and inside the page's templates, which give ``$`` and braces a
    meaning.
    """
    return (
        html.escape(str(text)).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")
    )


def percent(value: float) -> str:
    """A probability as per cent with one decimal; never 0% or 100%, for a network's float reaches 1
    long before anybody can be certain.
    """
    if value < 0.001:
        return "under 0.1%"
    if value > 0.999:
        return "over 99.9%"
    return f"{value * 100:.1f}%"


def with_interval(figure: Estimate | None) -> str:
    """A figure with its 95% interval, or that it was not measured."""
    if figure is None:
        return "not measured"
    return (
        f"{figure.value * 100:.1f}% <span class='interval'>(95% interval"
        f" {figure.low * 100:.1f}–{figure.high * 100:.1f}%)</span>"
    )


def xray(picture: Radiograph, caption: str, alt: str) -> str:
    """An X-ray with its caption, scaled down for the page."""
    return _figure(figures.shrink(picture.to_pil(), PREVIEW_SIDE), caption, alt, "JPEG")


def thumbnail(picture: Radiograph) -> str:
    """A visitor's own X-ray, small, with its name."""
    image = figures.data_uri(figures.shrink(picture.to_pil(), THUMB_SIDE), "JPEG")
    return (
        f"<div class='chosen'><img class='thumb' src='{image}' alt=''><span"
        f" class='name'>{escape(picture.name)}</span></div>"
    )


def _figure(image: Image.Image, caption: str, alt: str, form: str) -> str:
    size = f"width='{image.width}' height='{image.height}'"
    return (
        f"<figure><div class='frame'><img src='{figures.data_uri(image, form)}' alt='{alt}'"
        f" {size}></div><figcaption>{caption}</figcaption></figure>"
    )


def cell(figure: Estimate | None, name: str) -> str:
    """A figure of a table with its interval below it; shares as per cent, an area under a curve as
    it is.
    """
    if figure is None:
        return "not measured"
    # An area under a curve is no share of anything.
    value, low, high = (
        f"{part:.3f}" if name == "auc" else f"{part * 100:.1f}"
        for part in (figure.value, figure.low, figure.high)
    )
    return f"{value}{'' if name == 'auc' else '%'}<br><span class='interval'>{low}–{high}</span>"


def commit(spec: ModelSpec) -> str:
    """The code that trained a model, as HTML."""
    return (
        "a commit that was not recorded"
        if spec.commit == "unknown"
        else f"commit <code>{escape(spec.commit[:7])}</code>"
    )
