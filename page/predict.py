"""The Predict tab: a picture, a model, an answer and what it is worth."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from page import panels, words
from page.served import EXAMPLES, ONE_BY_ONE, Models, Shown, example, received
from page.shared import View
from pneumonia import figures, radiograph

# Pixels of a thumbnail's longer side.
THUMBNAIL_SIDE = 240
# On a phone the answer stands below the examples, out of sight.
TO_THE_ANSWER = "() => { if (window.innerWidth < 700) document.querySelector('#model').scrollIntoView({ block: 'start' }); }"


def answered(models: Models, shown: Shown | None, variant: str) -> str:
    """The answer's panel for a picture, or the invitation to choose one."""
    if shown is None:
        return panels.waiting(models.evidence(variant))
    # First the weights, then what is known of them: asking may bring others than those that were bundled.
    classifier, evidence = models[variant], models.evidence(variant)
    seen = radiograph.resize(shown.picture, classifier.contract.input_size)
    return panels.answer(classifier.predict(shown.picture), shown.picture, seen, evidence, shown.truth)


def _button(name: str, file: Path, classes: list[str]) -> gr.Button:
    # As a data address, which Button takes though its type does not say so: a file would be copied to Gradio's cache and deleted there when it grows old,
    # or earlier when a visitor uploads the very example, because the cache stores files under their content.
    address = figures.data_uri(figures.reduced(example(file).picture.to_pil(), THUMBNAIL_SIDE), "JPEG")
    return gr.Button(name, icon={"path": address, "url": address}, min_width=90, elem_classes=classes)  # type: ignore[arg-type]


def build(view: View) -> None:
    """Upload or example, model, answer."""
    models, shown = view.models, view.shown
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
            if models.any_repo:
                with gr.Accordion(words.GUEST, open=False, elem_id="guest"), gr.Row(equal_height=True):
                    repo = gr.Textbox(label=words.GUEST_LABEL, info=words.GUEST_HELP, placeholder="me/pneumonia-xray-xception", max_lines=1, scale=4)
                    load = gr.Button(words.GUEST_BUTTON, scale=1, min_width=90)
            panel = gr.HTML(panels.waiting(models.evidence(models.default)), elem_id="answer")

    def of_upload(path: str | None, variant: str) -> Iterator[tuple[Any, Shown | None, str]]:
        try:
            new = received(path)
        except gr.Error as error:
            # First the panel, so that no earlier answer stands beside a picture that could not be read; then the message.
            yield None, None, panels.waiting(models.evidence(variant), html.unescape(error.message))
            raise
        yield None, new, answered(models, new, variant)

    def of_example(file: Path, variant: str) -> tuple[Shown, str]:
        return example(file), answered(models, example(file), variant)

    asked = [upload.upload(of_upload, [upload, variant], [upload, shown, panel], show_progress_on=panel, **ONE_BY_ONE)]
    for button, file in buttons:
        asked.append(button.click(partial(of_example, file), variant, [shown, panel], show_progress_on=panel, **ONE_BY_ONE))
    for event in asked:
        event.then(None, js=TO_THE_ANSWER, api_visibility="private")

    def of_guest(repo: str, shown: Shown | None) -> tuple[gr.Radio, str, str]:
        name = models.invite(repo)
        return gr.Radio(models.choices, value=name), name, answered(models, shown, name)

    if models.any_repo:
        for asked_for in (load.click, repo.submit):
            asked_for(of_guest, [repo, shown], [variant, view.variant, panel], show_progress_on=panel, **ONE_BY_ONE)
    view.follow(partial(answered, models), [shown, view.variant], [panel])
    clear.click(lambda variant: (None, None, panels.waiting(models.evidence(variant))), variant, [upload, shown, panel], **ONE_BY_ONE)
