"""The page: drop a chest X-ray, see what three networks say, how far to believe it, and what their
layers see.

python app.py [--share] [--host 127.0.0.1] [--port 7860] [--models assets/models] [--mcp]
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import inspect
import io
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from pneumonia.quiet import stderr_aside

# NumPy's products here are of 96 by 96 (pneumonia.lungs): shared among threads that wait for cores,
# on a busy machine they took up to thirty times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before Keras is imported (pneumonia.backend).
os.environ.setdefault("PNEUMONIA_LEAN", "1")


def _find_file(find: Callable[[Any], str], thing: Any) -> str:
    if isinstance(thing, type) and thing.__module__.startswith("gradio."):
        raise OSError("left alone")
    return find(thing)


with stderr_aside():
    # Gradio's import renews type stubs beside its components, for editors alone and half of its
    # time; not where a class has no source file.
    with mock.patch("inspect.getfile", partial(_find_file, inspect.getfile)):
        import gradio as gr
    from gradio.exceptions import ServerFailedToStartError
    from starlette.middleware import Middleware

    from page import look, words
    from page.blocks import MOST_SESSIONS, Page
    from page.endpoints import endpoints
    from page.gate import MOST_FILE, MOST_WAITING, Gate
    from page.mcp import keep_no_files
    from page.served import ASSETS, Models
    from page.shared import Shared, View
    from page.uploads import Uploads
    from pneumonia import decoding

# In the order they stand in: the name of a module of page/, which has build(view), and its title.
TABS = {
    "predict": "Predict",
    "compare": "Compare",
    "robustness": "Robustness",
    "activations": "Activations",
    "quiz": "Quiz",
    "batch": "Batch",
    "results": "Results",
    "about": "About",
}

MODULES = {name: importlib.import_module(f"page.{name}") for name in TABS}

# What all tabs share first; then the sheets of single tabs.
SHEETS: list[str | Path] = [
    ASSETS / "app.css",
    *sorted(file for file in ASSETS.glob("*.css") if file.name != "app.css"),
]


def build_app(models: Path | Models = ASSETS / "models") -> Page:
    """The page, not yet served.

    Args:
        models: those that answer, or a folder with one bundle a variant, in folders named as the
            catalogue names them.

    Raises:
        SystemExit: there is no bundle in it; the message says what was expected.
    """
    models = models if isinstance(models, Models) else Models(Path(models))
    # First, for every component asks where uploads lie.
    uploads = Uploads()
    # Gradio makes a folder where it was told to when it was imported.
    gr.routes.DEFAULT_TEMP_DIR = str(uploads.folder)
    with Page(title=words.TITLE, analytics_enabled=False) as page:
        page.uploads = uploads
        gr.HTML(words.HEADER)
        if models.damaged:
            left_out = ", ".join(models.title(name) for name in models.damaged)
            gr.HTML(f"<p class='credit' role='status'>{words.DAMAGED.format(names=left_out)}</p>")
        with gr.Column(elem_id="workspace"):
            shared = Shared(models, page)
            with gr.Tabs(overflow_behavior="wrap", elem_id="tabs"):
                for name, module in MODULES.items():
                    with gr.Tab(TABS[name], id=name) as tab:
                        module.build(View(shared, tab))
        endpoints(models, MODULES.values(), page)
    # Closed to direct calls, which would go past the line.
    return page.queue(max_size=MOST_WAITING, api_open=False)


def launch(
    page: Page,
    host: str | None,
    port: int | None,
    share: bool = False,
    wait: Callable[[], None] | None = None,
    *,
    mcp: bool = False,
    warm: Models | None = None,
) -> None:
    """Serves the page until it is stopped, and says where.

    Args:
        page: from :func:`build_app`.
        host, port: None for Gradio's own choice (``GRADIO_SERVER_NAME``, ``GRADIO_SERVER_PORT``, or
            127.0.0.1 and the first free port from 7860).
        share: ask for a public link; where there is none to be had, one sentence says so and the
            page stays local.
        wait: blocks while the page is served; for ever if None.
        mcp: also offer the endpoints as tools to language models, over the Model Context Protocol;
            needs the packages of ``gradio[mcp]``.
        warm: load the default one of these models while the first visitor looks around, so that the
            first answer need not wait for it.

    Raises:
        SystemExit: ``mcp`` without its packages, or the page cannot be served there; the message
            says what to do.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise SystemExit(
            'The MCP server needs packages that are not installed: pip install "gradio[mcp]", or'
            " start without --mcp."
        )
    host, port = address(host, port)
    gate = Middleware(Gate, page, page.uploads, hosts(host))
    # Gradio's own lines on a link that failed are a page long and end in instructions to install a
    # binary by hand.
    said = io.StringIO()
    with contextlib.redirect_stdout(said), _in_a_sentence(host, port):
        _, local, public = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            prevent_thread_lock=True,
            quiet=True,
            theme=look.theme(),
            css_paths=SHEETS,
            head=f"<script>{(ASSETS / 'app.js').read_text(encoding='utf-8')}</script>",
            footer_links=["api"],
            run_history=False,
            ssr_mode=False,
            show_error=False,
            strict_cors=True,
            max_file_size=MOST_FILE,
            state_session_capacity=MOST_SESSIONS,
            app_kwargs={"middleware": [gate], "lifespan": page.housekeeping},
            enable_monitoring=False,
            pwa=False,
            mcp_server=mcp,
        )
    if mcp:
        keep_no_files(page)
    print(f"The page is at {local}", flush=True)
    if mcp:
        print(f"Its MCP server is at {local}gradio_api/mcp/", flush=True)
    if share:
        none = (
            "There is no share link: the service that makes one cannot be reached; the page stays"
            " local."
        )
        print(f"Anyone can reach it for a week at {public}" if public else none, flush=True)
    if warm is not None:
        threading.Thread(target=warm.warm, daemon=True).start()
    (wait or page.block_thread)()


def address(host: str | None, port: int | None) -> tuple[str | None, int | None]:
    """Where the page is to be, from the arguments or Gradio's variables.

    Raises:
        SystemExit: it cannot be there; the message says why.
    """
    host = host or os.environ.get("GRADIO_SERVER_NAME") or None
    if port is None and os.environ.get("GRADIO_SERVER_PORT"):
        try:
            port = _port(os.environ["GRADIO_SERVER_PORT"])
        except argparse.ArgumentTypeError as error:
            raise SystemExit(f"GRADIO_SERVER_PORT: {error}") from None
    with _in_a_sentence(host, port):
        name = (host or "127.0.0.1").strip("[]")
        family, kind, protocol, _, place = socket.getaddrinfo(
            name, port or 0, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    return host, port


def hosts(host: str | None) -> list[str]:
    """The names this server is reached by: what it listens on, a Space's, and those of
    ``PNEUMONIA_HOSTS``, separated by commas.
    """
    named = (host or "", os.environ.get("SPACE_HOST", ""), os.environ.get("PNEUMONIA_HOSTS", ""))
    return [name.strip() for names in named for name in names.split(",") if name.strip()]


@contextlib.contextmanager
def _in_a_sentence(host: str | None, port: int | None) -> Iterator[None]:
    try:
        yield
    except (socket.gaierror, UnicodeError):
        raise SystemExit(
            f"There is no address {host}; --host names one of this machine's, such as 127.0.0.1,"
            " or 0.0.0.0 for all."
        ) from None
    except (OSError, ServerFailedToStartError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRNOTAVAIL:
            said = (
                f"This machine has no address {host}; --host names one of its own, such as"
                " 127.0.0.1, or 0.0.0.0 for all."
            )
        elif number in (errno.EACCES, errno.EPERM):
            said = f"Port {port} may not be used by this user; name one from 1024 on with --port."
        elif number == errno.EADDRINUSE or port:
            said = f"Port {port} is in use by another program; name another one with --port."
        else:
            said = "No port from 7860 on is free; name one with --port."
        raise SystemExit(said) from None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text[:20]!r}.")
    return int(text)


def _end(*_: object) -> None:
    raise SystemExit(0)


def main() -> None:
    """Reads the command line and serves the page."""
    parser = argparse.ArgumentParser(
        description="Chest X-ray page: normal or pneumonia? Not a medical device."
    )
    parser.add_argument("--share", action="store_true", help="also ask for a public link")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--models",
        type=Path,
        default=ASSETS / "models",
        help="folder of model bundles (default: assets/models)",
    )
    mcp = os.environ.get("PNEUMONIA_MCP") == "1"
    parser.add_argument(
        "--mcp",
        action="store_true",
        default=mcp,
        help='also be an MCP server (pip install "gradio[mcp]"; or PNEUMONIA_MCP=1)',
    )
    arguments = parser.parse_args()
    address(arguments.host, arguments.port)
    models = Models(arguments.models)
    page = build_app(models)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _end)
    try:
        launch(
            page,
            arguments.host,
            arguments.port,
            arguments.share,
            mcp=arguments.mcp,
            warm=models,
        )
    except SystemExit as end:
        if end.code:
            raise
    finally:
        page.uploads.close()
    decoding.close()
    sys.stdout.flush()
    # An answer that is on its way is not waited for, and TensorFlow takes ten seconds to go.
    os._exit(0)


if __name__ == "__main__":
    main()
