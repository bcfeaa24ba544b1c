"""The report shows nobody what was not judged as safe, nor what is unsafe unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from undertow.errors import UsageError
from undertow.monitor.evidence import Evidence, WordMoved
from undertow.monitor.report import write_report
from undertow.monitor.report.texts import MASKED
from undertow.monitor.report.unseen import UNSEEN
from undertow.monitor.tally import REASONS
from undertow.monitor.trace import NotAssessed, Reason, Unreadable


@pytest.mark.parametrize("reason", get_args(Reason))
def test_not_assessed_never_looks_safe(kit: Any, reason: Reason, tmp_path: Path) -> None:
    """A trace that was not judged has its reason, and no word, number or colour of a safe one."""
    why = NotAssessed(reason=reason)
    page = kit.page_of(tmp_path, kit.item([("Anything.", "neutral")], [], why=why, assessed="none"))
    row = page.rows[0]
    assert (row["state"], row["complete"], row["risk"], row["strips"]) == ("none", False, None, [])
    assert row["why"] == REASONS[reason]
    assert "Nothing is known of their safety" in page.words
    assert page.payloads[0]["channels"][0]["pieces"] == [["Anything.", -1]]


def test_judged_in_part_is_not_called_safe(kit: Any, tmp_path: Path) -> None:
    """Where a part was not judged, the row speaks of the judged part alone and says why."""
    row = kit.page_of(tmp_path, kit.STRIPPED).rows[0]
    assert (row["state"], row["complete"]) == ("partial", False)
    assert row["why"] == REASONS["reasoning_stripped"]


def test_flagged_in_part_still_says_what_is_missing(kit: Any, tmp_path: Path) -> None:
    """A flag does not hide that the rest of the trace was not judged."""
    why = NotAssessed(reason="truncated")
    row = kit.page_of(tmp_path, kit.item([("Do it.", "drift")], [], why=why, assessed="partial")).rows[0]
    assert (row["state"], row["complete"], row["why"]) == ("flagged", False, REASONS["truncated"])


def test_text_that_is_not_safe_needs_the_script_to_be_read(kit: Any, tmp_path: Path) -> None:
    """Unsafe text is in the packed data alone, where the script masks it until asked."""
    page = kit.page_of(tmp_path, kit.FLAGGED)
    assert "ZORP-RECIPE" not in page.source
    assert "ZORP-RECIPE" in kit.text_of(page.payloads[0], "reasoning")


def test_redact_leaves_out_all_that_was_not_judged_safe(kit: Any, tmp_path: Path) -> None:
    """A redacted file holds no unsafe step, no unjudged text, no prompt and no metadata."""
    flagged, verdict = kit.FLAGGED
    secret = {"prompt": "ZORP-PROMPT", "metadata": {"raw": "ZORP-METADATA"}}
    failed = NotAssessed(reason="classifier_failed")
    items: list[Any] = [
        (flagged.model_copy(update=secret), verdict),
        kit.item([("So far.", "neutral"), ("ZORP-LOST", None)], [], why=failed, assessed="partial"),
        kit.item([("ZORP-SEALED", None)], [], why=NotAssessed(reason="encrypted"), assessed="none"),
    ]
    evidence = Evidence(
        channel="reasoning", step=1, risk=0.8, steps=(), words=(WordMoved(start=13, end=17, delta=1),)
    )
    page = kit.page_of(tmp_path, (*items[0], evidence), *items[1:], redact=True)
    assert "ZORP" not in page.source + json.dumps(page.rows) + json.dumps(page.payloads) + str(page.settings)
    first = kit.text_of(page.payloads[0], "reasoning")
    assert first == f"Count first. {MASKED} {MASKED} Done."
    assert kit.text_of(page.payloads[1], "reasoning") == f"So far. {MASKED}"


def test_unmask_and_redact_exclude_each_other(kit: Any, tmp_path: Path) -> None:
    """What was left out cannot be shown: asking for both is refused before anything is written."""
    with pytest.raises(UsageError, match="choose one"):
        write_report(tmp_path / "report.html", [kit.SAFE], unmask=True, redact=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unmask", [False, True])
def test_the_page_is_told_whether_to_mask(kit: Any, unmask: bool, tmp_path: Path) -> None:
    """The script finds the choice, and the pattern of unseen characters, in its settings."""
    settings = kit.page_of(tmp_path, kit.SAFE, unmask=unmask).settings
    assert settings == {"unmask": unmask, "redact": False, "unseen": UNSEEN, "groups": []}


def test_a_verdict_without_its_text_keeps_its_curve(kit: Any, tmp_path: Path) -> None:
    """Where the text was not found again, the steps are shown, and why there is no text."""
    _, verdict = kit.FLAGGED
    gone = Unreadable(problem=NotAssessed(reason="no_text", detail="runs.jsonl is no longer there"))
    payload = kit.page_of(tmp_path, (gone, verdict)).payloads[0]
    assert [channel["missing"] for channel in payload["channels"]] == [True, True]
    assert payload["channels"][0]["letters"] == "ndhn"
    assert ["No text", "runs.jsonl is no longer there"] in payload["facts"]
