"""What the tabs stand on: the models of a folder, the examples, and uploads. Errors leave here as one sentence for the visitor."""

from __future__ import annotations

import contextlib
import html
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from page import panels
from pneumonia import LABELS, BundleError, ContractError, PneumoniaClassifier, Radiograph, UnreadableImage, radiograph
from pneumonia.architectures import CATALOGUE

ASSETS = Path(__file__).parent.parent / "assets"
EXAMPLES = {label: tuple(sorted((ASSETS / "examples").glob(pattern))) for label, pattern in zip(LABELS, ("NORMAL*.jpeg", "person*.jpeg"), strict=True)}
# Xception is the one a visitor sees first; the order of the catalogue otherwise.
PREFERRED = "xception"
# One picture at a time: two cores gain nothing from more, and a person's clicks are answered in the order they were made.
ONE_BY_ONE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private", "trigger_mode": "multiple"}


class Models:
    """The bundles of a folder: evidence at once, weights when they are first asked for, each loaded once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = [name for name in CATALOGUE if (folder / name / "contract.json").is_file()]
        if not self.names:
            raise SystemExit(
                f"There is no model in {folder}: expected a bundle in one of its folders {', '.join(CATALOGUE)}; train one, or name another with --models."
            )
        self.default = PREFERRED if PREFERRED in self.names else self.names[0]
        self.choices = [(CATALOGUE[name].title, name) for name in self.names]
        self._loaded: dict[str, PneumoniaClassifier] = {}
        self._lock = threading.Lock()

    def evidence(self, variant: str) -> panels.Evidence:
        """What is known of a model, without its weights."""
        with _said_plainly(variant):
            return panels.Evidence.of(self.folder / self._known(variant), CATALOGUE[variant].title)

    def __getitem__(self, variant: str) -> PneumoniaClassifier:
        with _said_plainly(variant), self._lock:
            if self._known(variant) not in self._loaded:
                self._loaded[variant] = PneumoniaClassifier.from_pretrained(self.folder / variant)
            return self._loaded[variant]

    def _known(self, variant: str) -> str:
        if variant not in self.names:
            raise gr.Error(f"There is no model {html.escape(str(variant)[:40])!r} here; choose one of {', '.join(self.names)}.", print_exception=False)
        return variant


@contextlib.contextmanager
def _said_plainly(variant: str) -> Iterator[None]:
    """A bundle's own message names folders of this machine: it goes to the terminal, and the visitor gets a sentence."""
    try:
        yield
    except (BundleError, ContractError, FileNotFoundError) as error:
        logging.getLogger(__name__).error("%s", error)
        raise gr.Error(f"The model {variant} cannot be loaded on this server; choose another one.", print_exception=False) from None


@dataclass(frozen=True)
class Shown:
    """The picture a visitor looks at, and the class the data set gives it where it is an example."""

    picture: Radiograph
    truth: str | None = None


@cache
def example(file: Path) -> Shown:
    """An example, decoded once."""
    return Shown(radiograph.read(file), next(label for label, files in EXAMPLES.items() if file in files))


def received(upload: Any) -> Shown:
    """Decodes an upload and deletes it.

    Args:
        upload: the path Gradio stored it under, or the dict with it that an endpoint gets.

    Raises:
        gr.Error: one sentence for the visitor.
    """
    path = upload.get("path") if isinstance(upload, dict) else upload
    if not isinstance(path, str):
        raise gr.Error("No file arrived; choose an X-ray and send it again.", print_exception=False)
    # Only what lies in the upload folder may be read, or a hand-written request could ask for any file of this machine.
    file = Path(path).resolve()
    if not file.is_relative_to(Path(gr.utils.get_upload_folder()).resolve()):
        raise gr.Error("That is no uploaded file; upload the X-ray with the request.", print_exception=False)
    try:
        return Shown(radiograph.read(file))
    except UnreadableImage as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
    except FileNotFoundError:
        raise gr.Error("The upload is no longer on the server; send it once more.", print_exception=False) from None
    finally:
        file.unlink(missing_ok=True)
