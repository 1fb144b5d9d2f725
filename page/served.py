"""What the tabs stand on: the models of a folder, the examples, and uploads. Errors leave here as
one sentence for the visitor.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from page import panels, uploads
from page.archive import LONGEST_NAME, MEGABYTE, MOST_BYTES
from page.words import WAITING_FOR_THE_HUB
from pneumonia import (
    LABELS,
    BundleError,
    HubError,
    ModelSpecError,
    PneumoniaClassifier,
    Radiograph,
    UnreadableImage,
    bundle,
    decoding,
    input_check,
    radiograph,
)
from pneumonia.architectures import CATALOGUE
from pneumonia.locations import DEFAULT_VARIANT
from pneumonia.text import harmless
from pneumonia.weights import Origin, Weights

ASSETS = Path(__file__).parent.parent / "assets"
EXAMPLES = {
    label: tuple(sorted((ASSETS / "examples").glob(pattern)))
    for label, pattern in zip(LABELS, ("NORMAL*.jpeg", "person*.jpeg"), strict=True)
}
# Models of visitors that stay in memory, 100 MB each at most.
MOST_GUESTS = 3
# Seconds that a start waits for a model which the Hub alone has.
LONGEST_WAIT = 600
# One picture at a time: two cores gain nothing from more, and a person's clicks are answered in the
# order they were made.
ONE_BY_ONE: dict[str, Any] = {
    "concurrency_id": "model",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "trigger_mode": "multiple",
}


# A batch takes long, so it has a line of its own, and others need not wait for its end; nor do
# other batches, which go forward in turns.
BATCH: dict[str, Any] = ONE_BY_ONE | {"concurrency_id": "batch", "concurrency_limit": 3}


class Models:
    """The models a visitor may ask: evidence at once, weights when they are first asked for, each
    loaded once.

    Attributes:
        folder: with one bundle a variant.
        names: the variants that can be asked.
        damaged: those whose bundle in the folder is not what it was when it was made, and is left
            alone.
        any_repo: whether a visitor may name a repository of their own. Off where ``SPACE_ID`` is
            set, for there strangers would fill the disk and the memory of a Space;
            ``PNEUMONIA_ANY_REPO=1`` or ``0`` decides.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = Weights.from_environment(folder)
        bundled = [name for name in CATALOGUE if (folder / name / "model_spec.json").is_file()]
        self.damaged = [name for name in bundled if not _is_whole(folder / name)]
        self._bundled = [name for name in bundled if name not in self.damaged]
        self._loaded: dict[str, tuple[PneumoniaClassifier, Origin]] = {}
        self._guests: list[str] = []
        self._lock = threading.Lock()
        self.names = list(CATALOGUE) if self.weights.namespace else self._bundled
        self.names = [name for name in self.names if name in self._bundled or self._can_load(name)]
        if not self.names:
            raise SystemExit(
                f"Every model in {folder} is damaged: download them again, or train new ones."
                if bundled
                else f"There is no model in {folder}: expected a bundle in one of its folders"
                f" {', '.join(CATALOGUE)}; train one, or name another with --models."
            )
        self.default = DEFAULT_VARIANT if DEFAULT_VARIANT in self.names else self.names[0]
        self.any_repo = (
            os.environ.get("PNEUMONIA_ANY_REPO", "0" if os.environ.get("SPACE_ID") else "1") == "1"
        )

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Title and name of each model, those that visitors brought at the end."""
        return [(self.title(name), name) for name in (*self.names, *self._guests)]

    def title(self, name: str) -> str:
        """A model's name for people."""
        return CATALOGUE[name].title if name in CATALOGUE else name

    def evidence(self, name: str) -> panels.Evidence:
        """What is known of a model; of one that was not asked yet, what its bundled folder says,
        without its weights.
        """
        with _say_plainly(name):
            loaded = self._loaded.get(self.check_name(name))
            if loaded is None and name in self._bundled:
                return panels.Evidence.from_bundle(
                    self.folder / name,
                    self.title(name),
                    WAITING_FOR_THE_HUB if self.weights.namespace else "",
                )
            classifier, origin = loaded or self._load(name)
            # Without a namespace nobody wonders why the bundled weights answer.
            why = origin.why if self.weights.namespace or name in self._guests else ""
            return panels.Evidence(
                self.title(name),
                _source(origin, name),
                classifier.spec,
                classifier.metrics,
                why,
                origin.repo,
                origin.commit,
            )

    def __getitem__(self, name: str) -> PneumoniaClassifier:
        with _say_plainly(name):
            return self._load(self.check_name(name))[0]

    def invite(self, repo: str) -> str:
        """Loads a repository that a visitor names and offers it from then on, in place of the
        oldest such guest; returns its name.

        Raises:
            gr.Error: guests are not allowed here, or the repository cannot be had or is refused.
        """
        name = repo.strip()
        if not self.any_repo:
            raise gr.Error("This server answers with its own models only.", print_exception=False)
        with _say_plainly(name), self._lock:
            if name not in (*self.names, *self._guests):
                self._loaded[name] = self.weights.load_repo(name)
                self._guests.append(name)
                if len(self._guests) > MOST_GUESTS:
                    self._loaded.pop(self._guests.pop(0))
        return name

    def warm(self) -> None:
        """Loads the default model and asks it once, so that the next who asks need not wait; a
        model that cannot be loaded is left for them to hear of.
        """
        decoding.warm_up()
        with contextlib.suppress(gr.Error):
            self[self.default].predict(example(EXAMPLES[LABELS[0]][0]).picture)

    def _load(self, name: str) -> tuple[PneumoniaClassifier, Origin]:
        with self._lock:
            if name not in self._loaded or (name in self.names and self.weights.arrived(name)):
                self._loaded[name] = self.weights.load(name)
            return self._loaded[name]

    def _can_load(self, name: str) -> bool:
        """Whether a model that is not bundled is to be had. Its download is waited for, since
        nothing else can answer; if there is none, the terminal hears of it.
        """
        until, log = time.monotonic() + LONGEST_WAIT, logging.getLogger(__name__)
        said = False
        while True:
            try:
                self._load(name)
                return True
            except (BundleError, ModelSpecError, OSError):
                if self.weights.is_coming(name) and time.monotonic() < until:
                    if not said:
                        log.warning("Waiting for the Hub, which alone has the model %s.", name)
                    said = True
                    continue
                log.error(
                    "The model %s is left out: neither %s on the Hub nor %s has one to load.",
                    name,
                    self.weights.namespace,
                    self.folder,
                )
                return False

    def check_name(self, name: str) -> str:
        """The name, if there is such a model.

        Raises:
            gr.Error: there is none; the message names those there are.
        """
        if name in self.damaged and name not in self.names:
            raise gr.Error(
                f"The model {name} is damaged on this server; choose one of"
                f" {', '.join(self.names)}.",
                print_exception=False,
            )
        if name not in (*self.names, *self._guests):
            raise gr.Error(
                f"There is no model {html.escape(str(name)[:40])!r} here; choose one of"
                f" {', '.join(self.names)}.",
                print_exception=False,
            )
        return name


def _is_whole(folder: Path) -> bool:
    """Whether a bundle is what it was when it was made; if not, the terminal hears of it."""
    try:
        bundle.check_agreement(folder, bundle.read_model_spec(folder))
        altered = bundle.find_altered(folder)
        problem = f"altered: {', '.join(altered)}" if altered else ""
    except (BundleError, ModelSpecError, OSError) as error:
        problem = str(error)
    if problem:
        logging.getLogger(__name__).error("The model in %s is left out; %s", folder, problem)
    return not problem


def _source(origin: Origin, name: str) -> str:
    return (
        f"bundle {name}" if origin.repo is None else f"{origin.repo} at {(origin.commit or '')[:7]}"
    )


@contextlib.contextmanager
def _say_plainly(name: str) -> Iterator[None]:
    """A bundle's own message names folders of this machine: it goes to the terminal, and the
    visitor gets a sentence. The Hub's are sentences already.
    """
    try:
        yield
    except HubError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
    except (BundleError, ModelSpecError, FileNotFoundError) as error:
        logging.getLogger(__name__).error("%s", error)
        raise gr.Error(
            f"The model {name} cannot be loaded on this server; choose another one.",
            print_exception=False,
        ) from None


@dataclass(frozen=True)
class Shown:
    """The picture a visitor looks at.

    Attributes:
        picture: decoded.
        truth: the class the data set gives it, where it is an example.
        file: the example's; None for a visitor's own, whose file is gone by now.
        reasons: why it should not be answered, a sentence each; none where it looks like a frontal
            chest X-ray.
        forced: whether the visitor asked for an answer all the same.
        key: the same for the same pixels and the same wish, so that nothing is computed twice.
    """

    picture: Radiograph
    truth: str | None = None
    file: Path | None = None
    reasons: tuple[str, ...] = ()
    forced: bool = False

    @cached_property
    def key(self) -> str:
        """Name, a hash of the pixels and of what the networks are shown, what speaks against it,
        and whether an answer was forced.
        """
        seen = hashlib.sha256(self.picture.pixels.data)
        seen.update(np.ascontiguousarray(self.picture.copy).data)
        return (
            f"{self.picture.name} {self.picture.size} {self.forced} {self.reasons}"
            f" {seen.hexdigest()}"
        )

    @property
    def rejection(self) -> str:
        """The reasons as one text; empty where the picture is to be answered."""
        return "" if self.forced else " ".join(self.reasons)


@cache
def example(file: Path) -> Shown:
    """An example, decoded once."""
    return Shown(
        radiograph.read(file),
        next(label for label, files in EXAMPLES.items() if file in files),
        file,
    )


def named_example(name: str) -> Path | None:
    """The example of a file name, with or without its ending, as a link names it; None where there
    is none.
    """
    return next(
        (file for files in EXAMPLES.values() for file in files if name in (file.name, file.stem)),
        None,
    )


def decode_upload(source: Path | bytes, name: str) -> Radiograph:
    """A stranger's file, decoded.

    Raises:
        UnreadableImage: it cannot be read; the message begins with ``name``.
    """
    return decoding.read_limited(source, name)


def examine_upload(picture: Radiograph) -> Shown:
    """A visitor's picture with the reasons why it should not be answered, if there are any; no more
    of it is kept than the page shows and the networks look at.
    """
    reasons = input_check.examine(picture).sentences
    return Shown(picture.shrink(panels.PREVIEW_SIDE), reasons=reasons)


def receive_upload(upload: Any) -> Shown:
    """Decodes an upload and examines whether it is a chest X-ray.

    Args:
        upload: the path Gradio stored it under, which is deleted, or the dict with it that an
            endpoint gets, which stays until the request is over (:mod:`page.uploads`).

    Raises:
        gr.Error: one sentence for the visitor.
    """
    try:
        with uploads.hold_upload(upload) as file:
            name = harmless(file.name, LONGEST_NAME)
            if file.stat().st_size > MOST_BYTES:
                raise UnreadableImage(
                    f"{name} is larger than {MOST_BYTES // MEGABYTE} MB; save it smaller,"
                    " 2000 pixels a side are plenty."
                )
            return examine_upload(decode_upload(file, name))
    except (UnreadableImage, uploads.NoUpload) as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
