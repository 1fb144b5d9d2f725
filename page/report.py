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

from page import answers, robustness, verdicts
from page.answers import Reading
from page.panels import escape, percent
from page.served import ONE_BY_ONE, Shown
from page.shared import View
from page.words import answers as said
from page.words import report as words
from pneumonia import Radiograph, figures, heatmaps, probes

# Pixels of the longer side of a picture: sharp on half a printed page.
PICTURE_SIDE = 640
STYLE = """
@page { size: A4; margin: 10mm; }
* { box-sizing: border-box; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
body { font: 12.5px/1.35 system-ui, "Segoe UI", Roboto, Arial, sans-serif; color: #111827;
  background: #fff; max-width: 190mm; margin: 0 auto; padding: 12px; }
h1 { font-size: 17px; margin: 0 0 2px; } h2 { font-size: 13.5px; margin: 8px 0 2px; }
p { margin: 3px 0; }
.disclaimer { border: 1.5px solid #b42318; border-radius: 6px; padding: 4px 10px; }
.warning { font-size: 26px; font-weight: 750; color: #b42318; margin: 8px 0 0; }
.verdict { font-size: 22px; font-weight: 750; margin: 8px 0 0; }
.forced ~ .verdict { font-size: 15px; }
.normal { color: #0f766e; } .pneumonia { color: #b42318; } .uncertain { color: #854d0e; }
.probability { font-size: 14px; }
.pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; margin-top: 6px; }
figure { margin: 0; } figcaption { font-size: 10.5px; color: #4b5563; }
figure img { width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #000;
  display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 1px 12px; margin: 4px 0; }
dl div { display: contents; } dt { color: #4b5563; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: 10.5px; }
th, td { text-align: left; padding: 1px 6px; border-bottom: 1px solid #e5e7eb; font-weight: 400; }
td { text-align: right; font-variant-numeric: tabular-nums; }
.columns { columns: 2; column-gap: 16px; }
@media print { body { padding: 0; } }
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
    made = made or datetime.now(UTC)
    forced = ""
    if reading.forced:
        why = said.FORCED_WHY.format(reasons=" ".join(reading.shown.reasons))
        forced = (
            f"<div class='forced'><p class='warning'>{said.FORCED}</p><p>{escape(why)}</p></div>"
        )
    doubt = answers.why_uncertain(reading)
    unsure = f"<p>{escape(doubt)}</p>" if doubt else ""
    where = verdicts.inside(reading, reading.towards)
    if reading.heat:
        where = f"{verdicts.strongest(reading.heat, reading.towards)} {where}"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport'"
        f" content='width=device-width'><title>{words.TITLE}</title><style>{STYLE}</style></head>"
        f"<body><h1>{words.TITLE}</h1><p class='disclaimer'>{words.DISCLAIMER}</p>{forced}"
        f"<p class='verdict {reading.called.lower()}'>{said.CALLED[reading.called]}</p>"
        f"<p class='probability'><strong>{percent(reading.prediction.probability)}</strong>"
        f" probability of pneumonia, {verdicts.side(reading)}</p>"
        f"{unsure}<p>{answers.cost_sentence(reading)}</p>"
        f"<div class='pictures'>{_pictures(reading)}</div>"
        f"<p>{escape(where) or said.NOTHING_TO_SHOW} {words.HOW_TO_READ if reading.heat else ''}"
        f"</p>{verdicts.facts(reading)}"
        f"{_render_probes(moved, reading.point.threshold, reading.evidence.spec.uncertainty)}"
        f"<p>{made:%Y-%m-%d %H:%M} UTC</p></body></html>"
    )


def file_name(reading: Reading) -> str:
    """What the browser saves it as: letters, digits, dots and dashes only."""
    stem = (
        re.sub(r"[^A-Za-z0-9.-]+", "-", PurePath(reading.prediction.name).stem).strip("-.")[:60]
        or "x-ray"
    )
    return f"report-{stem}-{reading.prediction.variant}.html"


def button(view: View) -> None:
    """The button that makes the report of what the Predict tab shows, probes included."""
    make = gr.Button(words.BUTTON, elem_id="report")
    name, text = (
        gr.Textbox(visible="hidden", elem_id=f"report-{part}") for part in ("name", "text")
    )

    def make_report(shown: Shown | str | None, variant: str, point: str) -> tuple[str, str]:
        if not isinstance(shown, Shown) or shown.rejection:
            raise gr.Error(words.NOTHING, print_exception=False)
        reading = answers.with_heat(
            view.models, variant, answers.read(view.models, variant, shown, point)
        )
        return file_name(reading), page(reading, probes.run(view.models[variant], shown.picture))

    event = make.click(
        make_report,
        [view.shown, view.variant, view.point],
        [name, text],
        show_progress_on=make,
        **ONE_BY_ONE,
    )
    event.success(None, [name, text], [name, text], js=SAVE, api_visibility="private")


def _pictures(reading: Reading) -> str:
    picture, side = reading.shown.picture, reading.towards
    small = Radiograph(np.asarray(figures.shrink(picture.to_pil(), PICTURE_SIDE)), picture.name)
    shown = [_figure(figures.data_uri(small.to_pil(), "JPEG"), "As it was given", "X-ray")]
    if reading.heat is not None:
        laid = heatmaps.overlay(small, reading.heat.towards(side), 0.7, side)
        shown.append(
            _figure(
                figures.data_uri(laid, "JPEG"),
                f"What speaks for {side}, at layer {escape(reading.heat.layer)}",
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
        f" alt='{escape(alt)}'><figcaption>{caption}</figcaption></figure>"
    )


def _render_probes(moved: Sequence[probes.Probed], threshold: float, uncertainty: float) -> str:
    if not moved:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(result.probe.title)}</th><td>{percent(result.probability)}"
        f"</td><td>{answers.call(result.probability, threshold, uncertainty)}</td></tr>"
        for result in moved
    )
    return (
        f"<h2>{words.MOVED}</h2>"
        f"<p>{escape(robustness.sentence(moved, threshold, uncertainty))}</p>"
        f"<div class='columns'><table>{rows}</table></div>"
    )
