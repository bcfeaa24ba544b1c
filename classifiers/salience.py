"""Which of the steps before are remembered: those that are risky when they are read alone.

Who remembers everything can be talked round: an assurance that all is legal, or some innocent sentences
before each unsafe step, and what follows looks better than it is. A classifier that remembers only what
counts against a trace cannot: a step that is not remembered changes nothing after it, unless there are so
many that they push others out of the `HISTORY` steps that are looked at. The price is that it forgets as
well what speaks for a trace.

Whether a step is remembered depends on it and its request alone, so it is asked once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from .contract import HISTORY, REMEMBERED, Channel, Probabilities, StepInput, risk_of
from .recent import Recent

__all__ = ["SALIENT", "Salience", "alone"]

SALIENT = 0.3
"""The risk of a step, read alone by `step-encoder`, above which it is remembered."""

_Request: TypeAlias = tuple[str, Channel]


class Salience:
    """Takes out of histories what is not to be remembered.

    Args:
        judge: gives the rows of steps; it is asked without any history.
        bound: the risk above which a step is remembered. One that cannot be judged is not: there is
            nothing in it that could be read.
    """

    def __init__(self, judge: Callable[[Sequence[StepInput]], Probabilities], bound: float = SALIENT) -> None:
        self._judge, self._bound = judge, bound
        self._known: Recent[StepInput, bool] = Recent(16384)

    def __call__(self, steps: Sequence[StepInput], /) -> list[StepInput]:
        """Return the steps with what is remembered of their histories, `REMEMBERED` at most."""
        before: dict[_Request, dict[str, bool]] = {}
        for step in steps:
            before.setdefault((step.prompt, step.channel), {}).update(
                dict.fromkeys(step.history[-HISTORY:], False)
            )
        for request, texts in before.items():
            texts.update(zip(texts, self.salient(alone(texts, *request)), strict=True))
        return [_with(step, before[step.prompt, step.channel]) for step in steps]

    def salient(self, steps: Sequence[StepInput], /) -> list[bool]:
        """Return which of some steps without history are remembered."""
        known = {step: self._known.find(step) for step in steps}
        new = [step for step, found in known.items() if found is None]
        if new:
            risks = risk_of(self._judge(new)).tolist()
            for step, risk in zip(new, risks, strict=True):
                known[step] = risk > self._bound
                self._known.keep(step, risk > self._bound)
        return [bool(known[step]) for step in steps]


def alone(texts: Iterable[str], prompt: str, channel: Channel = "reasoning") -> list[StepInput]:
    """Return texts as steps beside a request, with nothing before them."""
    return [StepInput(text, prompt, (), channel) for text in texts]


def _with(step: StepInput, remembered: dict[str, bool]) -> StepInput:
    if not step.history:
        return step
    kept = [text for text in step.history[-HISTORY:] if remembered[text]]
    return replace(step, history=tuple(kept[-REMEMBERED:]))
