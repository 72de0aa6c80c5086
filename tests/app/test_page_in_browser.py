"""The page in a real headless Chromium, as somebody uses it: upload, result, slider, error."""

import urllib.parse

import pytest
from page_in_browser import chromium, cosine, opened

pytest.importorskip("playwright", reason="playwright is not installed: pip install -e '.[dev]'")
pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium or Chrome is installed: apt install chromium"
)

MODEL = "vgg_aib_qt on cluttered_digits (seed 0)"
PICTURES = {
    "image": "The image that was given to the model",
    "map": "The map over the image",
    "quantized": "The quantised map over the image",
    "modified": "The modified image",
    "modified-map": "The map over the modified image",
}
# All that can be used or seen, and has no name that a screen reader could tell.
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, img")].filter(
    element => element.offsetParent !== null && !element.getAttribute("aria-label")
        && !element.title && !element.alt && !element.innerText && !element.labels?.length
        && !element.closest("label, button[aria-label]")
        && !element.querySelector('img[alt]:not([alt=""])')
).map(element => element.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def browser(server):
    with opened(server.address) as (page, requested):
        page.set_default_timeout(60_000)
        yield page, requested


@pytest.fixture
def page(browser):
    """The page, with the first example and its result."""
    page, _ = browser
    page.reload()
    cosine(page)
    return page


def pictures(page):
    """The addresses of the pictures on the page; those that the browser can draw."""
    addresses = {}
    for name, text in PICTURES.items():
        image = page.locator(f"#{name} img")
        page.wait_for_function("e => e.complete", arg=image.element_handle())
        assert image.get_attribute("alt") == text
        if image.evaluate("e => e.naturalWidth"):
            addresses[name] = image.get_attribute("src")
    return addresses


def upload(page, name, content):
    page.get_by_label("Remove Image").click()
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    page.locator("#image input[type=file]").set_input_files(file)


def changed(page, text):
    """Waits until the sentence with the cosine is another one than `text`."""
    page.wait_for_function(
        "text => document.querySelector('#comparison strong')"
        " && document.querySelector('#comparison strong').innerText !== text",
        arg=text,
    )
    return cosine(page)


def test_an_example_and_its_maps_are_there_from_the_start(page):
    assert page.get_by_label("Model", exact=True).input_value() == MODEL
    assert set(pictures(page)) == set(PICTURES)
    assert "bits of information" in page.locator("#facts").inner_text()
    assert page.locator("#probabilities h2").inner_text().startswith("class ")


def test_an_upload_gives_its_own_result_and_the_slider_changes_it(page, image_file):
    example, sentence = pictures(page), cosine(page)
    upload(page, "noise.png", image_file.read_bytes())
    sentence = changed(page, sentence)
    before = pictures(page)
    assert not set(before.values()) & set(example.values())

    slider = page.get_by_label("range slider for Side of the window")
    assert (slider.input_value(), slider.get_attribute("max")) == ("8", "32")
    slider.focus()
    for _ in range(12):
        slider.press("ArrowRight")
    changed(page, sentence)
    page.wait_for_timeout(1000)  # The last of several moves is the one that counts.
    after = pictures(page)
    for name in PICTURES:
        is_of_the_modified = name.startswith("modified")
        assert (after[name] != before[name]) == is_of_the_modified, name
    sentence = cosine(page)
    slider.press("End")  # A window as large as the image leaves nothing of it.
    changed(page, sentence)


def test_another_modification_has_another_slider(page):
    before = cosine(page)
    page.get_by_label("Perturbation").click()
    page.get_by_role("option", name="low-pass").click()
    slider = page.get_by_label("range slider for Radius: frequencies below it stay")
    slider.wait_for()
    changed(page, before)
    assert (slider.input_value(), slider.get_attribute("max")) == ("12", "16")
    assert not page.get_by_label("Seed of the place").is_visible()


def test_a_model_without_a_map_says_so(page):
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="vgg on cluttered_digits (seed 0)").click()
    page.get_by_text("This model has no spatial map").wait_for()
    page.get_by_text("This model has no information bottleneck").wait_for()
    assert page.locator("#map img").count() == 0
    assert page.locator("#probabilities h2").inner_text().startswith("class ")
    assert page.locator("#modified img").count() == 1


def test_a_file_that_is_no_image_is_told_and_the_next_one_works(page, image_file):
    upload(page, "notes.png", b"no image at all")
    page.get_by_text("notes.png cannot be read as an image").wait_for()
    page.get_by_text("Nothing to show").wait_for()
    assert page.locator("#map img").count() == 0
    upload(page, "noise.png", image_file.read_bytes())
    cosine(page)
    assert set(pictures(page)) == set(PICTURES)


def test_without_an_image_there_is_nothing_but_a_hint(page):
    page.get_by_label("Remove Image").click()
    page.get_by_text("Drop an image, or choose an example.", exact=True).wait_for()
    assert page.locator("#map img").count() == 0
    page.locator("#examples button").nth(1).click()
    cosine(page)


def test_everything_has_a_name(page):
    assert page.evaluate(NAMELESS) == []


# The last one, for it is of all the requests above.
def test_the_browser_asked_nobody_but_the_app(browser, server):
    page, requested = browser
    cosine(page)
    hosts = {urllib.parse.urlsplit(url).netloc for url in requested}
    assert hosts - {""} == {f"127.0.0.1:{server.port}"}
    assert {url[:5] for url in requested} <= {"http:", "data:", "blob:"}
