"""What the page keeps of its visitors, and for how long."""

from __future__ import annotations

import time

import gradio as gr
import numpy as np
import pytest
from gradio.routes import App

from page import panels
from page.blocks import EVERY, LEFT, Page
from page.served import examine_upload
from pneumonia import Radiograph, radiograph


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with Page() as page:
        state, text = gr.State(None), gr.Textbox()
        text.submit(lambda value: value, text, state)
    page.queue()
    App.create_app(page)
    page.state = state
    return page


def test_who_left_is_forgotten_and_who_is_here_is_not(page):
    now = time.monotonic()
    held = page.state_holder
    for name in ("here", "left"):
        held[name][page.state._id] = "pixels"
        page._queue.pending_messages_per_session[name] = "answer"
    held["call"]
    with page.present("here"):
        for passed in (0, EVERY + 1):
            page.forget(now + passed)
        # A program's own session had nothing in it; a visitor may come back.
        assert set(held.session_data) == {"here", "left"}
        page.forget(now + LEFT + 1)
        assert set(held.session_data) == set(held.time_last_used) == {"here"}
        assert set(page._queue.pending_messages_per_session) == {"here"}
    for passed in (LEFT + 2, 2 * LEFT + 3):
        page.forget(now + passed)
    assert not held.session_data and not page._queue.pending_messages_per_session
    assert not page._idle and not page._present


def test_who_comes_back_in_time_is_kept(page):
    now, held = time.monotonic(), page.state_holder
    for passed in (0, 0.9 * LEFT, 1.8 * LEFT, 2.7 * LEFT):
        held["s"][page.state._id] = "pixels"
        page.forget(now + passed)
    assert "s" in held.session_data


@pytest.mark.parametrize("size", [(3000, 2000), (500, 600), (224, 224), (2000, 40)])
def test_what_stays_of_a_picture_is_small_and_answers_the_same(size):
    rng = np.random.default_rng(1)
    picture = Radiograph(rng.integers(0, 256, size, np.uint8), "x")
    kept = examine_upload(picture).picture
    assert max(kept.size) <= panels.PREVIEW_SIDE and kept.full_size == size
    for side in (224, 160):
        assert np.array_equal(
            radiograph.resize(kept, (side, side)), radiograph.resize(picture, (side, side))
        )
    assert kept.pixels.base is None or kept.pixels.base.nbytes <= panels.PREVIEW_SIDE**2
