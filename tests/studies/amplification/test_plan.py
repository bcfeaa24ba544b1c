"""The plan, and the script that makes its calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import UsageError
from undertow.monitor.audit import read
from undertow.monitor.trace import Trace
from undertow.studies.amplification import generate as generate_module
from undertow.studies.amplification.design import MODES, Cells, Design, read_design
from undertow.studies.amplification.generate import cells, generate
from undertow.studies.amplification.load import load
from undertow.studies.amplification.plan import plan_page, settings, write_plan
from undertow.testing import scripted_monitor

EVERY = Design(cells=Cells(modes=MODES, seeds=2))
PROMPTS = [{"id": "p1", "prompt": "one"}, {"id": "p2", "prompt": "two", "kind": "benign"}]
MODELS = {"base": "org/b", "fine-tuned": "org/f"}


def complete(model: str, request: str, begin: str, seed: int) -> tuple[str, dict[str, Any]]:
    """Stand in for a model: reasons in five words, unless its reasoning was closed for it."""
    thought = "" if "</think>" in begin else "<think>\none two three four five</think>"
    return f"{thought}Answer to {request}.", {"begun": bool(begin)}


def test_every_cell_is_made_once() -> None:
    """Prompts x states x modes x seeds x samples, and a second run finds nothing to do."""
    rows = list(generate(settings(EVERY), PROMPTS, [], MODELS, complete))
    assert len(rows) == len({row["id"] for row in rows}) == 2 * 2 * 5 * 2
    assert {row["kind"] for row in rows if row["prompt_id"] == "p2"} == {"benign"}
    assert {(row["state"], row["model"]) for row in rows} == set(MODELS.items())
    assert list(generate(settings(EVERY), PROMPTS, rows, MODELS, complete)) == []
    assert all(row["undertow"] == {"begun": row["mode"] != "on"} for row in rows)
    half = rows[:7]
    assert half + list(generate(settings(EVERY), PROMPTS, half, MODELS, complete)) == rows


def test_a_plan_that_was_edited_is_not_written_over(tmp_path: Path) -> None:
    """The same plan may be written again; one that differs stays as it is, and is named."""
    files = write_plan(EVERY, tmp_path)
    assert write_plan(EVERY, tmp_path) == files
    files[2].write_text("mine")
    with pytest.raises(UsageError, match=r"generate\.py"):
        write_plan(EVERY, tmp_path)
    assert files[2].read_text() == "mine"


def test_the_modes_differ_in_their_reasoning() -> None:
    """None, a short one, filler as long as the model's own, and one that was made to go on twice."""
    rows = list(generate(settings(EVERY), PROMPTS[:1], [], MODELS, complete))
    reasoning = {
        row["mode"]: row["response"].partition("</think>")[0].removeprefix("<think>") for row in rows
    }
    assert reasoning["zero"].strip() == ""
    assert 0 < len(reasoning["less"].split()) < 20
    assert len(reasoning["filler"].split()) == len(reasoning["on"].split()) == 5
    assert set(reasoning["filler"].split()) == {"..."}
    assert reasoning["more"].count("Wait") == 2


def test_on_comes_before_what_takes_its_length() -> None:
    """Whatever the order in the design."""
    modes = [
        cell["mode"]
        for cell in cells(
            {"cells": {"modes": ["filler", "on"], "states": ["base"], "seeds": 1, "samples": 1}}, PROMPTS
        )
    ]
    assert modes == ["on", "filler"] * 2
    with pytest.raises(UsageError, match="add `on`"):
        settings(Design(cells=Cells(modes=("filler",))))


def test_what_the_script_writes_fits_its_design(tmp_path: Path) -> None:
    """The rows go through the audit's reader into the table, without a cell missing or a record set aside."""
    files = write_plan(EVERY, tmp_path / "plan")
    assert [path.name for path in files] == ["plan.json", "study.yaml", "generate.py"]
    plan = json.loads(files[0].read_text())
    assert plan == json.loads(json.dumps(settings(EVERY)))
    out = tmp_path / "out.jsonl"
    out.write_text("".join(json.dumps(row) + "\n" for row in generate(plan, PROMPTS, [], MODELS, complete)))
    design = read_design(files[1])
    assert design.cells == EVERY.cells
    records = list(read(out))
    assert all(
        isinstance(record, Trace) and record.answer == f"Answer to {record.prompt}."
        for record in records
        if isinstance(record, Trace) and record.metadata["mode"] == "on"
    )
    table = load(scripted_monitor().judge_pairs(records), design)
    assert (table.aside, table.missing(design)) == ({}, {})
    assert len(table.arms) == 10


def call(monkeypatch: pytest.MonkeyPatch, folder: Path, prompts: str) -> list[dict[str, Any]]:
    """Run the script on prompts, with a stand-in for the server; return the rows of its file."""
    plan, asked, out = write_plan(EVERY, folder)[0], folder / "prompts.jsonl", folder / "out.jsonl"
    asked.write_text(prompts, encoding="utf-8")
    monkeypatch.setattr(generate_module, "_client", lambda *_: complete)
    monkeypatch.setattr(generate_module, "Monitor", scripted_monitor)
    models = [part for pair in MODELS.items() for part in ("--model", "=".join(pair))]
    monkeypatch.setattr("sys.argv", ["generate.py", *map(str, (plan, asked, out)), "--base-url", "", *models])
    generate_module.main()
    return [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n") if line]


def test_a_row_that_was_left_half_written_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The script goes on after a run that was killed while it wrote, whatever stands in a request."""
    prompts = json.dumps({"id": "p1", "prompt": "one\u2028two \x85"}, ensure_ascii=False) + "\n"
    rows = call(monkeypatch, tmp_path, prompts)
    assert len(rows) == 2 * 5 * 2
    out = tmp_path / "out.jsonl"
    out.write_bytes(out.read_bytes()[:-40])
    assert call(monkeypatch, tmp_path, prompts) == rows


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "another"}, "of another model, 'another' for base"),
        ({"prompt": "another"}, "to another request with the id 'p1'"),
        ({"settings": {"temperature": 2.0}}, "of another plan, with other settings for on"),
    ],
    ids=["model", "request", "settings"],
)
def test_responses_of_another_run_are_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    change: dict[str, Any],
    says: str,
) -> None:
    """Two models, requests or plans never stand in one file as the same arm."""
    prompts = json.dumps({"id": "p1", "prompt": "one"}) + "\n"
    rows = call(monkeypatch, tmp_path, prompts)
    (tmp_path / "out.jsonl").write_text(json.dumps({**rows[0], **change}) + "\n")
    with pytest.raises(SystemExit):
        call(monkeypatch, tmp_path, prompts)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"id": 1, "prompt": "a"}, {"id": "1", "prompt": "b"}], "two requests have the id"),
        ([{"prompt": "a"}], "request 1 lacks"),
    ],
    ids=["the same id", "no id"],
)
def test_requests_that_would_get_no_response_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    rows: list[dict[str, Any]],
    says: str,
) -> None:
    """Before any call is made."""
    with pytest.raises(SystemExit):
        call(monkeypatch, tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
    assert says in capsys.readouterr().err


def test_a_plan_says_the_shares_as_they_were_given() -> None:
    """A share below one in a hundred is not 0 %."""
    assert "12.5% of the prompts" in (lead := plan_page(EVERY, more=0.125, less=0.004, power=0.805).lead)
    assert "80.5%" in lead
    assert "0.4%" in lead


def test_the_plan_says_how_many() -> None:
    """The sizes are those of the exact test, and cells multiply."""
    page = plan_page(EVERY, more=0.2, less=0.02, power=0.8)
    prompts, generations = page.sections[1].rows[0][1], page.sections[1].rows[0][3]
    assert 51 <= int(prompts) <= 65
    assert int(generations.replace(",", "")) == int(prompts) * 20
    assert float(page.sections[1].rows[0][2]) >= 0.8
    with pytest.raises(UsageError):
        plan_page(EVERY, more=0.1, less=0.1, power=0.8)
