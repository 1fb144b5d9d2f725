"""The same rows from a cluster of two machines, one of whose workers is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from missing import absent
from PIL import Image

from pneumonia import cluster, score
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.score import ScoreError


@pytest.fixture(scope="module")
def classifier(models_folder):
    return PneumoniaClassifier.from_pretrained(models_folder / "baseline")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, drawn_radiograph):
    folder = tmp_path_factory.mktemp("archive")
    for number in range(29):
        Image.fromarray(drawn_radiograph(number % 8, number % 2)).save(folder / f"{number:02}.png")
    (folder / "10.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def address():
    """Two nodes of two cores each, on this machine."""
    if importlib.util.find_spec("ray") is None:
        absent("Ray is not installed: pip install '.[ray]'")
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    machines.add_node(num_cpus=2)
    yield machines.address
    machines.shutdown()


def is_ours(pid: int) -> bool:
    """Whether a process descends from this one; another run's may be at work beside it."""
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()


def workers() -> list[int]:
    """The processes that hold a network."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                said = (process / "cmdline").read_bytes()
                if said.startswith(b"ray::MapWorker") and is_ours(int(process.name)):
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def test_a_killed_worker_costs_no_row(address, classifier, archive):
    alone = list(score.rows(classifier, score.find_sources(archive), workers=0, chunk=3))
    killed, rows = [], []
    for row in cluster.score_on(
        address, classifier, score.find_sources(archive), workers=0, chunk=3
    ):
        if not killed:
            killed = workers()
            os.kill(killed[0], signal.SIGKILL)
        rows.append(row)
    assert killed
    assert [row.cells() for row in rows] == [row.cells() for row in alone]
    assert sum(row.prediction is None for row in rows) == 1


def test_a_machine_with_another_model_is_refused(address, classifier, archive):
    other = PneumoniaClassifier(
        classifier.model,
        replace(classifier.spec, weights_sha256="0" * 64),
        folder=classifier.folder,
    )
    with pytest.raises(ScoreError, match="other weights"):
        list(cluster.score_on(address, other, score.find_sources(archive)))


def test_a_cluster_that_is_not_there_is_named(classifier, archive):
    if importlib.util.find_spec("ray") is None:
        absent("Ray is not installed: pip install '.[ray]'")
    with pytest.raises(ScoreError, match=r"no Ray cluster at 127\.0\.0\.1:9"):
        list(cluster.score_on("127.0.0.1:9", classifier, score.find_sources(archive)))


def test_without_ray_it_says_how_to_have_it(classifier, archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScoreError, match=r"pip install '\.\[ray\]'"):
        list(cluster.score_on("local", classifier, score.find_sources(archive)))


def test_a_model_of_memory_alone_is_refused(classifier, archive):
    bare = PneumoniaClassifier(classifier.model, classifier.spec)
    with pytest.raises(ScoreError, match="from a folder or the Hub"):
        list(cluster.score_on("local", bare, score.find_sources(archive)))
