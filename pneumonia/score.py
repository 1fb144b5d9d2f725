"""A whole archive, one row a file: processes decode while the network computes.

>>> for row in rows(classifier, found(Path("archive"))):
...     print(row.file, row.prediction.label if row.prediction else row.problem)

Memory is bounded whatever the number of files, rows come in the order of the files, and a file that
cannot be read, or brings its decoder down, costs its own row alone. :func:`write` keeps what is
done on disk: after a kill it goes on where it was.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import time
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pneumonia import decoding, input_check, radiograph
from pneumonia.pixels import UnreadableImage
from pneumonia.text import cell
from pneumonia.zips import Unpackable, read_member

if TYPE_CHECKING:
    from pneumonia.classifier import PneumoniaClassifier
    from pneumonia.prediction import Prediction

# Images that go through the network together, and rows that a kill may cost.
CHUNK = 64
COLUMNS = (
    "file",
    "label",
    "probability",
    "threshold",
    "operating_point",
    "variant",
    "uncertain",
    "unfamiliar",
    "warnings",
    "problem",
)
TABLES = (".csv", ".parquet")
_LISTS = (".txt", ".lst", ".list")
# What a table is made by, and what to call it where it differs.
_FACTS = {
    "files": "another folder, list or archive",
    "variant": "another model",
    "weights_sha256": "another model",
    "operating_point": "another operating point or threshold",
    "threshold": "another operating point or threshold",
    "force": "another use of --force",
    "columns": "other columns",
}


class ScoreError(ValueError):
    """There is nothing to score, or nowhere to write it; the message says what is wrong."""


@dataclass(frozen=True)
class Source:
    """One file to be read.

    Attributes:
        name: as it stands in the table: its path below the folder, in the list or in the archive.
        path: where it is, or the archive it is in.
        member: its place in the archive's contents, where a name may stand twice; None for a plain
            file.
    """

    name: str
    path: Path
    member: int | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """One file, decoded.

    Attributes:
        file: its name.
        copy: uint8 ``(224, 224)``, what every network is shown (:attr:`Radiograph.copy`); None
            where it cannot be read.
        warnings: why it is no frontal chest X-ray, a sentence each; mostly none.
        problem: why it cannot be read, a sentence; empty where it can.
    """

    file: str
    copy: np.ndarray | None
    warnings: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """What there is to say of one file.

    Attributes:
        file: its name.
        prediction: as :meth:`PneumoniaClassifier.predict` gives it; None where the file cannot be
            read, or is refused.
        problem: why it cannot be read, a sentence; empty otherwise.
        warnings: as those of the prediction, or why the file is refused.
    """

    file: str
    prediction: Prediction | None
    problem: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it was read but not answered, for it fails the input check."""
        return self.prediction is None and not self.problem

    def cells(self) -> dict[str, Any]:
        """The row of a table, by :data:`COLUMNS`; what there is not is empty."""
        said = self.prediction.to_dict() if self.prediction else {}
        said["warnings"] = " ".join(self.warnings)
        return {
            **{name: "" if said.get(name) is None else said[name] for name in COLUMNS},
            "file": cell(self.file),
            "problem": cell(self.problem),
        }


@dataclass(frozen=True)
class Progress:
    """How far it is.

    Attributes:
        done: files, those of an earlier run included.
        total: files.
        rate: files a second of this run; 0 before the first.
        left: seconds that the rest will take; None before the first.
    """

    done: int
    total: int
    rate: float
    left: float | None


def find_sources(where: Path) -> Iterator[Source]:
    """The files of a folder (all below it that are not hidden, sorted), of a zip archive, or of a
    list (``.txt``, a path a line, from the list's own folder), one after the other.

    Raises:
        ScoreError: it is none of these, or cannot be read.
    """
    try:
        if where.is_dir():
            yield from _below(where, where)
        elif where.suffix.lower() in _LISTS:
            with where.open(encoding="utf-8-sig") as lines:
                for name in filter(None, map(str.strip, lines)):
                    yield Source(name, where.parent / name)
        elif zipfile.is_zipfile(where):
            with zipfile.ZipFile(where) as archive:
                for place, member in enumerate(archive.infolist()):
                    parts = Path(member.filename).parts
                    if not member.is_dir() and not any(p.startswith((".", "__M")) for p in parts):
                        yield Source(member.filename, where, place)
        else:
            raise ScoreError(
                f"{where} is no folder, no zip archive and no list of paths"
                f" ({', '.join(_LISTS)}); give one of these."
            )
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise ScoreError(f"{where} cannot be read: {error}") from None


def rows(
    classifier: PneumoniaClassifier,
    sources: Iterable[Source],
    *,
    operating_point: str | None = None,
    threshold: float | None = None,
    force: bool = True,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Row]:
    """One row a file, in their order: ``workers`` processes decode (as many as there are cores if
    None, this one if 0) while the network answers, ``chunk`` files at a time. Without ``force``
    what fails the input check is refused.

    Raises:
        UnknownOperatingPoint, ValueError: as :meth:`PneumoniaClassifier.predict`.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    with contextlib.closing(prepare_all(sources, workers, ahead=chunk)) as ready:
        yield from answer_files(
            classifier,
            ready,
            operating_point=operating_point,
            threshold=threshold,
            force=force,
            chunk=chunk,
        )


def answer_files(
    classifier: PneumoniaClassifier,
    ready: Iterable[Prepared],
    *,
    operating_point: str | None = None,
    threshold: float | None = None,
    force: bool = True,
    chunk: int = CHUNK,
) -> Iterator[Row]:
    """Asks the network about files that are decoded, ``chunk`` at a time: one row each, in their
    order. Without ``force`` what fails the input check is refused.

    Raises:
        UnknownOperatingPoint, ValueError: as :meth:`PneumoniaClassifier.predict`.
    """
    classifier.threshold(operating_point, threshold)
    for part in _parts(ready, chunk):
        started = time.perf_counter()
        asked = [one.copy for one in part if one.copy is not None and (force or not one.warnings)]
        copies = np.stack(asked) if asked else np.zeros((0, *radiograph.COPY_SIZE), np.uint8)
        answers = classifier.probabilities(copies), classifier.unfamiliar(copies)
        each = (time.perf_counter() - started) * 1000 / max(1, len(asked))
        values = zip(*answers, strict=True)
        for one in part:
            said = None
            if one.copy is not None and (force or not one.warnings):
                value, unfamiliar = next(values)
                said = classifier.judge(
                    float(value),
                    operating_point=operating_point,
                    threshold=threshold,
                    unfamiliar=bool(unfamiliar),
                    warnings=one.warnings,
                    name=one.file,
                    milliseconds=each,
                )
            yield Row(one.file, said, one.problem, said.warnings if said else one.warnings)


def prepare(source: Source, pool: decoding.Pool | None = None) -> Prepared:
    """Decodes one file, makes its copy and checks it, in a worker of the pool or here; whatever is
    wrong with it becomes its ``problem``.
    """
    try:
        content = _content(source)
        if pool is not None:
            return Prepared(source.name, *pool.prepare(content))
        picture = radiograph.read(content)
        return Prepared(source.name, picture.copy, input_check.examine(picture).sentences)
    except (UnreadableImage, Unpackable, FileNotFoundError) as error:
        problem = str(error)
    # Whatever one file brings about, the others are read.
    except Exception as error:
        problem = f"It could not be read ({type(error).__name__}: {error})."
    said = problem.removeprefix("upload ")
    return Prepared(source.name, None, (), said if said == problem else f"It {said}")


def prepare_all(
    sources: Iterable[Source], workers: int, ahead: int = CHUNK
) -> Generator[Prepared, None, None]:
    """:func:`prepare` of one file after the other, in their order, by ``workers`` processes under
    the limits of :mod:`pneumonia.decoding` (0: in this one, without) that are at most ``ahead``
    files ahead of whoever takes them.
    """
    if workers < 1:
        yield from map(prepare, sources)
        return
    waiting: deque[Future[Prepared]] = deque()
    # The threads only wait for the processes.
    with contextlib.closing(decoding.Pool(workers)) as pool, ThreadPoolExecutor(workers) as threads:
        try:
            for source in sources:
                waiting.append(threads.submit(prepare, source, pool))
                if len(waiting) > ahead + workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)


def write(
    classifier: PneumoniaClassifier,
    where: Path,
    out: Path,
    *,
    operating_point: str | None = None,
    threshold: float | None = None,
    force: bool = True,
    workers: int | None = None,
    answer: Callable[..., Iterator[Row]] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, int]:
    """Scores :func:`find_sources` files into a table, and keeps every chunk that is done in
    ``<out>.part`` until all are: a run after a kill goes on there, and one after new files came at
    the end of the archive scores these alone. A file that changed under its name is not noticed.

    Args:
        classifier: who answers.
        where: folder, list or zip archive.
        out: ``.csv`` or ``.parquet``; beside it lies ``<out>.json``, with what it was made by.
        operating_point, threshold: as :meth:`PneumoniaClassifier.predict`.
        force: answer also what fails the input check; else its row has no answer, and its warnings
            say why.
        workers: as :func:`rows`.
        answer: makes rows of files as :func:`rows` does, such as
            :func:`pneumonia.cluster.score_on` for an address; :func:`rows` if None.
        progress: called after every chunk.

    Returns:
        ``files``, of which ``scored`` now, and of all ``files`` the ``unreadable`` and the
        ``refused``.

    Raises:
        ScoreError: there is nothing to score or nowhere to write, or the table was begun with
            other files or another model or threshold, or the cluster cannot answer.
    """
    if out.suffix not in TABLES:
        raise ScoreError(f"The table must be called {' or '.join(TABLES)}, got {out.name}.")
    if out.suffix == ".parquet":
        _parquet()
    point, used = classifier.threshold(operating_point, threshold)
    facts = {
        "files": str(where.absolute()),
        "variant": classifier.spec.variant,
        "weights_sha256": classifier.spec.weights_sha256,
        "operating_point": point,
        "threshold": used,
        "force": force,
        "columns": list(COLUMNS),
    }
    part, made_by = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.json")
    # The table may lie in the folder that it is about.
    own = {out.absolute(), part.absolute(), made_by.absolute()}

    def files() -> Iterator[Source]:
        return (one for one in find_sources(where) if one.path.absolute() not in own)

    total = sum(1 for _ in files())
    if not total:
        raise ScoreError(f"There is no file in {where}.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        done, unreadable, refused = _resume_table(files(), out, part, made_by, facts)
        _write_facts(made_by, facts)
        scored = 0
        started = time.perf_counter()
        with part.open("a", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            if not stream.tell():
                table.writeheader()
            left = itertools.islice(files(), done, None)
            answers = (answer or rows)(
                classifier,
                left,
                operating_point=operating_point,
                threshold=threshold,
                force=force,
                workers=workers,
            )
            for some in _parts(answers, CHUNK):
                table.writerows(row.cells() for row in some)
                stream.flush()
                os.fsync(stream.fileno())
                scored += len(some)
                unreadable += sum(bool(row.problem) for row in some)
                refused += sum(row.refused for row in some)
                rate = scored / (time.perf_counter() - started)
                if progress is not None:
                    count = done + scored
                    progress(Progress(count, total, rate, max(0, total - count) / rate))
        _finish_table(part, out)
    except OSError as error:
        raise ScoreError(f"{out} cannot be written: {error.strerror or error}") from None
    return {
        "files": done + scored,
        "scored": scored,
        "unreadable": unreadable,
        "refused": refused,
    }


def _resume_table(
    names: Iterator[Source], out: Path, part: Path, made_by: Path, facts: dict[str, Any]
) -> tuple[int, int, int]:
    """How many files are done, how many of these could not be read and how many were refused, with
    ``part`` holding just their rows.
    """
    begun = [file.name for file in (out, part) if file.exists()]
    if not begun:
        return 0, 0, 0
    if not part.exists() and not made_by.exists():
        raise ScoreError(f"{out} was not made here; name another table or move it away.")
    before = _read_facts(made_by)
    other = [name for said, name in _FACTS.items() if before.get(said) != facts[said]]
    if other:
        raise ScoreError(
            f"{out} was begun with {other[0]}; name another table, or delete"
            f" {' and '.join(begun)} to begin again."
        )
    if not part.exists():
        _reopen_table(out, part)
    done = unreadable = refused = end = 0
    label, problem = COLUMNS.index("label"), COLUMNS.index("problem")
    with part.open("rb") as stream:
        for number, line in enumerate(iter(lambda: _record(stream), b"")):
            text = line.decode("utf-8", "replace")
            if not text.endswith("\n"):
                break
            if number:
                source = next(names, None)
                cells = next(csv.reader([text]))
                if source is None or cells[0] != Row(source.name, None).cells()["file"]:
                    break
                done += 1
                unreadable += bool(cells[problem])
                refused += not (cells[problem] or cells[label])
            end = stream.tell()
    with part.open("r+b") as stream:
        stream.truncate(end)
    return done, unreadable, refused


def _read_facts(made_by: Path) -> dict[str, Any]:
    """What a table was made by; nothing where that is not known."""
    try:
        facts = json.loads(made_by.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _write_facts(made_by: Path, facts: dict[str, Any]) -> None:
    scratch = made_by.with_name(f"{made_by.name}.writing")
    scratch.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    scratch.replace(made_by)


def _record(stream: Any) -> bytes:
    """One record of a CSV file: a name may hold the end of a line, in quotes."""
    line: bytes = stream.readline()
    while line.count(b'"') % 2 and (more := stream.readline()):
        line += more
    return line


def _reopen_table(out: Path, part: Path) -> None:
    if out.suffix == ".csv":
        out.replace(part)
        return
    with part.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        for batch in _parquet().ParquetFile(out).iter_batches():
            for cells in batch.to_pylist():
                table.writerow({name: "" if cells[name] is None else cells[name] for name in cells})


def _finish_table(part: Path, out: Path) -> None:
    if out.suffix == ".csv":
        part.replace(out)
        return
    parquet = _parquet()
    import pyarrow
    from pyarrow import csv as tables

    numbers = {"probability": pyarrow.float64(), "threshold": pyarrow.float64()}
    types = {name: numbers.get(name, pyarrow.string()) for name in COLUMNS}
    types |= dict.fromkeys(("uncertain", "unfamiliar"), pyarrow.bool_())
    scratch = out.with_name(f"{out.name}.writing")
    options = tables.ConvertOptions(
        column_types=types,
        null_values=[""],
        true_values=["True"],
        false_values=["False"],
        strings_can_be_null=True,
    )
    quoted = tables.ParseOptions(newlines_in_values=True)
    with (
        tables.open_csv(part, parse_options=quoted, convert_options=options) as reader,
        parquet.ParquetWriter(scratch, reader.schema) as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
    scratch.replace(out)
    part.unlink()


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ScoreError(
            "Writing Parquet needs pyarrow: pip install pyarrow; a .csv needs nothing."
        ) from None
    return parquet


def _below(folder: Path, top: Path) -> Iterator[Source]:
    # Sorted a folder at a time: what is in memory is one folder's names.
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path, top)
        elif entry.is_file():
            yield Source(path.relative_to(top).as_posix(), path)


def _content(source: Source) -> bytes:
    if source.member is None:
        return radiograph.contents(source.path)
    seen = source.path.stat()
    archive = _archive(source.path, (seen.st_mtime_ns, seen.st_size, seen.st_ino))
    content = read_member(archive, archive.infolist()[source.member], radiograph.MAX_BYTES)
    if len(content) > radiograph.MAX_BYTES:
        raise UnreadableImage(f"It is larger than {radiograph.MAX_BYTES // 1_000_000} MB.")
    return content


@lru_cache(4)
def _archive(path: Path, version: tuple[int, int, int]) -> zipfile.ZipFile:
    # An archive that grew, or was replaced, is another one.
    return zipfile.ZipFile(path)


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(items)
    while part := list(itertools.islice(source, size)):
        yield part
