"""Run a probe inside a monitored `generate`: it reads the model's states at the ends of the steps.

The states are captured as the model computes them, so nothing is run twice, and each is kept only
until the step that it belongs to is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...classifiers.activations import blocks
from ...classifiers.contract import LABELS, Channel
from ...classifiers.probe import ProbeClassifier
from ...classifiers.registry import load_classifier
from ...errors import UsageError
from ..verdict import LabelProbabilities, StepVerdict, TraceVerdict
from .rows import Row

__all__ = ["Probing", "Scores", "probe_for"]

Scores = tuple[LabelProbabilities | None, ...]
"""The probe's probabilities for each step of a verdict, in order; None if there was no state to read."""


def probe_for(probe: Any, model: Any, tokenizer: Any) -> ProbeClassifier:
    """Return a probe for a model.

    Args:
        probe: the probe, or the folder it was saved in.
        model: the model that is to be monitored.
        tokenizer: the model's tokenizer.

    Raises:
        UsageError: it is not a probe, or it belongs to another model.
    """
    made = probe if hasattr(probe, "predict_proba") else load_classifier(probe)
    if not isinstance(made, ProbeClassifier):
        raise UsageError(f"{made.name} is not a probe: give a ProbeClassifier, or the folder of one")
    return made.attach(model, tokenizer)


class Probing:
    """Probes one call of `generate`; a context manager around it.

    Calls may run at once, each in a thread of its own or inside another: each reads its own states.
    """

    def __init__(self, probe: ProbeClassifier, model: Any) -> None:
        self._probe = probe
        self._block = blocks(model)[probe.layer - 1]
        self._hook: Any = None
        self._before: Token[Probing | None] | None = None
        self._states: dict[int, Any] = {}
        """States, shape (rows, width), by the number of the new token that each was computed for."""
        self._next: int | None = None
        self._rows: list[_Reading] = []

    def begin(self, rows: Sequence[Row]) -> None:
        """Start reading: the prompt has been processed, and these are the rows."""
        self._next = 0
        self._rows = [_Reading(row) for row in rows]

    def read(self) -> None:
        """Judge the steps that have ended since the last call, and drop states that are no longer needed."""
        any_found = False
        for number, reading in enumerate(self._rows):
            found = reading.due(self._states)
            if found:
                any_found = True
                states = np.stack([self._state(token, number) for token, _ in found])
                for (_, step), row in zip(found, self._probe.judge_states(states), strict=True):
                    shares = dict(zip(LABELS, row.round(6).tolist(), strict=True))
                    reading.scores[step.channel, step.index] = LabelProbabilities(**shares)
        if any_found:
            kept = {token for token in self._states if any(one.needs(token) for one in self._rows)}
            self._states = {token: self._states[token] for token in kept}

    def scores(self, row: int, verdict: TraceVerdict) -> Scores:
        """Return the probe's probabilities for the steps of a row's verdict."""
        scores = self._rows[row].scores
        return tuple(scores.get((step.channel, step.index)) for step in verdict.steps)

    def _state(self, token: int, row: int) -> Any:
        return self._states[token][row].float().cpu().numpy()

    def _keep(self, module: Any, given: Any, output: Any) -> None:
        if self._next is not None and _READING.get() is self:
            states = output[0] if isinstance(output, tuple) else output
            self._states[self._next] = states[:, -1].detach().clone()
            self._next += 1

    def __enter__(self) -> Self:
        self._before = _READING.set(self)
        self._hook = self._block.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()
        if self._before is not None:
            _READING.reset(self._before)
        self._states.clear()


_READING: ContextVar[Probing | None] = ContextVar("_READING", default=None)
"""What reads the call that runs in this thread."""


class _Reading:
    """Tracks which steps of one row have been probed."""

    def __init__(self, row: Row) -> None:
        self.scores: dict[tuple[Channel, int], LabelProbabilities] = {}
        self._oldest = 0
        self._row = row
        self._seen: dict[Channel, int] = {}
        self._open: list[tuple[int, StepVerdict]] = []

    def due(self, states: dict[int, Any]) -> list[tuple[int, StepVerdict]]:
        """Return the steps whose state is available now, each with its last token."""
        gate = self._row.gate
        for channel, judge in gate.channels.items():
            for step in judge.steps[self._seen.get(channel, 0) :]:
                token = self._row.token_at(gate.place(channel, step.end))
                self._open.append((token, step))
                self._oldest = max(self._oldest, token)
            self._seen[channel] = len(judge.steps)
        found = [(token, step) for token, step in self._open if token in states]
        self._open = [one for one in self._open if one[0] not in states]
        return found

    def needs(self, token: int) -> bool:
        """Whether the state of a token may still be needed."""
        ahead = token >= self._oldest and not (self._row.over and token >= self._row.taken)
        return ahead or any(token == waiting for waiting, _ in self._open)
