"""Everything for all variants, in order: from images to bundles, reports and cards.

Each step is a command of ``python -m train`` that could be typed by hand, run in a process of its
own. A note of what is done is kept beside the runs, so that whatever stops the work, the same
command goes on with the step that was not finished.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumonia.architectures import CATALOGUE
from train import terminal
from train.data.folds import HELD_OUT
from train.files import write_atomically
from train.recipes.catalogue import get
from train.training.run_folder import RunError

NOTE = "pipeline.json"
# Whose bundle answers for the views that recipes with a teacher learn from.
TEACHER = "xception"
# Minutes on two idle cores, in float32 and in mixed_bfloat16 where the processor has it; measuring
# the bundle, some minutes of them, included.
_FIT = {
    ("xception", "improved"): (70, 40),
    ("augmented", "improved"): (60, 30),
    ("baseline", "improved"): (45, 25),
    ("xception", "original"): (10, 10),
    ("augmented", "original"): (80, 42),
    ("baseline", "original"): (55, 35),
}
_ROBUSTNESS = {"xception": 10, "augmented": 4, "baseline": 3}
_A_VIEW = (2.0, 1.2)


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        command: its words, after ``python -m train``, but for where the data are.
        minutes: how long it takes on two idle cores; None where nobody knows.
        reads_data: whether it takes ``--data``.
    """

    command: tuple[str, ...]
    minutes: float | None
    reads_data: bool = True

    @property
    def name(self) -> str:
        """Its words in one line."""
        return " ".join(self.command)


def steps(options: argparse.Namespace) -> list[Step]:
    """The commands, in order.

    Args:
        options: ``recipe``, ``precision``, ``imagenet_weights``, ``seeds``, ``views``, ``epochs``,
            ``into`` and ``out``, as ``python -m train pipeline`` has them.

    Raises:
        RecipeError: a variant has no recipe of that name.
    """
    recipes = {variant: get(variant, options.recipe) for variant in CATALOGUE}
    column = int(options.precision != "float32")
    models, results = options.into / "assets/models", options.into / "assets/results"
    pool = options.out / "pool"
    found = [Step(("data", "--out", str(results)), 3)]
    untaught = [variant for variant in CATALOGUE if not recipes[variant].teacher_weight]
    taught = [variant for variant in CATALOGUE if recipes[variant].teacher_weight]
    precision = ("--precision", options.precision)
    for variant in (*untaught, *taught):
        if taught and variant == taught[0]:
            command: tuple[str, ...] = (
                "distil",
                str(models / TEACHER),
                "--views",
                str(options.views),
                *precision,
            )
            command += ("--out", str(pool))
            found.append(Step(command, _A_VIEW[column] * options.views))
        known = _FIT.get((variant, options.recipe))
        runs = []
        first = recipes[variant].seed
        # Which of several is best is said by patients held out, or not at all.
        count = options.seeds if recipes[variant].validation == HELD_OUT else 1
        for seed in range(first, first + count):
            runs.append(options.out / f"{variant}-{options.recipe}-{seed}")
            command = ("fit", variant, "--recipe", options.recipe, *precision)
            if options.epochs:
                command += ("--epochs", str(options.epochs))
            if variant in taught:
                command += ("--pool", str(pool))
            if options.imagenet_weights and variant == "xception":
                command += ("--imagenet-weights", options.imagenet_weights)
            command += ("--seed", str(seed), "--out", str(runs[-1]), "--resume")
            found.append(Step(command, known[column] if known else None))
        bundles = (str(run / "bundle") for run in runs)
        found.append(Step(("install", *bundles, "--models", str(models)), 0, reads_data=False))
    for variant in CATALOGUE:
        found.append(Step(("robustness", str(models / variant)), _ROBUSTNESS.get(variant)))
    readme, prose = options.into / "README.md", options.into / "model_card.md"
    common = ("--models", str(models))
    compare = ("compare", *common, "--results", str(results), "--readme", str(readme))
    found.append(Step(compare, 1, reads_data=False))
    found.append(Step(("card", *common, "--prose", str(prose)), 1, reads_data=False))
    return found


def run(options: argparse.Namespace) -> int:
    """Prints the steps, then does those that are not done."""
    planned = steps(options)
    note = options.out / NOTE
    done = _done(note)
    # What follows a step that is done anew is done anew too.
    left = next((at for at, step in enumerate(planned) if step.name not in done), len(planned))
    print(table(planned, left), flush=True)
    if options.dry_run:
        return 0
    dataset = terminal.dataset(options)
    if done and done.get("fingerprint") != dataset.fingerprint:
        raise RunError(f"{note} is of other data; give another --out, or delete it to start anew.")
    data = ["--data", str(dataset.root)] + ["--skip-corrupt"] * options.skip_corrupt
    kept = {step.name: done[step.name] for step in planned[:left]}
    done = {"fingerprint": dataset.fingerprint, **kept}
    options.out.mkdir(parents=True, exist_ok=True)
    return follow(planned[left:], data, lambda step, seconds: _write(note, done, step, seconds))


def follow(
    planned: Sequence[Step],
    data: Sequence[str],
    finished: Callable[[Step, float], None],
    call: Callable[[list[str]], int] = lambda command: (
        subprocess.run([sys.executable, "-m", "train", *command], check=False).returncode
    ),
) -> int:
    """Does one step after the other until one fails, and returns its exit code, or 0.

    Args:
        planned: the steps.
        data: the options that say where the data are.
        finished: called with each step that is done and the seconds it took.
        call: runs a command and returns its exit code.
    """
    for step in planned:
        print(f"\npython -m train {step.name}", flush=True)
        started = time.monotonic()
        if code := call([*step.command, *(data if step.reads_data else ())]):
            print(
                "That step failed; python -m train pipeline goes on with it.",
                file=sys.stderr,
            )
            return code
        finished(step, time.monotonic() - started)
    return 0


def table(planned: Sequence[Step], left: int) -> str:
    """The steps as lines of text; the first ``left`` of them are done."""
    lines = [
        f"{'done' if at < left else _time(step.minutes):>8}  {step.name}"
        for at, step in enumerate(planned)
    ]
    total = sum(step.minutes or 0 for step in planned[left:])
    return "\n".join([*lines, f"{_time(total):>8}  together, on two idle cores"])


def _time(minutes: float | None) -> str:
    if minutes is None:
        return "?"
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"


def _done(note: Path) -> dict[str, str | float]:
    if not note.is_file():
        return {}
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except ValueError:
        raise RunError(f"{note} cannot be read; delete it to start anew.") from None


def _write(note: Path, done: dict[str, str | float], step: Step, seconds: float) -> None:
    done[step.name] = round(seconds, 1)
    write_atomically(note, lambda file: file.write_text(json.dumps(done, indent=1) + "\n"))
