"""Where the small Hub of the tests keeps its repositories: on disk, with commits that are visible
whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from urllib.parse import unquote


class Store:
    """Repositories on disk: ``refs/<branch>``, ``commits/<sha>.json`` and, for all of them,
    ``blobs/<sha256>``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.Lock()
        (root / "blobs").mkdir(parents=True, exist_ok=True)

    def folder(self, kind: str, repo: str) -> Path:
        return self.root / "repos" / kind / repo

    def create(self, kind: str, repo: str, settings: dict) -> None:
        folder = self.folder(kind, repo)
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps(settings))
        self.commit(
            kind,
            repo,
            "main",
            "initial commit",
            {".gitattributes": self.keep(b"*.h5 filter=lfs\n")},
            [],
        )

    def keep(self, content: bytes) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        file = self.root / "blobs" / digest
        partial = file.with_name(f"{digest}.{threading.get_ident()}")
        partial.write_bytes(content)
        partial.replace(file)
        return {"sha256": digest, "size": len(content), "lfs": False}

    def refs(self, kind: str, repo: str) -> dict[str, str]:
        folder = self.folder(kind, repo) / "refs"
        return {unquote(path.name): path.read_text() for path in folder.iterdir()}

    def resolve(self, kind: str, repo: str, revision: str) -> str | None:
        if sha := self.refs(kind, repo).get(revision):
            return sha
        return (
            revision
            if (self.folder(kind, repo) / "commits" / f"{revision}.json").is_file()
            else None
        )

    def files(self, kind: str, repo: str, sha: str) -> dict[str, dict]:
        return json.loads((self.folder(kind, repo) / "commits" / f"{sha}.json").read_text())[
            "files"
        ]

    def commit(
        self,
        kind: str,
        repo: str,
        branch: str,
        summary: str,
        added: dict[str, dict],
        deleted: list[str],
    ) -> str:
        with self.lock:
            folder = self.folder(kind, repo)
            (folder / "refs").mkdir(exist_ok=True)
            (folder / "commits").mkdir(exist_ok=True)
            parent = self.refs(kind, repo).get(branch)
            files = {
                name: entry
                for name, entry in (self.files(kind, repo, parent) if parent else {}).items()
                if name not in deleted
            } | added
            body = json.dumps(
                {"parent": parent, "summary": summary, "files": files}, sort_keys=True
            )
            sha = hashlib.sha1(f"{body}{time.time_ns()}".encode()).hexdigest()
            (folder / "commits" / f"{sha}.json").write_text(body)
            # Only this line makes the commit visible, and it happens whole or not at all.
            partial = folder / f"ref.{threading.get_ident()}"
            partial.write_text(sha)
            partial.replace(folder / "refs" / branch.replace("/", "%2F"))
            return sha
