"""The class people use: load a bundle, hand it X-rays, get typed predictions."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import keras
import numpy as np

from pneumonia import bundle, hub, input_check, radiograph, release
from pneumonia.model_spec import (
    LABELS,
    Metrics,
    ModelSpec,
    OperatingPoint,
    Prediction,
    uncertain_between,
)

_log = logging.getLogger(__name__)


class PneumoniaClassifier:
    """A trained network with its model spec.

    >>> classifier = PneumoniaClassifier.from_pretrained("assets/models/xception")
    >>> classifier.predict("x.jpeg").label
    'PNEUMONIA'

    Attributes:
        model: the Keras network: float32 ``(N, H, W, 3)``, 0 to 255, to the uncalibrated
            probability ``(N, 1)``.
        spec: what the bundle promises.
        metrics: entries ``validation`` and ``test`` of the bundle's ``metrics.json``; empty where
            it has none.
        folder: where the bundle was read from.
    """

    def __init__(
        self,
        model: keras.Model,
        spec: ModelSpec,
        metrics: Mapping[str, Metrics] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.model = model
        self.spec = spec
        self.metrics = dict(metrics or {})
        self.folder = folder

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> PneumoniaClassifier:
        """Loads a bundle from a folder or from the Hugging Face Hub.

        From the Hub only what prediction needs is downloaded, by exact name; nothing in a
        repository is ever executed, and the weights must have the sha256 of their model spec. Where
        the Hub cannot be reached, the copy in the disk cache answers, with a warning in the log.

        Args:
            source: the bundle's folder, or ``namespace/name`` of a repository. A folder of that
                name comes first.
            revision: branch, tag or commit of the repository; the main branch if None. A commit
                that is on disk needs no request.
            token: a token, None for the saved one, False for none.
            cache_dir: where downloads are kept; huggingface_hub's own cache if None.
            local_files_only: take the copy in the cache and make no request.
            force_download: download again what is in the cache.

        Raises:
            FileNotFoundError: there is no such folder, and the source is no repository name.
            HubError: the repository cannot be had, or is refused; its ``reason`` says which.
            BundleError: the folder is no whole, unaltered bundle.
            ModelSpecError: its model spec is not valid.
        """
        folder = Path(source)
        if not folder.is_dir():
            if not hub.is_repo_name(source):
                raise FileNotFoundError(
                    f"There is no model folder {folder}; expected one with"
                    f" {', '.join(bundle.NEEDED)}, or a namespace/name on the Hub."
                )
            folder = _fetched(
                str(source), revision, token, cache_dir, local_files_only, force_download
            ).folder
        model, spec = bundle.load(folder)
        return cls(model, spec, bundle.read_metrics(folder), folder)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Copies the bundle, evidence and card included, to ``folder``; byte for byte, so that its
        sha256 stays what the metrics were measured on.

        Raises:
            ValueError: the classifier was not loaded from a bundle.
        """
        if self.folder is None:
            raise ValueError(
                "This classifier was not loaded from a bundle; write one with"
                " pneumonia.bundle.save()."
            )
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        commit_message: str | None = None,
    ) -> hub.Published:
        """Publishes the bundle, evidence and card included, in one commit; the repository is made
        if need be.

        ``python -m train push`` does the same after writing the card anew.

        Args:
            repo: ``namespace/name``.
            private: make it a private repository.
            revision: a branch, made if need be; the main branch if None.
            token: the saved one if None.
            commit_message: the first line of the commit.

        Returns:
            The addresses of repository and commit.

        Raises:
            ValueError: the classifier was not loaded from a bundle.
            ReleaseError: the bundle has no card, a metric is missing, or something is left over in
                the card.
            BundleError: the weights are not those of the model spec.
            HubError: the Hub cannot be reached or does not accept it.
        """
        if self.folder is None:
            raise ValueError(
                "This classifier was not loaded from a bundle; write one with"
                " pneumonia.bundle.save()."
            )
        return release.publish(
            self.folder,
            repo,
            private=private,
            revision=revision,
            token=token,
            message=commit_message,
        )

    @overload
    def predict(
        self, images: radiograph.Source, *, threshold: float | None = ..., batch_size: int = ...
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        images: list[radiograph.Source] | tuple[radiograph.Source, ...],
        *,
        threshold: float | None = ...,
        batch_size: int = ...,
    ) -> list[Prediction]: ...
    def predict(
        self, images: Any, *, threshold: float | None = None, batch_size: int = 32
    ) -> Prediction | list[Prediction]:
        """Classifies one image or a list of them.

        Args:
            images: a path, encoded bytes, PIL image or array (see
                :func:`pneumonia.radiograph.read`), or a list or tuple of those.
            threshold: 0 to 1; a probability at or above it is called PNEUMONIA. The model spec's
                default operating point if None.
            batch_size: how many images go through the network at once.

        Returns:
            A Prediction, or a list of them in the order given. Any picture gets one; where it is no
            frontal chest X-ray, its ``warnings`` say so.

        Raises:
            UnreadableImage: an image cannot be read; the message names it.
            FileNotFoundError: a path does not exist.
            ValueError: the threshold is outside 0..1 or the batch size is below 1.
        """
        threshold = (
            self.spec.default.threshold
            if threshold is None
            else OperatingPoint("asked for", float(threshold)).threshold
        )
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        low, high = uncertain_between(threshold, self.spec.uncertainty)
        single = not isinstance(images, (list, tuple))
        sources = [images] if single else list(images)
        predictions: list[Prediction] = []
        for start in range(0, len(sources), batch_size):
            started = time.perf_counter()
            pictures = [radiograph.read(source) for source in sources[start : start + batch_size]]
            values = self.probabilities(self.resized(pictures))
            warnings = [input_check.examine(picture).sentences for picture in pictures]
            milliseconds = (time.perf_counter() - started) * 1000 / len(pictures)
            for picture, value, found in zip(pictures, map(float, values), warnings, strict=True):
                label, near = LABELS[int(value >= threshold)], low < value < high
                predictions.append(
                    Prediction(
                        label,
                        value,
                        threshold,
                        self.spec.variant,
                        milliseconds,
                        picture.name,
                        near,
                        found,
                    )
                )
        return predictions[0] if single else predictions

    def resized(self, pictures: Sequence[radiograph.Radiograph]) -> np.ndarray:
        """Decoded radiographs at the network's input size: uint8 ``(N, H, W)``."""
        return np.stack([radiograph.resize(picture, self.spec.input_size) for picture in pictures])

    def inputs(self, pictures: Sequence[radiograph.Radiograph]) -> np.ndarray:
        """Decoded radiographs as the network takes them: float32 ``(N, H, W, 3)``, 0 to 255."""
        return radiograph.to_input(self.resized(pictures))

    def probabilities(self, resized: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of PNEUMONIA, float64 ``(N,)``, of images that :meth:`resized`
        or a cache of it gave, in one batch.
        """
        return calibrated(
            bundle.probabilities(self.model, radiograph.to_input(resized), max(1, len(resized))),
            self.spec.temperature,
        )


def _fetched(
    repo: str,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
    force_download: bool,
) -> hub.Snapshot:
    if local_files_only:
        return hub.cached(repo, revision=revision, cache_dir=cache_dir)
    try:
        return hub.download(
            repo, revision=revision, token=token, cache_dir=cache_dir, force_download=force_download
        )
    except hub.HubError as error:
        # A refusal is for the caller to see; only silence is bridged, as huggingface_hub does it,
        # but not without a word.
        if error.reason not in ("network", "offline") or force_download:
            raise
        try:
            kept = hub.cached(repo, revision=revision, cache_dir=cache_dir)
        except hub.HubError:
            raise error from None
        _log.warning("%s The cached copy, commit %s, is used.", error, kept.commit[:7])
        return kept


def calibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divides logits by a temperature (Guo et al., ICML 2017): float64 ``(N,)`` to the same; a
    temperature of 1 changes nothing at all.
    """
    if temperature == 1.0:
        return probabilities
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return 1 / (1 + np.exp(-np.log(clipped / (1 - clipped)) / temperature))
