"""A model bundle on disk: Keras's own three files, the model spec, and nothing that could run code.

The layout is the one ``keras.saving.load_model("hf://namespace/name")`` reads, so a bundle works
without this project too; docs/hub.md has the table of files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pneumonia import familiarity, limits
from pneumonia.architectures import CATALOGUE
from pneumonia.forward import Network
from pneumonia.model_spec import Metrics, ModelSpec, ModelSpecError
from pneumonia.views import VIEWS

# Brought where a network is built or asked: what only reads a bundle's tables starts at once.
if TYPE_CHECKING:
    import h5py
    import keras

CONFIG, METADATA, WEIGHTS, MODEL_SPEC, METRICS = (
    "config.json",
    "metadata.json",
    "model.weights.h5",
    "model_spec.json",
    "metrics.json",
)
FAMILIARITY = "familiarity.npz"
# What MODEL_SPEC was called in bundles of schema 1; they still load.
LEGACY_SPEC = "contract.json"
# A line "sha256  name" for each file, as sha256sum writes it; bundles older than that have none.
CHECKSUMS = "SHA256SUMS"
# What prediction needs; the rest of a bundle is evidence.
NEEDED = (CONFIG, METADATA, WEIGHTS, MODEL_SPEC)
_SUM = re.compile(r"[0-9a-f]{64}  [\w. -]+")
# How far any probability may move when weights are stored as float16.
FLOAT16_TOLERANCE = 1e-3

# Every class that a builder of the catalogue writes into config.json. Anything else (Lambda, custom
# or registered objects) is refused before Keras sees it.
_ALLOWED_CLASSES = frozenset(
    "Functional Sequential InputLayer Rescaling Conv2D SeparableConv2D DepthwiseConv2D MaxPooling2D"
    " AveragePooling2D GlobalAveragePooling2D Flatten Dense Dropout Activation BatchNormalization"
    " Add Concatenate Normalization ReLU Softmax DTypePolicy GlorotUniform HeNormal Zeros Ones"
    " VarianceScaling L2 L1 L1L2 __keras_tensor__".split()
)


# Keys that newer versions of Keras write with a value that changes nothing, and that older ones
# refuse.
_DEFAULTS: Mapping[str, Any] = {
    "input_axes": None,
    "output_axes": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


class BundleError(ValueError):
    """A folder is no bundle this project can trust; the message says what is missing, altered or
    refused.
    """


def save(model: keras.Model, folder: Path, spec: ModelSpec, sample: np.ndarray) -> ModelSpec:
    """Writes ``config.json``, ``metadata.json``, ``model.weights.h5`` and ``model_spec.json``.

    Weights are stored as float16, half the download, if no probability of ``sample`` moves by
    :data:`FLOAT16_TOLERANCE`; otherwise as float32.

    Args:
        model: the network, in float32.
        folder: made if need be; these four files in it are replaced.
        spec: what the bundle says of them; its weights' sha256 and dtype are filled in here.
        sample: float32 ``(N, H, W, 3)``, 0 to 255, real images to measure the rounding on.

    Returns:
        The model spec as written.
    """
    from pneumonia.backend import keras

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = Path(scratch) / "model.keras"
        model.save(archive)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(scratch, members=[CONFIG, METADATA, WEIGHTS])
        exact, rounded = Path(scratch) / WEIGHTS, Path(scratch) / "rounded.weights.h5"
        _store_as_float16(exact, rounded)
        halved = keras.models.clone_model(model)
        halved.load_weights(rounded)
        moved = float(np.max(np.abs(probabilities(model, sample) - probabilities(halved, sample))))
        dtype = "float16" if moved < FLOAT16_TOLERANCE else "float32"
        chosen = rounded if dtype == "float16" else exact
        spec = replace(spec, weights_sha256=sha256(chosen), weights_dtype=dtype)
        for source, name in (
            (Path(scratch) / CONFIG, CONFIG),
            (Path(scratch) / METADATA, METADATA),
            (chosen, WEIGHTS),
        ):
            shutil.move(source, folder / name)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(without_defaults(config)), encoding="utf-8")
    (folder / CHECKSUMS).unlink(missing_ok=True)
    (folder / MODEL_SPEC).write_text(spec.to_json())
    return spec


def copy(source: Path, folder: Path) -> None:
    """Copies a bundle's files, byte for byte; all of them or, where that fails, none.

    Raises:
        OSError: they cannot be written; the message says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            for path in source.iterdir():
                if path.is_file():
                    shutil.copyfile(path, Path(scratch) / path.name)
            for path in list(Path(scratch).iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror or error}.") from error


def load(folder: Path) -> tuple[keras.Model, ModelSpec]:
    """Reads a bundle, after checking that it is whole, unaltered and made of nothing but known
    layers.

    Raises:
        BundleError: a file is missing, the weights' sha256 is not the model spec's, or
            ``config.json`` names a class that is not allowed.
        ModelSpecError: ``model_spec.json`` is not valid.
    """
    spec = read_model_spec(folder)
    if lacking := missing(path.name for path in folder.iterdir()):
        raise BundleError(f"{folder} is no model bundle: it lacks {', '.join(lacking)}.")
    if changed := find_altered(folder):
        # Nothing renews the weights' sha256 but writing the bundle anew.
        renew = (
            ""
            if WEIGHTS in changed
            else f", or renew {CHECKSUMS} after your own edit with python -m train card"
        )
        raise BundleError(
            f"{', '.join(changed)} in {folder} {'is' if len(changed) == 1 else 'are'} not what the"
            f" bundle's sha256 says, so it is damaged or edited; download it again{renew}."
        )
    config = read_config(folder)
    from pneumonia.backend import keras

    try:
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        model.load_weights(folder / WEIGHTS)
    # Whatever Keras raises here means that the three files do not belong together.
    except Exception as error:
        raise BundleError(
            f"{folder} cannot be loaded: {CONFIG} and {WEIGHTS} do not fit together"
            f" ({type(error).__name__})."
        ) from error
    expected = (None, *spec.input_size, 3)
    if model.input_shape != expected or model.output_shape != (None, 1):
        raise BundleError(
            f"{folder}: the network maps {model.input_shape} to {model.output_shape}, expected"
            f" {expected} to (None, 1)."
        )
    return model, spec


def read_familiarity(folder: Path) -> familiarity.Familiarity | None:
    """What tells a bundle's foreign X-rays; None where it has none.

    Raises:
        BundleError: it is damaged.
    """
    file = folder / FAMILIARITY
    if not file.is_file():
        return None
    try:
        return familiarity.read(file)
    except ValueError as error:
        raise BundleError(f"{folder}: {error}") from error


def missing(names: Iterable[str]) -> list[str]:
    """What prediction needs and ``names`` has not."""
    there = set(names)
    return [
        name
        for name in NEEDED
        if name not in there and not (name == MODEL_SPEC and LEGACY_SPEC in there)
    ]


def find_altered(folder: Path) -> list[str]:
    """The files that prediction or its evidence reads and whose bytes are not those of
    ``SHA256SUMS`` or, for the weights, of the model spec; empty where all is well.

    Raises:
        ModelSpecError, BundleError: there is no model spec that can be read.
    """
    sums = {}
    if (folder / CHECKSUMS).is_file():
        text = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")
        sums = {line[66:]: line[:64] for line in lines}
        if lines.pop() or not all(_SUM.fullmatch(line) for line in lines):
            return [CHECKSUMS]
        if any(name not in sums for name in NEEDED if (folder / name).is_file()):
            return [CHECKSUMS]
    found = [
        name
        for name in (*NEEDED, METRICS, FAMILIARITY)
        if name in sums and (folder / name).is_file() and sha256(folder / name) != sums[name]
    ]
    # Without it a model would answer for any picture as if it knew it.
    if FAMILIARITY in sums and not (folder / FAMILIARITY).is_file():
        found.append(FAMILIARITY)
    # The spec of a damaged file need not be readable, and says nothing then.
    if not found and (folder / WEIGHTS).is_file():
        expected = read_model_spec(folder).weights_sha256
        if sums.get(WEIGHTS, sha256(folder / WEIGHTS)) != expected:
            found = [WEIGHTS]
    return found


def sums(folder: Path) -> str:
    """What ``SHA256SUMS`` says of every other file of a finished bundle."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.name != CHECKSUMS and not path.name.startswith(".")
    )
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names)


def seal(folder: Path) -> None:
    """Writes ``SHA256SUMS``, the last step of making a bundle."""
    (folder / CHECKSUMS).write_text(sums(folder), encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Whether ``SHA256SUMS`` is there and says what is so of every file."""
    file = folder / CHECKSUMS
    return file.is_file() and file.read_text(encoding="utf-8", errors="replace") == sums(folder)


def check_size(config: Mapping[str, Any], input_size: tuple[int, int]) -> None:
    """Measures a network before it is built.

    Raises:
        BundleError: it is too large, or its input is not the model spec's.
    """
    try:
        limits.measure(config)
    except limits.TooLarge as error:
        raise BundleError(f"{CONFIG} asks for a network that is not built here: {error}.") from None
    shape = next(
        (
            layer["config"].get("batch_shape")
            for layer in config["config"]["layers"]
            if layer["class_name"] == "InputLayer"
        ),
        None,
    )
    if shape != [None, *input_size, 3]:
        raise BundleError(
            f"{CONFIG} has an input of {shape}, expected {[None, *input_size, 3]} as in the model"
            " spec."
        )


def without_defaults(config: Any) -> Any:
    """A configuration without the keys that Keras 3.8 does not know, where their value is the
    default.
    """
    if isinstance(config, dict):
        return {
            key: without_defaults(value)
            for key, value in config.items()
            if not (key in _DEFAULTS and value == _DEFAULTS[key])
        }
    return [without_defaults(value) for value in config] if isinstance(config, list) else config


def spec_file(folder: Path) -> Path:
    """Where a bundle's model spec is: ``model_spec.json``, or ``contract.json`` of schema 1."""
    legacy = folder / LEGACY_SPEC
    return (
        legacy if legacy.is_file() and not (folder / MODEL_SPEC).is_file() else folder / MODEL_SPEC
    )


def read_model_spec(folder: Path) -> ModelSpec:
    """Reads ``model_spec.json`` alone.

    Raises:
        BundleError: there is none.
        ModelSpecError: it is not valid.
    """
    file = spec_file(folder)
    if not file.is_file():
        raise BundleError(f"{folder} is no model bundle: it lacks {MODEL_SPEC}.")
    try:
        spec = ModelSpec.from_json(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ModelSpecError(f"{file} is no UTF-8 text.") from None
    if unknown := [name[:40] for name in spec.views if name not in VIEWS]:
        raise ModelSpecError(
            f"{file} asks for the view {unknown[0]!r}, which this library does not know; update it."
        )
    return spec


def read_config(folder: Path) -> dict[str, Any]:
    """Reads ``config.json`` as plain data; nothing in it is built or run.

    Raises:
        BundleError: it is no JSON object, or names a class that no network of this project has.
    """
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    # Brackets nested a thousand deep end the parser's recursion.
    except (ValueError, RecursionError):
        raise BundleError(f"{file} is no JSON.") from None
    if not isinstance(config, dict):
        raise BundleError(f"{file} must hold an object, got {type(config).__name__}.")
    for node in _objects(config):
        name, module, registered = (
            node.get("class_name"),
            node.get("module"),
            node.get("registered_name"),
        )
        foreign = module is not None and module != "keras" and not str(module).startswith("keras.")
        # Keras writes its own Functional and Sequential with a registered name equal to the class
        # name.
        if (
            not isinstance(name, str)
            or name not in _ALLOWED_CLASSES
            or foreign
            or registered not in (None, name)
        ):
            raise BundleError(
                f"{file} asks for {module or ''}.{name}, which no network of this project has; it"
                " is not loaded."
            )
    # Training settings are none of prediction's business, and one thing less to deserialise.
    config.pop("compile_config", None)
    return config


def read_metrics(folder: Path) -> dict[str, Metrics]:
    """The entries of ``metrics.json``, ``validation`` and ``test``; empty where there is no file: a
    bundle predicts without its evidence.

    Raises:
        ModelSpecError: the file is there but cannot be read.
    """
    values = _metrics_file(folder)
    try:
        return {
            name: Metrics.from_dict(values[name])
            for name in ("validation", "test")
            if name in values
        }
    except (ValueError, TypeError) as error:
        raise ModelSpecError(f"{folder / METRICS} is no metrics file: {error}") from None


def write_metrics(
    folder: Path,
    metrics: Mapping[str, Metrics],
    spec: ModelSpec,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``metrics.json``, bound to the weights it was measured on by their sha256; ``details``
    is further plain JSON, see :func:`read_details`.
    """
    values = {
        "schema": 1,
        "variant": spec.variant,
        "weights_sha256": spec.weights_sha256,
        **{name: asdict(entry) for name, entry in metrics.items()},
    }
    (folder / METRICS).write_text(
        json.dumps(values | ({"details": details} if details else {}), indent=2) + "\n"
    )


def read_details(folder: Path) -> dict[str, Any]:
    """What ``metrics.json`` says beyond its two entries; empty where it says no more, as in bundles
    older than that.

    ``operating_points``: by name, ``validation`` and ``test``, each as :meth:`Metrics.from_dict`
    reads it, with the rates alone. ``parts``: the test folder's ``bacteria``, ``virus``, ``without
    duplicates`` and ``by patient``, likewise. ``uncertain``: how many test ``images`` lie within
    the model spec's uncertainty of the default threshold, how many of them are ``wrong``, and how
    many others are, ``wrong_elsewhere``. ``corruptions``: AUC, recall and specificity on validation
    under each, at the default threshold. ``folds``, where the thresholds rest on all of them: what
    each fold's network does at the default threshold on the patients it did not learn from, the
    bundle's own first: ``patients`` with pneumonia, ``temperature``, ``auc``, ``recall`` and
    ``specificity``.

    Raises:
        ModelSpecError: the file is there but cannot be read.
    """
    try:
        return dict(_metrics_file(folder).get("details", {}))
    except (ValueError, TypeError) as error:
        raise ModelSpecError(f"{folder / METRICS} is no metrics file: {error}") from None


def check_agreement(folder: Path, spec: ModelSpec) -> None:
    """Checks that a bundle's model spec is the one its figures were measured with and its network
    was built for: an edited one would answer otherwise than the card says.

    Raises:
        BundleError: they differ in variant, weights or a threshold; the message says where.
        ModelSpecError: ``metrics.json`` cannot be read.
    """
    built = read_config(folder).get("config", {}).get("name")
    if built in CATALOGUE and spec.variant in CATALOGUE and built != spec.variant:
        raise BundleError(
            f"{folder}: the model spec says that the network is {spec.variant}, {CONFIG} that it is"
            f" {built}; they belong to two bundles."
        )
    values = _metrics_file(folder)
    said: dict[str, tuple[Any, Any]] = {
        "variant": (values.get("variant", spec.variant), spec.variant),
        "weights_sha256": (values.get("weights_sha256", spec.weights_sha256), spec.weights_sha256),
    }
    for name, entry in read_metrics(folder).items():
        said[f"default threshold ({name})"] = (entry.threshold, spec.default.threshold)
    try:
        points = values.get("details", {}).get("operating_points", {})
        for point in spec.operating_points:
            for name, figures in points.get(point.name, {}).items():
                said[f"{point.name} threshold ({name})"] = figures["threshold"], point.threshold
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelSpecError(
            f"{folder / METRICS} is no metrics file: {type(error).__name__} {error}"
        ) from None
    if wrong := [
        f"{name} {there} in {METRICS} and {here} in the model spec"
        for name, (there, here) in said.items()
        if there != here
    ]:
        raise BundleError(
            f"{folder} contradicts itself: {', '.join(wrong)}. Either was edited; take the bundle"
            " anew, or measure it again with python -m train evaluate."
        )


def _metrics_file(folder: Path) -> dict[str, Any]:
    file = folder / METRICS
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelSpecError(f"{file} is no metrics file: {error}") from None
    if not isinstance(values, dict):
        raise ModelSpecError(
            f"{file} is no metrics file: it must hold an object, got {type(values).__name__}"
        )
    return values


def probabilities(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """The network's own probability of PNEUMONIA, float64 ``(N,)``, for float32 ``(N, H, W, 3)``, 0
    to 255.

    Compiled anew a call: whoever asks more than once keeps a :class:`pneumonia.forward.Network`.
    """
    return Network(model)(images, batch_size)


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _store_as_float16(source: Path, target: Path) -> None:
    import h5py

    # A weight beyond float16's 65504 becomes infinite; the measurement that follows sees it.
    with np.errstate(over="ignore"), h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name: str, node: h5py.Group | h5py.Dataset) -> None:
            if isinstance(node, h5py.Dataset):
                copied = new.create_dataset(
                    name, data=node[()].astype(np.float16) if node.dtype == np.float32 else node[()]
                )
            else:
                copied = new.require_group(name)
            for key, value in node.attrs.items():
                copied.attrs[key] = value

        for key, value in old.attrs.items():
            new.attrs[key] = value
        old.visititems(copy)


def _objects(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if "class_name" in node:
            yield node
        for value in node.values():
            yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)
