"""One network from several runs of a recipe: the mean of their weights (model soups: Wortsman et
al., ICML 2022).

Where runs that start from the same weights end in one valley of the loss, the mean of their weights
is a network too, and one that costs no more to ask than any of them. Whether they do is seen on
held-out patients: two strongly altered Xceptions do not, and their mean's logits shrink to a fifth
(the log of tries).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from train import recipes
from train.recipes import Recipe
from train.training import fit, network
from train.training.run_folder import (
    RunError,
    history_of,
    kept_name,
    run_facts,
    write_atomically,
    write_facts,
    write_history,
)


def average(recipe: Recipe, runs: Sequence[Path], out: Path) -> Recipe:
    """Writes a run folder whose weights are the mean of those that finished runs kept, ready for
    :func:`train.evaluation.evaluate.assemble`.

    Args:
        recipe: which the runs carried out, but for its seed.
        runs: their folders; two at least, each of another seed.
        out: the new run's folder, made if need be. Its history is the mean of theirs, its seconds
            their sum.

    Returns:
        The recipe with the seeds of the runs as ``averaged``.

    Raises:
        RunError: there are too few runs, two of one seed, one of another recipe, start or
            precision, or an unfinished one; or ``out`` holds another run.
    """
    if len(runs) < 2:
        raise RunError(f"A mean of weights needs two runs or more, got {len(runs)}.")
    facts = [run_facts(run) for run in runs]
    common = [
        {key: value for key, value in fact.items() if key in ("precision", "data", "body", "pool")}
        for fact in facts
    ]
    wanted = {key: value for key, value in recipes.plain(recipe).items() if key != "seed"}
    # A field that recipes gained since a run began had its default in effect before it had a name.
    plain = [
        wanted | {key: value for key, value in fact["recipe"].items() if key != "seed"}
        for fact in facts
    ]
    seeds = [fact["recipe"]["seed"] for fact in facts]
    if any(one != common[0] for one in common) or any(one != wanted for one in plain):
        raise RunError(
            "The runs are not of this recipe on the same data, start and precision: more differs"
            " than the seed."
        )
    if len(set(seeds)) < len(seeds):
        raise RunError(f"Two runs are of one seed: {sorted(seeds)}; a run counts once.")
    averaged = replace(recipe, seed=min(seeds), averaged=tuple(sorted(seeds)))
    if (out / kept_name(recipe.keep_epoch)).is_file() and run_facts(out)["recipe"] != recipes.plain(
        averaged
    ):
        raise RunError(f"{out} already holds another run; give another --out.")
    model = mean([fit.at_epoch(recipe, run, recipe.keep_epoch) for run in runs])
    network.round_to_float16(model)
    out.mkdir(parents=True, exist_ok=True)
    write_facts(out, facts[0] | {"recipe": recipes.plain(averaged)})
    write_history(out, _mean_history([history_of(run) for run in runs]))
    write_atomically(out / kept_name(recipe.keep_epoch), model.save_weights)
    return averaged


def mean(models: Sequence[keras.Model]) -> keras.Model:
    """The first of the networks, with the mean of all their weights; they must be of one
    architecture.
    """
    model = models[0]
    model.set_weights(
        [
            np.mean(values, axis=0, dtype=np.float64).astype(np.float32)
            for values in zip(*(one.get_weights() for one in models), strict=True)
        ]
    )
    return model


def _mean_history(histories: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, float]]:
    rows = []
    for same in zip(*histories, strict=False):
        row = {name: float(np.mean([one[name] for one in same])) for name in same[0]}
        rows.append(
            row
            | {
                "epoch": same[0]["epoch"],
                "seconds": round(sum(one["seconds"] for one in same), 2),
            }
        )
    return rows
