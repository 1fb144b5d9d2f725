"""What other programs may call: the endpoints that the tabs' modules offer."""

from collections.abc import Iterable
from types import ModuleType
from typing import get_type_hints

import gradio as gr

from page.served import Models


def endpoints(models: Models, modules: Iterable[ModuleType]) -> None:
    """Registers every function that a module's ``endpoints(models)`` returns, under the function's
    name; they wait in one line with the page's own work.
    """
    for module in modules:
        for function in module.endpoints(models) if hasattr(module, "endpoints") else ():
            # Gradio reads the signature as it stands, and annotations that are put off are only
            # text: every answer would be of type Any.
            function.__annotations__ = get_type_hints(function)
            gr.api(
                function, api_name=function.__name__, concurrency_id="model", concurrency_limit=1
            )
