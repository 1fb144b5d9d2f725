from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import HubError, PneumoniaClassifier, bundle, hub
from train.reports import publish

OWNER = "hf_owner"
XRAY = np.random.default_rng(5).integers(0, 256, (80, 90), dtype=np.uint8)


# --- run by the client
def probability(source: str | Path, **options) -> float:
    return PneumoniaClassifier.from_pretrained(source, **options).predict(XRAY).probability


def reason(function, *arguments, **options) -> tuple[str, str]:
    try:
        function(*arguments, **options)
    except HubError as error:
        return error.reason, str(error)
    return "", ""


def push_raw(repo: str, files: list[tuple[str, Path | bytes]]) -> hub.Published:
    return hub.push(files, repo, message="by hand", token=OWNER)


@pytest.fixture(scope="module")
def whole(
    models_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, Path | bytes]]:
    """The files of a good repository, with more in it than prediction needs."""
    folder = models_folder / "baseline"
    return [(path.name, path) for path in folder.iterdir()] + [
        ("README.md", b"---\nlicense: apache-2.0\n---\n# x\n"),
        ("roc.png", b"png"),
    ]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# --- loading by name
def test_a_fresh_process_loads_by_name_as_the_card_does_and_again_without_a_network(
    hub, client, evaluated, tmp_path
):
    client(publish.push, evaluated, "me/fresh", token=OWNER)
    ours, plain_keras, app = re.findall(
        r"```python\n(.*?)```", hub.read("me/fresh", "README.md").decode(), re.DOTALL
    )
    assert '"hf://me/fresh"' in plain_keras and "gradio_client" in app
    Image.fromarray(XRAY).save(tmp_path / "X-RAY.jpeg", quality=95)

    def run(code: str, **more: str) -> list[float]:
        variables = hub.environment(tmp_path / "home", **more)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [
            float(line.split()[1])
            for line in done.stdout.splitlines()
            if line.startswith(("NORMAL", "PNEUMONIA"))
        ]

    expected = (
        PneumoniaClassifier.from_pretrained(evaluated).predict(tmp_path / "X-RAY.jpeg").probability
    )
    assert run(ours + plain_keras) == pytest.approx([expected, expected], abs=1e-6)
    hub.forget_requests()
    assert run(ours, HF_HUB_OFFLINE="1") == pytest.approx([expected], abs=1e-6)
    assert hub.requests() == []


def test_only_what_prediction_needs_is_downloaded_and_once(hub, client, whole, cache):
    published = client(push_raw, "me/needed", whole)
    hub.forget_requests()
    snapshot = client(hub_download, "me/needed", cache_dir=cache)
    assert {path.name for path in snapshot.folder.iterdir()} == {
        *bundle.NEEDED,
        "metrics.json",
        "SHA256SUMS",
    }
    assert snapshot.commit == published.commit
    assert not any("README" in line or "png" in line for line in hub.requests())
    hub.forget_requests()
    assert client(hub_download, "me/needed", cache_dir=cache) == snapshot
    assert hub.requests() == ["GET /api/models/me/needed"]
    hub.forget_requests()
    assert client(hub_download, "me/needed", revision=published.commit, cache_dir=cache) == snapshot
    client(probability, "me/needed", cache_dir=cache, local_files_only=True)
    assert hub.requests() == []
    client(hub_download, "me/needed", cache_dir=cache, force_download=True)
    assert "GET /me/needed/resolve/" + published.commit + "/model.weights.h5" in hub.requests()


def hub_download(repo: str, **options) -> hub.Snapshot:
    return hub.download(repo, **options)


def test_a_repository_without_metrics_still_predicts(hub, client, whole, cache):
    client(push_raw, "me/no-metrics", [entry for entry in whole if entry[0] != "metrics.json"])
    assert 0 <= client(probability, "me/no-metrics", cache_dir=cache) <= 1


def test_after_a_second_push_main_is_new_and_the_old_revision_still_loads(
    hub, client, evaluated, models_folder, cache
):
    first = client(publish.push, evaluated, "me/revisions", token=OWNER)
    second = client(
        publish.push, models_folder / "augmented", "me/revisions", token=OWNER, replace=True
    )
    old, new = (
        client(variant, "me/revisions", revision=first.commit, cache_dir=cache),
        client(variant, "me/revisions", cache_dir=cache),
    )
    assert (old, new) == ("baseline", "augmented") and first.commit != second.commit


def variant(repo: str, **options) -> str:
    return PneumoniaClassifier.from_pretrained(repo, **options).spec.variant


def test_a_saved_copy_of_a_download_is_a_bundle_of_its_own(hub, client, whole, cache, tmp_path):
    client(push_raw, "me/saved", whole)
    client(save, "me/saved", cache, tmp_path / "copy")
    assert not any(path.is_symlink() for path in (tmp_path / "copy").iterdir())
    assert PneumoniaClassifier.from_pretrained(tmp_path / "copy").spec.variant == "baseline"


def save(repo: str, cache_dir: Path, target: Path) -> None:
    PneumoniaClassifier.from_pretrained(repo, cache_dir=cache_dir).save_pretrained(target)


def test_a_download_is_saved_whole_and_published_again_under_another_name(
    hub, client, evaluated, cache, tmp_path
):
    client(publish.push, evaluated, "me/first", token=OWNER)
    sent = client(save_and_push, "me/first", cache, tmp_path / "copy", "me/second")
    assert re.fullmatch("[0-9a-f]{40}", sent.commit)
    names = {path.name for path in evaluated.iterdir()}
    assert {path.name for path in (tmp_path / "copy").iterdir()} >= names | {"README.md"}
    assert client(describe, "me/second", cache) == ("me/second", sent.commit)


def save_and_push(repo: str, cache_dir: Path, target: Path, other: str) -> hub.Published | None:
    classifier = PneumoniaClassifier.from_pretrained(repo, cache_dir=cache_dir)
    return classifier.save_pretrained(target, push_to_hub=True, repo_id=other, token=OWNER)


def describe(repo: str, cache_dir: Path) -> tuple[str | None, str | None]:
    classifier = PneumoniaClassifier.from_pretrained(repo, cache_dir=cache_dir)
    assert repo in repr(classifier)
    return classifier.repo, classifier.commit


def test_a_name_may_be_pasted_as_the_hub_shows_it(hub, client, whole, cache):
    sent = client(push_raw, "me/pasted", whole)
    for name in (
        "hf://me/pasted",
        f"hf://me/pasted@{sent.commit}",
        f"{hub.endpoint}/me/pasted",
        f"{hub.endpoint}/me/pasted/tree/main",
        f"{hub.endpoint}/me/pasted/blob/{sent.commit}/README.md",
    ):
        assert client(describe_as, name, cache) == ("me/pasted", sent.commit)
    assert client(reason, probability, "hf://me/pasted@gone", cache_dir=cache)[0] == "revision"


def describe_as(name: str, cache_dir: Path) -> tuple[str | None, str | None]:
    classifier = PneumoniaClassifier.from_pretrained(name, cache_dir=cache_dir)
    return classifier.repo, classifier.commit


# --- refusals
def test_what_does_not_exist_and_who_may_not_see_it(hub, client, whole, cache):
    client(push_raw, "me/there", whole)
    for arguments, expected in (
        ({"repo": "me/nowhere"}, "repository"),
        ({"repo": "me/there", "revision": "gone"}, "revision"),
        ({"repo": "me/there", "revision": "0" * 40}, "revision"),
        ({"repo": "me/there", "revision": "../../escape"}, "revision"),
        ({"repo": "me/there", "token": "hf_wrong"}, "token"),
        ({"repo": "no name at all"}, "name"),
    ):
        found, message = client(reason, hub_download, cache_dir=cache, **arguments)
        assert found == expected, message
        assert "\n" not in message and message.endswith("."), message
    assert not list(cache.rglob("*.h5"))


def test_a_path_is_never_taken_for_a_repository(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model folder"):
        PneumoniaClassifier.from_pretrained(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no model folder"):
        PneumoniaClassifier.from_pretrained(Path("me/nothing"))


class Exploding:
    def __reduce__(self):
        return (os.system, (f"touch {Path(__file__).with_name('exploded')}",))


def test_foreign_and_tampered_repositories_are_refused_and_nothing_in_them_runs(
    hub, client, whole, cache
):
    files = dict(whole)
    config = json.loads(files["config.json"].read_text())
    marker = Path(__file__).with_name("exploded")
    config["config"]["layers"][1] |= {
        "class_name": "Lambda",
        "config": {"name": "x", "function": f"lambda x: open({str(marker)!r}, 'w')"},
    }
    huge = json.loads(files["model_spec.json"].read_text()) | {"note": "x" * 6_000_000}
    code = f"open({str(marker)!r}, 'w')\n".encode()
    cases: dict[str, dict[str, Path | bytes]] = {
        "me/lambda": files | {"config.json": json.dumps(config).encode()},
        "me/deep": files | {"config.json": b"[" * 100_000},
        "me/pickles": {
            "pytorch_model.bin": pickle.dumps(Exploding()),
            "modeling.py": code,
            "config.json": b"{}",
        },
        "me/no-model-spec": {
            name: content for name, content in files.items() if name != "model_spec.json"
        },
        "me/no-json": files | {"model_spec.json": b"<html>"},
        "me/huge": files | {"model_spec.json": json.dumps(huge).encode()},
    }
    for repo, contents in cases.items():
        client(push_raw, repo, list(contents.items()))
        hub.forget_requests()
        found, message = client(reason, probability, repo, cache_dir=cache)
        assert found == "foreign" and repo in message, message
        assert str(cache) not in message
        assert not any(
            "weights" in line or ".py" in line or ".bin" in line for line in hub.requests()
        ), repo
        assert (
            client(reason, probability, repo, cache_dir=cache, local_files_only=True)[0] == "cache"
        )
    client(push_raw, "me/with-code", [*whole, ("modeling.py", code), ("__init__.py", code)])
    client(probability, "me/with-code", cache_dir=cache)
    assert not any(".py" in line for line in hub.requests() if line.startswith("GET"))
    assert not marker.exists()


# --- damage and silence
def test_corrupted_bytes_of_the_right_size_are_found_thrown_away_and_fetched_again(
    hub, client, whole, cache
):
    client(push_raw, "me/corrupt", whole)
    hub.faults(corrupt=["model.weights.h5"])
    found, message = client(reason, probability, "me/corrupt", cache_dir=cache)
    assert found == "foreign" and "thrown away" in message
    assert not list(cache.rglob("model.weights.h5"))
    hub.faults()
    expected = client(probability, "me/corrupt", cache_dir=cache)
    # The same on this disk, afterwards.
    blob = next(cache.rglob("model.weights.h5")).resolve()
    blob.write_bytes(b"\0" * blob.stat().st_size)
    assert client(probability, "me/corrupt", cache_dir=cache) == expected


def test_a_bad_new_version_leaves_the_cache_pointing_at_the_good_one(
    hub, client, whole, cache, models_folder
):
    good = client(push_raw, "me/worse", whole)
    client(hub_download, "me/worse", cache_dir=cache)
    client(
        push_raw,
        "me/worse",
        [("model.weights.h5", models_folder / "augmented" / "model.weights.h5")],
    )
    assert client(reason, hub_download, "me/worse", cache_dir=cache)[0] == "foreign"
    assert client(find_cached, "me/worse", cache_dir=cache).commit == good.commit


def find_cached(repo: str, **options) -> hub.Snapshot:
    return hub.find_cached(repo, **options)


def test_a_rotten_copy_of_a_pinned_commit_is_fetched_again(hub, client, whole, cache):
    published = client(push_raw, "me/rotten", whole)
    expected = client(probability, "me/rotten", revision=published.commit, cache_dir=cache)
    for name in ("model.weights.h5", "config.json"):
        file = next(cache.rglob(name)).resolve()
        file.write_bytes(b"\0" * file.stat().st_size)
        again = client(probability, "me/rotten", revision=published.commit, cache_dir=cache)
        assert again == expected


def test_a_branch_that_another_tool_moved_does_not_hide_the_whole_copy(hub, client, whole, cache):
    good = client(push_raw, "me/moved", whole)
    client(hub_download, "me/moved", cache_dir=cache)
    storage = cache / "models--me--moved"
    partial = storage / "snapshots" / ("a" * 40)
    partial.mkdir()
    (partial / "README.md").write_text("# x")
    (storage / "refs" / "main").write_text("a" * 40)
    assert client(find_cached, "me/moved", cache_dir=cache).commit == good.commit


def test_a_network_too_large_to_be_built_is_refused_before_its_weights(hub, client, whole, cache):
    files = dict(whole)
    config = json.loads(files["config.json"].read_text())
    conv = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Conv2D")
    conv["config"]["filters"] = 10**8
    client(
        push_raw, "me/giant", list((files | {"config.json": json.dumps(config).encode()}).items())
    )
    hub.forget_requests()
    found, message = client(reason, hub_download, "me/giant", cache_dir=cache)
    assert found == "foreign" and "parameters" in message
    assert not any("weights" in line for line in hub.requests())


def test_a_bundle_of_the_first_schema_loads_by_name(hub, client, whole, cache):
    files = dict(whole)
    values = json.loads(files.pop("model_spec.json").read_text()) | {"schema": 1}
    values["recipe"]["name"] = "best"
    files["contract.json"] = json.dumps(values).encode()
    client(push_raw, "me/first-schema", list(files.items()))
    assert client(recipe, "me/first-schema", cache_dir=cache) == "improved"


def recipe(repo: str, **options) -> str:
    return PneumoniaClassifier.from_pretrained(repo, **options).spec.recipe["name"]


def test_a_download_is_completed_for_publishing_it_again(hub, client, evaluated, cache):
    client(publish.push, evaluated, "me/complete", token=OWNER)
    snapshot = client(hub_download, "me/complete", cache_dir=cache)
    assert not (snapshot.folder / "roc.png").exists()
    client(complete, snapshot)
    names = {path.name for path in snapshot.folder.iterdir()}
    assert names == {path.name for path in evaluated.iterdir()} | {"README.md", "SHA256SUMS"}


def complete(snapshot: hub.Snapshot) -> None:
    hub.complete(snapshot)


def test_a_dead_server_is_bridged_by_the_cache_and_otherwise_said_at_once(
    hub, client, whole, cache
):
    client(push_raw, "me/dead", whole)
    expected = client(probability, "me/dead", cache_dir=cache)
    hub.kill()
    started = time.monotonic()
    assert client(probability, "me/dead", cache_dir=cache) == expected
    assert client(reason, probability, "me/other", cache_dir=cache)[0] == "network"
    assert (
        client(reason, probability, "me/dead", cache_dir=cache, force_download=True)[0] == "network"
    )
    assert time.monotonic() - started < 10


def test_a_server_out_of_order_is_bridged_and_a_wrong_token_is_not(hub, client, whole, cache):
    client(push_raw, "me/disorder", whole)
    expected = client(probability, "me/disorder", cache_dir=cache)
    assert (
        client(reason, probability, "me/disorder", cache_dir=cache, token="hf_wrong")[0] == "token"
    )
    hub.faults(status=503)
    assert client(probability, "me/disorder", cache_dir=cache) == expected
    found, message = client(reason, probability, "me/fresh-disorder", cache_dir=cache)
    assert found == "network" and "503" in message


def test_a_server_that_dies_mid_download_and_comes_back_is_asked_again(hub, client, whole, cache):
    client(push_raw, "me/resumed", whole)
    hub.faults(die_in="model.weights.h5")
    answer = client.start(hub_download, "me/resumed", cache_dir=cache)
    hub.process.wait(20)
    hub.start()
    assert bundle.load(answer.result(30).folder)[1].variant == "baseline"
    asked = [line.split("/")[-1] for line in hub.requests() if line.startswith("GET")]
    # What had come before stands, and the file that broke off is asked for again.
    assert asked.count("model.weights.h5") == 2 and asked.count("config.json") == 1
