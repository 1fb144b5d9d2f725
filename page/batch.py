"""The Batch tab: many files or an archive to one table, in their order."""

from __future__ import annotations

import base64
import contextlib
import csv
import html
import io
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr

from page import answers, panels, uploads
from page.archive import Entry, TooMany, open_uploads
from page.served import BATCH, EXAMPLES, ONE_BY_ONE, Models, decode_upload, examine_upload, example
from page.shared import KEPT, View
from page.words import batch as words
from pneumonia import UnreadableImage, score
from pneumonia.score import Prepared
from pneumonia.text import cell

# Pictures that go through a network at once, and so how often the table grows.
AT_ONCE = 8


class Row(TypedDict):
    """One line of the table: the file, then the fields of a prediction.

    ``answer`` is NORMAL, PNEUMONIA, UNCERTAIN (too near the threshold, or unfamiliar), REFUSED
    (does not look like a frontal chest X-ray; ``warnings`` say why) or UNREADABLE (``problem`` says
    why); ``label`` and ``probability`` are null for the last two."""

    file: str
    answer: str
    label: str | None
    probability: float | None
    threshold: float
    operating_point: str
    variant: str
    uncertain: bool
    unfamiliar: bool
    warnings: list[str]
    problem: str


class Batch(TypedDict):
    """One row a file, in the order sent, and the same as the text of a CSV file."""

    variant: str
    operating_point: str
    rows: list[Row]
    csv: str


@dataclass
class Sent:
    """What a visitor has sent; one object a visit, which all events look at.

    Attributes:
        times: goes up whenever files come, and when they have taken the place of what was there.
        broke: ``times`` of the files that broke off last.
    """

    times: int = 0
    broke: int = 0


def items(entries: Iterable[Entry]) -> Iterator[Prepared]:
    """Decodes the files of a batch one after the other; one that cannot be read says why."""
    for entry in entries:
        if entry.content is None:
            yield Prepared(entry.name, None, problem=entry.problem or words.UNEXPECTED)
            continue
        try:
            shown = examine_upload(decode_upload(entry.content, entry.name))
            # No more of it is kept than the networks look at, and that is enough to ask another of
            # them later.
            yield Prepared(entry.name, shown.picture.copy, shown.reasons)
        except UnreadableImage as error:
            # The table has its name already.
            about = str(error).removeprefix(f"{entry.name} ")
            said = about if about == str(error) else f"It {about}"
            yield Prepared(entry.name, None, problem=said)
        except Exception:  # Whatever one file brings about, the others are read.
            yield Prepared(entry.name, None, problem=words.UNEXPECTED)


def rows(
    models: Models, variant: str, point: str, batch: Sequence[Prepared], force: bool
) -> list[Row]:
    """Asks a model about decoded files, those that are refused only if ``force``; one row a
    file, in their order.

    Raises:
        gr.Error: there is no such model, or it cannot be loaded.
    """
    classifier = models[variant]
    chosen = answers.point_of(classifier.spec, point)
    found = []
    for row in score.answer_files(
        classifier, batch, operating_point=chosen.name, force=force, chunk=AT_ONCE
    ):
        said = row.prediction
        unanswered = "REFUSED" if row.refused else "UNREADABLE"
        found.append(
            Row(
                file=row.file,
                answer=answers.call_prediction(said) if said else unanswered,
                label=said.label if said else None,
                probability=said.probability if said else None,
                threshold=chosen.threshold,
                operating_point=chosen.name,
                variant=variant,
                uncertain=said.uncertain if said else False,
                unfamiliar=said.unfamiliar if said else False,
                warnings=list(row.warnings),
                problem=row.problem,
            )
        )
    return found


def as_csv(found: Sequence[Row]) -> str:
    """The table as CSV, with a header; no cell of it is a formula to a spreadsheet."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(Row.__annotations__)
    for row in found:
        cells = row | {
            "label": row["label"] or "",
            "probability": "" if row["probability"] is None else f"{row['probability']:.6f}",
            "threshold": f"{row['threshold']:.6g}",
            "warnings": " ".join(row["warnings"]),
        }
        writer.writerow([cell(str(cells[name])) for name in Row.__annotations__])
    return written.getvalue()


def endpoints(models: Models) -> tuple[Callable[..., Any], ...]:
    """``/batch``."""

    def batch(
        images: list[gr.FileData],
        variant: str = models.default,
        operating_point: str = "default",
        force: bool = False,
    ) -> Batch:
        """Reads many chest X-rays, or zip archives of them, with one model: one row a file in the
        order sent, and the same as CSV text.

        Args:
            images: files; at most 100 pictures in all, 30 MB each.
            variant: name of a model: baseline, augmented or xception.
            operating_point: name of a threshold of the model, such as recall-0.98.
            force: answer also what does not look like a frontal chest X-ray.
        """
        with _files(images) as files:
            entries = _open_or_refuse(files)[1]
            found = [
                row
                for _, some in _answer_entries(models, entries, variant, operating_point, force)
                for row in some
            ]
        return Batch(
            variant=variant,
            operating_point=operating_point,
            rows=found,
            csv=as_csv(found),
        )

    return (batch,)


def build(view: View) -> None:
    """Files, model and setting; the table."""
    models = view.models
    # None before the first files, an empty list while files are read.
    decoded = gr.State(None, time_to_live=KEPT)
    # Model, setting and force that the files were asked with.
    asked = gr.State(None, time_to_live=KEPT)
    sent = gr.State(Sent())
    # Whether the table is of files of the visitor's own; the browser keeps it, so that it outlives
    # what the server forgets.
    own = gr.Checkbox(False, visible="hidden")
    gr.HTML(words.INTRO)
    with gr.Row(elem_classes="workbench"):
        with gr.Column(scale=2, min_width=300):
            upload = gr.File(
                label=words.UPLOAD,
                file_count="multiple",
                type="filepath",
                height=170,
                elem_id="batch-upload",
            )
        with gr.Column(scale=3, min_width=320):
            force = gr.Checkbox(label=words.FORCE, info=words.FORCE_INFO, elem_id="batch-force")
    table = gr.HTML("", elem_id="batch-table", min_height=240)

    def of_upload(
        paths: list[str] | None, sent: Sent, variant: str, point: str, force: bool
    ) -> Iterator[tuple[Any, ...]]:
        sent.times += 1
        mine = sent.times
        done: list[Prepared] = []
        found: list[Row] = []
        try:
            with _files(paths or []) as files:
                total, entries = _open_or_refuse(files)
                if sent.times != mine:
                    return
                yield gr.skip(), [], (variant, point, force), True, _table([], total)
                if sent.times != mine:
                    return
                # What began before that still saw the files before these.
                sent.times += 1
                mine = sent.times
                for some, said in _answer_entries(models, entries, variant, point, force):
                    # Newer files have come; their table is the one to show.
                    if sent.times != mine:
                        return
                    done += some
                    found += said
                    yield *[gr.skip()] * 4, _table(found, total)
        except Exception:
            sent.broke = mine
            raise
        if sent.times == mine:
            yield None, done, gr.skip(), gr.skip(), _table(found)

    def again(
        batch: list[Prepared] | None, own: bool, sent: Sent, variant: str, point: str, force: bool
    ) -> Any:
        before = sent.times
        if batch is None and own:
            new = f"<p class='problem' role='status'>{words.GONE}</p>"
        elif batch is None:
            new = words.EXAMPLES + _table(rows(models, variant, point, _examples(), force))
        elif batch:
            new = _table(rows(models, variant, point, batch, force))
        else:
            new = gr.skip()
        # Files are read in a line of their own, so newer ones may have come meanwhile: their table
        # is the one on show.
        return new if before == sent.times else gr.skip()

    def catch_up(
        batch: list[Prepared],
        before: tuple[Any, ...],
        own: bool,
        sent: Sent,
        variant: str,
        point: str,
        force: bool,
    ) -> Any:
        """The table again where model or setting changed while the files were read."""
        same = before == (variant, point, force)
        return gr.skip() if same else again(batch, own, sent, variant, point, force)

    def come_back(sent: Sent, variant: str, point: str, force: bool) -> tuple[Any, Any, Any]:
        """The examples again where files broke off, unless others have come since."""
        broke = sent.broke
        if broke != sent.times:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            table = again(None, False, sent, variant, point, force)
        except gr.Error:  # It was the model that broke them off.
            table = ""
        if broke != sent.times:
            return gr.skip(), gr.skip(), gr.skip()
        return None, False, table

    settings = [sent, view.variant, view.point, force]
    view.follow(again, [decoded, own, *settings], [table], on=[force.input])
    read = upload.upload(
        of_upload,
        [upload, *settings],
        [upload, decoded, asked, own, table],
        show_progress_on=table,
        **BATCH,
    )
    read.success(
        catch_up, [decoded, asked, own, *settings], table, show_progress_on=table, **ONE_BY_ONE
    )
    read.failure(come_back, settings, [decoded, own, table], show_progress_on=table, **ONE_BY_ONE)


def _examples() -> list[Prepared]:
    """What the tab shows before there are files of a visitor's own."""
    return [
        Prepared(file.name, example(file).picture.copy)
        for files in EXAMPLES.values()
        for file in files
    ]


class _Turns:
    """Batches that run side by side go forward one after the other, some pictures at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: deque[threading.Event] = deque()

    @contextlib.contextmanager
    def next(self) -> Iterator[None]:
        """Waits for this batch's turn."""
        mine = threading.Event()
        with self._lock:
            self._line.append(mine)
            self._line[0].set()
        mine.wait()
        try:
            yield
        finally:
            with self._lock:
                self._line.popleft()
                if self._line:
                    self._line[0].set()


_TURNS = _Turns()


def _answer_entries(
    models: Models, entries: Iterable[Entry], variant: str, point: str, force: bool
) -> Iterator[tuple[list[Prepared], list[Row]]]:
    """Decodes the files of a batch and asks a model about them, some at a time."""
    left = items(entries)
    while True:
        with _TURNS.next():
            some = list(islice(left, AT_ONCE))
            found = rows(models, variant, point, some, force) if some else []
        if not some:
            return
        yield some, found


@contextlib.contextmanager
def _files(sent: Sequence[Any]) -> Iterator[list[tuple[str, Path]]]:
    """Uploads by name and place, which nobody deletes while they are read."""
    with contextlib.ExitStack() as stack:
        try:
            files = [stack.enter_context(uploads.hold_upload(upload)) for upload in sent]
        except uploads.NoUpload as error:
            raise gr.Error(str(error), print_exception=False) from None
        yield [(file.name, file) for file in files]


def _open_or_refuse(files: Sequence[tuple[str, Path]]) -> tuple[int, Iterator[Entry]]:
    try:
        return open_uploads(files)
    except TooMany as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None


def _table(found: Sequence[Row], total: int | None = None) -> str:
    if total is None:
        counts = Counter(row["answer"] for row in found)
        listed = ", ".join(
            f"{counts[outcome]} {name}"
            for outcome, name in words.OUTCOMES.items()
            if counts[outcome]
        )
        content = base64.b64encode(as_csv(found).encode("utf-8-sig")).decode()
        link = (
            f"<a class='csv' download='{words.CSV_NAME}'"
            f" href='data:text/csv;charset=utf-8;base64,{content}'>{words.CSV}</a>"
        )
        top = f"<p>{words.DONE[len(found) == 1].format(of=len(found), counts=listed)}</p>{link}"
    else:
        top = (
            f"<p>{words.WORKING.format(done=len(found), of=total)}</p><progress max='{total}'"
            f" value='{len(found)}' aria-label='{words.TABLE}'></progress>"
        )
    head = "".join(f"<th scope='col'>{name}</th>" for name in words.HEAD)
    body = "".join(_line(place, row) for place, row in enumerate(found, start=1))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    scroller = (
        "<div class='scroller cardlike' tabindex='0' role='region'"
        + f" aria-label='{words.TABLE}'>{table}</div>"
    )
    return (
        f"<div class='batch' aria-live='polite'><div class='batch-top'>{top}</div>{scroller}</div>"
    )


def _line(place: int, row: Row) -> str:
    probability = "" if row["probability"] is None else panels.percent(row["probability"])
    cells = (
        ("name", panels.escape(row["file"])),
        (f"outcome {row['answer'].lower()}", words.OUTCOMES[row["answer"]]),
        ("share", probability),
        ("threshold", panels.percent(row["threshold"])),
        ("remarks", panels.escape(row["problem"] or " ".join(row["warnings"]))),
    )
    # Where the screen is narrow a row is a card, and each cell says what it is.
    data = "".join(
        f"<td class='{kind}' data-label='{name}'>{content}</td>"
        for name, (kind, content) in zip(words.HEAD[1:], cells, strict=True)
    )
    return f"<tr><th scope='row'>{place}</th>{data}</tr>"
