"""`undertow report` from the outside: what it reads again, what it writes, what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., int]

SAFE = {"id": "safe", "prompt": "P", "reasoning": "All is well.", "answer": "Yes."}
DRIFT = {"id": "drift", "model": "m", "reasoning": "One thing first. Now secret zorp.", "answer": "No."}


@pytest.fixture
def undertow(command: Command, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `undertow` in a folder with `t.jsonl`, its verdicts `v.jsonl`, and its page `a.html`."""
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (SAFE, DRIFT)))
    command("audit", "t.jsonl", "--classifier", "scripted", "--out", "v.jsonl", "--report", "a.html", "-q")
    capsys.readouterr()
    return command


def test_it_is_the_page_of_the_audit(undertow: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """From the verdicts alone the very page is made that the audit made, and the path is said."""
    assert undertow("report", "v.jsonl") == 0
    assert Path("report.html").read_bytes() == Path("a.html").read_bytes()
    assert capsys.readouterr().out.splitlines() == ["written to report.html"]


def test_redact_and_quiet(undertow: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """--redact makes another page, and --quiet prints nothing."""
    assert undertow("report", "v.jsonl", "--redact", "--out", "r.html", "--quiet") == 0
    assert tuple(capsys.readouterr()) == ("", "")
    assert Path("r.html").read_bytes() != Path("a.html").read_bytes()


def test_figures(undertow: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures alone need no transcript and make no page; beside a page they are the same."""
    Path("t.jsonl").rename("away.jsonl")
    assert undertow("report", "v.jsonl", "--figures", "alone") == 0
    assert capsys.readouterr().out == "written to alone: drift-curves, onsets, quadrants\n"
    assert not Path("report.html").exists()
    Path("away.jsonl").rename("t.jsonl")
    assert undertow("report", "v.jsonl", "--figures", "beside", "--out", "p.html") == 0
    assert Path("p.html").read_bytes() == Path("a.html").read_bytes()
    alone, beside = (
        {path.name: path.read_bytes() for path in Path(name).iterdir()} for name in ("alone", "beside")
    )
    assert len(alone) == 12
    assert alone == beside


def test_missing_texts_are_said(undertow: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A transcript that was moved costs the texts: it is said how many, why, and what to do."""
    Path("t.jsonl").rename("elsewhere.jsonl")
    assert undertow("report", "v.jsonl") == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 traces without text:",
        "  2: t.jsonl no longer exists; name its new place with --transcripts",
        "written to report.html",
    ]
    Path("there").mkdir()
    Path("elsewhere.jsonl").rename("there/t.jsonl")
    assert undertow("report", "v.jsonl", "--transcripts", "there") == 0
    assert capsys.readouterr().out.splitlines() == ["written to report.html"]


def test_evidence_is_the_same_from_saved_verdicts(undertow: Command) -> None:
    """The evidence of a saved verdict is that of the audit, and changes the page."""
    undertow("audit", "t.jsonl", "--classifier", "scripted", "--report", "e.html", "--evidence", "-q")
    undertow("report", "v.jsonl", "--evidence")
    assert Path("report.html").read_bytes() == Path("e.html").read_bytes()
    assert Path("report.html").read_bytes() != Path("a.html").read_bytes()


def test_a_file_of_verdicts_sends_no_text_to_a_server(
    undertow: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that only the verdicts name is not asked, since they may come from anywhere."""
    lines = Path("v.jsonl").read_text(encoding="utf-8")
    judge = "judge:m@http://127.0.0.1:9/v1"
    Path("v.jsonl").write_text(lines.replace('"classifier":"scripted"', f'"classifier":"{judge}"'))
    assert undertow("report", "v.jsonl", "--evidence") == 2
    assert f"from {judge}, which --evidence would send texts to" in capsys.readouterr().err
    assert undertow("report", "v.jsonl", "--evidence", "--classifier", judge) == 2
    assert "is now sha256:" in capsys.readouterr().err


def test_evidence_comes_from_the_classifier_of_the_verdicts(
    undertow: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another classifier would explain another score: it is refused, by its digest."""
    assert undertow("report", "v.jsonl", "--evidence", "--classifier", "keyword") == 2
    shown = capsys.readouterr().err
    assert "the verdicts are from scripted sha256:000000000000, and keyword is now sha256:" in shown
    assert not Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["t.jsonl"], "t.jsonl is not a file of verdicts: it looks like transcripts"),
        (["a.html"], "a.html is not a file of verdicts"),
        (["broken.jsonl"], "broken.jsonl: line 2 is not a verdict"),
        (["broken.jsonl", "--figures", "figures"], "broken.jsonl: line 2 is not a verdict"),
        (["v.jsonl", "--out", "v.jsonl"], "must end in .html"),
        (["v.jsonl", "--out", "no/such/folder.html"], "its folder does not exist"),
        (["v.jsonl", "--out", "p.html", "--figures", "t.jsonl"], "t.jsonl is not a folder"),
        (["v.jsonl", "--figures", "figures", "--evidence"], "give --out as well"),
        (["v.jsonl", "--figures", "figures", "--redact"], "--redact is for the page"),
        (["v.jsonl", "--figures", "figures", "--transcripts", "t.jsonl"], "--transcripts is for the page"),
        (["v.jsonl", "--classifier", "scripted"], "give --evidence as well"),
        (["v.jsonl", "--labels", "labels.jsonl"], "give --figures as well"),
        (["v.jsonl", "--figures", "figures", "--labels", "labels.jsonl"], "with the same ids"),
        (["v.jsonl", "--out", "p.html", "--figures", "figures", "--labels", "labels.jsonl"], "the same ids"),
        (["v.jsonl", "--transcripts", "nowhere.jsonl"], "no such file or folder: nowhere.jsonl"),
        (["v.jsonl", "--map", "reasoning"], "--map takes PART=FIELD"),
        (["v.jsonl", "--map", "zorp=x"], "cannot map zorp"),
        (["v.jsonl", "--format", "zorp"], "unknown format 'zorp'"),
        ([], "Missing argument"),
    ],
    ids=[
        "missing", "transcript", "page", "broken", "broken figures", "out ending", "out folder",
        "figures file", "evidence without page", "redact without page", "transcripts without page",
        "classifier without evidence", "labels without figures", "other labels", "other labels and a page",
        "transcripts", "map", "mapped part", "format", "no path",
    ],
)  # fmt: skip
def test_wrong_usage(
    undertow: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be is said on standard error, with status 2, and nothing is written."""
    Path("broken.jsonl").write_text(Path("v.jsonl").read_text().splitlines()[0] + "\n{}\n")
    Path("labels.jsonl").write_text(json.dumps({**DRIFT, "id": "another", "step_labels": ["ND"]}) + "\n")
    before = sorted(Path().iterdir())
    assert undertow("report", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
    assert sorted(Path().iterdir()) == before


def test_without_matplotlib(
    undertow: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page needs no matplotlib; figures without it are refused with the command that brings it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert undertow("report", "v.jsonl") == 0
    assert undertow("report", "v.jsonl", "--figures", "figures") == 2
    assert "pip install 'undertow[figures]'" in capsys.readouterr().err


def test_paths_cannot_forge_output(undertow: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A verdict may name any path: what of it is printed can move no cursor and is no markup."""
    verdict = json.loads(Path("v.jsonl").read_text().splitlines()[0])
    verdict["origin"]["path"] = "a\x1b[2J[bold]\u202eb"
    Path("v.jsonl").write_text(json.dumps(verdict))
    assert undertow("report", "v.jsonl") == 0
    shown = capsys.readouterr().out
    assert "a\ufffd[2J[bold]\ufffdb no longer exists" in " ".join(shown.split())
    assert all(character.isprintable() for line in shown.splitlines() for character in line)


def test_a_real_folder(shared: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Every text of the real files is found again, and is the one that was judged."""
    transcripts = str(shared / "transcripts")
    command("audit", transcripts, "--classifier", "scripted", "--out", "v.jsonl", "--report", "a.html", "-q")
    assert command("report", "v.jsonl") == 0
    assert capsys.readouterr().out == "written to report.html\n"
    assert Path("report.html").read_bytes() == Path("a.html").read_bytes()
