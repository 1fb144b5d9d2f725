"""One page of HTML to keep: an answer with everything needed to judge it, in one file that asks for
nothing else.

It is handed to the visitor's browser as text and saved there; no file of it is ever written on the
server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePath

import gradio as gr
import numpy as np

from page import answers, verdicts
from page.answers import Reading
from page.panels import escaped, percent
from page.served import ONE_BY_ONE, Shown
from page.shared import View
from page.words import answers as said
from page.words import report as words
from pneumonia import Radiograph, figures, heatmaps, probes

# Pixels of the longer side of a picture: sharp on half a printed page.
PICTURE_SIDE = 640
STYLE = """
@page { size: A4; margin: 12mm; }
* { box-sizing: border-box; }
body { font: 13px/1.4 system-ui, "Segoe UI", Roboto, Arial, sans-serif; color: #111827; background: #fff; max-width: 190mm; margin: 0 auto; padding: 12px; }
h1 { font-size: 18px; margin: 0 0 2px; } h2 { font-size: 14px; margin: 12px 0 4px; } p { margin: 4px 0; }
.disclaimer { border: 1.5px solid #b42318; border-radius: 6px; padding: 6px 10px; }
.verdict { font-size: 24px; font-weight: 750; margin: 10px 0 2px; } .normal { color: #0f766e; } .pneumonia { color: #b42318; } .uncertain { color: #854d0e; }
.pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; } figure { margin: 0; }
figure img { width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #000; display: block; } figcaption { font-size: 11px; color: #4b5563; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 12px; margin: 4px 0; } dt { color: #4b5563; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: 11px; }
th, td { text-align: left; padding: 1px 6px; border-bottom: 1px solid #e5e7eb; font-weight: 400; }
td { text-align: right; font-variant-numeric: tabular-nums; } .columns { columns: 2; column-gap: 16px; } .columns table { break-inside: auto; }
@media (max-width: 600px) { .pictures { grid-template-columns: 1fr; } .columns { columns: 1; } }
"""
# Saved by the browser itself; the text is then forgotten by the page.
SAVE = """(name, text) => {
    if (text) {
        const link = document.createElement('a');
        link.href = URL.createObjectURL(new Blob([text], { type: 'text/html' }));
        link.download = name;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
    return ['', ''];
}"""


def page(
    reading: Reading, moved: Sequence[probes.Probed] = (), made: datetime | None = None
) -> str:
    """The report.

    Args:
        reading: with its heat map where there is one.
        moved: what :func:`pneumonia.probes.run` gave; left out where empty.
        made: when; now if None.

    Returns:
        A whole HTML document: no script, no address of anything outside it.
    """
    prediction, spec = reading.prediction, reading.evidence.spec
    made = made or datetime.now(UTC)
    low, high = answers.uncertain_between(reading.point.threshold, spec.uncertainty)
    height, width = reading.shown.picture.size
    target = reading.point.recall_target
    goal = "" if target is None else f", chosen to find {target * 100:.3g}% of pneumonias"
    rows = {
        "X-ray": f"{escaped(prediction.name)}, {width} × {height} pixels",
        "Probability of pneumonia": (
            f"{percent(prediction.probability)} ({said.calibration(spec.temperature)})"
        ),
        "Threshold": f"{prediction.threshold * 100:.3g}%, {escaped(reading.point.name)}{goal}",
        "Uncertain": (
            f"from {percent(low)} to {percent(high)}"
            if high > low
            else "no such range was measured for this model"
        ),
        "Cost of this setting": (
            f"{answers.cost_sentence(reading)} {escaped(said.held_out_recall(reading.point))}"
        ),
        "Model": f"{escaped(reading.evidence.title)}, {escaped(reading.evidence.source)}",
        "Weights, sha256": f"<code>{spec.weights_sha256}</code>",
        "Code, commit": (
            f"<code>{escaped(spec.commit)}</code>, recipe"
            f" {escaped(spec.recipe.get('name', 'unknown'))}"
        ),
        "Lungs": verdicts.inside(reading) or said.NOTHING_TO_SHOW,
        "Made": f"{made:%Y-%m-%d %H:%M} UTC",
    }
    if reading.shown.forced and reading.shown.reasons:
        rows["Overruled"] = escaped(said.OVERRULED.format(reasons=" ".join(reading.shown.reasons)))
    facts = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in rows.items())
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport'"
        f" content='width=device-width'><title>{words.TITLE}</title>"
        f"<style>{STYLE}</style></head><body><h1>{words.TITLE}</h1><p"
        f" class='disclaimer'>{words.DISCLAIMER}</p>"
        f"<p class='verdict {reading.called.lower()}'>{said.CALLED[reading.called]}</p><div"
        f" class='pictures'>{_pictures(reading)}</div><dl>{facts}</dl>"
        f"<p>{words.HOW_TO_READ if reading.heat else said.NOTHING_TO_SHOW}</p>{_moved(moved, reading.point.threshold, spec.uncertainty)}</body></html>"
    )


def file_name(reading: Reading) -> str:
    """What the browser saves it as: letters, digits, dots and dashes only."""
    stem = (
        re.sub(r"[^A-Za-z0-9.-]+", "-", PurePath(reading.prediction.name).stem).strip("-.")[:60]
        or "x-ray"
    )
    return f"report-{stem}-{reading.prediction.variant}.html"


def button(view: View, point: gr.Radio) -> None:
    """The button that makes the report of what the Predict tab shows, probes included."""
    make = gr.Button(words.BUTTON, elem_id="report")
    name, text = (
        gr.Textbox(visible="hidden", elem_id=f"report-{part}") for part in ("name", "text")
    )

    def made(shown: Shown | None, variant: str, point: str) -> tuple[str, str]:
        if shown is None or shown.refusal:
            raise gr.Error(words.NOTHING, print_exception=False)
        reading = answers.with_heat(
            view.models, variant, answers.read(view.models, variant, shown, point)
        )
        return file_name(reading), page(reading, probes.run(view.models[variant], shown.picture))

    event = make.click(
        made, [view.shown, view.variant, point], [name, text], show_progress_on=make, **ONE_BY_ONE
    )
    event.success(None, [name, text], [name, text], js=SAVE, api_visibility="private")


def _pictures(reading: Reading) -> str:
    picture, side = reading.shown.picture, reading.towards
    small = Radiograph(np.asarray(figures.reduced(picture.to_pil(), PICTURE_SIDE)), picture.name)
    shown = [_figure(figures.data_uri(small.to_pil(), "JPEG"), "As it was given", "X-ray")]
    if reading.heat is not None:
        laid = heatmaps.overlay(small, reading.heat.towards(side), 0.7, side)
        shown.append(
            _figure(
                figures.data_uri(laid, "JPEG"),
                f"What speaks for {side}, at layer {escaped(reading.heat.layer)}",
                verdicts.strongest(reading.heat, side),
            )
        )
    height, width = reading.seen.shape
    shown.append(
        _figure(
            figures.data_uri(Radiograph(reading.seen, "").to_pil()),
            f"As the model saw it, {width} × {height}",
            "The X-ray squeezed to a square",
        )
    )
    return "".join(shown)


def _figure(source: str, caption: str, alt: str) -> str:
    return (
        f"<figure><img src='{source}'"
        f" alt='{escaped(alt)}'><figcaption>{caption}</figcaption></figure>"
    )


def _moved(moved: Sequence[probes.Probed], threshold: float, uncertainty: float) -> str:
    if not moved:
        return ""
    labelled = [
        (result, answers.call(result.probability, threshold, uncertainty)) for result in moved
    ]
    rows = "".join(
        "<tr><th"
        f" scope='row'>{escaped(result.probe.title)}</th><td>{percent(result.probability)}</td><td>{label}</td></tr>"
        for result, label in labelled
    )
    return (
        f"<h2>{words.MOVED}</h2><p>{escaped(probes.sentence(moved, threshold, uncertainty))}</p><div"
        f" class='columns'><table>{rows}</table></div>"
    )
