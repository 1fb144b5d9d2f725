"""What other programs may call: the endpoints that the tabs' modules offer."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_type_hints

import gradio as gr
from gradio import utils

from page.arguments import check_arguments
from page.served import BATCH, ONE_BY_ONE, Models


def endpoints(models: Models, modules: Iterable[ModuleType], page: gr.Blocks) -> None:
    """Registers every function that a module's ``endpoints(models)`` returns, under the function's
    name; they wait in one line with the page's own work.
    """
    for module in modules:
        for function in module.endpoints(models) if hasattr(module, "endpoints") else ():
            # Gradio reads the signature as it stands, and annotations that are put off are only
            # text: every answer would be of type Any.
            function.__annotations__ = get_type_hints(function)
            group = BATCH if function.__name__ == "batch" else ONE_BY_ONE
            gr.api(
                check_arguments(models, function),
                api_name=function.__name__,
                concurrency_id=group["concurrency_id"],
                concurrency_limit=group["concurrency_limit"],
            )
            _describe(list(page.fns.values())[-1], function)


def _describe(registered: Any, function: Any) -> None:
    """Words for what Gradio would call "1st Api component", from the docstrings."""
    _, arguments, _ = utils.get_function_description(function)
    answer = function.__annotations__["return"]
    names = [name for name in function.__annotations__ if name != "return"]
    for component, name in zip(registered.inputs, names, strict=True):
        words = arguments[name][:1].upper() + arguments[name][1:]
        _name(component, words.split(";")[0].rstrip("."), words)
    _name(registered.outputs[0], answer.__name__, " ".join((answer.__doc__ or "").split()))


def _name(component: Any, label: str, description: str) -> None:
    component.label = label
    # Python's client shows the one, MCP and the page's own documentation the other.
    words = {"description": description, "additional_description": description}
    component._api_info = {**component._api_info, **words}
