"""Dose and response: how the chance of refusal changes with each further sentence of reasoning.

In the data, every sentence prefix of a trace was given back to the model and an answer
forced there, so P(refuse | prefix) is observed, not inferred. Each trace is a line of JSON with

    reasoning, prefixes [[end, refused 0/1, answer length], …], and prompt and id if known

where `end` is the prefix's end in the reasoning, in characters; 0 is the answer without reasoning.

Prefixes of one trace are dependent, and so are traces of one prompt: every interval is from a
bootstrap that draws whole prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...classifiers.rows import read_rows
from ...errors import InputError
from .estimate import Estimate, unknown
from .rates import Floats

__all__ = ["PrefixTrace", "curve", "draw_prompts", "first_and_last", "percentiles", "read_prefixes"]

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class PrefixTrace:
    """One reasoning, and the answers forced after each of its prefixes."""

    id: str
    prompt: str
    reasoning: str
    ends: tuple[int, ...]
    """The end of each prefix in the reasoning, in characters, ascending."""
    refused: tuple[bool, ...]

    @property
    def steps(self) -> list[str]:
        """The text that each prefix adds to the previous one; for the first, all of its text."""
        return [self.reasoning[a:b] for a, b in zip((0, *self.ends), self.ends, strict=False)]


def read_prefixes(path: Path) -> list[PrefixTrace]:
    """Read traces with forced answers from JSON Lines, optionally compressed with gzip.

    Raises:
        InputError: The file cannot be read, or a row, named in the message, is not such a trace.
    """
    what = "an object with `reasoning` and `prefixes` [[end, refused 0 or 1, …], …]"
    traces = list(read_rows(path, _trace, what))
    if not traces:
        raise InputError(f"no traces in {path}")
    return traces


def _trace(row: Any, number: int) -> PrefixTrace:
    reasoning, prefixes = str(row["reasoning"]), row["prefixes"]
    ends = tuple(int(prefix[0]) for prefix in prefixes)
    refused = tuple({0: False, 1: True}[prefix[1]] for prefix in prefixes)
    if not ends or list(ends) != sorted(set(ends)) or ends[0] < 0 or ends[-1] > len(reasoning):
        raise ValueError("the ends of the prefixes do not ascend within the reasoning")
    name = str(row.get("id", number))
    return PrefixTrace(name, str(row.get("prompt") or name), reasoning, ends, refused)


def curve(traces: Sequence[PrefixTrace], bins: int = 10, *, by: str = "characters") -> list[Estimate]:
    """Return P(refuse | prefix) by the share of the reasoning that the prefix holds.

    Prefixes are pooled within a bin; the interval is from a bootstrap over prompts. The two
    ends, no reasoning and all of it, are not part of the curve: `first_and_last` has them.

    Args:
        traces: The traces.
        bins: The number of equal parts of the relative position; each includes its lower end.
        by: The unit of position: `characters`, or `steps` (the prefix's number).
    """
    hits, counts = np.zeros((2, len(traces), bins))
    for row, trace in enumerate(traces):
        position = _position(trace, by)
        inside = (position > 0) & (position < 1)
        place = (position[inside] * bins).astype(int)
        np.add.at(counts[row], place, 1)
        np.add.at(hits[row], place, np.array(trace.refused, float)[inside])
    return _shares(hits, counts, [trace.prompt for trace in traces])


def first_and_last(traces: Sequence[PrefixTrace]) -> list[Estimate]:
    """Return P(refuse) without any reasoning (from empty first prefixes), and after all of it."""
    hits = np.array([[trace.refused[0], trace.refused[-1]] for trace in traces], float)
    empty = [trace.ends[0] == 0 for trace in traces]
    counts = np.array([[bare, 1.0] for bare in empty])
    return _shares(hits * counts, counts, [trace.prompt for trace in traces])


def _position(trace: PrefixTrace, by: str) -> Floats:
    if by == "steps":
        return np.arange(len(trace.ends)) / max(1, len(trace.ends) - 1)
    return np.array(trace.ends) / max(1, len(trace.reasoning))


def _shares(hits: Floats, counts: Floats, prompts: Sequence[str]) -> list[Estimate]:
    """Return pooled shares by column, shape (traces, columns), with bootstrap intervals over prompts."""
    names, of = np.unique(prompts, return_inverse=True)
    by_prompt = [np.zeros((len(names), hits.shape[1])) for _ in range(2)]
    for total, part in zip(by_prompt, (hits, counts), strict=True):
        np.add.at(total, of, part)
    weights = draw_prompts(len(names))
    with np.errstate(invalid="ignore"):
        drawn = (weights @ by_prompt[0]) / (weights @ by_prompt[1])
    return [
        percentiles(h / c, column, n) if c else unknown("no prefix there", 0)
        for h, c, column, n in zip(
            hits.sum(0), counts.sum(0), drawn.T, (by_prompt[1] > 0).sum(0).tolist(), strict=True
        )
    ]


def draw_prompts(prompts: int) -> Floats:
    """Return how often each prompt is drawn, shape (resamples, prompts)."""
    drawn = np.random.default_rng(0).multinomial(prompts, np.full(prompts, 1 / prompts), RESAMPLES)
    return drawn.astype(float)


def percentiles(value: float, drawn: Floats, n: int) -> Estimate:
    """Return a value with the percentile interval of its bootstrap draws, shape (resamples,)."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high), "bootstrap over prompts", n)
