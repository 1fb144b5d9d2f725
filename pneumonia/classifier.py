"""The class people use: load a bundle, hand it X-rays, get typed predictions."""

from __future__ import annotations

import logging
import numbers
import os
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pneumonia import bundle, export, hub, input_check, locations, radiograph, release
from pneumonia.familiarity import UNFAMILIAR, Familiarity
from pneumonia.forward import Network
from pneumonia.model_spec import Metrics, ModelSpec, SingleView, decide
from pneumonia.prediction import (
    ON_INVALID,
    InputCheckError,
    InputCheckWarning,
    InvalidProbability,
    OnInvalid,
    Prediction,
)
from pneumonia.radiograph import COPY_SIZE
from pneumonia.views import PLAIN, draw_views

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)


class PneumoniaClassifier:
    """A trained network with its model spec.

    >>> classifier = PneumoniaClassifier.from_pretrained()
    >>> classifier("x.jpeg").label
    'PNEUMONIA'

    Attributes:
        model: the Keras network: float32 ``(N, H, W, 3)``, 0 to 255, to the uncalibrated
            probability ``(N, 1)``.
        network: its compiled forward pass, uint8 ``(N, H, W)`` to float64 ``(N,)``.
        spec: what the bundle says of it.
        metrics: entries ``validation`` and ``test`` of the bundle's ``metrics.json``; empty where
            it has none.
        folder: where the bundle was read from; None where it was made in memory.
        repo: ``namespace/name`` on the Hub; None where it does not come from there.
        commit: of that repository, 40 hexadecimal digits, or None.
        familiarity: what tells X-rays that are unlike those it learned from; None where the bundle
            has none.
    """

    def __init__(
        self,
        model: keras.Model,
        spec: ModelSpec,
        metrics: Mapping[str, Metrics] | None = None,
        folder: Path | None = None,
        *,
        repo: str | None = None,
        commit: str | None = None,
        familiarity: Familiarity | None = None,
    ) -> None:
        self.model = model
        self.network = Network(model)
        self.spec = spec
        self.metrics = dict(metrics or {})
        self.folder = folder
        self.repo = repo
        self.commit = commit
        self.familiarity = familiarity

    def __repr__(self) -> str:
        source = self.repo or self.folder or "memory"
        commit = (self.commit or self.spec.commit)[:7]
        return (
            f"<{type(self).__name__} {self.spec.variant} from {source}, commit {commit}, threshold"
            f" {self.spec.default.threshold:.3g}>"
        )

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | None = None,
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
            source: the bundle's folder; or ``baseline``, ``augmented`` or ``xception`` for the one
                that comes with this package; or a repository, as ``namespace/name``,
                ``hf://namespace/name`` or its address on the Hub. A folder of that name comes
                first. The bundled Xception if None.
            revision: branch, tag or commit of the repository; the main branch if None. A commit
                that is on disk needs no request.
            token: a token, None for the saved one, False for none.
            cache_dir: where downloads are kept; huggingface_hub's own cache if None.
            local_files_only: take the copy in the cache and make no request.
            force_download: download again what is in the cache.

        Raises:
            FileNotFoundError: there is no such folder, and the source is no repository name.
            HubError: the repository cannot be had, or is refused; its ``reason`` says which.
            BundleError: the folder is no whole, unaltered bundle, or contradicts itself.
            ModelSpecError: its model spec is not valid.
            ValueError: ``revision`` differs from that of the address.
        """
        source = locations.default() if source is None else source
        folder, known = Path(source), locations.bundles()
        if not folder.is_dir() and str(source) in known:
            folder = known[str(source)]
        if folder.is_dir():
            return cls._load(folder)
        named = hub.parse_name(source)
        if named is None:
            raise FileNotFoundError(
                f"There is no model folder {folder}; expected one with"
                f" {', '.join(bundle.NEEDED)}, {', '.join([*known, ''])}or a namespace/name on the"
                " Hub."
            )
        repo, of_address = named
        if revision and of_address and revision != of_address:
            raise ValueError(
                f"{source} is at the revision {of_address}, but {revision} was asked for; name one."
            )
        try:
            snapshot = _fetch_snapshot(
                repo,
                revision or of_address,
                token,
                cache_dir,
                local_files_only,
                force_download,
            )
        except hub.HubError as error:
            # A path with one slash that was misspelt reads as a repository.
            if source != repo:
                raise
            raise hub.HubError(
                f"There is no folder {folder} here, and as a repository: {error}", error.reason
            ) from error
        classifier = cls._load(snapshot.folder)
        classifier.repo, classifier.commit = snapshot.repo, snapshot.commit
        return classifier

    @classmethod
    def _load(cls, folder: Path) -> PneumoniaClassifier:
        model, spec = bundle.load(folder)
        bundle.check_agreement(folder, spec)
        return cls(
            model,
            spec,
            bundle.read_metrics(folder),
            folder,
            familiarity=bundle.read_familiarity(folder),
        )

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> hub.Published | None:
        """Copies the bundle from disk to ``folder``, byte for byte; never a fine-tuned ``model``.

        Evidence and card go along, and the sha256 stays what the metrics were measured on.

        Of a model from the Hub, what prediction did not need is fetched first; where the Hub cannot
        be reached it is left out, with a warning in the log.

        Args:
            folder: made if need be.
            push_to_hub: also publish it, as :meth:`push_to_hub` does.
            repo_id: ``namespace/name`` to publish to.
            token: the saved one if None.
            options: others of :meth:`push_to_hub`.

        Returns:
            The addresses of repository and commit where it was published, else None.

        Raises:
            ValueError: the classifier was not loaded from a bundle, or is to be published without a
                name.
            BundleError: the weights of ``model`` are no longer those of the bundle.
            OSError: the folder cannot be written; nothing in it has changed then.
        """
        if push_to_hub and repo_id is None:
            raise ValueError("Give repo_id, namespace/name, with push_to_hub=True.")
        if options and not push_to_hub:
            raise TypeError(f"{', '.join(options)}: for push_to_hub=True only.")
        try:
            source = self._whole(token)
        except hub.HubError as error:
            if error.reason not in ("network", "offline"):
                raise
            _log.warning("%s Tables, pictures and card are not in %s.", error, folder)
            source = self._of_bundle()
        bundle.copy(source, Path(folder))
        if push_to_hub and repo_id:
            return self.push_to_hub(repo_id, token=token, **options)
        return None

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        create_pr: bool = False,
        revision: str | None = None,
        replace: bool = False,
        onnx: bool = False,
        token: str | None = None,
    ) -> hub.Published:
        """Publishes the bundle as it is on disk, in one commit; never a fine-tuned ``model``.

        Evidence and card go along. The repository is made if need be.
        ``python -m train push`` does the same after writing the card anew.

        Args:
            repo_id: ``namespace/name``.
            commit_message: the first line of the commit.
            private: make it a private repository.
            create_pr: open a pull request with that commit instead of changing the branch.
            revision: a branch, made if need be; the main branch if None.
            replace: publish over a model of another variant.
            onnx: send the network as ``model.onnx`` too (``pip install ".[export]"``).
            token: the saved one if None.

        Returns:
            The addresses of repository and commit.

        Raises:
            ValueError: the classifier was not loaded from a bundle.
            ReleaseError: the bundle has no card, a metric is missing, or something is left over in
                the card.
            BundleError: the weights are not those of the model spec, or those of ``model`` are no
                longer those of the bundle.
            HubError: the Hub cannot be reached or does not accept it.
            ExportError: the network cannot be had as ONNX.
        """
        folder = self._whole(token)
        with tempfile.TemporaryDirectory() as scratch:
            more = [export.export(self, "onnx", Path(scratch)).path] if onnx else []
            return release.publish(
                folder,
                repo_id,
                private=bool(private),
                create_pr=create_pr,
                replace=replace,
                revision=revision,
                token=token,
                message=commit_message,
                more=more,
            )

    @overload
    def predict(
        self,
        images: radiograph.Source,
        *,
        operating_point: str | None = ...,
        threshold: float | None = ...,
        on_invalid: OnInvalid = ...,
        views: int | None = ...,
        batch_size: int = ...,
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        images: list[radiograph.Source] | tuple[radiograph.Source, ...],
        *,
        operating_point: str | None = ...,
        threshold: float | None = ...,
        on_invalid: OnInvalid = ...,
        views: int | None = ...,
        batch_size: int = ...,
    ) -> list[Prediction]: ...
    def predict(
        self,
        images: Any,
        *,
        operating_point: str | None = None,
        threshold: float | None = None,
        on_invalid: OnInvalid = "warn",
        views: int | None = None,
        batch_size: int = 32,
    ) -> Prediction | list[Prediction]:
        """Classifies one image or a list of them; ``classifier(image)`` is short for it.

        Args:
            images: a path, encoded bytes, PIL image or array (see
                :func:`pneumonia.radiograph.read`), or a list or tuple of those.
            operating_point: name of one of ``spec.operating_points``, such as ``recall-0.98``; the
                default one if None.
            threshold: 0 to 1, instead of an operating point; a probability at or above it is called
                PNEUMONIA.
            on_invalid: what to do about a picture that fails the input check: ``warn`` (answer,
                with an :class:`pneumonia.InputCheckWarning`), ``raise`` (an
                :class:`pneumonia.InputCheckError`; so do terminal, page and API) or ``ignore``
                (answer; so do they when told to ``force`` it). An answer's ``warnings`` say what
                is wrong in any case.
            views: 1 for the picture as it is alone, faster and a little less right, with thresholds
                of its own; all of the model's views (``spec.views``) if None.
            batch_size: how many images are read at once.

        Returns:
            A Prediction, or a list of them in the order given.

        Raises:
            UnreadableImage: an image cannot be read; the message names it.
            FileNotFoundError: a path does not exist.
            UnknownOperatingPoint: the model has none of that name.
            InputCheckError: a picture fails the input check, and ``on_invalid`` is ``raise``.
            InvalidProbability: the network answers what is no probability.
            TypeError, ValueError: another argument is of the wrong type or out of its range.
        """
        return self._predict(images, operating_point, threshold, on_invalid, views, batch_size)

    __call__ = predict

    def _predict(
        self,
        images: Any,
        operating_point: str | None,
        threshold: float | None,
        on_invalid: str,
        views: int | None,
        batch_size: int,
    ) -> Prediction | list[Prediction]:
        # Whatever is wrong with the question is said before a picture is read.
        self.threshold(operating_point, threshold, views=views)
        if on_invalid not in ON_INVALID:
            raise ValueError(
                f"on_invalid must be one of {', '.join(ON_INVALID)}, got {on_invalid!r}."
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, numbers.Integral):
            raise TypeError(f"batch_size must be a whole number, got {batch_size!r}.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        single = not isinstance(images, (list, tuple))
        sources = [images] if single else list(images)
        predictions: list[Prediction] = []
        for start in range(0, len(sources), int(batch_size)):
            started = time.perf_counter()
            names, found, prepared = [], [], []
            for source in sources[start : start + batch_size]:
                # Only what the network is shown is kept: an original has a hundred times as much.
                picture = radiograph.read(source)
                names.append(picture.name)
                found.append(input_check.examine(picture).sentences)
                prepared.append(picture.copy)
                if found[-1] and on_invalid == "raise":
                    raise InputCheckError(picture.name, found[-1])
                if found[-1] and on_invalid == "warn":
                    warnings.warn(
                        f"{picture.name} does not look like a frontal chest X-ray, so its answer"
                        f" means nothing. {' '.join(found[-1])}",
                        InputCheckWarning,
                        stacklevel=3,
                    )
            copies = np.stack(prepared)
            values, foreign = self.probabilities(copies, views=views), self.unfamiliar(copies)
            milliseconds = (time.perf_counter() - started) * 1000 / len(names)
            predictions += [
                self.judge(
                    float(value),
                    operating_point=operating_point,
                    threshold=threshold,
                    views=views,
                    unfamiliar=bool(unfamiliar),
                    warnings=sentences,
                    name=name,
                    milliseconds=milliseconds,
                )
                for name, value, unfamiliar, sentences in zip(
                    names, values, foreign, found, strict=True
                )
            ]
        return predictions[0] if single else predictions

    def judge(
        self,
        probability: float,
        *,
        operating_point: str | None = None,
        threshold: float | None = None,
        views: int | None = None,
        unfamiliar: bool = False,
        warnings: Sequence[str] = (),
        name: str = "array",
        milliseconds: float = 0.0,
    ) -> Prediction:
        """The prediction that a probability amounts to: the one rule by which there is a label and
        by which it is uncertain.

        Args:
            probability: calibrated, as :meth:`probabilities` gives it.
            operating_point, threshold, views: as for :meth:`predict`.
            unfamiliar: whether the X-ray is unlike those that the model learned from; its answer is
                uncertain then, and the warnings say so.
            warnings, name, milliseconds: go into the prediction as they are.

        Raises:
            InvalidProbability: it is no probability.
            UnknownOperatingPoint, TypeError, ValueError: as :meth:`predict`.
        """
        point, used = self.threshold(operating_point, threshold, views=views)
        if not 0 <= probability <= 1:
            raise InvalidProbability(f"{name}: {probability} is no probability.")
        label, uncertain = decide(probability, used, self.spec.uncertainty)
        return Prediction(
            label=label,
            probability=probability,
            threshold=used,
            operating_point=point,
            variant=self.spec.variant,
            uncertain=uncertain or unfamiliar,
            unfamiliar=unfamiliar,
            warnings=(*warnings, UNFAMILIAR) if unfamiliar else tuple(warnings),
            name=name,
            milliseconds=milliseconds,
        )

    def threshold(
        self,
        operating_point: str | None = None,
        threshold: float | None = None,
        *,
        views: int | None = None,
    ) -> tuple[str | None, float]:
        """The operating point's name, None where a threshold was given, and the threshold that is
        meant.

        Raises:
            UnknownOperatingPoint, TypeError, ValueError: as :meth:`predict`.
        """
        quick = self._quick(views)
        if threshold is None:
            name = "default" if operating_point is None else operating_point
            point = self.spec.point(name)
            if quick:
                point = next((own for own in quick.operating_points if own.name == name), point)
            return point.name, point.threshold
        if operating_point is not None:
            raise ValueError("Give operating_point or threshold, not both.")
        if isinstance(threshold, (bool, np.bool_)) or not isinstance(threshold, numbers.Real):
            raise TypeError(f"threshold must be a number, got {threshold!r}.")
        value = float(threshold)
        if not 0 <= value <= 1:
            raise ValueError(f"The threshold must lie in 0..1, got {value}.")
        return None, value

    def prepare(self, pictures: Sequence[radiograph.Radiograph]) -> np.ndarray:
        """Decoded radiographs in the published form that views are drawn from: uint8
        ``(N, 224, 224)``.
        """
        return np.stack([radiograph.resize(picture, COPY_SIZE) for picture in pictures])

    def resize(self, pictures: Sequence[radiograph.Radiograph]) -> np.ndarray:
        """The plain view at the network's input size, which maps are drawn of: uint8
        ``(N, H, W)``.
        """
        return np.stack([radiograph.resize(picture, self.spec.input_size) for picture in pictures])

    def inputs(self, pictures: Sequence[radiograph.Radiograph]) -> np.ndarray:
        """The plain view as the network takes it: float32 ``(N, H, W, 3)``, 0 to 255."""
        return radiograph.to_input(self.resize(pictures))

    def raw(self, prepared: np.ndarray, names: Sequence[str] | None = None) -> np.ndarray:
        """What the network itself answers, before its temperature: the probability that the mean
        logit of the views stands for, float64 ``(N,)``.

        Args:
            prepared: uint8 ``(N, 224, 224)``, of :meth:`prepare`.
            names: of :data:`pneumonia.views.VIEWS`; the model's own if None.

        Raises:
            InvalidProbability: the network answers what is no probability.
            ValueError: the pictures are not prepared.
        """
        if prepared.dtype != np.uint8 or prepared.shape[1:] != COPY_SIZE:
            raise ValueError(
                f"Expected uint8 (N, {COPY_SIZE[0]}, {COPY_SIZE[1]}), got {prepared.dtype}"
                f" {prepared.shape}; use classifier.prepare(pictures)."
            )
        names = self.spec.views if names is None else names
        drawn = draw_views(prepared, names, self.spec.input_size)
        found = check_probabilities(self.network(drawn.reshape(-1, *self.spec.input_size)))
        by_view = found.reshape(len(names), len(prepared))
        # One view's answer is the network's own, to the last digit.
        return by_view[0] if len(names) == 1 else sigmoid(logits(by_view).mean(axis=0))

    def probabilities(self, prepared: np.ndarray, *, views: int | None = None) -> np.ndarray:
        """Calibrated probabilities of PNEUMONIA, float64 ``(N,)``.

        Args:
            prepared: uint8 ``(N, 224, 224)``, of :meth:`prepare`.
            views: as for :meth:`predict`.

        Raises:
            InvalidProbability: the network answers what is no probability.
        """
        quick = self._quick(views)
        if quick:
            return apply_temperature(self.raw(prepared, (PLAIN,)), quick.temperature)
        return apply_temperature(self.raw(prepared), self.spec.temperature)

    def unfamiliar(self, prepared: np.ndarray) -> np.ndarray:
        """Whether each picture, uint8 ``(N, 224, 224)``, is unlike the X-rays that the model
        learned from: bool ``(N,)``, False where the bundle cannot tell.
        """
        if self.familiarity is None:
            return np.zeros(len(prepared), bool)
        return self.familiarity.unfamiliar(prepared)

    def plain_probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """Calibrated probabilities by the plain view alone, which maps are drawn of: float64
        ``(N,)`` of uint8 ``(N, 224, 224)``.
        """
        quick = self.spec.single_view
        temperature = quick.temperature if quick else self.spec.temperature
        return apply_temperature(self.raw(prepared, (PLAIN,)), temperature)

    def _quick(self, views: int | None) -> SingleView | None:
        """The settings of the plain view alone, where it is asked for and differs from all."""
        if views is None:
            return None
        if isinstance(views, bool) or not isinstance(views, numbers.Integral):
            raise TypeError(f"views must be 1, or None for all of them, got {views!r}.")
        if views == len(self.spec.views):
            return None
        if views != 1 or self.spec.single_view is None:
            offered = "1 or " if self.spec.single_view else ""
            raise ValueError(
                f"The {self.spec.variant} model answers by {offered}{len(self.spec.views)} views,"
                f" got {views}."
            )
        return self.spec.single_view

    def _whole(self, token: str | None) -> Path:
        folder = self._of_bundle()
        self._check_weights(folder)
        if self.repo and self.commit:
            hub.complete(hub.Snapshot(folder, self.repo, self.commit), token=token)
        return folder

    def _check_weights(self, folder: Path) -> None:
        live, kept = self.model.get_weights(), bundle.load(folder)[0].get_weights()
        if len(live) != len(kept) or not all(
            np.array_equal(*pair, equal_nan=True) for pair in zip(live, kept, strict=True)
        ):
            raise bundle.BundleError(
                f"The weights of classifier.model are not those of {folder}, which is what would be"
                " copied; write a bundle of the new ones with pneumonia.bundle.save()."
            )

    def _of_bundle(self) -> Path:
        if self.folder is None:
            raise ValueError(
                "This classifier was not loaded from a bundle; write one with"
                " pneumonia.bundle.save()."
            )
        return self.folder


def _fetch_snapshot(
    repo: str,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
    force_download: bool,
) -> hub.Snapshot:
    if local_files_only:
        return hub.find_cached(repo, revision=revision, cache_dir=cache_dir)
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
            kept = hub.find_cached(repo, revision=revision, cache_dir=cache_dir)
        except hub.HubError:
            raise error from None
        _log.warning("%s The cached copy, commit %s, is used.", error, kept.commit[:7])
        return kept


def check_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """The same, if all of them are probabilities.

    Raises:
        InvalidProbability: one is nan, or outside 0..1.
    """
    wrong = probabilities[~((probabilities >= 0) & (probabilities <= 1))]
    if wrong.size:
        raise InvalidProbability(
            f"The network answered {wrong[0]}, which is no probability: its weights are damaged, or"
            " overflow on this picture."
        )
    return probabilities


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, which are clipped a ten-millionth from 0 and 1."""
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The probabilities of log-odds."""
    return 1 / (1 + np.exp(-values))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divides logits by a temperature (Guo et al., ICML 2017): float64 ``(N,)`` to the same; a
    temperature of 1 changes nothing at all.

    Raises:
        InvalidProbability: one is nan, or outside 0..1.
    """
    known = check_probabilities(probabilities)
    return known if temperature == 1.0 else sigmoid(logits(known) / temperature)
