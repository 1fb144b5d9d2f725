"""From images to a name on the Hub and back, through the commands a person types."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import pytest

from pneumonia import PneumoniaClassifier
from train.__main__ import main
from train.recipes import baseline


def run_train(*arguments: object, token: str | None = "hf_owner") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``python -m train ARGUMENTS``, run by the client."""
    out, err = io.StringIO(), io.StringIO()
    # Small steps in plenty: after three short epochs the network calls some images PNEUMONIA, so
    # that it has a precision to publish.
    recipe = dataclasses.replace(baseline.ORIGINAL, batch_size=2, learning_rate=0.02)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(baseline, "ORIGINAL", recipe)
        if token:
            patch.setenv("HF_TOKEN", token)
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def probability(source: str | Path, image: Path, **options: object) -> float:
    return PneumoniaClassifier.from_pretrained(source, **options).predict(image).probability


def test_a_model_is_trained_pushed_and_loaded_by_its_name(hub, client, tiny_dataset, tmp_path):
    code, out, err = client(
        run_train,
        "fit",
        "baseline",
        "--recipe",
        "original",
        "--data",
        tiny_dataset,
        "--epochs",
        3,
        "--out",
        tmp_path / "run",
        "--push",
        "me/trained",
    )
    assert code == 0, err
    assert out.splitlines()[-1] == f"{hub.endpoint}/me/trained (commit {hub.head('me/trained')})"
    assert {"metrics.json", "predictions_test.csv", "roc.png", "README.md"} <= hub.entries(
        "me/trained"
    ).keys()
    image = next((tiny_dataset / "test" / "PNEUMONIA").iterdir())
    expected = probability(tmp_path / "run" / "bundle", image)
    assert client(probability, "me/trained", image, cache_dir=tmp_path / "cache") == pytest.approx(
        expected, abs=1e-6
    )


def test_refusals_are_one_sentence_on_stderr(hub, client, evaluated):
    for arguments, token, words in (
        (("push", evaluated, "--repo", "me/typed"), None, "No Hugging Face token"),
        (("push", evaluated, "--repo", "me/typed"), "hf_wrong", "does not accept this token"),
        (
            ("push", evaluated, "--repo", "clinic-of-others/typed"),
            "hf_owner",
            "me may not write to",
        ),
        (("push", evaluated, "--repo", "typed"), "hf_owner", "no repository name"),
        (("push", evaluated.parent, "--repo", "me/typed"), "hf_owner", "lacks model_spec.json"),
    ):
        code, out, err = client(run_train, *arguments, token=token)
        assert code == 1 and not out and words in err and err.count("\n") == 1, err
    code, out, err = client(
        run_train, "push", evaluated, "--repo", "me/typed", "--private", "--revision", "try"
    )
    assert code == 0 and out.startswith(f"{hub.endpoint}/me/typed (commit "), err
