"""The ROC curves of the models as one drawing that a pointer or a slider walks along;
``assets/app.js`` moves the mark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from page.panels import escape
from page.words import results as words
from pneumonia.model_spec import OperatingPoint

# The plot's side and its margins to the left and below, in the drawing's own units.
SIDE, LEFT, BELOW, ABOVE = 400, 54, 46, 10


@dataclass(frozen=True)
class Curve:
    """Every threshold of a model on the test set.

    Attributes:
        thresholds: float64 ``(K,)``, from the highest to the lowest; at or above it a probability
            is called PNEUMONIA.
        missed, alarms: int ``(K,)``, pneumonias called NORMAL and healthy called PNEUMONIA there.
        ill, healthy: how many there are of each.
    """

    thresholds: np.ndarray
    missed: np.ndarray
    alarms: np.ndarray
    ill: int
    healthy: int

    @property
    def area(self) -> float:
        """Under the curve, 0 to 1, by the trapezoidal rule; ties count half, as in the Mann-Whitney
        statistic.
        """
        found, raised = 1 - self.missed / self.ill, self.alarms / self.healthy
        return float(np.sum(np.diff(raised) * (found[1:] + found[:-1]) / 2))


def curve(labels: np.ndarray, probabilities: np.ndarray, further: Sequence[float] = ()) -> Curve:
    """Counts the errors of every threshold that makes a difference, and of further ones.

    Args:
        labels: ``(N,)``, 1 is PNEUMONIA.
        probabilities: ``(N,)``, 0 to 1.
        further: thresholds, such as a model's operating points.

    Raises:
        ValueError: one of the classes is missing.
    """
    ill = int(np.sum(labels == 1))
    healthy = len(labels) - ill
    if not ill or not healthy:
        raise ValueError(
            f"A curve needs both classes, got {ill} X-rays with pneumonia and {healthy} without."
        )
    # Above the highest probability everybody is called NORMAL.
    thresholds = np.concatenate([[np.inf], np.unique([*probabilities, *further])[::-1]])
    called = probabilities[None] >= thresholds[:, None]
    missed = np.sum(~called & (labels == 1), axis=1)
    alarms = np.sum(called & (labels == 0), axis=1)
    return Curve(thresholds, missed, alarms, ill, healthy)


def drawing(
    curves: Mapping[str, Curve],
    titles: Mapping[str, str],
    chosen: str,
    points: Sequence[tuple[str, OperatingPoint]],
    default: float,
) -> str:
    """The curves, the chosen one in front with its operating points, a slider along it and a
    sentence on where it stands.

    Args:
        curves: by the name of their model.
        titles: of the models, for people.
        chosen: the name of the one to walk along.
        points: its operating points with their names for people.
        default: the threshold in use, where the mark stands at first.
    """
    front = curves[chosen]
    order = [*(name for name in curves if name != chosen), chosen]
    lines = "".join(
        _line(curves[name], "front" if name == chosen else "behind", titles[name]) for name in order
    )
    marks = "".join(_mark(front, name, point, point.threshold == default) for name, point in points)
    ticks = "".join(_tick(share) for share in (0, 0.25, 0.5, 0.75, 1))
    start = int(np.sum(front.thresholds >= default)) - 1
    # Lists only: the page's templates give braces a meaning.
    steps = [
        [None if np.isinf(threshold) else round(float(threshold), 6), int(missed), int(back)]
        for threshold, missed, back in _rows(front)
    ]
    label = escape(words.ROC_ALT.format(title=titles[chosen], auc=f"{front.area:.3f}"))
    legend = "".join(
        f"<li class='{'front' if name == chosen else 'behind'}'>{escape(titles[name])}, AUC"
        f" {curves[name].area:.3f}</li>"
        for name in reversed(order)
    )
    return (
        f"<div class='roc' data-steps='{json.dumps(steps)}' data-ill='{front.ill}'"
        f" data-healthy='{front.healthy}' data-says='{escape(words.READOUT)}' data-plot='[{LEFT},"
        f" {ABOVE}, {SIDE}]'><svg viewBox='0 0 {LEFT + SIDE + 20} {ABOVE + SIDE + BELOW}'"
        f" role='img' aria-label='{label}'>{ticks}<line class='chance' x1='{_x(0)}' y1='{_y(0)}'"
        f" x2='{_x(1)}' y2='{_y(1)}'/>{lines}{marks}<circle class='here' r='7'"
        f" {_place(front, start)}/><text class='axis' x='{LEFT + SIDE / 2}'"
        f" y='{ABOVE + SIDE + 38}'>{words.ROC_X}</text><text class='axis' transform='translate(13"
        f" {ABOVE + SIDE / 2}) rotate(-90)'>{words.ROC_Y}</text></svg><div class='roc-side'><ul"
        f" class='roc-legend'>{legend}</ul><p"
        f" class='credit'>{words.ROC_HELP}</p><label>{words.THRESHOLD}<input type='range' min='0'"
        f" max='{len(steps) - 1}' value='{start}' step='1'></label><p class='roc-readout'"
        f" aria-live='polite'>{_sentence(front, start)}</p></div></div>"
    )


def _rows(front: Curve) -> zip:
    return zip(front.thresholds, front.missed, front.alarms, strict=True)


def _sentence(front: Curve, at: int) -> str:
    threshold, missed, back = (
        float(front.thresholds[at]),
        int(front.missed[at]),
        int(front.alarms[at]),
    )
    values = {
        "t": "above all" if np.isinf(threshold) else f"{threshold * 100:.1f}%",
        "missed": missed,
        "ill": front.ill,
        "recall": f"{100 * (1 - missed / front.ill):.1f}%",
        "back": back,
        "healthy": front.healthy,
        "specificity": f"{100 * (1 - back / front.healthy):.1f}%",
    }
    text = words.READOUT
    for name, value in values.items():
        text = text.replace(f"[{name}]", str(value))
    return escape(text)


def _x(share: float) -> float:
    return round(LEFT + SIDE * share, 1)


def _y(share: float) -> float:
    return round(ABOVE + SIDE * (1 - share), 1)


def _place(front: Curve, at: int) -> str:
    return (
        f"cx='{_x(front.alarms[at] / front.healthy)}' cy='{_y(1 - front.missed[at] / front.ill)}'"
    )


def _line(one: Curve, kind: str, title: str) -> str:
    path = " ".join(
        f"{_x(back / one.healthy)},{_y(1 - missed / one.ill)}" for _, missed, back in _rows(one)
    )
    return f"<polyline class='{kind}' points='{path}'><title>{escape(title)}</title></polyline>"


def _mark(front: Curve, name: str, point: OperatingPoint, used: bool) -> str:
    at = int(np.sum(front.thresholds >= point.threshold)) - 1
    text = f"{name}{f' ({words.IN_USE})' if used else ''}: {_sentence(front, at)}"
    return (
        f"<circle class='point' r='{6 if used else 4.5}'"
        f" {_place(front, at)}><title>{text}</title></circle>"
    )


def _tick(share: float) -> str:
    across, up = ((_x(share), _y(0), _x(share), _y(1)), (_x(0), _y(share), _x(1), _y(share)))
    lines = "".join(
        f"<line class='grid' x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}'/>"
        for x1, y1, x2, y2 in (across, up)
    )
    below = f"<text class='tick below' x='{_x(share)}' y='{_y(0) + 17}'>{share:.0%}</text>"
    return (
        f"{lines}{below}<text class='tick beside' x='{LEFT - 7}'"
        f" y='{_y(share) + 4}'>{share:.0%}</text>"
    )
