"""What the tests of gates share: texts with a drift in them, and ways to feed them."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

from undertow.classifiers.contract import Channel, Probabilities, StepInput
from undertow.monitor.gate import Gate
from undertow.monitor.holdback import Piece
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Action
from undertow.monitor.reasoning import parse
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.testing import ScriptedClassifier

__all__ = [
    "ACTIONS",
    "BAD",
    "DRIFT",
    "GOOD",
    "HOLDING",
    "RAW",
    "REPLACED",
    "Counting",
    "audited",
    "chunks",
    "run",
    "text_of",
    "verdict_of",
]

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


class Counting(ScriptedClassifier):
    """Notes what it was asked, and in which thread."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the rows."""
        self.asked += [step.text for step in steps]
        self.threads.add(threading.get_ident())
        return super().predict_proba(steps)
