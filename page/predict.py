"""The Predict tab: a picture, a model, a setting, an answer and what it is worth."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from page import answers, report, verdicts, words
from page.answers import Answer
from page.served import EXAMPLES, ONE_BY_ONE, Models, Shown, example, received
from page.shared import AT_ONCE, View
from page.words import answers as said
from pneumonia import figures

# Pixels of a thumbnail's longer side.
THUMBNAIL_SIDE = 240
# On a phone the answer stands below the examples, out of sight.
TO_THE_ANSWER = (
    "() => { if (window.innerWidth < 700) document.querySelector('#model').scrollIntoView({ block:"
    " 'start' }); }"
)


def answered(
    models: Models, shown: Shown | None, variant: str, point: str, problem: str | None = None
) -> Iterator[str]:
    """The panel for a picture: first the answer, then the same with its heat map; or the invitation
    to choose one, or why it is refused.
    """
    if shown is None:
        yield verdicts.waiting(models.evidence(variant), problem)
        return
    if shown.refusal:
        yield verdicts.refused(shown)
        return
    reading = answers.read(models, variant, shown, point)
    yield verdicts.answered(reading, drawing=True)
    yield verdicts.answered(answers.with_heat(models, variant, reading))


def settings(models: Models, variant: str, point: str) -> gr.Radio:
    """The operating points of a model, keeping the one that was chosen where it has it."""
    offered = answers.points(models.evidence(variant).spec)
    names = [offer.name for offer in offered]
    return gr.Radio(
        [(said.point_name(offer), offer.name) for offer in offered],
        label=said.POINT,
        elem_id="point",
        value=point if point in names else "default",
        info=said.POINT_HELP if len(offered) > 1 else said.POINT_FIXED,
        interactive=len(offered) > 1,
    )


def _button(name: str, file: Path, classes: list[str]) -> gr.Button:
    # As a data address, which Button takes though its type does not say so: a file would be copied
    # to Gradio's cache and deleted there when it grows old, or earlier when a visitor uploads the
    # very example, because the cache stores files under their content.
    address = figures.data_uri(
        figures.reduced(example(file).picture.to_pil(), THUMBNAIL_SIDE), "JPEG"
    )
    icon: Any = {"path": address, "url": address}
    return gr.Button(name, icon=icon, min_width=90, elem_classes=classes)


def build(view: View) -> None:
    """Upload or example, model, setting, answer, report."""
    models, shown = view.models, view.shown
    problem = gr.State(None)
    buttons = []
    with gr.Row(elem_classes="workbench"):
        with gr.Column(scale=2, min_width=300):
            upload = gr.File(label=words.UPLOAD, type="filepath", height=150, elem_id="upload")
            gr.HTML(words.FORMATS + words.EXAMPLES_HEADING)
            for label, files in EXAMPLES.items():
                with gr.Row(elem_classes="examples"):
                    for number, file in enumerate(files, start=1):
                        classes = ["example", label.lower()]
                        buttons.append((_button(f"{label} {number}", file, classes), file))
            gr.HTML(words.CREDIT)
        with gr.Column(scale=3, min_width=320):
            with gr.Row(elem_classes="asked"):
                variant = view.model_radio("model")
                clear = gr.Button(words.CLEAR, elem_id="clear", scale=1, min_width=90)
            point = settings(models, models.default, "default")
            if models.any_repo:
                with (
                    gr.Accordion(words.GUEST, open=False, elem_id="guest"),
                    gr.Row(equal_height=True),
                ):
                    repo = gr.Textbox(
                        label=words.GUEST_LABEL,
                        info=words.GUEST_HELP,
                        placeholder="me/pneumonia-xray-xception",
                        max_lines=1,
                        scale=4,
                    )
                    load = gr.Button(words.GUEST_BUTTON, scale=1, min_width=90)
            panel = verdicts.panel(
                view, verdicts.waiting(models.evidence(models.default)), "answer"
            )
            report.button(view, point)

    def of_upload(path: str | None) -> tuple[None, Shown | None, str | None]:
        try:
            return None, received(path), None
        except gr.Error as error:
            # In the panel, so that no earlier answer stands beside a picture that could not be
            # read.
            return None, None, html.unescape(error.message)

    def of_example(file: Path) -> tuple[Shown, None]:
        return example(file), None

    def of_guest(repo: str) -> tuple[gr.Radio, str]:
        name = models.invite(repo)
        return gr.Radio(models.choices, value=name), name

    asked = [
        upload.upload(
            of_upload, upload, [upload, shown, problem], show_progress_on=panel, **ONE_BY_ONE
        )
    ]
    asked += [
        button.click(partial(of_example, file), None, [shown, problem], **AT_ONCE)
        for button, file in buttons
    ]
    for event in asked:
        event.then(None, js=TO_THE_ANSWER, api_visibility="private")
    asked.append(clear.click(lambda: (None, None, None), None, [upload, shown, problem], **AT_ONCE))
    if models.any_repo:
        asked += [
            event(of_guest, repo, [variant, view.variant], show_progress_on=panel, **ONE_BY_ONE)
            for event in (load.click, repo.submit)
        ]
    asked.append(point.input(lambda: None, None, None, **AT_ONCE))
    for event in asked:
        view.changed(event)
    view.follow(partial(settings, models), [view.variant, point], [point])
    view.follow(partial(answered, models), [shown, view.variant, point, problem], [panel])


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
        return answers.typed(
            answers.read(
                models,
                variant,
                answers.must_be_answered(received(image), force),
                operating_point,
            )
        )

    return (predict,)
