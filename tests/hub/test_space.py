from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pneumonia.release import ReleaseError
from train.reports import publish

OWNER = "hf_owner"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    contents = {
        "README.md": (
            "---\ntitle: x\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\n---\n# x\n"
        ),
        "app.py": "print()",
        "requirements.txt": "gradio",
        "LICENSE": "Apache",
        "Makefile": "all:",
        "pneumonia/__init__.py": "",
        "pneumonia/__pycache__/x.pyc": "",
        "page/__init__.py": "",
        "train/data/chest_xray.py": "",
        "tests/test_x.py": "",
        "assets/models/baseline/model_spec.json": "{}",
        "assets/examples/IM-1.jpeg": "x",
        "assets/results/roc.png": "x",
        "assets/.DS_Store": "x",
        "data/train/NORMAL/IM-2.jpeg": "x",
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", "-f", ".")
    # What was never added goes nowhere.
    (root / "assets/token.json").write_text("hf_secret")
    (root / "assets/examples/patient.jpeg").write_text("x")
    return root


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_a_space_gets_the_app_and_no_training_data_in_one_commit(hub, client, project):
    published = client(publish.push_space, "me/pneumonia-xray", token=OWNER, project=project)
    assert (
        published.url.endswith("/spaces/me/pneumonia-xray")
        and hub.commits("me/pneumonia-xray", "space") == 2
    )
    expected = {
        "README.md",
        "app.py",
        "requirements.txt",
        "LICENSE",
        "pneumonia/__init__.py",
        "page/__init__.py",
    }
    expected |= {
        "assets/models/baseline/model_spec.json",
        "assets/examples/IM-1.jpeg",
        "assets/results/roc.png",
    }
    names = hub.entries("me/pneumonia-xray", kind="space").keys()
    assert names == expected | {".gitattributes", "SHA256SUMS"}
    git(project, "mv", "page/__init__.py", "page/words.py")
    client(publish.push_space, "me/pneumonia-xray", token=OWNER, project=project)
    names = hub.entries("me/pneumonia-xray", kind="space").keys()
    assert "page/words.py" in names and "page/__init__.py" not in names


def test_a_space_without_its_parts_or_with_stray_xrays_is_refused(project):
    (project / "assets/results/person1_virus_1.jpeg").write_text("x")
    git(project, "add", ".")
    with pytest.raises(ReleaseError, match="person1_virus_1"):
        publish.space_files(project)
    (project / "README.md").write_text("# x\n")
    with pytest.raises(ReleaseError, match="front matter"):
        publish.space_files(project)
    (project / "requirements.txt").unlink()
    with pytest.raises(ReleaseError, match=r"lacks requirements.txt"):
        publish.space_files(project)


def test_a_readme_that_links_to_what_does_not_go_along_is_refused(project):
    readme = project / "README.md"
    readme.write_text(readme.read_text() + "[log](docs/log.md) [site](https://example.org/x)\n")
    with pytest.raises(ReleaseError, match=r"docs/log\.md"):
        publish.space_files(project)


def test_a_folder_without_history_is_not_published(project):
    shutil.rmtree(project / ".git")
    with pytest.raises(ReleaseError, match="git"):
        publish.space_files(project)
