"""A Hub of our own on loopback, a client of it, and a bundle to publish."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import Client, Hub
from PIL import Image


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.kill()


@pytest.fixture
def hub(running_hub: Hub) -> Iterator[Hub]:
    """The Hub, alive, without faults and with an empty log of requests."""
    if running_hub.process.poll() is not None:
        running_hub.start()
    running_hub.faults()
    running_hub.forget_requests()
    yield running_hub
    running_hub.faults()


@pytest.fixture(scope="session")
def client(running_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client without a saved token."""
    client = Client(running_hub.environment(tmp_path_factory.mktemp("home")))
    yield client
    client.close()


@pytest.fixture
def evaluated(models_folder: Path, tmp_path: Path) -> Path:
    """A whole bundle of the baseline with pictures and a table, to publish or to spoil."""
    folder = Path(shutil.copytree(models_folder / "baseline", tmp_path / "baseline"))
    for name in ("roc.png", "confusion.png"):
        Image.new("L", (40, 30), 128).save(folder / name)
    with (folder / "predictions_test.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("file", "label", "probability"), ("test/NORMAL/a.jpeg", 0, 0.25)]
        )
    return folder
