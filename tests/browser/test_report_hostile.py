"""Hostile text in every field of a report, opened in a real browser: nothing runs, nothing is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from undertow.monitor.trace import NotAssessed, Origin, Trace, Unreadable

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]
Write = Callable[..., Path]


def laden(vector: str) -> Trace:
    """Return a trace with the text in every field that can hold one."""
    return Trace(
        id=vector,
        model=vector,
        prompt=vector,
        reasoning=f"[neutral] {vector}\n\n[drift] {vector}\n\n[harm] {vector}",
        answer=f"[neutral] {vector}\n\n[nan] {vector}",
        reasoning_from=vector,
        origin=Origin(path=vector, format=vector),
        metadata={vector: vector, "kind": vector, "nested": {vector: [vector]}},
    )


@pytest.mark.parametrize("bypass_csp", [False, True], ids=["policy", "no-policy"])
def test_nothing_runs(bypass_csp: bool, vectors: list[str], write: Write, open_page: Open) -> None:
    """List, picker, and each trace unmasked: no dialog, no request, no error, even without the policy."""
    assert len(vectors) > 50
    problem = NotAssessed(reason="unreadable_row", detail=vectors[0])
    rows = [*map(laden, vectors), Unreadable(id=vectors[0], origin=Origin(path=vectors[0]), problem=problem)]
    page = open_page(write(rows, title=vectors[1], unmask=True), bypass_csp=bypass_csp)
    page.fill("#search", "script")
    page.fill("#search", "")
    for number in range(1, len(rows) + 1):
        page.evaluate("(number) => { location.hash = `#row=${number}`; }", number)
        page.wait_for_selector(f"#trace[data-ready='{number}'] h2")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate("location.hash = '#row=1&beside=2'")
    page.wait_for_selector(".two")
    page.keyboard.press("c")
    page.wait_for_selector("#picker-list a")
    assert page.locator("iframe, object, embed, img, video, audio, base, link, #trace svg a").count() == 0
    assert page.locator("script").count() == len(("settings", "a block of texts", "the module"))


def test_groups_of_hostile_values_filter_the_list(vectors: list[str], write: Write, open_page: Open) -> None:
    """A hostile model's name in the overview is a text, and a link to its traces."""
    rows = [laden(vector) for vector in vectors[:6] for _ in range(2)]
    page = open_page(write(rows))
    page.locator(".groups").first.get_by_role("link").nth(2).click()
    page.wait_for_selector("#chips a")
    assert page.locator("#count").inner_text() == "2 of 12 shown"


def test_text_is_shown_as_it_was_written(write: Write, open_page: Open) -> None:
    """Markup is read as text, and what cannot be seen is written by its number."""
    shown = laden("<b>x</b> a\u202eb \u200b&amp;")
    page = open_page(write([shown], unmask=True), "#row=1")
    for element in ("h2", ".reasoning", ".answer", "aside"):
        assert "<b>x</b> a[U+202E]b [U+200B]&amp;" in page.locator(f"article {element}").first.inner_text()
    assert page.locator("b").count() == 0


def test_a_megabyte_without_a_space_can_be_opened(write: Write, open_page: Open) -> None:
    """Long texts wrap, are cut at a bound that is said, and do not widen the page."""
    long = "z" * 1_000_000
    trace = Trace(id=long, model=long, prompt=long, reasoning=long, answer=long, metadata={long: long})
    page = open_page(write([trace]))
    page.set_viewport_size({"width": 800, "height": 900})  # in no font are names shorter than this
    width = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(width)
    page.locator(".row").first.click()
    page.wait_for_selector("article")
    assert page.evaluate(width)
    assert "first 120,000 of 1,000,000 characters" in page.locator("article").inner_text()
