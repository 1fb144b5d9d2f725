"""What is imported is declared, and what is installed answers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from pneumonia.architectures import CATALOGUE

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
OWN = {"pneumonia", "page", "train", "tools", "app"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~ ]", entry, maxsplit=1)[0]) for entry in requirements}


REQUIRED = names(PROJECT["project"]["dependencies"])
EXTRAS = {
    name: names(entries) for name, entries in PROJECT["project"]["optional-dependencies"].items()
}


def find_imports(folder: str) -> Iterator[tuple[str, bool]]:
    """The modules that are imported, each with whether a file needs it to be imported itself."""
    files = [CHECKOUT / "app.py"] if folder == "app" else (CHECKOUT / folder).rglob("*.py")
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        at_the_top = set(tree.body) | {
            inner for node in tree.body if isinstance(node, ast.With) for inner in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name.split(".")[0], node in at_the_top
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.split(".")[0], node in at_the_top


def test_a_program_leaves_out_what_keras_imports_for_nothing() -> None:
    """And has it all the same when it asks for it itself."""
    program = (
        "import sys\n"
        "from pneumonia.backend import keras\n"
        "print(*({'sklearn', 'matplotlib.pyplot', 'pandas'} & set(sys.modules)))\n"
        "import sklearn, matplotlib.pyplot, pandas\n"
        "print(keras.ops.convert_to_numpy(keras.ops.ones(2)).sum())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env=os.environ | {"PNEUMONIA_LEAN": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["", "2.0"]


def test_the_app_starts_without_the_upkeep_of_gradios_type_stubs() -> None:
    program = (
        "import inspect, sys\n"
        "stubs, real = [], inspect.getfile\n"
        "sys.addaudithook(lambda event, seen: event == 'open' and str(seen[0]).endswith('.pyi')"
        " and stubs.append(seen[0]))\n"
        # What is imported next ends the start, which takes seconds.
        "sys.modules['page'] = None\n"
        "try:\n"
        "    import app\n"
        "except ModuleNotFoundError:\n"
        "    print('gradio' in sys.modules, len(stubs), inspect.getfile is real)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["True", "0", "True"]


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("pneumonia", ()),
        ("app", ("app", "mcp")),
        ("page", ("app", "mcp")),
        ("train", ("train",)),
        ("tools", ("train", "tools")),
    ],
)
def test_whatever_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    known = packages_distributions()
    at_the_top = REQUIRED.union(*(EXTRAS[name] for name in extras))
    anywhere = REQUIRED.union(*EXTRAS.values())
    undeclared = {
        module
        for module, top in find_imports(folder)
        if module not in sys.stdlib_module_names
        and module not in OWN
        and not {normal(name) for name in known.get(module, [module])}
        & (at_the_top if top else anywhere)
    }
    assert not undeclared


def test_the_wheel_carries_every_bundle() -> None:
    packages = PROJECT["tool"]["setuptools"]["packages"]
    assert {f"pneumonia.models.{name}" for name in CATALOGUE} == set(packages) - {"pneumonia"}
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for name in CATALOGUE:
        for file in (CHECKOUT / "assets" / "models" / name).iterdir():
            assert any(file.match(pattern) for pattern in patterns), file.name


def test_what_the_app_needs_is_what_the_package_needs() -> None:
    # requirements.txt serves a Space, which installs no package.
    listed = names(
        [
            line
            for line in (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
            if line and not line.startswith("#")
        ]
    )
    assert listed >= REQUIRED | EXTRAS["app"]
