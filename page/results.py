"""The Figures tab: the tables and pictures that lie beside the models, the source's claims beside
them, and a ROC curve to walk along.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import gradio as gr
from PIL import Image

from page import answers, panels, roc
from page.served import ASSETS, Models
from page.shared import View
from page.tiles import Part, grid, tile
from page.words import answers as said
from page.words import results as words
from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import (
    COLUMNS,
    PREDICTIONS,
    read_further,
    read_predictions,
    read_published,
    read_robustness,
)
from pneumonia.model_spec import Metrics, ModelSpec

RESULTS = ASSETS / "results"


def build(view: View) -> None:
    """One model's curve, table of robustness and pictures; before them the tables of all."""
    models = view.models
    gr.HTML(words.INTRO)
    tables = gr.HTML(elem_id="figures-tables", min_height=300)
    curve = gr.HTML(elem_id="figures-roc", min_height=420)
    rest = gr.HTML(elem_id="figures-pictures", min_height=420)

    def show(variant: str) -> tuple[str, str, str]:
        return (
            f"{compared(models)}{published(RESULTS)}",
            walk(models, variant),
            robustness(models, variant) + pictures(models, variant),
        )

    view.follow(show, [view.variant], [tables, curve, rest])


def compared(models: Models) -> str:
    """Every model and every further run that was measured, with the source's claim beside it."""
    listed = [
        (
            models.title(name),
            models.evidence(name).spec,
            models.evidence(name).metrics.get("test"),
        )
        for name in models.names
    ]
    further = read_further(RESULTS, [spec for _, spec, _ in listed])
    # What repeats the source stands straight below what answers, earlier rounds come last.
    further.sort(key=lambda result: result.earlier)
    listed += [(result.title, result.spec, result.test) for result in further]
    rows = [_measured(title, spec, test) for title, spec, test in listed]
    return f"<h2 class='minor'>{words.TABLE}</h2>{_table(words.TABLE, words.TABLE_HEAD, rows)}{words.TABLE_NOTE}"


def published(results: Path) -> str:
    """What others published; nothing where the table of it is not here."""
    rows = [
        [
            _linked(entry.name, entry.link),
            *(_share(entry.figures[name], name) for name in COLUMNS),
            f"<span class='remarks'>{panels.escaped(entry.note)}</span>",
        ]
        for entry in read_published(results)
    ]
    if not rows:
        return ""
    return f"<h2 class='minor'>{words.PUBLISHED}</h2>{_table(words.PUBLISHED, words.PUBLISHED_HEAD, rows)}{words.PUBLISHED_NOTE}"


def walk(models: Models, variant: str) -> str:
    """The curves of all models with a table of test predictions; the chosen one in front."""
    curves = {}
    for name in dict.fromkeys((*models.names, variant)):
        if folder := _evidence_folder(models, name):
            _, labels, probabilities = read_predictions(folder / PREDICTIONS)
            curves[name] = roc.curve(
                labels,
                probabilities,
                [point.threshold for point in models.evidence(name).spec.operating_points],
            )
    spec, title = models.evidence(variant).spec, models.title(variant)
    heading = f"<h2 class='minor'>{panels.escaped(words.ROC.format(title=title))}</h2>"
    if variant not in curves:
        return f"{heading}<p class='credit'>{words.NO_TABLE}</p>"
    points = [(said.point_name(point), point) for point in answers.points(spec)]
    return heading + roc.drawing(
        curves,
        {name: models.title(name) for name in curves},
        variant,
        points,
        spec.default.threshold,
    )


def robustness(models: Models, variant: str) -> str:
    """How the model fares on altered X-rays, where that was measured of these very weights at this
    very threshold.
    """
    folder = _evidence_folder(models, variant)
    found = read_robustness(folder) if folder else None
    if found is None or not found.is_of(models.evidence(variant).spec):
        return ""
    measured = found.figures["test"]
    note = words.STRESS_NOTE.format(threshold=f"{found.threshold:.3g}", images=found.images["test"])
    columns = ("auc", "accuracy", "recall", "specificity")
    rows = [
        [
            panels.escaped(condition.title),
            *(panels.cell(measured[condition.name].get(column), column) for column in columns),
        ]
        for condition in found.conditions
        if condition.name in measured
    ]
    title = words.STRESS.format(title=models.title(variant))
    return f"<h2 class='minor'>{panels.escaped(title)}</h2>{_table(title, words.STRESS_HEAD, rows)}{note}"


def pictures(models: Models, variant: str) -> str:
    """The pictures of a model's bundle, to be enlarged."""
    folder = models.folder / variant
    files = (
        [folder / f"{name}.png" for name in words.CAPTIONS if (folder / f"{name}.png").is_file()]
        if variant in models.names
        else []
    )
    if not files:
        return ""
    note = (
        "" if _evidence_folder(models, variant) else f"<p class='credit'>{words.OTHER_WEIGHTS}</p>"
    )
    tiles = []
    for file in files:
        with Image.open(file) as image:
            tiles.append(
                tile(
                    [Part(image.convert("RGB").quantize(64), words.CAPTIONS[file.stem])],
                    file.stem.replace("_", " "),
                    words.CAPTIONS[file.stem],
                    "plot",
                )
            )
    title = words.PICTURES.format(title=models.title(variant))
    return f"<h2 class='minor'>{panels.escaped(title)}</h2>{note}{grid(tiles, 1)}"


def _evidence_folder(models: Models, variant: str) -> Path | None:
    """The bundle with a table of predictions of the very weights that answer; weights from the Hub
    come without one, unless they are the bundled ones.
    """
    folder = models.folder / variant
    if variant not in models.names or not (folder / PREDICTIONS).is_file():
        return None
    return (
        folder
        if bundle.read_model_spec(folder).weights_sha256
        == models.evidence(variant).spec.weights_sha256
        else None
    )


def _measured(title: str, spec: ModelSpec, test: Metrics | None) -> list[str]:
    recipe = f"<code>{panels.escaped(spec.recipe.get('name', 'unknown'))}</code>"
    if epoch := spec.recipe.get("epoch"):
        recipe += f", epoch {panels.escaped(epoch)}"
    variant = CATALOGUE.get(spec.variant)
    claim = variant.claim(spec.recipe) if variant else None
    claimed = f"{claim:.0%}" if claim else ""
    cells = [panels.cell(test.figures.get(name) if test else None, name) for name in COLUMNS]
    counts = test.counts if test else {}
    missed = (
        f"{counts['false_negative']} of {counts['false_negative'] + counts['true_positive']}"
        if counts
        else ""
    )
    back = (
        f"{counts['false_positive']} of {counts['false_positive'] + counts['true_negative']}"
        if counts
        else ""
    )
    return [panels.escaped(title), recipe, claimed, *cells, missed, back]


def _linked(name: str, address: str | None) -> str:
    text = panels.escaped(name)
    return (
        f"<a href='{panels.escaped(address)}' target='_blank' rel='noopener'>{text}</a>"
        if address
        else text
    )


def _share(value: float | None, name: str) -> str:
    if value is None:
        return "<span class='interval'>not reported</span>"
    return f"{value:.3f}" if name == "auc" else f"{value:.1%}"


def _table(label: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th scope='col'>{name}</th>" for name in head)
    body = "".join(
        f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return (
        "<div class='scroller' tabindex='0' role='region'"
        f" aria-label='{panels.escaped(label)}'>{table}</div>"
    )
