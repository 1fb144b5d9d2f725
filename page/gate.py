"""The gate: every request passes here before Gradio sees it.

It takes uploads in (:mod:`page.uploads`), keeps what one visitor does from another, bounds the line
of work, closes the ways in that this page has no use for, and says a sentence where Gradio would
show its insides.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Protocol
from urllib.parse import parse_qs

from gradio import route_utils
from gradio.route_utils import FnIndexInferError
from gradio.routes import file_upload_statuses
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from page.archive import MEGABYTE
from page.uploads import NoUpload, Uploads

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

API = "/gradio_api"
# One file of an upload, an archive of X-rays at most; all of one upload; how long it may take, in
# seconds; how many may arrive at a time.
MOST_FILE, MOST_UPLOAD, UPLOAD_SECONDS, MOST_ARRIVING = 100 * MEGABYTE, 300 * MEGABYTE, 300, 16
# What else is sent: names and numbers; over MCP, an X-ray as text.
MOST_BODY, MOST_MCP_BODY = MEGABYTE, 45 * MEGABYTE
# Requests that wait for their turn, of all visitors and of one.
MOST_WAITING, MOST_WAITING_EACH = 64, 24
# Sessions whose owner is remembered.
MOST_SESSIONS = 20_000
COOKIE = "visitor"

# Gradio has more ways in than this page needs: to files, to other servers, to its own workshop; and
# deep links, which write what a visitor sees to disk.
_CLOSED = re.compile(
    rf"({API})?/(deep_link|file=|file/|proxy=|stream/|process_recording|vibe-|undo-vibe-"
    r"|component_server|monitoring|runs|run-history|dev/|custom_component|profiling)"
)
_WORK = re.compile(rf"{API}/(queue/join|(run|api|call|call/v2)/[^/]+)/?")
_BUSY = "This page is busy: {count} requests are waiting. Please try again in a moment."
_YOURS = (
    "{count} of your requests are waiting already. Please try again when they have been answered."
)


class Served(Protocol):
    """What the gate has to know of the page."""

    @property
    def visitors(self) -> list[str]:
        """Keys of the visitors (see :func:`visitor`) whose requests wait, one a request."""
        ...

    def present(self, session: str) -> contextlib.AbstractContextManager[None]:
        """The visitor of a session has the page open."""
        ...


class Gate:
    """Wraps the application; see the module.

    Args:
        app: Gradio's.
        page: what is served: whose requests wait in line, and who is here.
        uploads: where uploads go.
        hosts: names this server is reached by, beside ``localhost`` and bare addresses.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        page: Served,
        uploads: Uploads,
        hosts: Iterable[str] = (),
    ) -> None:
        self.app, self.page, self.uploads = app, page, uploads
        self.hosts = {host.lower() for host in hosts}
        self.arriving = 0
        self.owners: OrderedDict[str, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request in, or says why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._pass(scope, receive, sending)
        except (HTTPException, NoUpload) as error:
            status = error.status_code if isinstance(error, HTTPException) else 503
            said = error.detail if isinstance(error, HTTPException) else str(error)
            await _say(status, said)(scope, receive, sending)
        except (ClientDisconnect, asyncio.CancelledError):
            raise
        except (KeyError, FnIndexInferError):
            # Gradio looks names up without asking whether there is one.
            await _say(404, "There is no such endpoint.")(scope, receive, sending)
        except Exception as error:
            # The error itself may quote what the visitor sent.
            logging.getLogger(__name__).error("A request failed: %s", type(error).__name__)
            if not started:
                await _say(500, "This request cannot be answered.")(scope, receive, sending)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path") or "")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        mcp = path.startswith(f"{API}/mcp")
        if mcp and not self._known(headers.get("host", "")):
            raise HTTPException(
                403,
                "That is not this server's name; PNEUMONIA_HOSTS lists those it goes by.",
            )
        if _CLOSED.match(path):
            raise HTTPException(404, "There is nothing here.")
        scope["visitor"] = visitor(scope, headers)
        if path.rstrip("/") == f"{API}/upload" and scope["method"] == "POST":
            await self._upload(scope, receive, send)
            return
        if scope["method"] == "GET":
            session = _session_of(path, scope)
            self._check_session(session, scope["visitor"])
            here = session if path.startswith(f"{API}/heartbeat/") else None
            with self.page.present(here) if here else contextlib.nullcontext():
                await self.app(scope, receive, _with_cookie(send, headers) if path == "/" else send)
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = await _body(receive, MOST_MCP_BODY if mcp else MOST_BODY)
        if not mcp:
            self._check_session(_session_in(body), scope["visitor"])
        if _WORK.fullmatch(path):
            await self._work(scope, body, receive, send)
        else:
            await self.app(scope, _again(body, receive), send)

    async def _work(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        waiting = self.page.visitors
        mine = waiting.count(scope["visitor"])
        if len(waiting) >= MOST_WAITING:
            raise HTTPException(503, _BUSY.format(count=len(waiting)))
        if mine >= MOST_WAITING_EACH:
            raise HTTPException(503, _YOURS.format(count=mine))
        named, accepted = self.uploads.note_request(body), False

        async def sending(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message.get("status", 500) < 400
            await send(message)

        try:
            await self.app(scope, _again(body, receive), sending)
        finally:
            if not accepted:
                self.uploads.drop_request(named)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.arriving >= MOST_ARRIVING:
            raise HTTPException(503, "Too many files arrive at once. Please try again in a moment.")
        identity = parse_qs(scope["query_string"].decode("latin-1")).get("upload_id", [None])[0]
        request = Request(scope, _limit_size(receive, MOST_UPLOAD))
        place = self.uploads.place()
        self.arriving += 1
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                files, _, _ = await route_utils.upload_fn(
                    request,
                    str(place),
                    MOST_FILE,
                    identity,
                    upload_progress=file_upload_statuses if identity else None,
                )
        except BaseException as error:
            self.uploads.drop(place)
            if isinstance(error, MultiPartException):
                too_large = "maximum allowed size" in error.message
                raise HTTPException(
                    413 if too_large else 400, _explain_refusal(too_large)
                ) from None
            if isinstance(error, TimeoutError):
                raise HTTPException(408, "The upload took too long.") from None
            if isinstance(error, (HTTPException, ClientDisconnect)) or not isinstance(
                error, Exception
            ):
                raise
            raise HTTPException(400, _explain_refusal(False)) from None
        finally:
            self.arriving -= 1
            if identity:
                # Or the name of the file would stay in memory where nobody watches the progress.
                file_upload_statuses.set_done(identity)
                asyncio.get_running_loop().call_later(20, _forget, identity)
        self.uploads.mark_arrived(place)
        await JSONResponse(files)(scope, receive, send)

    def _known(self, host: str) -> bool:
        """Whether a ``Host`` header names this server. A bare address does: a page of another site
        that has its name point here (DNS rebinding) still sends its name.
        """
        name = re.sub(r":\d+$", "", host.lower())
        if name in ("localhost", *self.hosts) or name.endswith((".localhost", ".gradio.live")):
            return True
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name.strip("[]"))
            return True
        return False

    def _check_session(self, session: str | None, asking: str) -> None:
        """A session belongs to whoever used it first."""
        if session is None:
            return
        owner = self.owners.setdefault(session, asking)
        self.owners.move_to_end(session)
        while len(self.owners) > MOST_SESSIONS:
            self.owners.popitem(last=False)
        if owner != asking:
            raise HTTPException(404, "There is no such session.")


def visitor(scope: Scope, headers: dict[str, str]) -> str:
    """Who asks: the browser's cookie, else address and program."""
    with contextlib.suppress(CookieError):
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        if cookie and re.fullmatch(r"[0-9a-f]{32}", cookie.value):
            return cookie.value
    client = scope.get("client") or ("",)
    return " ".join((client[0], headers.get("x-forwarded-for", ""), headers.get("user-agent", "")))


def _session_of(path: str, scope: Scope) -> str | None:
    # What follows /call/NAME/ is an event, which Gradio takes for a session where it knows no such
    # event.
    part = re.fullmatch(rf"{API}/(?:heartbeat|call/v2/[^/]+|call/[^/]+)/([^/]+)/?", path)
    if part:
        return part[1]
    asked = parse_qs(scope["query_string"].decode("latin-1"))
    return asked.get("session_hash", [None])[0]


def _session_in(body: bytes) -> str | None:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    session = asked.get("session_hash") if isinstance(asked, dict) else None
    return session if isinstance(session, str) else None


def _with_cookie(send: Send, headers: dict[str, str]) -> Send:
    if COOKIE in headers.get("cookie", ""):
        return send
    # A Space shows the page inside another site's, where a browser sends only cookies like this.
    https = headers.get("x-forwarded-proto", "").startswith("https")
    kind = "SameSite=None; Secure; Partitioned" if https else "SameSite=Lax"
    cookie = f"{COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; {kind}"

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [*message["headers"], (b"set-cookie", cookie.encode())]
            message = {**message, "headers": added}
        await send(message)

    return sending


async def _body(receive: Receive, most: int) -> bytes:
    parts, receive = [], _limit_size(receive, most)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _limit_size(receive: Receive, most: int) -> Receive:
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(
                413, f"This is too much at once; at most {most // MEGABYTE} MB can be sent."
            )
        return message

    return receiving


def _again(body: bytes, receive: Receive) -> Receive:
    told = False

    async def receiving() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _explain_refusal(too_large: bool) -> str:
    if too_large:
        return f"The file is too large; at most {MOST_FILE // MEGABYTE} MB can be sent."
    return "The upload cannot be read; send it once more."


def _say(status: int, sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, status_code=status)


def _forget(identity: str) -> None:
    file_upload_statuses.stop_tracking(identity)
    file_upload_statuses._signals.pop(identity, None)
