"""A person at a real browser who asks why, how sure, and what moves the answer; who is refused and
insists; who keeps a report.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_browser import (
    WAIT,
    fits,
    snap,
    upload,
)

from page import served
from page.served import EXAMPLES, Shown
from page.words import answers as words
from pneumonia import probes

pytestmark = pytest.mark.browser


def open_tab(page, title):
    """On a phone the tabs that have no room stand behind a button with three dots."""
    tab = page.get_by_role("tab", name=title, exact=True)
    if not tab.first.is_visible():
        page.locator(".tab-wrapper .overflow-menu > button").click()
        page.locator(".overflow-dropdown").get_by_text(title, exact=True).click()
        return
    tab.first.click()


def choose(page, prefix, title):
    page.locator(f"#{prefix}-example input").click()
    page.get_by_role("option", name=title).click()


def covered(page, panel):
    """The share of the heat map that is drawn away, as the browser computes it, and where the
    line's handle stands.
    """
    return page.evaluate(
        """panel => {
            const film = [...document.querySelectorAll(`${panel} .film`)].find((image) => getComputedStyle(image).display !== 'none');
            return [getComputedStyle(film).clipPath, document.querySelector(`${panel} .curtain`).value, film.className];
        }""",
        panel,
    )


def test_the_heat_map_lies_under_a_curtain_that_the_keyboard_moves(page):
    page.get_by_role("button", name="PNEUMONIA 1").click()
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
    before, value, shown = covered(page, "#answer")
    assert value == "0" and before == "inset(0px 0px 0px 0%)"
    page.locator("#answer .curtain").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert covered(page, "#answer")[:2] == ["inset(0px 0px 0px 5%)", "5"]
    other = "normal" if "pneumonia" in shown else "pneumonia"
    page.locator("#answer").get_by_role("radio", name=f"for {other.upper()}").check()
    assert covered(page, "#answer")[2] == f"film {other}"
    assert (
        page.locator("#answer .frame").first.bounding_box()["width"] <= page.viewport_size["width"]
    )
    # The line stays where it was put when another model answers.
    page.locator("#model").get_by_role("radio", name="Baseline CNN").check()
    page.get_by_text("Baseline CNN on").wait_for(timeout=WAIT)
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
    page.wait_for_function("document.querySelector('#answer .curtain').value == '5'")
    fits(page)
    snap(page, "heat")


def test_a_setting_says_what_it_costs(page):
    page.get_by_role("button", name="NORMAL 2").click()
    cost = page.locator("#answer .cost")
    cost.wait_for(timeout=WAIT)
    assert cost.inner_text().startswith(
        "At this setting 10 of 100 pneumonias were missed (95%: 5.5% to 17.4%)"
    )
    page.locator("#point").get_by_role("radio", name="98%").check()
    page.get_by_text("threshold 20%").wait_for(timeout=WAIT)
    assert cost.inner_text() == words.NO_COST
    fits(page)


def test_a_refused_picture_is_answered_only_to_those_who_insist(page, tmp_path, monkeypatch):
    monkeypatch.setattr(
        served,
        "guarded",
        lambda picture: Shown(
            picture, reasons=("It is in colour (80% of it), and an X-ray is grey.",)
        ),
    )
    (tmp_path / "cat.jpeg").write_bytes(EXAMPLES["NORMAL"][0].read_bytes())
    upload(page, tmp_path / "cat.jpeg")
    force = page.get_by_role("button", name=words.OVERRULE)
    force.wait_for(timeout=WAIT)
    assert (
        "It is in colour (80% of it), and an X-ray is grey." in page.locator("#answer").inner_text()
    )
    assert page.locator("#answer .probability").count() == 0
    fits(page)
    snap(page, "refused")
    open_tab(page, "Compare")
    page.locator("#agreement").get_by_role("button", name=words.OVERRULE).wait_for(timeout=WAIT)
    assert page.locator(".card .probability").count() == 0
    open_tab(page, "Predict")
    page.locator("#answer [data-force]").focus()
    page.keyboard.press("Enter")
    page.locator("#answer .probability").wait_for(timeout=WAIT)
    assert (
        "Answered at your request although: It is in colour" in page.locator("#answer").inner_text()
    )


def test_three_models_side_by_side(page):
    open_tab(page, "Compare")
    choose(page, "compare", "NORMAL 3")
    page.wait_for_function("document.querySelectorAll('.card .film').length == 6", timeout=WAIT)
    page.wait_for_function(
        "document.querySelector('#agreement p').innerText.endsWith('.')", timeout=WAIT
    )
    for title in ("Baseline CNN", "Augmented CNN", "Xception"):
        assert (
            page.locator(".card")
            .filter(has=page.get_by_role("heading", name=title))
            .locator(".probability")
            .count()
            == 1
        )
        assert (
            title in page.locator("#agreement").inner_text()
            or "All three" in page.locator("#agreement").inner_text()
        )
    page.locator("#card-baseline .curtain").focus()
    page.keyboard.press("End")
    assert covered(page, "#card-xception")[:2] == ["inset(0px 0px 0px 100%)", "100"]
    fits(page)
    snap(page, "compare")


def test_what_moves_the_answer_and_where_it_lies(page):
    page.get_by_role("button", name="PNEUMONIA 3").click()
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    page.locator("#model").get_by_role("radio", name="Baseline CNN").check()
    page.get_by_text("Baseline CNN on").wait_for(timeout=WAIT)
    # Picture and model travel to the other tab.
    open_tab(page, "What moves it")
    chart = page.locator("#probes .probes")
    chart.wait_for(timeout=WAIT)
    assert page.locator("#probes .sentence").inner_text().startswith("Baseline CNN: ")
    assert chart.locator("tbody tr:not(.kind)").count() == len(probes.PROBES) + 1
    assert "PNEUMONIA 3" in page.locator("#moves-shown").inner_text()
    page.get_by_role("button", name="Cover it patch by patch").click()
    page.locator("#patches .film").first.wait_for(state="attached", timeout=WAIT)
    assert re.search(r"points", page.locator("#patches .where").inner_text())
    fits(page)
    snap(page, "moves")
    # Another picture takes the patches of the old one away.
    choose(page, "moves", "NORMAL 1")
    page.locator("#patches").get_by_text("Not asked yet.").wait_for(timeout=WAIT)


def test_a_report_is_kept_as_one_file(page):
    page.get_by_role("button", name="NORMAL 1").click()
    page.locator("#answer .verdict").wait_for(timeout=WAIT)
    with page.expect_download(timeout=WAIT) as download:
        page.get_by_role("button", name="Keep a report").click()
    assert download.value.suggested_filename == f"report-{EXAMPLES['NORMAL'][0].stem}-xception.html"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert (
        page.locator("#answer .verdict").inner_text() in text
        and text.count("data:image/") == 3
        and "Not a medical device" in text
    )
    assert page.locator("#report-text textarea").input_value() == ""


def test_nothing_to_report_is_said(page):
    page.get_by_role("button", name="Keep a report").click()
    page.get_by_text("There is nothing to report yet").wait_for(timeout=WAIT)
