"""A person at a real browser: upload, example, switch, clear, look inside, on a desk and on a
phone. Pictures of each stop go to ``artefacts/``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path
from urllib.parse import urlparse

import pytest
from missing import absent

import app
from page.served import EXAMPLES

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    " --disable-sync --no-first-run".split()
)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# Gradio's own, on pages that work.
KNOWN = ("Method not implemented.",)
WAIT = 60_000


@pytest.fixture(scope="module")
def browser():
    if importlib.util.find_spec("playwright") is None:
        absent("playwright is not installed")
    named = os.environ.get("CHROMIUM")
    found = named or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        absent(
            "no Chromium was found: none of chromium, chromium-browser, google-chrome is on the"
            " path, and CHROMIUM is not set"
        )
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(models_folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, socket.socket() as probe:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        page = app.build_app(models_folder)
        app.launch(page, "127.0.0.1", port, wait=lambda: None)
        yield page.local_url
        page.close()


@pytest.fixture(params=["desk", "phone"])
def page(browser, address, request):
    """The page as opened; afterwards nothing may stand in its console, and no request may have left
    this machine.
    """
    opened = browser.new_page(viewport=DESK if request.param == "desk" else PHONE)
    complaints: list[str] = []
    opened.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "response",
        lambda response: (
            complaints.append(f"{response.status} {response.url}")
            if response.status >= 400
            else None
        ),
    )
    asked: list[str] = []
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(f"{address}?__theme={'dark' if request.param == 'phone' else 'light'}")
    opened.locator("#answer .idle").wait_for(timeout=WAIT)
    opened.place, opened.address, opened.known = request.param, address, list(KNOWN)
    yield opened
    outside = [
        url
        for url in asked
        if urlparse(url).scheme in ("http", "https", "ws", "wss")
        and urlparse(url).hostname != "127.0.0.1"
    ]
    opened.close()
    assert not outside
    assert not [text for text in complaints if not text.startswith(tuple(opened.known))]


def visit(page, query):
    """Opens the page anew at an address with a query; what the old one was waiting for breaks off."""
    page.known += ["AbortError: signal is aborted", "Unexpected error Connection errored out."]
    page.goto(f"{page.address}?__theme=light&{query}")


def snap(page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}-{page.place}.png", full_page=True)


def fits(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def upload(page, file):
    page.locator("#upload input[type=file]").set_input_files(file)


def test_first_screen_says_what_it_is_not_and_whose_pictures_these_are(page):
    assert "Not a medical device" in page.locator(".disclaimer").inner_text()
    assert page.locator(".disclaimer").bounding_box()["y"] < page.viewport_size["height"] / 2
    assert page.get_by_role("link", name="CC BY 4.0").first.is_visible()
    assert page.locator("button.example").count() == 6
    drawn = page.evaluate(
        "[...document.querySelectorAll('button.example img')].every(image => image.complete &&"
        " image.naturalWidth > 0)"
    )
    assert drawn
    fits(page)
    snap(page, "first")


def test_an_example_is_answered_at_once_and_another_model_at_the_same_picture(page):
    page.get_by_role("button", name="PNEUMONIA 2").click()
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    answer = page.locator("#answer")
    assert "Xception on person1949_bacteria_4880.jpeg" in answer.inner_text()
    assert "The data set calls this example PNEUMONIA" in answer.inner_text()
    assert "90.0%" in answer.inner_text() and "10 of 100 pneumonias missed" in answer.inner_text()
    answer.locator(".film").first.wait_for(state="attached", timeout=WAIT)
    # The X-ray, a heat map for each class over it, and the X-ray as the model sees it.
    assert (
        answer.locator("img").evaluate_all(
            "images => images.map(image => image.alt.length > 0 && image.naturalWidth > 0)"
        )
        == [True] * 4
    )
    if page.place == "phone":
        page.wait_for_function(
            "document.querySelector('#model').getBoundingClientRect().top < window.innerHeight / 2"
        )
    page.locator("#model").get_by_role("radio", name="Baseline CNN").check()
    page.get_by_text("Baseline CNN on person1949_bacteria_4880.jpeg").wait_for(timeout=WAIT)
    fits(page)
    snap(page, "answer")
    page.get_by_role("button", name="Clear", exact=True).click()
    page.locator("#answer .idle").wait_for(timeout=WAIT)
    assert page.locator("#model").get_by_role("radio", name="Baseline CNN").is_checked()


def test_an_upload_is_answered_at_once_and_a_bad_one_leaves_no_answer_behind(page, tmp_path):
    upload(page, EXAMPLES["NORMAL"][2])
    page.get_by_text(f"on {EXAMPLES['NORMAL'][2].name}").wait_for(timeout=WAIT)
    assert "The data set calls" not in page.locator("#answer").inner_text()
    page.locator("#model").get_by_role("radio", name="Augmented CNN").check()
    page.get_by_text(f"Augmented CNN on {EXAMPLES['NORMAL'][2].name}").wait_for(timeout=WAIT)
    (tmp_path / "damaged.jpeg").write_bytes(EXAMPLES["NORMAL"][0].read_bytes()[:9_000])
    upload(page, tmp_path / "damaged.jpeg")
    problem = page.locator("#answer .problem")
    problem.wait_for(timeout=WAIT)
    assert (
        problem.inner_text()
        == "damaged.jpeg is damaged and cannot be read to the end; export or copy it again."
    )
    assert page.locator("#answer .verdict").count() == 0
    assert page.locator("#model").get_by_role("radio", name="Augmented CNN").is_checked()
    snap(page, "damaged")
    # The place takes the next file without a reload, the very example among them, whose thumbnail
    # must stay.
    upload(page, EXAMPLES["PNEUMONIA"][0])
    page.get_by_text(f"Augmented CNN on {EXAMPLES['PNEUMONIA'][0].name}").wait_for(timeout=WAIT)
    fits(page)


def channels(page):
    return page.locator("#maps button.zoom").evaluate_all(
        "tiles => tiles.map(tile => tile.dataset.title)"
    )


def test_the_maps_follow_model_layer_count_and_pictures(page):
    page.get_by_role("tab", name="Activations").click()
    page.get_by_text(
        "block1_conv1_act of Xception: 32 channels of 35 × 35, the 16 strongest"
    ).wait_for(timeout=WAIT)
    strengths = [float(title.rpartition(" ")[2]) for title in channels(page)]
    assert len(strengths) == 16 and strengths == sorted(strengths, reverse=True)
    # A healthy and an ill X-ray in each, and words for those who do not see them.
    alts = (
        page.locator("#maps button.zoom")
        .first.locator("img")
        .evaluate_all("images => images.map(image => image.alt.split(': ')[1])")
    )
    assert alts == ["NORMAL 1", "PNEUMONIA 1"]
    snap(page, "maps")
    page.locator("#layer input").click()
    page.get_by_role("option", name="block13_add").click()
    page.get_by_text("block13_add of Xception: 1024 channels of").wait_for(timeout=WAIT)
    page.locator("#maps-model").get_by_role("radio", name="Baseline CNN").check()
    page.get_by_text("conv1 of Baseline CNN: 50 channels of 62 × 62").wait_for(timeout=WAIT)
    page.locator("#count").get_by_role("radio", name="32").check()
    page.get_by_text("the 32 strongest; in each tile NORMAL 1, PNEUMONIA 1").wait_for(timeout=WAIT)
    page.locator("#pneumonia-example").get_by_role("radio", name="3").check()
    page.get_by_text("in each tile NORMAL 1, PNEUMONIA 3").wait_for(timeout=WAIT)
    fits(page)
    snap(page, "maps-late")


def test_every_layer_can_be_looked_at_and_a_map_enlarged_by_keyboard(page):
    visit(page, "model=baseline&tab=activations")
    page.get_by_text("conv1 of Baseline CNN").first.wait_for(timeout=WAIT)
    page.locator("#every-layer input").check()
    page.wait_for_function(
        "document.querySelector('#layer input').value == 'conv1 (early, 2 of 7)'", timeout=WAIT
    )
    page.locator("#layer input").click()
    assert (
        page.get_by_role("option").all_inner_texts()[0].strip().startswith("scale (early, 1 of 7)")
    )
    page.keyboard.press("Escape")
    tile = page.locator("#maps button.zoom").nth(1)
    tile.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.enlarged")
    dialog.wait_for()
    assert dialog.locator("figcaption").all_inner_texts() == ["NORMAL 1", "PNEUMONIA 1"]
    assert dialog.locator("h2").inner_text() == tile.get_attribute("data-title")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("h2").inner_text() == channels(page)[2]
    snap(page, "maps-enlarged")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # The browser gives the focus back where it was before the page moves it on to the tile looked
    # at last.
    page.wait_for_function(
        "title => document.activeElement.dataset.title === title",
        arg=channels(page)[2],
        timeout=WAIT,
    )


def test_the_chosen_picture_comes_along_and_is_followed_through_the_network(page):
    upload(page, EXAMPLES["NORMAL"][1])
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    page.locator("#model").get_by_role("radio", name="Augmented CNN").check()
    page.get_by_text("Augmented CNN on").wait_for(timeout=WAIT)
    page.get_by_role("tab", name="Activations").click()
    name = EXAMPLES["NORMAL"][1].name
    page.get_by_text(f"in each tile NORMAL 1, PNEUMONIA 1, {name}").wait_for(timeout=WAIT)
    assert page.locator("#maps-shown").inner_text() == name
    assert page.locator("#maps-model").get_by_role("radio", name="Augmented CNN").is_checked()
    page.get_by_text(f"{name} through Augmented CNN").wait_for(timeout=WAIT)
    assert page.locator("#through .tile-name").all_inner_texts() == [
        "input",
        "conv1",
        "pool1",
        "conv2",
        "pool2",
        "conv3",
        "pool3",
    ]
    page.locator("#follow").get_by_role("radio", name="NORMAL example").check()
    page.get_by_text("NORMAL 1 through Augmented CNN").wait_for(timeout=WAIT)
    fits(page)
    snap(page, "maps-own")


def test_a_link_opens_an_example_a_model_and_a_tab(page):
    visit(page, f"example={EXAMPLES['PNEUMONIA'][1].stem}&model=baseline")
    page.get_by_text(f"Baseline CNN on {EXAMPLES['PNEUMONIA'][1].name}").wait_for(timeout=WAIT)
    page.locator("#model input:checked[value=baseline]").wait_for(state="attached", timeout=WAIT)
    # What names nothing here is passed over.
    visit(page, "example=../../etc/passwd&model=nobody&tab=about")
    page.get_by_role("table").wait_for(timeout=WAIT)
    page.get_by_role("tab", name="Predict").click()
    page.locator("#answer .idle").wait_for(timeout=WAIT)


def test_about_shows_every_model_with_its_interval(page):
    page.get_by_role("tab", name="About").click()
    table = page.get_by_role("table")
    table.wait_for(timeout=WAIT)
    for title in ("Baseline CNN", "Augmented CNN", "Xception"):
        assert table.get_by_role("rowheader", name=title).is_visible()
    assert "84.0–95.0" in table.inner_text()
    fits(page)
    snap(page, "about")


def test_the_keyboard_alone_gets_an_answer(page):
    page.get_by_role("button", name="NORMAL 1").focus()
    page.keyboard.press("Enter")
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    # Gradio's radio buttons are stops of the tab key, chosen with the space bar.
    page.locator("#model").get_by_role("radio", name="Xception").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.get_by_text("Augmented CNN on").wait_for(timeout=WAIT)
