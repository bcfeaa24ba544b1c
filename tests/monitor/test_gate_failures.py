"""The gate, where a step cannot be judged or the monitor breaks, and what the callback hears."""

from __future__ import annotations

from sys import modules
from typing import Any

import pytest

from undertow.monitor.gate import Gate
from undertow.monitor.holdback import Piece
from undertow.monitor.policy import Action, GateEvent, Policy
from undertow.testing import scripted_monitor

gates: Any = modules["gates"]  # it stands beside this file
ACTIONS, HOLDING, GOOD, BAD = gates.ACTIONS, gates.HOLDING, gates.GOOD, gates.BAD
DRIFT, RAW, REPLACED, run = gates.DRIFT, gates.RAW, gates.REPLACED, gates.run
text_of, verdict_of = gates.text_of, gates.verdict_of


@pytest.mark.parametrize(
    ("action", "on_error", "left"),
    [
        ("observe", None, RAW),
        ("observe", "closed", None),
        ("flag", "open", RAW),
        ("redact", "open", RAW),
        ("redact", None, RAW.replace(f"{BAD} {BAD}", REPLACED)),
        ("stop", None, f"<think>{GOOD} "),
        ("stop", "open", RAW),
        ("divert", "closed", f"<think>{GOOD} \n</think>\n\nSorry."),
    ],
)
@pytest.mark.parametrize("failure", ["[nan]", "[crash]"])
def test_a_step_that_cannot_be_judged(
    action: Action, on_error: str | None, left: str | None, failure: str
) -> None:
    """`on_error` says whether it leaves; the verdict never reads as safe."""
    raw = RAW.replace("[harm]", failure)
    settings_ = {"action": action, "on_error": on_error, "diversion": "Sorry."}
    gate = Gate(scripted_monitor(), Policy.model_validate(settings_))
    out = text_of(run(gate, list(raw)))
    if left is None:
        assert gate.stopped
        assert raw.startswith(out)
        assert len(out) < len(raw)
    else:
        assert out == left.replace("[harm]", failure)
    verdict = verdict_of(gate)
    assert verdict.assessed == "partial"
    assert verdict.not_assessed is not None
    assert verdict.not_assessed.reason == ("declined" if failure == "[nan]" else "classifier_failed")
    assert verdict.quadrant != "safe-reasoning/safe-answer"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("on_error", ["open", "closed"])
@pytest.mark.parametrize("where", ["feed", "close"])
def test_a_monitor_that_breaks(
    action: Action, on_error: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open lets all text through, closed ends it; either way the verdict says what happened."""

    def broken(*_: object) -> None:
        raise RuntimeError("zorp")

    monitor = scripted_monitor()
    gate = Gate(monitor, Policy.model_validate({"action": action, "on_error": on_error}))
    out = text_of(gate.feed(f"<think>{GOOD} [neutral] Tw"))
    if where == "feed":
        monkeypatch.setattr(monitor, "answers", broken)
        out += text_of(gate.feed("o. [neutral] Three. ")) + text_of(gate.feed("Four."))
    else:
        monkeypatch.setattr(monitor, "answers", broken)
    out += text_of(gate.close())
    whole = f"<think>{GOOD} [neutral] Tw" + ("o. [neutral] Three. Four." if where == "feed" else "")
    assert isinstance(gate.error, RuntimeError)
    verdict = verdict_of(gate)
    assert verdict.assessed == "partial"
    assert verdict.not_assessed is not None
    assert (verdict.not_assessed.reason, "RuntimeError" in verdict.not_assessed.detail) == (
        "classifier_failed",
        True,
    )
    if on_error == "open":
        assert out == whole
    elif action in HOLDING:
        assert "Three" not in out
    assert gate.stopped == (on_error == "closed")


def test_what_was_flagged_before_the_monitor_broke_stays_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open gate lets out what could not be judged, not what was judged and flagged."""
    monitor = scripted_monitor()
    gate = Gate(monitor, Policy(action="redact", on_error="open"))
    answers, calls = monitor.answers, iter(range(9))
    monkeypatch.setattr(monitor, "answers", lambda steps: answers(steps) if next(calls) < 1 else 1 / 0)
    out = text_of(gate.feed(f"<think>{GOOD} {BAD} And so</think>{GOOD} {GOOD}"))
    out += text_of(gate.close())
    assert isinstance(gate.error, ZeroDivisionError)
    assert out == f"<think>{GOOD} {REPLACED} And so</think>{GOOD} {GOOD}"


def test_the_verdict_so_far_where_the_monitor_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, whether the monitor broke before or breaks at the question; the gate goes on."""
    monitor = scripted_monitor()
    gate = Gate(monitor, "stop")
    gate.feed(f"<think>{GOOD} {GOOD}")
    with monkeypatch.context() as broken:
        broken.setattr(monitor, "answers", lambda _: 1 / 0)
        said = gate.so_far()
        assert (said.assessed, said.not_assessed and said.not_assessed.reason) == (
            "partial",
            "classifier_failed",
        )
    assert gate.error is None
    assert text_of(gate.feed(f" {BAD} {GOOD}")) == f" {GOOD} "
    assert gate.so_far().flagged
    monkeypatch.setattr(monitor, "answers", lambda _: 1 / 0)
    gate = Gate(monitor, "observe")
    gate.feed(RAW)
    said = gate.so_far()
    assert (said.assessed, said.not_assessed and said.not_assessed.reason) == ("none", "classifier_failed")


def test_a_monitor_that_cannot_even_conclude(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a verdict in any case: nothing was assessed."""
    monitor = scripted_monitor()
    gate = Gate(monitor, "observe", id="t")
    gate.feed(RAW)
    monkeypatch.setattr(monitor, "conclude", lambda *_: 1 / 0)
    gate.close()
    assert (verdict_of(gate).id, verdict_of(gate).assessed, verdict_of(gate).flagged) == ("t", "none", None)


def test_the_callback_is_told_once() -> None:
    """One event for each channel and cause, with the step and what was done."""
    events: list[GateEvent] = []
    gate = Gate(scripted_monitor(), Policy(action="flag", callback=events.append), id="t")
    run(gate, [f"<think>{DRIFT} [nan] Hm.</think>{DRIFT}"])
    assert [(e.cause, e.action, e.channel) for e in events] == [
        ("alarm", "flag", "reasoning"),
        ("alarm", "flag", "answer"),
        ("unjudged", "observe", "reasoning"),
    ]
    assert events[0].id == "t"
    assert events[0].step is not None
    assert events[0].step.label == "harm"


def test_the_callback_may_raise() -> None:
    """An error of one's own reaches the caller, and the gate can still be closed."""

    class Refused(Exception):
        """A caller's own."""

    def refuse(_: GateEvent) -> None:
        raise Refused

    gate = Gate(scripted_monitor(), Policy(action="stop", callback=refuse))
    with pytest.raises(Refused):
        gate.feed(RAW)
    assert gate.close() == []
    assert verdict_of(gate).flagged


@pytest.mark.parametrize("action", ["observe", "flag"])
def test_closed_lets_nothing_out_unjudged(action: Action) -> None:
    """A policy that is closed has text wait, whatever its action; what is flagged then leaves."""
    gate = Gate(scripted_monitor(), Policy(action=action, on_error="closed"))
    assert gate.feed("<think>[neutral] One is") == [Piece(None, "<think>")]
    out = [*gate.feed(f" fine. {BAD} {BAD} [crash] Then"), *gate.feed(f" this. {GOOD}"), *gate.close()]
    assert text_of(out) == f"{GOOD} {BAD} {BAD} "
    assert gate.stopped
    assert gate.flagged


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (Policy(), f"<think>{GOOD} And this. Too."),
        (Policy(on_error="closed"), f"<think>{GOOD}"),
        (Policy(action="redact"), f"<think>{GOOD}"),
        (Policy(action="redact", on_error="open"), f"<think>{GOOD} And this. Too."),
        (Policy(action="divert", diversion="Sorry."), f"<think>{GOOD}\n</think>\n\nSorry."),
    ],
    ids=["open", "closed", "redact", "redact, open", "divert"],
)
def test_what_is_no_text_is_as_good_as_unjudged(policy: Policy, left: str) -> None:
    """`refuse` ends the generation where the policy is closed, and the callback hears of it once."""
    events: list[GateEvent] = []
    gate = Gate(scripted_monitor(), policy.model_copy(update={"callback": events.append}))
    out = [*gate.feed(f"<think>{GOOD} And this."), *gate.refuse("no text"), *gate.refuse("no text")]
    out += gate.feed(" Too.")
    assert text_of([*out, *gate.close()]).rstrip() == left
    assert [(event.cause, event.detail) for event in events] == [("unjudged", "no text")]
    assert gate.stopped == (left != f"<think>{GOOD} And this. Too.")
