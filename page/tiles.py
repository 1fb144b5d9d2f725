"""Pictures in rows and grids that a click or the Enter key enlarges; ``assets/app.js`` opens
them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from page.panels import escape
from pneumonia import figures

# Pixels of a map's longer side at most.
MAP_SIDE = 224


@dataclass(frozen=True)
class Part:
    """One picture of a tile: the image, and whose it is."""

    image: Image.Image
    caption: str

    @classmethod
    def of_map(cls, values: np.ndarray, caption: str) -> Part:
        """A map, float ``(h, w)`` in 0..1, in its own pixels, which the page draws as squares; a
        larger one than the page can show is thinned out.
        """
        step = -(-max(values.shape) // MAP_SIDE)
        return cls(figures.apply_palette(values[::step, ::step]), caption)


def tile(parts: Iterable[Part], name: str, note: str, kind: str = "") -> str:
    """A button with one picture or several side by side over a name and a note."""
    pictures = "".join(
        f"<img src='{figures.data_uri(part.image)}' alt='{escape(part.caption)}'"
        f" data-caption='{escape(part.caption)}' width='{part.image.width}'"
        f" height='{part.image.height}'>"
        for part in parts
    )
    return (
        f"<button type='button' class='zoom {kind}' data-title='{escape(name)} · {escape(note)}'>"
        f"<span class='parts'>{pictures}</span><span class='tile-name'>{escape(name)}</span>"
        f" <span class='tile-note'>{escape(note)}</span></button>"
    )


def grid(tiles: Iterable[str], parts: int) -> str:
    """Tiles in rows, as many to a row as the width takes; ``parts`` pictures each."""
    return f"<div class='tiles of-{parts}'>{''.join(tiles)}</div>"


def strip(tiles: Iterable[str], label: str) -> str:
    """Tiles in one row that scrolls sideways, read from left to right."""
    items = "".join(f"<li>{one}</li>" for one in tiles)
    return (
        "<div class='scroller strip' tabindex='0' role='region'"
        f" aria-label='{escape(label)}'><ol>{items}</ol></div>"
    )
