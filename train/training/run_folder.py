"""A training run's folder: what is trained and on what, one row of history an epoch, and how none
of it is ever half-written.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from train.data.chest_xray import Dataset, counts
from train.files import write_atomically
from train.recipes.recipe import Recipe

STATE = "state.keras"
_FACTS, _HISTORY = "run.json", "history.json"


class RunFacts(TypedDict):
    """What ``run.json`` says: what is trained on what, and, once known, what else the model spec
    tells of it.
    """

    recipe: dict[str, Any]
    precision: str
    data: dict[str, Any]
    body: str | None
    pool: str | None
    versions: NotRequired[dict[str, str]]
    commit: NotRequired[str]
    skipped: NotRequired[list[str]]
    distillation: NotRequired[dict[str, Any]]
    feature_seconds: NotRequired[float]
    hardware: NotRequired[str]
    nuisance_auc: NotRequired[float]


class RunError(Exception):
    """A run cannot start or go on; the message says why and what would work."""


def open_run(
    folder: Path,
    recipe: Recipe,
    dataset: Dataset,
    precision: str,
    resume: bool,
    body: str | None = None,
    pool: str | None = None,
) -> None:
    """Begins a run in ``folder``, or makes sure that the one in it is the same and may go on.

    Args:
        folder, recipe, dataset, precision, resume: see :func:`train.training.fit.fit`.
        body: sha256 of the ImageNet weights a run starts from, which decide as much as the recipe
            does.
        pool: sha256 of the teacher's answers a run learns from.

    Raises:
        RunError: the folder holds a run and ``resume`` is not set, or it holds another one; the
            message tells what differs.
    """
    data = {"fingerprint": dataset.fingerprint, "counts": counts(dataset.items)}
    facts = json.loads(
        json.dumps(
            {
                "recipe": asdict(recipe),
                "precision": precision,
                "data": data,
                "body": body,
                "pool": pool,
            }
        )
    )
    file = folder / _FACTS
    if file.is_file():
        if not resume:
            raise RunError(
                f"{folder} already holds a run; go on with --resume, or give another --out."
            )
        before: dict[str, Any] = {**run_facts(folder)}
        # Epochs may be raised on the way where the learning rate stays; everything else would make
        # it another run.
        for section in ("precision", "data", "body", "pool", "recipe"):
            old, new = before.get(section, facts[section]), facts[section]
            if section == "recipe":
                # A field that recipes gained since then had its default in effect before it had a
                # name.
                old, new = (
                    {
                        key: side.get(key, new[key])
                        for key in new
                        if key not in ("epochs", "keep_epoch")
                    }
                    for side in (old, new)
                )
                planned = before["recipe"].get("epochs"), recipe.epochs
                if recipe.schedule != "constant" and planned[0] != planned[1]:
                    raise RunError(
                        f"{folder} was planned for {planned[0]} epochs, over which its learning"
                        f" rate falls, now {planned[1]}; use the same, or give another --out."
                    )
            if old != new:
                raise RunError(
                    f"{folder} was started with another {section}: {old}, now {new}; use the same,"
                    " or give another --out."
                )
        facts = before | facts
    else:
        facts |= {"versions": _versions(), "commit": _commit()}
    folder.mkdir(parents=True, exist_ok=True)
    write_facts(folder, cast(RunFacts, facts))


def _versions() -> dict[str, str]:
    packages = {
        name: importlib.metadata.version(name)
        for name in ("tensorflow", "keras", "numpy", "pillow")
    }
    return {"python": platform.python_version(), **packages}


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        # Code that was changed since its commit is code that nobody else can find.
        return (
            "unknown"
            if git("status", "--porcelain", "--", "pneumonia", "train")
            else git("rev-parse", "HEAD")
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def history_of(run_folder: Path) -> list[dict[str, float]]:
    """The rows of a run's history, one an epoch.

    Raises:
        RunError: there is none.
    """
    file = run_folder / _HISTORY
    if not file.is_file():
        raise RunError(f"{run_folder} holds no {_HISTORY}; train first.")
    return json.loads(file.read_text())


def run_facts(run_folder: Path) -> RunFacts:
    """What ``run.json`` says: recipe, precision, data, versions, commit, and the seconds that a
    frozen body's features took.

    Raises:
        RunError: there is none.
    """
    if not (run_folder / _FACTS).is_file():
        raise RunError(
            f"{run_folder} holds no {_FACTS}; give the folder of a run, such as"
            " runs/xception-improved."
        )
    return json.loads((run_folder / _FACTS).read_text())


def write_facts(folder: Path, facts: RunFacts) -> None:
    """Replaces what ``run.json`` says."""
    write_atomically(
        folder / _FACTS, lambda path: path.write_text(json.dumps(facts, indent=2) + "\n")
    )


def note(folder: Path, **facts: Any) -> None:
    """Adds to what ``run.json`` says."""
    write_facts(folder, cast(RunFacts, run_facts(folder) | facts))


def write_history(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Replaces the history by ``rows``."""
    write_atomically(
        folder / _HISTORY, lambda path: path.write_text(json.dumps(rows, indent=1) + "\n")
    )


def kept_name(epoch: int) -> str:
    """The file that keeps the weights of an epoch."""
    return f"epoch-{epoch:03d}.weights.h5"
