"""A person at a real browser: example, upload, drop, paste, another model, look inside, on a desk
and on a phone. Pictures of each stop go to ``artefacts/``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from base64 import b64encode
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
WAIT = 120_000
# What a tab shows once it has answered.
READY = {
    "compare": ".card .film",
    "robustness": ".probes",
    "activations": "#through .walk",
    "quiz": "#quiz-picture img",
    "results": "#results-table tbody",
}


def chromium() -> str:
    """Where a Chromium is; without one the tests skip, or fail where CI is set."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        absent(
            "no Chromium was found: none of chromium, chromium-browser, google-chrome is on the"
            " path, and CHROMIUM is not set"
        )
    return found


@pytest.fixture(scope="module")
def browser():
    if importlib.util.find_spec("playwright") is None:
        absent("playwright is not installed")
    found = chromium()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def blocks(models_folder, tmp_path_factory):
    """The app as Gradio serves it."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as probe:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        page = app.build_app(models_folder)
        app.launch(page, "127.0.0.1", port, wait=lambda: None)
        yield page
        page.close()


@pytest.fixture(scope="module")
def address(blocks):
    return blocks.local_url


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
    opened.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
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


# For what has no layout of its own.
ON_A_DESK = pytest.mark.parametrize("page", ["desk"], indirect=True)


def visit(page, query):
    """Opens the page anew at an address with a query; what the old one waited for breaks off."""
    page.known += ["AbortError: signal is aborted", "Unexpected error Connection errored out."]
    page.goto(f"{page.address}?__theme=light&{query}")


def snap(page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}-{page.place}.png", full_page=True)


def fits(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def upload(page, file):
    page.locator("#bench-xray input[type=file]").set_input_files(file)


def open_tab(page, title):
    page.get_by_role("tab", name=title, exact=True).click()


def choose(page, name):
    page.locator("button.example", has_text=name).click()


def model(page, title):
    page.locator("#model").get_by_role("radio", name=title).check()


def seen(page, locator):
    """Whether the whole of it is on the screen, without scrolling."""
    box = page.locator(locator).first.bounding_box()
    return box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def wait_for_address(page, name, value):
    """The page writes its address once the answer stands; a value of None is gone from it."""
    page.wait_for_function(
        "([name, value]) => new URL(location).searchParams.get(name) === value",
        arg=[name, value],
        timeout=WAIT,
    )


def facts(page):
    return page.locator("#answer .facts").text_content()


def test_the_first_screen_has_an_answer_with_its_picture_and_says_what_it_is_not(page):
    assert "Not a medical device" in page.locator(".disclaimer").inner_text()
    for part in ("#answer .verdict", "#answer .probability", "#answer .cost", "#answer .frame"):
        assert seen(page, part), part
    assert page.locator("button.example[aria-pressed=true]").inner_text().strip() == "NORMAL 1"
    assert page.locator("button.example").count() == 6
    assert page.locator("a[href*='creativecommons']").first.get_attribute("target") == "_blank"
    fits(page)
    snap(page, "first")


def test_an_example_is_answered_at_once_and_another_model_at_the_same_picture(page):
    choose(page, "PNEUMONIA 2")
    page.get_by_text("The data set calls this example PNEUMONIA").wait_for(timeout=WAIT)
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
    assert page.locator("button.example[aria-pressed=true]").inner_text().strip() == "PNEUMONIA 2"
    wait_for_address(page, "example", EXAMPLES["PNEUMONIA"][1].stem)
    before = page.locator("#answer .probability").inner_text()
    model(page, "Baseline CNN")
    page.wait_for_function(
        "before => document.querySelector('#answer .probability').innerText != before",
        arg=before,
        timeout=WAIT,
    )
    wait_for_address(page, "model", "baseline")
    assert "person1949_bacteria_4880.jpeg" in facts(page) and "Baseline CNN" in facts(page)
    fits(page)
    snap(page, "answer")


@ON_A_DESK
def test_what_changed_is_said_once_by_one_region_that_stays(page):
    region = page.locator(".spoken[role=status]")
    first = region.inner_text()
    assert "Of 100 children" in first and "sha256" not in first
    choose(page, "PNEUMONIA 3")
    page.wait_for_function(
        "first => document.querySelector('.spoken').textContent != first", arg=first, timeout=WAIT
    )
    assert region.count() == 1


def test_an_upload_is_answered_at_once_and_a_bad_one_leaves_no_answer_behind(page, tmp_path):
    upload(page, EXAMPLES["NORMAL"][2])
    page.locator("#chosen .name").wait_for(timeout=WAIT)
    assert page.locator("#chosen .name").inner_text() == EXAMPLES["NORMAL"][2].name
    page.wait_for_function(
        "!document.querySelector('#answer').innerText.includes('The data set calls')", timeout=WAIT
    )
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    wait_for_address(page, "example", None)
    (tmp_path / "damaged.jpeg").write_bytes(EXAMPLES["NORMAL"][0].read_bytes()[:9_000])
    upload(page, tmp_path / "damaged.jpeg")
    problem = page.locator("#answer .problem")
    problem.wait_for(timeout=WAIT)
    assert problem.inner_text().startswith("damaged.jpeg is damaged")
    assert page.locator("#answer .verdict").count() == 0
    assert not page.locator("#report").is_visible()
    snap(page, "damaged")
    # The place takes the next file without a reload; and what is one's own can be taken away.
    upload(page, EXAMPLES["PNEUMONIA"][0])
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    fits(page)
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("The data set calls this example NORMAL").wait_for(timeout=WAIT)
    assert not page.locator("#own").is_visible()
    assert page.evaluate("document.activeElement.id") == "upload"


@ON_A_DESK
@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_file_may_be_dropped_or_pasted_on_any_tab(page, how):
    open_tab(page, "Compare")
    page.evaluate(
        """([how, name, base64]) => {
            const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: "image/jpeg" }));
            document.querySelector("h1").dispatchEvent(
                how === "drop"
                    ? new DragEvent("drop", { dataTransfer: carried, bubbles: true })
                    : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true }),
            );
        }""",
        [how, "mine.jpeg", b64encode(EXAMPLES["PNEUMONIA"][1].read_bytes()).decode()],
    )
    page.locator("#chosen .name").get_by_text("mine.jpeg").wait_for(state="attached", timeout=WAIT)
    # The cards of the picture before are the same in number: those of this one are waited for.
    mine = page.locator('.card img[alt="X-ray mine.jpeg"]')
    mine.first.wait_for(state="attached", timeout=WAIT)
    page.wait_for_function("document.querySelectorAll('.card .film').length == 6", timeout=WAIT)


def test_xray_model_and_setting_travel_and_stand_in_the_address(page):
    choose(page, "NORMAL 2")
    model(page, "Augmented CNN")
    # At once: the model's answer must not take the setting back.
    page.locator("#point").get_by_role("radio", name="98%").check()
    page.wait_for_function("location.search.includes('recall-0.98')", timeout=WAIT)
    open_tab(page, "Robustness")
    page.get_by_text("this setting's threshold of 20.0%").wait_for(timeout=WAIT)
    open_tab(page, "Results")
    page.wait_for_function("location.search.includes('tab=results')", timeout=WAIT)
    page.known += ["AbortError: signal is aborted", "Unexpected error Connection errored out."]
    page.go_back()
    page.wait_for_function(
        "document.querySelector('[data-tab-id=robustness]').ariaSelected == 'true'", timeout=WAIT
    )
    page.reload()
    page.get_by_text("this setting's threshold of 20.0%").wait_for(timeout=WAIT)
    assert page.locator("#model input:checked").get_attribute("value") == "augmented"
    assert page.locator("button.example[aria-pressed=true]").inner_text().strip() == "NORMAL 2"
    open_tab(page, "Predict")
    page.get_by_text("this setting's 20.0%").first.wait_for(timeout=WAIT)


@ON_A_DESK
def test_a_link_that_names_what_is_not_here_says_so(page):
    visit(page, "example=../../etc/passwd&model=nobody&setting=recall-7&tab=nowhere")
    page.locator("#notice p").wait_for(timeout=WAIT)
    notice = page.locator("#notice").inner_text()
    assert all(name in notice for name in ("etc/passwd", "nobody", "recall-7", "nowhere"))
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    fits(page)


def channels(page):
    return page.locator("#maps button.zoom").evaluate_all(
        "tiles => tiles.map(tile => tile.dataset.title)"
    )


def test_the_maps_follow_model_layer_count_and_picture(page):
    open_tab(page, "Activations")
    heading = page.locator("#maps h2")
    heading.get_by_text("block1_conv1_act (first layer) of Xception: 32 channels").wait_for(
        timeout=WAIT
    )
    strengths = [float(title.rpartition(" ")[2]) for title in channels(page)]
    assert len(strengths) == 16 and strengths == sorted(strengths, reverse=True)
    # The chosen X-ray and one of the other class in each, and words for those who do not see them.
    alts = page.locator("#maps button.zoom").first.locator("img")
    assert alts.evaluate_all("images => images.map(image => image.alt)") == [
        "NORMAL 1",
        "PNEUMONIA 1",
    ]
    assert page.locator("#story .finding").count() == 3
    snap(page, "maps")
    page.locator("#layer input").click()
    page.get_by_role("option", name="block13_add").click()
    heading.get_by_text("block13_add").wait_for(timeout=WAIT)
    model(page, "Baseline CNN")
    heading.get_by_text("conv1 (first layer) of Baseline CNN: 50 channels").wait_for(timeout=WAIT)
    page.locator("#count").get_by_role("radio", name="32").check()
    heading.get_by_text("the 32 strongest").wait_for(timeout=WAIT)
    choose(page, "PNEUMONIA 3")
    heading.get_by_text("PNEUMONIA 3, NORMAL 1").wait_for(timeout=WAIT)
    fits(page)


@ON_A_DESK
def test_every_layer_can_be_looked_at_and_a_map_enlarged_by_keyboard(page):
    visit(page, "model=baseline&tab=activations")
    page.locator("#maps h2").get_by_text("conv1 (first layer) of Baseline CNN").wait_for(
        timeout=WAIT
    )
    page.locator("#every-layer input").check()
    page.wait_for_function(
        "document.querySelector('#layer input').value == 'conv1 (early), 2 of 7'", timeout=WAIT
    )
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


def test_a_slider_walks_through_the_depth_of_the_network(page):
    visit(page, "model=augmented&tab=activations")
    slider = page.locator(".walk input")
    slider.wait_for(timeout=WAIT)
    caption = page.locator(".walk figcaption")
    assert caption.inner_text().startswith("the X-ray")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert caption.inner_text().startswith("conv1 (first layer)")
    page.keyboard.press("End")
    assert caption.inner_text().startswith("pool3 (last block)")
    fits(page)


def test_about_says_first_where_an_x_ray_goes_and_shows_every_model(page):
    open_tab(page, "About")
    table = page.get_by_role("table").first
    table.wait_for(timeout=WAIT)
    about = page.locator(".tabitem:visible")
    assert about.locator("h2").first.inner_text() == "Where your X-ray goes"
    for title in ("Baseline CNN", "Augmented CNN", "Xception"):
        assert title in about.inner_text()
    assert not page.locator("#bench-xray").is_visible()
    fits(page)
    snap(page, "about")


@ON_A_DESK
def test_a_bad_file_is_said_on_every_tab_that_would_show_it(page, tmp_path):
    open_tab(page, "Activations")
    page.locator(READY["activations"]).wait_for(timeout=WAIT)
    (tmp_path / "text.png").write_text("no picture")
    upload(page, tmp_path / "text.png")
    page.locator("#story .problem").wait_for(timeout=WAIT)
    page.wait_for_function(
        "!document.querySelector('#maps img, #through img')",
        timeout=WAIT,
    )
    assert page.locator(".spoken").inner_text().startswith("text.png is no picture")
    # What was said of one tab is not left to be read on the next.
    open_tab(page, "About")
    page.wait_for_function("document.querySelector('.spoken').textContent == ''", timeout=WAIT)


@ON_A_DESK
def test_links_within_the_page_lead_to_its_tabs(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.tabId") == "predict"
    choose(page, "PNEUMONIA 1")
    page.locator("#answer [data-open]").click(timeout=WAIT)
    page.locator(READY["robustness"]).wait_for(timeout=WAIT)
    wait_for_address(page, "tab", "robustness")


@ON_A_DESK
def test_the_keyboard_alone_gets_an_answer(page):
    page.locator("button.example", has_text="PNEUMONIA 1").focus()
    page.keyboard.press("Enter")
    page.get_by_text("The data set calls this example PNEUMONIA").wait_for(timeout=WAIT)
    page.locator("#model").get_by_role("radio", name="Xception").focus()
    page.keyboard.press("ArrowLeft")
    page.locator("#model input:checked[value=augmented]").wait_for(state="attached", timeout=WAIT)
    page.wait_for_function("location.search.includes('model=augmented')", timeout=WAIT)
    page.get_by_role("tab", name="Predict", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('tab=compare')", timeout=WAIT)
    assert page.evaluate("document.activeElement.dataset.tabId") == "compare"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_or_moderate_on_any_tab(browser, address, theme):
    if importlib.util.find_spec("axe_playwright_python") is None:
        absent("axe-playwright-python is not installed")
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    # Text that is fading in has too little contrast.
    page = browser.new_page(viewport=DESK, reduced_motion="reduce")
    page.goto(f"{address}?__theme={theme}")
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
    found = []
    for name, title in app.TABS.items():
        open_tab(page, title)
        ready = page.locator(READY.get(name, ".tabitem:visible")).first
        ready.wait_for(state="attached", timeout=WAIT)
        page.wait_for_timeout(200)
        # What Gradio draws itself, outside the tabs and the bench, is not ours to mend.
        report = Axe().run(page, context="#workspace, .top").response
        found += [
            (name, violation["id"], node["html"][:160])
            for violation in report["violations"]
            if violation["impact"] in ("critical", "serious", "moderate")
            for node in violation["nodes"]
        ]
    page.close()
    assert not found
