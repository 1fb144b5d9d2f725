"""What is said of a reading, as HTML: verdict, probability against its threshold, cost in people,
heat map under a curtain.

The sliders work in the browser alone: they set CSS variables on the page, which outlive a panel's
next content and move every picture's line together (``assets/answers.css``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import gradio as gr
import numpy as np
from PIL import Image

from page import answers, panels
from page import words as shared_words
from page.answers import Reading, uncertain_between
from page.panels import escape, percent
from page.served import ONE_BY_ONE, Shown
from page.shared import View
from page.words import answers as words
from pneumonia import LABELS, Radiograph, figures, heatmaps
from pneumonia.evidence import wilson

# Pixels of a film's longer side: the maps have 7 to 16 cells, so nothing is lost.
FILM_SIDE = 320
# One listener a panel, whatever its content becomes: a range sets the variable it names and every
# copy of itself; a radio turns its card's side.
LISTEN = """
const root = document.querySelector('.gradio-container');
element.addEventListener('input', (event) => {
    const input = event.target;
    if (input.dataset.sets) {
        root.style.setProperty(input.dataset.sets, input.value);
        root.querySelectorAll(`[data-sets="${input.dataset.sets}"]`).forEach((other) => {
            other.value = input.value;
        });
    }
    if (input.dataset.side) input.closest('[data-towards]').dataset.towards = input.dataset.side;
});
element.addEventListener('click', (event) => {
    if (event.target.closest('[data-force]')) trigger('click');
});
new MutationObserver(() => element.querySelectorAll('[data-sets]').forEach((input) => {
    const kept = root.style.getPropertyValue(input.dataset.sets);
    if (kept && input.value !== kept) input.value = kept;
})).observe(element, { childList: true, subtree: true });
"""


def panel(view: View, content: str, elem_id: str) -> gr.HTML:
    """A place for readings, with sliders that work and a button that forces an answer."""
    place = gr.HTML(content, elem_id=elem_id, js_on_load=LISTEN)

    def force_answer(shown: Shown | str | None) -> Shown | str | None:
        return replace(shown, forced=True) if isinstance(shown, Shown) else shown

    view.refresh_after(place.click(force_answer, view.shown, view.shown, **ONE_BY_ONE))
    return place


def instead(shown: Shown | str | None) -> str:
    """What stands in an answer's place: why there is no picture, or why it is refused, with the way
    to force that. Empty where the picture is to be answered.
    """
    if not isinstance(shown, Shown):
        why = shown or shared_words.GONE
        return (
            f"<section class='answer'{announce(why)}><p class='problem'>{escape(why)}</p></section>"
        )
    if not shown.rejection:
        return ""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in shown.reasons)
    height, width = shown.picture.full_size or shown.picture.size
    original = panels.xray(
        shown.picture,
        f"As it was read, in grey; the file has {width} × {height} pixels",
        f"Picture {escape(shown.picture.name)}",
    )
    return (
        f"<section class='answer refused'{announce(f'{words.REFUSED}. {shown.rejection}')}>"
        f"<div class='verdict-box'><p class='verdict'>{words.REFUSED}</p>"
        f"<ul class='reasons'>{reasons}</ul><p class='reading'>{words.FORCE_HELP}</p>"
        f"<p><button type='button' class='force' data-force>{words.FORCE}</button></p></div>"
        f"<div class='pictures'>{original}</div></section>"
    )


def render_waiting(shown: Shown) -> str:
    """The answer's place while a model is asked: the picture stands there already."""
    return (
        "<section class='answer busy'><div class='verdict-box'>"
        f"<p class='idle'>{words.READING}</p></div>"
        f"{draw_curtain(shown.picture, [], 'PNEUMONIA', '', '&nbsp;')}</section>"
    )


def announce(text: str) -> str:
    """An attribute: what a screen reader is told when this comes (``assets/app.js``)."""
    return f" data-say='{escape(text)}'"


def warning(reading: Reading) -> str:
    """What forbids belief: that an answer was forced, or is about an X-ray unlike those learned
    from. Empty for any other.
    """
    if reading.forced:
        why = words.FORCED_WHY.format(reasons=" ".join(reading.shown.reasons))
        return (
            f"<div class='forced'><p class='warning'>{words.FORCED}</p><p>{escape(why)}</p></div>"
        )
    if reading.prediction.unfamiliar:
        return f"<p class='why'>{escape(answers.why_uncertain(reading))}</p>"
    return ""


def head(reading: Reading) -> str:
    """What forbids belief, verdict, probability against its threshold, and what that is worth."""
    prediction, called = reading.prediction, reading.called
    forced = warning(reading) if reading.forced else ""
    why = answers.why_uncertain(reading)
    unsure = f"<p class='why'>{escape(why)}</p>" if why and not reading.forced else ""
    cost = answers.cost_sentence(reading)
    truth = reading.shown.truth
    match = {truth: "agrees", "UNCERTAIN": "open"}.get(called, "disagrees")
    return (
        f"{forced}<p class='verdict {called.lower()}'>{words.CALLED[called]}</p>"
        f"<p class='probability'><strong>{percent(prediction.probability)}</strong> probability of"
        f" pneumonia, {side(reading)}</p>{bar(reading)}{unsure}"
        + (f"<p class='cost'>{cost}</p>" if cost else "")
        + (f"<p class='truth'>{words.TRUTH[match].format(truth=truth)}</p>" if truth else "")
    )


def side(reading: Reading) -> str:
    """Where the probability lies: ``above this setting's 9.2%``."""
    threshold = reading.prediction.threshold
    above = reading.prediction.probability >= threshold
    return words.SIDE[above].format(threshold=percent(threshold))


def sentence(reading: Reading) -> str:
    """The answer as it is read aloud."""
    parts = (
        words.FORCED if reading.forced else "",
        f"{words.CALLED[reading.called]}, {percent(reading.prediction.probability)},"
        f" {side(reading)}",
        answers.why_uncertain(reading) if reading.prediction.unfamiliar else "",
        answers.cost_sentence(reading),
    )
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def bar(reading: Reading) -> str:
    """The probability as a bar with the threshold's mark and, where the model spec has one, the
    uncertain stretch around it; a key below.
    """
    probability, threshold = reading.prediction.probability, reading.prediction.threshold
    low, high = uncertain_between(threshold, reading.evidence.spec.uncertainty)
    # A forced or unfamiliar answer is uncertain wherever it lies, and that is said.
    anywhere = reading.forced or reading.prediction.unfamiliar
    banded = high > low and not anywhere
    band = key = ""
    if banded:
        place = f"left:{low * 100:.2f}%;width:{(high - low) * 100:.2f}%"
        band = f"<div class='band' style='{place}'></div>"
        key = f"<li class='band'>uncertain {low * 100:.1f}–{high * 100:.1f}%</li>"
    label = f"{percent(probability)}, {side(reading)}"
    if banded:
        label += f"; uncertain from {percent(low)} to {percent(high)}"
    return (
        f"<div class='bar {reading.called.lower()}' role='img' aria-label='{escape(label)}'>"
        f"<div class='fill' style='width:{probability * 100:.2f}%'></div>{band}"
        f"<div class='mark' style='left:{threshold * 100:.2f}%'></div></div>"
        f"<ul class='key {reading.called.lower()}' aria-hidden='true'>"
        f"<li class='fill'>probability</li><li class='mark'>threshold {percent(threshold)}</li>"
        f"{key}</ul>"
    )


def under_curtain(reading: Reading, group: str, drawing: bool = False) -> str:
    """The X-ray with its heat map under a curtain.

    Args:
        reading: with its heat map, or without one yet.
        group: names the radio buttons; unlike that of any other picture on the page.
        drawing: whether a map is on its way.
    """
    picture, first = reading.shown.picture, reading.towards
    if reading.heat is None:
        return draw_curtain(
            picture, [], first, group, words.DRAWING if drawing else words.NOTHING_TO_SHOW
        )
    films = [(label, film(reading.heat, picture, label)) for label in reversed(LABELS)]
    alts = {label: strongest(reading.heat, label) for label in LABELS}
    where = "".join(
        f"<span data-for='{label}'>{escape(f'{alts[label]} {inside(reading, label)}')}</span> "
        for label in LABELS
    )
    return draw_curtain(
        picture,
        films,
        first,
        group,
        f"{where}{words.HEAT_CAPTION}",
        {label: f"for {label}" for label in LABELS},
        alts,
        empty=[label for label in LABELS if not reading.heat.towards(label).any()],
    )


def draw_curtain(
    picture: Radiograph,
    films: Sequence[tuple[str, Image.Image]],
    first: str,
    group: str,
    caption: str,
    names: Mapping[str, str] | None = None,
    alts: Mapping[str, str] | None = None,
    legend: str = words.SPEAKS,
    empty: Collection[str] = (),
) -> str:
    """An X-ray, transparent films over it, and a line that is drawn across: X-ray on its left, the
    chosen film on its right.

    Args:
        picture: the X-ray.
        films: a class and the picture of its map, one a class; none while they are drawn.
        first: the class whose film is shown first.
        group: names the radio buttons that choose the film.
        caption: below it, as HTML.
        names, alts: of each film by its class: on its radio button, and for those who do not see
            it.
        legend: over the radio buttons.
        empty: classes whose film shows nothing and cannot be chosen.
    """
    source = figures.data_uri(figures.shrink(picture.to_pil(), panels.PREVIEW_SIDE), "JPEG")
    sheets, radios, line, controls = "", "", "", ""
    for label, sheet in films:
        alt, name = escape((alts or {}).get(label, "")), escape((names or {}).get(label, label))
        sheets += (
            f"<img class='film {label.lower()}' src='{figures.data_uri(sheet, 'WEBP')}'"
            f" alt='{alt}'>"
        )
        radios += (
            f"<label><input type='radio' name='{group}'"
            f" data-side='{label}'{' checked' if label == first else ''}"
            f"{' disabled' if label in empty else ''}> {name}</label>"
        )
    if films:
        line = (
            "<div class='line' aria-hidden='true'></div><input type='range' class='curtain'"
            f" min='0' max='100' value='0' data-sets='--curtain' aria-label='{words.CURTAIN}'>"
        )
        controls = (
            f"<div class='heat-controls'><fieldset class='sides'><legend>{legend}</legend>{radios}"
            f"</fieldset><label class='strength'>{words.STRENGTH}<input type='range' min='0'"
            " max='100' value='70' data-sets='--strength'></label></div>"
        )
    return (
        f"<figure class='heat' data-towards='{first}'><div class='frame'><img src='{source}'"
        f" alt='X-ray {escape(picture.name)}'>{sheets}{line}</div>{controls}"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def as_seen(reading: Reading) -> str:
    """The X-ray as it entered the network, in its real pixels."""
    height, width = reading.seen.shape
    name = escape(reading.shown.picture.name)
    image = figures.data_uri(Image.fromarray(reading.seen))
    return (
        f"<figure class='as-seen'><div class='frame'><img src='{image}' alt='X-ray {name}, squeezed"
        f" to the model&#39;s input'></div><figcaption>As the model sees it, {width} ×"
        f" {height} pixels</figcaption></figure>"
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


def inside(reading: Reading, label: str) -> str:
    """How much of what speaks for a class lies in the lung fields, in words; empty where nothing
    speaks for it.
    """
    if reading.heat is None or not reading.heat.towards(label).any():
        return ""
    if reading.in_lungs is None or label not in reading.in_lungs:
        return words.LUNGS_UNKNOWN
    share, area = reading.in_lungs[label]
    text = words.LUNGS_MOST if share > 0.5 else words.LUNGS_PART
    # No more than a map that knows nothing of lungs would put there.
    text = words.LUNGS_LITTLE if share <= area else text
    return text.format(share=f"{share * 100:.0f}%", area=f"{area * 100:.0f}%")


def place_of(down: float, across: float) -> str:
    """A place in words: shares of the picture's height and width, 0 to 1, to such as ``lower
    left``, as the picture lies before the reader.
    """
    vertical = ("upper", "middle", "lower")[min(2, int(3 * down))]
    horizontal = ("left", "centre", "right")[min(2, int(3 * across))]
    return (
        "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
    )


def facts(reading: Reading) -> str:
    """Everything else that is known of an answer, at the very setting it was given at."""
    prediction, spec, counted = reading.prediction, reading.evidence.spec, reading.cost
    low, high = uncertain_between(prediction.threshold, spec.uncertainty)
    height, width = reading.shown.picture.full_size or reading.shown.picture.size
    rows = {}
    if not reading.forced:
        rows = {key: words.NOT_MEASURED for key in ("missed", "alarms", "accuracy", "precision")}
    if counted and not reading.forced:
        found = counted.ill - counted.missed
        rows = {
            "missed": _count_share(counted.missed, counted.ill),
            "alarms": _count_share(counted.false_alarms, counted.healthy),
            "accuracy": panels.with_interval(counted.accuracy),
            "precision": _count_share(found, found + counted.false_alarms)
            + f"; pneumonia in {counted.ill} of {counted.ill + counted.healthy} X-rays",
        }
    rows |= {
        "threshold": f"{percent(prediction.threshold)}, {escape(words.point_name(reading.point))}"
        + (f"; between {percent(low)} and {percent(high)} uncertain" if high > low else "")
        + ("" if reading.forced else f". {escape(words.held_out_recall(reading.point))}"),
        "kind": f"{words.calibration(spec.temperature)}, in {prediction.milliseconds:.0f} ms",
        "file": f"{escape(prediction.name)}, {width} × {height} pixels",
        "model": f"{escape(reading.evidence.title)}, {escape(reading.evidence.source)}"
        + (f"<br>{escape(reading.evidence.why)}" if reading.evidence.why else ""),
        "weights": f"sha256 <code>{spec.weights_sha256[:12]}</code>",
        "trained": f"recipe <code>{escape(spec.recipe.get('name', 'unknown'))}</code>"
        f" at {panels.commit(spec)}",
    }
    cells = "".join(
        f"<div><dt>{words.FACTS[key]}</dt><dd>{row}</dd></div>" for key, row in rows.items()
    )
    return f"<dl class='facts'>{cells}</dl>"


def details(reading: Reading) -> str:
    """Behind a disclosure: the picture as the network got it, the facts, what the colours mean."""
    help_ = ""
    if reading.heat is not None:
        help_ = words.HEAT_HELP.format(layer=f"<code>{escape(reading.heat.layer)}</code>")
    return (
        f"<details class='details'><summary>{words.DETAILS}</summary>"
        f"{facts(reading)}<div class='seen'>{as_seen(reading)}{help_}</div></details>"
    )


def render_answer(reading: Reading, drawing: bool = False) -> str:
    """The whole panel of the Predict tab."""
    spoken = "" if not drawing else announce(sentence(reading))
    example = f"<p class='example-tag'>{words.EXAMPLE}</p>" if reading.shown.truth else ""
    meaning = "" if reading.forced else words.MEANS.get(reading.called, "")
    means = f"<p class='means'>{meaning}</p>" if meaning else ""
    return (
        f"<section class='answer'{spoken}>"
        f"<div class='verdict-box'>{example}{head(reading)}{means}</div>"
        f"{under_curtain(reading, 'predict-side', drawing)}{details(reading)}</section>"
    )


def _count_share(count: int, total: int) -> str:
    if not total:
        return words.NOT_MEASURED
    low, high = wilson(count, total)
    return (
        f"{count} of {total}, {count / total * 100:.1f}% <span class='interval'>(95% interval"
        f" {low * 100:.1f}–{high * 100:.1f}%)</span>"
    )
