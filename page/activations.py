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

COUNTS = (16, 32, 64)


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
    """The gallery layers of a model, or all with maps, each with where it stands: ``conv1 (first
    layer), 1 of 6``.
    """
    layers = (
        explain.spatial_layers(models[variant])
        if every
        else models.evidence(variant).spec.gallery_layers
    )
    return [
        (f"{plain(name, layers)}, {place} of {len(layers)}", name)
        for place, name in enumerate(layers, start=1)
    ]


def build(view: View) -> None:
    """Layer, its maps, and one picture on its way through the network."""
    models = view.models
    gr.HTML(words.INTRO)
    with gr.Row(elem_id="maps-asked"):
        layers = layer_choices(models, models.default, every=False)
        layer = gr.Dropdown(
            layers,
            value=layers[0][1],
            label=words.LAYER,
            elem_id="layer",
            num_choices_shown=None,
            scale=3,
        )
        count = gr.Radio(list(COUNTS), value=COUNTS[0], label=words.COUNT, elem_id="count")
        every = gr.Checkbox(label=words.EVERY, elem_id="every-layer")
    gallery = gr.HTML("", elem_id="maps", min_height=420)
    through = gr.HTML("", elem_id="through", min_height=190)
    gr.Markdown(words.HELP)

    def show(
        variant: str, layer: str, every: bool, count: int, shown: Shown | str | None
    ) -> tuple[Any, str]:
        choices = layer_choices(models, variant, every)
        names = [name for _, name in choices]
        layer = layer if layer in names else names[0]
        pictures = compared(shown)
        maps = Maps(models, variant, layer, count, [picture.picture for picture in pictures])
        captions = [title(picture) for picture in pictures]
        tiles = [
            tile(
                [
                    Part.of_map(shades[..., place], caption)
                    for shades, caption in zip(maps.shades, captions, strict=True)
                ],
                f"channel {channel}",
                f"strength {maps.strengths[:, channel].mean():.3g}",
            )
            for place, channel in enumerate(maps.channels)
        ]
        height, width, of = maps.size
        heading = words.SHOWN.format(
            layer=plain(layer, explain.spatial_layers(models[variant])),
            title=models.title(variant),
            of=of,
            height=height,
            width=width,
            count=len(tiles),
            pictures=", ".join(captions),
        )
        return (
            gr.Dropdown(choices, value=layer),
            f"<h2 class='minor'>{panels.escaped(heading)}</h2>{grid(tiles, len(pictures))}",
        )

    def follow(variant: str, shown: Shown | str | None) -> str:
        return _through(models, variant, compared(shown)[0])

    view.follow(
        show,
        [view.variant, layer, every, count, view.shown],
        [layer, gallery],
        gallery,
        on=[each.input for each in (layer, every, count)],
    )
    view.follow(follow, [view.variant, view.shown], [through])


def compared(shown: Shown | str | None) -> list[Shown]:
    """The chosen X-ray and examples beside it: of the other class, or of both where its own class
    is not known.
    """
    if not isinstance(shown, Shown):
        return [example(EXAMPLES[label][0]) for label in LABELS]
    return [shown, *(example(EXAMPLES[label][0]) for label in LABELS if label != shown.truth)]


def plain(layer: str, layers: Sequence[str]) -> str:
    """A layer's name with where it stands: ``conv3 (last block)``."""
    place = layers.index(layer)
    stage = (
        words.FIRST
        if place == 0
        else words.LAST
        if place == len(layers) - 1
        else words.STAGES[3 * place // len(layers)]
    )
    return f"{layer} ({stage})"


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
