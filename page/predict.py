"""The Predict tab: one X-ray, one model, one setting: an answer and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from page import answers, report, verdicts
from page.answers import Answer
from page.served import Models, Shown, example, receive_upload
from page.shared import FIRST, View


def answer_picture(
    models: Models, shown: Shown | str | None, variant: str, point: str
) -> Iterator[str]:
    """The panel for a picture: first the answer, then the same with its heat map; or why there is
    none.
    """
    if not isinstance(shown, Shown) or shown.rejection:
        yield verdicts.instead(shown)
        return
    reading = answers.read(models, variant, shown, point)
    yield verdicts.render_answer(reading, drawing=True)
    yield verdicts.render_answer(answers.with_heat(models, variant, reading))


def build(view: View) -> None:
    """Answer, report."""
    panel = verdicts.panel(view, verdicts.render_waiting(example(FIRST)), "answer")
    report.button(view)
    view.follow(
        partial(answer_picture, view.models), [view.shown, view.variant, view.point], [panel]
    )


def endpoints(models: Models) -> tuple[Callable[..., Any], ...]:
    """``/predict``."""

    def predict(
        image: gr.FileData,
        variant: str = models.default,
        operating_point: str = "default",
        force: bool = False,
    ) -> Answer:
        """Reads one chest X-ray with one model: label, calibrated probability of pneumonia,
        threshold and what that costs in people on the test set.

        Args:
            image: an X-ray file.
            variant: name of a model: baseline, augmented or xception.
            operating_point: default, or such as recall-0.98 where the model has it.
            force: answer also on what does not look like a frontal chest X-ray.
        """
        return answers.build_answer(
            answers.read(
                models,
                variant,
                answers.must_be_answered(receive_upload(image), force),
                operating_point,
            )
        )

    return (predict,)
