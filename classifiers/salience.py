"""Decide which earlier steps a classifier remembers: those that are risky when read alone.

A classifier that remembers every step can be talked round: after an assurance that all is legal, or some
innocent sentences before each unsafe step, the unsafe step looks better than it is. A classifier that
remembers only the steps that count against a trace cannot: a step that is not remembered does not affect
later ones, unless there are so many that they push others out of the `HISTORY` steps that are considered.
The price is that the steps that speak for a trace are forgotten as well.

Whether a step is remembered depends only on the step, its request and its channel, so it is judged once.
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
    """Removes the steps that are not to be remembered from histories.

    Args:
        judge: returns the rows of steps; it is given steps without history.
        bound: the risk above which a step is remembered. A step that cannot be judged is not
            remembered: it holds nothing that could be read.
    """

    def __init__(self, judge: Callable[[Sequence[StepInput]], Probabilities], bound: float = SALIENT) -> None:
        self._judge, self._bound = judge, bound
        self._known: Recent[StepInput, bool] = Recent(16384)

    def __call__(self, steps: Sequence[StepInput], /) -> list[StepInput]:
        """Return the steps with only the remembered part of their histories, at most `REMEMBERED` steps."""
        before: dict[_Request, dict[str, bool]] = {}
        for step in steps:
            before.setdefault((step.prompt, step.channel), {}).update(
                dict.fromkeys(step.history[-HISTORY:], False)
            )
        for request, texts in before.items():
            texts.update(zip(texts, self.salient(alone(texts, *request)), strict=True))
        return [_with(step, before[step.prompt, step.channel]) for step in steps]

    def salient(self, steps: Sequence[StepInput], /) -> list[bool]:
        """Return whether each of these steps, which have no history, is to be remembered."""
        known = {step: self._known.find(step) for step in steps}
        new = [step for step, found in known.items() if found is None]
        if new:
            risks = risk_of(self._judge(new)).tolist()
            for step, risk in zip(new, risks, strict=True):
                known[step] = risk > self._bound
                self._known.keep(step, risk > self._bound)
        return [bool(known[step]) for step in steps]


def alone(texts: Iterable[str], prompt: str, channel: Channel = "reasoning") -> list[StepInput]:
    """Return each text as a step with the request and no history."""
    return [StepInput(text, prompt, (), channel) for text in texts]


def _with(step: StepInput, remembered: dict[str, bool]) -> StepInput:
    if not step.history:
        return step
    kept = [text for text in step.history[-HISTORY:] if remembered[text]]
    return replace(step, history=tuple(kept[-REMEMBERED:]))
