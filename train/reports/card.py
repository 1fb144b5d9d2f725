"""The model card: the prose of ``model_card.md``, shared by all models, and three blocks in it that
are written from a bundle.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from pneumonia import bundle
from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import PREDICTIONS, outcome, read_result
from pneumonia.model_spec import Metrics, ModelSpec
from pneumonia.release import FIGURES, check_card, check_metrics
from train.data.folds import HELD_OUT
from train.evaluation import robustness_plot
from train.reports import compare, robustness_report, tables
from train.reports.markdown import figure, fill, per_hundred, table

PROSE = Path(__file__).parents[2] / "model_card.md"
TITLES = {
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "auc": "AUC (ROC)",
    "precision": "Precision",
    "f1": "F1",
    "average_precision": "Average precision",
    "ece": "Expected calibration error",
    "brier": "Brier score",
}
_DATASET = "hf-vision/chest-xray-pneumonia"
# The first Keras that holds the layers of all variants; make oldest asks it.
OLDEST_KERAS = "3.8.0"
_TAGS = ("keras", "tensorflow", "medical", "chest-x-ray", "radiology", "pneumonia", "pediatrics")
# Assumptions of the emission estimate, which the card names: two server cores under load, and the
# world's average electricity of 2023 (Ember).
_WATTS, _GRAMS_A_KWH = 20, 480


def render(
    folder: Path,
    repo: str | None = None,
    *,
    space: str | None = None,
    code: str | None = None,
    prose: Path = PROSE,
) -> str:
    """The README.md that is published with a bundle.

    Args:
        folder: the bundle, with its metrics.
        repo: ``namespace/name`` it is published as; the examples load ``assets/models/<variant>``
            if None.
        space: ``namespace/name`` of a Space that runs the app; the examples call one on this
            machine if None.
        code: address of the project's repository, to which links of a published card lead; without
            it they are plain names.
        prose: the shared text.

    Raises:
        ReleaseError: a metric is missing, or something is left over in the text.
        BundleError, ModelSpecError: the bundle cannot be read, or the prose lacks its blocks.
    """
    spec = bundle.read_model_spec(folder)
    metrics = check_metrics(folder, spec)
    name = repo or f"assets/models/{spec.variant}"
    blocks = {
        "results": _results(folder, spec, metrics),
        "usage": _usage(spec, name, on_hub=repo is not None, space=space, code=code),
        "training": _training(spec),
    }
    text = fill(prose.read_text(encoding="utf-8"), blocks, keep_markers=False)
    heading, _, rest = text.partition("\n")
    text = f"{heading}: {CATALOGUE[spec.variant].title}\n{rest}"
    card = f"---\n{_metadata(spec, metrics['test'], name).to_yaml()}\n---\n\n{text}"
    card = _fix_links(card, code if repo else "../../..", on_hub=repo is not None)
    check_card(card, metrics, spec)
    return card


def refresh(models: Path, prose: Path = PROSE, *, check: bool = False) -> bool:
    """Renews the blocks of ``model_card.md`` itself; with ``check``, changes nothing and only says
    whether they are what the bundles say.

    Raises:
        BundleError: there is no bundle, or the file lacks its blocks.
    """
    names = [name for name in CATALOGUE if (models / name).is_dir()]
    cards = ", ".join(f"[{name}](assets/models/{name}/README.md)" for name in names)
    blocks = {
        "results": tables.models(compare.collect(models, models / "none")),
        "usage": f"Each model's card has lines to copy: {cards}.",
        "training": f"Each model's card has its recipe and command: {cards}.",
    }
    old = prose.read_text(encoding="utf-8")
    new = fill(old, blocks)
    if not check and new != old:
        prose.write_text(new, encoding="utf-8")
    return new == old


def _results(folder: Path, spec: ModelSpec, metrics: dict[str, Metrics]) -> str:
    test, validation = metrics["test"], metrics["validation"]
    counts = test.counts
    images, recall, specificity = (
        tables.images_of(test),
        test.figures["recall"],
        test.figures["specificity"],
    )
    people = (
        f"- It missed {counts['false_negative']} of {images['recall']} X-rays with pneumonia:"
        f" {per_hundred(1 - recall.value)} in 100"
        f" (95% interval {per_hundred(1 - recall.high)} to {per_hundred(1 - recall.low)}).\n"
        f"- It raised {counts['false_positive']} false alarms in {images['specificity']} X-rays"
        f" without: {per_hundred(1 - specificity.value)} in 100"
        f" ({per_hundred(1 - specificity.high)} to {per_hundred(1 - specificity.low)})."
    )
    if worth := tables.alarms(CATALOGUE[spec.variant].title, test):
        people += f"\n- {worth}"
    rows = [
        (title, figure(test.figures[name], name), figure(validation.figures[name], name))
        for name, title in TITLES.items()
    ]
    where = (
        "held-out training patients"
        if validation.split == HELD_OUT
        else f"folder {validation.split}"
    )
    head = ("", f"test folder, {test.images} X-rays", f"{where}, {validation.images} X-rays")
    found = robustness_report.of_bundle(folder, spec)
    rest = [
        f"Measured on the test folder, at the threshold {test.threshold:.4g}:",
        people,
        _picture(folder, "roc.png", "ROC curve on the test folder"),
        table(head, rows),
        "Quote the test column. The other flatters: the threshold was chosen there, and its healthy"
        " children are framed like those learned from."
        if validation.split == HELD_OUT
        else "Quote the test column. The threshold was fixed beforehand.",
        "A probability at or above the threshold is called PNEUMONIA."
        + " `predict(image, operating_point=NAME)` takes another, chosen on held-out patients:"
        * (len(spec.operating_points) > 1),
        _operating_points(folder, spec) if len(spec.operating_points) > 1 else "",
        _borne_out(folder),
        robustness_report.lungs(found) if found and not found.limit else "",
        _picture(folder, robustness_plot.PICTURE_NAME, "AUC, recall and specificity when"
                 " pictures are altered"),
    ]  # fmt: skip
    return "\n\n".join(filter(None, rest))


def _operating_points(folder: Path, spec: ModelSpec) -> str:
    """What each was chosen for and, where the test folder's answers are kept, what it gave."""
    points = tables.points(spec)
    if not (folder / PREDICTIONS).is_file():
        return table(tables.POINTS, (cells for _, cells in points))
    _, labels, probabilities = tables.test_table(read_result(folder, bundled=True))
    seen = [outcome(labels, probabilities, point.threshold) for point, _ in points]
    return table(
        (
            *tables.POINTS,
            f"missed, of {seen[0].ill} test X-rays",
            f"false alarms, of {seen[0].healthy}",
        ),
        (
            (*cells, one.missed, one.false_alarms)
            for (_, cells), one in zip(points, seen, strict=True)
        ),
    )


def _borne_out(folder: Path) -> str:
    """How many of the test folder's images with a high probability are PNEUMONIA."""
    if not (folder / PREDICTIONS).is_file():
        return ""
    inside, ill = tables.in_band(read_result(folder, bundled=True))
    if not inside:
        return ""
    low, high = tables.BAND
    return (
        f"Read a probability as a score, not as a chance. Of {inside} test X-rays given"
        f" {low:.0%} to {high:.0%}, {ill} show pneumonia."
    )


def _usage(spec: ModelSpec, name: str, *, on_hub: bool, space: str | None, code: str | None) -> str:
    """Three ways to run it; each snippet runs as printed."""
    (height, width), single = spec.input_size, spec.single_view
    # Keras alone sees the picture as it is, without the other views.
    plain = single.operating_points if single else spec.operating_points
    threshold = next(point.threshold for point in plain if point.name == "default")
    temperature = single.temperature if single else spec.temperature
    keras = spec.versions.get("keras", "3")
    one_of = (
        f" The library averages {len(spec.views)} versions of a picture; this reads one, with a"
        " temperature and a threshold of its own. The figures above are for the average."
    )
    one_of = one_of if len(spec.views) > 1 else ""
    install = f'pip install "git+{code}"' if on_hub and code else "pip install ."
    where = "" if on_hub and code else ", in a checkout of the project"
    # The clip is that of pneumonia.classifier.apply_temperature: a float32 sigmoid can be exactly
    # 0 or 1.
    calibrate = (
        "probability = min(max(probability, 1e-7), 1 - 1e-7)  # calibrate\n"
        f"probability = 1 / (1 + (1 / probability - 1) ** (1 / {temperature!r}))\n"
        * (temperature != 1)
    )
    return f"""**With the library** (`{install}`{where}; trained with Keras {keras}). It checks the
picture and the weights, prepares the image and calibrates the answer.

```python
from pneumonia import PneumoniaClassifier

classifier = PneumoniaClassifier.from_pretrained("{name}")
prediction = classifier.predict("X-RAY.jpeg")
print(*prediction.warnings)  # nothing, unless the picture is unusual
print(prediction.label, prediction.probability, prediction.threshold)
```

**With Keras alone** (`pip install "keras>={OLDEST_KERAS}" tensorflow huggingface_hub pillow`;
tried with Keras {OLDEST_KERAS} and {keras}). Keras checks no picture.{one_of}

```python
import io

import keras
import numpy as np
from PIL import Image

model = keras.saving.load_model("{"hf://" if on_hub else ""}{name}")
image = Image.open("X-RAY.jpeg").convert("L")
if image.size != (224, 224):  # a copy like those of the training data
    copy = io.BytesIO()
    image.resize((224, 224), Image.Resampling.BILINEAR).save(copy, "JPEG", quality=75)
    image = Image.open(copy)
image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)
batch = np.repeat(np.asarray(image, "float32")[None, ..., None], 3, axis=-1)  # 0 to 255
probability = float(model.predict(batch, verbose=0)[0, 0])
{calibrate}print("PNEUMONIA" if probability >= {threshold!r} else "NORMAL", probability)
```

**From another program** (`pip install gradio_client`), through
{"the Space" if space else "the app that `make demo` starts"}:

```python
from gradio_client import Client, handle_file

client = Client("{space or "http://127.0.0.1:7860"}")
print(client.predict(handle_file("X-RAY.jpeg"), "{spec.variant}", api_name="/predict"))
```"""


def _training(spec: ModelSpec) -> str:
    variant, recipe = CATALOGUE[spec.variant], spec.recipe
    (height, width), seconds = spec.input_size, recipe.get("training_seconds")
    versions = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
    learned = recipe.get("note") or f"recipe `{recipe.get('name', 'unnamed')}`"
    facts = [
        ("network", variant.summary),
        ("input", f"float32 `(N, {height}, {width}, 3)`, 0 to 255, grey in three channels"),
        ("output", f"`(N, 1)`, probability of PNEUMONIA; temperature {spec.temperature:g}"),
        ("versions of a picture", f"{', '.join(spec.views)}; their logits are averaged"),
        ("weights", f"{spec.weights_dtype}, sha256 `{spec.weights_sha256}`"),
        ("recipe", learned),
        ("epochs, precision", f"{recipe.get('epoch', '')}, {recipe.get('precision', 'float32')}"),
        ("code and packages", f"commit `{spec.commit}`; {versions}"),
        ("data", f"fingerprint `{spec.data.get('fingerprint', 'unknown')}`"),
    ]
    # A student needs its teachers' answers first, which the pipeline makes.
    taught = bool(recipe.get("teacher_weight"))
    if seconds is not None:
        uncounted = "; its teachers' time is not counted" if taught else ""
        hardware = _hardware(spec)
        facts.append(("time", f"{_hours(seconds)} for these epochs, on {hardware}{uncounted}"))
        # What a GPU draws was not assumed.
        if "GPU" not in hardware:
            said = f"for these epochs: {_WATTS} W assumed, {_GRAMS_A_KWH} g/kWh"
            facts.append(("CO2, estimated", f"{_grams(seconds):.1f} g {said}"))
    command = f"fit {spec.variant} --recipe {recipe.get('name', 'improved')}"
    command = "pipeline" if taught else command
    if (precision := recipe.get("precision", "float32")) != "float32":
        command += f" --precision {precision}"
    return (
        f"{table(('', ''), facts)}\n\nTo repeat it in a checkout (`pip install -e"
        ' ".[train]"`), with the data in `chest_xray`:'
        f"\n\n```bash\npython -m train {command} --data chest_xray\n```"
    )


def _metadata(spec: ModelSpec, test: Metrics, name: str) -> ModelCardData:
    # A rate depends on the threshold, a ranking does not.
    ranked = ("auc", "average_precision", "ece", "brier")
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=_DATASET,
            dataset_name="Chest X-Ray Images (Pneumonia), test folder",
            dataset_split="test",
            metric_type=FIGURES[key],
            metric_name=TITLES[key],
            metric_value=measured.value,
            metric_args={"interval_95": [measured.low, measured.high]}
            | ({} if key in ranked else {"threshold": test.threshold}),
        )
        for key, measured in ((key, test.figures[key]) for key in FIGURES)
    ]
    seconds = spec.recipe.get("training_seconds")
    emissions: dict[str, Any] = {}
    if seconds is not None and "GPU" not in _hardware(spec):
        emissions["co2_eq_emissions"] = {
            "emissions": round(_grams(seconds), 1),
            "source": f"estimated: training seconds x {_WATTS} W assumed x {_GRAMS_A_KWH} g/kWh",
            "training_type": "fine-tuning" if spec.recipe.get("pretrained") else "pre-training",
            "hardware_used": _hardware(spec),
        }
    return ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="keras",
        pipeline_tag="image-classification",
        datasets=[_DATASET],
        metrics=list(FIGURES.values()),
        tags=[*_TAGS, spec.variant],
        model_name=name.rpartition("/")[2],
        eval_results=results,
        **emissions,
    )


def _fix_links(card: str, base: str | None, *, on_hub: bool) -> str:
    """The prose's links into the project, made right for where the card stands."""
    if base is None:
        # Nobody said where the code is: names remain, links would lead nowhere.
        return re.sub(r"\[([^\]]+)\]\(((?:docs|assets)/[^)]+)\)", r"\1 (`\2` of the project)", card)
    root = f"{base.rstrip('/')}/blob/main" if on_hub else base
    return re.sub(r"\]\(((?:docs|assets)/[^)]+)\)", rf"]({root}/\1)", card)


def _picture(folder: Path, name: str, title: str) -> str:
    return f"![{title}]({name})" if (folder / name).is_file() else ""


def _hardware(spec: ModelSpec) -> str:
    return str(spec.recipe.get("hardware", "two CPU cores"))


def _grams(seconds: float) -> float:
    return seconds / 3.6e6 * _WATTS * _GRAMS_A_KWH


def _hours(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{seconds / 3600:.1f} hours" if minutes >= 90 else f"{minutes} minutes"
