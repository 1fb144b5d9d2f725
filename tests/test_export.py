from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest
from missing import absent

from pneumonia import bundle, cli, export
from pneumonia.architectures import CATALOGUE
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.model_spec import ModelSpec


@pytest.fixture(scope="module")
def classifier(make_spec):
    keras.utils.set_random_seed(1)
    return PneumoniaClassifier(
        CATALOGUE["baseline"].build((64, 64)), make_spec("baseline", (64, 64))
    )


@pytest.mark.parametrize("format", ["litert", "saved_model"])
def test_what_is_exported_answers_as_the_original(classifier, tmp_path, format):
    made = export.export(classifier, format, tmp_path)
    assert made.path == tmp_path / export.FILES[format] and made.path.exists()
    assert made.pictures > 1 and made.largest_difference < 1e-5
    # The spec lies beside it, and nothing else.
    assert {file.name for file in tmp_path.iterdir()} == {made.path.name, bundle.MODEL_SPEC}
    assert ModelSpec.from_json((tmp_path / bundle.MODEL_SPEC).read_text()) == classifier.spec
    # Once more into the same folder.
    assert export.export(classifier, format, tmp_path) == made


def test_onnx_answers_as_the_original(classifier, tmp_path):
    for package in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            absent(f"{package} is not installed (pip install .[export])")
    assert export.export(classifier, "onnx", tmp_path).largest_difference < 1e-5


def test_what_answers_otherwise_is_not_kept(classifier, tmp_path, monkeypatch):
    right = export._RUNNERS["saved_model"]
    for wrong in (0.002, np.nan):
        monkeypatch.setitem(
            export._RUNNERS, "saved_model", lambda *given, by=wrong: right(*given) + by
        )
        with pytest.raises(export.ExportError, match=r"at most 0\.001 is allowed"):
            export.export(classifier, "saved_model", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_says_what_is_missing(classifier, tmp_path, monkeypatch):
    with pytest.raises(export.ExportError, match="must be one of onnx, litert, saved_model"):
        export.export(classifier, "coreml", tmp_path)
    monkeypatch.setitem(export._NEEDED, "onnx", ("no_such_package",))
    with pytest.raises(
        export.ExportError, match=r"needs no_such_package: pip install \"\.\[export\]\""
    ):
        export.export(classifier, "onnx", tmp_path)


def test_the_command_tells_the_largest_difference(models_folder, tmp_path, capsys):
    out, model = str(tmp_path / "out"), str(models_folder / "baseline")
    assert cli.main(["export", model, "--format", "saved_model", "--out", out]) == 0
    assert "differ from the original's by at most" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file")
    assert cli.main(["export", model, "--format", "saved_model", "--out", out]) == 1
    assert "cannot be written" in capsys.readouterr().err
