"""The verdict models: what they refuse, and that their schema on paper is the one in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from undertow.monitor.trace import Trace
from undertow.monitor.verdict import StepVerdict, TraceVerdict, verdict_schema
from undertow.testing import scripted_monitor as monitor


def a_verdict() -> dict[str, Any]:
    """The JSON form of some verdict."""
    (verdict,) = monitor().judge(
        [Trace(id="t", reasoning="[drift] One. [aware] Two.", answer="[neutral] So.")]
    )
    form: dict[str, Any] = json.loads(verdict.model_dump_json(by_alias=True))
    return form


def test_a_verdict_survives_its_json() -> None:
    """Written and read again, a verdict is the same; its schema is named in it."""
    form = a_verdict()
    assert form["schema"] == "undertow.verdict/1"
    again = TraceVerdict.model_validate(form)
    assert json.loads(again.model_dump_json(by_alias=True)) == form


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assessed": "none"}, "not_assessed must be|flagged must be"),
        ({"assessed": "partial"}, "not_assessed must be"),
        ({"flagged": None}, "flagged must be"),
        ({"surprise": 1}, "Extra inputs"),
        ({"schema": "undertow.verdict/2"}, "undertow.verdict/1"),
    ],
)
def test_a_verdict_that_could_mislead_cannot_be(change: dict[str, Any], message: str) -> None:
    """What was not judged cannot be given a flag, nor a judgement without its reason."""
    with pytest.raises(ValidationError, match=message):
        TraceVerdict.model_validate(a_verdict() | change)


def test_a_step_is_judged_or_not() -> None:
    """A step without a label has no risk either."""
    with pytest.raises(ValidationError, match="all set or all null"):
        StepVerdict(index=0, channel="reasoning", start=0, end=1, label=None, risk=0.0, probabilities=None)


def test_verdicts_do_not_change() -> None:
    """The models are frozen."""
    trace = Trace(id="t")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(trace, "id", "u")  # noqa: B010 -- the type checker knows better


def test_the_schema_on_paper_is_current(root: Path) -> None:
    """docs/verdict.schema.json is what the models say; `python -m undertow.monitor.verdict` prints it."""
    written = json.loads((root / "docs/verdict.schema.json").read_text(encoding="utf-8"))
    assert written == verdict_schema()
