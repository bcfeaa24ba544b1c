"""The progress of an audit: a bar on a terminal, lines without one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.cli.progress import line

ROWS = (
    {"id": "safe", "prompt": "P", "reasoning": "All is well.", "answer": "Yes."},
    {"id": "drift", "reasoning": "One thing first. Now secret zorp.", "answer": "No."},
)

Run = Callable[..., int]


@pytest.fixture
def undertow(command: Callable[..., int]) -> Run:
    """Audits two traces, of which one is flagged; gives the exit status."""

    def run(*options: str) -> int:
        Path("t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), encoding="utf-8")
        return command("audit", "t.jsonl", *options, "--classifier", "scripted")

    return run


def test_the_bar_is_on_standard_error(
    undertow: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal a bar counts the traces, on standard error; with --quiet there is none."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's own way to take a pipe for a terminal
    for option, shown in ((), True), (("--json",), True), (("--quiet",), False):
        undertow(*option)
        printed = capsys.readouterr()
        assert ("2 traces" in printed.err) is shown
        assert "judging" not in printed.out


def test_the_bar_leaves_room_for_ctrl_c(
    undertow: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal echoes ^C after the bar: at its edge that would begin a line that stays."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    undertow()
    bars = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if "judging" in line]
    assert bars
    assert max(len(re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", line)) for line in bars) <= 80 - len("^C")


def test_plain_lines_without_a_terminal(
    undertow: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no terminal a long run says now and then how far it is; --quiet says nothing."""
    monkeypatch.setattr("undertow.cli.progress._EVERY", 0.0)
    undertow("--json")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("100% · 2 traces · ")
    assert last.endswith(" · 1 flagged · 0 s left")
    undertow("--quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("share", "seconds", "traces", "flagged", "shown"),
    [
        (0.5, 60.0, 6000, 3, "50% · 6,000 traces · 100 a second · 3 flagged · 1 min 00 s left"),
        (0.25, 3600.0, 1, 0, "25% · 1 trace · 0.0 a second · 0 flagged · 3 h 00 min left"),
        (0.0, 1.0, 2, 0, "0% · 2 traces · 2.0 a second · 0 flagged · no end in sight"),
    ],
    ids=["minutes", "hours", "unknown"],
)
def test_a_line_of_progress(share: float, seconds: float, traces: int, flagged: int, shown: str) -> None:
    """Rate, time left and what was flagged so far."""
    assert line(share, seconds, traces, flagged) == shown
