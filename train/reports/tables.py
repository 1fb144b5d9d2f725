"""The tables of ``python -m train compare``: Markdown from results; nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import (
    PREDICTIONS,
    Published,
    Result,
    Table,
    outcome,
    rate,
    read_predictions,
)
from pneumonia.model_spec import Estimate, Metrics, ModelSpec, OperatingPoint
from train.evaluation.breakdown import BACTERIA, DISTINCT, PATIENTS, VIRUS, patients_of
from train.evaluation.familiarity import Warned
from train.evaluation.framing_swap import Judged
from train.evaluation.metrics import paired_differences
from train.reports import robustness_report
from train.reports.markdown import figure, per_hundred, table

_MAIN = ("recall", "specificity", "accuracy", "auc")
_TITLES = ("recall", "specificity", "accuracy", "AUC")
_PARTS = {
    BACTERIA: "bacterial pneumonia against all healthy",
    VIRUS: "viral pneumonia against all healthy",
    DISTINCT: "identical files counted once",
    PATIENTS: "by patient: PNEUMONIA where any X-ray is",
}
POINTS = ("operating point", "threshold", "recall asked for", "95% interval of the recall found")
# High and short of certain: where a reader would take a probability at its word.
BAND = (0.8, 0.95)


def blocks(
    found: Sequence[Result],
    others: Sequence[Published],
    facts: Mapping[str, Any],
    judged: Sequence[Judged] = (),
    warned: Sequence[Warned] = (),
) -> dict[str, str]:
    """Every generated block of README.md and docs/results.md by its name.

    Args:
        found: bundled models first; see :func:`train.reports.compare.collect`.
        others: published figures.
        facts: what ``data.json`` and ``input_check.json`` hold, by their names.
        judged: networks on framing-swapped held-out patients.
        warned: how often X-rays are called unfamiliar.
    """
    bundled = [result for result in found if result.bundled]
    groups = facts.get("data", {}).get("duplicates", {}).get("groups", [])
    return {
        "headline": headline(bundled[-1]),
        "models": models(bundled),
        "framing": framing(bundled),
        "bundled": tabulate_measured(bundled),
        "original": original([result for result in found if not result.bundled]),
        "published": tabulate_published(others, found[0].test),
        "held-out": tabulate_held_out(bundled),
        "operating-points": operating_points(bundled),
        "calibration": calibration(bundled),
        "parts": parts(bundled),
        "robustness": robustness(bundled),
        "differences": differences(found, groups),
        "data": data(facts["data"]) if "data" in facts else "",
        "input-check": input_check(facts["input_check"]) if "input_check" in facts else "",
        "swapped": framing_swap(judged),
        "familiarity": familiarity(warned),
    }


def headline(default: Result) -> str:
    """README's first figures: what the default model's errors mean in people, and for whom."""
    counts = default.test.counts
    missed, alarms = counts["false_negative"], counts["false_positive"]
    ill, healthy = missed + counts["true_positive"], alarms + counts["true_negative"]
    return (
        f"Of {ill} test X-rays with pneumonia the default model, {default.title}, missed {missed};"
        f" of {healthy} without, it called {alarms} PNEUMONIA"
        f" ({per_hundred(alarms / healthy)} in 100).\n"
        "One hospital, children aged 1 to 5: for teaching and research, not for patients."
    )


def models(bundled: Sequence[Result]) -> str:
    """README's table: each bundled model in one row, the default first, with what its errors mean
    in people.
    """
    rows = [
        (
            f"`{result.spec.variant}`",
            per_hundred(1 - result.test.figures["recall"].value),
            per_hundred(1 - result.test.figures["specificity"].value),
            *(figure(result.test.figures.get(name), name) for name in _MAIN),
            _format_claim(result),
        )
        for result in reversed(bundled)
    ]
    people = ("missed, of 100 with pneumonia", "false alarms, of 100 without")
    head = ("model", *people, "recall (sensitivity)", *_TITLES[1:], "original notebook's accuracy")
    test = bundled[0].test
    ill = images_of(test)["recall"]
    return (
        f"{table(head, rows)}\n\n"
        f"{test.images} test X-rays, {ill} with pneumonia, each model at its default threshold; 95%"
        f" intervals.\nAlways answering PNEUMONIA would be right for {ill / test.images:.1%}."
        " AUC: how often an X-ray with pneumonia scores above one without."
        f"\n{alarms(bundled[-1].title, bundled[-1].test)}".rstrip()
    )


def alarms(title: str, test: Metrics) -> str:
    """How many answers PNEUMONIA are right on the test folder, and where one in ten is ill."""
    # A model that never answers PNEUMONIA has no precision.
    if (right := test.figures.get("precision")) is None:
        return ""
    ill = images_of(test)["recall"] / test.images
    found, normal = test.figures["recall"].value, test.figures["specificity"].value
    return (
        f"If 10 in 100 were ill, {per_hundred(precision(found, normal, 0.1))} of 100 PNEUMONIA"
        f" answers by {title} would be right. Here {per_hundred(ill)} in 100 are ill, and"
        f" {per_hundred(right.value)} of 100 are right."
    )


def precision(recall: float, specificity: float, prevalence: float) -> float:
    """The share of answers PNEUMONIA that are right where so many are ill (Bayes)."""
    found, alarmed = recall * prevalence, (1 - specificity) * (1 - prevalence)
    return found / (found + alarmed)


def framing(bundled: Sequence[Result]) -> str:
    """README's limit on what the default model, the last bundled, reads outside the lungs."""
    found = robustness_report.of_bundle(bundled[-1].folder, bundled[-1].spec)
    # A quick look at some images would contradict the figures of all.
    measured = robustness_report.lungs(found) if found and not found.limit else ""
    return (
        "- **They read more than lungs.** Borders, position and exposure differ between the two"
        f" classes, which seem to come from different machines. {measured}".rstrip()
    )


def tabulate_measured(results: Sequence[Result]) -> str:
    """Every figure of the test folder, with counts."""
    rows = []
    for result in results:
        counts, figures = result.test.counts, result.test.figures
        names = (*_MAIN, "precision", "f1", "average_precision")
        rows.append(
            (
                result.title,
                f"{result.test.threshold:.4g}",
                *(figure(figures.get(name), name) for name in names),
                f"{counts['false_negative']} of {images_of(result.test)['recall']}",
                f"{counts['false_positive']} of {images_of(result.test)['specificity']}",
            )
        )
    head = ("model", "threshold", *_TITLES, "precision", "F1", "average precision")
    return table((*head, "missed", "false alarms"), rows)


def original(results: Sequence[Result]) -> str:
    """The original notebook's accuracy beside its procedure, repeated."""
    rows = [
        (
            result.title,
            "" if result.claim is None else f"{result.claim:.0%}",
            *(figure(result.test.figures.get(name), name) for name in ("accuracy", *_MAIN[:2])),
            figure(result.test.figures.get("auc"), "auc"),
        )
        for result in results
    ]
    head = ("model", "accuracy it reports", "accuracy", "recall", "specificity", "AUC")
    return table(head, rows)


def tabulate_published(others: Sequence[Published], test: Metrics) -> str:
    """What others report of the same images."""
    rows = []
    for other in others:
        cells = []
        for name in ("accuracy", "recall", "specificity", "auc"):
            value = other.figures[name]
            plain = "" if value is None else f"{value:.3f}"
            cells.append(plain if name == "auc" else figure(other.estimate(name, images_of(test))))
        linked = f"[{other.name}]({other.link})" if other.link else other.name
        rows.append((linked, *cells, other.note))
    return table(("source", "accuracy", "recall", "specificity", "AUC", "note"), rows)


def tabulate_held_out(bundled: Sequence[Result]) -> str:
    """Held-out patients of the train folder beside the test folder."""
    splits = {"validation": "held-out patients", "test": "test folder"}
    rows = [
        (
            result.title,
            splits[split],
            metrics.images,
            *(figure(metrics.figures.get(name), name) for name in _MAIN),
        )
        for result in bundled
        for split, metrics in bundle.read_metrics(result.folder).items()
        if split in splits
    ]
    return table(("model", "measured on", "images", *_TITLES), rows)


def operating_points(bundled: Sequence[Result]) -> str:
    """Each operating point: what it was chosen for, and what the test folder then showed."""
    rows = []
    for result in bundled:
        _, labels, probabilities = test_table(result)
        for point, cells in points(result.spec):
            seen = outcome(labels, probabilities, point.threshold)
            rows.append(
                (
                    result.title,
                    *cells,
                    *(figure(rate) for rate in (seen.recall, seen.specificity, seen.accuracy)),
                    f"{seen.missed} of {seen.ill}",
                    f"{seen.false_alarms} of {seen.healthy}",
                )
            )
    return table(("model", *POINTS, *_TITLES[:3], "missed", "false alarms"), rows)


def points(spec: ModelSpec) -> list[tuple[OperatingPoint, tuple[str, ...]]]:
    """The operating points, the default one marked, with the cells of :data:`POINTS`."""
    named = [point for point in spec.operating_points if point.name != "default"]
    found: list[tuple[OperatingPoint, tuple[str, ...]]] = []
    for point in named or [spec.default]:
        usual = " (default)" if named and point.threshold == spec.default.threshold else ""
        interval = point.recall_interval
        cells = (
            f"`{point.name}`{usual}",
            f"{point.threshold:.4g}",
            "fixed" if point.recall_target is None else f"{point.recall_target:.0%}",
            "{:.1%} to {:.1%}".format(*interval) if interval else "",
        )
        found.append((point, cells))
    return found


def calibration(bundled: Sequence[Result]) -> str:
    """How far the probabilities are to be believed."""
    rows = []
    for result in bundled:
        inside, ill = in_band(result)
        share = rate(ill, inside)
        rows.append(
            (
                result.title,
                f"{result.spec.temperature:.3g}",
                *(figure(result.test.figures.get(name), name) for name in ("ece", "brier")),
                f"{ill} of {inside}" + (f", {figure(share)}" if share else ""),
            )
        )
    band = f"PNEUMONIA among images given {BAND[0]:.0%} to {BAND[1]:.0%}"
    head = ("model", "temperature", "expected calibration error", "Brier score", band)
    return table(head, rows)


def in_band(result: Result) -> tuple[int, int]:
    """How many test images have a high probability, and how many of these are PNEUMONIA."""
    _, labels, probabilities = test_table(result)
    inside = (probabilities >= BAND[0]) & (probabilities < BAND[1])
    return int(inside.sum()), int(labels[inside].sum())


def parts(bundled: Sequence[Result]) -> str:
    """The test folder by cause, without duplicates, by patient, where the bundles have it."""
    rows = []
    for result in bundled:
        details = bundle.read_details(result.folder).get("parts", {})
        found = {name: Metrics.from_dict(values) for name, values in details.items()}
        rows += [
            (
                result.title,
                title,
                found[name].images,
                *(figure(found[name].figures.get(key), key) for key in _MAIN),
            )
            for name, title in _PARTS.items()
            if name in found
        ]
    return table(("model", "part", "images or patients", *_TITLES), rows)


def robustness(bundled: Sequence[Result]) -> str:
    """A table a model, where it was measured."""
    measured = [
        (result.title, robustness_report.of_bundle(result.folder, result.spec))
        for result in bundled
    ]
    return "\n\n".join(
        f"### {title}\n\n{robustness_report.table(found)}" for title, found in measured if found
    )


def differences(found: Sequence[Result], duplicates: Sequence[Sequence[str]] = ()) -> str:
    """Paired differences, rates in percentage points, resampled by patient: each bundled model
    against the original procedure of its network, and bundled models against each other.
    """
    bundled = [result for result in found if result.bundled]
    older = [result for result in found if not result.bundled and result.claim is not None]
    pairs = [(new, old) for new in bundled for old in older if new.spec.variant == old.spec.variant]
    rows = []
    for ours, theirs in pairs + [(one, other) for other, one in combinations(bundled, 2)]:
        names, labels, probabilities = test_table(ours)
        other_names, _, others = test_table(theirs)
        places = {name: place for place, name in enumerate(other_names)}
        if set(names) != places.keys():
            continue
        gained = paired_differences(
            labels,
            patients_of(names, duplicates),
            (probabilities, ours.spec.default.threshold),
            (others[[places[name] for name in names]], theirs.spec.default.threshold),
        )
        against = theirs.title if theirs.bundled else f"{theirs.title}, original procedure"
        rows.append(
            (f"{ours.title} minus {against}", *(_difference(gained[name], name) for name in _MAIN))
        )
    return table(("difference", *_TITLES), rows)


def data(facts: Mapping[str, Any]) -> str:
    """What the data set holds."""
    rows = [
        (
            split,
            *(facts["counts"][split][label] for label in ("NORMAL", "PNEUMONIA")),
            facts["causes"][split]["bacteria"],
            facts["causes"][split]["virus"],
            facts["patients"]["groups"][split],
        )
        for split in ("train", "val", "test")
    ]
    head = ("folder", "NORMAL", "PNEUMONIA", "of it bacterial", "of it viral", "patients")
    nuisances = [
        (name, f"{max(found['auc'], 1 - found['auc']):.3f}")
        for name, found in facts["nuisances"]["single"].items()
    ]
    nuisances.append(("all together", f"{facts['nuisances']['together']:.3f}"))
    return (
        f"{table(head, rows)}\n\n{len(facts['duplicates']['groups'])} groups of files are identical"
        " byte for byte.\n\nHow far one nuisance alone separates the classes of the train folder"
        f" (AUC):\n\n{table(('nuisance', 'AUC'), nuisances)}"
    )


def input_check(facts: Mapping[str, Any]) -> str:
    """What passes the input check, and what it refuses."""
    accepted = {name: facts["accepted"][name] for name in ("held-out", "test")}
    rows = [
        (f"X-rays, {name}", found["images"], "passed", _share(found))
        for name, found in accepted.items()
    ]
    kinds: dict[str, list[int]] = {}
    for name, found in facts["refused"].items():
        total = kinds.setdefault(name.partition(",")[0], [0, 0])
        total[0] += round(found["share"] * found["images"])
        total[1] += found["images"]
    rows += [
        (kind, images, "refused", figure(rate(refused, images)))
        for kind, (refused, images) in kinds.items()
    ]
    return table(("pictures", "images", "", "share"), rows)


def framing_swap(found: Sequence[Judged]) -> str:
    """Networks on held-out patients, as they are and framing-swapped."""
    head = ["model", "AUC", "specificity at 98% recall", "swapped AUC", "swapped specificity"]
    return table(
        head,
        [
            [
                judged.name,
                _fine(judged.auc),
                figure(judged.specificity),
                _fine(judged.swapped_auc),
                figure(judged.swapped_specificity),
            ]
            for judged in found
        ],
    )


def familiarity(found: Sequence[Warned]) -> str:
    """How often X-rays are called unlike those learned from."""
    return table(
        ["X-rays", "images", "warned"],
        [[one.title, one.images, figure(rate(one.warned, one.images))] for one in found],
    )


def _fine(auc: Estimate) -> str:
    return f"{auc.value:.4f} ({auc.low:.4f} to {auc.high:.4f})"


def images_of(test: Metrics) -> dict[str, int]:
    """How many images each rate is a share of."""
    ill = test.counts["true_positive"] + test.counts["false_negative"]
    return {"accuracy": test.images, "recall": ill, "specificity": test.images - ill}


def test_table(result: Result) -> Table:
    """Files, labels and probabilities of the test folder."""
    return read_predictions(result.folder / PREDICTIONS)


def _format_claim(result: Result) -> str:
    claimed = CATALOGUE[result.spec.variant].claimed
    return "" if claimed is None else f"{claimed:.0%}"


def _share(found: Mapping[str, float]) -> str:
    return figure(Estimate(found["share"], found["low"], found["high"], "wilson"))


def _difference(gained: Estimate, name: str) -> str:
    value, low, high = (
        f"{number:+.3f}" if name == "auc" else f"{number * 100:+.1f}"
        for number in (gained.value, gained.low, gained.high)
    )
    certain = gained.low > 0 or gained.high < 0
    return f"**{value}** ({low} to {high})" if certain else f"{value} ({low} to {high})"
