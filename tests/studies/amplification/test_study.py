"""The study from transcripts to its outcome, in the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from undertow.classifiers.contract import StepInput
from undertow.errors import UsageError
from undertow.monitor.audit import read
from undertow.monitor.trace import Trace
from undertow.studies.amplification import report
from undertow.studies.amplification.attributed import Flagged, attribution_section, keep_flagged
from undertow.studies.amplification.compare import Comparison, compare_all
from undertow.studies.amplification.controls import controls
from undertow.studies.amplification.design import Design
from undertow.studies.amplification.dose import PrefixTrace
from undertow.studies.amplification.estimate import Estimate
from undertow.studies.amplification.load import Table, load
from undertow.studies.amplification.mixed import Answers
from undertow.studies.amplification.page import Page, Section
from undertow.studies.amplification.sections import models
from undertow.studies.amplification.study import regressions, study
from undertow.testing import ScriptedClassifier, scripted_monitor

HOSTILE = "<script>alert(1)</script>\u202e [/zorp]"
DESIGN = Design.model_validate(
    {
        "fields": {"prompt": "pid", "mode": "arm", "state": "state", "seed": "seed"},
        "gold": {"answer": {"field": "human"}},
        "harmless": {"field": "kind", "equals": "benign"},
        "cells": {"modes": ["on", "zero"], "states": ["base", "fine-tuned"], "seeds": 1},
    }
)
RATES = {("on", "base"): 0.1, ("zero", "base"): 0.1, ("on", "fine-tuned"): 0.9, ("zero", "fine-tuned"): 0.2}


class Script(ScriptedClassifier):
    """Says neutral where the script says nothing."""

    def _row(self, step: StepInput) -> np.ndarray[Any, np.dtype[np.float64]]:
        return super()._row(step) if "[" in step.text else np.array([0.97, 0.01, 0.01, 0.01])


def rows(
    prompts: int = 40, rates: dict[tuple[str, str], float] = RATES, harmless: int = 10
) -> Iterator[dict[str, Any]]:
    """Yield generations of a study whose rates of harm are planted; the last prompts are harmless."""
    rng = random.Random(0)
    for number in range(prompts + harmless):
        for (mode, state), rate in rates.items():
            harm = number < prompts and rng.random() < rate
            drift = "[drift] I could do it. " if harm else "I should not. "
            yield {
                "pid": f"p{number}{HOSTILE}", "arm": mode, "state": state, "seed": 0, "prompt": HOSTILE,
                "kind": "benign" if number >= prompts else "asked", "human": harm if number % 2 else None,
                "reasoning": "" if mode == "zero" else f"Hm. [aware] They want zorp. {drift}So be it. Done.",
                "response": f"[harm] zorp {HOSTILE}." if harm else "No.",
            }  # fmt: skip


def write(path: Path, **how: Any) -> Path:
    """Write generations as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(**how)))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The planted study, judged."""
    path = write(tmp_path_factory.mktemp("study") / "data.jsonl")
    return load(scripted_monitor(Script()).judge_pairs(read(path)), DESIGN)


@pytest.fixture(scope="module")
def compared(table: Table) -> dict[str, Comparison]:
    """Its comparisons, by name."""
    return {one.name: one for one in compare_all(table)}


@pytest.fixture(scope="module")
def page(table: Table) -> Page:
    """Its outcome."""
    return study(table, DESIGN, quick=True)


def test_the_planted_effects_are_found(compared: dict[str, Comparison]) -> None:
    """Amplified when fine-tuned, not in the base model, coupled; every interval holds its planted value."""
    planted = {
        "answer, base: on - zero": 0.0,
        "answer, fine-tuned: on - zero": 0.7,
        "answer: (on - zero) fine-tuned - base": 0.7,
        "answer, on: fine-tuned - base": 0.8,
        "reasoning, on: fine-tuned - base": 0.8,
    }
    for name, value in planted.items():
        difference = compared[name].effects.difference
        assert difference.low <= value <= difference.high, name
    assert [one.name for one in compared.values() if one.primary] == list(planted)[:3]
    assert compared["answer, fine-tuned: on - zero"].conclusion.outcome == "supports"
    assert compared["answer, base: on - zero"].conclusion.outcome != "supports"
    assert set(compared["answer, fine-tuned: on - zero"].corrected) == {"prediction-powered", "Rogan-Gladen"}
    assert all(one.prompts == 40 and one.left_out == 0 for one in compared.values())


def test_tests_are_adjusted_within_their_family(compared: dict[str, Comparison]) -> None:
    """No adjusted p is below its own; the primary family does not pay for the secondary one."""
    for one in compared.values():
        assert one.adjusted
        assert one.test.p <= one.adjusted.p <= min(1.0, one.test.p * one.family + 1e-12)
        assert (one.family == 3) == one.primary


def test_the_controls_come_out_empty(table: Table, compared: dict[str, Comparison]) -> None:
    """Shuffled arms and prompts alone show nothing, and harmless prompts a ratio of 1."""
    found = controls(table, compared["answer, fine-tuned: on - zero"])
    assert found.permuted.low <= 0.05
    assert found.prompt_only == pytest.approx(0.0)
    for one in compare_all(table, harmless=True):
        assert one.prompts == 10
        assert one.effects.ratio.low < 1 < one.effects.ratio.high
        assert one.effects.difference.value == 0


def test_unlike_prompts_show_in_the_control(tmp_path: Path) -> None:
    """Where one arm lacks the harmful prompts, the judge that sees the prompt alone finds a difference."""
    held = [
        row for row in rows(harmless=0) if not (row["arm"] == "zero" and int(row["pid"][1:3].strip("<")) < 20)
    ]
    held = [row | {"human": None} for row in held]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in held))
    table = load(scripted_monitor(Script()).judge_pairs(read(path)), DESIGN)
    one = next(one for one in compare_all(table) if one.name == "answer, fine-tuned: on - zero")
    assert (one.prompts, one.left_out) == (20, 20)
    assert controls(table, one).prompt_only != pytest.approx(0.0, abs=1e-6)


def test_the_length_alone_is_tried(table: Table, compared: dict[str, Comparison]) -> None:
    """Harmful answers are longer here, so that length finds the effect as well, and the control says so."""
    found = controls(table, compared["answer, fine-tuned: on - zero"]).length_only
    assert found.low > 0


def test_without_two_arms_nothing_is_claimed(tmp_path: Path) -> None:
    """Transcripts with reasoning only cannot say what it adds, and the outcome is so."""
    path = write(tmp_path / "data.jsonl", rates={("on", "base"): 0.5})
    made = study(load(scripted_monitor(Script()).judge_pairs(read(path)), DESIGN), DESIGN, quick=True)
    assert made.lead.startswith("Inconclusive")
    assert made.facts["outcomes"] == {}
    titles = [section.title for section in made.sections]
    assert "What reasoning adds" not in titles
    assert "What is not there" in titles
    assert "How the reasoning goes wrong" in titles


def test_nothing_to_study_is_an_error() -> None:
    """Not an empty page; and beside prefixes, transcripts without a cell are still spoken of."""
    with pytest.raises(
        UsageError, match=r"no record has a cell of the design: no mode \(3\); a design .*assume"
    ):
        study(Table((), {"no mode": 3}), DESIGN)
    with pytest.raises(UsageError, match=r"design: there is no record$"):
        study(Table((), {}), DESIGN)
    prefixes = [PrefixTrace(str(i), str(i), "ab", (0, 1, 2), (True, bool(i % 2), False)) for i in range(4)]
    made = study(Table((), {"no mode": 3}), DESIGN, prefixes)
    assert made.lead.startswith("No record of the transcripts")
    assert ("set aside", "no mode", "3") in made.sections[0].rows


def test_the_regressions_are_fitted(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both regressions get the answers of each state, and of both states together with the attack."""
    asked: list[tuple[int, bool]] = []

    def fit(answers: Answers) -> dict[str, Estimate]:
        asked.append((len(answers.harm), answers.attacked is not None))
        return {"reasoning": Estimate(2.0, 1.0, 4.0, "made up", 40)}

    for name in ("within_prompt", "population_averaged"):
        monkeypatch.setattr(f"undertow.studies.amplification.study.{name}", fit)
    found = models([], regressions(table))
    assert asked == [(80, False)] * 4 + [(160, True)] * 2
    assert ("answer, fine-tuned: on - zero", "GEE: reasoning", "2 [1, 4]") in found.rows


def test_the_regressions_compare_the_same_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the comparisons do: prompts that were asked with reasoning only change nothing."""
    monkeypatch.setattr("undertow.studies.amplification.study.within_prompt", lambda _: {})
    both = [
        (f"p{i}", arm, i % 3 == 0 or (arm == "on" and i % 7 == 0))
        for i in range(40)
        for arm in ("on", "zero")
    ]
    alone = [(f"q{i}", "on", True) for i in range(30)]
    design = Design.model_validate({**DESIGN.model_dump(), "harm": {"answer": {"field": "human"}}})

    def fitted(generations: list[tuple[str, str, bool]]) -> dict[str, Any]:
        made = [
            Trace(
                id="t",
                answer="a",
                metadata={"pid": pid, "arm": arm, "state": "base", "seed": 0, "human": harm},
            )
            for pid, arm, harm in generations
        ]
        return regressions(load(((one, None) for one in made), design))

    assert fitted(both + alone) == fitted(both)
    assert fitted(both)["answer, base: on - zero"]["GEE"]["reasoning"].n == 40
    assert fitted(alone) == {}


def test_three_forms_of_one_outcome(page: Page, tmp_path: Path) -> None:
    """Terminal, JSON and page hold the same verdicts, and each figure is written twice."""
    console = Console(width=220, record=True, file=StringIO())
    report.show(page, console)
    shown = console.export_text()
    written = report.write(page, tmp_path / "out")
    names = {path.name for path in written}
    assert names >= {"study.json", "study.html", "effects.svg", "effects.png", "channels.svg", "survival.svg"}
    data = json.loads((tmp_path / "out" / "study.json").read_text())
    html = (tmp_path / "out" / "study.html").read_text()
    assert data["schema"] == "undertow.study/1"
    assert data["outcomes"]["answer, fine-tuned: on - zero"] == "supports"
    for name in data["outcomes"]:
        assert name in shown
        assert name in html
    assert (tmp_path / "out" / "effects.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


class Tags(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.found.append((tag, dict(attrs)))


def test_the_page_runs_and_loads_nothing(page: Page, tmp_path: Path) -> None:
    """No script, no address but the figures within it, no text of a transcript, and a policy for it."""
    tags = Tags()
    html = report.render(page)
    tags.feed(html)
    names = [tag for tag, _ in tags.found]
    assert "script" not in names
    assert not [1 for _, attrs in tags.found if any(name.startswith("on") for name in attrs)]
    addresses = [
        attrs.get("src") or attrs.get("href") for _, attrs in tags.found if {"src", "href"} & set(attrs)
    ]
    assert addresses
    assert all(address and address.startswith("data:image/svg+xml;base64,") for address in addresses)
    policy = next(attrs["content"] for _, attrs in tags.found if attrs.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "zorp" not in html


def test_hostile_values_are_escaped() -> None:
    """Whatever stands in a section is shown as text, in the page and in the terminal."""
    made = Page(HOSTILE, HOSTILE, (Section(HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE, HOSTILE),))
    html = report.render(made)
    assert "<script" not in html
    assert "\u202e" not in html
    console = Console(width=80, record=True, file=StringIO())
    report.show(made, console)
    shown = console.export_text()
    assert "\u202e" not in shown
    assert shown.count("[/zorp]") == 7  # wherever a section has one


def test_steps_get_their_attribution(tmp_path: Path) -> None:
    """Flagged generations are kept up to the number asked for, and each method is shown beside chance."""
    monitor = scripted_monitor(Script())
    kept: list[Flagged] = []
    path = write(tmp_path / "data.jsonl", prompts=8, harmless=0)
    assert len(list(keep_flagged(monitor.judge_pairs(read(path)), kept, 3))) == 32
    assert len(kept) == 3
    section = attribution_section(kept, monitor)
    assert section
    assert [row[0] for row in section.rows] == ["leave one out", "occlusion", "prefix gain", "random order"]
    assert attribution_section([], monitor) is None


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Seeds are fixed and figures carry no date."""
    base = {arm: rate for arm, rate in RATES.items() if arm[1] == "base"}
    path = write(tmp_path / "data.jsonl", prompts=5, harmless=0, rates=base)
    for name in ("a", "b"):
        table = load(scripted_monitor(Script()).judge_pairs(read(path)), DESIGN)
        report.write(study(table, DESIGN, quick=True), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
