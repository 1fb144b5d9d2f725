from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from hub_client import Client
from huggingface_hub import ModelCard
from missing import absent

from pneumonia import (
    BundleError,
    HubError,
    ModelSpecError,
    PneumoniaClassifier,
    bundle,
    hub,
    release,
)
from pneumonia.architectures import CATALOGUE
from pneumonia.release import ReleaseError
from train.reports import card, publish

OWNER = "hf_owner"


def reason(function, *arguments, **options) -> tuple[str, str]:
    try:
        function(*arguments, **options)
    except HubError as error:
        return error.reason, str(error)
    return "", ""


def refusal(folder: Path, repo: str) -> tuple[str, str]:
    """Run by a client: the type and the words of what keeps a bundle from being published."""
    try:
        publish.push(folder, repo, token=OWNER)
    except (BundleError, ModelSpecError, ReleaseError) as error:
        return type(error).__name__, str(error)
    return "", ""


def push_from_a_classifier(folder: Path, repo: str) -> hub.Published:
    return PneumoniaClassifier.from_pretrained(folder).push_to_hub(repo, token=OWNER)


# --- what goes up
def test_a_push_is_one_commit_with_bundle_and_card(hub, client, evaluated):
    expected = {path.name for path in evaluated.iterdir()} | {"README.md"}
    listed = expected | {"SHA256SUMS"}
    published = client(publish.push, evaluated, "me/one-commit", token=OWNER)
    assert hub.commits("me/one-commit") == 2  # the Hub's own first one, and ours
    assert published.commit == hub.head("me/one-commit")
    assert published.url == f"{hub.endpoint}/me/one-commit"
    assert str(published) == f"{published.url} (commit {published.commit})"
    entries = hub.entries("me/one-commit")
    assert entries.keys() == listed | {".gitattributes"}
    sums = hub.read("me/one-commit", "SHA256SUMS").decode().splitlines()
    assert {line[66:] for line in sums} == expected
    assert [name for name, entry in entries.items() if entry["lfs"]] == ["model.weights.h5"]
    for name in expected - {"README.md"}:
        assert hub.read("me/one-commit", name) == (evaluated / name).read_bytes(), name


def test_the_published_card_passes_the_hubs_validation_and_says_what_metrics_json_says(
    hub, client, evaluated, tmp_path
):
    client(publish.push, evaluated, "me/validated", token=OWNER)
    assert "POST /api/validate-yaml" in hub.requests()
    file = tmp_path / "README.md"
    file.write_bytes(hub.read("me/validated", "README.md"))
    data = ModelCard.load(file).data
    figures = json.loads(hub.read("me/validated", "metrics.json"))["test"]["figures"]
    assert {result.metric_type: result.metric_value for result in data.eval_results} == {
        hub_name: figures[name]["value"] for name, hub_name in release.FIGURES.items()
    }
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "keras",
        "image-classification",
    )


def test_a_second_push_updates_and_removes_what_the_bundle_no_longer_has(
    hub, client, evaluated, make_metrics
):
    first = client(publish.push, evaluated, "me/twice", token=OWNER)
    (evaluated / "roc.png").unlink()
    metrics = make_metrics("test")
    changed = dataclasses.replace(
        metrics,
        figures=dict(metrics.figures)
        | {"auc": dataclasses.replace(metrics.figures["auc"], value=0.94)},
    )
    bundle.write_metrics(
        evaluated,
        {"validation": make_metrics("val"), "test": changed},
        bundle.read_model_spec(evaluated),
    )
    second = client(publish.push, evaluated, "me/twice", token=OWNER)
    assert hub.commits("me/twice") == 3
    assert "roc.png" not in hub.entries("me/twice") and ".gitattributes" in hub.entries("me/twice")
    assert b"0.94" in hub.read("me/twice", "README.md") and b"roc.png" not in hub.read(
        "me/twice", "README.md"
    )
    assert b"roc.png" in hub.read("me/twice", "README.md", first.commit)
    assert first.commit != second.commit


def test_a_push_carries_the_onnx_file_where_that_is_asked_for(hub, client, evaluated):
    for package in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            absent(f"{package} is not installed (pip install .[export])")
    client(publish.push, evaluated, "me/onnx", token=OWNER, onnx=True)
    named = hub.read("me/onnx", bundle.CHECKSUMS).decode()
    assert hashlib.sha256(hub.read("me/onnx", "model.onnx")).hexdigest() in named
    assert not (evaluated / "model.onnx").exists()
    # A push without it takes it away again, as it does with everything of ours.
    client(publish.push, evaluated, "me/onnx", token=OWNER)
    assert "model.onnx" not in hub.entries("me/onnx")


def test_a_branch_is_made_and_main_left_alone(hub, client, evaluated):
    client(publish.push, evaluated, "me/branches", token=OWNER, revision="try")
    assert "model.weights.h5" in hub.entries("me/branches", "try")
    assert "model.weights.h5" not in hub.entries("me/branches", "main")


def test_private_is_kept_private_and_a_public_repository_is_not_published_to(
    hub, client, evaluated
):
    client(publish.push, evaluated, "me/secret", token=OWNER, private=True)
    assert json.loads((hub.store.folder("model", "me/secret") / "settings.json").read_text())[
        "private"
    ]
    client(publish.push, evaluated, "me/open", token=OWNER)
    before = hub.head("me/open")
    assert (
        client(reason, publish.push, evaluated, "me/open", token=OWNER, private=True)[0] == "rights"
    )
    assert hub.head("me/open") == before


def test_a_classifier_pushes_the_bundle_it_came_from(hub, client, evaluated):
    with pytest.raises(ReleaseError, match="has no card"):
        client(push_from_a_classifier, evaluated, "me/by-class")
    (evaluated / "README.md").write_text(card.render(evaluated))
    assert client(push_from_a_classifier, evaluated, "me/by-class").commit == hub.head(
        "me/by-class"
    )
    published = hub.read("me/by-class", "README.md").decode()
    assert 'from_pretrained("me/by-class"' in published and "assets/models" not in published


# --- what does not
def without_a_metric(folder: Path) -> None:
    values = json.loads((folder / "metrics.json").read_text())
    del values["test"]["figures"]["specificity"]
    (folder / "metrics.json").write_text(json.dumps(values))


def without_a_split(folder: Path) -> None:
    values = json.loads((folder / "metrics.json").read_text())
    del values["validation"]
    (folder / "metrics.json").write_text(json.dumps(values))


def with_no_number(folder: Path) -> None:
    (folder / "metrics.json").write_text(
        (folder / "metrics.json").read_text().replace("0.93", "NaN")
    )


def of_other_weights(folder: Path) -> None:
    spec = dataclasses.replace(bundle.read_model_spec(folder), weights_sha256="1" * 64)
    bundle.write_metrics(folder, bundle.read_metrics(folder), spec)


def with_miscounted_images(folder: Path) -> None:
    (folder / "metrics.json").write_text(
        (folder / "metrics.json").read_text().replace('"true_positive": 90', '"true_positive": 91')
    )


def without_metrics(folder: Path) -> None:
    (folder / "metrics.json").unlink()


def with_a_pickle(folder: Path) -> None:
    (folder / "optimizer.pkl").write_bytes(b"x")


def with_code(folder: Path) -> None:
    (folder / "model.py").write_text("print()")


def with_a_folder(folder: Path) -> None:
    (folder / "logs").mkdir()


def with_other_weights(folder: Path) -> None:
    shutil.copy(folder / "model.weights.h5", folder / "epoch-001.weights.h5")


def with_altered_weights(folder: Path) -> None:
    data = bytearray((folder / "model.weights.h5").read_bytes())
    data[-1] ^= 1
    (folder / "model.weights.h5").write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (without_a_metric, ReleaseError, "specificity"),
        (without_a_split, ReleaseError, "validation"),
        (with_no_number, ReleaseError, "numbers in 0..1"),
        (of_other_weights, ReleaseError, "other weights"),
        (with_miscounted_images, ReleaseError, "add up to 151"),
        (without_metrics, ReleaseError, "validation and test"),
        (with_a_pickle, ReleaseError, "optimizer.pkl"),
        (with_code, ReleaseError, "model.py"),
        (with_a_folder, ReleaseError, "logs"),
        (with_other_weights, ReleaseError, "epoch-001"),
        (with_altered_weights, BundleError, "sha256"),
    ],
)
def test_what_is_not_fit_to_be_seen_is_not_sent(hub, client, evaluated, spoil, error, message):
    spoil(evaluated)
    kind, said = client(refusal, evaluated, "me/unfit")
    assert kind in (error.__name__, ModelSpecError.__name__) and re.search(message, said)
    assert not hub.requests()


@pytest.mark.parametrize(
    "leftover",
    [
        "{{ recall }}",
        "TO" + "DO: figures",
        "[More Information Needed]",
        "accuracy nan",
        "from_pretrained('NS/NAME')",
    ],
)
def test_a_card_with_something_left_over_is_refused(evaluated, leftover):
    text = card.render(evaluated, "me/x") + f"\n{leftover}\n"
    with pytest.raises(ReleaseError, match="still has"):
        release.check(evaluated, text)


def test_a_card_with_other_figures_or_none_is_refused(evaluated):
    text = card.render(evaluated, "me/x")
    with pytest.raises(ReleaseError, match=r"differs from metrics.json in roc_auc"):
        release.check(evaluated, text.replace("value: 0.93", "value: 0.99"))
    with pytest.raises(ReleaseError, match="differs from"):
        release.check(evaluated, "# Only a title\n\nbaseline\n")
    with pytest.raises(ReleaseError, match="cannot be read"):
        release.check(evaluated, text.replace("license: apache-2.0", "license: ["))


def test_the_hubs_own_refusal_of_a_card_reaches_the_person(hub, client):
    found, message = client(reason, _push_bad_metadata, "me/bad-card")
    assert found == "refused" and '"license" must be a string' in message and "\n" not in message
    assert not hub.store.folder("model", "me/bad-card").exists()


def _push_bad_metadata(repo: str) -> None:
    hub.push(
        [("README.md", b"---\nlicense: [a, b]\n---\n# x\n")],
        repo,
        message="x",
        token=OWNER,
    )


def test_only_what_an_earlier_push_brought_is_removed(hub, client, evaluated):
    client(publish.push, evaluated, "me/guests", token=OWNER)
    by_hand = {"notes.csv": hub.store.keep(b"a,b"), "sub/roc.png": hub.store.keep(b"png")}
    hub.store.commit("model", "me/guests", "main", "by hand", by_hand, [])
    (evaluated / "roc.png").unlink()
    client(publish.push, evaluated, "me/guests", token=OWNER)
    names = hub.entries("me/guests").keys()
    assert "roc.png" not in names and by_hand.keys() <= names


def test_another_variant_is_replaced_only_where_that_is_asked_for(
    hub, client, evaluated, models_folder
):
    client(publish.push, evaluated, "me/variants", token=OWNER)
    before = hub.head("me/variants")
    other = models_folder / "augmented"
    found, message = client(reason, publish.push, other, "me/variants", token=OWNER)
    assert found == "variant" and "baseline" in message and "augmented" in message
    assert hub.head("me/variants") == before
    client(publish.push, other, "me/variants", token=OWNER, replace=True)
    assert hub.head("me/variants") != before


def test_a_pull_request_leaves_the_branch_alone(hub, client, evaluated):
    client(publish.push, evaluated, "me/reviewed", token=OWNER)
    hub.forget_requests()
    before = hub.head("me/reviewed")
    client(publish.push, evaluated, "me/reviewed", token=OWNER, create_pr=True)
    assert any(line.endswith("/commit/main?create_pr=1") for line in hub.requests())
    assert hub.head("me/reviewed") == before
    assert "refs/pr/1" in hub.store.refs("model", "me/reviewed")


# --- refusals and failures
@pytest.mark.parametrize(
    ("repo", "token", "expected", "words"),
    [
        ("me/x", None, "token", "hf auth login"),
        ("me/x", "hf_wrong", "token", "does not accept this token"),
        ("somebody/x", OWNER, "rights", "me may not write to somebody/x"),
        ("me/theirs", "hf_guest", "rights", "guest may not write to me/theirs"),
        ("x", OWNER, "name", "namespace/name"),
        ("../x", OWNER, "name", "namespace/name"),
    ],
)
def test_tokens_rights_and_names(hub, client, evaluated, repo, token, expected, words):
    if repo == "me/theirs":
        client(publish.push, evaluated, repo, token=OWNER)
    before = dict(hub.store.refs("model", repo)) if repo == "me/theirs" else None
    found, message = client(reason, publish.push, evaluated, repo, token=token)
    assert found == expected and words in message
    assert before is None or hub.store.refs("model", repo) == before


@pytest.mark.parametrize(
    ("where", "status", "words", "headers", "expected"),
    [
        ("/storage/", 507, "Storage limit reached", {}, "quota"),
        ("/storage/", 403, "Signature expired", {}, "rights"),
        ("/info/lfs/", 402, "Private storage needs PRO", {}, "quota"),
        ("/commit/", 403, "Your plan allows no more repositories", {}, "rights"),
        ("/commit/", 412, "A commit has happened since", {}, "busy"),
        ("/repos/create", 402, "Upgrade to PRO", {}, "quota"),
        ("/repos/create", 429, "You have exceeded the rate", {}, "busy"),
        ("/preupload/", 400, "path is not allowed", {}, "refused"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_hubs_own_words(
    hub, client, evaluated, make_spec, make_metrics, where, status, words, headers, expected
):
    renew_weights(evaluated, make_spec, make_metrics, seed=status)
    hub.faults(refuse=[where, status, words, headers])
    found, message = client(
        reason, publish.push, evaluated, f"me/refusals-{status}-{len(where)}", token=OWNER
    )
    assert found == expected and "\n" not in message, message
    assert words in message, message


@pytest.mark.parametrize("where", ["/whoami", "/preupload/", "/info/lfs/", "/commit/"])
def test_odd_json_is_one_sentence(hub, client, evaluated, make_spec, make_metrics, where):
    renew_weights(evaluated, make_spec, make_metrics, seed=len(where))
    hub.faults(odd=where)
    found, message = client(reason, publish.push, evaluated, "me/odd", token=OWNER)
    assert found in ("network", "quota") and "\n" not in message, message


def test_a_push_has_a_time_limit(hub, client, evaluated, make_spec, make_metrics):
    renew_weights(evaluated, make_spec, make_metrics, seed=77)
    client(publish.push, evaluated, "me/slow", token=OWNER)
    before = hub.head("me/slow")
    hub.faults(hang_put=30)
    renew_weights(evaluated, make_spec, make_metrics, seed=78)
    found, message = client(reason, _push_within, evaluated, "me/slow", 2.0)
    assert found == "network" and "2 s" in message
    assert hub.head("me/slow") == before


def _push_within(folder: Path, repo: str, seconds: float) -> None:
    files = release.check(folder, card.render(folder, repo))
    hub.push(files, repo, message="x", token=OWNER, seconds=seconds)


def renew_weights(folder: Path, make_spec, make_metrics, seed: int) -> None:
    """Weights that the Hub has never seen, or nothing would be uploaded."""
    keras.utils.set_random_seed(seed)
    spec = bundle.save(
        CATALOGUE["baseline"].build((48, 48)),
        folder,
        make_spec("baseline", (48, 48)),
        np.zeros((1, 48, 48, 3), np.float32),
    )
    bundle.write_metrics(
        folder, {"validation": make_metrics("val"), "test": make_metrics("test")}, spec
    )


def test_no_network_is_one_sentence(hub, client, evaluated):
    hub.kill()
    found, message = client(reason, publish.push, evaluated, "me/offline", token=OWNER)
    assert (
        found == "network"
        and message.startswith("The Hub could not be reached")
        and "\n" not in message
    )


def test_a_server_that_dies_at_the_commit_leaves_the_repository_as_it_was(hub, client, evaluated):
    first = client(publish.push, evaluated, "me/dying", token=OWNER)
    (evaluated / "confusion.png").unlink()
    hub.faults(die_on_commit=True)
    assert client(reason, publish.push, evaluated, "me/dying", token=OWNER)[0] == "network"
    hub.process.wait(10)
    hub.start()
    assert hub.head("me/dying") == first.commit and "confusion.png" in hub.entries("me/dying")
    assert (
        client(publish.push, evaluated, "me/dying", token=OWNER).commit
        == hub.head("me/dying")
        != first.commit
    )


def test_a_push_killed_half_way_leaves_the_repository_as_it_was(
    hub, client, evaluated, make_spec, make_metrics, tmp_path
):
    first = client(publish.push, evaluated, "me/killed", token=OWNER)
    renew_weights(evaluated, make_spec, make_metrics, seed=99)
    doomed = Client(hub.environment(tmp_path / "home"))
    hub.faults(hang_put=60)
    hub.forget_requests()
    push = doomed.start(publish.push, evaluated, "me/killed", token=OWNER)
    hub.wait_for("PUT /storage/", 60)
    assert not push.done()
    doomed.close()
    assert hub.head("me/killed") == first.commit and hub.commits("me/killed") == 2
    hub.faults()
    assert (
        client(publish.push, evaluated, "me/killed", token=OWNER).commit
        == hub.head("me/killed")
        != first.commit
    )
