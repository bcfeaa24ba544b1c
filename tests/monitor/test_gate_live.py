"""The gate in an event loop, and real traces through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from sys import modules
from typing import Any

import pytest

from undertow.classifiers.contract import Channel, Probabilities, StepInput
from undertow.monitor.audit import read
from undertow.monitor.gate import Gate
from undertow.monitor.holdback import Piece
from undertow.monitor.policy import Action
from undertow.monitor.trace import Trace
from undertow.testing import ScriptedClassifier, scripted_monitor

gates: Any = modules["gates"]  # it stands beside this file
GOOD, RAW, chunks, run = gates.GOOD, gates.RAW, gates.chunks, gates.run
text_of, verdict_of, Counting = gates.text_of, gates.verdict_of, gates.Counting


@pytest.mark.parametrize("raw", [RAW, f"{GOOD} {GOOD} {GOOD}"], ids=["reasoning", "answer alone"])
@pytest.mark.parametrize("action", ["observe", "redact"])
def test_the_event_loop_never_judges(action: Action, raw: str) -> None:
    """The classifier runs in other threads than the loop's; what leaves is the same."""
    classifier = Counting()
    gate = Gate(scripted_monitor(classifier), action)

    async def go() -> str:
        pieces = [piece for character in raw for piece in await gate.afeed(character)]
        return str(text_of([*pieces, *await gate.aclose()]))

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
