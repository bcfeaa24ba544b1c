"""The gate: what leaves, when, and that nothing which was held back slips out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from sys import modules
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from undertow.classifiers.contract import Channel, Probabilities, StepInput
from undertow.errors import UsageError
from undertow.monitor.gate import Gate
from undertow.monitor.holdback import Piece
from undertow.monitor.policy import Action, GateEvent, Policy
from undertow.monitor.steps import segment
from undertow.monitor.trace import Trace
from undertow.testing import ScriptedClassifier, scripted_monitor

gates: Any = modules["gates"]  # it stands beside this file
ACTIONS, HOLDING, GOOD, BAD = gates.ACTIONS, gates.HOLDING, gates.GOOD, gates.BAD
DRIFT, RAW, REPLACED, chunks = gates.DRIFT, gates.RAW, gates.REPLACED, gates.chunks
run, text_of, verdict_of, audited = gates.run, gates.text_of, gates.verdict_of, gates.audited
Counting = gates.Counting


@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("observe", RAW),
        ("flag", RAW),
        ("redact", RAW.replace(f"{BAD} {BAD}", REPLACED)),
        ("stop", f"<think>{GOOD} "),
        ("divert", f"<think>{GOOD} \n</think>\n\nSorry."),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_what_leaves(action: Action, left: str, seed: int) -> None:
    """Each action lets out what it should, however the text is cut."""
    gate = Gate(scripted_monitor(), Policy(action=action, diversion="Sorry."))
    assert text_of(run(gate, chunks(RAW, seed))) == left
    assert (gate.stopped, gate.diverted, gate.flagged) == (action == "stop", action == "divert", True)
    assert verdict_of(gate).flagged


@pytest.mark.parametrize("action", HOLDING)
def test_text_with_its_tags_after_a_known_channel(action: Action) -> None:
    """It is held back where it stands in the channel, behind what was fed before it."""
    deltas: list[str | tuple[Channel, str]] = [("answer", f"{GOOD} {GOOD} "), f"{GOOD} {BAD} {GOOD}"]
    gate = Gate(scripted_monitor(), Policy(action=action, diversion="Sorry."))
    left = text_of(run(gate, deltas))
    assert left.startswith(f"{GOOD} {GOOD} {GOOD} ")
    assert "Zorp" not in left
    assert verdict_of(gate).flagged


@pytest.mark.parametrize("action", HOLDING)
def test_flagged_text_is_never_out(action: Action) -> None:
    """Character by character: what left never holds a character of a flagged step, or of one not judged."""
    gate, out = Gate(scripted_monitor(), action), ""
    for character in RAW:
        out += text_of(gate.feed(character))
        assert "[harm]" not in out
        judged = max(
            [RAW.index(GOOD) + step.end for step in gate.steps if step.channel == "reasoning"] or [0]
        )
        assert len(out) <= max(judged, len("<think>")) or gate.flagged


def test_text_leaves_as_soon_as_it_was_judged() -> None:
    """A calm step leaves before the text ends, and the reasoning's end with the answer's beginning."""
    gate = Gate(scripted_monitor(), "stop")
    assert text_of(gate.feed(f"<think>{GOOD} [neutral] Tw")) == f"<think>{GOOD}"
    assert text_of(gate.feed("o.</think>[neutral] O")) == " [neutral] Two.</think>"
    assert text_of(gate.close()) == "[neutral] O"


@pytest.mark.parametrize("action", ["observe", "flag"])
def test_watching_changes_nothing(action: Action) -> None:
    """Under observe and flag each delta is one piece, unchanged."""
    gate = Gate(scripted_monitor(), action)
    deltas = chunks(RAW, 3)
    assert [gate.feed(delta) for delta in deltas] == [[Piece(None, delta)] for delta in deltas]
    assert gate.close() == []


TEXTS = st.lists(
    st.sampled_from(
        [
            *(f"[{label}] A step. " for label in ("neutral", "aware", "drift", "harm", "nan")),
            *("<think>", "</think>", "\n\n", "Hm", " ```\n", "<thi", "3.5 ", "x" * 1500),
        ]
    ),
    max_size=14,
).map("".join)


@settings(deadline=None, max_examples=60)
@given(
    TEXTS, st.integers(0, 99), st.sampled_from(("observe", "flag")), st.sampled_from((None, "deepseek-r1"))
)
def test_the_verdict_is_the_audits(raw: str, seed: int, action: Action, model: str | None) -> None:
    """Whatever the text and the deltas, a gate that lets all through says what the audit says."""
    monitor = scripted_monitor()
    gate = Gate(monitor, action, model=model)
    assert text_of(run(gate, chunks(raw, seed))) == raw
    assert verdict_of(gate) == audited(monitor, raw, model)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(0, 99), st.sampled_from((None, "deepseek-r1")), st.sampled_from(("open", "closed")))
@example("[neutral] A step. [harm] A step. [neutral] A step. </think>[neutral] A step. ", 1, None, "open")
@example(f"[harm] A step. {'x' * 1500}</think><think>", 0, None, "open")
def test_redaction(raw: str, seed: int, model: str | None, on_error: str) -> None:
    """The verdict is the audit's; no flagged step leaves; all else does; the deltas do not matter."""
    policy = Policy.model_validate({"action": "redact", "on_error": on_error, "replacement": "█"})
    monitor = scripted_monitor()
    gate = Gate(monitor, policy, model=model)
    left = text_of(run(gate, chunks(raw, seed)))
    verdict = verdict_of(gate)
    assert verdict == audited(monitor, raw, model)
    kept = iter(raw)
    assert all(character in kept for character in left.replace("█", ""))  # in order: a subsequence
    told = model is not None or "<think>" in raw.partition("</think>")[0]
    if not told and not all("[" in step.text for step in segment(raw)):
        return  # nothing told the channel: what has no label may leave, judged as answer (docs/wrap.md)
    assert left == text_of(run(Gate(monitor, policy, model=model), [raw]))
    gap = verdict.not_assessed.reason if verdict.not_assessed else None
    unjudged = gap in ("classifier_failed", "declined")
    assert ("█" in left) == (bool(verdict.flagged) or (unjudged and on_error == "closed"))
    assert verdict.flagged or "█" in left or left == raw


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(0, 99), st.integers(0, 3))
def test_where_it_stops(raw: str, seed: int, hold_back: int) -> None:
    """What a stop lets out does not depend on the deltas, and is the beginning of the text."""
    policy = Policy(action="stop", hold_back=hold_back)
    gate, whole = (Gate(scripted_monitor(), policy, model="deepseek-r1") for _ in range(2))
    left = text_of(run(gate, chunks(raw, seed)))
    assert left == text_of(run(whole, [raw]))
    assert raw.startswith(left)
    assert gate.stopped or left == raw


def test_the_end_of_the_reasoning_is_judged_before_the_answer_leaves() -> None:
    """A drift in the last step of the reasoning stops the answer, with tags and with structured fields."""
    tagged: list[str | tuple[Channel, str]] = [f"<think>{GOOD} {BAD}", "</think>", "Here", " it is"]
    structured: list[str | tuple[Channel, str]] = [("reasoning", f"{GOOD} {BAD}"), ("answer", "Here it is")]
    for deltas in (tagged, structured):
        gate = Gate(scripted_monitor(), "stop")
        assert "Here" not in text_of(run(gate, deltas))
        assert gate.stopped


def test_pieces_keep_their_channel() -> None:
    """Text that was fed by channel leaves by channel, in its order, also where it goes back and forth."""
    gate = Gate(scripted_monitor(), "redact")
    deltas: list[str | tuple[Channel, str]] = [
        ("reasoning", f"{GOOD} [neutral] The sec"),
        ("answer", "[neutral] First. "),
        ("reasoning", "ond. "),
        ("answer", BAD),
    ]
    left = [(channel, text_of([*run_])) for channel, run_ in groupby(run(gate, deltas), lambda p: p.channel)]
    assert left == [*deltas[:3], ("answer", REPLACED)]


@pytest.mark.parametrize("action", HOLDING)
def test_structured_verdicts_are_the_audits(action: Action) -> None:
    """Texts that an API keeps apart get the audit's verdict, and looking ahead does not change it."""
    monitor = scripted_monitor()
    gate = Gate(monitor, action, id="a", prompt="p")
    run(
        gate,
        [*(("reasoning", d) for d in chunks(GOOD * 9, 1)), *(("answer", d) for d in chunks(GOOD * 9, 2))],
    )
    (verdict,) = monitor.judge([Trace(id="a", prompt="p", reasoning=GOOD * 9, answer=GOOD * 9)])
    assert verdict_of(gate) == verdict


@pytest.mark.parametrize("blocks", [True, False], ids=["in blocks", "in one go"])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_answer_before_the_reasoning(*, action: Action, blocks: bool) -> None:
    """Text of which no tag told its channel is judged, and stands, before what came in channels after it."""
    first, thought, bad = f"{GOOD} [neutral] It goes on. ", f"{GOOD} ", f"{BAD} {BAD} {GOOD}"
    monitor = scripted_monitor()
    gate = Gate(monitor, Policy(action=action, diversion="Sorry."))
    left: list[Piece] = []
    deltas: list[tuple[str, Channel | None]] = [(first, None), (thought, "reasoning"), (bad, "answer")]
    for delta in deltas:
        left += [*gate.feed(*delta), *(gate.pause() if blocks else ())]
    left += gate.close()
    ends = {"redact": bad.replace(f"{BAD} {BAD}", REPLACED), "stop": "", "divert": "Sorry."}
    assert text_of(left) == first + thought + ends.get(action, bad)
    (verdict,) = monitor.judge([Trace(reasoning=thought, answer=first + bad)])
    assert verdict_of(gate) == verdict


def test_the_beginning_of_a_tag_before_the_reasoning() -> None:
    """What might have become a tag keeps its place as well."""
    gate = Gate(scripted_monitor(), "redact")
    left = run(gate, [f"<think>{GOOD}</think>a <", ("reasoning", GOOD), ("answer", "b")])
    assert (text_of(left), gate.trace.answer) == (f"<think>{GOOD}</think>a <{GOOD}b", "a <b")


def test_a_policy_for_each_channel() -> None:
    """Reasoning is only watched, the answer is stopped."""
    gate = Gate(scripted_monitor(), Policy(answer="stop"))
    assert text_of(run(gate, [f"<think>{DRIFT}</think>{GOOD} {BAD}"])) == f"<think>{DRIFT}</think>{GOOD} "
    assert gate.stopped


@pytest.mark.parametrize(("hold_back", "left"), [(0, 3), (1, 2), (9, 0)])
def test_hold_back_keeps_the_onset_in(hold_back: int, left: int) -> None:
    """With steps held back, what leads up to the alarm from the onset on does not leave either."""
    weak, monitor = "[weak] Zorp a bit.", scripted_monitor(_Weak(), threshold=2.0)
    gate = Gate(monitor, Policy(action="stop", hold_back=hold_back))
    out = text_of(run(gate, list(f"{GOOD} {weak} {weak} {weak} {BAD}")))
    assert out == f"{GOOD} " + f"{weak} " * left


class _Weak(ScriptedClassifier):
    """Finds a step marked `[weak]` suspect, but not enough for an alarm."""

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        rows = super().predict_proba(steps)
        for row, step in zip(rows, steps, strict=True):
            if "[weak]" in step.text:
                row[:] = (0.2, 0.1, 0.4, 0.3)
        return rows


class TestTextOfUnknownChannel:
    """While nothing tells which channel a text is, it is judged as what it would be in the end."""

    def test_it_streams(self) -> None:
        """A plain answer of an unknown model does not wait for its end."""
        gate = Gate(scripted_monitor(), "stop")
        assert text_of(gate.feed(f"{GOOD} [neutral] Two.")) == GOOD
        assert text_of(gate.close()) == " [neutral] Two."

    def test_it_is_stopped(self) -> None:
        """A drift in it stops it where it is, and the verdict says so."""
        gate = Gate(scripted_monitor(), "stop")
        assert text_of(run(gate, list(f"{GOOD} {BAD} {GOOD}"))) == f"{GOOD} "
        assert verdict_of(gate).flagged

    @pytest.mark.parametrize("policy", [Policy(action="redact"), Policy(reasoning="redact")])
    def test_a_lone_closing_tag_turns_it_into_reasoning(self, policy: Policy) -> None:
        """The verdict is the audit's, the flagged text did not leave, and all else did."""
        monitor = scripted_monitor()
        raw = f"{GOOD} {BAD} {GOOD}</think>{GOOD}"
        gate = Gate(monitor, policy)
        assert text_of(run(gate, list(raw))) == raw.replace(BAD, REPLACED)
        assert verdict_of(gate) == audited(monitor, raw)
        assert {step.channel for step in gate.steps} == {"reasoning", "answer"}

    def test_its_steps_are_seen_live(self) -> None:
        """A watcher need not wait for the end."""
        gate = Gate(scripted_monitor(), "observe")
        gate.feed(f"{GOOD} {BAD} And")
        assert [step.label for step in gate.steps] == ["neutral", "harm"]
        assert gate.flagged


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "raw",
    [f"<think>{GOOD} Hm. {GOOD}</think>{GOOD} Yes.", f"{GOOD} Hm. {GOOD} Yes.", f"<think>{GOOD}</think>"],
    ids=["reasoning", "answer alone", "reasoning alone"],
)
def test_each_step_is_asked_once(action: Action, raw: str) -> None:
    """Looking ahead costs no judgement that is made again later."""
    classifier = Counting()
    gate = Gate(scripted_monitor(classifier, threshold=9.0), action)
    run(gate, list(raw))
    assert len(classifier.asked) == len(verdict_of(gate).steps)


class TestDiversion:
    """The generation is turned."""

    @pytest.mark.parametrize(
        ("model", "closing"),
        [("deepseek-r1", "</think>"), ("seed-oss", "</seed:think>"), ("magistral", "[/THINK]")],
    )
    def test_it_closes_the_reasoning_as_the_model_does(self, model: str, closing: str) -> None:
        """The mark that ends the reasoning is the profile's."""
        opening = closing.replace("/", "")
        gate = Gate(scripted_monitor(), Policy(action="divert", diversion="Sorry."), model=model)
        assert text_of(run(gate, [f"{opening}{BAD} {BAD}"])).endswith(f"\n{closing}\n\nSorry.")

    @pytest.mark.parametrize("rest", ["</think>", "</thi", f"</think>{GOOD}"])
    def test_nothing_fed_before_follows_it(self, rest: str) -> None:
        """What came in one delta with the flagged step stays in, tags and the beginnings of tags too."""
        gate = Gate(scripted_monitor(), Policy(action="divert", diversion="Sorry."))
        assert (
            text_of(run(gate, [f"<think>{GOOD} {BAD} {GOOD}{rest}"])) == f"<think>{GOOD} \n</think>\n\nSorry."
        )

    def test_a_function_gives_the_answer(self) -> None:
        """It gets the request, and may be a second call to a model."""
        policy = Policy(action="divert", diversion=lambda prompt: f"Not {prompt}.")
        gate = Gate(scripted_monitor(), policy, prompt="zorping")
        deltas: list[str | tuple[Channel, str]] = [("reasoning", f"{BAD} And"), ("answer", "Here")]
        assert run(gate, deltas) == [Piece("answer", "Not zorping.")]

    def test_a_function_that_fails_still_diverts(self) -> None:
        """The plain answer takes its place, and the callback is told."""
        events: list[GateEvent] = []
        policy = Policy(action="divert", diversion=lambda _: str(1 / 0), callback=events.append)
        assert "I can't help" in text_of(run(Gate(scripted_monitor(), policy), [RAW]))
        assert [event.cause for event in events] == ["alarm", "failed"]

    def test_what_follows_is_judged(self) -> None:
        """The new continuation passes as answer, until it is flagged itself."""
        gate = Gate(scripted_monitor(), "divert", model="deepseek-r1")
        gate.feed(f"{BAD} And")
        assert gate.diverted
        assert text_of(gate.feed(f"{GOOD} {GOOD} [ha")) == f"{GOOD} {GOOD}"
        assert text_of(gate.feed(f"rm] Zorp. {GOOD}")) == " "
        assert gate.stopped
        gate.close()
        assert verdict_of(gate).quadrant == "unsafe-reasoning/unsafe-answer"


def test_a_stop_inside_the_reasoning_is_an_end_inside_the_reasoning() -> None:
    """What was cut off by the policy was not judged, and the verdict says so."""
    deltas: list[str | tuple[Channel, str]] = [f"<think>{BAD} And", ("reasoning", f"{BAD} And")]
    for delta in deltas:
        gate = Gate(scripted_monitor(), "stop")
        run(gate, [delta])
        problem = verdict_of(gate).not_assessed
        assert problem is not None
        assert problem.reason == "truncated"


@settings(deadline=None, max_examples=40)
@given(TEXTS, st.integers(0, 99), st.sampled_from(ACTIONS), st.sampled_from((None, "deepseek-r1")))
def test_the_verdict_so_far(raw: str, seed: int, action: Action, model: str | None) -> None:
    """At any time it is that of what was fed, as if it ended there, and asking for it changes nothing."""
    monitor = scripted_monitor()
    asked, alone = (Gate(monitor, action, model=model) for _ in range(2))
    fed = ""
    for delta in chunks(raw, seed):
        assert asked.feed(delta) == alone.feed(delta)
        fed += delta
        if asked.stopped or asked.diverted:
            break
        assert asked.so_far() == audited(monitor, fed, model)
    before = asked.so_far()
    assert asked.close() == alone.close()
    assert verdict_of(asked) == verdict_of(alone) == asked.so_far()
    assert before.steps[: len(before.steps)] == verdict_of(asked).steps


def test_nothing_is_fed_to_a_closed_gate() -> None:
    """It says so; closing twice does no harm."""
    gate = Gate(scripted_monitor(), "observe")
    gate.close()
    assert gate.close() == []
    with pytest.raises(UsageError, match="closed"):
        gate.feed("x")


def test_what_comes_after_a_stop_goes_nowhere() -> None:
    """An upstream that has not noticed yet does no harm."""
    gate = Gate(scripted_monitor(), "stop")
    gate.feed(RAW)
    assert gate.feed(f"{GOOD} [harm] After.") == []
    assert gate.close() == []
    assert verdict_of(gate).steps[-1].end == len(f"{GOOD} [neutral] Two is fine.")
