"""The MCP server, where it is offered: its tools take files as ``data:`` addresses; none stays."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from gradio_client import handle_file

from page.archive import MOST_BYTES
from page.blocks import NO_ADDRESS, Page

_UNREADABLE = "A file is sent as a data: address, base64-encoded, of 30 MB at most."


def keep_no_files(page: Page) -> None:
    """Makes the server put what it is sent among the uploads, where it goes with them; Gradio would
    keep it for good.
    """
    server: Any = page.mcp_server_obj

    def convert(value: Any, _: Any) -> Any:
        if isinstance(value, dict):
            return {name: convert(each, _) for name, each in value.items()}
        if isinstance(value, list):
            return [convert(each, _) for each in value]
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            raise ValueError(f"{NO_ADDRESS} {_UNREADABLE}")
        return _store_upload(page, value) if isinstance(value, str) and _is_file(value) else value

    server.convert_strings_to_filedata = convert


def _is_file(text: str) -> bool:
    return text[:5].lower() == "data:"


def _store_upload(page: Page, text: str) -> Any:
    head, _, encoded = text.partition(",")
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_UNREADABLE) from None
    if not head.endswith(";base64") or len(content) > MOST_BYTES:
        raise ValueError(_UNREADABLE)
    place = page.uploads.place()
    (place / "file").mkdir()
    file = place / "file" / "upload"
    file.write_bytes(content)
    page.uploads.mark_arrived(place)
    # The tool sends it on to the endpoint like any program, within the second.
    page.uploads.end_request(file)
    return handle_file(str(file))
