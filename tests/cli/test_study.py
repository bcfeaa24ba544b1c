"""The commands of the studies, and what they refuse."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from undertow.cli import main

DESIGN = "fields: {prompt: pid, mode: arm, state: state}\nharm: {answer: {field: human}}\n"


def rows() -> Iterator[dict[str, object]]:
    """Yield generations, most with a person's label of harm; with reasoning, there is more of it."""
    rng = random.Random(0)
    for number in range(40):
        for mode, rate in (("on", 0.5), ("zero", 0.1)):
            yield {
                "pid": f"p{number}", "arm": mode, "state": "base", "prompt": "Zorp?",
                "reasoning": "Hm." if mode == "on" else "", "response": "Zorp.",
                "human": rng.random() < rate if number % 4 else None,
            }  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The generations, as JSON Lines."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


@pytest.fixture
def design(tmp_path: Path) -> Path:
    """What their fields mean."""
    path = tmp_path / "study.yaml"
    path.write_text(DESIGN)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Call `undertow study` with arguments; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["undertow", "study", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_the_commands(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    data: Path,
    design: Path,
) -> None:
    """Labels alone are enough for a study, and the plan writes its files."""
    out = tmp_path / "out"
    asked = (str(data), "--design", str(design), "--classifier", "none", "--quick", "--out", str(out))
    code = run(monkeypatch, "amplification", *asked)
    shown = capsys.readouterr()
    assert code in (0, None), shown.err
    assert "supports" in shown.out
    assert "nothing was judged" in re.sub(r"\s+", " ", shown.out)
    assert (out / "study.json").is_file()
    assert run(monkeypatch, "plan", "--out", str(tmp_path / "plan"), "--design", str(design)) in (0, None)
    assert "exact McNemar" in re.sub(r"\s+", " ", capsys.readouterr().out)
    assert (tmp_path / "plan" / "generate.py").is_file()


def test_transcripts_are_named_as_for_an_audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path, design: Path
) -> None:
    """The study reads a URL, too."""
    asked = ("--design", str(design), "--classifier", "none", "--quick")
    assert run(monkeypatch, "amplification", data.as_uri(), *asked) in (0, None), capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("amplification",), "nothing to study"),
        (("amplification", "no.jsonl", "--classifier", "none"), "no such file"),
        (("plan", "--out", "x", "--more", ".1", "--less", ".1"), "differ"),
        (("amplification", "no.jsonl", "--classifier", "none", "--attribute", "2"), "what judges them"),
        (("amplification", "no.jsonl", "--verdicts", "v.jsonl", "--attribute", "2"), "what judges them"),
        (("amplification", "no.jsonl", "--verdicts", "v", "--classifier", "none"), "leave out --classifier"),
        (("amplification", "no.jsonl", "--verdicts", "v", "--false-alarm-rate", ".1"), "--false-alarm-rate"),
        (("amplification", "--prefixes", "p", "--verdicts", "v"), "give these too"),
        (("amplification", "no.jsonl", "--classifier", "none", "--out", __file__), "cannot write into"),
        (("finetuning", "--out", f"{__file__}/deep/er"), "test_study.py is not a folder"),
        (("finetuning", "--out", __file__), "cannot write into"),
        (("sdd", "build", "--prompts", "p", "--responses", "r", "--out", __file__), "cannot write into"),
        (("sdd", "train", "m", "--pairs", "p", "--out", "x", "--lr", "nan"), "a number above 0"),
        (
            ("sdd", "build", "--prompts", "p", "--responses", "r", "--out", "x", *("--where", "a=1") * 2),
            "--where gives a twice",
        ),
    ],
    ids=[
        "nothing",
        "no file",
        "no difference",
        "nothing judges",
        "saved verdicts",
        "saved verdicts and a classifier",
        "saved verdicts and a rate",
        "saved verdicts of nothing",
        "no folder",
        "no folder above it",
        "no folder to train in",
        "no folder for pairs",
        "no rate",
        "twice",
    ],
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    """Status 2 and a sentence."""
    assert run(monkeypatch, *arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("amplification", "no.jsonl", "--classifier", "none"),
        ("plan", "--more", ".1", "--less", ".1"),
        ("sdd", "build", "--prompts", "no.jsonl", "--responses", "no.jsonl"),
        ("sdd", "train", "nobody", "--pairs", "no.jsonl"),
        ("sdd", "evaluate", "nobody", "--prompts", "no.jsonl"),
    ],
    ids=" ".join,
)
def test_a_refused_run_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """No empty folder is left where the results would have been."""
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments, "--out", str(tmp_path / "deep" / "out")) == 2
    assert not list(tmp_path.iterdir())
