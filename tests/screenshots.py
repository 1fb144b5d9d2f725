"""Renews the README's two screenshots from the app on the bundled weights: ``make screenshots``."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

import app  # noqa: E402  (found only now)

FOLDER = CHECKOUT / "assets" / "screenshots"
# The example on which the tabs are shown.
EXAMPLE = "person1949_bacteria_4880"
WAIT = 180_000


def take(page: Page, address: str) -> None:
    """Predict with its heat map, then Activations from its top: one screen each."""
    page.goto(f"{address}?__theme=light&example={EXAMPLE}&model=xception")
    page.locator("#answer .film").first.wait_for(state="attached", timeout=WAIT)
    snap(page, "predict")
    page.get_by_role("tab", name="Activations").click()
    page.locator("#through .walk").wait_for(timeout=WAIT)
    snap(page, "activations")


def snap(page: Page, name: str) -> None:
    """What is in sight, without pointer or focus, once nothing moves any more; with 128 colours, in
    which no difference is seen.
    """
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(1500)
    shot = Image.open(io.BytesIO(page.screenshot()))
    shot.convert("RGB").quantize(128).save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Starts the app and a browser, takes the pictures, stops both."""
    browser = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if browser is None:
        raise SystemExit("No Chromium was found: install one, or name it in CHROMIUM.")
    served = app.build_app()
    app.launch(served, "127.0.0.1", None, wait=lambda: None)
    try:
        with sync_playwright() as playwright:
            opened = playwright.chromium.launch(
                executable_path=browser, args=["--no-sandbox", "--disable-gpu"]
            )
            take(opened.new_page(viewport={"width": 1280, "height": 860}), str(served.local_url))
            opened.close()
    finally:
        served.close()
    print(f"Written: {FOLDER / 'predict.png'}, {FOLDER / 'activations.png'}")


if __name__ == "__main__":
    main()
