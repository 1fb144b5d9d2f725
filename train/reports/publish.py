"""Publishing: a bundle with its card, or what a Space needs of this project, each in one commit."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from huggingface_hub import metadata_load

from pneumonia import PneumoniaClassifier, bundle, export, hub, release
from pneumonia.hub import Published
from pneumonia.release import ReleaseError
from train.reports import card

_PROJECT = Path(__file__).parents[2]
# What the app runs on and its README links to. train/, tests/ and everything else stays here.
SPACE_FILES = (
    "README.md",
    "app.py",
    "requirements.txt",
    "pyproject.toml",
    "LICENSE",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "model_card.md",
)
SPACE_FOLDERS = ("pneumonia", "page", "assets", "docs")
_REQUIRED = (
    "README.md",
    "app.py",
    "requirements.txt",
    "pneumonia",
    "assets/models",
    "assets/examples",
)
# Caches of Python and of desktops.
_LITTER = ("__pycache__", "__MACOSX", "Thumbs.db", "desktop.ini")
# X-rays may go out as the attributed examples only; other pictures of the project are PNG.
_XRAY_SUFFIXES = (".jpeg", ".jpg", ".npz", ".npy", ".dcm", ".zip")
_XRAY_FOLDER = "assets/examples/"
# Where a link of the README leads, in Markdown and in HTML.
_LINK = re.compile(r"""(?:\]\(|(?:href|src)=["'])([^)"'\s]+)""")
# What was fitted on X-rays without holding any: averages and coefficients.
_FITTED = ("pneumonia/input_check.npz", f"assets/models/*/{bundle.FAMILIARITY}")


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    replace: bool = False,
    revision: str | None = None,
    token: str | None = None,
    space: str | None = None,
    code: str | None = None,
    onnx: bool = False,
) -> Published:
    """Writes a bundle's card and pushes the whole bundle in one commit; nothing is sent before
    everything is checked.

    The card names the repository, so it is written for the push alone; the bundle on disk is left
    as it is.

    Args:
        folder: the bundle, evaluated.
        repo: ``namespace/name``; made if need be.
        private: make it a private repository; an existing public one is refused.
        create_pr: open a pull request instead of committing.
        replace: publish over a model of another variant.
        revision: a branch, made if need be; the main branch if None.
        token: the saved one if None.
        space: ``namespace/name`` of the Space that the card's third example calls; one on the
            reader's machine if None.
        code: address of this project's repository, for the card's links; none if None.
        onnx: send the network as ``model.onnx`` too.

    Returns:
        The addresses of repository and commit; as text, one line for a terminal.

    Raises:
        ReleaseError, BundleError, ModelSpecError: the bundle is not fit to be published; nothing
            was sent.
        HubError: the Hub cannot be reached or does not accept it; the repository's files are as
            they were.
        ExportError: the network cannot be had as ONNX; nothing was sent.
    """
    if not hub.is_repo_name(repo):
        raise hub.HubError(
            f"{repo!r} is no repository name; expected namespace/name, such as"
            " me/pneumonia-xray-xception.",
            "name",
        )
    text = card.render(folder, repo, space=space, code=code)
    with tempfile.TemporaryDirectory() as scratch:
        more = []
        if onnx:
            classifier = PneumoniaClassifier.from_pretrained(folder)
            more.append(export.export(classifier, "onnx", Path(scratch)).path)
        return release.publish(
            folder,
            repo,
            card=text,
            private=private,
            create_pr=create_pr,
            replace=replace,
            revision=revision,
            token=token,
            more=more,
        )


def push_space(
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    project: Path = _PROJECT,
) -> Published:
    """Pushes the app, the library, the bundled models and the examples to a Gradio Space in one
    commit, and no training data.

    What an earlier push brought and the project no longer has, the same commit removes.

    Args:
        repo: ``namespace/name`` of the Space; made if need be.
        private, revision, token: as for :func:`push`.
        project: the checkout.

    Raises:
        ReleaseError: something a Space needs is missing, or an X-ray lies where only the project's
            own pictures belong; nothing was sent.
        HubError: the Hub cannot be reached or does not accept it.
    """
    files = space_files(project)
    return hub.push(
        files,
        repo,
        message="The app with its models",
        space=True,
        private=private,
        revision=revision,
        token=token,
    )


def space_files(project: Path = _PROJECT) -> list[tuple[str, Path | bytes]]:
    """Path in the Space and file of everything that goes there.

    Raises:
        ReleaseError: see :func:`push_space`.
    """
    if missing := [name for name in _REQUIRED if not (project / name).exists()]:
        raise ReleaseError(
            f"{project} lacks {', '.join(missing)}, which a Space needs; run this in a checkout"
            " with trained models in assets/models."
        )
    _check_front_matter(project / "README.md")
    tracked = _list_tracked(project)
    kept = {
        name: project / name
        for name in tracked
        if (name in SPACE_FILES or name.split("/")[0] in SPACE_FOLDERS)
        and (project / name).is_file()
        and not any(part in _LITTER or part.startswith(".") for part in name.split("/"))
    }
    if xrays := [
        name
        for name in kept
        if name.lower().endswith(_XRAY_SUFFIXES)
        and not name.startswith(_XRAY_FOLDER)
        and not any(fnmatch(name, fitted) for fitted in _FITTED)
    ]:
        raise ReleaseError(
            f"{', '.join(xrays[:5])} may not be published: X-rays belong in {_XRAY_FOLDER}, with"
            " their attribution; move the rest away."
        )
    _check_links(project / "README.md", kept)
    return list(kept.items())


def _list_tracked(project: Path) -> list[str]:
    """Path of every file that the checkout's history knows: what lies there besides, such as a
    patient's X-ray or a token, goes nowhere.
    """
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=project, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise ReleaseError(
            f"{project} is no git checkout, so nothing says which of its files are meant to be"
            " published; run this in a clone of the project."
        ) from None
    return [name for name in listed.stdout.decode("utf-8", "replace").split("\0") if name]


def _check_links(readme: Path, files: Mapping[str, Path]) -> None:
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for target in _LINK.findall(readme.read_text(encoding="utf-8")):
        path = target.split("#")[0].strip("/")
        if path and ":" not in path and path not in files and path not in folders:
            raise ReleaseError(
                f"README.md links to {path}, which does not go to the Space; add it to the files"
                " of train/reports/publish.py or drop the link."
            )


def _check_front_matter(readme: Path) -> None:
    try:
        values = metadata_load(readme)
    # yaml's errors have no common base with huggingface_hub's ValueError.
    except Exception as error:
        raise ReleaseError(f"The front matter of {readme} cannot be read: {error}") from error
    if (
        not isinstance(values, dict)
        or values.get("sdk") != "gradio"
        or not (readme.parent / str(values.get("app_file"))).is_file()
    ):
        raise ReleaseError(
            f"{readme} must begin with a Space's front matter, with sdk: gradio, sdk_version and"
            " app_file: app.py between two lines of ---."
        )
