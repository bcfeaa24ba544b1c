"""One trace of the report in a real browser: masks, curve, evidence, side by side, light and dark."""

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

UNSAFE = ("ZORP-PLAN", "ZORP-RECIPE", "ZORP-ANSWER")


def text(page: Page) -> str:
    """Return all that a reader sees."""
    return page.locator("body").inner_text()


def test_unsafe_text_is_masked_until_it_is_asked_for(small: Path, open_page: Open) -> None:
    """A step is shown by its own button; the others stay masked."""
    page = open_page(small, "#trace=trace-00000")
    assert not any(word in text(page) for word in UNSAFE)
    page.get_by_role("button", name="reveal step 2").click()
    assert [word in text(page) for word in UNSAFE] == [True, False, False]


def test_the_switch_warns_before_it_shows_all(small: Path, open_page: Open) -> None:
    """All masked text is shown after a warning, and the warning can be heeded."""
    page = open_page(small)
    page.locator("#unmask").click()
    page.get_by_role("button", name="Keep it masked").click()
    assert not page.locator("#unmask").is_checked()
    page.locator("#unmask").click()
    page.get_by_role("button", name="Show it").click()
    page.locator(".row").first.click()
    page.wait_for_selector("article")
    assert all(word in text(page) for word in UNSAFE)


def test_a_redacted_page_has_nothing_to_show(
    write: Write, make_trace: Callable[..., Trace], open_page: Open
) -> None:
    """Where unsafe text was left out there is no switch, no button, and no word of it."""
    page = open_page(write([make_trace(0)], redact=True), "#row=1")
    assert page.locator("#unmask").count() == page.get_by_role("button", name="reveal").count() == 0
    assert page.locator(".redacted").count() == 3
    assert "ZORP" not in text(page) + page.content()


def test_a_step_tells_its_risk_on_hover(small: Path, open_page: Open) -> None:
    """Label, risk and probabilities of the step under the pointer are shown."""
    page = open_page(small, "#row=2")
    page.locator(".reasoning .step").nth(1).hover()
    assert page.locator("#tip").inner_text().startswith("aware risk 0.02 · step 2 of 3")
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_onset_and_alarm_are_marked(small: Path, open_page: Open) -> None:
    """The step at which drift begins carries the mark, in the text and on the curve."""
    page = open_page(small, "#row=4")
    assert page.locator(".step[data-step='1'] .chip.onset").count() == 1
    assert page.locator("svg.curve line.onset").count() == 1
    page.get_by_role("button", name="Go to the onset").click()
    assert page.evaluate("document.activeElement.dataset.step") == "1"


def test_the_curve_goes_with_the_text(
    write: Write, make_trace: Callable[..., Trace], open_page: Open
) -> None:
    """Scrolled from the first step to the last, the curve's cursor goes from one end to the other."""
    long = " ".join(f"[neutral] This is sentence number {n} of a rather long reasoning." for n in range(300))
    page = open_page(write([make_trace(1, reasoning=long)]), "#row=1")
    cursor = "document.querySelector('.cursor').getBoundingClientRect().left"
    places = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        page.evaluate("(share) => scrollTo(0, share * document.documentElement.scrollHeight)", share)
        page.wait_for_timeout(60)
        places.append(page.evaluate(cursor))
    assert places == sorted(set(places))
    box = page.locator("svg.curve").bounding_box()
    assert box is not None
    assert box["y"] < 100
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
    assert 130 < int(page.evaluate("document.activeElement.dataset.step")) < 170


def test_evidence_is_masked_like_the_text_it_speaks_of(small: Path, open_page: Open) -> None:
    """The steps that moved the score are listed; the words only once they are asked for."""
    page = open_page(small, "#row=4")
    evidence = page.locator(".evidence")
    assert "+0.20" in evidence.inner_text()
    assert "ZORP" not in evidence.inner_text()
    page.get_by_role("button", name="reveal these words").click()
    assert "+0.50" in evidence.inner_text()
    assert "\N{MINUS SIGN}0.30" in evidence.inner_text()
    page.get_by_role("button", name="reveal step 2").click()
    assert page.locator(".word.up3").count() == page.locator(".word.down2").count() == 1
    page.get_by_role("button", name="step 1", exact=True).click()
    assert page.evaluate("document.activeElement.dataset.step") == "0"


def test_two_traces_side_by_side(small: Path, open_page: Open) -> None:
    """The trace of the same prompt is offered first; both are shown, and the second can be closed."""
    page = open_page(small, "#row=11")
    page.keyboard.press("c")
    first = page.locator("#picker-list a").first
    assert "same prompt" in first.inner_text()
    first.click()
    page.wait_for_selector(".two")
    assert page.locator("article h2").all_inner_texts() == ["trace-00010", "trace-00011"]
    lefts = [box["x"] for box in (one.bounding_box() for one in page.locator("article").all()) if box]
    assert lefts[1] > lefts[0] + 300
    page.get_by_role("link", name="Close the second").click()
    page.wait_for_selector(".readings:not(.two)")
    assert page.locator("article").count() == 1


def test_provenance_and_metadata_stand_beside_the_text(small: Path, open_page: Open) -> None:
    """Who judged, with which threshold, and where the trace was read."""
    page = open_page(small, "#row=1")
    facts = page.locator("aside dl").first.inner_text()
    for part in ("runs.jsonl, row 0", "scripted", "sha256:000", "at most 5.0% of safe traces", "model-0"):
        assert part in facts
    page.get_by_text("Metadata").click()
    assert "source" in page.locator("aside .more").inner_text()


def test_what_was_not_judged_says_so(write: Write, make_trace: Callable[..., Trace], open_page: Open) -> None:
    """An unreadable row, a failed classifier and a sealed reasoning do not look like safe traces."""
    failed = make_trace(1, reasoning="[neutral] Fine. [nan] ZORP-LOST is lost.")
    problem = NotAssessed(reason="unreadable_row", detail="line 3 is not JSON")
    row = Unreadable(id="broken", origin=Origin(path="runs.jsonl", row=2), problem=problem)
    page = open_page(write([failed, row]))
    labels = [one.get_attribute("aria-label") or "" for one in page.locator(".row").all()]
    assert "not flagged, in part" in labels[0]
    assert "not assessed" in labels[1]
    page.locator(".row").first.click()
    page.wait_for_selector("article")
    assert "ZORP-LOST" not in text(page)
    page.keyboard.press("n")
    page.wait_for_selector("article h2:has-text('broken')")
    assert "gave no trace, so there is no text" in text(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme: str, small: Path, open_page: Open) -> None:
    """The page follows the system, and the button turns it over."""
    page = open_page(small, color_scheme=scheme)
    brightness = "getComputedStyle(document.documentElement).backgroundColor.match(/[0-9]+/g).map(Number)[0]"
    assert (page.evaluate(brightness) > 128) == (scheme == "light")
    page.get_by_role("button", name="Light or dark").click()
    assert (page.evaluate(brightness) > 128) == (scheme == "dark")


def test_labels_can_be_told_without_colour(small: Path, open_page: Open) -> None:
    """Strips carry letters, each label has a height of its own, and steps name their label."""
    page = open_page(small, "#row=1")
    page.keyboard.press("Escape")
    page.wait_for_selector(".row")
    cells = page.locator(".row").first.locator(".strip.reasoning > span")
    assert "".join(cells.all_inner_texts()) == "ndhn"
    heights = [box["height"] for box in (cell.bounding_box() for cell in cells.all()) if box]
    assert heights[0] < heights[1] < heights[2]
    page.locator(".row").first.click()
    page.wait_for_selector("article")
    assert page.locator(".step.d .spoken").first.text_content() == " drift, risk 0.98: "
