from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from page import panels
from page.answers import Answer
from page.served import EXAMPLES, Models
from page.uploads import GRACE, Uploads
from pneumonia import LABELS, PneumoniaClassifier
from pneumonia.architectures import CATALOGUE

CHECKOUT = Path(__file__).resolve().parents[1]
VARIANTS = tuple(CATALOGUE)
# One sentence, with nothing of the server in it: no folder, no traceback, no name of an exception.
LEAK = re.compile(r"(/\w+){2}|Traceback|File \"|Error\b|site-packages")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(models: Path, uploads: Path, patch: pytest.MonkeyPatch) -> gr.Blocks:
    patch.setenv("GRADIO_TEMP_DIR", str(uploads))
    page = app.build_app(models)
    app.launch(page, "127.0.0.1", free_port(), wait=lambda: None)
    return page


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def client(models_folder, uploads):
    with pytest.MonkeyPatch.context() as patch:
        page = serve(models_folder, uploads, patch)
        yield Client(page.local_url, verbose=False)
        page.close()


def encode(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def test_three_examples_a_class_named_after_it():
    assert [len(EXAMPLES[label]) for label in LABELS] == [3, 3]
    assert "CC BY 4.0" in (CHECKOUT / "assets/examples/README.md").read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_predict_answers_on_every_example(client, models_folder, variant):
    classifier = PneumoniaClassifier.from_pretrained(models_folder / variant)
    for file in (*EXAMPLES["NORMAL"], *EXAMPLES["PNEUMONIA"]):
        answer = client.predict(handle_file(file), variant, api_name="/predict")
        assert set(answer) == set(Answer.__annotations__)
        assert answer["probability"] == pytest.approx(
            classifier.predict(file).probability, abs=1e-5
        )
        assert answer["label"] == LABELS[int(answer["probability"] >= answer["threshold"])]
        assert (answer["variant"], answer["name"]) == (variant, file.name) and answer[
            "milliseconds"
        ] > 0


def test_the_endpoints_are_few_and_typed(client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/predict", "/compare", "/robustness", "/activations", "/batch"}
    assert named["/predict"]["returns"][0]["type"]["properties"]["probability"] == {
        "type": "number"
    }
    assert all(endpoint["returns"][0]["type"]["properties"] for endpoint in named.values())
    for endpoint in named.values():
        assert endpoint["description"]
        for shown in (*endpoint["parameters"], *endpoint["returns"]):
            assert shown["label"][0].isupper() and shown["python_type"]["description"]


BAD = {
    "text.jpeg": b"This is no picture.",
    "empty.jpeg": b"",
    "truncated.jpeg": EXAMPLES["NORMAL"][0].read_bytes()[:20_000],
    "tiny.png": encode(Image.new("L", (8, 8)), "PNG"),
    # 100 megapixels out of a hundred kilobytes.
    "bomb.png": encode(Image.new("L", (10_000, 10_000)), "PNG"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_sentence(client, tmp_path, name):
    file = tmp_path / name
    file.write_bytes(BAD[name])
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(file), "baseline", api_name="/predict")
    message = str(caught.value)
    assert message.startswith(name) and message.endswith(".") and message.count(". ") == 0
    assert not LEAK.search(message), message


def test_sixteen_bits_are_read_not_clipped(client, models_folder, tmp_path):
    ramp = np.linspace(1000, 40_000, 200 * 200).reshape(200, 200).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    expected = (
        PneumoniaClassifier.from_pretrained(models_folder / "baseline").predict(ramp).probability
    )
    white = (
        PneumoniaClassifier.from_pretrained(models_folder / "baseline")
        .predict(np.full((200, 200), 255, np.uint8))
        .probability
    )
    # A ramp is no X-ray, and says so unless it is forced.
    answer = client.predict(
        handle_file(tmp_path / "deep.png"), "baseline", force=True, api_name="/predict"
    )["probability"]
    assert answer == pytest.approx(expected, abs=1e-5) and abs(answer - white) > 1e-4


@pytest.mark.parametrize("name", ["/predict", "/compare", "/robustness"])
def test_what_is_no_chest_x_ray_is_refused_with_its_reason(client, tmp_path, name):
    sunset = np.zeros((200, 300, 3), np.uint8)
    sunset[..., 0] = np.linspace(60, 255, 300)
    sunset[100:, :, 2] = np.linspace(255, 60, 300)
    Image.fromarray(sunset).save(tmp_path / "sunset.png")
    with pytest.raises(
        AppError, match=r"in colour.*Send force=true to have an answer all the same\."
    ) as caught:
        client.predict(handle_file(tmp_path / "sunset.png"), api_name=name)
    assert not LEAK.search(str(caught.value))
    assert client.predict(handle_file(tmp_path / "sunset.png"), force=True, api_name=name)


@pytest.mark.parametrize(
    "upload", [{"path": "/etc/hostname"}, {"path": str(EXAMPLES["NORMAL"][0])}, {}, "text"]
)
def test_only_uploads_may_be_read(client, upload):
    with pytest.raises(AppError, match=r"upload|No file arrived"):
        client.predict(upload, "baseline", api_name="/predict")
    assert EXAMPLES["NORMAL"][0].is_file()


def test_an_unknown_model_names_the_known(client):
    with pytest.raises(AppError, match="choose one of baseline, augmented, xception"):
        client.predict(handle_file(EXAMPLES["NORMAL"][0]), "../baseline", api_name="/predict")


def test_no_upload_is_kept(client, uploads, tmp_path):
    shutil.copy(EXAMPLES["NORMAL"][1], tmp_path / "private.jpeg")
    (tmp_path / "secret.jpeg").write_bytes(b"no picture")
    client.predict(handle_file(tmp_path / "private.jpeg"), "baseline", api_name="/predict")
    with pytest.raises(AppError):
        client.predict(handle_file(tmp_path / "secret.jpeg"), "baseline", api_name="/predict")
    kept = Uploads.of(next(uploads.iterdir()) / "x")
    assert kept
    # Somebody may ask again within a minute.
    for place in kept._places.values():
        assert place.waiting == place.reading == 0 and place.expires <= time.monotonic() + GRACE
        place.expires = 0
    kept.sweep()
    assert [file.name for file in uploads.rglob("*") if file.is_file()] == ["in-use"]


def test_compare_asks_every_model_the_same_picture(client, models_folder):
    file = EXAMPLES["PNEUMONIA"][1]
    found = client.predict(handle_file(file), api_name="/compare")
    assert [answer["variant"] for answer in found["answers"]] == list(VARIANTS)
    for answer in found["answers"]:
        assert answer["probability"] == pytest.approx(
            PneumoniaClassifier.from_pretrained(models_folder / answer["variant"])
            .predict(file)
            .probability,
            abs=1e-5,
        )
    assert found["agreement"].endswith(".")


def test_an_operating_point_is_asked_for_by_name(client):
    answer = client.predict(
        handle_file(EXAMPLES["NORMAL"][0]), "baseline", "recall-0.98", api_name="/predict"
    )
    assert (
        answer["threshold"],
        answer["operating_point"],
        answer["recall_target"],
        answer["cost"],
    ) == (0.2, "recall-0.98", 0.98, None)
    answer = client.predict(handle_file(EXAMPLES["NORMAL"][0]), "baseline", api_name="/predict")
    assert (
        answer["cost"]["missed"],
        answer["cost"]["ill"],
        answer["cost"]["false_alarms"],
        answer["cost"]["healthy"],
    ) == (10, 100, 10, 50)


def test_explain_adds_up_over_the_api(client):
    found = client.predict(handle_file(EXAMPLES["NORMAL"][0]), "baseline", api_name="/robustness")
    assert 1 / (1 + np.exp(-found["logit"])) == pytest.approx(found["probability"], abs=1e-5)
    assert np.shape(found["cells"]) == (found["height"], found["width"])
    assert found["moved"][0]["probe"] == "original" and found["sentence"].endswith(".")


def test_activations_come_strongest_first_with_a_picture_each(client):
    pair = [handle_file(EXAMPLES[label][0]) for label in LABELS]
    answer = client.predict(*pair, "block5_add", "xception", 5, api_name="/activations")
    assert (answer["layer"], answer["of"], len(answer["channels"])) == ("block5_add", 728, 5)
    strengths = [channel["strength"] for channel in answer["channels"]]
    assert strengths == sorted(strengths, reverse=True)
    for channel in answer["channels"]:
        assert channel["strength"] == pytest.approx(
            (channel["normal"] + channel["pneumonia"]) / 2, rel=1e-5
        )
        assert channel["picture"].startswith("data:image/png;base64,")
    with pytest.raises(AppError, match=r"no layer .*conv9.*choose one of conv1, pool1"):
        client.predict(*pair, "conv9", "baseline", 5, api_name="/activations")


def test_a_damaged_bundle_is_a_sentence_and_the_others_still_answer(models_folder, tmp_path):
    shutil.copytree(models_folder / "baseline", tmp_path / "baseline")
    shutil.copytree(models_folder / "augmented", tmp_path / "augmented")
    with (tmp_path / "baseline" / "model.weights.h5").open("ab") as file:
        file.write(b"x")
    models = Models(tmp_path)
    assert (models.names, models.damaged, models.default) == (
        ["augmented"],
        ["baseline"],
        "augmented",
    )
    with pytest.raises(gr.Error, match=r"baseline is damaged.*choose one of augmented"):
        models["baseline"]
    assert models["augmented"] is models["augmented"]
    shutil.rmtree(tmp_path / "augmented")
    with pytest.raises(SystemExit, match="damaged"):
        Models(tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--port", "99999"], "1 to 65535"),
        (["--port", "x"], "1 to 65535"),
        (["--host", "203.0.113.7"], "no address 203.0.113.7"),
        (["--host", "no such host"], "no address no such host"),
        (["--models", "nowhere"], "no model in nowhere"),
    ],
)
def test_a_start_that_cannot_be_is_one_sentence(given, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", *given])
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert caught.value.code
    assert said in f"{caught.value.code} {capsys.readouterr().err}"


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} is in use.*--port"):
            app.address(None, port)
    assert app.address(None, port) == (None, port)


def test_no_model_at_all_says_what_was_expected(tmp_path):
    with pytest.raises(
        SystemExit,
        match=(
            r"no model in .*expected a bundle in one of its folders baseline, augmented, xception"
        ),
    ):
        app.build_app(tmp_path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "under 0.1%"),
        (0.0004, "under 0.1%"),
        (0.5, "50.0%"),
        (0.9999, "over 99.9%"),
        (1, "over 99.9%"),
    ],
)
def test_percent_never_rounds_to_certainty(value, said):
    assert panels.percent(value) == said


def test_without_a_network_share_says_so_and_the_page_stays(
    models_folder, tmp_path, monkeypatch, capsys
):
    def unreachable(**_):
        raise OSError("no route")

    monkeypatch.setattr("gradio.networking.setup_tunnel", unreachable)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = app.build_app(models_folder)
    try:
        app.launch(page, "127.0.0.1", free_port(), share=True, wait=lambda: None)
        said = capsys.readouterr().out.splitlines()
        assert said == [
            f"The page is at {page.local_url}",
            (
                "There is no share link: the service that makes one cannot be reached; the page"
                " stays local."
            ),
        ]
        assert (
            Client(page.local_url, verbose=False).predict(
                handle_file(EXAMPLES["NORMAL"][0]), "baseline", api_name="/predict"
            )["label"]
            in LABELS
        )
    finally:
        page.close()


def test_the_command_serves_says_where_and_nothing_else(models_folder, tmp_path):
    command = [sys.executable, "app.py", "--port", str(free_port()), "--models", str(models_folder)]
    with (tmp_path / "errors").open("w+") as errors:
        server = subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            address = re.fullmatch(r"The page is at (http://127\.0\.0\.1:\d+/)\n", first)
            errors.seek(0)
            assert address, (first, errors.read())
            answer = Client(address[1], verbose=False).predict(
                handle_file(EXAMPLES["NORMAL"][0]), "xception", api_name="/predict"
            )
            assert answer["label"] in LABELS
            errors.seek(0)
            assert errors.read() == ""
        finally:
            server.terminate()
            server.wait(20)


@pytest.mark.parametrize(
    ("module", "later"), [("app", "gradio"), ("train.__main__", "pneumonia.architectures")]
)
def test_numpys_small_products_are_not_shared_among_threads(module, later):
    """Set before NumPy is imported, or it would have no effect; whoever sets another number is left
    with it.
    """
    # What is imported next ends the start, which takes seconds, right after the number is set.
    asked = (
        "import sys\n"
        f"sys.modules[{later!r}] = None\n"
        "try:\n"
        f"    import {module}\n"
        "except ModuleNotFoundError as error:\n"
        f"    assert error.name == {later!r}, error\n"
        "assert 'numpy' not in sys.modules\n"
        "import numpy, threadpoolctl\n"
        "print(*(pool['num_threads'] for pool in threadpoolctl.threadpool_info()"
        " if pool['internal_api'] == 'openblas'))"
    )
    plain = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for given, expected in (
        (plain, "1"),
        (plain | {"OPENBLAS_NUM_THREADS": "2"}, str(min(2, os.cpu_count() or 1))),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", asked],
            cwd=CHECKOUT,
            env=given,
            capture_output=True,
            text=True,
            check=True,
        )
        pools = set(ran.stdout.split())
        # A NumPy without OpenBLAS (Apple's Accelerate) has none to set.
        assert pools <= {expected}, ran.stdout
