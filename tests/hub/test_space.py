from __future__ import annotations

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
    return root


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
    assert hub.entries("me/pneumonia-xray", kind="space").keys() == expected | {".gitattributes"}
    (project / "page/__init__.py").rename(project / "page/words.py")
    client(publish.push_space, "me/pneumonia-xray", token=OWNER, project=project)
    names = hub.entries("me/pneumonia-xray", kind="space").keys()
    assert "page/words.py" in names and "page/__init__.py" not in names


def test_a_space_without_its_parts_or_with_stray_xrays_is_refused(project):
    (project / "assets/results/person1_virus_1.jpeg").write_text("x")
    with pytest.raises(ReleaseError, match="person1_virus_1"):
        publish.space_files(project)
    (project / "README.md").write_text("# x\n")
    with pytest.raises(ReleaseError, match="front matter"):
        publish.space_files(project)
    (project / "requirements.txt").unlink()
    with pytest.raises(ReleaseError, match=r"lacks requirements.txt"):
        publish.space_files(project)
