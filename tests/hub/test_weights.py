from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import pytest

from pneumonia import HubError, bundle, hub, weights
from pneumonia.weights import Origin, Weights

OWNER = "hf_owner"
# Far below the 4 s of the app, to keep the tests short; what may come on top is the loading of tiny
# networks on busy cores.
SECONDS = 1.0
LOADING = 4.0


# --- run by the client
def answer(
    models: Path,
    cache: Path,
    *,
    times: int = 1,
    variants: tuple[str, ...] = ("baseline",),
    **options,
) -> list[tuple[Origin, float]]:
    """Origin and duration of each load; what was loaded is the variant asked for."""
    chooser = Weights(
        models,
        cache_dir=cache,
        **({"namespace": "me", "seconds": SECONDS, "token": False} | options),
    )
    found = []
    for variant in variants * times:
        started = time.monotonic()
        classifier, origin = chooser.load(variant)
        found.append((origin, time.monotonic() - started))
        assert classifier.spec.variant == variant
    return found


def until_arrived(models: Path, cache: Path, wake: Path) -> list[str]:
    """Kinds of the first answer and of that after a slow download has ended in the background;
    ``wake`` is written to have the Hub sped up.
    """
    chooser = Weights(models, cache_dir=cache, namespace="me", seconds=SECONDS, token=False)
    assert not chooser.arrived("baseline")
    kinds = [chooser.load("baseline")[1].kind]
    wake.touch()
    deadline = time.monotonic() + 20
    while not chooser.arrived("baseline") and time.monotonic() < deadline:
        time.sleep(0.1)
    kinds.append(chooser.load("baseline")[1].kind)
    assert not chooser.arrived("baseline")
    return kinds


def after_an_outage(models: Path, cache: Path, over: Path) -> list[str]:
    """Kinds of the first answer, while the Hub is down, and of that after it came back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "_SILENCE_SECONDS", 0.5)
        chooser = Weights(models, cache_dir=cache, namespace="me", seconds=SECONDS, token=False)
        kinds = [chooser.load("baseline")[1].kind]
        over.with_name("answered").touch()
        while not over.exists():
            time.sleep(0.05)
        deadline = time.monotonic() + 60
        while not chooser.arrived("baseline") and time.monotonic() < deadline:
            time.sleep(0.1)
        kinds.append(chooser.load("baseline")[1].kind)
    return kinds


def load_typed(models: Path, cache: Path, repo: str, seconds: float = 5.0) -> tuple[str, str]:
    try:
        classifier, origin = Weights(models, cache_dir=cache, seconds=seconds).load_repo(repo)
    except HubError as error:
        return error.reason, str(error)
    return classifier.spec.variant, origin.kind


def push(repo: str, folder: Path, private: bool = False) -> str:
    files = [
        (path.name, path)
        for path in folder.iterdir()
        if path.name in (*bundle.NEEDED, "metrics.json")
    ]
    return hub.push(files, repo, message="by hand", token=OWNER, private=private).commit


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def on_hub(hub, client, models_folder) -> str:
    """The baseline as ``me/pneumonia-xray-baseline``; its commit."""
    if not hub.store.folder("model", "me/pneumonia-xray-baseline").is_dir():
        client(push, "me/pneumonia-xray-baseline", models_folder / "baseline")
        hub.forget_requests()
    return hub.head("me/pneumonia-xray-baseline")


def one_sentence(why: str) -> bool:
    return why.endswith(".") and "\n" not in why and ". " not in why and "snapshots" not in why


# --- the order
def test_without_a_namespace_the_bundled_weights_answer_and_nobody_is_asked(
    hub, client, models_folder, cache
):
    [(origin, _)] = client(answer, models_folder, cache, namespace=None)
    assert origin == Origin("bundled", None, None, origin.why) and one_sentence(origin.why)
    assert "PNEUMONIA_HUB_NAMESPACE is not set" in origin.why and hub.requests() == []


def test_the_hubs_weights_answer_where_there_is_a_namespace(
    hub, client, models_folder, cache, on_hub
):
    (first, _), (second, _) = client(answer, models_folder, cache, times=2, seconds=10.0)
    assert first == second == Origin(
        "hub", "me/pneumonia-xray-baseline", on_hub, first.why
    ) and one_sentence(first.why)
    [(pinned, _)] = client(
        answer, models_folder, cache, revisions={"baseline": on_hub}, seconds=10.0
    )
    assert pinned.commit == on_hub and "pinned" in pinned.why


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"namespace": "nobody"}, "knows no nobody/pneumonia-xray-baseline"),
        ({"revisions": {"baseline": "gone"}}, "no such revision"),
        ({"token": "hf_wrong"}, "does not accept this token"),
    ],
)
def test_what_the_hub_refuses_is_answered_by_the_bundled_weights_and_said(
    hub, client, models_folder, cache, on_hub, options, words
):
    [(origin, seconds)] = client(answer, models_folder, cache, **options)
    assert origin.kind == "bundled" and words in origin.why and one_sentence(origin.why), origin.why
    assert seconds < LOADING


def test_a_dead_hub_is_answered_by_the_cache_else_by_the_bundled_weights(
    hub, client, models_folder, cache, on_hub, tmp_path
):
    client(answer, models_folder, cache, seconds=10.0)
    hub.kill()
    [(kept, seconds)] = client(answer, models_folder, cache)
    assert (
        kept == Origin("cache", "me/pneumonia-xray-baseline", on_hub, kept.why)
        and "could not be reached" in kept.why
        and one_sentence(kept.why)
    )
    [(bundled, more_seconds)] = client(answer, models_folder, tmp_path / "empty")
    assert (
        bundled.kind == "bundled"
        and "no earlier download" in bundled.why
        and one_sentence(bundled.why)
    )
    assert max(seconds, more_seconds) < SECONDS + LOADING


def test_after_an_outage_the_hub_answers_again_without_a_restart(
    hub, client, models_folder, cache, on_hub, tmp_path
):
    hub.kill()
    answer = client.start(after_an_outage, models_folder, cache, tmp_path / "over")
    deadline = time.monotonic() + 60
    while not (tmp_path / "answered").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    hub.start()
    (tmp_path / "over").touch()
    kinds = answer.result(120)
    assert kinds[0] in ("bundled", "cache") and kinds[1] == "hub"


def test_a_repository_that_went_away_or_a_token_that_expired_leaves_the_cached_copy(
    hub, client, models_folder, cache, on_hub
):
    client(push, "me/pneumonia-xray-augmented", models_folder / "augmented")
    client(answer, models_folder, cache, variants=("augmented",), seconds=10.0)
    [(expired, _)] = client(answer, models_folder, cache, variants=("augmented",), token="hf_wrong")
    assert expired.kind == "cache" and "token" in expired.why
    shutil.rmtree(hub.store.folder("model", "me/pneumonia-xray-augmented"))
    [(gone, _)] = client(answer, models_folder, cache, variants=("augmented",))
    assert gone.kind == "cache" and "knows no" in gone.why


# --- time
def test_a_slow_hub_is_waited_for_once_and_not_once_a_variant(
    hub, client, models_folder, cache, on_hub
):
    hub.faults(delay=6)
    answers = client(answer, models_folder, cache, variants=("baseline", "augmented", "xception"))
    assert [origin.kind for origin, _ in answers] == ["bundled"] * 3
    assert "within 1 s" in answers[0][0].why and one_sentence(answers[0][0].why)
    assert all("within 0.5 s" in origin.why for origin, _ in answers[1:])
    assert answers[0][1] >= SECONDS


def test_a_download_that_takes_too_long_goes_on_and_is_used_the_next_time(
    hub, client, models_folder, cache, on_hub, tmp_path
):
    hub.faults(delay=0.4)
    kinds = client.start(until_arrived, models_folder, cache, tmp_path / "wake")
    deadline = time.monotonic() + 30
    while not (tmp_path / "wake").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    hub.faults()
    found = kinds.result(40)
    assert found == ["bundled", "hub"]


def test_a_hub_that_dies_mid_download_is_answered_in_time(
    hub, client, models_folder, cache, on_hub
):
    hub.faults(die_in="model.weights.h5")
    [(origin, seconds)] = client(answer, models_folder, cache)
    assert origin.kind == "bundled" and seconds < SECONDS + LOADING, origin.why
    assert not list(cache.rglob("snapshots/*/model.weights.h5"))


# --- trust
def test_another_variant_under_the_name_is_not_used(hub, client, models_folder, cache):
    client(push, "clinic/pneumonia-xray-baseline", models_folder / "augmented")
    [(origin, _)] = client(answer, models_folder, cache, namespace="clinic", seconds=10.0)
    assert origin.kind == "bundled" and "holds the variant augmented" in origin.why


def test_corrupted_weights_are_not_used(hub, client, models_folder, cache, on_hub):
    hub.faults(corrupt=["model.weights.h5"])
    [(origin, _)] = client(answer, models_folder, cache, seconds=10.0)
    assert origin.kind == "bundled" and "thrown away" in origin.why


def test_a_typed_repository_is_loaded_without_the_apps_token(
    hub, client, models_folder, cache, on_hub
):
    assert client(load_typed, models_folder, cache, "me/pneumonia-xray-baseline") == (
        "baseline",
        "hub",
    )
    client(push, "me/hidden", models_folder / "baseline", private=True)
    assert client(_load_with_a_saved_token, models_folder, cache, "me/hidden")[0] == "repository"
    assert client(load_typed, models_folder, cache, "../etc")[0] == "name"
    hub.faults(delay=3)
    found, message = client(
        load_typed, models_folder, cache / "other", "me/pneumonia-xray-baseline", 0.3
    )
    assert found == "busy" and "background" in message
    hub.kill()
    assert client(load_typed, models_folder, cache, "me/pneumonia-xray-baseline") == (
        "baseline",
        "cache",
    )


def _load_with_a_saved_token(models: Path, cache: Path, repo: str) -> tuple[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", OWNER)
        assert hub.download(repo, cache_dir=cache / "of-the-owner").repo == repo
        return load_typed(models, cache, repo)


# --- settings, without a network
def test_the_environment_names_namespace_and_pins(monkeypatch, tmp_path):
    for name in (
        weights.NAMESPACE_VARIABLE,
        f"{weights.REVISION_VARIABLE}XCEPTION",
        f"{weights.REVISION_VARIABLE}BASELINE",
    ):
        monkeypatch.delenv(name, raising=False)
    assert Weights.from_environment(tmp_path).namespace is None
    monkeypatch.setenv("PNEUMONIA_HUB_NAMESPACE", "me")
    monkeypatch.setenv("PNEUMONIA_HUB_REVISION_XCEPTION", "a" * 40)
    monkeypatch.setenv("PNEUMONIA_HUB_REVISION_BASELINE", "")
    found = Weights.from_environment(tmp_path)
    assert found.namespace == "me" and found.revisions == {"xception": "a" * 40}


def test_bundled_weights_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="baseline"):
        Weights(tmp_path).load("baseline")


def test_an_origin_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Origin("hub", "a/b", "c", "d").kind = "cache"
