"""What is said of a prediction and of a model, as HTML: the frozen types in, text out.

Every text that comes from outside (file names, recipe names) is escaped. Pictures are ``data:`` addresses, so that nothing a person uploads is written to
disk to be shown.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from page import words
from pneumonia import bundle, figures
from pneumonia.contract import Contract, Figure, Metrics, Prediction
from pneumonia.radiograph import Radiograph

# Pixels of the longer side: sharp at the size it is shown in, a tenth of the bytes of the original.
PREVIEW_SIDE, THUMB_SIDE = 720, 144


@dataclass(frozen=True)
class Evidence:
    """What stands beside an answer: where a model comes from and what was measured.

    Attributes:
        title: the variant's, for people.
        source: where the weights lie, ``bundle xception`` or ``namespace/name at 1a2b3c4``.
        contract: the bundle's.
        metrics: its ``validation`` and ``test`` entries; empty where nothing was measured.
        why: why these weights answer, a sentence; empty where there is nothing to explain.
    """

    title: str
    source: str
    contract: Contract
    metrics: Mapping[str, Metrics]
    why: str = ""

    @classmethod
    def bundled(cls, folder: Path, title: str, why: str = "") -> Evidence:
        """Reads a bundle's contract and metrics without its weights.

        Raises:
            BundleError: the folder has no contract.
            ContractError: the contract or the metrics cannot be read.
        """
        return cls(title, f"bundle {folder.name}", bundle.read_contract(folder), bundle.read_metrics(folder), why)


def escaped(text: object) -> str:
    """Text that is safe inside HTML, and inside the page's templates, which give ``$`` and braces a meaning."""
    return html.escape(str(text)).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def percent(value: float) -> str:
    """A probability as per cent with one decimal; never 0% or 100%, for a network's float reaches 1 long before anybody can be certain."""
    if value < 0.001:
        return "under 0.1%"
    if value > 0.999:
        return "over 99.9%"
    return f"{value * 100:.1f}%"


def with_interval(figure: Figure | None) -> str:
    """A figure with its 95% interval, or that it was not measured."""
    if figure is None:
        return "not measured"
    return f"{figure.value * 100:.1f}% <span class='interval'>(95% interval {figure.low * 100:.1f}–{figure.high * 100:.1f}%)</span>"


def xray(picture: Radiograph, caption: str, alt: str) -> str:
    """An X-ray with its caption, scaled down for the page."""
    return _figure(figures.reduced(picture.to_pil(), PREVIEW_SIDE), caption, alt, "JPEG")


def thumbnail(picture: Radiograph | None, name: str = "") -> str:
    """The chosen X-ray, small, with its name; or that there is none yet."""
    if picture is None:
        return f"<div class='chosen none'><span class='thumb' aria-hidden='true'></span><span>{words.NOTHING_CHOSEN}</span></div>"
    image = figures.data_uri(figures.reduced(picture.to_pil(), THUMB_SIDE), "JPEG")
    return f"<div class='chosen'><img class='thumb' src='{image}' alt='The chosen X-ray'><span class='name'>{escaped(name or picture.name)}</span></div>"


def waiting(evidence: Evidence, problem: str | None = None) -> str:
    """The answer's place before there is a picture, or after one that could not be read."""
    says = f"<p class='problem' role='alert'>{escaped(problem)}</p>" if problem else "<p class='idle'>Choose an example or upload an X-ray.</p>"
    frames = "<div class='pictures idle-pictures' aria-hidden='true'></div>"
    return f"<section class='answer empty'><div class='verdict-box'>{says}</div>{frames}{facts(evidence)}</section>"


def answer(prediction: Prediction, picture: Radiograph, seen: np.ndarray, evidence: Evidence, truth: str | None = None) -> str:
    """A prediction with all that is needed to judge it.

    Args:
        prediction: what the model says.
        picture: the X-ray it was asked about.
        seen: uint8 ``(h, w)``, the same as it entered the network.
        evidence: of the model.
        truth: the class the data set gives an example; None for a person's own picture.
    """
    name, kind = escaped(prediction.name), prediction.label.lower()
    height, width = picture.size
    model_height, model_width = seen.shape
    known = ""
    if truth is not None:
        known = f"<p class='truth'>The data set calls this example {truth}: the model {'agrees' if truth == prediction.label else 'disagrees'}.</p>"
    original = xray(picture, f"Original, {width} × {height} pixels", f"X-ray {name}, as it was given")
    as_seen = _figure(Image.fromarray(seen), f"As the model sees it, {model_width} × {model_height}", f"X-ray {name}, squeezed to the model's input", "PNG")
    return (
        f"<section class='answer' aria-live='polite'><div class='verdict-box'><p class='verdict {kind}'>{prediction.label}</p>"
        f"<p class='reading'>{escaped(evidence.title)} on <span class='name'>{name}</span>, in {prediction.milliseconds:.0f} ms</p>"
        f"{_bar(prediction, evidence.contract.temperature)}{known}</div>"
        f"<div class='pictures'>{original}{as_seen}</div>{facts(evidence)}</section>"
    )


def facts(evidence: Evidence) -> str:
    """What was measured of a model, and where its weights come from."""
    contract, test = evidence.contract, evidence.metrics.get("test")
    figures_of = test.figures if test else {}
    rows = {
        "Recall on the test set": with_interval(figures_of.get("recall")) + _missed(test),
        "Accuracy on the test set": with_interval(figures_of.get("accuracy")) + _called_back(test),
        "Weights": f"{escaped(evidence.source)}, sha256 <code>{contract.weights_sha256[:12]}</code>{f'<br>{escaped(evidence.why)}' if evidence.why else ''}",
        "Trained by": f"recipe <code>{escaped(contract.recipe.get('name', 'unknown'))}</code> at {_commit(contract)}",
    }
    return "<dl class='facts'>" + "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in rows.items()) + "</dl>"


def table(evidence: list[Evidence]) -> str:
    """The test figures of several models side by side, with intervals."""
    columns = ("recall", "specificity", "accuracy", "auc")
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Model", "Recall", "Specificity", "Accuracy", "AUC", "X-rays", "Threshold", "Recipe"))
    rows = []
    for model in evidence:
        test = model.metrics.get("test")
        cells = "".join(f"<td>{cell(test.figures.get(name) if test else None, name)}</td>" for name in columns)
        recipe = escaped(model.contract.recipe.get("name", "unknown"))
        images = test.images if test else "none"
        threshold = f"{model.contract.default.threshold:.3g}"
        rows.append(f"<tr><th scope='row'>{escaped(model.title)}</th>{cells}<td>{images}</td><td>{threshold}</td><td><code>{recipe}</code></td></tr>")
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class='scroller' tabindex='0' role='region' aria-label='Test figures'>{body}</div>"


def _figure(image: Image.Image, caption: str, alt: str, form: str) -> str:
    size = f"width='{image.width}' height='{image.height}'"
    return f"<figure><div class='frame'><img src='{figures.data_uri(image, form)}' alt='{alt}' {size}></div><figcaption>{caption}</figcaption></figure>"


def _bar(prediction: Prediction, temperature: float) -> str:
    at, threshold = prediction.probability * 100, prediction.threshold * 100
    side = "at or above" if prediction.probability >= prediction.threshold else "below"
    calibrated = "as the network gives it, uncalibrated" if temperature == 1 else "calibrated on validation"
    # Near the right end the threshold's words stand to the left of its mark, or they would leave the page.
    turned = " turned" if threshold > 70 else ""
    return (
        f"<p class='probability'><strong>{percent(prediction.probability)}</strong> probability of pneumonia <span class='interval'>({calibrated})</span></p>"
        f"<div class='bar {prediction.label.lower()}' role='img' aria-label='{percent(prediction.probability)}, {side} the threshold of {threshold:.3g}%'>"
        f"<div class='fill' style='width:{at:.2f}%'></div>"
        f"<div class='mark{turned}' style='left:{threshold:.2f}%'><span>threshold {threshold:.3g}%</span></div></div>"
    )


def _missed(test: Metrics | None) -> str:
    if test is None:
        return ""
    missed, all_ = test.counts.get("false_negative", 0), test.counts.get("false_negative", 0) + test.counts.get("true_positive", 0)
    return f"<br>{missed} of {all_} pneumonias missed"


def _called_back(test: Metrics | None) -> str:
    if test is None:
        return ""
    alarms, all_ = test.counts.get("false_positive", 0), test.counts.get("false_positive", 0) + test.counts.get("true_negative", 0)
    return f"<br>{alarms} of {all_} healthy called ill"


def cell(figure: Figure | None, name: str) -> str:
    """A figure of a table with its interval below it; shares as per cent, an area under a curve as it is."""
    if figure is None:
        return "not measured"
    # An area under a curve is no share of anything.
    value, low, high = (f"{part:.3f}" if name == "auc" else f"{part * 100:.1f}" for part in (figure.value, figure.low, figure.high))
    return f"{value}{'' if name == 'auc' else '%'}<br><span class='interval'>{low}–{high}</span>"


def _commit(contract: Contract) -> str:
    return "a commit that was not recorded" if contract.commit == "unknown" else f"commit <code>{escaped(contract.commit[:7])}</code>"
