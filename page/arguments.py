"""What programs may ask for: every argument of every endpoint is checked here, once, before any
file is touched.
"""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from page import uploads
from page.archive import MOST
from page.served import Models
from pneumonia import explain

# Channels that /activations can return.
MOST_CHANNELS = 64

Check = Callable[[Models, str, Any, dict[str, Any]], Any]


def check_arguments(models: Models, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function for strangers: an argument that is null stands for its default, and one of
    a wrong type or value is refused with a sentence that says what was expected.

    What an argument may be depends on its name, see :data:`CHECKS`; an endpoint with an argument
    that is not listed there cannot be registered.
    """
    signature = inspect.signature(function)
    unknown = set(signature.parameters) - set(CHECKS)
    if unknown:
        raise TypeError(f"Nothing says how to check {', '.join(sorted(unknown))}.")

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        given = dict(zip(signature.parameters, values, strict=False))
        try:
            for name, parameter in signature.parameters.items():
                if given.get(name) is None:
                    if parameter.default is inspect.Parameter.empty:
                        _refuse(f"{name} is missing.")
                    given[name] = parameter.default
            for name in sorted(given, key=list(CHECKS).index):
                given[name] = CHECKS[name](models, name, given[name], given)
            return function(**given)
        finally:
            for value in values:
                for upload in value if isinstance(value, list) else [value]:
                    uploads.end_request(upload)

    return call


def _refuse(sentence: str) -> None:
    raise gr.Error(html.escape(sentence, quote=False), print_exception=False)


def _shorten_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _variant(models: Models, name: str, value: Any, _: dict[str, Any]) -> str:
    if not isinstance(value, str):
        _refuse(f"{name} is the name of a model, a text; got {_shorten_repr(value)}.")
    return models.check_name(value)


def _point(models: Models, name: str, value: Any, given: dict[str, Any]) -> str:
    # Of one model, or where all are asked, of any.
    asked = [given["variant"]] if "variant" in given else models.names
    names = list(
        dict.fromkeys(
            point.name for one in asked for point in models.evidence(one).spec.operating_points
        )
    )
    if value not in names:
        _refuse(
            f"There is no operating point {_shorten_repr(value)} here; choose one of"
            f" {', '.join(names)}."
        )
    return str(value)


def _force(_: Models, name: str, value: Any, __: dict[str, Any]) -> bool:
    if not isinstance(value, bool):
        _refuse(f"{name} is true or false, not {_shorten_repr(value)}.")
    return bool(value)


def _count(_: Models, name: str, value: Any, __: dict[str, Any]) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_CHANNELS:
        _refuse(f"{name} is a whole number from 1 to {MOST_CHANNELS}, not {_shorten_repr(value)}.")
    return int(value)


def _layer(models: Models, _: str, value: Any, given: dict[str, Any]) -> str:
    classifier = models[given["variant"]]
    if value not in explain.spatial_layers(classifier):
        _refuse(
            f"There is no layer {_shorten_repr(value)} with maps in {given['variant']}; choose"
            f" one of {', '.join(classifier.spec.gallery_layers)}."
        )
    return str(value)


def _image(_: Models, __: str, value: Any, ___: dict[str, Any]) -> Any:
    try:
        uploads.locate(value if isinstance(value, dict) else None)
    except uploads.NoUpload as error:
        _refuse(str(error))
    return value


def _images(models: Models, name: str, value: Any, given: dict[str, Any]) -> Any:
    if not isinstance(value, list) or not value:
        _refuse(f"{name} is a list of uploaded files, at least one.")
    if len(value) > MOST:
        _refuse(f"{name} are {len(value)} files; at most {MOST} can be read at once.")
    return [_image(models, name, each, given) for each in value]


# By name, in the order in which they are checked; what loads a model comes late, files last.
CHECKS: dict[str, Check] = {
    "variant": _variant,
    "force": _force,
    "count": _count,
    "operating_point": _point,
    "layer": _layer,
    "image": _image,
    "images": _images,
    "normal": _image,
    "pneumonia": _image,
}
