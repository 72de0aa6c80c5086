"""The page in a real headless Chromium, as somebody uses it: upload, result, slider, error."""

import urllib.parse

import pytest
from page_in_browser import chromium, cosine, drop, opened

from aib_keras.app import choices

pytest.importorskip("playwright", reason="playwright is not installed: pip install -e '.[dev]'")
pytestmark = [
    pytest.mark.skipif(
        chromium() is None, reason="no Chromium or Chrome is installed: apt install chromium"
    ),
    # It starts the page, in a process of its own.
    pytest.mark.slow,
]

MODEL = "vgg_aib_qt on cluttered_digits (seed 0)"
PUBLISHED = "vgg_aib_qt/cifar10"
PICTURES = {
    "image": "The image that was given to the model",
    "map": "The map over the image",
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
        yield page, requested


@pytest.fixture
def page(browser, server):
    """The page, with the first example and its result."""
    page, _ = browser
    page.goto(server.address)
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


def changed(page, before):
    """Waits until the map over the modified image is another one than in `before`; all pictures.

    The cosine of the maps can be the same for two images, to the digits that are shown.
    """
    page.wait_for_function(
        "address => { const image = document.querySelector('#modified-map img');"
        " return image && image.getAttribute('src') !== address }",
        arg=before["modified-map"],
    )
    return pictures(page)


def test_an_example_and_its_maps_are_there_from_the_start(page):
    assert page.get_by_label("Model", exact=True).input_value() == MODEL
    assert set(pictures(page)) == set(PICTURES)
    assert "bits of information" in page.locator("#facts").inner_text()
    assert page.locator("#probabilities h2").inner_text().startswith("class ")


def test_an_upload_gives_its_own_result_and_the_slider_changes_it(page, image_file):
    example = pictures(page)
    upload(page, "noise.png", image_file.read_bytes())
    before = changed(page, example)
    assert not set(before.values()) & set(example.values())

    slider = page.get_by_label("range slider for Side of the window")
    assert (slider.input_value(), slider.get_attribute("max")) == ("8", "32")
    slider.focus()
    for _ in range(12):
        slider.press("ArrowRight")
    changed(page, before)
    page.wait_for_timeout(1000)  # The last of several moves is the one that counts.
    after = pictures(page)
    for name in PICTURES:
        is_of_the_modified = name.startswith("modified")
        assert (after[name] != before[name]) == is_of_the_modified, name
    slider.press("End")  # A window as large as the image leaves nothing of it.
    changed(page, after)


def test_another_modification_has_another_slider(page):
    before = pictures(page)
    page.get_by_label("Perturbation").click()
    page.get_by_role("option", name="low-pass").click()
    slider = page.get_by_label("range slider for Radius: frequencies below it stay")
    slider.wait_for()
    changed(page, before)
    assert (slider.input_value(), slider.get_attribute("max")) == ("12", "16")
    assert not page.get_by_label("Seed of the place").is_visible()


def choose(page, label, option):
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_model_without_a_map_shows_grad_cam(page):
    choose(page, "Model", "vgg on cluttered_digits (seed 0)")
    page.get_by_text("This model has no spatial map of its own").wait_for()
    page.get_by_text("This model has no information bottleneck").wait_for()
    (kind,) = page.get_by_role("radio").all()
    assert kind.is_checked()
    assert kind.get_attribute("value") == "Grad-CAM"
    assert page.locator("#map img").count() == 1
    assert page.locator("#probabilities h2").inner_text().startswith("class ")


def test_a_published_model_and_its_sample_without_any_training(page):
    assert page.locator(".examples button:visible").count() == 6
    (label,) = (one.label for one in choices.published() if one.name == PUBLISHED)
    choose(page, "Model", label)
    page.get_by_role("heading", name="cat", exact=True).wait_for()
    assert "/cat.jpg" in page.locator("#image img").get_attribute("src")
    assert page.locator(".examples button:visible").count() == 1
    assert page.locator("#map img").evaluate("e => [e.naturalWidth, e.naturalHeight]") == [451, 300]


def test_two_maps_side_by_side_with_a_slider_between_them(page):
    choose(page, "Compare with", "quantised map")
    page.locator("#compared table").wait_for()
    left, right = (page.locator("#pair img").nth(index) for index in (0, 1))
    assert left.get_attribute("src") != right.get_attribute("src")
    assert page.locator("#map img").count() == 0
    assert page.evaluate(NAMELESS) == []
    clip = "e => getComputedStyle(e).clipPath + e.style.cssText + e.parentElement.style.cssText"
    before = [one.evaluate(clip) for one in (left, right)]
    box = page.locator("#pair .inner").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 100, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert [one.evaluate(clip) for one in (left, right)] != before
    choose(page, "Compare with", "nothing")
    page.locator("#map img").wait_for()
    assert page.locator("#pair img").count() == 0


def test_the_link_opens_the_same_view(page, server):
    choose(page, "Perturbation", "low-pass")
    page.get_by_label("range slider for Radius: frequencies below it stay").wait_for()
    page.locator(".examples button").nth(2).click()
    page.get_by_role("radio", name="quantised map").check()
    page.locator('#link a[href*="quantised"][href*="digit-3"]').wait_for()
    found, sentence = pictures(page), cosine(page)
    page.locator("#link a").click()
    page.wait_for_url(f"{server.address}/?model=*")
    assert cosine(page) == sentence
    assert page.get_by_role("radio", name="quantised map").is_checked()
    # The address of a picture has the hash of its content.
    assert pictures(page) == found
    assert page.locator("#notice").count() == 0


def test_a_wrong_link_is_told_and_the_rest_of_it_is_shown(page, server):
    page.goto(f"{server.address}/?opacity=7&image=digit-2&map=<b>heat</b>")
    notice = page.locator("#notice")
    notice.get_by_text("The opacity must be a number from 0 to 1, got '7'.").wait_for()
    assert "map='<b>heat</b>': `map` must be 'map' or" in notice.inner_text()
    cosine(page)
    assert page.get_by_label("number input for Opacity of the map").input_value() == "0.6"
    assert "/digit-2.png" in page.locator("#image img").get_attribute("src")


def test_a_folder_becomes_a_contact_sheet(page, image_file, tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("b.png", "more/a.png", ".hidden.png"):
        (tmp_path / name).write_bytes(image_file.read_bytes())
    (tmp_path / "notes.txt").write_text("not an image")
    page.get_by_role("tab", name="A folder").click()
    drop(page, "files", tmp_path)
    captions = page.locator("#sheet .caption-label")
    captions.nth(1).wait_for()
    assert [text.split(":")[0] for text in captions.all_inner_texts()] == ["a.png", "b.png"]
    page.get_by_text("notes.txt cannot be read as an image").wait_for()
    assert page.evaluate(NAMELESS) == []
    # Several files, by the same way as any upload.
    page.locator("#files").get_by_label("Clear").click()
    page.get_by_text("The sheet shows the first 60 files").wait_for()
    page.locator("#files input[type=file]").set_input_files([tmp_path / "b.png"])
    captions.first.wait_for()
    assert captions.count() == 1


def test_of_a_large_folder_only_the_first_files_are_uploaded(page, image_file, tmp_path):
    for index in range(70):
        (tmp_path / f"{index:02}.png").write_bytes(image_file.read_bytes())
    (tmp_path / ".hidden.png").write_bytes(image_file.read_bytes())
    page.get_by_role("tab", name="A folder").click()
    page.get_by_test_id("Choose a folder-upload-button").set_input_files(tmp_path)
    captions = page.locator("#sheet .caption-label")
    captions.nth(59).wait_for()
    assert captions.count() == 60
    assert captions.first.inner_text().split(":")[0] == "00.png"
    page.get_by_text("It is of the first 60 files").wait_for()
    assert page.locator("#files tr").count() == 61


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
    page.locator(".examples button").nth(1).click()
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
