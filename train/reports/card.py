"""The model card: prose that people wrote, and one block in it that is written from a bundle's
model spec and metrics.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.model_spec import Metrics, ModelSpec
from pneumonia.release import FIGURES, check_card, check_metrics
from train.reports import card_evidence as evidence
from train.reports import card_sections as sections

PROSE = Path(__file__).parents[2] / "model_card.md"
BEGIN, END = "<!-- begin generated: python -m train card -->", "<!-- end generated -->"

_DATASET, _DATASET_TITLE = (
    "hf-vision/chest-xray-pneumonia",
    "Chest X-Ray Images (Pneumonia), test folder",
)
# timm's port of the weights that keras.applications loads; Keras's own file has no repository on
# the Hub.
_BASE_MODELS = {"xception": "timm/legacy_xception.tf_in1k"}
_TAGS = ("keras", "tensorflow", "medical", "chest-x-ray", "radiology", "pneumonia", "pediatrics")


def render(
    folder: Path, repo: str | None = None, *, space: str | None = None, prose: Path = PROSE
) -> str:
    """The README.md that is published with a bundle.

    Args:
        folder: the bundle, with its metrics.
        repo: ``namespace/name`` it is published as; the examples load ``assets/models/<variant>``
            if None.
        space: ``namespace/name`` of a Space that runs the app; the examples call one on this
            machine if None.
        prose: the text around the generated block.

    Raises:
        ReleaseError: a metric is missing, or something is left over in the text.
        BundleError, ModelSpecError: the bundle cannot be read.
        ValueError: the prose has not exactly one block to fill.
    """
    spec = bundle.read_model_spec(folder)
    metrics = check_metrics(folder, spec)
    name = repo or f"assets/models/{spec.variant}"
    details = bundle.read_details(folder)
    block = (
        sections.this_model(spec),
        sections.how_to_use(spec, name, on_hub=repo is not None, space=space),
        sections.training(spec),
        sections.results(spec, metrics, folder),
        evidence.operating_points(spec, details),
        sections.calibration(spec, metrics["test"], folder),
        evidence.parts(details),
        evidence.robustness(spec, details, folder),
        evidence.seeds(folder),
        evidence.elsewhere(spec),
        sections.cost(spec),
    )
    body = fill(prose.read_text(encoding="utf-8"), "\n\n".join(filter(None, block)))
    # Straight under the title: the prose speaks of all three, and a reader wants to know which one
    # this is.
    title, _, rest = body.partition("\n")
    body = (
        f"{title}\n\n*This is the card of the variant `{spec.variant}`"
        f" ({CATALOGUE[spec.variant].title}).*\n{rest}"
    )
    card = f"---\n{_metadata(spec, metrics['test'], name).to_yaml()}\n---\n\n{body}"
    check_card(card, metrics, spec)
    return card


def overview(models: Path) -> str:
    """The block of the project's own ``model_card.md``: one row for each bundle under ``models``.

    Raises:
        ReleaseError: a bundle's metrics are missing.
        FileNotFoundError: there is no bundle.
    """
    rows = []
    for name in CATALOGUE:
        if (models / name).is_dir():
            spec = bundle.read_model_spec(models / name)
            test = check_metrics(models / name, spec)["test"]
            cells = (
                sections.interval(test.figures[figure])
                for figure in ("accuracy", "recall", "specificity", "auc")
            )
            rows.append((f"`{name}`", spec.recipe.get("name", ""), f"{test.threshold:g}", *cells))
    if not rows:
        raise FileNotFoundError(f"There is no bundle in {models}; expected {', '.join(CATALOGUE)}.")
    table = sections.table(
        ("Variant", "Recipe", "Threshold", "Accuracy", "Recall", "Specificity", "AUC"), rows
    )
    return (
        "## Results\n\nOn the 624 images of the test folder, with 95% intervals. Each model's own"
        f" card says more.\n\n{table}"
    )


def refresh(models: Path, prose: Path = PROSE, *, check: bool = False) -> bool:
    """Renews the block of ``model_card.md``; with ``check``, changes nothing and only says whether
    it is what the bundles say.

    Raises:
        ReleaseError, FileNotFoundError: see :func:`overview`.
        ValueError: the file has not exactly one block.
    """
    old = prose.read_text(encoding="utf-8")
    new = fill(old, overview(models), keep_markers=True)
    if not check and new != old:
        prose.write_text(new, encoding="utf-8")
    return new == old


def fill(text: str, block: str, *, keep_markers: bool = False) -> str:
    """Puts ``block`` where the generated block of ``text`` is.

    Raises:
        ValueError: there is not exactly one pair of markers.
    """
    found = re.findall(f"{re.escape(BEGIN)}.*?{re.escape(END)}", text, re.DOTALL)
    if len(found) != 1 or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(
            f"The card must have one block between {BEGIN!r} and {END!r}, found {len(found)}."
        )
    return text.replace(found[0], f"{BEGIN}\n{block}\n{END}" if keep_markers else block)


def _metadata(spec: ModelSpec, test: Metrics, name: str) -> ModelCardData:
    # A rate depends on the threshold, a ranking does not.
    ranked = ("auc", "average_precision", "ece", "brier")
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=_DATASET,
            dataset_name=_DATASET_TITLE,
            dataset_split="test",
            metric_type=FIGURES[figure],
            metric_name=sections.TITLES[figure],
            metric_value=measured.value,
            metric_args={"interval_95": [measured.low, measured.high]}
            | ({} if figure in ranked else {"threshold": test.threshold}),
        )
        for figure, measured in ((figure, test.figures[figure]) for figure in FIGURES)
    ]
    return ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="keras",
        pipeline_tag="image-classification",
        base_model=_BASE_MODELS.get(spec.variant),
        datasets=[_DATASET],
        metrics=[FIGURES[figure] for figure in FIGURES],
        tags=[*_TAGS, spec.variant],
        model_name=name.rpartition("/")[2],
        eval_results=results,
    )
