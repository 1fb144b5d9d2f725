"""docs/quickstart.ipynb runs as it stands, on the bundled weights."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "quickstart.ipynb"


def test_every_cell_of_the_quickstart_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # A reader's notebook has no such variable.
    monkeypatch.delenv("PNEUMONIA_LEAN", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    done = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    done.execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code)
    shown = [output.data for cell in code for output in cell.outputs if "data" in output]
    assert sum("image/png" in data for data in shown) == 2
    printed = "".join(output.text for output in code[-1].outputs if output.output_type == "stream")
    assert printed.count(".jpeg") == 6


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
