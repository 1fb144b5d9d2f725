"""The Compare tab: every model on one X-ray, side by side, their answers as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypedDict

import gradio as gr

from page import answers, panels, verdicts
from page.answers import Answer, Reading
from page.served import Models, Shown, received
from page.shared import AT_ONCE, View
from page.words import answers as said
from page.words import compare as words


class Comparison(TypedDict):
    """Each model's answer to one X-ray, and a sentence that says whether they agree."""

    answers: list[Answer]
    agreement: str


def compared(models: Models, shown: Shown | None, point: str) -> Iterator[list[str]]:
    """What all say, then one card a model; again each time an answer or a heat map has come."""
    cards = [card(models, name) for name in models.names]
    if shown is None or shown.refusal:
        yield [
            (
                f"<p class='agreement idle'>{words.IDLE}</p>"
                if shown is None
                else verdicts.refused(shown)
            ),
            *cards,
        ]
        return
    heading = "<p class='agreement' aria-live='polite'>{}</p>"
    readings: dict[str, Reading] = {}
    cards = [card(models, name, words.WAITING) for name in models.names]
    for place, name in enumerate(models.names):
        cards[place] = card(models, name, words.ASKING)
        yield [heading.format("…"), *cards]
        readings[name] = answers.read(models, name, shown, point)
        cards[place] = filled(name, readings[name], drawing=True)
        yield [heading.format("…"), *cards]
        cards[place] = filled(name, answers.with_heat(models, name, readings[name]))
    yield [heading.format(panels.escaped(agreement(readings))), *cards]


def agreement(readings: dict[str, Reading]) -> str:
    """Whether the models agree, in words."""
    return words.agreement(
        {reading.evidence.title: reading.called for reading in readings.values()}
    )


def card(models: Models, name: str, state: str = "") -> str:
    """A model's place before it has answered."""
    evidence = models.evidence(name)
    note = f"<p class='idle'>{panels.escaped(evidence.title)} {state}</p>" if state else ""
    spin = " busy" if state == words.ASKING else ""
    return (
        f"<article class='answer card{spin}'><h2>{panels.escaped(evidence.title)}</h2><div"
        f" class='verdict-box'>{note}</div>{verdicts.EMPTY_FRAME}{panels.facts(evidence)}</article>"
    )


def filled(name: str, reading: Reading, drawing: bool = False) -> str:
    """A model's place with its answer in it."""
    return (
        f"<article class='answer card'><h2>{panels.escaped(reading.evidence.title)}</h2>"
        "<div"
        f" class='verdict-box'>{verdicts.head(reading)}{verdicts.cost(reading)}</div>{verdicts.under_curtain(reading, f'compare-{name}', drawing)}"
        f"{panels.facts(reading.evidence)}</article>"
    )


def build(view: View) -> None:
    """Chooser, setting, agreement, a card a model."""
    models = view.models
    gr.HTML(f"<p class='credit'>{words.INTRO}</p>")
    view.chooser("compare")
    offered = {
        point.name: said.point_name(point)
        for name in models.names
        for point in answers.points(models.evidence(name).spec)
        if point.name != "default"
    }
    point = gr.Radio(
        [
            ("each model's default", "default"),
            *((title, name) for name, title in sorted(offered.items())),
        ],
        value="default",
        label=words.POINT,
        info=words.POINT_HELP,
        visible=bool(offered),
        elem_id="compare-point",
    )
    view.changed(point.input(lambda: None, None, None, **AT_ONCE))
    top = verdicts.panel(view, f"<p class='agreement idle'>{words.IDLE}</p>", "agreement")
    with gr.Row(elem_classes="cards"):
        cards = []
        for name in models.names:
            with gr.Column(min_width=290):
                cards.append(verdicts.panel(view, card(models, name), f"card-{name}"))
    gr.HTML(said.HEAT_HELP)
    view.follow(partial(compared, models), [view.shown, point], [top, *cards], show_progress_on=top)


def endpoints(models: Models) -> tuple[Callable[..., Any], ...]:
    """``/compare``."""

    def compare(
        image: gr.FileData, operating_point: str = "default", force: bool = False
    ) -> Comparison:
        """Reads one chest X-ray with every model: each one's label, probability, threshold and its
        cost in people, and whether they agree.

        Args:
            image: an X-ray file.
            operating_point: default, or such as recall-0.98; a model without it takes its default.
            force: answer also on what does not look like a frontal chest X-ray.
        """
        shown = answers.must_be_answered(received(image), force)
        readings = {
            name: answers.read(models, name, shown, operating_point) for name in models.names
        }
        return Comparison(
            answers=[answers.typed(reading) for reading in readings.values()],
            agreement=agreement(readings),
        )

    return (compare,)
