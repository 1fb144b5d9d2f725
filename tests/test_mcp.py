"""The app as an MCP server, where the packages for it are installed."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest
from missing import absent
from test_app import free_port

import app


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "mcp" else found(name, *rest),
    )
    with pytest.raises(SystemExit, match=r'pip install "gradio\[mcp\]"'):
        app.launch(None, "127.0.0.1", 1, mcp=True)


def test_every_endpoint_is_a_tool_with_words(models_folder, tmp_path, monkeypatch, capsys):
    if importlib.util.find_spec("mcp") is None:
        absent('the MCP server needs an extra: pip install "gradio[mcp]"')
    from mcp import ClientSession  # noqa: PLC0415
    from mcp.client.streamable_http import streamablehttp_client  # noqa: PLC0415

    async def tools(address):
        async with (
            streamablehttp_client(address) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return (await session.list_tools()).tools

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = app.build_app(models_folder)
    try:
        app.launch(page, "127.0.0.1", free_port(), wait=lambda: None, mcp=True)
        address = f"{page.local_url}gradio_api/mcp/"
        assert f"Its MCP server is at {address}" in capsys.readouterr().out
        found = {tool.name: tool for tool in asyncio.run(tools(address))}
        assert set(found) == {"predict", "compare", "robustness", "activations", "batch"}
        assert all(tool.description for tool in found.values())
        assert set(found["predict"].inputSchema["properties"]) >= {
            "image",
            "variant",
            "operating_point",
            "force",
        }
    finally:
        page.close()
