"""The documentation as a site: it builds, its links lead somewhere, and it loads nothing from
elsewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from losses.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[2]
Site = dict[Path, "Page"]


class Page(HTMLParser):
    """What a page is addressed by, leads to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("next", "prev", "canonical"):
            self.loaded.append(given.get("href", ""))
        if "src" in given:
            self.loaded.append(given["src"])
        self.loaded += [part.split()[0] for part in given.get("srcset", "").split(",") if part]
        self.loaded += re.findall(r"url\(['\"]?([^'\")]+)", given.get("style", ""))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@cache
def pages(folder: Path) -> Site:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}


def elsewhere(link: str) -> bool:
    return link.startswith("//") or urlsplit(link).scheme in ("http", "https", "ftp")


def test_every_document_is_a_page(built: Path) -> None:
    names = {path.relative_to(built).as_posix() for path in pages(built)}
    own = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    expected = {path.with_suffix(".html").as_posix() for path in own}
    expected |= {"index.html", "config/index.html", "CONTRIBUTING.html", "CHANGELOG.html"}
    assert names >= expected, sorted(expected - names)
    home = (built / "index.html").read_text(encoding="utf-8")
    assert all(f'href="losses/{loss}.html"' in home for loss in CATALOG), "not in the navigation"


def test_links_and_anchors_of_the_site_lead_somewhere(built: Path) -> None:
    broken, count = [], 0
    for path, page in pages(built).items():
        if path.name == "404.html":  # its links start at the root of a server
            continue
        for link in (*page.links, *page.loaded):
            target = urlsplit(link)
            if elsewhere(link) or target.scheme in ("mailto", "data", "javascript"):
                continue
            count += 1
            aim = (path.parent / unquote(target.path)).resolve() if target.path else path
            anchor = unquote(target.fragment)
            known = pages(built)[aim].anchors if aim in pages(built) else {anchor}
            if not aim.is_file() or (anchor and anchor not in known):
                broken.append(f"{path.relative_to(built)}: {link}")
    assert count > 1000
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    found = [
        f"{path.relative_to(built)}: {link}"
        for path, page in pages(built).items()
        for link in page.loaded
        if elsewhere(link)
    ]
    for path in built.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        links = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", text)
        found += [f"{path.relative_to(built)}: {link}" for link in links if elsewhere(link)]
    assert not found, "\n".join(found)


def test_what_is_loaded_is_found_in_html() -> None:
    """Of the test's own reader: images, scripts, styles and fonts count, links do not."""
    page = Page(
        '<link rel="stylesheet" href="https://a/x.css"><script src="//b/y.js"></script>'
        '<img srcset="https://c/1.png 2x, d.png" style="background: url(https://e/f.png)">'
        '<a id="here" href="https://g">'
    )
    assert [link for link in page.loaded if elsewhere(link)] == [
        "https://a/x.css",
        "//b/y.js",
        "https://c/1.png",
        "https://e/f.png",
    ]
    assert page.links == ["https://g"]
    assert page.anchors == {"here"}
