"""Uploads: each for itself, there as long as a request needs it, gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from page import uploads
from page.uploads import NoUpload, Uploads


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    kept = Uploads()
    yield kept
    kept.close()


def put(kept, content=b"x"):
    place = kept.place()
    (place / "sha").mkdir()
    file = place / "sha" / "a.jpeg"
    file.write_bytes(content)
    kept.mark_arrived(place)
    return file


def later(kept, seconds):
    """As if so much time had passed."""
    for place in kept._places.values():
        place.expires -= seconds
    kept.sweep()


def program(file):
    return {"path": str(file), "meta": {"_type": "gradio.FileData"}}


def test_a_program_may_ask_again_and_then_it_goes(kept):
    file = put(kept)
    for _ in range(2):
        kept.note_request(json.dumps({"data": [program(file)]}).encode())
        with uploads.hold_upload(program(file)) as found:
            assert found.read_bytes() == b"x"
        uploads.end_request(program(file))
        assert file.exists()
    later(kept, uploads.GRACE + 1)
    assert not file.exists() and not file.parent.parent.exists()
    with (
        pytest.raises(NoUpload, match="no longer on the server"),
        uploads.hold_upload(program(file)),
    ):
        pass


def test_what_another_request_waits_for_stays(kept):
    file = put(kept)
    for _ in range(2):
        kept.note_request(json.dumps({"data": [program(file)]}).encode())
    uploads.end_request(program(file))
    later(kept, uploads.GRACE + 1)
    assert file.exists()
    uploads.end_request(program(file))
    later(kept, uploads.GRACE + 1)
    assert not file.exists()


def test_nothing_goes_while_it_is_read(kept):
    file = put(kept)
    with uploads.hold_upload(program(file)):
        later(kept, uploads.WAIT + 1)
        assert file.read_bytes() == b"x"
    kept.sweep()
    assert not file.exists()


def test_the_pages_own_goes_at_once(kept):
    file = put(kept)
    with uploads.hold_upload(str(file)):
        pass
    assert not file.exists()


def test_equal_uploads_are_two(kept):
    one, other = put(kept), put(kept)
    with uploads.hold_upload(str(one)):
        pass
    assert not one.exists() and other.read_bytes() == b"x"


def test_what_nobody_asked_for_or_was_refused_goes_too(kept):
    forgotten, rejected = put(kept), put(kept)
    named = kept.note_request(json.dumps({"data": [program(rejected)]}).encode())
    kept.drop_request(named)
    later(kept, uploads.GRACE + 1)
    assert forgotten.exists() and not rejected.exists()
    later(kept, uploads.WAIT)
    assert not forgotten.exists()


def test_what_gradio_writes_beside_them_goes(kept, monkeypatch):
    (kept.folder / "deep").mkdir()
    (kept.folder / "deep" / "state.json").write_text("{}")
    (kept.folder / "tmpabc").write_text("")
    kept.sweep()
    assert (kept.folder / "tmpabc").exists()
    monkeypatch.setattr(uploads, "GRACE", -1)
    kept.sweep()
    assert [file.name for file in kept.folder.iterdir()] == ["in-use"]


@pytest.mark.parametrize(
    "path",
    ["/etc/hostname", "", "a\0b", None, 3, ["x"], "../../etc/hostname", "http://127.0.0.1/x.png"],
)
def test_only_uploads_are_read(kept, path):
    for upload in ({"path": path}, path):
        with pytest.raises(NoUpload), uploads.hold_upload(upload):
            pass


def test_a_link_or_a_folder_is_no_upload(kept, tmp_path):
    (tmp_path / "secret").write_text("x")
    file = put(kept)
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    for path in (file, file.parent, file.parent.parent, kept.folder, kept.folder / "in-use"):
        with pytest.raises((NoUpload, ValueError)), uploads.hold_upload({"path": str(path)}):
            pass


def test_there_is_an_end_to_what_is_taken(kept, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_STORED", 10)
    put(kept, b"x" * 11)
    with pytest.raises(NoUpload, match="try again"):
        kept.place()


def test_a_killed_process_leaves_nothing_once_the_next_one_starts(tmp_path):
    code = (
        "from page.uploads import Uploads; import sys, time; u = Uploads();"
        "(u.folder / 'x').write_text('x'); print(u.folder, flush=True); time.sleep(60)"
    )
    for kill in ("kill", "terminate"):
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={"GRADIO_TEMP_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        )
        assert child.stdout is not None
        folder = child.stdout.readline().strip()
        other = Uploads(tmp_path)
        # While it lives, nobody else's start takes it away.
        assert (tmp_path / folder / "x").exists()
        other.close()
        getattr(child, kill)()
        child.wait()
    Uploads(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_for_this_user_alone(kept):
    assert kept.folder.stat().st_mode & 0o077 == 0
