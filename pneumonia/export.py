"""A model in the format of another runtime, written by Keras and checked against the original.

>>> export(classifier, "onnx", Path("exported")).largest_difference
1.1920928955078125e-07

What is exported is the network alone: float32 ``(N, H, W, 3)``, 0 to 255, to the probability of
PNEUMONIA before any temperature, ``(N, 1)``. How a picture becomes such an input, the temperature
and the thresholds stand in the model spec, which is written beside it.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pneumonia import bundle, radiograph
from pneumonia.forward import Network
from pneumonia.model_spec import ModelSpec
from pneumonia.quiet import stderr_aside

if TYPE_CHECKING:
    import keras

# What each format's file or folder is called, and the packages that write and check it.
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "saved_model": "saved_model"}
_KERAS_NAMES = {"saved_model": "tf_saved_model"}
_NEEDED = {"onnx": ("tf2onnx", "onnxruntime")}
# How far a probability may move; thresholds are given to three digits.
TOLERANCE = 1e-3
# The examples of a checkout; what is installed without them is checked on drawn pictures.
EXAMPLES = Path(__file__).resolve().parent.parent / "assets" / "examples"


class ExportError(ValueError):
    """A model was not exported; the message says why, and what to do about it."""


class Exportable(Protocol):
    """What is asked of a :class:`pneumonia.PneumoniaClassifier` here."""

    model: keras.Model
    network: Network
    spec: ModelSpec

    def inputs(self, pictures: Sequence[radiograph.Radiograph]) -> np.ndarray:
        """float32 ``(N, H, W, 3)``, as the network takes them."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how well it agrees.

    Attributes:
        path: the file or folder; ``model_spec.json`` lies beside it.
        format: one of :data:`FILES`.
        pictures: how many both networks were asked about.
        largest_difference: between their probabilities on any of these.
    """

    path: Path
    format: str
    pictures: int
    largest_difference: float


def export(
    classifier: Exportable,
    format: str,
    out: Path,
    pictures: Sequence[radiograph.Source] | None = None,
) -> Exported:
    """Writes a model and its spec into a folder, once it has answered as the original does.

    Args:
        classifier: whose network.
        format: ``onnx``, ``litert`` or ``saved_model``.
        out: the folder; made if need be. What an earlier export left there is replaced.
        pictures: to ask both about; the examples of the project if None, or drawn pictures where
            it came without them.

    Raises:
        ExportError: there is no such format, a package is missing, or a probability differs by
            more than :data:`TOLERANCE`; then nothing is left in ``out``.
        UnreadableImage: one of the pictures cannot be read.
    """
    if format not in FILES:
        raise ExportError(f"The format must be one of {', '.join(FILES)}, got {format!r}.")
    _require(format)
    asked = classifier.inputs([radiograph.read(one) for one in pictures or _examples()])
    # Before it is exported, too: Keras exports no network that was never asked.
    expected = classifier.network(asked)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        made = Path(scratch) / FILES[format]
        # Converters talk on stderr even where they are told to be quiet.
        with stderr_aside(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            classifier.model.export(made, format=_KERAS_NAMES.get(format, format), verbose=False)
            found = _RUNNERS[format](made, asked)
        difference = float(np.max(np.abs(found - expected)))
        # Not a number compares as neither.
        if not difference <= TOLERANCE:
            raise ExportError(
                f"The exported network's answers differ by up to {difference:.2g} and at most"
                f" {TOLERANCE:g} is allowed; nothing was written."
            )
        target = out / FILES[format]
        if target.is_dir():
            shutil.rmtree(target)
        made.replace(target)
    (out / bundle.MODEL_SPEC).write_text(classifier.spec.to_json(), encoding="utf-8")
    return Exported(target, format, len(asked), difference)


def _require(format: str) -> None:
    for package in _NEEDED.get(format, ()):
        try:
            __import__(package)
        except ImportError:
            raise ExportError(
                f"Exporting to {format} needs {' and '.join(_NEEDED[format])}:"
                ' pip install ".[export]" in the checkout.'
            ) from None


def _examples() -> list[radiograph.Source]:
    found: list[radiograph.Source] = [*sorted(EXAMPLES.glob("*.jpeg"))]
    if found:
        return found
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 14, 14), dtype=np.uint8)
    return [np.kron(one, np.ones((16, 16), np.uint8)) for one in coarse]


def _onnx(file: Path, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0][:, 0]


def _litert(file: Path, images: np.ndarray) -> np.ndarray:
    from pneumonia.backend import tf

    interpreter = tf.lite.Interpreter(str(file))
    given, answer = (
        described[0]["index"]
        for described in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    answers = []
    for image in images:
        interpreter.resize_tensor_input(given, (1, *image.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(given, image[np.newaxis])
        interpreter.invoke()
        answers.append(float(interpreter.get_tensor(answer)[0, 0]))
    return np.array(answers)


def _saved_model(folder: Path, images: np.ndarray) -> np.ndarray:
    from pneumonia.backend import tf

    # Held by a name: its variables go when it goes.
    loaded = tf.saved_model.load(str(folder))
    return loaded.serve(tf.constant(images)).numpy()[:, 0]


_RUNNERS: dict[str, Callable[[Path, np.ndarray], np.ndarray]] = {
    "onnx": _onnx,
    "litert": _litert,
    "saved_model": _saved_model,
}
