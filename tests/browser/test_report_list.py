"""The list of the report in a real browser: opening, filtering, sorting, searching, keys, paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from undertow.monitor.trace import Origin, Trace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


def ids(page: Page) -> list[str]:
    """Return the ids of the rows in the document, from top to bottom."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('.row')].sort((a, b) => a.dataset.place - b.dataset.place)"
        ".map((row) => row.querySelector('.id').textContent)"
    )
    return found


def counted(page: Page) -> str:
    """Return what the list says of how many it shows."""
    return page.locator("#count").inner_text()


def test_the_page_opens_with_all_traces(small: Path, open_page: Open) -> None:
    """The list is there, what was flagged first, and the overview above it."""
    page = open_page(small)
    assert counted(page) == "60 of 60 shown"
    assert ids(page)[0] == "trace-00000"
    assert page.get_by_role("listbox").get_by_role("option").first.get_attribute("aria-setsize") == "60"
    assert page.locator("#failure").is_hidden()


@pytest.mark.parametrize(
    ("click", "shown"),
    [
        (".unsafe-unsafe a", "10 of 60 shown"),
        (".unsafe-safe a", "10 of 60 shown"),
        (".safe-safe a", "40 of 60 shown"),
        (".histogram a", "20 of 60 shown"),
        ('.groups a:has-text("model-1")', "30 of 60 shown"),
        (".overview table a", "60 of 60 shown"),
    ],
    ids=["both", "reasoning", "neither", "onset", "model", "assessed"],
)
def test_what_the_overview_counts_is_listed_by_a_click(
    click: str, shown: str, small: Path, open_page: Open
) -> None:
    """Quadrants, bars and groups filter the list; the filter can be taken back."""
    page = open_page(small)
    page.locator(click).first.click()
    page.wait_for_selector("#chips a")
    assert counted(page) == shown
    page.locator("#chips a").click()
    page.wait_for_selector("#chips", state="hidden")
    assert counted(page) == "60 of 60 shown"


@pytest.mark.parametrize("width", [1200, 1000, 400])
def test_the_name_of_a_group_is_not_broken_inside_a_word(
    width: int, write: Callable[..., Path], make_trace: Callable[..., Trace], open_page: Open
) -> None:
    """A path has the room that it needs, on a narrow screen by scrolling; the page stays as wide as it is."""
    files = ("some/folder/of-transcripts/evening.jsonl", "some/folder/morning.jsonl")
    records = [make_trace(n, origin=Origin(path=files[n % 2], row=n)) for n in range(6)]
    page = open_page(write(records), viewport={"width": width, "height": 800})
    broken = page.evaluate(
        """() => [...document.querySelectorAll(".groups bdi")].flatMap((name) => {
          const text = name.firstChild, words = text.data.matchAll(/[^\\s-]+/g);
          return [...words].filter((word) => {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            return range.getClientRects().length > 1;
          }).map(String);
        })"""
    )
    assert broken == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_filters_sorting_and_search(small: Path, open_page: Open) -> None:
    """The controls above the list do what they say, together."""
    from playwright.sync_api import expect

    page = open_page(small)
    page.select_option("#show", "flagged")
    expect(page.locator("#count")).to_have_text("20 of 60 shown")
    page.select_option("#sort", "risk")
    risks = page.locator(".row .risk").all_inner_texts()
    assert risks == sorted(risks, reverse=True)
    page.select_option("#sort", "id")
    page.fill("#search", "MODEL-1")
    expect(page.locator("#count")).to_have_text("10 of 60 shown")
    assert ids(page)[:2] == ["trace-00003", "trace-00009"]
    page.fill("#search", "no such trace")
    expect(page.locator("#count")).to_have_text("0 of 60 shown")
    page.keyboard.press("Escape")
    expect(page.locator("#count")).to_have_text("60 of 60 shown")


def test_a_walk_by_keyboard(small: Path, open_page: Open) -> None:
    """Down the list, into a trace, through its steps, to the next one and back, without a mouse."""
    page = open_page(small)
    page.select_option("#sort", "number")
    page.evaluate("document.activeElement.blur()")
    active = "document.getElementById('rows').getAttribute('aria-activedescendant')"
    for key in "jjj":
        page.keyboard.press(key)
    assert page.evaluate(active) == "row-3"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("article h2:has-text('trace-00003')")
    for key in "jj":
        page.keyboard.press(key)
    assert page.locator("#tip").inner_text().startswith("drift risk 0.98")
    assert page.evaluate("document.activeElement.dataset.step") == "1"
    assert page.get_by_text("ZORP-PLAN").count() == 0
    page.keyboard.press("Enter")
    assert page.get_by_text("ZORP-PLAN").first.is_visible()
    page.keyboard.press("n")
    page.wait_for_selector("article h2:has-text('trace-00004')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#report:not([hidden])")
    assert page.evaluate(active) == "row-5"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    assert page.evaluate(active) == "row-60"
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog", name="Keys").is_hidden()


def test_going_back_finds_the_list_where_it_was(large: Path, open_page: Open) -> None:
    """Filter and place of the list outlive a look at a trace."""
    page = open_page(large, "#show=flagged")
    page.evaluate("scrollTo(0, 20000)")
    page.wait_for_timeout(80)
    row = page.locator(".row").nth(12)
    row.click()
    page.wait_for_selector("article")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    page.wait_for_selector("#report:not([hidden])")
    assert page.evaluate("scrollY") == pytest.approx(20000, abs=100)
    assert counted(page) == "3,334 of 10,000 shown"


def test_of_many_traces_only_those_on_the_screen_are_in_the_document(large: Path, open_page: Open) -> None:
    """Wherever ten thousand traces are scrolled to, the rows there are shown, and few others exist."""
    page = open_page(large)
    for share in (0, 0.3, 0.77, 1):
        page.evaluate("(share) => scrollTo(0, share * document.documentElement.scrollHeight)", share)
        page.wait_for_function(
            "least => [...document.querySelectorAll('.row')].filter((row) => {"
            " const box = row.getBoundingClientRect();"
            " return box.bottom > 0 && box.top < innerHeight; }).length >= least",
            arg=0 if share == 0 else 5 if share == 1 else 18,
        )
        assert page.locator(".row").count() < 60
    page.select_option("#sort", "number")
    page.locator("#rows").focus()
    page.keyboard.press("End")
    assert "trace-09999" in ids(page)


def test_paper_gets_the_list_and_says_what_it_leaves_out(large: Path, open_page: Open) -> None:
    """For print the list is whole up to a bound, and the screen gets its window back."""
    page = open_page(large)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".row").count() == 1000
    assert "9,000 more are in the list" in page.locator("#more").inner_text()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".row").count() < 60


def test_the_pdf_is_white_and_without_controls(small: Path, open_page: Open) -> None:
    """Printed from a dark screen, the page is dark ink on white paper and has nothing to press."""
    page = open_page(small, color_scheme="dark")
    assert page.pdf(print_background=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.locator("#controls").is_hidden()


def test_without_script_the_overview_can_be_read(small: Path, browser: Browser) -> None:
    """Where no script runs, the figures are there, and the page says what it needs for the rest."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(small.as_uri())
    assert "20 were flagged" in page.locator(".lead").inner_text()
    assert "need JavaScript to be shown" in page.locator("noscript").inner_text()
    context.close()
