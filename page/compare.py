"""The Compare tab: every model on one X-ray, side by side, their answers as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypedDict

import gradio as gr

from page import answers, panels, verdicts
from page.answers import Answer, Reading
from page.served import Models, Shown, receive_upload
from page.shared import View
from page.words import answers as said
from page.words import compare as words


class Comparison(TypedDict):
    """Each model's answer to one X-ray, and a sentence that says whether they agree."""

    answers: list[Answer]
    agreement: str


def compare_models(models: Models, shown: Shown | str | None, point: str) -> Iterator[str]:
    """What all say on top of one row of answers; again each time an answer or a heat map has
    come.
    """
    if not isinstance(shown, Shown) or shown.rejection:
        yield verdicts.instead(shown)
        return
    cards = {name: waiting(models, name, shown) for name in models.names}
    yield panel(cards)
    readings: dict[str, Reading] = {}
    for name in models.names:
        readings[name] = answers.read(models, name, shown, point)
        cards[name] = fill_card(name, readings[name], point, drawing=True)
        yield panel(cards, readings if len(readings) == len(cards) else {})
    for name in models.names:
        cards[name] = fill_card(name, answers.with_heat(models, name, readings[name]), point)
    yield panel(cards, readings, speak=False)


def agreement(readings: dict[str, Reading]) -> str:
    """Whether the models agree, in words."""
    return words.agreement(
        {reading.evidence.title: reading.called for reading in readings.values()}
    )


def panel(
    cards: dict[str, str], readings: dict[str, Reading] | None = None, speak: bool = True
) -> str:
    """Agreement, then the cards; ``readings`` once all have answered."""
    text, spoken = words.WAITING, ""
    if readings:
        text = agreement(readings)
        spoken = verdicts.announce(text) if speak else ""
    return (
        f"<section class='comparison'{spoken}><p class='agreement'>{panels.escape(text)}</p>"
        f"<div class='cards'>{''.join(cards.values())}</div></section>"
    )


def waiting(models: Models, name: str, shown: Shown) -> str:
    """A model's place before it has answered."""
    picture = verdicts.draw_curtain(shown.picture, [], "PNEUMONIA", f"compare-{name}", "&nbsp;")
    return (
        f"<article class='answer card'><h2>{panels.escape(models.title(name))}</h2><div"
        f" class='verdict-box'><p class='idle'>{said.READING}</p></div>{picture}</article>"
    )


def fill_card(name: str, reading: Reading, point: str, drawing: bool = False) -> str:
    """A model's place with its answer in it."""
    other = (
        f"<p class='credit'>{words.OTHER_POINT.format(name=said.point_name(reading.point))}</p>"
        if point not in ("default", reading.point.name)
        else ""
    )
    return (
        f"<article class='answer card'><h2>{panels.escape(reading.evidence.title)}</h2>"
        f"<div class='verdict-box'>{verdicts.head(reading)}{other}</div>"
        f"{verdicts.under_curtain(reading, f'compare-{name}', drawing)}"
        f"{verdicts.details(reading)}</article>"
    )


def build(view: View) -> None:
    """Agreement, a card a model."""
    place = verdicts.panel(view, "", "comparison")
    view.follow(partial(compare_models, view.models), [view.shown, view.point], [place])


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
        shown = answers.must_be_answered(receive_upload(image), force)
        readings = {
            name: answers.read(models, name, shown, operating_point) for name in models.names
        }
        return Comparison(
            answers=[answers.build_answer(reading) for reading in readings.values()],
            agreement=agreement(readings),
        )

    return (compare,)
