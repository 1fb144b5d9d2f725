"""The Activations tab: what the channels of any layer answer to an X-ray of each class and to one's
own, and one picture on its way through the network.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import gradio as gr
from PIL import Image

from page import answers, panels
from page.served import EXAMPLES, Models, Shown, example, received
from page.shared import View, title
from page.tiles import Part, grid, strip, tile
from page.words import activations as words
from pneumonia import LABELS, Radiograph, explain, figures, radiograph
from pneumonia.architectures import CATALOGUE

COUNTS = (16, 32, 64)
# Of the strip: the chosen X-ray, or an example.
CHOSEN = "chosen"


class Channel(TypedDict):
    """One channel: its number, its strength over both X-rays and for each, and a picture of its two
    maps as a ``data:`` address.
    """

    channel: int
    strength: float
    normal: float
    pneumonia: float
    picture: str


class Activations(TypedDict):
    """The channels of one layer, strongest first; height and width of its maps, and how many
    channels it has.
    """

    variant: str
    layer: str
    height: int
    width: int
    of: int
    channels: list[Channel]


class Maps:
    """The strongest channels of a layer for several X-rays.

    Attributes:
        size: height, width and number of channels of the layer.
        channels: their numbers, strongest first.
        strengths: float32 ``(N, C)`` of all channels.
        shades: float32 ``(N, h, w, count)``, 0 to 1, of the chosen ones.

    Raises:
        gr.Error: the layer does not exist; the message names some that do.
    """

    def __init__(
        self, models: Models, variant: str, layer: str, count: int, pictures: Sequence[Radiograph]
    ) -> None:
        try:
            maps = explain.activations(models[variant], pictures, layer)
        except ValueError as error:
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
        self.size = maps.shape[1:]
        self.strengths = explain.strength(maps)
        self.channels = [
            int(channel)
            for channel in explain.order(self.strengths)[: min(max(1, int(count)), COUNTS[-1])]
        ]
        self.shades = explain.normalised(maps[..., self.channels])


def endpoints(models: Models) -> tuple[Callable[..., Any], ...]:
    """``/activations``."""

    def activations(
        normal: gr.FileData,
        pneumonia: gr.FileData,
        layer: str,
        variant: str = models.default,
        count: int = 16,
        force: bool = False,
    ) -> Activations:
        """The strongest channels of a layer for a pair of chest X-rays, strongest first, each with
        its strengths and a picture of its two maps.

        Args:
            normal: an X-ray without pneumonia.
            pneumonia: an X-ray with it.
            layer: such as conv1 or, of xception, block5_add.
            variant: the model.
            count: how many channels, 64 at most.
            force: answer also on what does not look like a frontal chest X-ray.
        """
        pair = [
            answers.must_be_answered(received(image), force).picture
            for image in (normal, pneumonia)
        ]
        maps = Maps(models, variant, layer, count, pair)
        channels = []
        for place, channel in enumerate(maps.channels):
            halves = [
                figures.enlarged(figures.coloured(shades[..., place]), 192)
                for shades in maps.shades
            ]
            of_normal, of_pneumonia = (float(strengths[channel]) for strengths in maps.strengths)
            strength, picture = (
                float(maps.strengths[:, channel].mean()),
                figures.data_uri(figures.pair(*halves)),
            )
            channels.append(
                Channel(
                    channel=channel,
                    strength=strength,
                    normal=of_normal,
                    pneumonia=of_pneumonia,
                    picture=picture,
                )
            )
        height, width, of = maps.size
        return Activations(
            variant=variant, layer=layer, height=height, width=width, of=of, channels=channels
        )

    return (activations,)


def layer_choices(models: Models, variant: str, every: bool) -> list[tuple[str, str]]:
    """The gallery layers of a model, or all with maps, each with where it stands: ``conv1 (early, 1
    of 6)``.
    """
    layers = (
        explain.spatial_layers(models[variant])
        if every
        else models.evidence(variant).spec.gallery_layers
    )
    return [
        (f"{name} ({words.STAGES[3 * place // len(layers)]}, {place + 1} of {len(layers)})", name)
        for place, name in enumerate(layers)
    ]


def build(view: View) -> None:
    """Model, layer, X-rays; the layer's maps; a strip through the depth of the network."""
    models = view.models
    gr.HTML(words.INTRO)
    view.chooser("maps")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            variant = view.model_radio("maps-model")
            layers = layer_choices(models, models.default, every=False)
            layer = gr.Dropdown(
                layers,
                value=layers[0][1],
                label=words.LAYER,
                elem_id="layer",
                num_choices_shown=None,
            )
            every = gr.Checkbox(label=words.EVERY, elem_id="every-layer")
            count = gr.Radio(list(COUNTS), value=COUNTS[0], label=words.COUNT, elem_id="count")
        with gr.Column(scale=3, min_width=320):
            compared = gr.HTML(
                _compared([example(EXAMPLES[label][0]) for label in LABELS]), elem_id="compared"
            )
            with gr.Row(elem_classes="pair"):
                pair = [_example_radio(label) for label in LABELS]
    gallery = gr.HTML("<div class='tiles-place'></div>", elem_id="maps", min_height=420)
    with gr.Row(elem_classes="strip-asked"):
        along = gr.Radio(
            [(words.CHOSEN, CHOSEN), *((f"{label} example", label) for label in LABELS)],
            value=CHOSEN,
            label=words.FOLLOW,
            elem_id="follow",
        )
    through = gr.HTML("<div class='strip-place'></div>", elem_id="through", min_height=190)
    claims = ", ".join(
        f"{variant.title} {variant.claimed:.0%}"
        for variant in CATALOGUE.values()
        if variant.claimed
    )
    gr.Markdown(words.HELP.format(claims=claims))

    def of_pair(normal: str, pneumonia: str) -> list[Shown]:
        return [
            example(EXAMPLES[label][int(place)])
            for label, place in zip(LABELS, (normal, pneumonia), strict=True)
        ]

    def show(
        variant: str,
        layer: str,
        every: bool,
        count: int,
        normal: str,
        pneumonia: str,
        shown: Shown | None,
    ) -> tuple[Any, str, str]:
        choices = layer_choices(models, variant, every)
        names = [name for _, name in choices]
        layer = layer if layer in names else names[0]
        pictures = of_pair(normal, pneumonia)
        if shown and shown.file not in [picture.file for picture in pictures]:
            pictures.append(shown)
        maps = Maps(models, variant, layer, count, [picture.picture for picture in pictures])
        captions = [title(picture) for picture in pictures]
        tiles = []
        for place, channel in enumerate(maps.channels):
            parts = [
                Part.of_map(shades[..., place], caption)
                for shades, caption in zip(maps.shades, captions, strict=True)
            ]
            tiles.append(
                tile(
                    parts, f"channel {channel}", f"strength {maps.strengths[:, channel].mean():.3g}"
                )
            )
        height, width, of = maps.size
        sizes = (
            f"{of} channels of {height} × {width}, the {len(tiles)} strongest; in each tile"
            f" {', '.join(captions)}"
        )
        heading = (
            f"<h2 class='minor'>{panels.escaped(layer)} of {panels.escaped(models.title(variant))}:"
            f" {panels.escaped(sizes)}</h2>"
        )
        return (
            gr.Dropdown(choices, value=layer),
            _compared(pictures),
            heading + grid(tiles, len(pictures)),
        )

    def follow(variant: str, along: str, normal: str, pneumonia: str, shown: Shown | None) -> str:
        pair = dict(zip(LABELS, of_pair(normal, pneumonia), strict=True))
        followed = pair.get(along) or shown or pair[LABELS[1]]
        return _through(models, variant, followed)

    view.follow(
        show,
        [variant, layer, every, count, *pair, view.shown],
        [layer, compared, gallery],
        gallery,
        on=[each.input for each in (layer, every, count, *pair)],
    )
    view.follow(
        follow,
        [variant, along, *pair, view.shown],
        [through],
        on=[each.input for each in (along, *pair)],
    )


def _example_radio(label: str) -> Any:
    places = [(str(place + 1), str(place)) for place in range(len(EXAMPLES[label]))]
    return gr.Radio(
        places,
        value="0",
        label=f"{label} example",
        elem_id=f"{label.lower()}-example",
        min_width=120,
    )


def _compared(pictures: Sequence[Shown]) -> str:
    shown = [
        panels.xray(
            picture.picture,
            panels.escaped(title(picture)),
            f"X-ray {panels.escaped(title(picture))}",
        )
        for picture in pictures
    ]
    return f"<div class='pictures of-{len(shown)}'>{''.join(shown)}</div>"


def _through(models: Models, variant: str, followed: Shown) -> str:
    classifier = models[variant]
    seen = radiograph.resize(followed.picture, classifier.spec.input_size)
    name = title(followed)
    tiles = [
        tile([Part(Image.fromarray(seen), name)], "input", f"{seen.shape[0]} × {seen.shape[1]}")
    ]
    for layer, maps in explain.depth(classifier, followed.picture).items():
        strongest = int(explain.order(explain.strength(maps[None]))[0])
        height, width, of = maps.shape
        shades = explain.normalised(maps[None, ..., [strongest]])[0, ..., 0]
        tiles.append(
            tile(
                [Part.of_map(shades, name)],
                layer,
                f"{height} × {width} × {of}, channel {strongest}",
            )
        )
    label = f"{name} through {models.title(variant)}: of each layer the strongest channel"
    return f"<h2 class='minor'>{panels.escaped(label)}</h2>{strip(tiles, label)}"
