"""What the tabs share: the X-ray, the model and the sensitivity a visitor chose. They stand once,
on the bench beside the tabs, and in the page's address.

A tab is a module of ``page/`` with ``build(view: View) -> None``, called once inside its
``gr.Tab``; ``app.TABS`` lists them in their order. What it offers to other programs it returns from
``endpoints(models: Models) -> tuple[Callable, ...]``; each becomes an API endpoint under its
function's name.

In ``build``::

    panel = gr.HTML()
    view.follow(answer, [view.shown, view.variant, view.point], [panel])

``answer`` runs when the tab is opened and when something on the bench changes while it is open, and
only if something it reads has changed since it last ran. Which parts of the bench a tab shows says
``assets/app.css``.
"""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from page import answers, panels, words
from page.served import EXAMPLES, ONE_BY_ONE, Models, Shown, example, named_example, receive_upload
from page.words import answers as said
from pneumonia import LABELS, figures

# Seconds that a chosen X-ray stays in memory after it was last set.
KEPT = 3600
# What costs no time waits behind nobody's prediction.
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# Pixels of a thumbnail's longer side.
THUMBNAIL_SIDE = 240
# Both in assets/app.js: the open tab answers anew; the tab that the address names is opened.
REFRESH, START = "() => window.bench.refresh()", "() => window.bench.start()"
FIRST = EXAMPLES[LABELS[0]][0]
Offer = list[tuple[str, str]]


class Shared:
    """The bench: X-ray, model, sensitivity, set by hand and by a link such as
    ``?example=person1946_bacteria_4874&model=baseline&setting=recall-0.95&tab=compare``.

    Attributes:
        models: those that can be asked.
        tabs: ids of the tabs, as they are built.
        shown: state with a :class:`page.served.Shown`, or with a sentence on why there is none;
            empty until the address has been read, and when it is gone from memory.
        arrived: whether the address has been read. The browser keeps it, so that it outlives what
            the server forgets.
        variant: radio with the models' names.
        point: radio with the names of the model's operating points.
    """

    def __init__(self, models: Models, page: gr.Blocks) -> None:
        self.models = models
        self.tabs: list[str] = []
        self.shown = gr.State("", time_to_live=KEPT)
        self.arrived = gr.Checkbox(False, visible="hidden")
        with gr.Column(elem_id="bench-xray", min_width=0):
            buttons, upload, forget, chosen = self._xrays()
        with gr.Column(elem_id="bench-settings", min_width=0):
            self.variant = gr.Radio(
                models.choices, value=models.default, label=words.MODEL, elem_id="model"
            )
            self.point = settings(models, models.default, "default")
            # What the radio offers, so that a model which offers the same leaves it alone.
            self.offered = gr.State(offer(models, models.default))
            guest = self._guest() if models.any_repo else []

        def of_example(file: Path) -> tuple[Shown, str]:
            return example(file), render_choice(example(file))

        def of_upload(path: str | None) -> tuple[Shown | str, str]:
            try:
                shown: Shown | str = receive_upload(path)
            except gr.Error as error:
                # In the tab, so that no earlier answer stands beside a picture that could not be
                # read.
                shown = html.unescape(error.message)
            return shown, render_choice(shown)

        def of_model(variant: str, point: str, before: Offer) -> tuple[Any, Offer]:
            now = offer(models, variant)
            # A setting that was chosen meanwhile must not be taken back.
            return gr.skip() if now == before else settings(models, variant, point), now

        def of_guest(repo: str) -> tuple[gr.Radio, gr.Radio, Offer]:
            name = models.invite(repo)
            radio = settings(models, name, "default")
            return gr.Radio(models.choices, value=name), radio, offer(models, name)

        for button, file in buttons:
            self.refresh_after(
                button.click(partial(of_example, file), None, [self.shown, chosen], **AT_ONCE)
            )
        self.refresh_after(
            forget.click(partial(of_example, FIRST), None, [self.shown, chosen], **AT_ONCE)
        )
        self.refresh_after(upload.upload(of_upload, upload, [self.shown, chosen], **ONE_BY_ONE))
        self.refresh_after(
            self.variant.input(
                of_model,
                [self.variant, self.point, self.offered],
                [self.point, self.offered],
                **AT_ONCE,
            )
        )
        self.refresh_after(self.point.input(lambda: None, None, None, **AT_ONCE))
        if guest:
            repo, load = guest
            for event in (load.click, repo.submit):
                self.refresh_after(
                    event(of_guest, repo, [self.variant, self.point, self.offered], **ONE_BY_ONE)
                )
        with gr.Column(elem_id="notice-place", min_width=0):
            notice = gr.HTML("", elem_id="notice")
        page.load(
            self._of_address,
            None,
            [self.shown, self.arrived, chosen, self.variant, self.point, self.offered, notice],
            **AT_ONCE,
        ).then(None, js=START, api_visibility="private")

    def refresh_after(self, event: Dependency) -> None:
        """Has the open tab answer anew after an event that sets X-ray, model or sensitivity."""
        event.success(None, js=REFRESH, api_visibility="private")

    def _of_address(self, request: gr.Request) -> tuple[Any, ...]:
        asked, models = request.query_params, self.models
        unknown = []
        name, file = asked.get("example"), named_example(asked.get("example", ""))
        if name and file is None:
            unknown.append(words.UNKNOWN_EXAMPLE.format(name=name[:60]))
        variant = asked.get("model", models.default)
        # Those of visitors are offered to who brought them; in a link they are unknown.
        if variant not in models.names:
            unknown.append(words.UNKNOWN_MODEL.format(name=variant[:60]))
            variant = models.default
        point = asked.get("setting", "default")
        if point not in [one.name for one in models.evidence(variant).spec.operating_points]:
            unknown.append(
                words.UNKNOWN_SETTING.format(name=point[:60], title=models.title(variant))
            )
            point = "default"
        if (tab := asked.get("tab")) and tab not in self.tabs:
            unknown.append(words.UNKNOWN_TAB.format(name=tab[:60]))
        shown = example(file or FIRST)
        says = f"<p role='status'>{panels.escape(' '.join(unknown))}</p>" if unknown else ""
        return (
            shown,
            True,
            render_choice(shown),
            gr.Radio(models.choices, value=variant),
            settings(models, variant, point),
            offer(models, variant),
            says,
        )

    def _xrays(self) -> tuple[list[tuple[gr.Button, Path]], gr.UploadButton, gr.Button, gr.HTML]:
        upload = gr.UploadButton(words.OWN, type="filepath", elem_id="upload", min_width=90)
        gr.HTML(words.FORMATS, elem_id="formats")
        with gr.Row(elem_id="own"):
            chosen = gr.HTML(render_choice(example(FIRST)), elem_id="chosen", min_width=90)
            forget = gr.Button(words.FORGET, elem_id="forget", size="sm", min_width=80, scale=0)
        buttons = []
        with gr.Row(elem_id="examples"):
            for label, files in EXAMPLES.items():
                for number, file in enumerate(files, start=1):
                    buttons.append((_button(f"{label} {number}", file, label.lower()), file))
        gr.HTML(words.CREDIT, elem_id="credit")
        return buttons, upload, forget, chosen

    def _guest(self) -> list[Any]:
        with gr.Accordion(words.GUEST, open=False, elem_id="guest"):
            return [
                gr.Textbox(
                    label=words.GUEST_LABEL,
                    info=words.GUEST_HELP,
                    placeholder="me/pneumonia-xray-xception",
                    max_lines=1,
                ),
                gr.Button(words.GUEST_BUTTON),
            ]


class View:
    """One tab's view of what is shared.

    Attributes:
        tab: the ``gr.Tab`` it is built in.
        models, shown, arrived, variant, point: as in :class:`Shared`.
    """

    def __init__(self, shared: Shared, tab: gr.Tab) -> None:
        self.tab, self.models = tab, shared.models
        self.shown, self.arrived = shared.shown, shared.arrived
        self.variant, self.point = shared.variant, shared.point
        self.refresh_after = shared.refresh_after
        shared.tabs.append(str(tab.id))
        # Pressed by the page's own script while this tab is open.
        self._refresh = gr.Button(visible="hidden", elem_id=f"refresh-{tab.id}")

    def follow(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        show_progress_on: Any = None,
        on: Sequence[Any] = (),
    ) -> None:
        """Runs ``function`` when the tab is opened, after each change on the bench while it is
        open, and on more events.

        It does not run again for the same values: coming back to a tab costs nothing; nor before
        the address has been read. A generator function may yield as it goes.

        Args:
            function: takes the inputs, returns what the outputs become.
            inputs, outputs: as for any event of Gradio.
            show_progress_on: the outputs that are marked as being worked on; the last one if None.
            on: such as ``count.input``, of components that are among the inputs.
        """
        before = gr.State(None, time_to_live=KEPT)
        follower = _once_for_the_same(function, len(outputs))
        where = show_progress_on or outputs[-1]
        for event in (self.tab.select, self._refresh.click, *on):
            event(
                follower,
                [before, self.arrived, *inputs],
                [before, *outputs],
                show_progress_on=where,
                **ONE_BY_ONE,
            )


def offer(models: Models, variant: str) -> Offer:
    """The operating points of a model from the most sensitive: how each is called, and its name."""
    offered = answers.points(models.evidence(variant).spec)
    return list(zip(said.point_names(offered), [one.name for one in offered], strict=True))


def settings(models: Models, variant: str, point: str) -> gr.Radio:
    """The operating points of a model, from the most sensitive, keeping the one that was chosen
    where it has it.
    """
    spec = models.evidence(variant).spec
    offered = answers.points(spec)
    # A point that shares its threshold with another is offered under one name only.
    threshold = answers.point_of(spec, point).threshold
    return gr.Radio(
        offer(models, variant),
        label=said.POINT,
        elem_id="point",
        value=next(one.name for one in offered if one.threshold == threshold),
        info=said.POINT_HELP if len(offered) > 1 else said.POINT_FIXED,
        interactive=len(offered) > 1,
    )


def title(shown: Shown) -> str:
    """How a picture is called on the page: ``PNEUMONIA 2`` for an example, else its file name."""
    if shown.file is None or shown.truth is None:
        return shown.picture.name
    return f"{shown.truth} {EXAMPLES[shown.truth].index(shown.file) + 1}"


def render_choice(shown: Shown | str) -> str:
    """What is chosen: for the page's script an example's name, for people their own X-ray, small,
    with its name.
    """
    if isinstance(shown, str):
        return "<div class='chosen'></div>"
    if shown.file:
        return f"<div class='chosen' data-example='{panels.escape(shown.file.stem)}'></div>"
    return panels.thumbnail(shown.picture)


def _button(name: str, file: Path, kind: str) -> gr.Button:
    # As a data address, which Button takes though its type does not say so: a file would be copied
    # to Gradio's cache and deleted there when it grows old, or earlier when a visitor uploads the
    # very example, because the cache stores files under their content.
    address = figures.data_uri(
        figures.shrink(example(file).picture.to_pil(), THUMBNAIL_SIDE), "JPEG"
    )
    icon: Any = {"path": address, "url": address}
    return gr.Button(
        name,
        icon=icon,
        min_width=60,
        elem_id=f"example-{file.stem}",
        elem_classes=["example", kind],
    )


def _once_for_the_same(function: Callable[..., Any], width: int) -> Callable[..., Any]:
    signature = inspect.signature(function)
    # Gradio finds gr.Progress and gr.Request by the signature, so the wrapper shows the function's
    # own behind its first arguments.
    ahead = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("before", "arrived")
    ]
    shown = signature.replace(
        parameters=[*ahead, *signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )

    def key(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            value.key if isinstance(value, Shown) else value
            for value in values
            if not isinstance(value, (gr.Progress, gr.Request))
        )

    def row(new: Any, result: Any) -> list[Any]:
        return [new, *(result if width > 1 else (result,))]

    nothing_new = [gr.skip()] * (width + 1)

    @functools.wraps(function)
    def once(before: Any, arrived: bool, *values: Any) -> list[Any]:
        new = key(values)
        return row(new, function(*values)) if arrived and new != before else nothing_new

    @functools.wraps(function)
    def stream(before: Any, arrived: bool, *values: Any) -> Iterator[list[Any]]:
        new = key(values)
        if not arrived or new == before:
            yield nothing_new
            return
        for result in function(*values):
            # Only a run that came to its end counts: one that broke off is made again.
            yield row(None, result)
        yield [new, *([gr.skip()] * width)]

    wrapper: Any = stream if inspect.isgeneratorfunction(function) else once
    wrapper.__signature__ = shown
    return wrapper
