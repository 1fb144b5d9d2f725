"""A visitor who does not stop: ``make stress`` ends with it.

PYTHONPATH=. python tests/soak.py [--models FOLDER] [--minutes 10] [--seed 0]

A real browser does what a person may, at random, for some minutes: tabs, examples, models,
settings, sliders, uploads, going back, reloading. Nothing may stand in its console, no request may
leave this machine, no file may stay behind, and the app's memory stays within its bound.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlparse

from playwright.sync_api import Error, Page, sync_playwright
from stress import CHECKOUT, FILES, Server
from test_browser import DESK, FLAGS, KNOWN, PHONE, chromium

import app

# Bytes that the app and its helpers may take together.
MEMORY = 2.0e9
# A click that the next one overtakes: Gradio tells the console that it dropped the request.
OVERTAKEN = ("AbortError", "Unexpected error Connection errored out", "BodyStreamBuffer")


# What may be absent: on a tab without it, or while the page loads.
MANY = {
    "example": "button.example:visible",
    "model": "#model label:visible",
    "point": "#point label:visible",
    "slider": "input[type=range]:visible",
}


def act(page: Page, rng: random.Random) -> str:
    """Does one thing; returns what."""
    what = rng.choice(
        "tab tab tab example example example model model point slider upload back reload".split()
    )
    if what == "tab":
        page.locator(f"[data-tab-id={rng.choice(list(app.TABS))}]").first.click(timeout=5000)
    elif what in MANY:
        there = page.locator(MANY[what])
        count = there.count()
        if not count:
            return f"no {what} to be seen"
        chosen = there.nth(rng.randrange(count))
        if what == "slider":
            chosen.press("ArrowRight", timeout=5000)
        else:
            chosen.click(timeout=5000)
    elif what == "upload":
        page.locator("input[type=file]").first.set_input_files(str(rng.choice(FILES)))
    elif what == "back":
        page.go_back()
    else:
        page.reload()
    page.wait_for_timeout(rng.randrange(100, 1500))
    return what


def run(models: Path, minutes: float, seed: int = 0) -> list[str]:
    """Everything; prints what was done and returns what is wrong."""
    rng, done = random.Random(seed), Counter[str]()
    wrong: list[str] = []
    most, server = 0, Server(models)
    address = server.url.removesuffix("/gradio_api")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                phone = rng.random() < 0.5
                page = browser.new_page(viewport=PHONE if phone else DESK)
                page.on(
                    "console",
                    lambda message: (
                        wrong.append(message.text)
                        if message.type == "error"
                        and not message.text.startswith((*KNOWN, *OVERTAKEN))
                        else None
                    ),
                )
                page.on("pageerror", lambda error: wrong.append(str(error)))
                page.on(
                    "request",
                    lambda sent: (
                        wrong.append(f"asked {sent.url}")
                        if urlparse(sent.url).hostname not in ("127.0.0.1", None, "")
                        else None
                    ),
                )
                page.goto(f"{address}?__theme={rng.choice(['light', 'dark'])}")
                page.locator("#answer .film").first.wait_for(state="attached", timeout=120_000)
                for _ in range(rng.randrange(20, 60)):
                    try:
                        done[act(page, rng)] += 1
                    except Error as error:
                        # A control that is on its way out when it is clicked.
                        done["missed"] += 1
                        if "Timeout" not in str(error):
                            wrong.append(str(error).splitlines()[0])
                    most = max(most, server.memory)
                    if time.monotonic() > until:
                        break
                page.close()
            browser.close()
        wrong += [] if server.process.poll() is None else ["the app has ended"]
    finally:
        said = server.stop()
    print(f"a browser          {minutes:g} min: {dict(done)}; {most / 1e9:.2f} GB at most")
    print(f"in the console     {len(wrong)} that do not belong")
    wrong += [f"{most / 1e9:.2f} GB"] if most > MEMORY else []
    wrong += ["a traceback on the terminal"] if "Traceback" in said else []
    wrong += [f"left: {name}" for name in server.left()]
    return wrong


def main() -> None:
    """Reads the command line; exits with 1 where something is wrong."""
    parser = argparse.ArgumentParser(description="A visitor who does not stop.")
    parser.add_argument("--models", type=Path, default=CHECKOUT / "assets" / "models")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = run(options.models.resolve(), options.minutes, options.seed)
    for what in dict.fromkeys(wrong):
        print(f"WRONG  {what}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
