"""What is said of a reading, as HTML: verdict, probability against its threshold, cost in people,
heat map under a curtain.

The sliders work in the browser alone: they set CSS variables on the page, which outlive a panel's
next content and move every picture's line together (``assets/answers.css``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import gradio as gr
import numpy as np
from PIL import Image

from page import panels
from page.answers import Reading, cost_sentence, uncertain_between
from page.panels import escaped, percent
from page.served import ONE_BY_ONE, Shown
from page.shared import View
from page.words import answers as words
from pneumonia import LABELS, Radiograph, figures, heatmaps

# Pixels of a film's longer side: the maps have 7 to 16 cells, so nothing is lost.
FILM_SIDE = 320
# Takes the room of :func:`curtained` before there is anything to show in it.
EMPTY_FRAME = (
    "<figure class='heat'><div class='frame'></div><figcaption>&nbsp;</figcaption><div"
    " class='heat-controls'></div></figure>"
)
# One listener a panel, whatever its content becomes: a range sets the variable it names and every
# copy of itself; a radio turns its picture's side.
LISTEN = """
const root = document.querySelector('.gradio-container');
element.addEventListener('input', (event) => {
    const input = event.target;
    if (input.dataset.sets) {
        root.style.setProperty(input.dataset.sets, input.value);
        root.querySelectorAll(`[data-sets="${input.dataset.sets}"]`).forEach((other) => { other.value = input.value; });
    }
    if (input.dataset.side) input.closest('[data-towards]').dataset.towards = input.dataset.side;
});
element.addEventListener('click', (event) => { if (event.target.closest('[data-force]')) trigger('click'); });
new MutationObserver(() => element.querySelectorAll('[data-sets]').forEach((input) => {
    const kept = root.style.getPropertyValue(input.dataset.sets);
    if (kept && input.value !== kept) input.value = kept;
})).observe(element, { childList: true, subtree: true });
"""


def panel(view: View, content: str, elem_id: str) -> gr.HTML:
    """A place for readings, with sliders that work and a button that overrules a refusal; wire
    followers after it.
    """
    place = gr.HTML(content, elem_id=elem_id, js_on_load=LISTEN)

    def forced(shown: Shown | None) -> Shown | None:
        return replace(shown, forced=True) if shown else None

    view.changed(place.click(forced, view.shown, view.shown, **ONE_BY_ONE))
    return place


def waiting(evidence: panels.Evidence, problem: str | None = None) -> str:
    """The answer's place before there is a picture, or after one that could not be read; as high as
    the answer will be.
    """
    says = (
        f"<p class='problem' role='alert'>{escaped(problem)}</p>"
        if problem
        else f"<p class='idle'>{words.IDLE}</p>"
    )
    return (
        f"<section class='answer empty'><div class='verdict-box'>{says}</div><div class='pictures"
        f" idle-pictures' aria-hidden='true'>{EMPTY_FRAME}<figure><div"
        " class='frame'></div></figure></div><p"
        f" class='where'>&nbsp;</p>{panels.facts(evidence)}</section>"
    )


def refused(shown: Shown) -> str:
    """Why a picture is not answered, the picture itself, and the way to force that."""
    reasons = "".join(f"<li>{escaped(reason)}</li>" for reason in shown.reasons)
    height, width = shown.picture.size
    return (
        "<section class='answer refused' aria-live='polite'><div class='verdict-box'><p"
        f" class='verdict'>{words.REFUSED}</p><ul class='reasons'>{reasons}</ul>"
        f"<p class='reading'>{words.OVERRULE_HELP}</p><p><button type='button' class='force'"
        f" data-force>{words.OVERRULE}</button></p></div>"
        "<div"
        f" class='pictures'>{panels.xray(shown.picture, f'Original, {width} × {height} pixels', f'Picture {escaped(shown.picture.name)}')}</div></section>"
    )


def head(reading: Reading) -> str:
    """Verdict, whose it is, and the probability against its threshold."""
    prediction, spec = reading.prediction, reading.evidence.spec
    why = f"<p class='why'>{words.UNCERTAIN_WHY}</p>" if reading.called == "UNCERTAIN" else ""
    return (
        f"<p class='verdict {reading.called.lower()}'>{words.CALLED[reading.called]}</p>{why}<p"
        f" class='reading'>{escaped(reading.evidence.title)} on <span"
        f" class='name'>{escaped(prediction.name)}</span>, in {prediction.milliseconds:.0f}"
        f" ms</p><p class='probability'><strong>{percent(prediction.probability)}</strong>"
        " probability of pneumonia <span"
        f" class='interval'>({words.calibration(spec.temperature)})</span></p>{bar(reading)}"
    )


def bar(reading: Reading) -> str:
    """The probability as a bar with the threshold's mark and, where the model spec has one, the
    uncertain stretch around it.
    """
    probability, threshold = reading.prediction.probability, reading.prediction.threshold
    low, high = uncertain_between(threshold, reading.evidence.spec.uncertainty)
    band = (
        f"<div class='band' style='left:{low * 100:.2f}%;width:{(high - low) * 100:.2f}%'></div>"
        if high > low
        else ""
    )
    side = "at or above" if probability >= threshold else "below"
    label = f"{percent(probability)}, {side} the threshold of {threshold * 100:.3g}%"
    if high > low:
        label += f"; uncertain from {percent(low)} to {percent(high)}"
    # Near the right end the threshold's words stand to the left of its mark, or they would leave
    # the page.
    turned = " turned" if threshold > 0.7 else ""
    return (
        f"<div class='bar {reading.called.lower()}' role='img' aria-label='{label}'><div"
        f" class='fill' style='width:{probability * 100:.2f}%'></div>{band}<div"
        f" class='mark{turned}' style='left:{threshold * 100:.2f}%'><span>threshold"
        f" {threshold * 100:.3g}%</span></div></div>"
    )


def cost(reading: Reading) -> str:
    """What the setting costs in people, what held-out patients said of it, and, for an example, what the data
    set says.
    """
    held_out = words.held_out_recall(reading.point)
    text = (
        f"<p class='cost'>{cost_sentence(reading)}{f' {escaped(held_out)}' if held_out else ''}</p>"
    )
    if reading.shown.forced and reading.shown.reasons:
        text += f"<p class='problem'>{escaped(words.OVERRULED.format(reasons=' '.join(reading.shown.reasons)))}</p>"
    truth = reading.shown.truth
    if truth is None:
        return text
    verdict = {truth: "agrees", "UNCERTAIN": "gives no label"}.get(reading.called, "disagrees")
    return (
        f"{text}<p class='truth'>The data set calls this example {truth}: the model {verdict}.</p>"
    )


def under_curtain(reading: Reading, group: str, drawing: bool = False) -> str:
    """The X-ray with its heat map under a curtain.

    Args:
        reading: with its heat map, or without one yet.
        group: names the radio buttons; unlike that of any other picture on the page.
        drawing: whether a map is on its way.
    """
    picture, side = reading.shown.picture, reading.towards
    if reading.heat is None:
        return curtained(
            picture, [], side, group, words.DRAWING if drawing else words.NOTHING_TO_SHOW
        )
    films = [(label, film(reading.heat, picture, label)) for label in reversed(LABELS)]
    alts = {label: strongest(reading.heat, label) for label in LABELS}
    caption = words.HEAT_CAPTION.format(layer=f"<code>{escaped(reading.heat.layer)}</code>")
    return curtained(
        picture, films, side, group, caption, {label: f"for {label}" for label in LABELS}, alts
    )


def curtained(
    picture: Radiograph,
    films: Sequence[tuple[str, Image.Image]],
    side: str,
    group: str,
    caption: str,
    names: Mapping[str, str] | None = None,
    alts: Mapping[str, str] | None = None,
    legend: str = words.SPEAKS,
) -> str:
    """An X-ray, transparent films over it, and a line that is drawn across: X-ray on its left, the
    chosen film on its right.

    Args:
        picture: the X-ray.
        films: a class and the picture of its map, one a class; none while they are drawn.
        side: the class whose film is shown first.
        group: names the radio buttons that choose the film.
        caption: below it, as HTML.
        names, alts: of each film by its class: on its radio button, and for those who do not see
            it.
        legend: over the radio buttons.
    """
    source = figures.data_uri(figures.reduced(picture.to_pil(), panels.PREVIEW_SIDE), "JPEG")
    sheets, radios, line, controls = "", "", "", ""
    for label, sheet in films:
        alt, name = escaped((alts or {}).get(label, "")), escaped((names or {}).get(label, label))
        sheets += (
            f"<img class='film {label.lower()}' src='{figures.data_uri(sheet, 'WEBP')}'"
            f" alt='{alt}'>"
        )
        radios += (
            f"<label><input type='radio' name='{group}'"
            f" data-side='{label}'{' checked' if label == side else ''}> {name}</label>"
        )
    if films:
        line = (
            "<div class='line' aria-hidden='true'></div><input type='range' class='curtain'"
            f" min='0' max='100' value='0' data-sets='--curtain' aria-label='{words.CURTAIN}'>"
        )
        controls = (
            f"<fieldset class='sides'><legend>{legend}</legend>{radios}</fieldset><label"
            f" class='strength'>{words.STRENGTH}<input type='range' min='0' max='100' value='70'"
            " data-sets='--strength'></label>"
        )
    return (
        f"<figure class='heat' data-towards='{side}'><div class='frame'><img src='{source}'"
        " alt='X-ray"
        f" {escaped(picture.name)}'>{sheets}{line}</div><figcaption>{caption}</figcaption><div"
        f" class='heat-controls'>{controls}</div></figure>"
    )


def as_seen(reading: Reading) -> str:
    """The X-ray as it entered the network, in its real pixels."""
    height, width = reading.seen.shape
    name = escaped(reading.shown.picture.name)
    image = figures.data_uri(Image.fromarray(reading.seen))
    return (
        f"<figure class='as-seen'><div class='frame'><img src='{image}' alt='X-ray {name}, squeezed"
        f" to the model&#39;s input'></div><figcaption>As the model sees it, {width} ×"
        f" {height}</figcaption></figure>"
    )


def film(heat: heatmaps.HeatMap, picture: Radiograph, label: str) -> Image.Image:
    """The map for a class as a transparent RGBA picture of the X-ray's aspect."""
    height, width = picture.size
    scale = FILM_SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return figures.film(heat.towards(label, size), heatmaps.COLOURMAPS[label])


def strongest(heat: heatmaps.HeatMap, label: str) -> str:
    """Where a map is strongest, in words, for those who do not see it."""
    shares = heat.towards(label)
    if not shares.any():
        return words.HEAT_NONE.format(label=label)
    row, column = np.unravel_index(int(shares.argmax()), shares.shape)
    return words.STRONGEST.format(
        label=label, place=place_of((row + 0.5) / shares.shape[0], (column + 0.5) / shares.shape[1])
    )


def inside(reading: Reading) -> str:
    """How much of what speaks for the answer lies in the lung fields, in words; empty where there
    is nothing to measure.
    """
    if reading.heat is None or not reading.heat.towards(reading.towards).any():
        return ""
    if reading.in_lungs is None:
        return words.LUNGS_UNKNOWN
    share, area = reading.in_lungs
    text = words.LUNGS.format(
        share=f"{share * 100:.0f}%", label=reading.towards, area=f"{area * 100:.0f}%"
    )
    return text if share > area else f"{text} {words.LUNGS_CHANCE}"


def place_of(down: float, across: float) -> str:
    """A place in words: shares of the picture's height and width, 0 to 1, to such as ``lower
    left``, as the picture lies before the reader.
    """
    vertical = ("upper", "middle", "lower")[min(2, int(3 * down))]
    horizontal = ("left", "centre", "right")[min(2, int(3 * across))]
    return (
        "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
    )


def answered(reading: Reading, drawing: bool = False) -> str:
    """The whole panel of the Predict tab."""
    where = (
        f"{escaped(strongest(reading.heat, reading.towards))} {escaped(inside(reading))}"
        if reading.heat
        else "&nbsp;"
    )
    return (
        "<section class='answer' aria-live='polite'><div"
        f" class='verdict-box'>{head(reading)}{cost(reading)}</div><div"
        f" class='pictures'>{under_curtain(reading, 'predict-side', drawing)}{as_seen(reading)}</div><p"
        f" class='where'>{where}</p>{words.HEAT_HELP}{panels.facts(reading.evidence)}</section>"
    )
