"""A decoder that breaks down, for the processes of test_score: imported there without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pneumonia import score


def prepare_or_die(part: Sequence[score.Source]) -> list[score.Prepared]:
    """As the real one, but no process survives a file with a 7 in its name."""
    if any("7" in source.name for source in part):
        os._exit(1)
    return [score.prepare(source) for source in part]
