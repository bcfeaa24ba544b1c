"""The samples for measuring: the commands that the pages show for them run as they stand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.classifiers.corpus import read_labelled
from undertow.data import samples
from undertow.monitor.steps import segment

Run = Callable[..., int]

PLACE = "data/samples/measure"
FILES = {"labelled.jsonl": 8, "base.jsonl": 12, "fine-tuned.jsonl": 12}
"""The files, and how many rows each has."""
PAGES = ("data/samples/README.md", "docs/evaluate.md", "docs/results.md")


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file, without the help of the package."""
    text = (samples()[0].parent / "measure" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """A folder to write in that has the samples where a checkout has them."""
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("checkout")
def test_commands_of_the_pages_run(run: Run, root: Path, page: str) -> None:
    """Each command that a page shows for these samples ends in a verdict, one after the other."""
    text = (root / page).read_text(encoding="utf-8")
    commands = re.findall(rf"^    undertow (.*{PLACE}.*)$", text, flags=re.MULTILINE)
    assert commands
    for command in commands:
        assert run(*shlex.split(command, comments=True)) in (0, 1, 3), command


@pytest.mark.usefixtures("checkout")
def test_the_cascade_of_the_page_runs(run: Run, root: Path) -> None:
    """docs/judges.md makes a cascade, calibrates it on the samples, and audits with it."""
    page = (root / "docs" / "judges.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n([^`]*save_cascade\([^`]*)```", page)
    exec(block, {})
    commands = re.findall(r"^    undertow (.* --classifier \./careful .*)$", page, flags=re.MULTILINE)
    assert [run(*shlex.split(command)) in (0, 1, 3) for command in commands] == [True, True]


@pytest.mark.usefixtures("checkout")
def test_evaluate(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """All labelled traces and steps are in the figures, by source."""
    assert run("evaluate", f"{PLACE}/labelled.jsonl", "--json", "--draws", "5") == 0
    card = json.loads(capsys.readouterr().out)
    labels = sum(len(row["step_labels"][0]) for row in rows("labelled.jsonl"))
    assert (card["traces"], card["steps"]) == (8, labels)
    assert set(card["groups"]["source"]) == {row["source"] for row in rows("labelled.jsonl")}


@pytest.mark.usefixtures("checkout")
def test_calibrate(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A dozen traces can promise one false alarm in ten, and the answer says what each smaller rate needs."""
    assert run("calibrate", f"{PLACE}/base.jsonl") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert re.fullmatch(r"\d+ safe traces.*", lines[0])
    assert {"5.0% needs 19 traces", "1.0% needs 99 traces"} <= set(lines)
    assert any(re.match(r"10\.0% -?\d", line) for line in lines)
    options = (f"{PLACE}/base.jsonl", "--calibration", "calibration.json", "--quiet")
    assert run("audit", *options, "--false-alarm-rate", "0.1") in (0, 1, 3)
    assert run("audit", *options) == 2
    assert "needs at least 19 safe traces" in capsys.readouterr().err


@pytest.mark.usefixtures("checkout")
def test_against(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The pair is compared prompt by prompt, and every prompt is there on both sides."""
    files = (f"{PLACE}/fine-tuned.jsonl", "--against", f"{PLACE}/base.jsonl")
    assert run("audit", *files, "--json") in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["prompts"]) == ("undertow.comparison/1", 12)
    assert (found["only_after"], found["only_before"], found["not_judged"]) == (0, 0, 0)
    assert found["after"]["records"] == found["before"]["records"] == 12


def test_files(root: Path) -> None:
    """There are these files, with ids of their own, and their page says what each holds."""
    here = root / PLACE
    assert {path.name for path in here.iterdir()} == set(FILES)
    page = (here.parent / "README.md").read_text(encoding="utf-8")
    for name, count in FILES.items():
        assert f"| `measure/{name}` | {count} " in page
        assert len({row["id"] for row in rows(name)}) == len(rows(name)) == count
    base, tuned = rows("base.jsonl"), rows("fine-tuned.jsonl")
    assert [row["prompt"] for row in base] == [row["prompt"] for row in tuned]


def test_labels_fit_the_steps() -> None:
    """Each unit is a step as undertow cuts them, a safe trace ends safely, and an unsafe one does not."""
    traces = read_labelled(samples()[0].parent / "measure" / "labelled.jsonl")
    for trace in traces:
        assert trace.units == tuple((step.start, step.end) for step in segment(trace.reasoning)), trace.id
        unsafe = {"drift", "harm"} & set(trace.labels)
        assert bool(unsafe) == (trace.trace_label != 0), trace.id
        assert (trace.labels[-1] in unsafe) == (trace.trace_label == 2), trace.id
    assert sorted(trace.trace_label or 0 for trace in traces) == [0, 0, 0, 0, 1, 2, 2, 2]
    assert len({trace.group for trace in traces}) == 6


def test_harm_is_redacted() -> None:
    """Where a trace does harm, the harm is redacted: a step labelled harm, and whatever refuses nothing."""
    for trace in read_labelled(samples()[0].parent / "measure" / "labelled.jsonl"):
        for label, text in zip(trace.labels, trace.texts, strict=True):
            assert (label == "harm") == ("[redacted: " in text), trace.id
    for row in rows("base.jsonl"):
        assert "[redacted" not in row["reasoning"] + row["answer"], row["id"]
    redacted = [row for row in rows("fine-tuned.jsonl") if row["reasoning"].count("[redacted: ") >= 2]
    assert len(redacted) == 6
    assert all("[redacted: " in row["answer"] for row in redacted)
