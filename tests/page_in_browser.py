"""The page of `aib_keras.app` in a real Chromium: for its tests, and for the pictures in docs/.

python tests/page_in_browser.py docs

This writes a screenshot of each state of the page, with the published weights.
"""

import contextlib
import io
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import types
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
_SECONDS_TO_START = 300
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
# File -> query of the view that it shows.
_VIEWS = {
    "app.png": "model=vgg_aib_qt/cifar10&image=cat",
    "app-compare.png": "model=vgg_aib_qt/cifar10&image=cat&compare=Grad-CAM",
    "app-models.png": "model=vgg_aib_qt/cifar10&map=Grad-CAM&image=cat&compare=vgg/cifar10",
    "app-link.png": "model=vgg_aib_qt/digits&image=digit-1&map=heat&opacity=7",
}
_FOLDER = ("app-folder.png", "model=vgg_aib_qt/digits")
_DIGITS = 14


def app_command(*arguments):
    """Returns the command line of the app, and the environment for it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return [sys.executable, "-m", "aib_keras.app", *arguments], environment


@contextlib.contextmanager
def served(*arguments):
    """Runs the app: gives its `address`, `port` and `pid`, and `log()`, what it has printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = app_command(*arguments, f"--port={port}")
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        with open(log, "w") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address, log)
            yield types.SimpleNamespace(
                address=address, port=port, pid=process.pid, log=log.read_text
            )
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process, address, log):
    end = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(address):
            return
        time.sleep(0.2)
    raise RuntimeError(f"The app did not start:\n{log.read_text()}")


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
        page.set_default_timeout(60_000)
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


def drop(page, element_id, path):
    """Drops a file or a folder on an element, as from a file manager."""
    box = page.locator(f"#{element_id}").bounding_box()
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})


def _screenshots(folder):
    """Writes a screenshot of each state of the page."""
    with served() as server, opened("about:blank") as (page, _):
        for file, query in _VIEWS.items():
            page.goto(f"{server.address}/?{query}")
            cosine(page)
            _screenshot(page, folder / file)
        file, query = _FOLDER
        page.goto(f"{server.address}/?{query}")
        cosine(page)
        page.get_by_role("tab", name="A folder").click()
        with tempfile.TemporaryDirectory() as photos:
            _write_folder(pathlib.Path(photos))
            drop(page, "files", photos)
            page.locator("#sheet img").nth(_DIGITS - 1).wait_for()
            _screenshot(page, folder / file)


def _write_folder(folder):
    from PIL import Image

    from aib_keras import data

    for index, image in enumerate(data.load("cluttered_digits", f"test[:{_DIGITS}]").images):
        Image.fromarray(image).save(folder / f"digit-{index + 1:02}.png")
    (folder / "notes.txt").write_text("Not an image.")


def _screenshot(page, path):
    from PIL import Image

    # The fade of the progress display.
    page.wait_for_timeout(1000)
    # A palette takes a third of the space.
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture = picture.quantize(palette=picture.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    _screenshots(pathlib.Path(sys.argv[1]))
