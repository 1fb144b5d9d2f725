"""Looks recipes up by the variant and the name."""

from __future__ import annotations

import importlib

from pneumonia.architectures import CATALOGUE
from train.recipes.recipe import Recipe, RecipeError

DEFAULT = "improved"
# Whose bundle is not a finished model but what another recipe goes on from.
FIRST = "first"


def get(variant: str, name: str = DEFAULT) -> Recipe:
    """The recipe of that name in the variant's file.

    Raises:
        RecipeError: no such variant or recipe; names those there are.
    """
    if variant not in CATALOGUE:
        raise RecipeError(
            f"There is no variant {variant!r}; expected one of {', '.join(CATALOGUE)}."
        )
    recipes = {
        key.lower(): value
        for key, value in vars(importlib.import_module(f"train.recipes.{variant}")).items()
        if isinstance(value, Recipe)
    }
    if name not in recipes:
        raise RecipeError(
            f"{variant} has no recipe {name!r}; expected one of {', '.join(recipes)}."
        )
    return recipes[name]
