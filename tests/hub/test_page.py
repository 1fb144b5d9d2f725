"""The page on weights of a Hub: it serves them, says so, and answers when the Hub is gone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import keras
import pytest
from gradio_client import Client as PageClient
from gradio_client import handle_file
from huggingface_hub import constants

from page.served import EXAMPLES, Models
from pneumonia import PneumoniaClassifier, bundle, hub
from pneumonia.architectures import CATALOGUE
from pneumonia.weights import HUB_SECONDS, Weights

CHECKOUT = Path(__file__).resolve().parents[2]


def push(repo: str, folder: Path) -> str:
    """Run by a client of the Hub."""
    files = [
        (path.name, path)
        for path in folder.iterdir()
        if path.name in (*bundle.NEEDED, "metrics.json")
    ]
    return hub.push(files, repo, message="by hand", token="hf_owner").commit


@pytest.fixture
def published(models_folder: Path, tmp_path: Path, hub, client) -> tuple[Path, str]:
    """Another baseline than the bundled one, published; its folder and commit."""
    spec = bundle.read_model_spec(models_folder / "baseline")
    keras.utils.set_random_seed(99)
    folder = tmp_path / "published" / "baseline"
    model = CATALOGUE["baseline"].build(spec.input_size)
    renewed = bundle.save(
        model,
        folder,
        spec,
        keras.ops.convert_to_numpy(keras.random.uniform((2, *spec.input_size, 3), 0, 255)),
    )
    bundle.write_metrics(folder, bundle.read_metrics(models_folder / "baseline"), renewed)
    return folder, client(push, "me/pneumonia-xray-baseline", folder)


@contextmanager
def serve_page(models: Path, environment: dict[str, str]) -> Iterator[PageClient]:
    server = subprocess.Popen(
        [sys.executable, "app.py", "--models", str(models)],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = re.fullmatch(r"The page is at (http://127\.0\.0\.1:\d+/)\n", line)
        assert address, line
        yield PageClient(address[1], verbose=False)
    finally:
        server.terminate()
        server.wait(20)


def probability(page: PageClient) -> float:
    return page.predict(handle_file(EXAMPLES["PNEUMONIA"][0]), "baseline", api_name="/predict")[
        "probability"
    ]


def ask_in_process(models: Path, home: Path) -> float:
    """Run by a client: the probability of the first ill example, from what the page would serve
    with the copies under a home.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNEUMONIA_HUB_NAMESPACE", "me")
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        return Models(models)["baseline"].predict(EXAMPLES["PNEUMONIA"][0]).probability


def test_the_page_serves_the_hubs_weights_and_answers_without_it(
    small_models_folder, published, hub, client, tmp_path
):
    folder, _ = published
    of_hub = (
        PneumoniaClassifier.from_pretrained(folder).predict(EXAMPLES["PNEUMONIA"][0]).probability
    )
    bundled = (
        PneumoniaClassifier.from_pretrained(small_models_folder / "baseline")
        .predict(EXAMPLES["PNEUMONIA"][0])
        .probability
    )
    assert abs(of_hub - bundled) > 1e-3, "or the test could not tell them apart"
    home = tmp_path / "home"
    assert client(ask_in_process, small_models_folder, home) == pytest.approx(of_hub, abs=1e-6)
    hub.kill()
    # With the Hub dead the copy on disk answers; with none, the bundled weights.
    environment = hub.environment(home) | {"PNEUMONIA_HUB_NAMESPACE": "me"}
    with serve_page(small_models_folder, environment) as page:
        assert probability(page) == pytest.approx(of_hub, abs=1e-6)
    assert client(ask_in_process, small_models_folder, tmp_path / "none") == pytest.approx(
        bundled, abs=1e-6
    )


def name_models(models: Path, seconds: float = HUB_SECONDS) -> list[str]:
    """Run by a client: the models that a page over a folder and the Hub offers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Weights,
            "from_environment",
            lambda folder: Weights(folder, namespace="me", seconds=seconds),
        )
        return Models(models).names


def test_a_model_that_is_neither_bundled_nor_on_the_hub_is_left_out(
    models_folder, tmp_path, published, client, hub
):
    empty = tmp_path / "empty"
    empty.mkdir()
    # Where nothing else can answer, a slow Hub is waited for.
    hub.faults(delay=0.1)
    assert client(name_models, empty, 0.05) == ["baseline"]
    hub.faults()
    shutil.copytree(models_folder / "augmented", empty / "augmented")
    assert client(name_models, empty) == ["baseline", "augmented"]


# --- run by the client
def what_the_page_says(models: Path, repo: str) -> dict[str, str]:
    """Sources and reasons the page gives, before and after a visitor brings a model of their own,
    and what becomes of a name that is none.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNEUMONIA_HUB_NAMESPACE", "me")
        served = Models(models)
        before = served.evidence("baseline")
        served["baseline"]
        after = served.evidence("baseline")
        guest = served.invite(f" {repo} ")
        said = {
            "before": before.source,
            "waits": before.why,
            "after": after.source,
            "why": after.why,
            "guest": served.evidence(guest).source,
        }
        said["offered"] = ",".join(name for _, name in served.choices)
        for name, wrong in (("missing", "me/nothing-here"), ("unnamed", "no name at all")):
            said[name] = get_refusal(served, wrong)
        patch.setenv("SPACE_ID", "me/space")
        said["space"] = get_refusal(Models(models), repo)
    return said


def get_refusal(served: Models, repo: str) -> str:
    with pytest.raises(gr.Error) as caught:
        served.invite(repo)
    return caught.value.message


def test_the_page_says_which_weights_answer_and_why(models_folder, published, client):
    _, commit = published
    said = client(what_the_page_says, models_folder, "me/pneumonia-xray-baseline")
    assert said["before"] == "bundle baseline"
    assert "Hub is asked" in said["waits"]
    assert said["after"] == said["guest"] == f"me/pneumonia-xray-baseline at {commit[:7]}"
    assert "The Hub's version" in said["why"]
    assert said["offered"] == "baseline,augmented,xception,me/pneumonia-xray-baseline"
    assert "nothing-here" in said["missing"] and "no name at all" in said["unnamed"]
    assert said["space"] == "This server answers with its own models only."
