"""The tab Robustness: one X-ray under every probe, and patch by patch under a cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypedDict

import gradio as gr
import numpy as np

from page import answers, panels, verdicts
from page.panels import escape, percent
from page.results import find_robustness
from page.served import ONE_BY_ONE, Models, Shown, receive_upload
from page.shared import View
from page.tiles import Part, tile
from page.words import answers as said
from page.words import robustness as words
from pneumonia import LABELS, Radiograph, figures, heatmaps, probes, radiograph

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


def probe_picture(
    models: Models, shown: Shown | str | None, variant: str, point: str
) -> tuple[str, str]:
    """The place of the patches, empty again, and what the probes did."""
    if not isinstance(shown, Shown) or shown.rejection:
        return "", verdicts.instead(shown)
    classifier = models[variant]
    chosen = answers.point_of(classifier.spec, point)
    results = probes.run(classifier, shown.picture)
    unbelieved = verdicts.warning(answers.read(models, variant, shown, point))
    return "", unbelieved + chart(
        results, chosen.threshold, classifier.spec.uncertainty, habit(models, variant)
    )


def habit(models: Models, variant: str) -> str:
    """What the model made of all test X-rays with the lungs hidden, and with nothing else in sight,
    at its default threshold; empty where that was not measured.
    """
    found = find_robustness(models, variant)
    test = found.figures.get("test", {}) if found else {}
    if not {probes.LUNGS_HIDDEN, probes.LUNGS_ONLY} <= test.keys():
        return ""
    hidden, only = test[probes.LUNGS_HIDDEN], test[probes.LUNGS_ONLY]
    return words.MODEL.format(
        ill=percent(hidden["recall"].value),
        healthy=percent(1 - hidden["specificity"].value),
        ill_only=percent(only["recall"].value),
        healthy_only=percent(1 - only["specificity"].value),
    )


def sentence(results: Sequence[probes.Probed], threshold: float, uncertainty: float = 0.0) -> str:
    """Says in plain words whether an answer hangs on something that is not lung.

    With the lungs hidden, a network that reads lungs has nothing left to call PNEUMONIA. If it does
    so all the same, or changes its mind over framing or exposure while the lungs stay in sight,
    something else speaks. Pictures of lungs alone and inverted ones do not count: no network here
    was made for them.

    Args:
        results: of :func:`pneumonia.probes.run`.
        threshold: a probability at or above it is called PNEUMONIA.
        uncertainty: in logits, of the model spec; so near the threshold an answer is uncertain.

    Raises:
        ValueError: there is no result of the untouched picture.
    """
    by_name = {result.probe.name: result for result in results}
    if probes.ORIGINAL not in by_name:
        raise ValueError("Expected the results of probes.run(), the untouched picture among them.")

    def label(result: probes.Probed) -> str:
        return answers.call(result.probability, threshold, uncertainty)

    untouched = by_name[probes.ORIGINAL]
    before = label(untouched)
    parts = []
    if hidden := by_name.get(probes.LUNGS_HIDDEN):
        now = label(hidden)
        change = words.STAYS if now == before else words.TURNS
        parts.append(
            words.HIDDEN.format(
                before=percent(untouched.probability), after=percent(hidden.probability)
            )
        )
        parts.append(
            change.format(before=words.SPOKEN[before], now=words.SPOKEN[now])
            + words.MEANING[before, now]
        )
        parts += [hidden.note] if hidden.note else []
    others = [
        result
        for result in results
        if result.probe.name
        not in (probes.ORIGINAL, probes.LUNGS_HIDDEN, probes.LUNGS_ONLY, probes.INVERTED)
    ]
    turning = [result for result in others if label(result) != before]
    if turning:
        largest = max(turning, key=lambda result: abs(result.change))
        parts.append(
            words.TURNING.format(
                count=len(turning),
                of=len(others),
                largest=f"{largest.probe.title} ({words.SPOKEN[label(largest)]},"
                f" {percent(largest.probability)})",
            )
        )
    elif others:
        parts.append(words.STEADY.format(before=words.SPOKEN[before], count=len(others)))
    return " ".join(parts)


def chart(
    results: Sequence[probes.Probed], threshold: float, uncertainty: float = 0.0, beside: str = ""
) -> str:
    """What the probes did: in a sentence, as the masks that matter most, and as a table that is its
    own chart: a bar a row, all on one scale, with the threshold as a line through them. ``beside``
    says what the model makes of others.
    """
    text = sentence(results, threshold, uncertainty)
    masks = [
        result
        for name in (probes.ORIGINAL, probes.LUNGS_HIDDEN, probes.LUNGS_ONLY)
        for result in results
        if result.probe.name == name
    ]
    tiles = [
        tile(
            [Part(result.radiograph.to_pil(), result.probe.title)],
            result.probe.title,
            f"{percent(result.probability)}, "
            f"{words.SPOKEN[answers.call(result.probability, threshold, uncertainty)]}",
            "xray",
        )
        for result in masks
    ]
    head = "".join(f"<th scope='col'>{name}</th>" for name in words.COLUMNS)
    groups = []
    for kind, group in groupby(results, key=lambda result: result.probe.kind):
        rows = "".join(_row(result, threshold, uncertainty) for result in group)
        groups.append(
            f"<tbody><tr class='kind'><th colspan='{len(words.COLUMNS)}'"
            f" scope='rowgroup'>{words.KINDS[kind]}</th></tr>{rows}</tbody>"
        )
    caption = words.CAPTION.format(threshold=percent(threshold))
    lead, _, rest = text.partition(". ")
    return (
        f"<section class='answer moves'{verdicts.announce(text)}><p class='sentence'>"
        f"<strong>{escape(lead)}.</strong> {escape(rest)}</p>"
        f"<div class='tiles masks'>{''.join(tiles)}</div>"
        f"<p class='credit'>{words.MASKS}{escape(beside)}</p>"
        f"<table class='probes' data-gallery><caption>{caption}</caption><thead><tr>{head}</tr>"
        f"</thead>{''.join(groups)}</table></section>"
    )


def _row(result: probes.Probed, threshold: float, uncertainty: float) -> str:
    probe, untouched = result.probe, result.probe.name == probes.ORIGINAL
    label = answers.call(result.probability, threshold, uncertainty)
    image = figures.data_uri(result.radiograph.to_pil(), "JPEG")
    notes = [
        result.note,
        words.UNCOUNTED if probe.name in (probes.LUNGS_ONLY, probes.INVERTED) else "",
    ]
    note = "".join(f"<br><span class='note'>{escape(text)}</span>" for text in notes if text)
    # The difference of the figures as they are shown, so that a reader who subtracts agrees.
    before = round((result.probability - result.change) * 100, 1)
    moved = round(result.probability * 100, 1) - before
    signed = "0.0" if abs(moved) < 0.05 else f"{moved:+.1f}".replace("-", "−")
    change = "" if untouched else signed
    name = escape(probe.title)
    return (
        f"<tr class='{label.lower()}'><td class='shot'><button type='button' class='zoom xray'"
        f" data-title='{name}'><img src='{image}' alt='The X-ray, {name}'"
        f" data-caption='{percent(result.probability)}' width='52' height='52'></button></td>"
        f"<th scope='row'>{name}{note}</th><td class='chart'><div class='bar {label.lower()}'"
        " aria-hidden='true'><div class='fill'"
        f" style='width:{result.probability * 100:.2f}%'></div>"
        f"<div class='mark' style='left:{threshold * 100:.2f}%'></div></div></td>"
        f"<td class='number'>{percent(result.probability)}</td>"
        f"<td class='number change'>{change}</td><td class='called'>{words.SPOKEN[label]}</td></tr>"
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
        shares = heatmaps.spread_cells(
            np.clip(sign * falls, 0, None) / scale, grid, radiograph.COPY_SIZE, size
        )
        films.append((label, figures.film(shares, heatmaps.COLOURMAPS[label])))
    labels = {"PNEUMONIA": words.FALLS, "NORMAL": words.RISES}
    text = _in_words(falls, before)
    figure = verdicts.draw_curtain(
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
        f"<section class='answer patches'{verdicts.announce(text)}>"
        f"<p class='where'>{escape(text)}</p>"
        f"{figure}</section>"
    )


def _in_words(falls: np.ndarray, before: float) -> str:
    def at(cell: int) -> str:
        row, column = np.unravel_index(cell, falls.shape)
        return verdicts.place_of((row + 0.5) / falls.shape[0], (column + 0.5) / falls.shape[1])

    fall, rise = float(falls.max()), -float(falls.min())
    if max(fall, rise) < FULL_COLOUR / 2:
        return words.OCCLUSION_FLAT.format(points=f"{max(fall, rise, 0.001) * 100:.1f}")
    lowers, raises = at(int(falls.argmax())), at(int(falls.argmin()))
    parts = []
    if fall > 0:
        said = words.OCCLUSION_FALL.format(
            place=lowers, before=percent(before), after=percent(before - fall)
        )
        parts.append((fall, said))
    # A place is named once, for what it does most.
    if rise > 0.01 and (raises != lowers or rise > fall):
        said = words.OCCLUSION_RISE.format(
            place=raises, before=percent(before), after=percent(before + rise)
        )
        parts = [part for part in parts if raises != lowers]
        parts.append((rise, said))
    return " ".join(said for _, said in sorted(parts, reverse=True))


def build(view: View) -> None:
    """What the probes did; patches on demand."""
    models = view.models
    gr.HTML(words.INTRO)
    panel = verdicts.panel(view, "", "probes")
    gr.HTML(words.OCCLUSION_INTRO)
    cover = gr.Button(words.OCCLUSION, elem_id="cover")
    covered = verdicts.panel(view, "", "patches")

    def occlude_picture(
        shown: Shown | str | None,
        variant: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio asks for it)
    ) -> str:
        if not isinstance(shown, Shown) or shown.rejection:
            raise gr.Error(words.IDLE, print_exception=False)
        classifier = models[variant]
        # As what it falls from: the plain view's.
        before = float(classifier.plain_probabilities(shown.picture.copy[np.newaxis])[0])
        progress((0, 81), desc=words.PATCHES)
        falls = probes.occlusion(
            classifier,
            shown.picture,
            WINDOW,
            STRIDE,
            lambda done, of: progress((done, of), desc=words.PATCHES),
        )
        return patches(shown.picture, falls, before)

    view.follow(
        partial(probe_picture, models), [view.shown, view.variant, view.point], [covered, panel]
    )
    cover.click(
        occlude_picture, [view.shown, view.variant], covered, show_progress_on=covered, **ONE_BY_ONE
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
        shown = answers.must_be_answered(receive_upload(image), force)
        reading = answers.with_heat(models, variant, answers.read(models, variant, shown))
        if reading.heat is None:
            raise gr.Error(said.NOTHING_TO_SHOW, print_exception=False)
        towards = reading.towards
        share, area = (reading.in_lungs or {}).get(towards, (None, None))
        small = Radiograph(
            np.asarray(figures.shrink(shown.picture.to_pil(), panels.PREVIEW_SIDE)),
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
            in_lungs=share,
            lung_area=area,
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
            sentence=sentence(
                results, reading.prediction.threshold, reading.evidence.spec.uncertainty
            ),
        )

    return (robustness,)
