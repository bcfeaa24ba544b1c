"""The HTML report is whole, self-contained and the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from undertow.monitor.evidence import Evidence, StepMoved, WordMoved
from undertow.monitor.report import write_report


def test_every_trace_is_in_the_list_in_order(kit: Any, tmp_path: Path) -> None:
    """The list has one row a trace, rows that could not be read included."""
    items = [kit.item([("Fine.", "neutral")], [], id=f"id-{n}") for n in range(50)]
    page = kit.page_of(tmp_path, *items, kit.unreadable(path="runs.jsonl", row=7))
    assert [row["id"] for row in page.rows] == [*(f"id-{n}" for n in range(50)), "trace 51"]
    facts = dict(page.payloads[-1]["facts"])
    assert "line 3 is not JSON" in facts["Not assessed"]
    assert facts["Read from"] == "runs.jsonl, row 7"


def test_no_traces_make_a_page_that_says_so(kit: Any, tmp_path: Path) -> None:
    """An empty audit is not an audit without flags."""
    page = kit.page_of(tmp_path)
    assert "The audit held no traces." in page.words
    assert not page.rows


def test_many_texts_are_packed_in_blocks_that_are_found_again(kit: Any, tmp_path: Path) -> None:
    """The texts lie in several blocks, in order, each of which can be opened alone."""
    noise = sha256(b"seed").hexdigest()
    items = [kit.item([(f"{n} " + noise * 120, "neutral")], [], id=f"id-{n}") for n in range(120)]
    page = kit.page_of(tmp_path, *items)
    assert len(page.unpacked(**{"class": "packed-texts"})) > 1
    for n, payload in enumerate(page.payloads):
        assert kit.text_of(payload, "reasoning").startswith(f"{n} ")


def test_traces_of_one_prompt_share_a_number(kit: Any, tmp_path: Path) -> None:
    """What was asked the same is found for reading side by side; no prompt is no such thing."""
    prompts = ["first", "second", "first", ""]
    rows = kit.page_of(
        tmp_path, *(kit.item([("Fine.", "neutral")], [], prompt=text) for text in prompts)
    ).rows
    assert [row["prompt"] for row in rows] == [0, 1, 0, None]


def test_what_must_be_known_of_the_classifier_is_shown(kit: Any, tmp_path: Path) -> None:
    """Its note stands on the page, below what produced the verdicts, and with the trace."""
    stamp = kit.STAMP.model_copy(update={"note": "it never tells drift"})
    page = kit.page_of(tmp_path, kit.item([("Count.", "neutral")], [], stamp=stamp))
    assert "Of step-encoder: it never tells drift." in page.source
    assert ["Of the classifier", "it never tells drift"] in page.payloads[0]["facts"]


def test_a_failure_leaves_the_old_report_alone(kit: Any, tmp_path: Path) -> None:
    """The file is replaced at once and whole, or not at all."""
    path = tmp_path / "report.html"
    path.write_text("the old one", encoding="utf-8")

    def broken() -> Iterator[Any]:
        yield kit.SAFE
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_report(path, broken())
    assert path.read_text(encoding="utf-8") == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_audit_gives_the_same_file(kit: Any, tmp_path: Path) -> None:
    """A report holds no date and no random name, so that two of them can be compared."""
    first, second = (
        write_report(tmp_path / name, [kit.SAFE, kit.FLAGGED]).read_bytes() for name in ("a", "b")
    )
    assert first == second


def test_the_overview_says_what_was_found(kit: Any, tmp_path: Path) -> None:
    """Flags are counted among the judged, and the promise is told with its rate."""
    words = kit.page_of(tmp_path, kit.SAFE, kit.SAFE, kit.FLAGGED, kit.STRIPPED, kit.unreadable()).words
    assert "Of 4 traces that were judged, 1 was flagged : 25.0%" in words
    assert "Another 1 could not be judged" in words
    assert "2 traces have no place here" in words
    assert "1 onset within the reasoning" in words
    assert "at most 5.0% raise an alarm" in words


def test_evidence_is_told_by_its_place_in_the_step(kit: Any, tmp_path: Path) -> None:
    """The words of the evidence are counted from the start of their step, and hold no text."""
    start = len("Count first. ")
    words = (WordMoved(start=start, end=start + 4, delta=0.4),)
    steps = (StepMoved(index=0, delta=-0.1),)
    evidence = Evidence(channel="reasoning", step=1, risk=0.8, steps=steps, words=words)
    found = kit.page_of(tmp_path, (*kit.FLAGGED, evidence)).payloads[0]["evidence"]
    assert found == {
        "channel": "reasoning",
        "step": 1,
        "risk": 0.8,
        "steps": [[0, -0.1]],
        "words": [[0, 4, 0.4]],
    }


def test_a_row_of_the_list_takes_few_bytes(kit: Any, tmp_path: Path) -> None:
    """A row of the list takes few bytes, so that a hundred thousand of them can be opened."""
    items = [kit.item([("Fine.", "neutral")] * 30, [("Fine.", "neutral")], id=f"id-{n}") for n in range(500)]
    page = kit.page_of(tmp_path, *items)
    packed = next(
        attrs_and_text for attrs_and_text in page.inlined("script") if attrs_and_text[0] == "text/plain"
    )
    assert len(packed[1]) < 40 * len(items)
