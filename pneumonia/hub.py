"""Bundles from and to the Hugging Face Hub: the only module that talks to the network.

Files are taken by exact name, one after the other, at one commit.
``huggingface_hub.snapshot_download`` would do most of this, but it downloads in a thread pool that
Python waits for on exit, and it moves the cache's ``refs`` before the files are there, so that half
a download hides the whole copy it replaces.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import huggingface_hub
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoCard,
    constants,
)
from huggingface_hub.utils import HFValidationError, validate_repo_id

from pneumonia import bundle
from pneumonia.hub_errors import HubError, explain
from pneumonia.model_spec import ModelSpecError

# An order in which a foreign repository is refused after kilobytes: the weights come last.
# metrics.json and familiarity.npz are taken where there are any.
_FILES = (
    bundle.CHECKSUMS,
    bundle.MODEL_SPEC,
    bundle.LEGACY_SPEC,
    bundle.CONFIG,
    bundle.METADATA,
    bundle.METRICS,
    bundle.FAMILIARITY,
    bundle.WEIGHTS,
)
# The rest of a bundle, for a copy that can be published again.
_EVIDENCE_SUFFIXES = (".csv", ".json", ".png", ".md")
_EVIDENCE_NAMES = ("LICENSE",)
# The largest network here has 42 MB of weights and 100 kB of JSON; far more is something else, and
# a typed name must not fill the disk.
_MAX_BYTES = {bundle.WEIGHTS: 500_000_000}
_MAX_JSON_BYTES = 5_000_000
# A radiograph has 2,000 to 4,000 pixels a side; a network that claims to take more would be built
# until the memory is gone.
_MAX_SIDE = 4096
REQUEST_SECONDS = 10.0
# The largest bundle has 42 MB: ten minutes are enough at 70 kB/s.
PUSH_SECONDS = 600.0
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


def parse_name(text: object) -> tuple[str, str | None] | None:
    """The repository and the revision that a text names, as ``namespace/name``,
    ``hf://namespace/name[@revision]`` or the address of a page of it on the Hub; None where it
    names none.
    """
    if not isinstance(text, str):
        return None
    text = text.strip()
    if is_repo_name(text):
        return text, None
    revision: str | None = None
    if text.startswith("hf://"):
        name, _, revision = text.removeprefix("hf://").rstrip("/").partition("@")
    else:
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
        except ValueError:  # Brackets hold what is no IPv6 address.
            return None
        if parts.hostname not in (urlsplit(constants.ENDPOINT).hostname, "huggingface.co", "hf.co"):
            return None
        places = [unquote(place) for place in parts.path.strip("/").split("/")]
        name = "/".join(places[:2])
        if len(places) > 3 and places[2] in ("tree", "blob", "resolve", "commit"):
            revision = places[3]
        elif len(places) > 2:
            return None
    return (name, revision or None) if is_repo_name(name) else None


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
            there = find_cached(repo, revision=revision, cache_dir=cache_dir)
            # A rotten copy is fetched again below.
            if not bundle.find_altered(there.folder):
                return there
        except HubError:
            pass
    if constants.is_offline_mode():
        raise HubError(f"HF_HUB_OFFLINE is set, so {repo} was not asked for.", "offline")
    place = f"{repo} at {revision}" if revision else repo
    info = _ask_hub(
        lambda: HfApi(token=token).model_info(
            repo, revision=revision, timeout=REQUEST_SECONDS, files_metadata=True
        ),
        place,
    )
    commit = str(info.sha)
    sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
    if missing := bundle.missing(sizes):
        raise HubError(
            f"{place} is no model of this project: it lacks {', '.join(missing)}; nothing was"
            " downloaded.",
            "foreign",
        )
    wanted = [name for name in _FILES if name in sizes]
    if bundle.MODEL_SPEC in wanted and bundle.LEGACY_SPEC in wanted:
        wanted.remove(bundle.LEGACY_SPEC)
    _check_sizes(wanted, sizes, place)

    def fetch(name: str, again: bool = force_download) -> Path:
        return _fetch(repo, name, commit, place, token=token, cache_dir=cache_dir, again=again)

    try:
        before = (_storage(repo, cache_dir) / "snapshots" / commit).is_dir()
        folder = _take(wanted, fetch, place, repo)
    except HubError as error:
        # What was on this disk before may have rotten there.
        if error.reason != "foreign" or not before or force_download:
            raise
        folder = _take(wanted, lambda name: fetch(name, again=True), place, repo)
    _remember(repo, revision, commit, cache_dir)
    return Snapshot(folder, repo, commit)


def _take(names: Sequence[str], fetch: Callable[[str], Path], place: str, repo: str) -> Path:
    """Fetches a bundle's files in order, the small ones that can refuse it first; returns the
    snapshot's folder.
    """
    for name in names:
        folder = fetch(name).parent
        if name == bundle.METADATA:
            try:
                spec = bundle.read_model_spec(folder)
                if max(spec.input_size) > _MAX_SIDE:
                    raise ModelSpecError(
                        f"its input of {spec.input_size} pixels is larger than {_MAX_SIDE}."
                    )
                bundle.check_size(bundle.read_config(folder), spec.input_size)
            except (bundle.BundleError, ModelSpecError) as error:
                raise HubError(
                    f"{place} is refused, and nothing in it was run:"
                    f" {str(error).replace(str(folder), repo)}",
                    "foreign",
                ) from error
    if altered := bundle.find_altered(folder):
        for name in {*altered, *(name for name in names if name == bundle.CHECKSUMS)}:
            _forget(folder / name)
        raise HubError(
            f"{', '.join(altered)} of {place} {'is' if len(altered) == 1 else 'are'} not what the"
            " bundle's sha256 says and was thrown away.",
            "foreign",
        )
    return folder


def complete(snapshot: Snapshot, *, token: str | bool | None = None) -> Snapshot:
    """Adds to a snapshot what prediction does not need: tables, pictures, card and licence.

    Raises:
        HubError: see its reasons.
    """
    repo, commit = snapshot.repo, snapshot.commit
    place = f"{repo} at {commit[:7]}"
    info = _ask_hub(
        lambda: HfApi(token=token).model_info(
            repo, revision=commit, timeout=REQUEST_SECONDS, files_metadata=True
        ),
        place,
    )
    sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
    wanted = [
        name
        for name in sizes
        if "/" not in name
        and not name.startswith(".")
        and (name.endswith(_EVIDENCE_SUFFIXES) or name in _EVIDENCE_NAMES)
    ]
    _check_sizes(wanted, sizes, place)
    cache_dir = snapshot.folder.parents[2]
    for name in wanted:
        if not (snapshot.folder / name).is_file():
            _fetch(repo, name, commit, place, token=token, cache_dir=cache_dir, again=False)
    return snapshot


def _check_sizes(names: Sequence[str], sizes: dict[str, int], place: str) -> None:
    for name in names:
        if sizes[name] > _MAX_BYTES.get(name, _MAX_JSON_BYTES):
            raise HubError(
                f"{place} is no model of this project: its {name} has {sizes[name]:,} bytes;"
                " nothing was downloaded.",
                "foreign",
            )


def _fetch(
    repo: str,
    name: str,
    commit: str,
    place: str,
    *,
    token: str | bool | None,
    cache_dir: str | os.PathLike[str] | None,
    again: bool,
) -> Path:
    options: dict[str, Any] = {
        "revision": commit,
        "cache_dir": cache_dir,
        "token": token,
        "force_download": again,
        "etag_timeout": REQUEST_SECONDS,
    }
    return Path(
        _ask_hub(
            lambda: huggingface_hub.hf_hub_download(repo, name, **options), f"{name} of {place}"
        )
    )


def find_cached(
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
    if not (_COMMIT.fullmatch(commit) and _is_whole(folder)):
        # Another tool may have moved the branch to a commit of which it kept a part: the last
        # whole copy still answers.
        others = [] if revision else [path for path in storage.glob("snapshots/*")]
        whole = [path for path in others if _COMMIT.fullmatch(path.name) and _is_whole(path)]
        if not whole:
            raise HubError(
                f"There is no whole copy of {repo}{f' at {revision}' if revision else ''} in the"
                " disk cache; load it once with a network.",
                "cache",
            )
        folder = max(whole, key=lambda path: path.stat().st_mtime)
    return Snapshot(folder, repo, folder.name)


def _is_whole(folder: Path) -> bool:
    return folder.is_dir() and not bundle.missing(path.name for path in folder.iterdir())


def push(
    files: Sequence[tuple[str, Path | bytes]],
    repo: str,
    *,
    message: str,
    check: Callable[[dict[str, bytes]], None] | None = None,
    space: bool = False,
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    token: str | None = None,
    seconds: float = PUSH_SECONDS,
) -> Published:
    """Uploads files in one commit; until that commit the repository is as it was.

    With them goes ``SHA256SUMS``, a line a file. What an earlier push listed there and this one no
    longer has, the same commit removes; nothing else is ever removed.

    Args:
        files: path in the repository, and the file or its bytes.
        repo: ``namespace/name``; made if need be.
        message: the commit's first line.
        check: is shown what the repository has of ``model_spec.json`` and ``contract.json``, and
            raises a HubError where these files must not replace it.
        space: it is a Gradio Space, not a model.
        private: make it private; an existing public repository is refused rather than published to.
        create_pr: open a pull request instead of committing to the branch.
        revision: a branch, made if need be; the main branch if None.
        token: the saved one if None (``HF_TOKEN`` or ``hf auth login``).
        seconds: how long the upload may take.

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
            "No Hugging Face token was found; run `hf auth login`, set HF_TOKEN or pass token=….",
            "token",
        )
    api, kind = HfApi(token=token), "space" if space else "model"
    user = _ask_hub(lambda: str(api.whoami()["name"]), repo)
    # Before the repository is made: a refused card must leave no empty one behind.
    for name, content in files:
        if name == "README.md":
            card = RepoCard(_bytes(content).decode("utf-8"), ignore_metadata_errors=True)
            _ask_hub(partial(card.validate, repo_type=kind), repo, user)
    url = _ask_hub(
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
        _ask_hub(
            lambda: api.create_branch(repo, branch=revision, repo_type=kind, exist_ok=True),
            repo,
            user,
        )
    info = _ask_hub(
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
    there = {entry.rfilename for entry in info.siblings or ()}
    known = _small_files(repo, kind, str(info.sha), there, token, user)
    if check:
        check(known)
    sums = "".join(f"{_sha256(content)}  {name}\n" for name, content in files)
    operations: list[Any] = [CommitOperationAdd(name, content) for name, content in files]
    operations.append(CommitOperationAdd(bundle.CHECKSUMS, sums.encode()))
    ours = {
        line[66:] for line in known.get(bundle.CHECKSUMS, b"").decode(errors="replace").split("\n")
    }
    if bundle.LEGACY_SPEC in known:
        # Pushes of schema 1 left no list, but a spec of that name is theirs.
        ours.add(bundle.LEGACY_SPEC)
    stale = sorted((ours & there) - {name for name, _ in files} - {bundle.CHECKSUMS})
    operations += [CommitOperationDelete(name) for name in stale]
    done = _within(
        seconds,
        lambda: _ask_hub(
            lambda: api.create_commit(
                repo,
                operations,
                commit_message=message,
                repo_type=kind,
                revision=revision,
                create_pr=create_pr,
            ),
            repo,
            user,
        ),
        repo,
    )
    return Published(str(url), str(done.pr_url or done.commit_url), done.oid)


def _small_files(
    repo: str, kind: str, commit: str, there: set[str], token: str, user: str
) -> dict[str, bytes]:
    """What the repository holds of the files that say whose it is."""
    found = {}
    for name in (bundle.CHECKSUMS, bundle.MODEL_SPEC, bundle.LEGACY_SPEC):
        if name in there:
            with tempfile.TemporaryDirectory() as scratch:
                path = _ask_hub(
                    partial(
                        huggingface_hub.hf_hub_download,
                        repo,
                        name,
                        repo_type=kind,
                        revision=commit,
                        token=token,
                        cache_dir=scratch,
                    ),
                    repo,
                    user,
                )
                found[name] = Path(path).read_bytes()
    return found


def _within(seconds: float, request: Callable[[], _Result], repo: str) -> _Result:
    """What ``request`` gives or raises; a HubError where it takes longer.

    huggingface_hub has no time limit over a whole upload, and a thread cannot be ended: it is a
    daemon, so it does not keep the process alive.
    """
    box: list[_Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            box.append(request())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name=f"push {repo}", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not box:
        raise HubError(
            f"The upload to {repo} did not end within {seconds:g} s; push again when the line is"
            " better: what has arrived is not sent twice.",
            "network",
        )
    return box[0]


def _bytes(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _sha256(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return bundle.sha256(content)


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


def _ask_hub(request: Callable[[], _Result], what: str, user: str | None = None) -> _Result:
    try:
        return request()
    # Odd answers of a server end in almost any exception (KeyError, TypeError, RuntimeError).
    except Exception as error:
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
