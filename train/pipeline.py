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
from train.files import write_atomically
from train.recipes.catalogue import FIRST, get
from train.training.run_folder import RunError

NOTE = "pipeline.json"
# Whose bundles answer for the views that other networks learn from. It is the page's default, and
# the X-rays that it finds unfamiliar are counted.
TEACHER = "xception"
# Views of each image, before and after framing is taken from them.
VIEWS, REFRAMED = 20, 8
# Minutes on two idle cores, in float32 and in mixed_bfloat16 where the processor has it; measuring
# the bundle, some minutes of them, included.
_FIT = {
    ("xception", "first"): (70, 40),
    ("augmented", "first"): (60, 30),
    ("baseline", "first"): (45, 25),
    ("xception", "improved"): (60, 35),
    ("augmented", "improved"): (40, 30),
    ("baseline", "improved"): (20, 15),
    ("xception", "original"): (10, 10),
    ("augmented", "original"): (80, 42),
    ("baseline", "original"): (55, 35),
}
_ROBUSTNESS = {"xception": 10, "augmented": 4, "baseline": 3}
_A_VIEW = (2.0, 1.2)
_DRAWN = 0.2


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
        options: ``recipe``, ``precision``, ``imagenet_weights``, ``teachers``, ``views``,
            ``epochs``, ``into`` and ``out``, as ``python -m train pipeline`` has them.

    Raises:
        RecipeError: a variant has no recipe of that name.
    """
    models, results = options.into / "assets/models", options.into / "assets/results"
    found = [Step(("data", "--out", str(results)), 3)]
    finished = {variant: get(variant, options.recipe) for variant in CATALOGUE}
    pool = None
    if any(recipe.starts_from for recipe in finished.values()):
        found += _first(options)
        pool = options.out / "pool"
        command: tuple[str, ...] = ("distil",)
        if options.teachers:
            command += tuple(str(run / "bundle") for run in _teachers(options))
            command += ("--reframed", "--views", str(min(options.views, REFRAMED)))
            command += ("--precision", options.precision)
        views = REFRAMED * (1 + len(_teachers(options)) * bool(options.teachers))
        found.append(Step((*command, "--out", str(pool)), views * _DRAWN))
    for variant, recipe in finished.items():
        run = options.out / f"{variant}-{recipe.name}"
        start = None
        if recipe.starts_from:
            start = _teachers(options)[0] if variant == TEACHER else _run(options, variant)
        found.append(_fit(options, variant, recipe.name, run, pool, start))
        install = ("install", str(run / "bundle"), "--models", str(models))
        found.append(Step(install, 0, reads_data=False))
    for variant in CATALOGUE:
        found.append(Step(("robustness", str(models / variant)), _ROBUSTNESS.get(variant)))
    if pool:
        bundles = [str(models / variant) for variant in CATALOGUE]
        asked = [str(run / "bundle") for run in _teachers(options)]
        judge = ("framing", *asked, "--beside", *bundles)
        judge += ("--out", str(results / "framing.json"))
        count = ("familiarity", str(models / TEACHER), "--out", str(results / "familiarity.json"))
        found += [Step(judge, 6), Step(count, 2)]
    readme, prose = options.into / "README.md", options.into / "model_card.md"
    common = ("--models", str(models))
    compare = ("compare", *common, "--results", str(results), "--readme", str(readme))
    found.append(Step(compare, 1, reads_data=False))
    found.append(Step(("card", *common, "--prose", str(prose)), 1, reads_data=False))
    return found


def _first(options: argparse.Namespace) -> list[Step]:
    """Teachers, a pool of one's answers, and the networks that learn from it."""
    teachers, pool = _teachers(options), options.out / "pool-first"
    found = [
        _fit(options, TEACHER, FIRST, run, seed=get(TEACHER, FIRST).seed + number)
        for number, run in enumerate(teachers)
    ]
    asked: tuple[str, ...] = ("distil", str(teachers[0] / "bundle"), "--views", str(options.views))
    asked += ("--precision", options.precision, "--out", str(pool))
    found.append(Step(asked, _A_VIEW[_column(options)] * options.views))
    found += [
        _fit(options, variant, FIRST, _run(options, variant), pool)
        for variant in CATALOGUE
        if variant != TEACHER
    ]
    return found


def _fit(
    options: argparse.Namespace,
    variant: str,
    recipe: str,
    run: Path,
    pool: Path | None = None,
    start: Path | None = None,
    seed: int | None = None,
) -> Step:
    command: tuple[str, ...] = ("fit", variant, "--recipe", recipe)
    command += ("--precision", options.precision)
    for name, value in (
        ("--epochs", options.epochs),
        ("--seed", seed),
        ("--pool", pool),
        ("--start", start and start / "bundle"),
        ("--imagenet-weights", options.imagenet_weights if variant == TEACHER else None),
    ):
        command += (name, str(value)) if value is not None else ()
    known = _FIT.get((variant, recipe))
    return Step(
        (*command, "--out", str(run), "--resume"), known[_column(options)] if known else None
    )


def _teachers(options: argparse.Namespace) -> list[Path]:
    """The runs of the networks that are asked; one where the kept answers are taken."""
    count = max(1, options.teachers)
    return [
        options.out / f"{TEACHER}-{FIRST}{f'-{number}' if count > 1 else ''}"
        for number in range(1, count + 1)
    ]


def _run(options: argparse.Namespace, variant: str) -> Path:
    return Path(options.out) / f"{variant}-{FIRST}"


def _column(options: argparse.Namespace) -> int:
    return int(options.precision != "float32")


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
    kept_answers = [step for step in planned[left:] if step.command[:2] == ("distil", "--out")]
    if kept_answers and not options.skip_corrupt:
        # It brings Keras, which --help and --dry-run do without.
        from train.training import distillation  # noqa: PLC0415

        distillation.check_kept(dataset)
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
