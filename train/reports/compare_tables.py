"""The tables of ``python -m train compare``: Markdown from results, nothing read and nothing
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from pneumonia.evidence import Published, Result, outcome, rate
from pneumonia.model_spec import Estimate, Metrics
from train.evaluation.breakdown import BACTERIA, DISTINCT, PATIENTS, VIRUS, breakdown, patients_of
from train.evaluation.metrics import paired_differences
from train.reports.card_sections import table

_TITLES = {"accuracy": "accuracy", "recall": "recall", "specificity": "specificity", "auc": "AUC"}


def markdown(
    found: Sequence[Result],
    others: Sequence[Published] = (),
    duplicates: Sequence[Sequence[str]] = (),
) -> str:
    """All tables: what is bundled, what repeats the source and what others published; folded away
    below, the rest that was measured, each setting for recall, paired differences, parts of the
    test folder.
    """
    parts = [measured([result for result in found if result.foremost])]
    if others:
        parts.append(published(others, found[0].test))
    if rest := [result for result in found if not result.foremost]:
        parts.append(_folded("Earlier rounds of a recipe, and runs that went on", measured(rest)))
    with_tables = [result for result in found if result.table is not None]
    if offered := settings([result for result in with_tables if result.bundled]):
        parts.append(_folded("Each setting for recall: what it keeps and costs", offered))
    if pairs := pairs_of(with_tables):
        parts.append(_folded("Paired differences between models", differences(pairs, duplicates)))
    if with_tables:
        parts.append(
            _folded(
                "By cause, without duplicates, and by patient", subgroups(with_tables, duplicates)
            )
        )
    return "\n\n".join(parts)


def measured(found: Sequence[Result]) -> str:
    """Each model's figures with their 95% intervals, at its default threshold."""
    rows = []
    for result in found:
        counts, recipe = result.test.counts, result.spec.recipe
        settings = (
            result.recipe,
            "bundled" if result.bundled else "",
            f"epoch {recipe['epoch']}" if "epoch" in recipe else "",
            recipe.get("precision"),
        )
        rows.append(
            (
                result.title,
                ", ".join(filter(None, settings)),
                "" if result.claim is None else f"{result.claim:.0%}",
                *(
                    f"**{_text(result.test.figures[name], name)}**"
                    f" ({_ends(result.test.figures[name], name)})"
                    for name in _TITLES
                ),
                (
                    f"{counts['false_negative']} of"
                    f" {counts['false_negative'] + counts['true_positive']}"
                ),
                (
                    f"{counts['false_positive']} of"
                    f" {counts['false_positive'] + counts['true_negative']}"
                ),
            )
        )
    head = (
        "model",
        "recipe",
        "accuracy the source claims",
        *_TITLES.values(),
        "missed",
        "called back",
    )
    note = (
        f"Test folder, {found[0].test.images} images, at each model's default threshold, which"
        " nobody tuned on it; 95% intervals (Wilson; AUC bootstrap)."
    )
    return f"{table(head, rows)}\n\n{note}"


def published(others: Sequence[Published], test: Metrics) -> str:
    """What others report of the same images."""
    rows = []
    for other in others:
        cells = []
        for name in _TITLES:
            figure = other.estimate(name, images_of(test))
            cells.append(
                ""
                if figure is None
                else _text(figure, name)
                + (f" ({_ends(figure, name)})" if figure.interval == "wilson" else "")
            )
        rows.append(
            (f"[{other.name}]({other.link})" if other.link else other.name, *cells, other.note)
        )
    note = (
        "Published figures on the same test folder, as their authors report them; none was measured"
        " again here. They come without intervals: those in brackets are Wilson's for the counts"
        " that they imply. How a threshold, an epoch or a model was chosen is seldom said; where it"
        " is known to have been on the test folder, the table says so."
    )
    return f"{table(('published', *_TITLES.values(), ''), rows)}\n\n{note}"


def settings(found: Sequence[Result]) -> str:
    """Each setting for recall, and what held-out patients and then the test folder saw of it; empty
    where no model has any.
    """
    rows, some_say_little = [], False
    for result in found:
        assert result.table is not None
        for point in result.spec.operating_points:
            if point.name == "default" or point.recall_interval is None:
                continue
            seen = outcome(result.table[1], result.table[2], point.threshold)
            some_say_little |= seen.tells_little
            right = {
                "recall": (seen.ill - seen.missed, seen.ill),
                "specificity": (seen.healthy - seen.false_alarms, seen.healthy),
            }
            right["accuracy"] = (
                right["recall"][0] + right["specificity"][0],
                seen.ill + seen.healthy,
            )
            figures = {name: rate(*counts) for name, counts in right.items()}
            rows.append(
                (
                    _name(result),
                    (
                        f"{point.recall_target:.0%}{' (default)' if point.threshold == result.spec.default.threshold else ''}"
                    ),
                    " to ".join(f"{end:.1%}" for end in point.recall_interval),
                    *(
                        "" if figure is None else f"{_text(figure, name)} ({_ends(figure, name)})"
                        for name, figure in figures.items()
                    ),
                    f"{seen.missed} of {seen.ill}",
                    f"{seen.false_alarms} of {seen.healthy}",
                )
            )
    if not rows:
        return ""
    head = (
        "model",
        "setting for a recall of",
        "held out, 95%",
        "recall",
        "specificity",
        "accuracy",
        "missed",
        "called back",
    )
    note = (
        "The settings that the app offers, each chosen on patients held out of training (held out:"
        " the 95% interval of the recall there); the rest is what the test folder, which chose none"
        " of them, then saw, with Wilson's 95% intervals."
    )
    if some_say_little:
        note += (
            " Where nearly all of the healthy are called back, everything is called PNEUMONIA, and"
            " that answer tells next to nothing."
        )
    return f"{table(head, rows)}\n\n{note}"


def pairs_of(found: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Whom to compare with whom: each bundled model with earlier ones of its network at their
    recipe's own epoch, and the bundled ones among each other.
    """
    bundled = [result for result in found if result.bundled]
    earlier = [result for result in found if not (result.bundled or result.went_on)]
    own = [(new, old) for new in bundled for old in earlier if new.spec.variant == old.spec.variant]
    return own + [(second, first) for first, second in combinations(bundled, 2)]


def differences(
    pairs: Sequence[tuple[Result, Result]], duplicates: Sequence[Sequence[str]] = ()
) -> str:
    """Paired differences in percentage points, or in AUC, resampled by patient. Pairs measured on
    other images than each other are passed over.
    """
    rows = []
    for one, other in pairs:
        assert one.table is not None and other.table is not None
        names, labels, ours = one.table
        theirs = dict(zip(other.table[0], other.table[2], strict=True))
        if set(names) != theirs.keys():
            continue
        ordered = other.table[2][[other.table[0].index(name) for name in names]]
        found = paired_differences(
            labels,
            patients_of(names, duplicates),
            (ours, one.spec.default.threshold),
            (ordered, other.spec.default.threshold),
        )
        rows.append(
            (
                f"{_name(one)} minus {_name(other)}",
                *(_difference(found[name], name) for name in _TITLES),
            )
        )
    note = (
        "Paired differences on the same images, rates in percentage points, each model at its own"
        " default threshold; 95% bootstrap intervals, resampled by patient. **Bold** where the"
        " interval leaves out zero."
    )
    return f"{table(('difference', *_TITLES.values()), rows)}\n\n{note}"


def subgroups(found: Sequence[Result], duplicates: Sequence[Sequence[str]] = ()) -> str:
    """Recall by cause, and the figures without duplicates and by patient."""
    rows = []
    for result in found:
        assert result.table is not None
        parts = breakdown(*result.table, result.spec.default.threshold, duplicates, resamples=0)

        def cell(part: str, name: str, parts: dict[str, Metrics] = parts) -> str:
            figure = parts[part].figures.get(name) if part in parts else None
            return "" if figure is None else f"{_text(figure, name)} ({_ends(figure, name)})"

        rows.append(
            (
                _name(result),
                cell(BACTERIA, "recall"),
                cell(VIRUS, "recall"),
                cell(DISTINCT, "accuracy"),
                cell(PATIENTS, "recall"),
                cell(PATIENTS, "specificity"),
            )
        )
        last = parts
    head = (
        "model",
        "recall, bacteria",
        "recall, virus",
        "accuracy without duplicates",
        "recall by patient",
        "specificity by patient",
    )
    counts = last[PATIENTS].counts
    ill, healthy = (
        counts["true_positive"] + counts["false_negative"],
        counts["true_negative"] + counts["false_positive"],
    )
    note = (
        f"Parts of the test folder: {_ill(last, BACTERIA)} images of bacterial and"
        f" {_ill(last, VIRUS)} of viral pneumonia, {last[DISTINCT].images} images with identical"
        f" files counted once, {ill} patients with pneumonia and {healthy} without. A patient is"
        " called PNEUMONIA where any of its X-rays is."
    )
    return f"{table(head, rows)}\n\n{note}"


def _folded(summary: str, text: str) -> str:
    # Markdown within HTML needs an empty line on both sides.
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def images_of(test: Metrics) -> dict[str, int]:
    """How many images each rate is a share of."""
    counts = test.counts
    ill = counts["true_positive"] + counts["false_negative"]
    return {"accuracy": test.images, "recall": ill, "specificity": test.images - ill}


def _ill(parts: dict[str, Metrics], name: str) -> int:
    return images_of(parts[name])["recall"] if name in parts else 0


def _name(result: Result) -> str:
    return f"{result.title}, {result.recipe}"


def _text(figure: Estimate, name: str) -> str:
    return f"{figure.value:.3f}" if name == "auc" else f"{figure.value:.1%}"


def _ends(figure: Estimate, name: str) -> str:
    return (
        f"{figure.low:.3f} to {figure.high:.3f}"
        if name == "auc"
        else f"{figure.low:.1%} to {figure.high:.1%}"
    )


def _difference(figure: Estimate, name: str) -> str:
    value, low, high = (
        f"{number:+.3f}" if name == "auc" else f"{number * 100:+.1f}"
        for number in (figure.value, figure.low, figure.high)
    )
    return (
        f"**{value}** ({low} to {high})"
        if figure.low > 0 or figure.high < 0
        else f"{value} ({low} to {high})"
    )
