"""Where the commands may write: not over what they read, and nowhere that turns out to be closed too late."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROW = '{"prompt": "One?", "reasoning": "One is ordinary.", "answer": "Two."}\n'


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--report", "closed/r.html"),
        ("calibrate", "--out", "closed/c.json"),
        ("evaluate", "--out", "closed/e.json"),
        ("evaluate", "--figures", "closed/figures"),
    ],
    ids=" ".join,
)
def test_a_closed_folder_is_known_before_the_work(
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    """Nothing is judged for an output that cannot be written; no permission binds root, hence the patch."""
    Path("t.jsonl").write_text(ROW)
    Path("closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "closed")
    name, *options = arguments
    assert command(name, "t.jsonl", *options, "--classifier", "scripted") == 2
    assert "no permission to write into" in capsys.readouterr().err
    assert not list(Path("closed").iterdir())


def test_pairs_do_not_replace_what_they_are_built_from(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of prompts may have the name that the pairs will have, but in another folder only."""
    Path("pairs.jsonl").write_text(ROW)
    sources = ("--prompts", "pairs.jsonl", "--responses", "pairs.jsonl")
    assert command("study", "sdd", "build", *sources, "--out", ".") == 2
    assert "one of the inputs" in capsys.readouterr().err
    assert Path("pairs.jsonl").read_text() == ROW
