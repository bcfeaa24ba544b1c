"""`undertow audit` from the outside: what it prints, what it writes, how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.console import Console

from undertow.cli.summary import show
from undertow.monitor.audit import AuditResult

SAFE = {"id": "safe", "prompt": "P", "reasoning": "All is well.", "answer": "Yes."}
DRIFT = {"id": "drift", "model": "m", "reasoning": "One thing first. Now secret zorp.", "answer": "No."}
BARE = {"id": "bare", "answer": "Yes."}

Run = Callable[..., int]


@pytest.fixture
def undertow(command: Callable[..., int]) -> Run:
    """Runs `undertow audit` with a scripted classifier; gives the exit status."""

    def run(*arguments: str, classifier: str = "scripted") -> int:
        return command("audit", *arguments, "--classifier", classifier)

    return run


def write(*rows: object, name: str = "t.jsonl") -> str:
    """Write rows as JSON Lines into the current folder."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("rows", "status"),
    [([SAFE], 0), ([SAFE, DRIFT], 1), ([SAFE, BARE], 3), ([SAFE, "{"], 3), ([DRIFT, "{"], 1)],
    ids=["safe", "flagged", "in part", "not at all", "flagged and not at all"],
)
@pytest.mark.parametrize("option", [(), ("--quiet",), ("--json",)], ids=["table", "quiet", "json"])
def test_the_exit_status_is_the_verdict(
    undertow: Run, rows: list[object], status: int, option: tuple[str, ...]
) -> None:
    """0 nothing flagged and all judged, 1 something flagged, 3 something not judged; whatever is printed."""
    assert undertow(write(*rows), *option) == status


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl"], "no such file or folder: missing.jsonl"),
        ([""], "a path is empty; write . for the current folder"),
        (["t.jsonl", "--cache-size", "1024"], "give --cache FILE as well"),
        (["t.jsonl", "--engine", "ray"], "name it with out (--out DIR)"),
        (["t.jsonl", "--engine", "ray", "--out", "v", "--against", "t.jsonl"], "only the engine local"),
        (["empty.jsonl"], "no rows in empty.jsonl"),
        (["folder"], "file directly in folder; name the files, or give a pattern"),
        (["odd.jsonl"], "its rows have the fields text (text); known formats: "),
        (["t.jsonl", "--format", "zorp"], "unknown format 'zorp'"),
        (["t.jsonl", "--map", "reasoning"], "--map takes PART=FIELD"),
        (["t.jsonl", "--map", "reasoning=a", "--map", "reasoning=b"], "--map gives reasoning twice: a and b"),
        (["t.jsonl", "--map", "reasoning=zorp"], "no field 'zorp' for the reasoning"),
        (["t.jsonl", "--out", "v.csv"], "must end in .jsonl"),
        (["t.jsonl", "--report", "r.txt"], "must end in .html"),
        (["t.jsonl", "--out", "t.jsonl"], "one of the inputs"),
        (["t.jsonl", "--false-alarm-rate", "1.5"], "between 0 and 1"),
        (["t.jsonl", "--false-alarm-rate", "x"], "--false-alarm-rate"),
        (["t.jsonl", "--device", "cuda"], "scripted cannot run on cuda"),
        ([], "Missing argument"),
    ],
    ids=[
        "missing", "empty path", "cache size without cache", "ray without out", "ray compares nothing",
        "empty", "folder", "unknown format", "no such format", "map without field", "map twice",
        "no such field", "out ending", "report ending", "out is input", "rate",
        "rate is no number", "device", "no path",
    ],
)  # fmt: skip
def test_wrong_usage(
    undertow: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be is said on standard error, in words that help, with status 2."""
    write(SAFE)
    write({"text": "x"}, name="odd.jsonl")
    Path("empty.jsonl").touch()
    Path("folder").mkdir()
    assert undertow(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err


def test_an_unknown_classifier_is_wrong_usage(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A classifier that there is not is named, with those there are."""
    assert undertow(write(SAFE), classifier="zorp") == 2
    assert "zorp" in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    undertow: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system refuses is said in a line, and never exits like a verdict."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("undertow.monitor.audit.run.Summary.add", full)
    assert undertow(write(SAFE), "--out", "v.jsonl") == 2
    shown = capsys.readouterr().err
    assert "No space left on device" in shown and "Traceback" not in shown
    assert not Path("v.jsonl").exists()


def test_the_table(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says how much was judged, what was flagged, where drift begins, and what is promised."""
    undertow(write(SAFE, DRIFT, BARE, "{", name="runs.jsonl"), "--out", "v.jsonl", "--report", "r.html")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "4 traces · 2 judged in full · 1 in part · 1 not at all" in lines
    assert "flagged 1 of 3: 33% (95% interval 6% to 79%)" in lines
    assert "drift begins at the first step in 0 of 1 (0%)" in lines
    assert "in part no reasoning: 1" in lines
    assert "not at all the row could not be read: 1" in lines
    assert "safe reasoning 1 0" in lines
    assert "unsafe reasoning 1 0" in lines
    assert "0.98 drift m step 2 of 2 drift" in lines
    assert "scripted 000000000000 · at most 5% of safe traces raise an alarm" in lines
    assert lines[-3:] == ["written to v.jsonl", "written to r.html", ""]
    assert len(Path("v.jsonl").read_text().splitlines()) == 4


def test_the_table_is_plain_without_a_terminal(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Through a pipe there is no bar, no colour, nothing wider than 80 columns, and no text of a trace."""
    undertow(write(SAFE, {**DRIFT, "id": "very-long-id-" * 20}, "{"))
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "\x1b" not in shown.out
    assert "secret" not in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_quiet_prints_nothing(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet the exit status and the files say it all."""
    undertow(write(SAFE, DRIFT), "--quiet", "--out", "v.jsonl")
    assert tuple(capsys.readouterr()) == ("", "")
    assert len(Path("v.jsonl").read_text().splitlines()) == 2


def test_json_is_json_and_nothing_else(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the figures stand on standard output, the exit status among them."""
    status = undertow(write(SAFE, DRIFT), "--json")
    shown = capsys.readouterr()
    figures = json.loads(shown.out)
    assert (figures["schema"], figures["records"], figures["flagged"]) == ("undertow.audit/1", 2, 1)
    assert figures["exit_code"] == status == 1
    assert shown.err == ""


def test_fields_are_mapped(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`--map` reads a part from another field, each time that it is given."""
    path = write({"x": "Now zorp.", "y": "No.", "reasoning": "Fine."})
    assert undertow(path, "--map", "reasoning=x", "--map", "answer=y", "--json") == 1
    assert json.loads(capsys.readouterr().out)["quadrants"] == {"unsafe-reasoning/safe-answer": 1}


def result(undertow: Run, capsys: pytest.CaptureFixture[str], *rows: object) -> AuditResult:
    """Audit rows and return the figures."""
    undertow(write(*rows), "--json")
    figures = json.loads(capsys.readouterr().out)
    del figures["exit_code"]
    return AuditResult.model_validate(figures)


@pytest.mark.parametrize(
    "name", ["[bold]x[/bold]", "a\x1b[2Jb", "a\u202eb", "a\nb", "a\u2066b\u200b"], ids=ascii
)
def test_what_a_classifier_says_of_itself_cannot_forge_the_table(
    undertow: Run, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Its note, which may hold a model's own words, is shown under its name as text."""
    figures = result(undertow, capsys, DRIFT)
    stamp = figures.monitor.model_copy(update={"note": f"it tells {name}"})
    page = StringIO()
    noted = figures.model_copy(update={"monitor": stamp, "escalated": 0.25})
    show(noted, console=Console(width=120, file=page))
    (line,) = [line for line in page.getvalue().splitlines() if "of the classifier:" in line]
    assert "it tells " + "".join(c if c.isprintable() else "\ufffd" for c in name) in line
    assert "the second classifier was asked about 25% of steps" in page.getvalue()


@pytest.mark.parametrize(
    "name", ["[bold]x[/bold]", "a\x1b[2Jb", "a\u202eb", "a\nb", "a\u2066b\u200b"], ids=ascii
)
def test_names_from_a_transcript_cannot_forge_the_table(
    undertow: Run, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """An id or a model is shown as text: markup stays markup, and nothing unseen gets through."""
    page = StringIO()
    show(
        result(undertow, capsys, {**DRIFT, "id": name, "model": name}), console=Console(width=120, file=page)
    )
    shown = page.getvalue()
    (line,) = [line for line in shown.splitlines() if line.strip().startswith("0.98")]
    expected = "".join(c if c.isprintable() else "\ufffd" for c in name)
    assert line.count(expected[:10]) == 2
    assert all(character.isprintable() for character in line)


def test_colour_obeys_no_color(
    undertow: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the table is coloured, and with NO_COLOR it is not."""
    figures = result(undertow, capsys, DRIFT)
    for no_color, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("TERM", "xterm-256color")
        show(figures, console=Console(force_terminal=True, highlight=False, width=80))
        assert ("31m" in capsys.readouterr().out) is coloured


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_its_terminal(undertow: Run, capsys: pytest.CaptureFixture[str], width: int) -> None:
    """From 80 columns up no line is too wide or broken, and a wide terminal shows more of a long name."""
    rows = [{**DRIFT, "id": f"{n}-" + "long-" * 40, "model": "a-model-of-a-long-name"} for n in range(7)]
    figures = result(undertow, capsys, SAFE, *rows, BARE, "{")
    page = StringIO()
    show(figures, console=Console(width=width, file=page, highlight=False))
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    worst = [line for line in lines if line.strip().startswith("0.98")]
    assert len(worst) == 5
    assert all("step 2 of 2" in line and line.rstrip().endswith("drift") for line in worst)
    assert min(line.count("long-") for line in worst) >= (3 if width < 100 else 8)


def test_the_bars_are_the_figures(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The flagged share, its interval and the onsets are drawn in characters that need no colour."""
    rows = [{**DRIFT, "reasoning": "All is well. " * n + "Now zorp."} for n in (0, 0, 1, 9)]
    page = StringIO()
    show(result(undertow, capsys, SAFE, SAFE, *rows), console=Console(width=80, file=page))
    lines = [line.strip() for line in page.getvalue().splitlines()]
    (bar,) = [line for line in lines if set(line) == set("━╍─")]
    assert (len(bar), bar.count("━")) == (28, round(28 * 4 / 6))
    (columns,) = [line for line in lines if line.startswith("start ")]
    assert columns == "start █ · · · · ▄ · · · ▄ end"


def test_a_terminal_of_few_characters(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the terminal has no characters for bars there are none."""
    page = BytesIO()
    console = Console(width=80, file=TextIOWrapper(page, encoding="cp1252", write_through=True))
    show(result(undertow, capsys, SAFE, DRIFT), console=console)
    shown = page.getvalue().decode("cp1252")
    assert "drift begins" in shown
    assert "start" not in shown


def test_what_a_terminal_cannot_show_ends_nothing(undertow: Run) -> None:
    """A name outside of the terminal's characters is shown in part, and the run goes on."""
    path = write({**DRIFT, "id": "\u65e5\u672c"})
    arguments = ["-m", "undertow", "audit", path, "--classifier", "scripted"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, env=environment
    )
    assert (run.returncode, run.stderr) == (1, "")
    assert "0.98  ??" in run.stdout


def test_evidence_goes_into_the_report(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --evidence the page holds more; without a page there is nowhere to put it."""
    path = write(SAFE, DRIFT)
    assert undertow(path, "--report", "without.html") == 1
    assert undertow(path, "--report", "with.html", "--evidence") == 1
    assert Path("with.html").read_bytes() != Path("without.html").read_bytes()
    assert undertow(path, "--evidence") == 2
    assert "--report" in capsys.readouterr().err


def test_redact_leaves_text_out_of_the_report(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --redact the page has less in it; without a page there is nothing to leave it out of."""
    path = write(SAFE, DRIFT)
    assert undertow(path, "--report", "whole.html") == 1
    assert undertow(path, "--report", "redacted.html", "--redact") == 1
    assert "What was not judged safe was left out" in Path("redacted.html").read_text(encoding="utf-8")
    assert "What was not judged safe was left out" not in Path("whole.html").read_text(encoding="utf-8")
    assert undertow(path, "--redact") == 2
    assert "--report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--out", "v.jsonl"), "the same command with --resume goes on from here"), ((), "nothing was kept")],
    ids=["out", "no out"],
)
def test_ctrl_c_says_how_to_go_on(
    undertow: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    said: str,
) -> None:
    """An interrupted run says whether it can be continued, and how."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("undertow.monitor.audit.audit", interrupt)
    assert undertow(write(SAFE), *options) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("undertow: interrupted; ")
    assert last.endswith(said)


def test_a_real_folder(shared: Path, undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The real files are audited from the command line with nothing lost."""
    status = undertow(str(shared / "transcripts"), "--json", "--out", "v.jsonl", "--report", "r.html")
    figures = json.loads(capsys.readouterr().out)
    assert (status, figures["records"], figures["full"]) == (0, 707, 707)
    assert len(Path("v.jsonl").read_text().splitlines()) == 707
    assert Path("r.html").stat().st_size > 1_000_000


def test_fail_on(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`--fail-on` says what the exit status is about; what it cannot be is refused before any work."""
    path = write(SAFE, DRIFT, BARE)
    assert undertow(path, "--quiet", "--fail-on", "never") == 0
    assert undertow(path, "--quiet", "--fail-on", "flagged>40%") == 0
    assert undertow(path, "--quiet", "--fail-on", "flagged>40%", "--fail-on", "incomplete") == 3
    assert undertow(path, "--fail-on", "worse") == 2
    assert "--against" in capsys.readouterr().err
    assert undertow(path, "--fail-on", "everything") == 2


def test_against(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`--against` says what changed, prompt by prompt, and shows no text; with --json it is the figures."""
    before = write(*({**SAFE, "id": f"b{n}", "prompt": f"{n}"} for n in range(9)), name="before.jsonl")
    after = write(*({**DRIFT, "id": f"a{n}", "prompt": f"{n}"} for n in range(9)), name="after.jsonl")
    assert undertow(after, "--against", before) == 1
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "compared 9 prompts that both have" in lines
    assert "flagged 0% before, 100% after" in lines
    assert "moved 9 up, 0 down" in lines
    assert "+100 a0 1 of 1 0 of 1" in lines
    assert undertow(before, "--against", before, "--fail-on", "worse", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["schema"], figures["change"]) == ("undertow.comparison/1", 0.0)
    assert figures["after"]["records"] == 9


@pytest.mark.parametrize("ending", ["parquet", "sqlite"])
def test_other_forms_of_verdicts(undertow: Run, command: Run, ending: str) -> None:
    """Verdicts in a table are written, and a report is made of them as of lines."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    assert undertow(write(SAFE, DRIFT), "--quiet", "--out", f"v.{ending}") == 1
    assert command("report", f"v.{ending}", "--out", "r.html") == 0
    assert Path("r.html").stat().st_size > 10_000


def test_a_run_goes_on(undertow: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`--resume` needs to know the output; `--workers` and `--cache` change nothing in it."""
    path = write(SAFE, DRIFT, BARE)
    assert undertow(path, "--resume") == 2
    assert "--out" in capsys.readouterr().err
    for name, options in (("a", ()), ("b", ("--cache", "cache")), ("c", ("--resume", "--cache", "cache"))):
        assert undertow(path, "--quiet", "--out", f"{name}.jsonl", *options) == 1
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes() == Path("c.jsonl").read_bytes()
