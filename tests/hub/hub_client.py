"""The Hub's process seen from a test, and clients in processes that never knew another Hub:
huggingface_hub reads its environment once, when imported.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from hub_store import Store

TESTS = Path(__file__).resolve().parents[1]


class Hub:
    """The server process, and what lies on its disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root)
        self.port = 0
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server, after a death on the port it had before."""
        self.faults()
        command = [
            sys.executable,
            str(TESTS / "hub" / "hub_server.py"),
            str(self.root),
            str(self.port),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def faults(self, **faults: Any) -> None:
        """Replaces the faults; none without arguments."""
        partial = self.root / "faults.partial"
        partial.write_text(json.dumps(faults))
        partial.replace(self.root / "faults.json")

    def forget_requests(self) -> None:
        (self.root / "requests.log").unlink(missing_ok=True)

    def requests(self) -> list[str]:
        file = self.root / "requests.log"
        return file.read_text().splitlines() if file.is_file() else []

    def wait_for(self, request: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not any(line.startswith(request) for line in self.requests()):
            assert time.monotonic() < deadline, f"no {request} within {seconds} s"
            time.sleep(0.02)

    def head(self, repo: str, branch: str = "main", kind: str = "model") -> str:
        return self.store.refs(kind, repo)[branch]

    def commits(self, repo: str, kind: str = "model") -> int:
        return len(list((self.store.folder(kind, repo) / "commits").iterdir()))

    def entries(self, repo: str, revision: str = "main", kind: str = "model") -> dict[str, dict]:
        return self.store.files(kind, repo, self.store.resolve(kind, repo, revision) or "")

    def read(self, repo: str, name: str, revision: str = "main", kind: str = "model") -> bytes:
        return (
            self.root / "blobs" / self.entries(repo, revision, kind)[name]["sha256"]
        ).read_bytes()

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The environment of a client that knows this Hub alone and keeps everything under
        ``home``.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING", "PNEUMONIA_"))
        }
        quiet = {
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PNEUMONIA_LEAN": "1",
        }
        paths = os.pathsep.join((str(TESTS.parent), str(TESTS), str(TESTS / "hub")))
        return (
            kept
            | quiet
            | {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "PYTHONPATH": paths}
            | more
        )


class Client:
    """A process that runs functions of the test modules, one after the other."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(variables)
        try:
            # The process starts with the first thing to do, and takes the environment of that
            # moment along.
            self.pid = self.start(os.getpid).result(180)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def start(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future:
        return self._pool.submit(function, *arguments, **options)

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self.start(function, *arguments, **options).result(180)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
