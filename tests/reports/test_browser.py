"""The page in a real browser: no error, no overflow, and everything works by keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.reports.fake_results import Tree

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)}")

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def shown(
    browser: Any, path: Path, size: dict[str, int] | None = None, **options: Any
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page, what it said on the console, and what it asked for."""
    context = browser.new_context(viewport=size or DESKTOP, **options)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page, said, asked
    context.close()


@pytest.fixture
def page(browser: Any, reported: Tree) -> Iterator[Any]:
    with shown(browser, reported.out / "index.html") as (found, _, _):
        yield found


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "light"), (DESKTOP, "dark")]
)
def test_quiet_self_contained_and_not_too_wide(
    browser: Any, reported: Tree, size: dict[str, int], scheme: str
) -> None:
    path = reported.out / "index.html"
    with shown(browser, path, size, color_scheme=scheme) as (page, said, asked):
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_function("document.querySelector('nav [aria-current]').hash === '#again'")
        assert said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        images = page.evaluate(
            "[...document.images].map((i) => [i.alt, i.complete, i.closest('dialog') ? 1 : i.naturalWidth])"
        )
        assert images
        assert all(alt and complete and width > 0 for alt, complete, width in images)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        # Figures stay on white paper.
        paper = page.evaluate(
            "getComputedStyle(document.querySelector('figure img')).backgroundColor"
        )
        assert paper == "rgb(255, 255, 255)"


def test_the_comparison_fits_a_desktop(page: Any) -> None:
    wide = "document.querySelector('.wide:has(#table-comparison)')"
    assert page.evaluate(f"{wide}.scrollWidth <= {wide}.clientWidth")


def test_a_theme_can_be_chosen(page: Any) -> None:
    button = page.locator("nav .theme")
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for _ in range(3):
        button.press("Enter")
        seen.append((button.inner_text(), page.evaluate(ground)))
    assert [text for text, _ in seen] == ["Theme: light", "Theme: dark", "Theme: system"]
    assert seen[0][1] == "rgb(255, 255, 255)"
    assert seen[1][1] != seen[0][1]


def column(page: Any, table: str, place: int) -> list[str]:
    return page.locator(f"#{table} tbody tr > :nth-child({place})").all_inner_texts()


def test_a_table_is_sorted_by_keyboard(page: Any) -> None:
    heads = page.locator("#table-comparison thead th")
    place = next(i for i, text in enumerate(heads.all_inner_texts(), 1) if text.startswith("EER"))
    head = heads.nth(place - 1)
    before = column(page, "table-comparison", place)
    values = [float(re.findall(r"[\d.]+", text)[0]) for text in before]
    assert values != sorted(values)
    assert values != sorted(values, reverse=True)
    head.locator("button").focus()
    for order, expected in (
        ("ascending", sorted(values)),
        ("descending", sorted(values, reverse=True)),
        ("none", values),
    ):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        shown_now = column(page, "table-comparison", place)
        assert [float(re.findall(r"[\d.]+", text)[0]) for text in shown_now] == expected


def test_sorting_is_by_raw_values_stable_and_keeps_missing_ones_last(page: Any) -> None:
    heads = page.locator("#table-experiments thead th")
    texts = heads.all_inner_texts()
    place = next(i for i, text in enumerate(texts, 1) if text.startswith("EER"))
    ids = len(texts)
    before = list(
        zip(
            column(page, "table-experiments", place),
            column(page, "table-experiments", ids),
            strict=True,
        )
    )
    assert any(text == "–" for text, _ in before)
    raw = page.locator(f"#table-experiments tbody tr > :nth-child({place})").evaluate_all(
        "(cells) => cells.map((cell) => cell.dataset.value)"
    )
    known = sorted(((float(v), i) for i, v in enumerate(raw) if v), key=lambda each: each[0])
    missing = [i for i, value in enumerate(raw) if not value]
    for _ in range(2):  # up, then down
        heads.nth(place - 1).locator("button").press("Enter")
        after = column(page, "table-experiments", ids)
        assert after == [before[i][1] for i in [*(i for _, i in known), *missing]]
        known.sort(key=lambda each: -each[0])
    # A column of words beside it resets this one.
    heads.nth(0).locator("button").press(" ")
    assert heads.nth(place - 1).get_attribute("aria-sort") == "none"
    losses = column(page, "table-experiments", 1)
    assert losses == sorted(losses)


def test_a_figure_opens_and_closes_by_keyboard(page: Any) -> None:
    links = page.locator("a.zoom")
    titles = page.locator("figure figcaption > strong").all_inner_texts()
    box = page.locator("dialog.lightbox")
    links.nth(0).focus()
    page.keyboard.press("Enter")
    assert box.is_visible()
    assert box.locator(".title").inner_text() == titles[0]
    assert box.locator("img").get_attribute("alt") == links.nth(0).locator("img").get_attribute(
        "alt"
    )
    page.keyboard.press("ArrowRight")
    assert box.locator(".title").inner_text() == titles[1]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert box.locator(".title").inner_text() == titles[-1]
    page.keyboard.press("Escape")
    assert not box.is_visible()
    assert page.evaluate("document.activeElement.classList.contains('zoom')")


def test_links_reach_anchors_and_files(page: Any, reported: Tree) -> None:
    hrefs = set(
        page.locator("a[href]").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
    )
    ids = set(page.locator("[id]").evaluate_all("(all) => all.map((a) => a.id)"))
    inner = {unquote(href[1:]) for href in hrefs if href.startswith("#")}
    assert inner <= ids
    files = {href for href in hrefs if not href.startswith("#") and not urlsplit(href).scheme}
    assert sum("/runs/" in href for href in files) > 100
    assert [href for href in files if not (reported.out / unquote(href)).is_file()] == []


def test_a_number_leads_to_all_seeds_of_its_setting(page: Any, reported: Tree) -> None:
    row = page.locator("#table-comparison tbody tr").filter(has_text="ArcFace")
    row.locator("td a").first.press("Enter")
    chosen = page.locator("#table-experiments tr.chosen")
    chosen.first.wait_for()  # the page hears of its new address a moment later
    assert chosen.count() == 5
    settings = row.locator("td").first.inner_text()
    assert set(chosen.locator("td").nth(0).all_inner_texts()) == {settings}
    shown_ids = [each.strip() for each in chosen.locator("td code").all_inner_texts()]
    assert {reported.runs.joinpath(each).name for each in shown_ids} <= set(reported.ids.values())
    assert chosen.first.is_visible()


def test_runs_are_filtered(page: Any) -> None:
    page.locator("#filter").fill("diverged arcface")
    rows = page.locator("#table-experiments tbody tr:not([hidden])")
    assert rows.count() == 7
    assert page.locator(".filter [role=status]").inner_text() == "7 of 50 runs"
    page.locator("#filter").fill("")
    assert rows.count() == 50


def test_print_shows_everything_but_the_navigation(page: Any) -> None:
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator(".filter").is_visible()
    inside = page.locator("#metrics details table").first
    assert inside.evaluate("(table) => table.checkVisibility({contentVisibilityAuto: true})")
    assert inside.bounding_box()["height"] > 20


def test_without_scripts_all_is_there(browser: Any, reported: Tree) -> None:
    path = reported.out / "index.html"
    with shown(browser, path, java_script_enabled=False) as (page, said, _):
        assert said == []
        assert page.locator("#table-comparison").is_visible()
        assert not page.locator(".filter").is_visible()
        assert not page.locator("nav .theme").is_visible()
        assert page.locator("a.zoom").first.get_attribute("href").endswith(".png")
