"""The rows of :mod:`pneumonia.score` from many machines, through Ray Data.

A chunk of files is a block of a Ray data set. An actor holds one network and answers chunks with
:func:`pneumonia.score.rows`, as one machine does. Ray replaces an actor that dies, gives the new
one its chunk, and returns chunks in order. Every machine needs this package and must see files and
model under the same paths; a model on the Hub it downloads.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import pickle
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pneumonia.score import CHUNK, Row, ScoreError, Source, rows

if TYPE_CHECKING:
    from pneumonia.classifier import PneumoniaClassifier

# What one network and the processes that decode for it keep busy.
CORES = 2
# Files of one data set, so that the list of a large archive is never in memory as a whole.
WINDOW = 200_000


class Scorer:
    """One network on one machine; Ray keeps it between chunks.

    Raises:
        ScoreError: the model found there has other weights.
    """

    def __init__(self, asked: dict[str, Any]) -> None:
        from pneumonia.classifier import PneumoniaClassifier

        self.asked = asked
        self.classifier = PneumoniaClassifier.from_pretrained(
            asked["model"], revision=asked["revision"]
        )
        if self.classifier.spec.weights_sha256 != asked["weights_sha256"]:
            raise ScoreError(
                f"{asked['model']} has other weights on {os.uname().nodename} than here."
            )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A column of pickled lists of sources to one of a pickled row each."""
        sources = [one for part in batch["sources"] for one in pickle.loads(part)]
        answers = rows(
            self.classifier,
            sources,
            operating_point=self.asked["operating_point"],
            threshold=self.asked["threshold"],
            force=self.asked["force"],
            workers=self.asked["workers"],
        )
        return {"row": [pickle.dumps(row) for row in answers]}


def score_on(
    address: str,
    classifier: PneumoniaClassifier,
    sources: Iterable[Source],
    *,
    operating_point: str | None = None,
    threshold: float | None = None,
    force: bool = True,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Row]:
    """One row a file, in their order, from the machines of a Ray cluster.

    Args:
        address: ``local`` for a cluster of this machine alone, ``auto`` for the one it belongs to,
            or a cluster's ``host:port``.
        classifier: whose bundle or repository the machines load; it is not sent.
        sources: the files, under paths that every machine sees.
        operating_point, threshold: as :meth:`PneumoniaClassifier.predict`.
        force: as :func:`pneumonia.score.rows`.
        workers: processes that decode for each network; :data:`CORES` if None.
        chunk: files that a network is given at a time, and that the end of its machine repeats.

    Raises:
        ScoreError: Ray is not installed, the cluster cannot be reached or has too few cores, or a
            machine has another model.
    """
    if classifier.repo is None and classifier.folder is None:
        raise ScoreError(
            "A cluster needs a model from a folder or the Hub, which machines can load."
        )
    ray = _connect(address)
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < 1:
            raise ScoreError(f"The Ray cluster {address} has no core to spare.")
        each = min(CORES, cores)
        asked = {
            "model": classifier.repo or str(Path(str(classifier.folder)).absolute()),
            "revision": classifier.commit,
            "weights_sha256": classifier.spec.weights_sha256,
            "operating_point": operating_point,
            "threshold": threshold,
            "force": force,
            "workers": CORES if workers is None else workers,
        }
        left = (dataclasses.replace(one, path=one.path.absolute()) for one in sources)
        while window := list(itertools.islice(left, WINDOW)):
            # As many at a time as on one machine: the last digits depend on the company.
            items = [
                {"sources": pickle.dumps(window[start : start + chunk])}
                for start in range(0, len(window), chunk)
            ]
            answers = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                Scorer,
                fn_constructor_args=(asked,),
                batch_size=None,
                compute=ray.data.ActorPoolStrategy(size=max(1, cores // each)),
                num_cpus=each,
            )
            for row in answers.iter_rows():
                yield pickle.loads(row["row"])
    except ray.exceptions.RayError as error:
        raise ScoreError(f"The Ray cluster {address} broke off: {_first_line(error)}") from None
    finally:
        ray.shutdown()


def _connect(address: str) -> Any:
    # Ray reports its use to its makers, and each step to the terminal, unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise ScoreError("A cluster needs Ray: pip install '.[ray]' in the checkout.") from None
    try:
        _knock(address)
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ScoreError(
            f"There is no Ray cluster at {address} ({_first_line(error)}); start one with"
            " 'ray start --head', or give --ray alone for one on this machine."
        ) from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    return ray


def _knock(address: str) -> None:
    """Raises OSError where nothing listens at ``host:port``: Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
