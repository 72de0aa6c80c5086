"""Checks the built documentation site: `python tests/site/check_site.py site`.

Its pages load nothing from another host, and the API reference has every public name.
"""

import html.parser
import pathlib
import sys

import aib_keras

# What a browser loads by itself; an <a> or a canonical link is followed by hand.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(html.parser.HTMLParser):
    """Collects what a page loads from other hosts, and the ids in it."""

    def __init__(self, path):
        super().__init__()
        self.foreign, self.ids = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        url = attributes.get(LOADED.get(tag, ""), "") or ""
        if url.startswith(("http:", "https:", "//")):
            self.foreign.append(f"<{tag}> {url}")
        if "id" in attributes:
            self.ids.add(attributes["id"])


def main(site):
    """Returns a list of what is wrong with the site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong = [f"{path} loads {url}" for path, page in pages.items() for url in page.foreign]
    wrong += [
        f"{path} has a url() or an import of another host"
        for path in sorted(site.rglob("*.css"))
        if "url(http" in path.read_text() or "@import" in path.read_text()
    ]
    for package in aib_keras.__all__:
        ids = pages[site / "api" / f"{package}.html"].ids
        for name in getattr(aib_keras, package).__all__:
            # A name that is a module, too, is under its full name.
            if not {f"aib_keras.{package}.{name}", f"aib_keras.{package}.{name}.{name}"} & ids:
                wrong.append(f"The API reference lacks aib_keras.{package}.{name}.")
    if not (site / "search" / "search_index.js").is_file():
        wrong.append("The search needs a server: search/search_index.js is missing.")
    return wrong


if __name__ == "__main__":
    problems = main(pathlib.Path(sys.argv[1]))
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(1 if problems else 0)
