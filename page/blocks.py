"""Gradio's page, with what it says and does changed where a stranger could be harmed by it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import inspect
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.exceptions import InvalidPathError
from gradio.queueing import Event, EventQueue, Queue

from page.uploads import Uploads

UNEXPECTED = "Something went wrong here, and it is not your fault; please try once more."
NO_UPLOAD = "That is no uploaded file; upload the X-ray with the request."
# Seconds between two looks for those who left, and until they are forgotten; a connection may
# break.
EVERY, LEFT = 5.0, 120.0
# Sessions that are kept at most, a third of a megabyte each and what their visitors look at.
MOST_SESSIONS = 1000
# How often others may be served before a request that came earlier.
MOST_OVERTAKEN = 8
NO_ADDRESS = "Addresses are not fetched; upload the X-ray with the request."


class Page(gr.Blocks):
    """Blocks whose every failure is one sentence: none of Gradio's, which quote what was sent, in
    the answer or on the terminal, and none without words.

    Attributes:
        uploads: what visitors sent, and where it lies.
    """

    uploads: Uploads

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._present: Counter[str] = Counter()
        self._idle: dict[str, tuple[float, Any]] = {}

    @contextlib.contextmanager
    def present(self, session: str) -> Iterator[None]:
        """The visitor of a session has the page open."""
        self._present[session] += 1
        try:
            yield
        finally:
            self._present[session] -= 1
            self._present += Counter()

    @contextlib.asynccontextmanager
    async def housekeeping(self, _: Any) -> AsyncIterator[None]:
        """Forgets those who left, for as long as the page is served."""

        async def forgetting() -> None:
            while True:
                await asyncio.sleep(EVERY)
                try:
                    self.forget(time.monotonic())
                except Exception as error:
                    logging.getLogger(__name__).error("Housekeeping: %s", type(error).__name__)

        task = asyncio.create_task(forgetting())
        try:
            yield
        finally:
            task.cancel()

    def forget(self, now: float) -> None:
        """Drops whatever Gradio keeps of sessions nobody has open and of answers nobody fetched;
        Gradio itself would keep ten thousand of them.
        """
        held, queue = self.state_holder, self._queue
        at_work = {event.session_hash for job in queue.active_jobs for event in job or ()}
        for line in queue.event_queue_per_concurrency_id.values():
            at_work.update(event.session_hash for event in line.queue)
        kept: list[dict[str, Any]] = [
            held.session_data,
            held.time_last_used,
            queue.pending_messages_per_session,
            queue.pending_event_ids_session,
        ]
        known = {session for each in kept for session in list(each)}
        for session in known:
            if session in at_work or self._present[session]:
                self._idle.pop(session, None)
                continue
            used = held.time_last_used.get(session)
            since, before = self._idle.get(session, (now, used))
            since = since if before == used or used is None else now
            self._idle[session] = since, used
            idle, state = now - since, held.session_data.get(session)
            # A program's call has a session of its own, with nothing of a visitor in it.
            if state is not None and (idle > LEFT or (not state.state_data and idle > EVERY)):
                held.session_data.pop(session, None)
                held.time_last_used.pop(session, None)
            if idle > LEFT:
                for each in kept:
                    each.pop(session, None)
                del self._idle[session]
        for session in set(self._idle) - known:
            del self._idle[session]
        for names in self.temp_file_sets:
            names.clear()

    async def process_api(self, block_fn: BlockFunction | int, *args: Any, **named: Any) -> Any:
        """As Gradio's; whatever fails, fails with a sentence."""
        try:
            return await super().process_api(block_fn, *args, **named)
        except gr.Error as error:
            if not error.print_exception:
                raise
            said = html.escape(str(error.message)[:300], quote=False)
            raise gr.Error(said, print_exception=False) from None
        except InvalidPathError:
            raise gr.Error(NO_UPLOAD, print_exception=False) from None
        except Exception as error:
            # Only its kind: what it says may name a visitor's file.
            logging.getLogger(__name__).error("A request failed: %s", type(error).__name__)
            raise gr.Error(UNEXPECTED, print_exception=False) from None

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        """As Gradio's, but an endpoint's last arguments may be left out."""
        if len(inputs) < len(block_fn.inputs):
            asked = inspect.signature(block_fn.fn).parameters if block_fn.fn else {}
            names, left = list(asked), list(asked.values())[len(inputs) :]
            if block_fn.api_visibility == "public" and all(
                parameter.default is not parameter.empty for parameter in left
            ):
                # Of an endpoint, null stands for the default (page.arguments).
                inputs.extend([None] * len(left))
                return
            listed = f": {', '.join(names)}" if len(names) == len(block_fn.inputs) else ""
            raise gr.Error(
                f"This takes {len(block_fn.inputs)} values{listed}; {len(inputs)} came.",
                print_exception=False,
            )

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **named: Any
    ) -> Any:
        """As Gradio's, which would also fetch whatever address it is handed."""
        if any(path.startswith(("http://", "https://")) for path in _paths(inputs)):
            raise gr.Error(NO_ADDRESS, print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *args, **named)

    @property
    def visitors(self) -> list[str]:
        """Whose requests wait in line, one entry a request."""
        queue = self._queue
        return queue.visitors if isinstance(queue, FairQueue) else []

    def queue(self, *args: Any, **named: Any) -> Page:
        """As Gradio's, with a line in which visitors take turns."""
        super().queue(*args, **named)
        self._queue.__class__ = FairQueue
        self._queue.ANALYTICS_MAX_EVENTS = 100
        return self


class FairQueue(Queue):
    """Gradio's, with a line in which visitors take turns."""

    def create_event_queue_for_fn(self, block_fn: BlockFunction) -> None:
        """Each group of events that may not run together has such a line."""
        super().create_event_queue_for_fn(block_fn)
        line: EventQueue = self.event_queue_per_concurrency_id[block_fn.concurrency_id]
        if not isinstance(line.queue, Line):
            line.queue = Line(line.queue)

    def compute_analytics_summary(self, records: Any) -> dict[str, Any]:
        """None: nobody reads it, and with every failed request it would be computed anew."""
        return {"functions": {}}

    @property
    def visitors(self) -> list[str]:
        """Whose requests wait, one entry a request."""
        return [
            _visitor(event)
            for line in self.event_queue_per_concurrency_id.values()
            for event in line.queue
        ]


class Line(list[Event]):
    """Events that wait, in the order in which they are served: each visitor's first, then each
    one's second, and so on; and none is overtaken more than :data:`MOST_OVERTAKEN` times.
    """

    def __init__(self, events: list[Event]) -> None:
        super().__init__()
        self._turns: dict[Event, tuple[int, int]] = {}
        for event in events:
            self.append(event)

    def append(self, event: Event) -> None:
        """The event's place is behind all of an earlier turn, and of its own."""
        turn, place = sum(_visitor(other) == _visitor(event) for other in self), len(self)
        while place:
            other = self[place - 1]
            others, overtaken = self._turns[other]
            if others <= turn or overtaken >= MOST_OVERTAKEN:
                break
            self._turns[other] = others, overtaken + 1
            place -= 1
        self._turns[event] = turn, 0
        self.insert(place, event)

    def remove(self, event: Event) -> None:
        """The event's turn has come, or nobody waits for it any more."""
        super().remove(event)
        self._turns.pop(event, None)
        # Those behind it of the same visitor move up by a turn.
        for other in self:
            if _visitor(other) == _visitor(event):
                turn, overtaken = self._turns[other]
                self._turns[other] = max(0, turn - 1), overtaken


def _visitor(event: Event) -> str:
    return str(event.request.scope.get("visitor", "")) if event.request else ""


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _paths(each)
