"""A small Hub for tests: real HTTP on loopback, repositories on disk, in a process of its own so
that it can be killed at any moment.

    python tests/hub/hub_server.py FOLDER [PORT]     prints the port it listens on

``FOLDER/faults.json`` is read at every request and makes it misbehave; ``FOLDER/requests.log`` has
a line a request. See :class:`Faults`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import time
from dataclasses import dataclass, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub_store import Store

USERS = {"hf_owner": {"name": "me", "orgs": ["clinic"]}, "hf_guest": {"name": "guest", "orgs": []}}
# Above this a file goes the large-file way, as on the Hub (10 MB there); weights always do.
LFS_BYTES = 100_000


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        delay: seconds before each answer.
        hang_put: seconds that an upload of a large file hangs, half of it read.
        die_in: a file name; the process exits in the middle of sending it.
        corrupt: file names whose bytes are altered on the way, their number kept.
        status: answer every request with it.
        die_on_commit: the process exits when a commit arrives.
        refuse: a pattern of paths, and status, message and headers to answer them with.
        odd: a pattern of paths that are answered with JSON of another shape.
    """

    delay: float = 0.0
    hang_put: float = 0.0
    die_in: str = ""
    corrupt: tuple[str, ...] = ()
    status: int = 0
    die_on_commit: bool = False
    refuse: tuple[str, int, str, dict[str, str]] | None = None
    odd: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.route()

    do_GET = do_POST = do_PUT = do_HEAD

    def route(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        with (self.store.root / "requests.log").open("a") as log:
            log.write(f"{self.command} {self.path if 'create_pr' in self.path else url.path}\n")
        file = self.store.root / "faults.json"
        values = json.loads(file.read_text()) if file.is_file() else {}
        self.faults = Faults(
            **{field.name: values[field.name] for field in fields(Faults) if field.name in values}
        )
        self.user = None
        self.body = (
            b""
            if self.command == "PUT" and self.faults.hang_put
            else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        )
        time.sleep(self.faults.delay)
        if self.faults.status:
            return self.fail(self.faults.status, "", "out of order")
        if self.faults.refuse and re.search(self.faults.refuse[0], url.path):
            _, status, message, headers = self.faults.refuse
            return self.reply(
                {"error": message}, status, {"X-Error-Message": message} | dict(headers)
            )
        if self.faults.odd and re.search(self.faults.odd, url.path):
            return self.reply([{"surprise": 1}])
        if token := (self.headers.get("Authorization") or "").removeprefix("Bearer "):
            if token not in USERS:
                return self.fail(401, "", "Invalid credentials in Authorization header")
            self.user = USERS[token]
        for pattern, action in ROUTES:
            if match := re.fullmatch(pattern, url.path):
                return action(
                    self, *(unquote(part) if part is not None else None for part in match.groups())
                )
        return self.fail(404, "", "no such address")

    def reply(
        self, content: object = None, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def fail(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.reply({"error": message}, status, headers)

    def may_write(self, repo: str) -> bool:
        return self.user is not None and repo.partition("/")[0] in (
            self.user["name"],
            *self.user["orgs"],
        )

    def visible(self, kind: str, repo: str) -> bool:
        """Answers for the caller where a repository cannot be seen."""
        folder = self.store.folder(kind, repo)
        if folder.is_dir() and (
            self.may_write(repo)
            or not json.loads((folder / "settings.json").read_text())["private"]
        ):
            return True
        self.fail(404 if self.user else 401, "RepoNotFound", "Repository not found")
        return False

    def writable(self, kind: str, repo: str) -> bool:
        if not self.visible(kind, repo):
            return False
        if not self.may_write(repo):
            self.fail(403, "", "you have no write access to this repository")
            return False
        return True

    # --- accounts and repositories
    def whoami(self) -> None:
        if self.user is None:
            return self.fail(401, "", "Invalid credentials in Authorization header")
        orgs = [{"name": name} for name in self.user["orgs"]]
        return self.reply(
            {
                "type": "user",
                "name": self.user["name"],
                "orgs": orgs,
                "auth": {"type": "access_token"},
            }
        )

    def create(self) -> None:
        wanted = json.loads(self.body)
        repo, kind = (
            f"{wanted.get('organization') or (self.user or {}).get('name')}/{wanted['name']}",
            wanted.get("type") or "model",
        )
        if not self.may_write(repo):
            return self.fail(403, "", f"you may not create {repo}")
        url = f"http://{self.headers['Host']}/{'spaces/' if kind == 'space' else ''}{repo}"
        if self.store.folder(kind, repo).is_dir():
            return self.reply({"url": url, "error": "You already created this repo"}, 409)
        self.store.create(
            kind, repo, {"private": wanted.get("visibility") == "private", "sdk": wanted.get("sdk")}
        )
        return self.reply({"url": url})

    def branch(self, kind: str, repo: str, name: str) -> None:
        if self.writable(kind, repo):
            refs = self.store.refs(kind, repo)
            if name in refs:
                return self.fail(409, "", "the branch exists")
            (self.store.folder(kind, repo) / "refs" / name.replace("/", "%2F")).write_text(
                refs["main"]
            )
            self.reply({})

    def info(self, kind: str, repo: str, revision: str | None) -> None:
        if not self.visible(kind, repo):
            return
        sha = self.store.resolve(kind, repo, revision or "main")
        if sha is None:
            return self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        siblings: list[dict] = []
        for name, entry in self.store.files(kind, repo, sha).items():
            siblings.append(
                {"rfilename": name} | ({"size": entry["size"]} if "blobs" in self.query else {})
            )
        private = json.loads((self.store.folder(kind, repo) / "settings.json").read_text())[
            "private"
        ]
        self.reply(
            {
                "_id": "0",
                "id": repo,
                "modelId": repo,
                "sha": sha,
                "siblings": siblings,
                "private": private,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
        )

    def tree(self, kind: str, repo: str, revision: str) -> None:
        if self.visible(kind, repo) and (sha := self.store.resolve(kind, repo, revision)):
            entries = []
            for name, entry in self.store.files(kind, repo, sha).items():
                lfs = (
                    {"lfs": {"oid": entry["sha256"], "size": entry["size"], "pointerSize": 134}}
                    if entry["lfs"]
                    else {}
                )
                entries.append(
                    {
                        "type": "file",
                        "path": name,
                        "size": entry["size"],
                        "oid": entry["sha256"][:40],
                        **lfs,
                    }
                )
            self.reply(entries)

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            data = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError as error:
            data, found = None, [str(error)]
        else:
            found = [] if isinstance(data, dict) else ["no metadata"]
        if isinstance(data, dict):
            # What the Hub itself insists on, as far as a card here could violate it.
            for name in ("license", "library_name", "pipeline_tag", "sdk", "app_file"):
                if not isinstance(data.get(name, ""), str):
                    found.append(f'"{name}" must be a string')
            for name in ("tags", "metrics", "datasets"):
                if not all(isinstance(item, str) for item in data.get(name, [])):
                    found.append(f'"{name}" must be an array of strings')
            for model in data.get("model-index", []):
                for result in model["results"]:
                    if not {"task", "dataset", "metrics"} <= result.keys() or not all(
                        {"type", "value"} <= metric.keys() for metric in result["metrics"]
                    ):
                        found.append('"model-index" has a result without task, dataset or metrics')
        self.reply(
            {"errors": [{"message": message} for message in found], "warnings": []},
            400 if found else 200,
        )

    # --- uploads
    def preupload(self, kind: str, repo: str, revision: str) -> None:
        if self.writable(kind, repo):
            if self.store.resolve(kind, repo, revision) is None:
                return self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            modes = []
            for file in json.loads(self.body)["files"]:
                large = file["size"] > LFS_BYTES or file["path"].endswith(".h5")
                modes.append(
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if large else "regular",
                        "shouldIgnore": False,
                    }
                )
            self.reply({"files": modes})

    def batch(self, prefix: str | None, repo: str) -> None:
        if self.writable("space" if prefix else "model", repo):
            objects = []
            for entry in json.loads(self.body)["objects"]:
                there = (self.store.root / "blobs" / entry["oid"]).is_file()
                actions = (
                    {}
                    if there
                    else {
                        "actions": {
                            "upload": {
                                "href": f"http://{self.headers['Host']}/storage/{entry['oid']}"
                            }
                        }
                    }
                )
                objects.append({"oid": entry["oid"], "size": entry["size"], **actions})
            self.reply(
                {"transfer": "basic", "objects": objects},
                headers={"Content-Type": "application/vnd.git-lfs+json"},
            )

    def upload(self, oid: str) -> None:
        if self.faults.hang_put:
            length = int(self.headers["Content-Length"])
            self.body = self.rfile.read(length // 2)
            time.sleep(self.faults.hang_put)
            self.body += self.rfile.read(length - length // 2)
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.fail(400, "", "the bytes are not those announced")
        self.store.keep(self.body)
        return self.reply({})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        if self.faults.die_on_commit:
            os._exit(1)
        if not self.writable(kind, repo):
            return
        summary, added, deleted = "", {}, []
        for line in self.body.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header":
                summary = value["summary"]
            elif key == "file":
                added[value["path"]] = self.store.keep(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if not (self.store.root / "blobs" / value["oid"]).is_file():
                    return self.fail(400, "", f"{value['path']} was never uploaded")
                added[value["path"]] = {"sha256": value["oid"], "size": value["size"], "lfs": True}
            elif key == "deletedFile":
                deleted.append(value["path"])
        pull = "create_pr" in self.query
        branch = "refs/pr/1" if pull else revision
        sha = self.store.commit(kind, repo, branch, summary, added, deleted)
        self.reply(
            {
                "commitOid": sha,
                "commitUrl": (
                    f"http://{self.headers['Host']}/{'spaces/' if kind == 'space' else ''}"
                    f"{repo}/commit/{sha}"
                ),
                "pullRequestUrl": (
                    f"http://{self.headers['Host']}/{repo}/discussions/1" if pull else None
                ),
            }
        )

    # --- downloads
    def download(self, prefix: str | None, repo: str, revision: str, name: str) -> None:
        kind = "space" if prefix else "model"
        if not self.visible(kind, repo):
            return
        sha = self.store.resolve(kind, repo, revision)
        if sha is None:
            return self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        entry = self.store.files(kind, repo, sha).get(name)
        if entry is None:
            return self.reply(
                {"error": "Entry not found"},
                404,
                {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha},
            )
        content = (self.store.root / "blobs" / entry["sha256"]).read_bytes()
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or [0, "0"])[1])
        self.send_response(206 if start else 200)
        headers = {
            "X-Repo-Commit": sha,
            "ETag": f'"{entry["sha256"]}"',
            "Content-Length": str(len(content) - start),
            "Accept-Ranges": "bytes",
        }
        if entry["lfs"]:
            headers |= {"X-Linked-Etag": f'"{entry["sha256"]}"', "X-Linked-Size": str(len(content))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.faults.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:-1] + bytes([content[-1] ^ 1])
        if name == self.faults.die_in:
            self.wfile.write(content[start : (start + len(content)) // 2])
            self.wfile.flush()
            time.sleep(0.2)
            os._exit(1)
        self.wfile.write(content[start:])


_KIND, _REPO = "/api/(model|space)s", "([^/]+/[^/]+)"
ROUTES = [
    (r"/api/whoami-v2", Handler.whoami),
    (r"/api/validate-yaml", Handler.validate),
    (r"/api/repos/create", Handler.create),
    (rf"{_KIND}/{_REPO}/branch/(.+)", Handler.branch),
    (rf"{_KIND}/{_REPO}/preupload/(.+)", Handler.preupload),
    (rf"{_KIND}/{_REPO}/commit/(.+)", Handler.commit),
    (rf"{_KIND}/{_REPO}/tree/([^/]+)", Handler.tree),
    (rf"{_KIND}/{_REPO}(?:/revision/(.+))?", Handler.info),
    (rf"/(spaces/)?{_REPO}\.git/info/lfs/objects/batch", Handler.batch),
    (r"/storage/([0-9a-f]{64})", Handler.upload),
    (rf"/(spaces/)?{_REPO}/resolve/([^/]+)/(.+)", Handler.download),
]


def main(root: Path, port: int) -> None:
    Handler.store = Store(root)
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
