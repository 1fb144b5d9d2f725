"""A person at a real browser who asks why, how sure, and what moves the answer; who is refused and
insists; who keeps a report.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import test_browser
from test_browser import WAIT, choose, fits, model, open_tab, snap, upload

from page import served
from page.served import EXAMPLES, Shown
from page.words import answers as words
from pneumonia import probes

pytestmark = pytest.mark.browser
address, blocks = test_browser.address, test_browser.blocks
browser, page = test_browser.browser, test_browser.page


def read_curtain(page, panel):
    """The share of the heat map that is drawn away, as the browser computes it, and where the
    line's handle stands.
    """
    return page.evaluate(
        """panel => {
            const film = [...document.querySelectorAll(`${panel} .film`)].find(
                (image) => getComputedStyle(image).display !== 'none',
            );
            const curtain = document.querySelector(`${panel} .curtain`);
            return [getComputedStyle(film).clipPath, curtain.value, film.className];
        }""",
        panel,
    )


def test_the_heat_map_lies_under_a_curtain_that_the_keyboard_moves(page):
    before, value, shown = read_curtain(page, "#answer")
    assert value == "0" and before == "inset(0px 0px 0px 0%)"
    page.locator("#answer .curtain").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert read_curtain(page, "#answer")[:2] == ["inset(0px 0px 0px 5%)", "5"]
    # Picture and sentence follow the switch.
    other = "NORMAL" if "pneumonia" in shown else "PNEUMONIA"
    page.locator("#answer").get_by_role("radio", name=f"for {other}").check()
    assert read_curtain(page, "#answer")[2] == f"film {other.lower()}"
    spoken = page.locator("#answer figcaption span:visible").all_inner_texts()
    assert len(spoken) == 1 and other in spoken[0]
    # The line stays where it was put when another model answers.
    model(page, "Baseline CNN")
    page.wait_for_function(
        "document.querySelector('#answer .facts')?.textContent.includes('Baseline CNN')"
        " && document.querySelector('#answer .curtain')?.value == '5'",
        timeout=WAIT,
    )
    fits(page)
    snap(page, "heat")


def test_all_that_is_counted_follows_the_setting(page):
    cost = page.locator("#answer .cost")
    assert cost.inner_text() != words.NO_COST and "10" in cost.inner_text()
    page.locator("#answer .details summary").click()
    assert "10 of 100" in page.locator("#answer .facts").inner_text()
    page.locator("#point").get_by_role("radio", name="98%").check()
    page.locator("#answer .key").get_by_text("threshold 20.0%").wait_for(timeout=WAIT)
    assert cost.inner_text() == words.NO_COST
    assert "10 of 100" not in page.locator("#answer .facts").text_content()
    fits(page)


def test_a_refused_picture_is_answered_only_to_those_who_insist(page, tmp_path, monkeypatch):
    monkeypatch.setattr(
        served,
        "examine_upload",
        lambda picture: Shown(
            picture, reasons=("It is in colour (80% of it), and an X-ray is grey.",)
        ),
    )
    (tmp_path / "cat.jpeg").write_bytes(EXAMPLES["NORMAL"][0].read_bytes())
    upload(page, tmp_path / "cat.jpeg")
    force = page.get_by_role("button", name=words.FORCE)
    force.wait_for(timeout=WAIT)
    assert (
        "It is in colour (80% of it), and an X-ray is grey." in page.locator("#answer").inner_text()
    )
    assert page.locator("#answer .probability").count() == 0
    fits(page)
    snap(page, "refused")
    open_tab(page, "Compare")
    page.locator("#comparison").get_by_role("button", name=words.FORCE).wait_for(timeout=WAIT)
    assert page.locator(".card .probability").count() == 0
    open_tab(page, "Predict")
    page.locator("#answer [data-force]").focus()
    page.keyboard.press("Enter")
    page.locator("#answer .probability").wait_for(timeout=WAIT)
    # The warning stands first and is the largest; no figure of what the answer is worth.
    size = "element => parseFloat(getComputedStyle(element).fontSize)"
    warning, verdict = (
        page.locator(f"#answer {part}") for part in (".forced .warning", ".verdict")
    )
    assert warning.bounding_box()["y"] < verdict.bounding_box()["y"]
    assert warning.evaluate(size) > verdict.evaluate(size)
    assert page.locator("#answer .cost").count() == 0
    snap(page, "forced")


def test_three_models_side_by_side(page):
    open_tab(page, "Compare")
    page.wait_for_function("document.querySelectorAll('.card .film').length == 6", timeout=WAIT)
    said = page.locator(".agreement").inner_text()
    for title in ("Baseline CNN", "Augmented CNN", "Xception"):
        card = page.locator(".card").filter(has=page.get_by_role("heading", name=title))
        assert card.locator(".probability").count() == 1
        assert title in said or "All three" in said
    frames = [box.bounding_box() for box in page.locator(".card .heat .frame").all()]
    if page.place == "desk":
        assert len({round(frame["y"]) for frame in frames}) == 1, "pictures stand level"
    page.locator("#comparison .curtain").first.focus()
    page.keyboard.press("End")
    assert read_curtain(page, ".card:last-child")[:2] == ["inset(0px 0px 0px 100%)", "100"]
    fits(page)
    snap(page, "compare")


def test_what_moves_the_answer_and_where_it_lies(page):
    choose(page, "PNEUMONIA 3")
    model(page, "Baseline CNN")
    open_tab(page, "Robustness")
    chart = page.locator("#probes .probes")
    chart.wait_for(timeout=WAIT)
    assert chart.locator("tbody tr:not(.kind)").count() == len(probes.PROBES) + 1
    assert "→" in page.locator("#probes .sentence strong").inner_text()
    assert page.locator(".masks button.zoom").count() == 3
    chart.locator("button.zoom").nth(1).click()
    page.locator("dialog.enlarged").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Cover it patch by patch").click()
    page.locator("#patches .film").first.wait_for(state="attached", timeout=WAIT)
    fits(page)
    snap(page, "robustness")
    # Another picture takes the patches of the old one away.
    choose(page, "NORMAL 1")
    page.locator("#patches .patches").wait_for(state="detached", timeout=WAIT)


def test_a_report_is_kept_as_one_page_at_every_setting(page, browser, tmp_path):
    for setting, threshold in (("fixed at 50.0%", "50.0%"), ("98%", "20.0%")):
        page.locator("#point").get_by_role("radio", name=setting).check()
        page.wait_for_timeout(500)
        with page.expect_download(timeout=WAIT) as download:
            page.get_by_role("button", name="Download report").click()
        stem = EXAMPLES["NORMAL"][0].stem
        assert download.value.suggested_filename == f"report-{stem}-xception.html"
        text = Path(download.value.path()).read_text(encoding="utf-8")
        assert text.count("data:image/") == 3 and "Not a medical device" in text
        assert f"threshold {threshold}" in text or f"this setting's {threshold}" in text
        (tmp_path / "report.html").write_text(text, encoding="utf-8")
        printed = browser.new_page()
        printed.goto((tmp_path / "report.html").as_uri())
        pdf = printed.pdf(prefer_css_page_size=True)
        printed.close()
        assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 1
    assert page.locator("#report-text textarea").input_value() == ""
