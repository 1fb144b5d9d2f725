"""Bundles from and to the Hugging Face Hub: the only module that talks to the network.

Files are taken by exact name, one after the other, at one commit.
``huggingface_hub.snapshot_download`` would do most of this, but it downloads in a thread pool that
Python waits for on exit, and it moves the cache's ``refs`` before the files are there, so that half
a download hides the whole copy it replaces.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, errors
from huggingface_hub.utils import HFValidationError, validate_repo_id

from pneumonia import bundle
from pneumonia.hub_errors import HubError, explain
from pneumonia.model_spec import ModelSpecError

# An order in which a foreign repository is refused after kilobytes: the weights come last.
# metrics.json is taken where there is one.
_FILES = (bundle.MODEL_SPEC, bundle.CONFIG, bundle.METADATA, bundle.METRICS, bundle.WEIGHTS)
# The largest network here has 42 MB of weights and 100 kB of JSON; far more is something else, and
# a typed name must not fill the disk.
_MAX_BYTES = {bundle.WEIGHTS: 500_000_000}
_MAX_JSON_BYTES = 5_000_000
# A radiograph has 2,000 to 4,000 pixels a side; a network that claims to take more would be built
# until the memory is gone.
_MAX_SIDE = 4096
REQUEST_SECONDS = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Snapshot:
    """A bundle in the disk cache.

    Attributes:
        folder: holds the files that prediction needs, and ``metrics.json`` where the repository has
            one.
        repo: ``namespace/name``.
        commit: 40 hexadecimal digits.
    """

    folder: Path
    repo: str
    commit: str


@dataclass(frozen=True)
class Published:
    """What a push made: the repository's address, the commit's, and the commit; as text, one line
    with all that a person needs.
    """

    url: str
    commit_url: str
    commit: str

    def __str__(self) -> str:
        return f"{self.url} (commit {self.commit})"


def is_repo_name(text: object) -> bool:
    """Whether a string reads as ``namespace/name``."""
    if (
        not isinstance(text, str)
        or text.count("/") != 1
        or text.startswith(("/", "."))
        or text.endswith("/")
    ):
        return False
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def download(
    repo: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> Snapshot:
    """Brings a bundle into the disk cache, or finds there that nothing has changed; asks the Hub
    unless the revision is a commit that is there whole.

    Only the files that prediction needs are taken. ModelSpec and configuration are checked before
    the weights are asked for, the weights' sha256 after: huggingface_hub compares sizes only.
    Weights that fail are removed from the cache, and it goes on pointing at the last good copy.

    Args:
        repo: ``namespace/name``.
        revision: branch, tag or commit; the main branch if None.
        token: a token, None for the saved one, False for none.
        cache_dir: huggingface_hub's own (``HF_HUB_CACHE``) if None.
        force_download: take every file again.

    Raises:
        HubError: see its reasons.
    """
    _check_name(repo, revision)
    if not force_download and revision and _COMMIT.fullmatch(revision):
        try:
            return cached(repo, revision=revision, cache_dir=cache_dir)
        except HubError:
            pass
    if constants.is_offline_mode():
        raise HubError(f"HF_HUB_OFFLINE is set, so {repo} was not asked for.", "offline")
    place = f"{repo} at {revision}" if revision else repo
    info = _asked(
        lambda: HfApi(token=token).model_info(
            repo, revision=revision, timeout=REQUEST_SECONDS, files_metadata=True
        ),
        place,
    )
    commit = str(info.sha)
    sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
    if missing := [name for name in bundle.NEEDED if name not in sizes]:
        raise HubError(
            f"{place} is no model of this project: it lacks {', '.join(missing)}; nothing was"
            " downloaded.",
            "foreign",
        )
    for name in (name for name in _FILES if name in sizes):
        if sizes[name] > _MAX_BYTES.get(name, _MAX_JSON_BYTES):
            raise HubError(
                f"{place} is no model of this project: its {name} has {sizes[name]:,} bytes;"
                " nothing was downloaded.",
                "foreign",
            )

    def fetch(name: str, again: bool = force_download) -> Path:
        options: dict[str, Any] = {
            "revision": commit,
            "cache_dir": cache_dir,
            "token": token,
            "force_download": again,
            "etag_timeout": REQUEST_SECONDS,
        }
        return Path(
            _asked(
                lambda: huggingface_hub.hf_hub_download(repo, name, **options), f"{name} of {place}"
            )
        )

    folder = fetch(bundle.MODEL_SPEC).parent
    try:
        spec = bundle.read_model_spec(folder)
        if max(spec.input_size) > _MAX_SIDE:
            raise ModelSpecError(
                f"its input of {spec.input_size} pixels is larger than {_MAX_SIDE}."
            )
        fetch(bundle.CONFIG)
        bundle.read_config(folder)
    except (bundle.BundleError, ModelSpecError) as error:
        raise HubError(
            f"{place} is refused, and nothing in it was run:"
            f" {str(error).replace(str(folder), repo)}",
            "foreign",
        ) from error
    for name in (bundle.METADATA, bundle.METRICS):
        if name in sizes:
            fetch(name)
    was_there = (folder / bundle.WEIGHTS).exists()
    weights = fetch(bundle.WEIGHTS)
    if bundle.sha256(weights) != spec.weights_sha256 and was_there and not force_download:
        weights = fetch(bundle.WEIGHTS, again=True)
    if (found := bundle.sha256(weights)) != spec.weights_sha256:
        _forget(weights)
        expected = spec.weights_sha256
        raise HubError(
            f"The weights of {place} are not those of its model spec (sha256 {found[:12]}…, expected"
            f" {expected[:12]}…) and were thrown away.",
            "foreign",
        )
    _remember(repo, revision, commit, cache_dir)
    return Snapshot(folder, repo, commit)


def cached(
    repo: str, *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> Snapshot:
    """Finds the last whole copy of a bundle on disk, without a single request.

    Raises:
        HubError: there is none.
    """
    _check_name(repo, revision)
    storage = _storage(repo, cache_dir)
    commit = revision or constants.DEFAULT_REVISION
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (storage / "refs" / commit).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            commit = ""
    folder = storage / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not all(
        (folder / name).is_file() for name in bundle.NEEDED
    ):
        raise HubError(
            f"There is no whole copy of {repo}{f' at {revision}' if revision else ''} in the disk"
            " cache; load it once with a network.",
            "cache",
        )
    return Snapshot(folder, repo, commit)


def push(
    files: Sequence[tuple[str, Path | bytes]],
    repo: str,
    *,
    message: str,
    stale: Callable[[str], bool],
    space: bool = False,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> Published:
    """Uploads files in one commit; until that commit the repository is as it was.

    Args:
        files: path in the repository, and the file or its bytes.
        repo: ``namespace/name``; made if need be.
        message: the commit's first line.
        stale: says of a path that the repository has and ``files`` has not whether the same commit
            removes it.
        space: it is a Gradio Space, not a model.
        private: make it private; an existing public repository is refused rather than published to.
        revision: a branch, made if need be; the main branch if None.
        token: the saved one if None (``HF_TOKEN`` or ``hf auth login``).

    Raises:
        HubError: see its reasons.
    """
    _check_name(repo, revision)
    if constants.is_offline_mode():
        raise HubError(f"HF_HUB_OFFLINE is set, so nothing was sent to {repo}.", "offline")
    if revision and _COMMIT.fullmatch(revision):
        raise HubError(
            f"Files are pushed to a branch, got the commit {revision}; give a branch's name.",
            "revision",
        )
    token = token or huggingface_hub.get_token()
    if not token:
        raise HubError(
            "No Hugging Face token was found; run `hf auth login`, set HF_TOKEN, or pass token=….",
            "token",
        )
    api, kind = HfApi(token=token), "space" if space else "model"
    user = _asked(api.whoami, repo)["name"]
    url = _asked(
        lambda: api.create_repo(
            repo,
            repo_type=kind,
            space_sdk="gradio" if space else None,
            private=True if private else None,
            exist_ok=True,
        ),
        repo,
        user,
    )
    if revision and revision != constants.DEFAULT_REVISION:
        _asked(
            lambda: api.create_branch(repo, branch=revision, repo_type=kind, exist_ok=True),
            repo,
            user,
        )
    info = _asked(
        lambda: (
            api.space_info(repo, revision=revision)
            if space
            else api.model_info(repo, revision=revision)
        ),
        repo,
        user,
    )
    if private and not info.private:
        raise HubError(
            f"{repo} exists and is public, but --private was asked for; make it private in its"
            " settings, or push to another name.",
            "rights",
        )
    names = {name for name, _ in files}
    old = [entry.rfilename for entry in info.siblings or ()]
    operations: list[Any] = [CommitOperationAdd(name, content) for name, content in files]
    operations += [CommitOperationDelete(name) for name in old if name not in names and stale(name)]
    done = _asked(
        lambda: api.create_commit(
            repo, operations, commit_message=message, repo_type=kind, revision=revision
        ),
        repo,
        user,
    )
    return Published(str(url), done.commit_url, done.oid)


def _check_name(repo: str, revision: str | None = None) -> None:
    if not is_repo_name(repo):
        raise HubError(
            f"{repo!r} is no repository name; expected namespace/name, such as"
            " me/pneumonia-xray-xception.",
            "name",
        )
    # The name of a revision becomes the name of a file in the cache.
    if revision is not None and (not re.fullmatch(r"[\w][\w./-]*", revision) or ".." in revision):
        raise HubError(
            f"{revision!r} is no revision; expected a branch, a tag or a commit.", "revision"
        )


def _asked(request: Callable[[], _Result], what: str, user: str | None = None) -> _Result:
    try:
        return request()
    except (errors.HTTPError, OSError, ValueError) as error:
        explain(error, what, user)


def _storage(repo: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    # huggingface_hub documents this layout: models--NS--NAME with refs/, snapshots/ and blobs/.
    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser() / "--".join(
        ("models", *repo.split("/"))
    )


def _remember(
    repo: str, revision: str | None, commit: str, cache_dir: str | os.PathLike[str] | None
) -> None:
    name = revision or constants.DEFAULT_REVISION
    if _COMMIT.fullmatch(name):
        return
    file = _storage(repo, cache_dir) / "refs" / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as partial:
            partial.write(commit)
        Path(partial.name).replace(file)
    except OSError:
        # A cache that cannot be written to still predicts; only the next offline start will not
        # find this copy.
        pass


def _forget(file: Path) -> None:
    # A file of a snapshot is a link to a blob; without both gone the next download would trust it
    # again.
    blob = file.parent / file.readlink() if file.is_symlink() else file
    file.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)
