"""The Activations tab: what the original notebook saw in its layers beside what ours show, the
channels of any layer, and one picture on its way through the network.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
import numpy as np
from PIL import Image

from page import answers, panels, verdicts
from page.served import ASSETS, EXAMPLES, Models, Shown, example, receive_upload
from page.shared import View, title
from page.tiles import Part, grid, strip, tile
from page.words import activations as words
from pneumonia import LABELS, Radiograph, channels, explain, figures, radiograph

COUNTS = (16, 32, 64)
# The network whose layers the original notebook looked at, and what was measured of ours.
TOLD, HELD_OUT = "augmented", ASSETS / "results" / "channels.json"
# Contrast of a map, as a multiple of the X-ray's, from which it is worth showing.
FAINT = 0.15


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
        self.shades = explain.normalise(maps[..., self.channels])


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
            answers.must_be_answered(receive_upload(image), force).picture
            for image in (normal, pneumonia)
        ]
        maps = Maps(models, variant, layer, count, pair)
        found = []
        for place, channel in enumerate(maps.channels):
            halves = [
                figures.enlarge(figures.apply_colours(shades[..., place]), 192)
                for shades in maps.shades
            ]
            of_normal, of_pneumonia = (float(strengths[channel]) for strengths in maps.strengths)
            strength, picture = (
                float(maps.strengths[:, channel].mean()),
                figures.data_uri(figures.pair(*halves)),
            )
            found.append(
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
            variant=variant, layer=layer, height=height, width=width, of=of, channels=found
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


@lru_cache(maxsize=4)
def _read_measures(file: Path, _changed: int) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def find_measures(models: Models, variant: str) -> dict[str, Any]:
    """What ``tools/channels.py`` measured over the X-rays of held-out patients, where it measured
    these very weights; else nothing.
    """
    if not HELD_OUT.is_file():
        return {}
    found = _read_measures(HELD_OUT, HELD_OUT.stat().st_mtime_ns)
    same = found["weights_sha256"] == models[variant].spec.weights_sha256
    return found if same else {}


def story(models: Models, shown: Shown | str | None) -> str:
    """The original notebook's three findings, each beside what holds of our network, with the
    channels that show it best.
    """
    if not isinstance(shown, Shown):
        return verdicts.instead(shown)
    if TOLD not in models.names:
        return ""
    classifier, pictures = models[TOLD], choose_pictures(shown)
    measured = find_measures(models, TOLD)
    of_layer = {one["layer"]: one for one in measured.get("layers", ())}
    layers = [name for name in classifier.spec.gallery_layers if name.startswith("conv")]
    seen = np.stack(
        [radiograph.resize(one.picture, classifier.spec.input_size) for one in pictures]
    )
    parts = []
    for place, layer in enumerate(layers[: len(words.LAYERS)]):
        maps = explain.activations(classifier, [one.picture for one in pictures], layer)
        tiles = _showing(place, maps, seen, of_layer.get(layer), [title(one) for one in pictures])
        parts.append(
            f"<section class='finding'><h2>{words.LAYERS[place]}</h2><dl><div>"
            f"<dt>{words.NOTEBOOK}</dt><dd>{words.SAID[place]}</dd></div><div>"
            f"<dt>{words.OURS}</dt><dd>{_holds(place, of_layer.get(layer), measured)}</dd></div>"
            f"</dl>{grid(tiles, len(pictures))}</section>"
        )
    return f"{''.join(parts)}{words.IMPRESSIONS}"


def _holds(place: int, layer: dict[str, Any] | None, measured: dict[str, Any]) -> str:
    if layer is None:
        return words.UNMEASURED
    images = sum(measured["images"].values())
    kinds = words.KINDS.format(images=images, alive=layer["alive"], **layer["kinds"])
    if place == 0:
        return kinds
    if place == 1:
        return f"{words.DETAIL.format(**layer)} {kinds}"
    brighter = words.BRIGHTER.format(share=f"{layer['brighter_when_ill']:.0%}")
    inverted = words.INVERTED.format(share=f"{layer['more_inverted_when_ill']:.0%}")
    return f"{kinds} {brighter} {inverted}"


def _showing(
    place: int,
    maps: np.ndarray,
    seen: np.ndarray,
    layer: dict[str, Any] | None,
    captions: Sequence[str],
) -> list[str]:
    """The channels that show a finding best, by what was measured on the very X-rays shown."""
    like = channels.likeness(maps, seen)
    picture, edges, contrast = (
        # A map with hardly anything in it shows nothing.
        np.where(like.contrast.min(axis=0) > FAINT, values.mean(axis=0), np.nan)
        for values in (like.picture, like.edges, like.contrast)
    )
    # Crisper and fuzzier are said of what still looks like the X-ray or its negative.
    clear = np.where(np.abs(picture) > channels.LIKE, contrast, np.nan)
    wanted = (
        [(words.EDGES, words.CORRELATION, edges, 4)],
        [(words.CRISPER, words.SHARPER, clear, 2), (words.FUZZIER, words.SHARPER, -clear, 2)],
        [
            (words.PLAIN, words.CORRELATION, picture, 1),
            (words.NEGATIVE, words.CORRELATION, -picture, 1),
        ],
    )[place]
    chosen = [
        (int(channel), name, note.format(value=abs(float(values[channel]))))
        for name, note, values, count in wanted
        for channel in np.argsort(-values, kind="stable")[:count]
        if np.isfinite(values[channel])
    ]
    if place == 2 and layer:
        haze = layer["haze"]
        chosen.append((haze["channel"], words.HAZE, words.APART.format(value=haze["auc"])))
    shades = explain.normalise(maps)
    return [
        tile(
            [
                Part.of_map(shades[number, ..., channel], caption)
                for number, caption in enumerate(captions)
            ],
            f"{name}, channel {channel}",
            note,
        )
        for channel, name, note in chosen
    ]


def build(view: View) -> None:
    """The notebook's story; any layer's maps; one picture on its way through the network."""
    models = view.models
    gr.HTML(words.INTRO)
    told = gr.HTML("", elem_id="story", min_height=420)
    gr.HTML(f"<h2 class='minor'>{words.EXPLORE}</h2>")
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
    gr.HTML(words.HELP)

    def show(
        variant: str, layer: str, every: bool, count: int, shown: Shown | str | None
    ) -> tuple[Any, str]:
        choices = layer_choices(models, variant, every)
        names = [name for _, name in choices]
        layer = layer if layer in names else names[0]
        if not isinstance(shown, Shown):
            return gr.Dropdown(choices, value=layer), ""
        pictures = choose_pictures(shown)
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
            layer=plain(layer, names),
            title=models.title(variant),
            of=of,
            height=height,
            width=width,
            count=len(tiles),
            pictures=", ".join(captions),
        )
        return (
            gr.Dropdown(choices, value=layer),
            f"<h2 class='minor'>{panels.escape(heading)}</h2>{grid(tiles, len(pictures))}",
        )

    def follow(variant: str, shown: Shown | str | None) -> str:
        return _through(models, variant, shown) if isinstance(shown, Shown) else ""

    view.follow(partial(story, models), [view.shown], [told])
    view.follow(
        show,
        [view.variant, layer, every, count, view.shown],
        [layer, gallery],
        gallery,
        on=[each.input for each in (layer, every, count)],
    )
    view.follow(follow, [view.variant, view.shown], [through])


def choose_pictures(shown: Shown) -> list[Shown]:
    """The chosen X-ray and examples beside it: of the other class, or of both where its own class
    is not known.
    """
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
    name, layers = title(followed), classifier.spec.gallery_layers
    tiles = [
        tile(
            [Part(Image.fromarray(seen), name)],
            "the X-ray",
            f"{seen.shape[0]} × {seen.shape[1]}",
        )
    ]
    for layer, maps in explain.depth(classifier, followed.picture).items():
        strongest = int(explain.order(explain.strength(maps[None]))[0])
        height, width, of = maps.shape
        shades = explain.normalise(maps[None, ..., [strongest]])[0, ..., 0]
        tiles.append(
            tile(
                [Part.of_map(shades, name)],
                plain(layer, layers),
                f"{height} × {width} × {of}, channel {strongest}",
            )
        )
    label = words.THROUGH.format(name=name, title=models.title(variant))
    walk = (
        "<figure class='walk'><div class='frame'><img alt=''></div><figcaption></figcaption>"
        f"<label>{words.DEPTH}<input type='range' min='0' max='{len(tiles) - 1}' value='0'"
        " step='1'></label></figure>"
    )
    return (
        f"<h2 class='minor'>{panels.escape(label)}</h2><div class='depth'>{walk}"
        f"{strip(tiles, label)}</div>"
    )
