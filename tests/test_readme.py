"""What the README prints for the app's API runs as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_app import serve

CHECKOUT = Path(__file__).resolve().parents[1]


def test_the_calls_of_the_readme_work_as_printed(models_folder, tmp_path):
    code = next(block for block in re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL) if "gradio_client" in block)
    assert set(re.findall(r'api_name="(/\w+)"', code)) == {"/predict", "/compare", "/explain", "/activations", "/batch"}
    with pytest.MonkeyPatch.context() as patch:
        page = serve(models_folder, tmp_path, patch)
        try:
            command = [sys.executable, "-c", code.replace("http://127.0.0.1:7860", page.local_url)]
            run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)
        finally:
            page.close()
    assert run.returncode == 0, run.stderr
    assert "PNEUMONIA" in run.stdout or "NORMAL" in run.stdout
    assert "file,answer,probability_of_pneumonia" in run.stdout
