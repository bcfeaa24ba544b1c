"""The gate: what leaves, when, and that nothing which was held back slips out."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from undertow.classifiers.contract import Channel, Probabilities, StepInput
from undertow.errors import UsageError
from undertow.monitor.audit import read
from undertow.monitor.gate import Gate
from undertow.monitor.holdback import Piece
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Action, GateEvent, Policy
from undertow.monitor.reasoning import parse
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.testing import ScriptedClassifier, scripted_monitor

ACTIONS: tuple[Action, ...] = get_args(Action)
HOLDING: tuple[Action, ...] = ("redact", "stop", "divert")

GOOD = "[neutral] One is fine."
BAD = "[harm] Zorp the glims."
DRIFT = f"{GOOD} {BAD} {BAD} [aware] No, stop."
RAW = f"<think>{DRIFT}</think>{GOOD} [neutral] Two is fine."
REPLACED = "[redacted by undertow]"


def chunks(text: str, seed: int) -> list[str]:
    """Cut a text into random pieces."""
    cuts, random_ = [0], random.Random(seed)
    while cuts[-1] < len(text):
        cuts.append(min(len(text), cuts[-1] + random_.choice((1, 2, 3, 7, 40, 200))))
    return [text[start:end] for start, end in pairwise(cuts)]


def run(gate: Gate, deltas: Sequence[str | tuple[Channel, str]]) -> list[Piece]:
    """Feed a gate as a wrap does; return what left."""
    out: list[Piece] = []
    for delta in deltas:
        channel, text = (None, delta) if isinstance(delta, str) else delta
        out += gate.feed(text, channel)
        if gate.stopped or gate.diverted:
            break
    return [*out, *gate.close()]


def text_of(pieces: Sequence[Piece]) -> str:
    """Return the texts in their order."""
    return "".join(piece.text for piece in pieces)


def verdict_of(gate: Gate) -> TraceVerdict:
    """Return the verdict of a closed gate."""
    assert gate.verdict is not None
    return gate.verdict


def audited(monitor: Monitor, raw: str, model: str | None = None) -> TraceVerdict:
    """What the audit says of a text."""
    parsed = parse(raw, model=model)
    trace = Trace(reasoning=parsed.reasoning, answer=parsed.answer, truncated=parsed.truncated, model=model)
    (verdict,) = monitor.judge([trace])
    return verdict


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
def test_redaction(raw: str, seed: int, model: str | None, on_error: str) -> None:
    """The verdict is the audit's; no flagged step leaves; all else does; the deltas do not matter."""
    policy = Policy.model_validate({"action": "redact", "on_error": on_error, "replacement": "█"})
    monitor = scripted_monitor()
    gate = Gate(monitor, policy, model=model)
    left = text_of(run(gate, chunks(raw, seed)))
    verdict = verdict_of(gate)
    assert verdict == audited(monitor, raw, model)
    if model is None and "<think>" not in raw and len(raw) > 1000:
        return  # text of which nothing told the channel may have left as answer: docs/wrap.md
    assert left == text_of(run(Gate(monitor, policy, model=model), [raw]))
    kept = iter(raw)
    assert all(character in kept for character in left.replace("█", ""))  # in order: a subsequence
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


class _Counting(ScriptedClassifier):
    """Notes what it was asked, and in which thread."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        self.asked += [step.text for step in steps]
        self.threads.add(threading.get_ident())
        return super().predict_proba(steps)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "raw",
    [f"<think>{GOOD} Hm. {GOOD}</think>{GOOD} Yes.", f"{GOOD} Hm. {GOOD} Yes.", f"<think>{GOOD}</think>"],
    ids=["reasoning", "answer alone", "reasoning alone"],
)
def test_each_step_is_asked_once(action: Action, raw: str) -> None:
    """Looking ahead costs no judgement that is made again later."""
    classifier = _Counting()
    gate = Gate(scripted_monitor(classifier, threshold=9.0), action)
    run(gate, list(raw))
    assert len(classifier.asked) == len(verdict_of(gate).steps)


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


@pytest.mark.parametrize("raw", [RAW, f"{GOOD} {GOOD} {GOOD}"], ids=["reasoning", "answer alone"])
@pytest.mark.parametrize("action", ["observe", "redact"])
def test_the_event_loop_never_judges(action: Action, raw: str) -> None:
    """The classifier runs in other threads than the loop's; what leaves is the same."""
    classifier = _Counting()
    gate = Gate(scripted_monitor(classifier), action)

    async def go() -> str:
        pieces = [piece for character in raw for piece in await gate.afeed(character)]
        return text_of([*pieces, *await gate.aclose()])

    assert asyncio.run(go()) == text_of(run(Gate(scripted_monitor(), action), list(raw)))
    assert threading.get_ident() not in classifier.threads
    assert classifier.threads


def test_most_deltas_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that cannot close a step is taken on the loop itself."""
    moved: list[object] = []

    async def move(call: object, *_: object) -> list[Piece]:
        moved.append(call)
        return []

    monkeypatch.setattr(asyncio, "to_thread", move)
    gate = Gate(scripted_monitor(), "redact")
    gate.feed("<think>[neutral] ")

    async def go() -> None:
        for delta in ("so", " this", " is", " one", " step"):
            await gate.afeed(delta)

    asyncio.run(go())
    assert moved == []


def test_a_cancelled_call_does_no_harm() -> None:
    """A task that is cancelled while the classifier works leaves a gate that gives its verdict."""
    entered, leave = threading.Event(), threading.Event()

    class Slow(ScriptedClassifier):
        """Waits until it is let go."""

        def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
            entered.set()
            leave.wait(10)
            return super().predict_proba(steps)

    gate = Gate(scripted_monitor(Slow()), "stop")

    async def go() -> None:
        task = asyncio.create_task(gate.afeed(RAW))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        leave.set()
        await gate.aclose()

    asyncio.run(go())
    assert verdict_of(gate).flagged


def test_parity_on_real_traces(shared: Path) -> None:
    """300 real traces, in random chunks, with tags or by channel: the audit's verdicts, to the last digit."""
    monitor = scripted_monitor()
    files = sorted((shared / "transcripts").rglob("*.jsonl"))
    traces = (trace for trace in read(files) if isinstance(trace, Trace) and trace.reasoning and trace.answer)
    chosen = [_bare(trace) for trace in islice(traces, 300)]
    assert len(chosen) == 300
    for seed, (trace, verdict) in enumerate(zip(chosen, monitor.judge(chosen), strict=True)):
        gate = Gate(monitor, "flag", prompt=trace.prompt, profile="think")
        run(gate, deltas_of(trace, seed))
        assert verdict_of(gate) == verdict


def _bare(trace: Trace) -> Trace:
    """Keep of a trace what a live call has."""
    return Trace(prompt=trace.prompt, reasoning=trace.reasoning, answer=trace.answer)


def deltas_of(trace: Trace, seed: int) -> list[str | tuple[Channel, str]]:
    """Write a trace anew: with tags, or by channel."""
    reasoning, answer = trace.reasoning or "", trace.answer or ""
    if seed % 2 == 0 and "think>" not in reasoning + answer:
        return [*chunks(f"<think>{reasoning}</think>{answer}", seed)]
    parts: tuple[tuple[Channel, str], ...] = (("reasoning", reasoning), ("answer", answer))
    return [(channel, delta) for channel, text in parts for delta in chunks(text, seed)]
