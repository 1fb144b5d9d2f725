"""What the tabs share: the X-ray and the model a visitor chose, which travel from tab to tab.

A tab is a module of ``page/`` with ``build(view: View) -> None``, called once inside its
``gr.Tab``; ``app.TABS`` lists them in their order. What it offers to other programs it returns from
``endpoints(models: Models) -> tuple[Callable, ...]``; each becomes an API endpoint under its
function's name.

In ``build``::

    view.chooser("compare")                     # the chosen X-ray, the examples, an upload: for
    tabs that have none of their own view.model_radio("compare-model")           # where the tab
    asks one model panel = gr.HTML()
    view.follow(answer, [view.shown, view.variant], [panel])

``answer`` runs when the tab is opened and when picture or model change in it, and only if something
it reads has changed since it last ran.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.events import Dependency

from page import panels, words
from page.served import EXAMPLES, ONE_BY_ONE, Models, Shown, example, named_example, received

# Seconds that a chosen X-ray stays in memory after it was last set.
KEPT = 3600
# What costs no time waits behind nobody's prediction.
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# By a click, as a visitor would: gr.Tabs as an output draws its buttons wrongly (Gradio 6.31), and
# a click also tells the tab that it is looked at.
TO_THE_TAB = """() => {
    const tab = new URLSearchParams(window.location.search).get("tab");
    if (tab) document.querySelector(`[role=tab][data-tab-id="${CSS.escape(tab)}"]`)?.click();
}"""


class Shared:
    """The visitor's X-ray and model, set by any tab and by a link such as
    ``?example=person1946_bacteria_4874&model=baseline&tab=compare``.

    Attributes:
        models: those that can be asked.
        shown: state with a :class:`page.served.Shown`, or None before there is one.
        variant: state with a model's name.
        linked: the event that has read the address; a follower may be chained to it.
    """

    def __init__(self, models: Models, page: gr.Blocks) -> None:
        self.models = models
        self.shown = gr.State(None, time_to_live=KEPT)
        self.variant = gr.State(models.default)

        def of_address(request: gr.Request) -> tuple[Any, Any]:
            asked = request.query_params
            file, model = named_example(asked.get("example", "")), asked.get("model")
            return example(
                file
            ) if file else gr.skip(), model if model in models.names else gr.skip()

        self.linked: Dependency = page.load(of_address, None, [self.shown, self.variant], **AT_ONCE)
        self.linked.then(None, js=TO_THE_TAB, api_visibility="private")


class View:
    """One tab's view of what is shared.

    Attributes:
        tab: the ``gr.Tab`` it is built in.
        models, shown, variant: as in :class:`Shared`.
    """

    def __init__(self, shared: Shared, tab: gr.Tab, first: bool = False) -> None:
        self.tab, self.models, self.shown, self.variant = (
            tab,
            shared.models,
            shared.shown,
            shared.variant,
        )
        # The first tab is open without being selected, so it follows the address instead.
        self._linked: list[Dependency] = [shared.linked] if first else []
        self._changes: list[Dependency] = [*self._linked]

    def changed(self, event: Dependency) -> None:
        """Tells followers that are wired later about an event of this tab that sets :attr:`shown`
        or :attr:`variant`.
        """
        self._changes.append(event)

    def chooser(self, prefix: str) -> None:
        """The chosen X-ray small, the examples in a list, and a place for an upload; ``prefix``
        begins their element ids.
        """
        files = [file for of_label in EXAMPLES.values() for file in of_label]
        listed = [(title(example(file)), file.stem) for file in files]
        with gr.Row(elem_classes="chooser", equal_height=True):
            view = gr.HTML(panels.thumbnail(None), elem_id=f"{prefix}-shown", min_height=72)
            choice = gr.Dropdown(
                listed,
                value=None,
                label=words.EXAMPLE,
                elem_id=f"{prefix}-example",
                filterable=False,
                scale=2,
                min_width=150,
            )
            upload = gr.UploadButton(
                words.OWN,
                size="md",
                type="filepath",
                elem_id=f"{prefix}-upload",
                scale=1,
                min_width=120,
            )

        def of_choice(name: str) -> tuple[Shown, str]:
            shown = example(next(file for file in files if file.stem == name))
            return shown, _thumbnail(shown)

        def of_upload(path: str | None) -> tuple[Shown, str, None]:
            shown = received(path)
            return shown, _thumbnail(shown), None

        def of_elsewhere(shown: Shown | None) -> tuple[str, str | None]:
            return _thumbnail(shown), shown.file.stem if shown and shown.file else None

        self.tab.select(of_elsewhere, self.shown, [view, choice], **AT_ONCE)
        self.changed(choice.input(of_choice, choice, [self.shown, view], **AT_ONCE))
        self.changed(
            upload.upload(
                of_upload, upload, [self.shown, view, choice], show_progress_on=view, **ONE_BY_ONE
            )
        )

    def model_radio(self, elem_id: str) -> gr.Radio:
        """The models to choose from, showing the one that was chosen last on any tab."""
        radio = gr.Radio(
            self.models.choices, value=self.models.default, label=words.MODEL, elem_id=elem_id
        )
        # A model that a visitor brought on another tab is offered here too.
        events: list[Any] = [self.tab.select, *(link.success for link in self._linked)]
        for event in events:
            event(
                lambda variant: gr.Radio(self.models.choices, value=variant),
                self.variant,
                radio,
                **AT_ONCE,
            )
        self.changed(radio.input(lambda variant: variant, radio, self.variant, **AT_ONCE))
        return radio

    def follow(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        show_progress_on: Any = None,
        on: Sequence[Any] = (),
    ) -> None:
        """Runs ``function`` when the tab is opened and after each change in it that was declared
        before (chooser, radio, :meth:`changed`), and on more events.

        It does not run again for the same values: coming back to a tab costs nothing. A generator
        function may yield as it goes.

        Args:
            function: takes the inputs, returns what the outputs become.
            inputs, outputs: as for any event of Gradio.
            show_progress_on: the outputs that are marked as being worked on; the last one if None.
            on: such as ``count.input``, of components that are among the inputs.
        """
        before = gr.State(None, time_to_live=KEPT)
        follower = _once_for_the_same(function, len(outputs))
        where = show_progress_on or outputs[-1]
        events: list[Any] = [self.tab.select, *(change.success for change in self._changes), *on]
        for event in events:
            event(
                follower,
                [before, *inputs],
                [before, *outputs],
                show_progress_on=where,
                **ONE_BY_ONE,
            )


def title(shown: Shown) -> str:
    """How a picture is called on the page: ``PNEUMONIA 2`` for an example, else its file name."""
    if shown.file is None or shown.truth is None:
        return shown.picture.name
    return f"{shown.truth} {EXAMPLES[shown.truth].index(shown.file) + 1}"


def _thumbnail(shown: Shown | None) -> str:
    return panels.thumbnail(shown.picture, title(shown)) if shown else panels.thumbnail(None)


def _once_for_the_same(function: Callable[..., Any], width: int) -> Callable[..., Any]:
    signature = inspect.signature(function)
    # Gradio finds gr.Progress and gr.Request by the signature, so the wrapper shows the function's
    # own behind its first argument.
    ahead = inspect.Parameter("before", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown = signature.replace(
        parameters=[ahead, *signature.parameters.values()],
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
    def once(before: Any, *values: Any) -> list[Any]:
        new = key(values)
        return nothing_new if new == before else row(new, function(*values))

    @functools.wraps(function)
    def streamed(before: Any, *values: Any) -> Iterator[list[Any]]:
        new = key(values)
        if new == before:
            yield nothing_new
            return
        for result in function(*values):
            # Only a run that came to its end counts: one that broke off is made again.
            yield row(None, result)
        yield [new, *([gr.skip()] * width)]

    wrapper: Any = streamed if inspect.isgeneratorfunction(function) else once
    wrapper.__signature__ = shown
    return wrapper
