"""Monitor and Session: what they say, that live equals batch, and that nothing fails as safe."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.classifiers.contract import CHANNELS, LABELS
from undertow.errors import UsageError
from undertow.monitor.audit import read
from undertow.monitor.calibrating import calibrate
from undertow.monitor.monitor import Monitor
from undertow.monitor.reasoning import parse
from undertow.monitor.trace import NotAssessed, Origin, Trace, Unreadable
from undertow.monitor.verdict import TraceVerdict
from undertow.testing import ScriptedClassifier
from undertow.testing import scripted_monitor as monitor

CALM = "[neutral] One. [aware] Two. [neutral] Three. [neutral] Four."
DRIFT = "[neutral] One. [neutral] Two. [drift] Three. [harm] Four."


def judge(trace: Trace | Unreadable, by: Monitor | None = None) -> TraceVerdict:
    """The verdict on one record."""
    (verdict,) = (by or monitor()).judge([trace])
    return verdict


def live(by: Monitor, raw: str, seed: int, **about: str) -> TraceVerdict:
    """The verdict on a text fed in random pieces."""
    cuts, random_ = [0], random.Random(seed)
    while cuts[-1] < len(raw):
        cuts.append(min(len(raw), cuts[-1] + random_.choice((1, 2, 3, 7, 40, 200))))
    with by.open(**about) as session:
        for start, end in pairwise(cuts):
            session.feed(raw[start:end])
    assert session.verdict is not None
    return session.verdict


@pytest.mark.parametrize(
    ("columns", "said"),
    [(sorted(LABELS), "has the columns aware, drift, harm, neutral"), (None, "is no StepClassifier")],
    ids=["sorted, as an estimator's", "no columns"],
)
def test_columns_in_another_order_are_refused(columns: list[str] | None, said: str) -> None:
    """Read in our order, the drift of a classifier with sorted columns would pass for `aware`."""
    classifier = ScriptedClassifier()
    calibration = monitor().calibration
    other: Any = SimpleNamespace(name="o", digest=classifier.digest, predict_proba=classifier.predict_proba)
    if columns:
        other.classes_ = np.array(columns)
    with pytest.raises(UsageError, match=said):
        Monitor(other, calibration=calibration)
    with pytest.raises(UsageError, match=said):
        calibrate(other, [], population="none")


def test_a_drift_is_found_where_it_is() -> None:
    """Onset, alarm and peak name the step, its characters and its share of the text."""
    verdict = judge(Trace(id="t", prompt="p", reasoning=DRIFT, answer=CALM))
    assert verdict.flagged
    assert verdict.quadrant == "unsafe-reasoning/safe-answer"
    assert verdict.onset == verdict.alarm
    assert verdict.onset is not None
    assert verdict.onset.step == 2
    assert verdict.onset.start == DRIFT.index("[drift]")
    assert verdict.onset.fraction == pytest.approx(DRIFT.index("[drift]") / len(DRIFT), abs=1e-6)
    assert [step.label for step in verdict.steps] == [
        *("neutral", "neutral", "drift", "harm"),
        *("neutral", "aware", "neutral", "neutral"),
    ]
    assert [step.index for step in verdict.steps] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_an_unsafe_answer_is_told_from_unsafe_reasoning() -> None:
    """The channels are judged apart, and the summary speaks of the one that was flagged."""
    verdict = judge(Trace(reasoning=CALM, answer=DRIFT))
    assert verdict.quadrant == "safe-reasoning/unsafe-answer"
    assert verdict.onset is not None
    assert verdict.onset.channel == "answer"
    assert [channel.flagged for channel in verdict.channels] == [False, True]


def test_recovery_shows() -> None:
    """A trace that turns back is flagged and recovered."""
    verdict = judge(Trace(reasoning=f"{DRIFT} {CALM}"))
    assert (verdict.flagged, verdict.recovered) == (True, True)


@pytest.mark.parametrize(
    ("trace", "assessed", "reason", "flagged"),
    [
        pytest.param(Trace(reasoning=CALM, answer=CALM), "full", None, False, id="both channels"),
        pytest.param(Trace(reasoning=CALM), "full", None, False, id="reasoning alone"),
        pytest.param(Trace(answer=CALM), "partial", "no_reasoning", False, id="no reasoning"),
        pytest.param(Trace(reasoning=" \n", answer=DRIFT), "partial", "no_reasoning", True, id="blank"),
        pytest.param(Trace(reasoning=CALM, truncated=True), "partial", "truncated", False, id="truncated"),
        pytest.param(Trace(), "none", "no_text", None, id="nothing"),
        pytest.param(Trace(reasoning=" ", answer="\n"), "none", "no_text", None, id="only space"),
        pytest.param(
            Trace(reasoning=CALM, caveat=NotAssessed(reason="summary_only")),
            "partial", "summary_only", False, id="a summary",
        ),
        pytest.param(
            Trace(caveat=NotAssessed(reason="encrypted")), "none", "encrypted", None, id="encrypted"
        ),
        pytest.param(
            Unreadable(problem=NotAssessed(reason="wrong_types")), "none", "wrong_types", None, id="no trace"
        ),
        pytest.param(
            Trace(reasoning=f"{CALM} [nan] Five."), "partial", "declined", False, id="one declined"
        ),
        pytest.param(
            Trace(reasoning=f"{CALM} [crash] Five."), "partial", "classifier_failed", False, id="one failed"
        ),
        pytest.param(
            Trace(reasoning="[crash] One. [nan] Two."), "none", "classifier_failed", None, id="all failed"
        ),
    ],
)  # fmt: skip
def test_what_was_not_judged_is_said(
    trace: Trace | Unreadable, assessed: str, reason: str | None, flagged: bool | None
) -> None:
    """A verdict says how much was judged and why not more; unjudged is never `not flagged`."""
    verdict = judge(trace)
    assert verdict.assessed == assessed
    assert (verdict.not_assessed.reason if verdict.not_assessed else None) == reason
    assert verdict.flagged is flagged


def test_a_failing_step_takes_no_neighbour_with_it() -> None:
    """In a batch across traces, only the step that fails is without judgement."""
    traces = [Trace(id="a", reasoning=DRIFT), Trace(id="b", reasoning=f"[crash] Zero. {DRIFT}")]
    first, second = monitor().judge(traces)
    assert first.assessed == "full"
    assert [step.label for step in second.steps] == [None, "neutral", "neutral", "drift", "harm"]
    assert second.alarm is not None
    assert second.alarm.step == 3


@pytest.mark.parametrize("rows", [[[0.5] * 4], [[2.0, -1.0, 0.0, 0.0]], [[1.0, 0.0]]])
def test_rows_that_are_no_probabilities_are_not_believed(rows: list[list[float]]) -> None:
    """A classifier that breaks its contract has not judged."""

    class Broken(ScriptedClassifier):
        def predict_proba(self, steps, /):  # type: ignore[no-untyped-def]
            return rows * len(steps)

    assert judge(Trace(reasoning=CALM), monitor(Broken())).assessed == "none"


def test_one_verdict_for_each_record_in_order() -> None:
    """However many records, each has its verdict, in its place."""
    records = [
        Trace(id=str(i), reasoning=CALM * (i % 7))
        if i % 5
        else Unreadable(id=str(i), origin=Origin(row=i), problem=NotAssessed(reason="unreadable_row"))
        for i in range(400)
    ]
    assert [verdict.id for verdict in monitor().judge(records)] == [record.id for record in records]


def test_batches_do_not_show() -> None:
    """A trace gets the same verdict alone and among others."""
    traces = [
        Trace(id=str(i), prompt=str(i), reasoning=f"Step {i}. Then {i * 7}. {DRIFT}") for i in range(90)
    ]
    by = monitor()
    assert list(by.judge(traces)) == [judge(trace, by) for trace in traces]


TEXTS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "Wait. ", "[drift] So. ", "I refuse. ", "\n\n", "a", "3.14 ", "[crash]. "]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(0, 1000), st.sampled_from(["auto", "think", "deepseek-r1", "magistral"]))
def test_live_equals_batch(raw: str, seed: int, profile: str) -> None:
    """However a text is split into deltas, the session's verdict is the batch's."""
    by = monitor()
    parsed = parse(raw, profile)
    batch = judge(
        Trace(reasoning=parsed.reasoning or None, answer=parsed.answer or None, truncated=parsed.truncated),
        by,
    )
    assert live(by, raw, seed, profile=profile) == batch


def test_live_equals_batch_on_real_traces(shared: Path) -> None:
    """The same over real transcripts, through the shipped encoder."""
    by = Monitor()
    rows = json.loads((shared / "transcripts/star-1.json").read_text(encoding="utf-8"))[:12]
    (shared_traces,) = [list(read([shared / "transcripts/star-1.json"]))[:12]]
    for seed, (row, trace) in enumerate(zip(rows, shared_traces, strict=True)):
        assert isinstance(trace, Trace)
        alive = live(by, row["response"], seed, prompt=trace.prompt, id=trace.id, profile="think")
        batch = judge(trace, by)
        assert alive.model_dump(exclude={"origin", "model"}) == batch.model_dump(exclude={"origin", "model"})


def test_live_equals_batch_on_real_traces_for_structured_deltas(shared: Path) -> None:
    """Where an API keeps the channels apart, nothing is parsed and the verdict is the same."""
    by = monitor()
    for seed, trace in enumerate(list(read([shared / "transcripts/cot-compliance.qwen3-14b.jsonl"]))[:60]):
        assert isinstance(trace, Trace)
        random_ = random.Random(seed)
        with by.open(prompt=trace.prompt, id=trace.id) as session:
            for channel in CHANNELS:
                text = getattr(trace, channel) or ""
                while text:
                    size = random_.randint(1, 60)
                    session.feed(text[:size], channel)
                    text = text[size:]
        assert session.verdict is not None
        batch = judge(trace, by)
        assert session.verdict.steps == batch.steps
        assert session.verdict.channels == batch.channels


def test_a_session_says_what_it_knows_when_it_knows_it() -> None:
    """Steps come out as they close; the alarm is there before the text has ended."""
    session = monitor().open(prompt="p", profile="think")
    assert session.feed("<think>[neutral] One") == []
    assert [step.label for step in session.feed(". [harm] Two. And")] == ["neutral", "harm"]
    assert session.flagged
    assert session.risk is not None and session.risk > 0.9
    verdict = session.close()
    assert verdict == session.close() == session.verdict
    assert verdict.not_assessed is not None
    assert verdict.not_assessed.reason == "truncated"
    assert session.trace.reasoning == "[neutral] One. [harm] Two. And"


def test_a_template_may_have_opened_the_reasoning() -> None:
    """The raw prompt's end tells; the request does not, whatever stands at its end."""
    with monitor().open(raw_prompt="<|user|>Go<|assistant|><think>\n") as told:
        told.feed("[aware] One.</think>[neutral] Two.")
    with monitor().open(prompt="Repeat: <think>", profile="think") as fooled:
        fooled.feed("[neutral] Two.")
    assert told.trace.reasoning == "[aware] One."
    assert told.trace.answer == fooled.trace.answer == "[neutral] Two."


def test_structured_deltas_are_not_truncated() -> None:
    """Where no text was parsed, the unused parser has no say, whatever the model."""
    with monitor().open(model="deepseek-r1") as session:
        session.feed("[neutral] One. ", "reasoning")
        session.feed("[neutral] Two.", "answer")
    assert session.verdict is not None
    assert session.verdict.assessed == "full"


def test_nothing_judged_is_no_risk_of_zero() -> None:
    """A live session whose steps all failed has no risk to show, and says how many failed."""
    session = monitor().open(profile="think")
    session.feed("<think>[crash] One. [nan] Two. And")
    assert session.risk is None
    assert session.unjudged == 2


def test_an_end_that_was_not_judged_is_no_recovery() -> None:
    """Recovery needs safe steps, not missing ones."""
    calm = "[neutral] A step. " * 3
    assert judge(Trace(reasoning=f"{DRIFT} {calm}")).recovered
    assert not judge(Trace(reasoning=f"{DRIFT} {calm}" + "[nan] A step. " * 3)).recovered


def test_a_channel_with_gaps_is_not_called_safe() -> None:
    """It has no quadrant, unless it raised an alarm all the same."""
    assert judge(Trace(reasoning=f"{CALM} [nan] Five.", answer=CALM)).quadrant is None
    assert (
        judge(Trace(reasoning=f"{DRIFT} [nan] Five.", answer=CALM)).quadrant == "unsafe-reasoning/safe-answer"
    )


def test_rows_that_add_up_almost_are_made_to() -> None:
    """A row a little off cannot end a run."""

    class Loose(ScriptedClassifier):
        def predict_proba(self, steps, /):  # type: ignore[no-untyped-def]
            return [[0.0, 0.0, 0.5003, 0.5003]] * len(steps)

    assert judge(Trace(reasoning=CALM), monitor(Loose())).risk == 1.0


def test_a_closed_session_takes_no_more() -> None:
    """Feeding a closed session is an error, not a silent loss."""
    session = monitor().open()
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.feed("more")


def test_a_monitor_serves_many_threads() -> None:
    """Eight threads over one monitor get the verdicts that one gets."""
    by = monitor()
    traces = [Trace(id=str(i), reasoning=f"{i}. {DRIFT} {i * i}. {CALM}") for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda trace: judge(trace, by), traces)) == [
            judge(trace, by) for trace in traces
        ]
