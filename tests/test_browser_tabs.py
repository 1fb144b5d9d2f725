"""A person at a real browser who plays the quiz, sends many files, and looks at the results."""

from __future__ import annotations

import csv
import io
import re
import shutil
import threading
import zipfile

import pytest
import test_browser
from test_browser import (
    ON_A_DESK,
    WAIT,
    fits,
    open_tab,
    snap,
)

from page import batch
from page.served import EXAMPLES

pytestmark = pytest.mark.browser
address, blocks = test_browser.address, test_browser.blocks
browser, page = test_browser.browser, test_browser.page


@pytest.fixture(scope="module")
def models_folder(models_folder, tmp_path_factory):
    """The tiny bundles with a table of test predictions: two healthy at .1 and .6, two ill at .4
    and .9.
    """
    folder = tmp_path_factory.mktemp("measured") / "models"
    shutil.copytree(models_folder, folder)
    for bundle in folder.iterdir():
        (bundle / "predictions_test.csv").write_text(
            "file,label,probability\na,0,0.1\nb,0,0.6\nc,1,0.4\nd,1,0.9\n"
        )
    return folder


def test_a_game_by_keyboard_counts_what_was_seen(page):
    open_tab(page, "Quiz")
    right = 0
    for place in range(1, 7):
        page.locator("#quiz-picture").get_by_text(f"X-ray {place} of 6").wait_for(timeout=WAIT)
        assert not re.search(
            r"normal|pneumonia|person|IM-",
            page.locator("#quiz-picture img").get_attribute("alt"),
            re.IGNORECASE,
        )
        assert page.locator("#quiz-next").is_disabled()
        page.locator("#quiz-pneumonia").focus()
        page.keyboard.press("Enter")
        page.locator("#quiz-reveal .reveal-head").wait_for(timeout=WAIT)
        right += "calls it PNEUMONIA" in page.locator("#quiz-reveal").inner_text()
        assert page.locator("#quiz-reveal tr").count() == 3
        page.get_by_text(f"Score after {place} of 6").wait_for(timeout=WAIT)
        mine = page.locator("#quiz-score tbody tr").first.locator("td").all_inner_texts()
        # Whoever always says PNEUMONIA misses none and raises an alarm for every healthy child.
        assert mine == [str(right), "0", str(place - right), "0"]
        if place == 2:
            snap(page, "quiz")
            fits(page)
        page.wait_for_function("document.activeElement.id == 'quiz-next'")
        page.keyboard.press("Enter")
    page.locator("#quiz-reveal").get_by_text("Done: you were right on 3 of 6.").wait_for(
        timeout=WAIT
    )
    page.get_by_role("button", name="Play again").click()
    page.get_by_text("Score after 0 of 6").wait_for(timeout=WAIT)


def test_a_batch_of_files_and_an_archive_becomes_a_table_and_a_csv(page, tmp_path):
    with zipfile.ZipFile(tmp_path / "ward.zip", "w") as archive:
        archive.write(EXAMPLES["PNEUMONIA"][0], "a/one.jpeg")
        archive.writestr("__MACOSX/a/._one.jpeg", b"litter")
        archive.writestr("a/notes.txt", "no picture")
    open_tab(page, "Batch")
    page.locator("#batch-upload input[type=file]").set_input_files(
        [EXAMPLES["NORMAL"][0], tmp_path / "ward.zip"]
    )
    link = page.locator("#batch-table a.csv")
    page.locator("#batch-table").get_by_text("ward.zip/a/notes.txt").wait_for(timeout=WAIT)
    link.wait_for(timeout=WAIT)
    names = [EXAMPLES["NORMAL"][0].name, "ward.zip/a/one.jpeg", "ward.zip/a/notes.txt"]
    assert page.locator("#batch-table tbody td.name").all_inner_texts() == names
    assert "1 unreadable" in page.locator(".batch-top").inner_text()
    assert (
        "no picture that can be read here"
        in page.locator("#batch-table tbody tr").nth(2).inner_text()
    )
    with page.expect_download() as download:
        link.click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert [row["file"] for row in rows] == names and {row["variant"] for row in rows} == {
        "xception"
    }
    # Another model reads the same files again, which are no longer on the server.
    before = page.locator("#batch-table tbody tr").first.inner_text()
    page.locator("#model").get_by_role("radio", name="Baseline CNN").check()
    page.wait_for_function(
        "before => document.querySelector('#batch-table tbody tr').innerText != before",
        arg=before,
        timeout=WAIT,
    )
    fits(page)
    snap(page, "batch")


@ON_A_DESK
def test_answers_of_the_examples_that_come_late_leave_the_batch_alone(page, monkeypatch):
    late, asked, answered = threading.Event(), threading.Event(), threading.Event()
    examples, rows = batch._examples, batch.rows

    def slow():
        asked.set()
        late.wait(60)
        return examples()

    def noted(models, variant, point, files, force):
        found = rows(models, variant, point, files, force)
        if len(files) == 6:
            answered.set()
        return found

    monkeypatch.setattr(batch, "_examples", slow)
    monkeypatch.setattr(batch, "rows", noted)
    page.get_by_role("tab", name="Batch", exact=True).click()
    assert asked.wait(60)
    page.locator("#batch-upload input[type=file]").set_input_files([EXAMPLES["NORMAL"][0]])
    page.locator("#batch-table a.csv").wait_for(timeout=WAIT)
    late.set()
    assert answered.wait(60)
    page.wait_for_timeout(1000)
    assert page.locator("#batch-table tbody td.name").all_inner_texts() == [
        EXAMPLES["NORMAL"][0].name
    ]


# What Gradio hears of its server's stream: all of it late, as behind a proxy that holds it back, or
# all but its last message, as where the connection breaks while nothing is asked.
LATE, CUT = (
    """
    await new Promise((then) => setTimeout(then, 400));
    to.enqueue(chunk);
    """,
    """
    const heard = new TextDecoder().decode(chunk);
    to.enqueue(new TextEncoder().encode(heard.replace(/data: {"msg":"close_stream".*/, "")));
    """,
)
STREAM = """
const plain = window.fetch.bind(window);
window.fetch = async (request, options) => {
  const response = await plain(request, options);
  if (!String(request.url ?? request).includes("/queue/data")) return response;
  const altered = new TransformStream({ async transform(chunk, to) { %s } });
  return new Response(response.body.pipeThrough(altered), response);
};
"""


@pytest.mark.parametrize("how", [LATE, CUT], ids=["late", "cut"])
def test_no_answer_is_lost_on_a_bad_line(browser, address, how):
    # The next question is asked before the end of the last stream has come, by the page itself as
    # it opens and then by its visitor.
    page = browser.new_page()
    page.add_init_script(STREAM % how)
    page.goto(address)
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
    open_tab(page, "Batch")
    page.wait_for_timeout(150)
    page.locator("#batch-upload input[type=file]").set_input_files([EXAMPLES["NORMAL"][0]])
    page.get_by_text("1 file: 1 ").wait_for(timeout=WAIT)
    page.close()


@ON_A_DESK
def test_too_many_files_bring_the_examples_back(page, tmp_path):
    open_tab(page, "Batch")
    files = [tmp_path / f"{number}.jpeg" for number in range(101)]
    for file in files:
        file.write_bytes(b"one of too many")
    page.locator("#batch-upload input[type=file]").set_input_files(files)
    page.get_by_text("a batch takes 100 at most").wait_for(timeout=WAIT)
    page.locator("#batch-table").get_by_text("6 files: ").wait_for(timeout=WAIT)


@ON_A_DESK
def test_a_model_chosen_while_files_are_read_answers_them_in_the_end(page, monkeypatch):
    open_tab(page, "Batch")
    held, started = threading.Event(), threading.Event()
    items = batch.items

    def slow(entries):
        started.set()
        held.wait(60)
        yield from items(entries)

    monkeypatch.setattr(batch, "items", slow)
    page.locator("#batch-upload input[type=file]").set_input_files([EXAMPLES["NORMAL"][0]])
    assert started.wait(60)
    page.locator("#model").get_by_role("radio", name="Baseline CNN").check()
    page.wait_for_timeout(1000)
    held.set()
    link = page.locator("#batch-table a.csv")
    page.wait_for_function(
        "() => atob((document.querySelector('#batch-table a.csv')?.href ?? ',').split(',')[1])"
        ".includes('baseline')",
        timeout=WAIT,
    )
    assert link.count() == 1
    assert page.locator("#batch-table tbody td.name").all_inner_texts() == [
        EXAMPLES["NORMAL"][0].name
    ]


def test_the_results_lead_with_three_rows_beside_the_notebooks_claims(page):
    open_tab(page, "Results")
    measured = page.locator("#results-table tbody tr")
    measured.first.wait_for(timeout=WAIT)
    assert measured.count() == 3
    for place, claim in enumerate(("72%", "85%", "75%")):
        assert claim in measured.nth(place).inner_text()
    assert "1 of 2" in measured.first.inner_text()
    # The table follows the setting.
    page.locator("#point").get_by_role("radio", name="98%").check()
    page.locator("#results-table").get_by_text("(98%)").first.wait_for(timeout=WAIT)
    assert "Kermany" in page.get_by_role("region", name="What others published").inner_text()
    fits(page)


def test_the_curve_is_walked_along_by_keyboard_and_pointer(page):
    open_tab(page, "Results")
    slider = page.locator(".roc input[type=range]")
    slider.wait_for(timeout=WAIT)
    readout = page.locator(".roc-readout")
    assert readout.inner_text().startswith("At the threshold 50.0%: 1 of 2 pneumonias missed")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("At the threshold 40.0%: 0 of 2 pneumonias missed")
    assert slider.get_attribute("aria-valuetext") == readout.inner_text()
    page.keyboard.press("Home")
    assert "2 of 2 pneumonias missed (recall 0.0%), 0 of 2 healthy" in readout.inner_text()
    drawing = page.locator(".roc svg")
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    # The upper right corner, where every answer is PNEUMONIA.
    page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] * 0.03)
    page.wait_for_function(
        "document.querySelector('.roc-readout').textContent.includes('2 of 2 healthy with')"
    )
    fits(page)
    snap(page, "results")


@ON_A_DESK
def test_what_the_server_no_longer_remembers_is_said_and_nothing_old_stands_for_it(page, blocks):
    """As after an hour, or after a laptop slept."""

    def forget():
        for session in blocks.app.state_holder.session_data.values():
            session.state_data.clear()

    forget()
    page.locator("#model").get_by_role("radio", name="Baseline CNN").check()
    gone = page.locator("#answer .problem, .answer .problem").filter(has_text="no longer in memory")
    gone.first.wait_for(timeout=WAIT)
    assert page.locator(".answer .film:visible").count() == 0
    # Another X-ray is answered as ever.
    page.locator(f"#example-{EXAMPLES['PNEUMONIA'][0].stem}").click()
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)

    open_tab(page, "Batch")
    page.locator("#batch-upload input[type=file]").set_input_files(EXAMPLES["NORMAL"][0])
    page.locator("#batch-table").get_by_text("1 file").first.wait_for(timeout=WAIT)
    forget()
    page.locator("#batch-force input").check()
    page.locator("#batch-table .problem").wait_for(timeout=WAIT)

    open_tab(page, "Quiz")
    page.locator("#quiz-picture img").wait_for(timeout=WAIT)
    forget()
    page.locator("#quiz-normal").click()
    page.get_by_text("this is a new one").first.wait_for(timeout=WAIT)
    page.locator("#quiz-normal").click()
    page.get_by_text("Score after 1 of 6").wait_for(timeout=WAIT)
