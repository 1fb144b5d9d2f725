"""Which weights answer, and why: those of the Hub, else their cached copy, else the bundled ones;
never later than a person is willing to wait.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pneumonia import hub
from pneumonia.bundle import BundleError
from pneumonia.classifier import PneumoniaClassifier
from pneumonia.locations import NAMESPACE_VARIABLE
from pneumonia.model_spec import ModelSpecError

REVISION_VARIABLE = "PNEUMONIA_HUB_REVISION_"
# How long an answer may wait for the Hub. A page is to answer within 10 s in all; loading Xception
# takes 2 to 4 of them on two busy cores.
HUB_SECONDS = 4.0
# For how long a Hub that did not answer is not waited for again, so that three variants do not cost
# three waits.
_SILENCE_SECONDS = 60.0
# Each download has a thread; names typed by strangers must not start any number of them.
_MAX_DOWNLOADS = 6

# Repository, revision, and whether it is asked without a token.
_Key: TypeAlias = tuple[str, str | None, bool]


@dataclass(frozen=True)
class Origin:
    """Where the weights that answer come from.

    Attributes:
        kind: ``hub`` (the Hub was asked and this is its version), ``cache`` (an earlier download)
            or ``bundled`` (the folder that comes with the app).
        repo: ``namespace/name``, or None for the bundled ones.
        commit: of that repository, 40 hexadecimal digits, or None for the bundled ones.
        why: one plain sentence for the person in front of the page.
    """

    kind: Literal["hub", "cache", "bundled"]
    repo: str | None
    commit: str | None
    why: str


class Weights:
    """Finds the weights of each variant.

    A download that takes longer than ``seconds`` goes on in the background and is used the next
    time the variant is asked for. Threads are daemons, so an unfinished download never keeps the
    process from ending.

    Args:
        models: folder with one bundle a variant.
        namespace: user or organisation whose ``pneumonia-xray-<variant>`` repositories are asked;
            None for the bundled weights alone.
        revisions: branch, tag or commit a variant; the main branch where a variant is not named.
        token: a token, None for the saved one, False for none.
        cache_dir: where downloads are kept; huggingface_hub's own cache if None.
        seconds: how long to wait for the Hub.
    """

    def __init__(
        self,
        models: Path,
        *,
        namespace: str | None = None,
        revisions: Mapping[str, str] | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        seconds: float = HUB_SECONDS,
    ) -> None:
        self.models = models
        self.namespace = namespace
        self.revisions = dict(revisions or {})
        self._token = token
        self._cache_dir = cache_dir
        self._seconds = seconds
        self._downloads: dict[_Key, _Download] = {}
        self._lock = threading.Lock()
        self._silent_until = 0.0
        # When the Hub is to be asked again for a variant that something else answers for.
        self._ask_again: dict[str, float] = {}

    @classmethod
    def from_environment(cls, models: Path, *, seconds: float = HUB_SECONDS) -> Weights:
        """Reads ``PNEUMONIA_HUB_NAMESPACE`` and, for each variant,
        ``PNEUMONIA_HUB_REVISION_<VARIANT>``.
        """
        found = {
            name.removeprefix(REVISION_VARIABLE).lower(): value
            for name, value in os.environ.items()
            if name.startswith(REVISION_VARIABLE) and value
        }
        return cls(
            models,
            namespace=os.environ.get(NAMESPACE_VARIABLE) or None,
            revisions=found,
            seconds=seconds,
        )

    def load(self, variant: str) -> tuple[PneumoniaClassifier, Origin]:
        """Loads a variant from the first place that has it: Hub, cache, bundled folder.

        Raises:
            FileNotFoundError, BundleError, ModelSpecError: not even the bundled folder can be
                loaded.
        """
        if self.namespace is None:
            return self._load_bundled(
                variant,
                f"{NAMESPACE_VARIABLE} is not set, so the weights that come with this app answer.",
            )
        repo, revision, _ = self._key(variant)
        try:
            snapshot = self._ask(repo, revision, self._token)
            loaded = _load_snapshot(snapshot, variant)
            self._ask_again.pop(variant, None)
            return loaded, _from_hub(snapshot, revision)
        except (hub.HubError, BundleError, ModelSpecError) as error:
            reason = _clause(error)
            if isinstance(error, hub.HubError) and error.reason in ("network", "busy"):
                self._ask_again[variant] = time.monotonic() + _SILENCE_SECONDS
        try:
            snapshot = hub.find_cached(repo, revision=revision, cache_dir=self._cache_dir)
            why = f"{reason}, so the copy downloaded earlier answers, commit {snapshot.commit[:7]}."
            return _load_snapshot(snapshot, variant), Origin("cache", repo, snapshot.commit, why)
        except (hub.HubError, BundleError, ModelSpecError):
            return self._load_bundled(
                variant,
                f"{reason}, and no earlier download is on this disk, so the weights that come with"
                " this app answer.",
            )

    def arrived(self, variant: str) -> bool:
        """Whether a download that came too late for the last :meth:`load` is there by now, so that
        loading again would answer with it.

        Where the Hub did not answer, it is asked again in the background, once a minute.
        """
        key = self._key(variant)
        with self._lock:
            download = self._downloads.get(key)
            if download is not None and download.finished() and not download.succeeded():
                download = None
            due = self._ask_again.get(variant)
            if download is None and due is not None and time.monotonic() >= due:
                self._ask_again[variant] = time.monotonic() + _SILENCE_SECONDS
                download = _Download(key[0], key[1], self._token, self._cache_dir)
                self._downloads[key] = download
        return (
            download is not None
            and download.finished()
            and not download.delivered
            and download.succeeded()
        )

    def is_coming(self, variant: str) -> bool:
        """Whether a download that :meth:`load` did not wait for is under way, or there by now."""
        with self._lock:
            download = self._downloads.get(self._key(variant))
            return download is not None and not download.delivered and not download.failed()

    def load_repo(
        self, repo: str, revision: str | None = None
    ) -> tuple[PneumoniaClassifier, Origin]:
        """Loads any compatible repository that a person names, without the app's own token: it may
        open what that person may not see.

        Raises:
            HubError: it cannot be had, is refused, or has not come within the time; then it goes on
                in the background, and asking again will find it.
        """
        # It may have been pasted as an address.
        if named := hub.parse_name(repo):
            repo, revision = named[0], revision or named[1]
        try:
            snapshot = self._ask(repo, revision, False)
            origin = _from_hub(snapshot, revision)
        except hub.HubError as error:
            if error.reason not in ("network", "offline"):
                raise
            try:
                snapshot = hub.find_cached(repo, revision=revision, cache_dir=self._cache_dir)
            except hub.HubError:
                raise error from None
            origin = Origin(
                "cache",
                repo,
                snapshot.commit,
                f"{_clause(error)}, so the copy downloaded earlier answers, commit"
                f" {snapshot.commit[:7]}.",
            )
        try:
            classifier = PneumoniaClassifier.from_pretrained(snapshot.folder)
        except (BundleError, ModelSpecError) as error:
            raise hub.HubError(
                f"{repo} is refused: {str(error).replace(str(snapshot.folder), repo)}", "foreign"
            ) from error
        classifier.repo, classifier.commit = snapshot.repo, snapshot.commit
        return classifier, origin

    def _key(self, variant: str) -> _Key:
        return (
            f"{self.namespace}/pneumonia-xray-{variant}",
            self.revisions.get(variant),
            self._token is False,
        )

    def _load_bundled(self, variant: str, why: str) -> tuple[PneumoniaClassifier, Origin]:
        return PneumoniaClassifier.from_pretrained(self.models / variant), Origin(
            "bundled", None, None, why
        )

    def _ask(self, repo: str, revision: str | None, token: str | bool | None) -> hub.Snapshot:
        """Waits for a download, but not longer than allowed; raises HubError."""
        key = (repo, revision, token is False)
        with self._lock:
            self._downloads = {
                name: download
                for name, download in self._downloads.items()
                if not (download.finished() and download.delivered)
            }
            download = self._downloads.get(key)
            if download is None:
                running = sum(not other.finished() for other in self._downloads.values())
                if running >= _MAX_DOWNLOADS:
                    raise hub.HubError(
                        f"{running} downloads are under way already; ask for {repo} again in a"
                        " minute.",
                        "busy",
                    )
                download = self._downloads[key] = _Download(repo, revision, token, self._cache_dir)
            # Offline and refused connections are answered at once, so even a silent Hub gets a
            # moment.
            patience = 0.5 if time.monotonic() < self._silent_until else self._seconds
        try:
            return download.result(patience)
        except hub.HubError as error:
            if error.reason in ("network", "busy"):
                self._silent_until = time.monotonic() + _SILENCE_SECONDS
            raise


class _Download:
    def __init__(
        self,
        repo: str,
        revision: str | None,
        token: str | bool | None,
        cache_dir: str | os.PathLike[str] | None,
    ) -> None:
        self._repo = repo
        self._arguments = {"revision": revision, "token": token, "cache_dir": cache_dir}
        self.delivered = False
        self._snapshot: hub.Snapshot | None = None
        self._error: hub.HubError | None = None
        self._thread = threading.Thread(target=self._run, name=f"download {repo}", daemon=True)
        self._thread.start()

    def finished(self) -> bool:
        return not self._thread.is_alive()

    def succeeded(self) -> bool:
        return self._snapshot is not None

    def failed(self) -> bool:
        return self.finished() and not self.succeeded()

    def result(self, seconds: float) -> hub.Snapshot:
        self._thread.join(seconds)
        if not self.finished():
            raise hub.HubError(
                f"The Hub has not delivered {self._repo} within {seconds:g} s; the download goes on"
                " in the background.",
                "busy",
            )
        self.delivered = True
        if self._snapshot is None:
            raise self._error or hub.HubError(
                f"The download of {self._repo} ended without a result.", "network"
            )
        return self._snapshot

    def _run(self) -> None:
        try:
            self._snapshot = hub.download(self._repo, **self._arguments)  # type: ignore[arg-type]
        except hub.HubError as error:
            self._error = error
        # A thread's exception would be printed and lost; whatever it is, the page must go on with
        # other weights.
        except Exception as error:
            self._error = hub.HubError(
                f"The download of {self._repo} failed ({type(error).__name__}: {error}).", "refused"
            )


def _clause(error: Exception) -> str:
    return str(error).removesuffix(".")


def _load_snapshot(snapshot: hub.Snapshot, variant: str) -> PneumoniaClassifier:
    try:
        classifier = PneumoniaClassifier.from_pretrained(snapshot.folder)
        classifier.repo, classifier.commit = snapshot.repo, snapshot.commit
    except (BundleError, ModelSpecError) as error:
        # The page has no business showing where the cache lies.
        raise BundleError(str(error).replace(str(snapshot.folder), snapshot.repo)) from error
    if classifier.spec.variant != variant:
        raise BundleError(
            f"{snapshot.repo} holds the variant {classifier.spec.variant}, not {variant}."
        )
    return classifier


def _from_hub(snapshot: hub.Snapshot, revision: str | None) -> Origin:
    place = f"{snapshot.repo}, pinned to {revision[:12]}," if revision else snapshot.repo
    # A pinned commit cannot change, so a copy on disk is taken without asking; either way it is the
    # Hub's version.
    return Origin(
        "hub",
        snapshot.repo,
        snapshot.commit,
        f"The Hub's version of {place} answers, commit {snapshot.commit[:7]}.",
    )
