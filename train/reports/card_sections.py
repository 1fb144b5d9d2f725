"""The sections of a model card that are written from a bundle's model spec and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pneumonia.architectures import CATALOGUE
from pneumonia.evidence import read_predictions, wilson
from pneumonia.model_spec import Estimate, Metrics, ModelSpec, OperatingPoint
from pneumonia.release import FIGURES
from train import recipes
from train.data.folds import HELD_OUT

TITLES = {
    "accuracy": "Accuracy",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "auc": "AUC (ROC)",
    "average_precision": "Average precision",
    "ece": "Expected calibration error",
    "brier": "Brier score",
}
_PICTURES = {
    "roc.png": "ROC curve on the test folder",
    "precision_recall.png": "Precision against recall on the test folder",
    "confusion.png": "Confusion matrix of the test folder",
    "calibration.png": "Observed frequency of pneumonia against the probability given, test folder",
    "training_curves.png": "Loss and accuracy over the epochs, training and validation",
}
# Below this many images an interval is wider than any difference one could want to see.
_FEW_IMAGES = 50
# What two server cores draw under load, in watts; an assumption, and the card says so.
_WATTS = 20
_RESULT_PICTURES = ("roc.png", "precision_recall.png", "confusion.png", "training_curves.png")
_SEED_IS_BLIND = (
    "This recipe repeats a published procedure, epochs and threshold included; no choice was made"
    " by its test figures."
)
_WHAT_IS_BLIND = (
    "Each seed's model was measured on the test folder, the bundled one on altered copies of it as"
    " well, and none of these figures chose anything. Not blind is the family of augmentation"
    " (crops, aspect, contrast, exposure): an early look with Xception that read that folder five"
    " times found it there."
)
_THE_DRAW_IS_NOT = (
    " Nor is it blind that unusual images are drawn more often: the rule which decided that was"
    " written when one Xception so trained had been measured there, and was worse than the one"
    " before. The rule used the train folder alone, and kept the draw."
)
# High and short of certain: where a reader would take a probability at its word.
_BAND = (0.8, 0.95)


def this_model(spec: ModelSpec) -> str:
    """What it is, takes and gives."""
    variant, (height, width) = CATALOGUE[spec.variant], spec.input_size
    points = [
        (point.name, f"{point.threshold:g}", _chosen_for(point)) for point in spec.operating_points
    ]
    facts = (
        ("Network", f"{variant.title}: {variant.summary}"),
        (
            "Input",
            (
                f"float32 `(N, {height}, {width}, 3)`, 0 to 255; grey, repeated to three channels,"
                " squeezed to size (bilinear, antialiased)"
            ),
        ),
        (
            "Output",
            (
                "`(N, 1)`, the probability of PNEUMONIA; divide its logit by the temperature"
                f" {spec.temperature:g} to calibrate it"
            ),
        ),
        ("Weights", f"stored as {spec.weights_dtype}; sha256 `{spec.weights_sha256}`"),
        (
            "Trained by",
            f"this project at commit `{spec.commit}`, with "
            + ", ".join(f"{name} {version}" for name, version in spec.versions.items()),
        ),
    )
    chosen = table(("Operating point", "Threshold", "Chosen for"), points)
    return (
        f"## This model\n\n{table(('', ''), facts)}\n\nA probability at or above the threshold is"
        f" called PNEUMONIA.\n\n{chosen}"
    )


def _chosen_for(point: OperatingPoint) -> str:
    if point.recall_target is None:
        return "fixed beforehand"
    return f"recall {point.recall_target:g} on held-out patients"


def how_to_use(spec: ModelSpec, name: str, *, on_hub: bool, space: str | None) -> str:
    """Three ways to run it; each snippet runs as printed."""
    (height, width), threshold, temperature = (
        spec.input_size,
        spec.default.threshold,
        spec.temperature,
    )
    source = f"hf://{name}" if on_hub else name
    # The clip is that of pneumonia.classifier.calibrated: a float32 sigmoid can be exactly 0 or 1.
    calibrate = (
        "# The model spec's temperature divides the logit.\n"
        "probability = min(max(probability, 1e-7), 1 - 1e-7)\n"
        f"probability = 1 / (1 + (1 / probability - 1) ** (1 / {temperature!r}))\n"
        * (temperature != 1)
    )
    address = f'"{space}"' if space else '"http://127.0.0.1:7860"'
    where = (
        "the Space"
        if space
        else "the page that `python app.py` opens; the name of a Space works as well"
    )
    return f"""## How to use it

With this project's class, in a checkout of the project after `pip install .`. It checks the weights, prepares the image, calibrates and knows the threshold:

```python
from pneumonia import PneumoniaClassifier

classifier = PneumoniaClassifier.from_pretrained("{name}")
prediction = classifier.predict("x.jpeg")
print(*prediction.warnings)  # why it is probably no frontal chest X-ray, so that the rest means nothing; mostly empty
print(prediction.label, prediction.probability, prediction.threshold)
```

With Keras alone; the network scales its input itself:

```python
import io

import keras
import numpy as np
from PIL import Image

model = keras.saving.load_model("{source}")
image = Image.open("x.jpeg").convert("L")
if image.size != (224, 224):  # a copy like those that the network learned from
    copy = io.BytesIO()
    image.resize((224, 224), Image.Resampling.BILINEAR).save(copy, "JPEG", quality=75)
    image = Image.open(copy)
image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)
batch = np.repeat(np.asarray(image, "float32")[np.newaxis, ..., np.newaxis], 3, axis=-1)
probability = float(model.predict(batch, verbose=0)[0, 0])
{calibrate}print("PNEUMONIA" if probability >= {threshold!r} else "NORMAL", probability)
```

From any other program, through the app ({where}):

```python
from gradio_client import Client, handle_file

client = Client({address})
print(client.predict(handle_file("x.jpeg"), "{spec.variant}", api_name="/predict"))
```"""


def training(spec: ModelSpec) -> str:
    """Recipe, command and data."""
    recipe = dict(spec.recipe)
    name, note, seconds = (
        recipe.get("name", "unnamed"),
        recipe.pop("note", ""),
        recipe.pop("training_seconds", None),
    )
    recipe.pop("variant", None)
    command = f'python -m train {spec.variant} --recipe {name} --data "$DATA"'
    if recipe.get("precision", "float32") != "float32":
        command += f" --precision {recipe['precision']}"
    if "seed" in recipe and recipe["seed"] != _seed(spec.variant, name):
        command += f" --seed {recipe['seed']}"
    if recipe.get("teacher_weight"):
        # Contracts of the rounds before did not say how many; theirs were ten.
        distillation = recipe.get("distillation", {})
        views = distillation.get("views", 10)
        marked = distillation.get("policy", {}).get("letters", recipes.VIEWS.letters)
        # Only the rounds before had other shares of letters than of margins, and theirs were fixed
        # in their own code.
        differs = marked != recipes.VIEWS.letters and marked == distillation["policy"].get(
            "collimate"
        )
        answered = f" --marked {marked:g}" if differs else ""
        answered += (
            f" --precision {distillation['precision']}"
            if distillation.get("precision", "float32") != "float32"
            else ""
        )
        command = (
            'python -m train distil assets/models/xception --data "$DATA" --out runs/pool --views'
            f" {views}{answered}\n{command} --pool runs/pool"
        )
    if re.fullmatch("[0-9a-f]{40}", spec.commit):
        # Since then recipes may have changed, and another Xception may have taken the teacher's
        # place.
        command = f"git worktree add ../then {spec.commit[:7]} && cd ../then\n{command}"
    # Whole, for the commands run in another folder.
    command = f'DATA="$PWD/chest_xray"\n{command}'
    taught = (
        " Its teacher is the Xception that stood in `assets/models` at that commit, not the one"
        " that may stand there now."
        if "distil" in command
        else ""
    )
    if taught and "precision" not in recipe.get("distillation", {}):
        taught += (
            " In which precision it answered is not recorded; in another, single answers are"
            " others, and so are the weights learned from them."
        )
    settings = table(
        ("Setting", "Value"),
        [(key, _plain(value)) for key, value in recipe.items() if value is not None],
    )
    took = (
        ""
        if seconds is None
        else (
            f" Its epochs took {_hours(seconds)} on two CPU cores; what comes before and after them"
            " is not counted."
        )
    )
    counts = spec.data.get("counts", {})
    used = "; ".join(
        f"{split}: " + ", ".join(f"{number:,} {label}" for label, number in labels.items())
        for split, labels in counts.items()
    )
    fingerprint = spec.data.get("fingerprint")
    data = f"\n\nImages found ({used})." if used else ""
    data += (
        f" Fingerprint of the files: `{fingerprint}`; `python -m train data` prints that of yours."
        if fingerprint
        else ""
    )
    repeated = (
        f"```bash\n{command}\n```\n\nrepeats it in a checkout of the project, with the data in its"
        f" folder `chest_xray` or where `DATA` says.{taught}{took}"
    )
    return "\n\n".join(filter(None, ("## Training", note, repeated, settings))) + data


def results(spec: ModelSpec, metrics: Mapping[str, Metrics], folder: Path) -> str:
    """Figures of both splits with their intervals, and the pictures that are there."""
    test, validation = metrics["test"], metrics["validation"]
    counts = test.counts
    ill, well = (
        counts["true_positive"] + counts["false_negative"],
        counts["true_negative"] + counts["false_positive"],
    )
    rows = [
        (TITLES[figure], interval(test.figures[figure]), interval(validation.figures[figure]))
        for figure in FIGURES
    ]
    figures = table(
        ("", f"Test ({test.images} images)", f"Validation ({validation.images} images)"), rows
    )
    if validation.images < _FEW_IMAGES:
        held = (
            f"Validation is the source's folder `{validation.split}` of {validation.images} images:"
            " too few to mean anything, as its intervals show."
        )
    else:
        held = (
            f"Validation is {validation.split}: {validation.images} images of patients that"
            " training did not see."
        )
    blind = (
        _SEED_IS_BLIND
        if spec.recipe.get("name") == "original"
        else _WHAT_IS_BLIND + _THE_DRAW_IS_NOT * bool(spec.recipe.get("nuisance_reweighting"))
    )
    target, kept = spec.default.recall_target, test.figures["recall"].value
    if target is None:
        chosen = (
            "The threshold was fixed beforehand and tuned on nothing; recall and specificity are"
            " what it happens to give."
        )
    else:
        chosen = (
            f"The threshold was chosen on validation for a recall of {target:g}; on the test folder"
            f" {kept:.3f} was kept."
        )
    return f"""## Results

At the threshold {test.threshold:g}, {counts["false_negative"]} of {ill} test images with pneumonia were missed and {counts["false_positive"]} of {well}
without it were called PNEUMONIA. {chosen} {held} {blind}

{figures}

In brackets: 95% intervals, Wilson's for rates, a bootstrap within each class for the rest. They cover the chance in the choice of these images, not
another hospital. `predictions_test.csv` has every probability, so that all of this can be recomputed.{_pictures(folder, _RESULT_PICTURES)}"""


def calibration(spec: ModelSpec, test: Metrics, folder: Path) -> str:
    """How far the probabilities are to be believed."""
    if spec.temperature == 1:
        temperature = "The probabilities are the network's own; no temperature was fitted."
    else:
        temperature = (
            f"The logits are divided by a temperature of {spec.temperature:.3g}, fitted on"
            " validation"
        )
        temperature += (
            ", on the X-rays as they are and on their corrupted copies together."
            if spec.recipe.get("validation") == HELD_OUT
            else "."
        )
    return f"""## Calibration

{temperature} On the test folder the expected calibration error is {interval(test.figures["ece"])} and the Brier score {interval(test.figures["brier"])}.
{_borne_out(folder)}Read a probability of 0.9 as a score beside the picture, not as nine chances in ten.{_pictures(folder, ("calibration.png",))}"""


def _borne_out(folder: Path) -> str:
    """How many of the test folder's images with a high probability had pneumonia after all; empty
    without its table or such images.
    """
    file = folder / "predictions_test.csv"
    if not file.is_file():
        return ""
    _, labels, probabilities = read_predictions(file)
    low, high = _BAND
    inside = (probabilities >= low) & (probabilities < high)
    if not inside.any():
        return ""
    count, ill, mean = int(inside.sum()), int(labels[inside].sum()), probabilities[inside].mean()
    least, most = wilson(ill, count)
    share = f"{ill / count:.0%} ({ill}; 95% interval {least:.0%} to {most:.0%})"
    return (
        f"Of the {count} test images with a probability of {low:g} to {high:g}, {mean:.2f} on"
        f" average, {share} were PNEUMONIA. "
    )


def cost(spec: ModelSpec) -> str:
    """What the training run took, from the seconds the run itself counted."""
    seconds = spec.recipe.get("training_seconds")
    if seconds is None:
        return (
            "## Environmental cost\n\nTrained on two CPU cores without a GPU; how long this run"
            " took was not recorded."
        )
    energy = seconds / 3600 * _WATTS / 1000
    teacher = "a teacher and its answers, " if spec.recipe.get("teacher_weight") else ""
    return f"""## Environmental cost

The epochs that made these weights took {_hours(seconds)} on two CPU cores, without a GPU. At an assumed {_WATTS} W for the two that is about {energy:.2g} kWh.
Not counted are {teacher}calibration, measuring, earlier tries and the other variants; where the electricity came from is not known."""


def _seed(variant: str, name: str) -> int | None:
    """The seed that a recipe of this project has; None for a recipe of another's."""
    try:
        return recipes.get(variant, name).seed
    except KeyError:
        return None


def _pictures(folder: Path, names: Iterable[str]) -> str:
    return "".join(
        f"\n\n![{_PICTURES[name]}]({name})" for name in names if (folder / name).is_file()
    )


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} hours"
        if seconds >= 5400
        else f"{max(1, round(seconds / 60))} minutes"
    )


def interval(figure: Estimate) -> str:
    """A figure as every table prints it."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, (list, tuple)):
        return " x ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
