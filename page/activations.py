"""The Activations tab: what the channels of a layer answer to an X-ray of each class."""

from __future__ import annotations

import html
from functools import partial
from typing import Any, TypedDict

import gradio as gr

from page import panels, words
from page.served import EXAMPLES, ONE_BY_ONE, Models, Shown, example, received
from page.shared import View
from pneumonia import LABELS, Radiograph, explain, figures

COUNTS = (16, 32, 64)


class Channel(TypedDict):
    """One channel: its number, its strength over both X-rays and for each, and a picture of its two maps as a data address."""

    channel: int
    strength: float
    normal: float
    pneumonia: float
    picture: str


class Activations(TypedDict):
    """The channels of one layer, strongest first; height and width of its maps, and how many channels it has."""

    variant: str
    layer: str
    height: int
    width: int
    of: int
    channels: list[Channel]


def tiles(models: Models, variant: str, layer: str, count: int, left: Radiograph, right: Radiograph) -> tuple[Activations, list[Any]]:
    """The strongest channels of a layer as numbers and as pictures, in one order.

    Raises:
        gr.Error: the layer does not exist; the message names those that do.
    """
    try:
        maps = explain.activations(models[variant], [left, right], layer)
    except ValueError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
    strengths = explain.strength(maps)
    chosen = explain.order(strengths)[: min(max(1, int(count)), COUNTS[-1])]
    shades = explain.normalised(maps[..., chosen])
    pictures = [figures.pair(*(figures.enlarged(figures.coloured(shades[side, ..., place]), 192) for side in (0, 1))) for place in range(len(chosen))]
    means = strengths.mean(axis=0)
    channels = [Channel(channel=int(c), strength=float(means[c]), normal=float(strengths[0, c]), pneumonia=float(strengths[1, c]), picture="") for c in chosen]
    return Activations(variant=variant, layer=layer, height=maps.shape[1], width=maps.shape[2], of=maps.shape[3], channels=channels), pictures


def layer_choices(models: Models, variant: str) -> list[tuple[str, str]]:
    """The gallery layers of a model with where they stand: ``conv1 (early, 1 of 6)``."""
    layers = models.evidence(variant).contract.gallery_layers
    return [(f"{name} ({('early', 'middle', 'late')[3 * place // len(layers)]}, {place + 1} of {len(layers)})", name) for place, name in enumerate(layers)]


def side(label: str) -> tuple[gr.State, gr.Radio, gr.UploadButton, gr.HTML]:
    """One half of the pair: its X-ray and the ways to choose another."""
    files = EXAMPLES[label]
    state = gr.State(None, time_to_live=3600)
    with gr.Column(min_width=150, elem_classes="side"):
        view = gr.HTML(_of_choice(label, "0")[1])
        choice = gr.Radio(
            [(str(number), str(place)) for place, number in enumerate(range(1, len(files) + 1))],
            value="0",
            label=label,
            elem_id=f"{label.lower()}-example",
        )
        upload = gr.UploadButton(f"Own {label} X-ray", size="sm", type="filepath")
    return state, choice, upload, view


def build(view: View) -> None:
    """Model, layer, a pair of X-rays, and the layer's maps."""
    models, tab = view.models, view.tab
    layers = layer_choices(models, models.default)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            variant = gr.Radio(models.choices, value=models.default, label=words.MODEL, elem_id="maps-model")
            layer = gr.Dropdown(layers, value=layers[0][1], label=words.LAYER, elem_id="layer", filterable=False)
            count = gr.Radio(list(COUNTS), value=COUNTS[0], label=words.COUNT, elem_id="count")
        with gr.Column(scale=3, min_width=320), gr.Row(elem_classes="pair"):
            sides = [side(label) for label in LABELS]
    heading = gr.HTML("<h2 class='minor'>&nbsp;</h2>", elem_id="maps-heading")
    gallery = gr.Gallery(
        label=words.MAPS, format="png", columns=4, object_fit="contain", height="auto", interactive=False, buttons=["fullscreen"], elem_id="maps"
    )
    gr.Markdown(words.MAPS_HELP)

    def show(variant: str, layer: str, count: int, left: Shown | None, right: Shown | None) -> tuple[str, list[tuple[Any, str]]]:
        pictures = [(chosen or example(EXAMPLES[label][0])).picture for label, chosen in zip(LABELS, (left, right), strict=True)]
        found, images = tiles(models, variant, layer, count, *pictures)
        captions = [f"channel {channel['channel']} · strength {channel['strength']:.3g}" for channel in found["channels"]]
        size = f"{found['of']} channels of {found['height']} × {found['width']}"
        text = f"<h2 class='minor'>{panels.escaped(layer)} of {panels.escaped(models.title(variant))}: {size}, the {len(images)} strongest</h2>"
        return text, list(zip(images, captions, strict=True))

    def switch(variant: str, count: int, left: Shown | None, right: Shown | None) -> tuple[Any, ...]:
        choices = layer_choices(models, variant)
        return gr.Dropdown(choices, value=choices[0][1]), *show(variant, choices[0][1], count, left, right)

    states, outputs = [state for state, *_ in sides], [heading, gallery]
    inputs = [variant, layer, count, *states]
    # A model that a visitor brought on the other tab is offered here too.
    tab.select(lambda: gr.Radio(models.choices), None, variant, **ONE_BY_ONE)
    for event in (layer.input, count.input, tab.select):
        event(show, inputs, outputs, show_progress_on=gallery, **ONE_BY_ONE)
    variant.input(switch, [variant, count, *states], [layer, *outputs], show_progress_on=gallery, **ONE_BY_ONE)
    for label, (state, choice, upload, seen) in zip(LABELS, sides, strict=True):
        picked = choice.input(partial(_of_choice, label), choice, [state, seen], **ONE_BY_ONE)
        sent = upload.upload(partial(_of_upload, label), upload, [state, seen, choice], show_progress_on=seen, **ONE_BY_ONE)
        for event in (picked, sent):
            event.success(show, inputs, outputs, show_progress_on=gallery, **ONE_BY_ONE)


def _of_choice(label: str, place: str) -> tuple[Shown, str]:
    file = EXAMPLES[label][int(place)]
    return example(file), panels.xray(example(file).picture, f"{label} example {int(place) + 1}", f"{label} example {file.name}")


def _of_upload(label: str, path: str | None) -> tuple[Shown, str, None]:
    new = received(path)
    return new, panels.xray(new.picture, f"{label}: own X-ray", f"{label}, own X-ray {panels.escaped(new.picture.name)}"), None
