"""Markdown: tables, figures as text, and named blocks that are written into files of prose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pneumonia.bundle import BundleError
from pneumonia.model_spec import Estimate

# <!-- begin NAME: python -m train compare --> ... <!-- end NAME -->
_BLOCK = re.compile(r"(<!-- begin ([\w-]+): [^>]*-->)\n(.*?)\n?(<!-- end \2 -->)", re.DOTALL)
_RANKED = ("auc", "average_precision", "ece", "brier")


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; every cell as ``str`` gives it."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def figure(measured: Estimate | None, name: str = "") -> str:
    """A figure with its 95% interval: ``86.9% (84.0 to 89.3)``, an AUC or error with three
    decimals; empty where there is none.
    """
    if measured is None:
        return ""
    ends = (measured.value, measured.low, measured.high)
    if name in _RANKED:
        return "{:.3f} ({:.3f} to {:.3f})".format(*ends)
    return "{:.1f}% ({:.1f} to {:.1f})".format(*(100 * end for end in ends))


def per_hundred(share: float) -> str:
    """A share as people in a hundred: ``34``, below ten ``0.5``, none ``0``."""
    return f"{100 * share:.0f}" if share >= 0.0995 or not share else f"{100 * share:.1f}"


def fill(text: str, blocks: Mapping[str, str], *, keep_markers: bool = True) -> str:
    """Writes blocks between their markers.

    Raises:
        BundleError: there is no marker, or one names a block that is not in ``blocks``.
    """
    names = [found[1] for found in _BLOCK.findall(text)]
    unknown = [name for name in names if name not in blocks]
    if not names or unknown or text.count("<!-- begin ") != len(names):
        raise BundleError(
            f"Expected whole blocks <!-- begin NAME: ... --> of {', '.join(blocks)}; found"
            f" {', '.join(names) or 'none'}."
        )

    def write_block(found: re.Match[str]) -> str:
        block = blocks[found[2]]
        return f"{found[1]}\n{block}\n{found[4]}" if keep_markers else block

    return _BLOCK.sub(write_block, text)
