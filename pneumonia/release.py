"""What a bundle must have before anybody else may see it, and its way out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from pneumonia import bundle, hub
from pneumonia.model_spec import Metrics, ModelSpec

CARD = "README.md"
ENTRIES = ("validation", "test")
# The figures every split must have, and their names on the Hub, where it has one, in the order of
# every table.
FIGURES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "recall": "recall",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "f1",
    "auc": "roc_auc",
    "average_precision": "average_precision",
    "ece": "expected_calibration_error",
    "brier": "brier_score",
}
# Anything else (code, pickles, other weights) has no business in a bundle, and from_pretrained
# would refuse to look at it.
_SUFFIXES = (".json", ".h5", ".csv", ".png", ".md")
_NAMES = ("LICENSE", bundle.FAMILIARITY)
# Without --out the bundle is left as it is.
_MEASURE = "measure it anew with python -m train evaluate BUNDLE --out BUNDLE."
# What the card's first example loads.
_LOADED = re.compile(r"""from_pretrained\(\s*["']([\w.-]+/[\w.-]+)["']""")
# What templates, generators and half-finished texts leave behind.
_LEFTOVER = re.compile(
    r"\{\{|\}\}|\{%|\$\{|\bTO[D]O\b|\bFIX[M]E\b|\bTBD\b|\bXXX\b|more information needed|lorem"
    r" ipsum|\bNS/NAME\b|\bnan\b",
    re.IGNORECASE,
)


class ReleaseError(ValueError):
    """A bundle is not fit to be published; the message says what is missing or altered."""


def publish(
    folder: Path,
    repo: str,
    *,
    card: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    replace: bool = False,
    revision: str | None = None,
    token: str | None = None,
    message: str | None = None,
    more: Sequence[Path] = (),
) -> hub.Published:
    """Checks a bundle and pushes all of it in one commit, which also removes what an earlier push
    brought and the bundle no longer has.

    Args:
        folder: the bundle.
        repo: ``namespace/name``; made if need be.
        card: the text of README.md; the bundle's own, with the name of ``repo``, if None.
        private, create_pr, revision, token: see :func:`pneumonia.hub.push`.
        replace: publish over a model of another variant.
        message: the commit's first line.
        more: files that go along under their own names, such as an exported network.

    Raises:
        ReleaseError, BundleError, ModelSpecError: see :func:`check`; nothing was sent.
        HubError: the Hub cannot be reached or does not accept it, or the repository holds another
            variant's model and ``replace`` is not set.
    """
    spec = bundle.read_model_spec(folder)
    if card is None:
        if not (folder / CARD).is_file():
            raise ReleaseError(
                f"{folder} has no card {CARD}; publish it with python -m train push, which writes"
                " one."
            )
        card = retarget_card((folder / CARD).read_text(encoding="utf-8"), spec, repo)
    files = check(folder, card)

    def same_variant(there: dict[str, bytes]) -> None:
        for name in (bundle.MODEL_SPEC, bundle.LEGACY_SPEC):
            if name in there and not replace:
                found = _variant(there[name])
                if found not in (None, spec.variant):
                    raise hub.HubError(
                        f"{repo} holds the variant {found}, and this is {spec.variant}; push to"
                        " another name, or call push_to_hub(…, replace=True) in Python.",
                        "variant",
                    )

    return hub.push(
        [*files, *((path.name, path) for path in more)],
        repo,
        message=message
        or (
            f"{spec.variant}, recipe {spec.recipe.get('name', 'unnamed')},"
            f" weights {spec.weights_sha256[:12]}"
        ),
        check=same_variant,
        private=private,
        create_pr=create_pr,
        revision=revision,
        token=token,
    )


def retarget_card(card: str, spec: ModelSpec, repo: str) -> str:
    """A card whose examples load ``repo``, whatever name it was written for before."""
    before = _LOADED.search(card)
    names = {f"assets/models/{spec.variant}"} | ({before[1]} if before else set())
    for name in sorted(names, key=len, reverse=True):
        card = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", repo, card)
    # Links out of the bundle into the checkout lead nowhere on the Hub.
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+([^)]+)\)", r"\1 (`\2` of the project)", card)


def _variant(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["variant"])
    except (ValueError, KeyError, TypeError):
        return None


def check(folder: Path, card: str) -> list[tuple[str, Path | bytes]]:
    """Everything to publish of a bundle, after checking that it is whole, measured, described and
    loads.

    Args:
        folder: the bundle.
        card: the text of the README.md to publish with it.

    Returns:
        Name and file of each part, the card among them as bytes.

    Raises:
        ReleaseError: a metric is missing or belongs to other weights, the card has something left
            over or other figures, or a file does not belong.
        BundleError: the bundle is not whole, or its weights' sha256 is not the model spec's.
        ModelSpecError: model spec or metrics cannot be read.
    """
    _, spec = bundle.load(folder)
    check_card(card, check_metrics(folder, spec), spec)
    # Hidden files are the desktop's litter.
    paths = sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name not in (CARD, bundle.CHECKSUMS)
    )
    if strangers := [
        path.name
        for path in paths
        if not path.is_file() or (path.suffix not in _SUFFIXES and path.name not in _NAMES)
    ]:
        raise ReleaseError(
            f"{folder} holds {', '.join(strangers)}; a bundle has only {', '.join(_SUFFIXES)}"
            " files, so move it away."
        )
    if more := [
        path.name for path in paths if path.suffix == ".h5" and path.name != bundle.WEIGHTS
    ]:
        raise ReleaseError(
            f"{folder} holds {', '.join(more)} beside {bundle.WEIGHTS}; a bundle has one file of"
            " weights, so move it away."
        )
    return [(path.name, path) for path in paths] + [(CARD, card.encode())]


def check_metrics(folder: Path, spec: ModelSpec) -> dict[str, Metrics]:
    """The entries of ``metrics.json``, if every figure is there and was measured on the weights of
    the model spec.

    Raises:
        ReleaseError: something is missing, no number in 0..1, or measured on other weights.
        ModelSpecError: the file cannot be read.
    """
    metrics = bundle.read_metrics(folder)
    if missing := [name for name in ENTRIES if name not in metrics]:
        raise ReleaseError(
            f"{folder / bundle.METRICS} has no entry {' and '.join(missing)}; {_MEASURE}"
        )
    measured_on = json.loads((folder / bundle.METRICS).read_text(encoding="utf-8")).get(
        "weights_sha256"
    )
    if measured_on != spec.weights_sha256:
        raise ReleaseError(
            f"{folder / bundle.METRICS} was measured on other weights ({str(measured_on)[:12]}…)"
            f" than the model spec's ({spec.weights_sha256[:12]}…); {_MEASURE}"
        )
    for name, entry in metrics.items():
        if missing := [figure for figure in FIGURES if figure not in entry.figures]:
            raise ReleaseError(
                f"The {name} entry of {folder / bundle.METRICS} lacks {', '.join(missing)}; nothing"
                " is published with a metric missing."
            )
        for title, figure in entry.figures.items():
            values = (figure.value, figure.low, figure.high)
            if (
                not all(
                    isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value <= 1
                    for value in values
                )
                or figure.low > figure.high
            ):
                raise ReleaseError(
                    f"{title} of the {name} entry of {folder / bundle.METRICS} must be numbers in"
                    f" 0..1, got {values}."
                )
        if entry.threshold != spec.default.threshold:
            raise ReleaseError(
                f"The {name} entry of {folder / bundle.METRICS} was measured at the threshold"
                f" {entry.threshold:g}, the model spec's is {spec.default.threshold:g}; {_MEASURE}"
            )
        if sum(entry.counts.values()) != entry.images:
            raise ReleaseError(
                f"The counts of the {name} entry of {folder / bundle.METRICS} add up to"
                f" {sum(entry.counts.values())}, expected {entry.images}."
            )
    return metrics


def check_card(card: str, metrics: Mapping[str, Metrics], spec: ModelSpec) -> None:
    """Checks that a card is finished and that its ``model-index`` is what ``metrics.json`` says of
    the test folder.

    Raises:
        ReleaseError: it has no metadata, something is left over in it, or a figure differs.
    """
    if found := _LEFTOVER.search(card):
        line = card.count("\n", 0, found.start()) + 1
        raise ReleaseError(
            f"{CARD} still has {found.group()!r} in line {line}; finish the text before"
            " publishing it."
        )
    try:
        data = ModelCard(card).data
    # yaml and huggingface_hub raise several kinds, and all mean the same here.
    except Exception as error:
        raise ReleaseError(f"The metadata at the top of {CARD} cannot be read: {error}") from error
    assert isinstance(data, ModelCardData)
    results = {result.metric_type: result.metric_value for result in data.eval_results or ()}
    expected = {hub_name: metrics["test"].figures[name].value for name, hub_name in FIGURES.items()}
    if results != expected:
        differing = sorted(
            name
            for name in expected.keys() | results.keys()
            if results.get(name) != expected.get(name)
        )
        raise ReleaseError(
            f"The model-index of {CARD} differs from {bundle.METRICS} in {', '.join(differing)};"
            " render the card again."
        )
    if data.license is None or data.library_name != "keras":
        raise ReleaseError(
            f"The metadata of {CARD} must name a license and the library keras, got {data.license}"
            f" and {data.library_name}."
        )
    if spec.variant not in card:
        raise ReleaseError(
            f"{CARD} nowhere names the variant {spec.variant}; it belongs to another bundle."
        )
