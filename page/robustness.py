"""The tab Robustness: one X-ray under every probe, and patch by patch under a cover."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypedDict

import gradio as gr
import numpy as np

from page import answers, panels, verdicts
from page.panels import escaped, percent
from page.served import ONE_BY_ONE, Models, Shown, received
from page.shared import View
from page.words import answers as said
from page.words import robustness as words
from pneumonia import LABELS, Radiograph, figures, heatmaps, probes, radiograph
from pneumonia.model_spec import OperatingPoint

THUMBNAIL_SIDE = 96
# Pixels of the 224-pixel copy: the patch, and from one patch to the next.
WINDOW, STRIDE = 32, 24
# A fall of the probability below it is drawn pale: or the noise of a sure answer would glow like
# its cause.
FULL_COLOUR = 0.1


class Moved(TypedDict):
    """The probability of pneumonia under one probe, 0 to 1, and its difference from that of the
    untouched X-ray.
    """

    probe: str
    kind: str
    probability: float
    change: float


class Explanation(TypedDict):
    """Why a model answers as it does.

    ``cells`` holds ``height`` rows of ``width`` numbers: what each cell of ``layer`` adds to the
    logit of PNEUMONIA; with a constant they make up ``logit``. ``in_lungs`` is the share of what
    speaks for ``towards`` that lies in the lung fields, which cover ``lung_area`` of the picture;
    null where they could not be made out. ``picture`` is the X-ray under that map, as a data
    address. ``moved`` are the probes, the untouched X-ray first, and ``sentence`` sums them up.
    """

    variant: str
    layer: str
    height: int
    width: int
    cells: list[list[float]]
    logit: float
    towards: str
    strongest: str
    in_lungs: float | None
    lung_area: float | None
    picture: str
    probability: float
    threshold: float
    moved: list[Moved]
    sentence: str


def moved(models: Models, shown: Shown | None, variant: str) -> Iterator[tuple[str, str]]:
    """The place of the patches, empty again, and the chart of the probes."""
    if shown is None or shown.refusal:
        yield patches_waiting(), waiting() if shown is None else verdicts.refused(shown)
        return
    classifier = models[variant]
    results = probes.run(classifier, shown.picture)
    yield (
        patches_waiting(),
        chart(
            results,
            classifier.spec.default,
            models.title(variant),
            classifier.spec.uncertainty,
        ),
    )


def waiting() -> str:
    """The chart's place before there is a picture."""
    return (
        "<section class='answer moves empty'><div class='verdict-box'><p"
        f" class='idle'>{words.IDLE}</p></div></section>"
    )


def chart(
    results: Sequence[probes.Probed], point: OperatingPoint, title: str, uncertainty: float = 0.0
) -> str:
    """The probes as a table that is its own chart: a bar a row, all on one scale, with the
    threshold as a line through them.
    """
    threshold = point.threshold
    head = "".join(f"<th scope='col'>{name}</th>" for name in words.COLUMNS)
    groups = []
    for kind, group in groupby(results, key=lambda result: result.probe.kind):
        rows = "".join(_row(result, threshold) for result in group)
        groups.append(
            "<tbody><tr class='kind'><th colspan='5'"
            f" scope='rowgroup'>{words.KINDS[kind]}</th></tr>{rows}</tbody>"
        )
    caption = words.CAPTION.format(threshold=f"{threshold * 100:.3g}%")
    sentence = escaped(f"{title}: {probes.sentence(results, threshold, uncertainty)}")
    return (
        f"<section class='answer moves' aria-live='polite'><p class='sentence'>{sentence}</p>"
        "<table"
        f" class='probes'><caption>{caption}</caption><thead><tr>{head}</tr></thead>{''.join(groups)}</table></section>"
    )


def _row(result: probes.Probed, threshold: float) -> str:
    probe, untouched = result.probe, result.probe.name == probes.ORIGINAL
    label = LABELS[int(result.probability >= threshold)].lower()
    image = figures.data_uri(figures.reduced(result.radiograph.to_pil(), THUMBNAIL_SIDE), "JPEG")
    note = f"<br><span class='interval'>{escaped(result.note)}</span>" if result.note else ""
    change = (
        ""
        if untouched
        else (
            "0.0"
            if abs(result.change) < 0.0005
            else f"{result.change * 100:+.1f}".replace("-", "−")
        )
    )
    return (
        f"<tr class='{label}'><td class='shot'><img src='{image}' alt='The X-ray,"
        f" {escaped(probe.title)}' width='52' height='52'></td><th"
        f" scope='row'>{escaped(probe.title)}{note}</th><td class='chart'><div class='bar {label}'"
        " aria-hidden='true'><div class='fill'"
        f" style='width:{result.probability * 100:.2f}%'></div><div class='mark'"
        f" style='left:{threshold * 100:.2f}%'></div></div></td><td"
        f" class='number'>{percent(result.probability)}</td><td class='number'>{change}</td></tr>"
    )


def patches_waiting() -> str:
    """The place of the patches before they are asked for."""
    return (
        "<section class='answer patches'><p"
        f" class='where'>{words.OCCLUSION_IDLE}</p>{verdicts.EMPTY_FRAME}</section>"
    )


def patches(picture: Radiograph, falls: np.ndarray, before: float) -> str:
    """The falls of the probability as a map over the X-ray, and in words.

    Args:
        picture: the X-ray.
        falls: float ``(rows, cols)``, of :func:`pneumonia.probes.occlusion`.
        before: the probability with nothing covered.
    """
    scale = max(float(np.abs(falls).max()), FULL_COLOUR)
    side = radiograph.COPY_SIZE[0]
    # The last patch lies at the edge, nearer to its neighbour than the others; where they divide
    # the side evenly, as here, it does not.
    grid = (
        ((side - WINDOW) / (falls.shape[0] - 1), (WINDOW - 1) / 2),
        ((side - WINDOW) / (falls.shape[1] - 1), (WINDOW - 1) / 2),
    )
    height, width = picture.size
    shrink = verdicts.FILM_SIDE / max(height, width)
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    films = []
    for label, sign in (("PNEUMONIA", 1), ("NORMAL", -1)):
        shares = heatmaps.spread(
            np.clip(sign * falls, 0, None) / scale, grid, radiograph.COPY_SIZE, size
        )
        films.append((label, figures.film(shares, heatmaps.COLOURMAPS[label])))
    labels = {"PNEUMONIA": words.FALLS, "NORMAL": words.RISES}
    text = _in_words(falls, before)
    figure = verdicts.curtained(
        picture,
        films,
        "PNEUMONIA",
        "patches-side",
        words.OCCLUSION_CAPTION,
        labels,
        {label: text for label in LABELS},
        words.SHOWN,
    )
    return (
        "<section class='answer patches' aria-live='polite'><p"
        f" class='where'>{escaped(text)}</p>{figure}</section>"
    )


def _in_words(falls: np.ndarray, before: float) -> str:
    def at(cell: int) -> str:
        row, column = np.unravel_index(cell, falls.shape)
        return verdicts.place_of((row + 0.5) / falls.shape[0], (column + 0.5) / falls.shape[1])

    fall, rise = float(falls.max()), -float(falls.min())
    if max(fall, rise) < FULL_COLOUR / 2:
        return words.OCCLUSION_FLAT.format(points=f"{max(fall, rise, 0.001) * 100:.1f}")
    parts = []
    if fall > 0:
        after = percent(before - fall)
        parts.append(
            words.OCCLUSION_FALL.format(
                place=at(int(falls.argmax())),
                points=f"{fall * 100:.1f}",
                before=percent(before),
                after=after,
            )
        )
    if rise > 0.01:
        parts.append(
            words.OCCLUSION_RISE.format(place=at(int(falls.argmin())), points=f"{rise * 100:.1f}")
        )
    return " ".join(parts)


def build(view: View) -> None:
    """Chooser, model, chart of the probes, patches on demand."""
    models = view.models
    gr.HTML(f"<p class='credit'>{words.INTRO}</p>")
    view.chooser("robustness")
    view.model_radio("robustness-model")
    panel = verdicts.panel(view, waiting(), "probes")
    gr.HTML(words.OCCLUSION_INTRO)
    cover = gr.Button(words.OCCLUSION, elem_id="cover")
    covered = verdicts.panel(view, patches_waiting(), "patches")

    def occluded(shown: Shown | None, variant: str, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 (how Gradio asks for it)
        if shown is None or shown.refusal:
            raise gr.Error(words.IDLE, print_exception=False)
        classifier = models[variant]
        before = classifier.predict(shown.picture, on_invalid="ignore").probability
        progress((0, 81), desc=words.PATCHES)
        falls = probes.occlusion(
            classifier,
            shown.picture,
            WINDOW,
            STRIDE,
            lambda done, of: progress((done, of), desc=words.PATCHES),
        )
        return patches(shown.picture, falls, before)

    view.follow(partial(moved, models), [view.shown, view.variant], [covered, panel])
    cover.click(
        occluded, [view.shown, view.variant], covered, show_progress_on=covered, **ONE_BY_ONE
    )


def endpoints(models: Models) -> tuple[Callable[..., Any], ...]:
    """``/robustness``."""

    def robustness(
        image: gr.FileData, variant: str = models.default, force: bool = False
    ) -> Explanation:
        """Why a model answers as it does: what each place of the X-ray adds to its logit, a picture
        of that, and what moves its answer.

        Args:
            image: an X-ray file.
            variant: name of a model: baseline, augmented or xception.
            force: answer also on what does not look like a frontal chest X-ray.
        """
        shown = answers.must_be_answered(received(image), force)
        reading = answers.with_heat(models, variant, answers.read(models, variant, shown))
        if reading.heat is None:
            raise gr.Error(said.NOTHING_TO_SHOW, print_exception=False)
        towards = reading.towards
        small = Radiograph(
            np.asarray(figures.reduced(shown.picture.to_pil(), panels.PREVIEW_SIDE)),
            shown.picture.name,
        )
        results = probes.run(models[variant], shown.picture)
        height, width = reading.heat.cells.shape
        return Explanation(
            variant=variant,
            layer=reading.heat.layer,
            height=height,
            width=width,
            cells=[[float(cell) for cell in row] for row in reading.heat.cells],
            logit=reading.heat.logit,
            towards=towards,
            strongest=verdicts.strongest(reading.heat, towards),
            in_lungs=reading.in_lungs[0] if reading.in_lungs else None,
            lung_area=reading.in_lungs[1] if reading.in_lungs else None,
            picture=figures.data_uri(
                heatmaps.overlay(small, reading.heat.towards(towards), 0.7, towards), "JPEG"
            ),
            probability=reading.prediction.probability,
            threshold=reading.prediction.threshold,
            moved=[
                Moved(
                    probe=one.probe.name,
                    kind=one.probe.kind,
                    probability=one.probability,
                    change=one.change,
                )
                for one in results
            ],
            sentence=probes.sentence(
                results, reading.prediction.threshold, reading.evidence.spec.uncertainty
            ),
        )

    return (robustness,)
