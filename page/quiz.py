"""The Quiz tab: a visitor decides on each X-ray before the models and the data set say what they
think.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import gradio as gr

from page import answers, panels, verdicts
from page.served import ASSETS, ONE_BY_ONE, Models, Shown
from page.shared import AT_ONCE, KEPT, View
from page.words import quiz as words
from pneumonia import LABELS, radiograph
from pneumonia.prediction import Prediction

# Others than the examples beside the tabs, whose answers a visitor has seen.
FILES = tuple(sorted((ASSETS / "examples" / "quiz").glob("*.jpeg")))

# Where the keyboard goes on after a decision, and after the next X-ray has come.
TO_NEXT = """() => {
    document.querySelector('#quiz-next')?.focus({ preventScroll: true });
    document.querySelector('#quiz-reveal')?.scrollIntoView({ block: 'nearest' });
}"""
TO_CHOICES = """() => {
    document.querySelector('#quiz-picture')?.scrollIntoView({ block: 'nearest' });
    document.querySelector('#quiz-normal')?.focus({ preventScroll: true });
}"""


@dataclass(frozen=True)
class Said:
    """What a model said of one X-ray: NORMAL, PNEUMONIA or UNCERTAIN, and its prediction."""

    called: str
    prediction: Prediction


# Compared as itself: Gradio hashes what it keeps, and a dict has no hash.
@dataclass(frozen=True, eq=False)
class Game:
    """One round through the examples.

    Attributes:
        order: the X-rays, shuffled.
        turn: the place of the one on show; the number of X-rays once the result is shown.
        mine: the visitor's labels so far.
        theirs: what each model that could answer said of each of those, by its name.
    """

    order: tuple[Path, ...]
    turn: int = 0
    mine: tuple[str, ...] = ()
    theirs: tuple[dict[str, Said], ...] = ()

    @classmethod
    def start(cls) -> Game:
        """A new one, in an order that nobody can foresee."""
        return cls(tuple(random.SystemRandom().sample(FILES, len(FILES))))

    @property
    def decided(self) -> bool:
        """Whether the X-ray on show has been answered."""
        return len(self.mine) > self.turn

    @property
    def truths(self) -> list[str]:
        """The data set's labels of the X-rays answered so far."""
        return [str(example(file).truth) for file in self.order[: len(self.mine)]]


@cache
def example(file: Path) -> Shown:
    """An X-ray of the quiz, decoded once; its name carries its class."""
    return Shown(radiograph.read(file), LABELS[not file.name.startswith("NORMAL")], file)


def tally(said: Sequence[str | None], truths: Sequence[str]) -> tuple[int, int, int, int]:
    """How many were right, missed (pneumonia called NORMAL), false alarms (healthy called
    PNEUMONIA), left uncertain; what was not answered counts nowhere.
    """
    pairs = list(zip(said, truths, strict=True))
    return (
        sum(one == truth for one, truth in pairs),
        pairs.count((LABELS[0], LABELS[1])),
        pairs.count((LABELS[1], LABELS[0])),
        sum(one == "UNCERTAIN" for one, _ in pairs),
    )


def play_turn(models: Models, game: Game, label: str, point: str = "default") -> Game:
    """The game after the visitor's label for the X-ray on show, with what every model says."""
    theirs = {}
    for name in models.names:
        try:
            reading = answers.read(models, name, example(game.order[game.turn]), point)
        except gr.Error:
            # A model that cannot be loaded does not end the game; its row says so.
            continue
        theirs[name] = Said(reading.called, reading.prediction)
    return replace(game, mine=(*game.mine, label), theirs=(*game.theirs, theirs))


def build(view: View) -> None:
    """An X-ray, two buttons, what came out, the score."""
    models = view.models
    state = gr.State(None, time_to_live=KEPT)
    gr.HTML(words.INTRO)
    with gr.Row(elem_classes="workbench"):
        with gr.Column(scale=3, min_width=300):
            picture = gr.HTML(elem_id="quiz-picture", min_height=250)
        with gr.Column(scale=2, min_width=300):
            gr.HTML(f"<h2 class='minor'>{words.QUESTION}</h2>")
            with gr.Row(elem_classes="quiz-choices"):
                choices = [
                    gr.Button(
                        words.CHOICES[label],
                        elem_id=f"quiz-{label.lower()}",
                        elem_classes=label.lower(),
                        min_width=120,
                    )
                    for label in LABELS
                ]
            further = gr.Button(words.NEXT, elem_id="quiz-next", interactive=False)
            reveal = gr.HTML(elem_id="quiz-reveal", min_height=220)
            score = gr.HTML(elem_id="quiz-score", min_height=190)
    gr.HTML(words.NOT_A_TEST)
    outputs = [state, picture, *choices, further, reveal, score]

    def draw_game(game: Game) -> tuple[Any, ...]:
        over, last = game.turn == len(game.order), game.turn == len(game.order) - 1
        buttons = [gr.Button(interactive=not (over or game.decided)) for _ in LABELS]
        label = words.AGAIN if over else words.LAST if last and game.decided else words.NEXT
        return (
            game,
            _picture(game),
            *buttons,
            gr.Button(label, interactive=over or game.decided),
            _reveal(models, game),
            _score(models, game),
        )

    def open_game(game: Game | None) -> tuple[Any, ...]:
        return draw_game(game or Game.start())

    def begin_again() -> tuple[Any, ...]:
        gr.Info(words.GONE)
        return draw_game(Game.start())

    def decide(label: str, game: Game | None, point: str) -> tuple[Any, ...]:
        if game is None:
            return begin_again()
        # A second click that was on its way does not decide the next X-ray.
        waiting = game.turn < len(game.order) and not game.decided
        return draw_game(play_turn(models, game, label, point) if waiting else game)

    def go_on(game: Game | None) -> tuple[Any, ...]:
        if game is None:
            return begin_again()
        if game.turn == len(game.order):
            return draw_game(Game.start())
        return draw_game(replace(game, turn=game.turn + 1) if game.decided else game)

    view.tab.select(open_game, state, outputs, **AT_ONCE)
    for label, button in zip(LABELS, choices, strict=True):
        answered = button.click(
            partial(decide, label),
            [state, view.point],
            outputs,
            show_progress_on=reveal,
            **ONE_BY_ONE,
        )
        answered.then(None, js=TO_NEXT, api_visibility="private")
    further.click(go_on, state, outputs, **AT_ONCE).then(
        None, js=TO_CHOICES, api_visibility="private"
    )


def _picture(game: Game) -> str:
    place = min(game.turn, len(game.order) - 1)
    # Neither the file's name nor anything else here says which class it is.
    name = words.PLACE.format(place=place + 1, of=len(game.order))
    return (
        "<div"
        f" class='quiz-picture'>{panels.xray(example(game.order[place]).picture, name, name)}</div>"
    )


def _reveal(models: Models, game: Game) -> str:
    if game.turn == len(game.order):
        right = tally(game.mine, game.truths)[0]
        text = words.DONE.format(right=right, of=len(game.order))
        return (
            f"<div class='reveal'{verdicts.announce(text)}><p class='reveal-head'>{text}</p></div>"
        )
    if not game.decided:
        return f"<div class='reveal waiting'><p>{words.ASK}</p></div>"
    mine, truth, theirs = game.mine[game.turn], game.truths[game.turn], game.theirs[game.turn]
    head = words.RIGHT if mine == truth else words.WRONG
    text = words.TRUTH.format(truth=truth, mine=mine)
    rows = "".join(
        f"<tr><th scope='row'>{panels.escape(models.title(name))}</th>"
        f"{_render_cells(theirs.get(name), truth)}</tr>"
        for name in models.names
    )
    return (
        f"<div class='reveal'{verdicts.announce(f'{head}. {text}')}><p class='reveal-head"
        f" {'right' if mine == truth else 'wrong'}'>{head}</p><p>{text}</p>"
        f"<div class='scroller'><table>{rows}</table></div></div>"
    )


def _render_cells(said: Said | None, truth: str) -> str:
    if said is None:
        return f"<td colspan='3'>{words.UNAVAILABLE}</td>"
    probability, threshold = (
        panels.percent(said.prediction.probability),
        panels.percent(said.prediction.threshold),
    )
    mark = "✓" if said.called == truth else "?" if said.called == "UNCERTAIN" else "✗"
    return (
        f"<td>{mark} {said.called}</td><td>{probability} <span class='interval'>(threshold"
        f" {threshold})</span></td>"
    )


def _score(models: Models, game: Game) -> str:
    rows = {words.YOU: tally(game.mine, game.truths)}
    for name in models.names:
        rows[models.title(name)] = tally(
            [said[name].called if name in said else None for said in game.theirs], game.truths
        )
    head = "".join(f"<th scope='col'>{name}</th>" for name in words.SCORE_HEAD)
    body = "".join(
        f"<tr><th scope='row'>{panels.escape(who)}</th>"
        f"{''.join(f'<td>{count}</td>' for count in counts)}</tr>"
        for who, counts in rows.items()
    )
    title = (
        f"<h2 class='minor'>{words.SCORE_TITLE} after {len(game.mine)} of {len(game.order)}</h2>"
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return (
        f"{title}<div class='scroller' tabindex='0' role='region'"
        f" aria-label='{words.SCORE_TITLE}'>{table}</div>"
    )
