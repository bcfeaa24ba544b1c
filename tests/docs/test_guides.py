"""What the guides in docs/ say of samples and verdicts is true of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from undertow.classifiers.contract import LABELS
from undertow.data import sample
from undertow.monitor.steps import segment
from undertow.monitor.trace import NotAssessed, Origin, Reason, Trace
from undertow.monitor.verdict import Mark, MonitorStamp, StepVerdict, TraceVerdict
from undertow.testing import scripted_monitor

FIELDS = [
    *((TraceVerdict, name) for name in TraceVerdict.model_fields if name not in ("origin", "monitor")),
    *(
        (model, name)
        for model in (Origin, NotAssessed, Mark, StepVerdict, MonitorStamp)
        for name in model.model_fields
    ),
]
PREFIX = {Origin: "origin.", NotAssessed: "not_assessed.", MonitorStamp: "monitor."}


@pytest.fixture(scope="module")
def guide(root: Path) -> str:
    """docs/verdict.md."""
    return (root / "docs" / "verdict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example(guide: str) -> TraceVerdict:
    """The verdict shown in docs/verdict.md."""
    match = re.search(r"```json\n(.*?)```", guide, flags=re.DOTALL)
    assert match
    return TraceVerdict.model_validate_json(match[1])


@pytest.fixture(scope="module")
def row(example: TraceVerdict) -> dict[str, Any]:
    """The row of the samples that the example is about."""
    lines = sample("openai-chat").read_text(encoding="utf-8").splitlines()
    assert example.origin.row is not None
    found: dict[str, Any] = json.loads(lines[example.origin.row])
    return found


@pytest.fixture(scope="module")
def reasoning(row: dict[str, Any]) -> str:
    """The reasoning of that row."""
    return str(row["messages"][1]["reasoning_content"])


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_is_explained(guide: str, model: type[BaseModel], name: str) -> None:
    """Each field of a verdict has its row in a table of docs/verdict.md."""
    shown = PREFIX.get(model, "") + (model.model_fields[name].alias or name)
    first_cells = re.findall(r"^\| ([^|]+) \|", guide, flags=re.MULTILINE)
    explained = any(f"`{shown}`" in cell for cell in first_cells)
    assert explained or (name == "steps" and "`steps` lists" in guide)


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_is_explained(guide: str, reason: str) -> None:
    """Each reason for not judging has its row."""
    assert f"| `{reason}` |" in guide


def test_example_is_of_its_sample(example: TraceVerdict, row: dict[str, Any]) -> None:
    """The example's id and model are those of the row that it names."""
    assert (example.id, example.model) == (row["id"], row["model"])


def test_example_points_at_the_text(example: TraceVerdict, reasoning: str) -> None:
    """Each step of the example is the step of that index, and each mark points at a step and its place."""
    cut = segment(reasoning)
    for step in example.steps:
        assert (step.start, step.end) == (cut[step.index].start, cut[step.index].end)
    for mark in (example.onset, example.alarm):
        assert mark
        assert mark.start == cut[mark.step].start
        assert mark.fraction == pytest.approx(mark.start / len(reasoning), abs=1e-6)


def test_example_adds_up(example: TraceVerdict) -> None:
    """Probabilities add up to 1, risk and label follow from them, and the peak is the highest risk."""
    for step in example.steps:
        assert step.probabilities
        shares = step.probabilities.model_dump()
        assert sum(shares.values()) == pytest.approx(1)
        assert step.risk == pytest.approx(shares["drift"] + shares["harm"])
        assert step.label == max(LABELS, key=shares.__getitem__)
    assert example.peak
    assert example.risk == example.peak.risk == max(step.risk or 0 for step in example.steps)


def test_walk_through_quotes_the_sample(root: Path, reasoning: str) -> None:
    """The steps in docs/how-it-works.md are those of the sample, at the indices given."""
    text = (root / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| (\d+) \| (.+?) \| \w+ \|$", text, flags=re.MULTILINE)
    steps = segment(reasoning)
    assert "Our trace has twelve steps" in text
    assert len(steps) == 12
    assert len(quoted) == 6
    for index, step in quoted:
        assert steps[int(index)].text == step


def test_pandas_reads_the_verdicts_as_the_guide_says(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id of digits stays as it is, and what was not judged enters no rate."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    block = re.search(
        r"```python\n(import pandas.*?)```", (root / "docs/results.md").read_text("utf-8"), re.S
    )
    assert block
    traces = [
        Trace(id="0042", reasoning="[drift] Zorp. [drift] Zorp."),
        Trace(id="7", reasoning="[neutral] No."),
    ]
    lines = [one.model_dump_json(by_alias=True) for one in scripted_monitor().judge([*traces, Trace(id="8")])]
    (tmp_path / "verdicts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(block[1], found)
    assert found["verdicts"]["id"].tolist() == ["0042", "7", "8"]
    assert found["rates"].tolist() == [0.5]
    assert found["steps"]["id"].tolist() == ["0042", "0042", "7"]
