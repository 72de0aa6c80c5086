"""The page of `aib_keras.app` in a real Chromium: for its tests, and for the picture in the README.

python -m aib_keras.app &
python tests/page_in_browser.py http://127.0.0.1:7860 docs/app.png
"""

import contextlib
import shutil
import sys

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without a sandbox, which it refuses to have as root, as tests in containers run; and without what
# it asks of its makers' servers on its own.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium():
    """The path of an installed Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextlib.contextmanager
def opened(address):
    """Opens an address in a new headless Chromium: gives the `playwright` page and a list, to which
    the URL of each of its requests is added."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1180, "height": 1000})
        requested = []
        page.on("request", lambda request: requested.append(request.url))
        page.goto(address)
        try:
            yield page, requested
        finally:
            browser.close()


def cosine(page):
    """Waits for a result; the sentence with the cosine of the maps."""
    return page.locator("#comparison strong").inner_text()


if __name__ == "__main__":
    with opened(sys.argv[1]) as (page, _):
        cosine(page)
        # The fade of the progress display.
        page.wait_for_timeout(1000)
        page.screenshot(path=sys.argv[2], full_page=True)
