"""The ways in: each visitor's own, bounded, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from page import gate, uploads
from page.gate import Gate
from page.uploads import Uploads

HERE = {"host": "127.0.0.1:7860"}


class Application:
    """Stands for Gradio's: keeps what it was asked, and answers with a status."""

    def __init__(self):
        self.asked, self.status, self.visitors, self.here = [], 200, [], []

    @contextlib.contextmanager
    def present(self, session):
        self.here.append(session)
        yield

    async def __call__(self, scope, receive, send):
        body = b""
        if scope["method"] == "POST":
            body = (await receive())["body"]
        self.asked.append((scope["path"], body))
        if self.status == 0:
            raise KeyError("/private/name.jpeg")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def behind():
    return Application()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    kept = Uploads()
    yield kept
    kept.close()


@pytest.fixture
def ask(behind, kept):
    """The function from a request to its status, text and headers."""
    entrance = Gate(behind, behind, kept, hosts=["x.example"])

    def ask(method, path, body=b"", headers=HERE, parts=None, query="", client="1.2.3.4"):
        said: list = []

        async def receive():
            if pieces:
                part = pieces.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(pieces) or broken}
            return {"type": "http.disconnect"}

        async def send(message):
            said.append(message)

        pieces, broken = list(parts or [body]), parts is not None
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "client": (client, 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        asyncio.run(entrance(scope, receive, send))
        return (
            said[0]["status"],
            b"".join(message.get("body", b"") for message in said).decode(),
            dict(said[0]["headers"]),
        )

    return ask


def form(content, name="a.jpeg"):
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n"


FORM = HERE | {"content-type": "multipart/form-data; boundary=x"}


def build_join(session="s", **more):
    return json.dumps({"data": [], "session_hash": session, **more}).encode()


def test_equal_uploads_lie_apart_and_can_be_read(ask, kept):
    paths = [json.loads(ask("POST", "/gradio_api/upload", form(b"same"), FORM)[1])[0]]
    paths.append(json.loads(ask("POST", "/gradio_api/upload", form(b"same"), FORM)[1])[0])
    assert paths[0] != paths[1]
    for path in paths:
        with uploads.hold_upload({"path": path}) as file:
            assert (file.name, file.read_bytes()) == ("a.jpeg", b"same")


@pytest.mark.parametrize("content", [b"--x\r\nbroken", b"", b"no form at all"])
def test_what_is_no_upload_leaves_nothing(ask, kept, content):
    status, said, _ = ask("POST", "/gradio_api/upload", content, FORM)
    assert status in (200, 400) and "Traceback" not in said
    files = [file.name for file in kept.folder.rglob("*") if file.is_file()]
    assert files == ["in-use"]


def test_an_upload_that_breaks_off_leaves_nothing(ask, kept):
    with pytest.raises(gate.ClientDisconnect):
        ask("POST", "/gradio_api/upload", headers=FORM, parts=[form(b"x" * 1000)[:500]])
    assert [entry.name for entry in kept.folder.iterdir()] == ["in-use"] and not kept._places


def test_an_upload_has_bounds(ask, kept, monkeypatch):
    monkeypatch.setattr(gate, "MOST_FILE", 100)
    assert ask("POST", "/gradio_api/upload", form(b"x" * 101), FORM)[0] == 413
    monkeypatch.setattr(gate, "MOST_UPLOAD", 50)
    assert ask("POST", "/gradio_api/upload", form(b"x" * 60), FORM)[0] == 413
    monkeypatch.setattr(gate, "MOST_ARRIVING", 0)
    assert ask("POST", "/gradio_api/upload", form(b"x"), FORM)[0] == 503
    assert not kept._places


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/deep_link",
        "/gradio_api/file=/etc/hostname",
        "/gradio_api/file/etc/hostname",
        "/gradio_api/proxy=https://x.hf.space",
        "/gradio_api/vibe-edit/",
        "/gradio_api/process_recording",
        "/monitoring",
        "/gradio_api/runs",
    ],
)
def test_what_the_page_has_no_use_for_is_closed(ask, behind, path):
    for method in ("GET", "POST"):
        assert ask(method, path)[0] == 404
    assert not behind.asked


def test_a_session_is_its_first_users_alone(ask, behind):
    cookie = ask("GET", "/")[2][b"set-cookie"].decode().split(";")[0]
    mine = HERE | {"cookie": cookie}
    assert ask("POST", "/gradio_api/queue/join", build_join(), mine)[0] == 200
    assert ask("GET", "/gradio_api/queue/data", headers=mine, query="session_hash=s")[0] == 200
    other = HERE | {"cookie": "visitor=" + "0" * 32}
    seen = len(behind.asked)
    for headers in (HERE, other):
        for path in ("/queue/join", "/cancel", "/run/predict", "/call/predict", "/reset"):
            assert ask("POST", f"/gradio_api{path}", build_join(), headers)[0] == 404
        for path in ("/heartbeat/s", "/call/predict/s", "/call/v2/predict/s"):
            assert ask("GET", f"/gradio_api{path}", headers=headers)[0] == 404
        assert (
            ask("GET", "/gradio_api/queue/data", headers=headers, query="session_hash=s")[0] == 404
        )
    assert len(behind.asked) == seen


def test_whoever_has_the_page_open_is_here(ask, behind):
    ask("GET", "/gradio_api/heartbeat/s")
    ask("GET", "/")
    assert behind.here == ["s"]


def test_programs_without_cookies_are_told_apart_by_their_address(ask):
    assert ask("POST", "/gradio_api/queue/join", build_join())[0] == 200
    assert ask("POST", "/gradio_api/queue/join", build_join())[0] == 200
    assert ask("POST", "/gradio_api/queue/join", build_join(), client="5.6.7.8")[0] == 404


def test_the_line_has_an_end_for_all_and_for_each(ask, behind, kept):
    upload = json.loads(ask("POST", "/gradio_api/upload", form(b"x"), FORM)[1])[0]
    behind.asked.clear()
    asked = json.dumps({"data": [{"path": upload}]}).encode()
    behind.visitors = ["1.2.3.4  "] * gate.MOST_WAITING_EACH
    status, said, _ = ask("POST", "/gradio_api/call/predict", asked)
    assert status == 503 and json.loads(said)["detail"].endswith(".")
    assert ask("POST", "/gradio_api/call/predict", asked, client="5.6.7.8")[0] == 200
    behind.visitors = [str(number) for number in range(gate.MOST_WAITING)]
    assert ask("POST", "/gradio_api/call/predict", asked, client="9.9.9.9")[0] == 503
    assert len(behind.asked) == 1


def test_an_upload_whose_request_is_rejected_does_not_wait_for_it(ask, behind, kept):
    upload = json.loads(ask("POST", "/gradio_api/upload", form(b"x"), FORM)[1])[0]
    (place,) = kept._places.values()
    asked = json.dumps({"data": [{"path": upload}]}).encode()
    ask("POST", "/gradio_api/call/predict", asked)
    assert place.waiting == 1
    behind.status = 422
    ask("POST", "/gradio_api/call/predict", asked)
    assert place.waiting == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("[::1]:7860", 200),
        ("10.0.0.3", 200),
        ("x.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:7860", 403),
        ("", 403),
    ],
)
def test_foreign_hosts_do_not_reach_the_mcp_server(ask, host, status):
    assert ask("POST", "/gradio_api/mcp/", b"{}", {"host": host})[0] == status
    assert ask("GET", "/", headers={"host": host})[0] == 200


def test_a_failure_is_a_sentence_and_names_nothing(ask, behind, caplog):
    behind.status = 0
    status, said, _ = ask("POST", "/gradio_api/queue/join", build_join())
    assert status == 404 and json.loads(said)["detail"].endswith(".")
    assert "private" not in said and "private" not in caplog.text


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b"3", b'{"session_hash": 3}'])
def test_strange_bodies_pass_to_whom_they_concern(ask, behind, body):
    assert ask("POST", "/gradio_api/queue/join", body)[0] == 200
    assert behind.asked[-1][1] == body
    assert ask("POST", "/gradio_api/queue/join", b"x" * (gate.MOST_BODY + 1))[0] == 413
