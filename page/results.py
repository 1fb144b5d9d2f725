"""The Results tab: what was measured of the three models, a ROC curve to walk along, and beside it
what the original notebook and others claim.
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
    Outcome,
    Robustness,
    read_further,
    read_predictions,
    read_published,
    read_robustness,
)
from pneumonia.model_spec import Metrics

RESULTS = ASSETS / "results"


def build(view: View) -> None:
    """The three models first; then the chosen one's curve; the rest behind disclosures."""
    models = view.models
    gr.HTML(words.INTRO)
    tables = gr.HTML(elem_id="results-table", min_height=220)
    curve = gr.HTML(elem_id="results-roc", min_height=420)
    rest = gr.HTML(elem_id="results-rest", min_height=300)

    def show(variant: str, point: str) -> tuple[str, str, str]:
        return (
            render_models(models, point),
            walk(models, variant, point),
            render_published(RESULTS)
            + originals(models)
            + robustness(models, variant)
            + pictures(models, variant),
        )

    view.follow(show, [view.variant, view.point], [tables, curve, rest])


def render_models(models: Models, point: str = "default") -> str:
    """The models that answer, with heading and note."""
    heading = f"<h2 class='minor'>{panels.escape(words.TABLE)}</h2>"
    return f"{heading}{table(models, point)}{words.TABLE_NOTE}"


def table(models: Models, point: str = "default") -> str:
    """The models that answer, at the chosen setting, with the original notebook's claim."""
    rows = []
    for name in models.names:
        evidence = models.evidence(name)
        chosen = answers.point_of(evidence.spec, point)
        test = evidence.metrics.get("test")
        counted = answers.count(_evidence_folder(models, name), test, chosen.threshold)
        claimed = CATALOGUE[name].claimed if name in CATALOGUE else None
        title = f"{evidence.title} ({said.point_name(chosen)})"
        rows.append(_row(panels.escape(title), counted, test, claimed))
    return _table(words.TABLE, words.TABLE_HEAD, rows)


def originals(models: Models) -> str:
    """The original notebook's recipes, run again; behind a disclosure."""
    rows = []
    for run in read_further(RESULTS, [models.evidence(name).spec for name in models.names]):
        epochs = run.spec.recipe.get("epochs", "?")
        title = words.RUN.format(title=run.title.split(",")[0], epochs=epochs)
        counted = Outcome.of_counts(run.test.threshold, run.test.counts)
        rows.append(_row(panels.escape(title), counted, run.test, run.claim))
    if not rows:
        return ""
    return _fold_table(words.ORIGINAL, words.ORIGINAL_HEAD, rows, words.ORIGINAL_NOTE)


def render_published(results: Path) -> str:
    """What others published; nothing where the table of it is not here."""
    rows = [
        [
            _render_link(entry.name, entry.link),
            *(_share(entry.figures[name], name) for name in COLUMNS),
            f"<span class='remarks'>{panels.escape(entry.note)}</span>",
        ]
        for entry in read_published(results)
    ]
    if not rows:
        return ""
    return _section(words.PUBLISHED, words.PUBLISHED_HEAD, rows, words.PUBLISHED_NOTE)


def walk(models: Models, variant: str, point: str = "default") -> str:
    """The curves of all models with a table of test predictions; the chosen one in front, standing
    at the chosen setting.
    """
    curves = {}
    for name in dict.fromkeys((*models.names, variant)):
        if folder := _evidence_folder(models, name):
            _, labels, probabilities = read_predictions(folder / PREDICTIONS)
            curves[name] = roc.curve(
                labels,
                probabilities,
                [one.threshold for one in models.evidence(name).spec.operating_points],
            )
    spec, title = models.evidence(variant).spec, models.title(variant)
    heading = f"<h2 class='minor'>{panels.escape(words.ROC.format(title=title))}</h2>"
    if variant not in curves:
        return f"{heading}<p class='credit'>{words.NO_TABLE}</p>"
    return heading + roc.drawing(
        curves,
        {name: models.title(name) for name in curves},
        variant,
        [(said.point_name(one), one) for one in answers.points(spec)],
        answers.point_of(spec, point).threshold,
    )


def find_robustness(models: Models, variant: str) -> Robustness | None:
    """What was measured on altered X-rays of these very weights at this very threshold, or None."""
    folder = _evidence_folder(models, variant)
    found = read_robustness(folder) if folder else None
    return found if found and found.is_of(models.evidence(variant).spec) else None


def robustness(models: Models, variant: str) -> str:
    """How the model fares on altered X-rays, where that was measured of these very weights at this
    very threshold.
    """
    found = find_robustness(models, variant)
    if found is None:
        return ""
    measured = found.figures["test"]
    note = words.ALTERED_NOTE.format(
        threshold=panels.percent(found.threshold), images=found.images["test"]
    )
    columns = ("auc", "accuracy", "recall", "specificity")
    rows = [
        [
            panels.escape(condition.title),
            *(panels.cell(measured[condition.name].get(column), column) for column in columns),
        ]
        for condition in found.conditions
        if condition.name in measured
    ]
    title = words.ALTERED.format(title=models.title(variant))
    return _fold_table(title, words.ALTERED_HEAD, rows, note)


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
                    file.stem.replace("_", " ").capitalize(),
                    words.CAPTIONS[file.stem],
                    "plot",
                )
            )
    title = panels.escape(words.PICTURES.format(title=models.title(variant)))
    return f"<details class='more'><summary>{title}</summary>{note}{grid(tiles, 1)}</details>"


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


def _row(
    title: str, counted: Outcome | None, test: Metrics | None, claimed: float | None
) -> list[str]:
    auc = panels.cell(test.figures.get("auc") if test else None, "auc")
    cells = [words.NOT_MEASURED] * 3
    if counted:
        missed, alarms = (
            f"{count} of {total}<br><span class='interval'>{low * 100:.1f}–{high * 100:.1f}%</span>"
            for count, total, (low, high) in (
                (counted.missed, counted.ill, counted.missed_interval),
                (counted.false_alarms, counted.healthy, counted.false_alarms_interval),
            )
        )
        cells = [missed, alarms, panels.cell(counted.accuracy, "accuracy")]
    return [title, *cells, auc, f"{claimed:.0%}" if claimed else ""]


def _render_link(name: str, address: str | None) -> str:
    text = panels.escape(name)
    return (
        f"<a href='{panels.escape(address)}' target='_blank' rel='noopener'>{text}</a>"
        if address
        else text
    )


def _share(value: float | None, name: str) -> str:
    if value is None:
        return "<span class='interval'>not reported</span>"
    return f"{value:.3f}" if name == "auc" else f"{value:.1%}"


def _section(label: str, head: Sequence[str], rows: Iterable[Sequence[str]], note: str) -> str:
    return f"<h2 class='minor'>{panels.escape(label)}</h2>{_table(label, head, rows)}{note}"


def _fold_table(label: str, head: Sequence[str], rows: Iterable[Sequence[str]], note: str) -> str:
    return (
        f"<details class='more'><summary>{panels.escape(label)}</summary>"
        f"{_table(label, head, rows)}{note}</details>"
    )


def _table(label: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th scope='col'>{name}</th>" for name in head)
    body = ""
    for row in rows:
        cells = "".join(
            f"<td data-label='{panels.escape(name)}'>{f'<div>{cell}</div>' if cell else ''}</td>"
            for name, cell in zip(head[1:], row[1:], strict=True)
        )
        body += f"<tr><th scope='row'>{row[0]}</th>{cells}</tr>"
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return (
        "<div class='scroller cardlike' tabindex='0' role='region'"
        f" aria-label='{panels.escape(label)}'>{table}</div>"
    )
