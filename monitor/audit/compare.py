"""Compare two audits: did the share of flagged traces change, by how much, and for which prompts?

The two sides may be a base and a fine-tuned model, or before and after a change. Traces that answer the same
request are matched by their prompt, any number per side, or by their id if the prompt is unknown. A trace
that could not be judged is not compared; it is counted, and never treated as safe.

The interval of the change is Newcombe's for paired shares (Newcombe, "Improved confidence intervals for
the difference between binomial proportions based on paired data", 1998, method 10: the correlation is
corrected for continuity, since otherwise a few pairs that all agree would count as proof that nothing
changed). If a prompt has several traces, these are not independent: the interval of each side is widened
by its design effect (Kish), and the correlation is that of the shares per prompt.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import sqrt
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from ...classifiers.registry import DEFAULT
from ...errors import InputError, UsageError
from ..intervals import wilson
from ..monitor import Monitor
from ..trace import Frozen, Origin, Trace
from ..verdict import Quadrant, TraceVerdict
from .finding import find_kept
from .run import Each, audit, target
from .sources import Record
from .summary import AuditResult

__all__ = ["Comparison", "Moved", "Side", "compare", "paired_change"]

_MOST = 10


class Side(Frozen):
    """The traces of one prompt in one of the two audits."""

    traces: int
    flagged: int
    id: str
    """The id of the first trace."""
    origin: Origin
    risk: float
    """The highest step risk in these traces."""


class Moved(Frozen):
    """A prompt whose share of flagged traces changed."""

    after: Side
    before: Side
    change: float
    """The share flagged after minus the share flagged before."""


class Comparison(Frozen):
    """The change from audit `before` to audit `after`."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal["undertow.comparison/1"] = Field(default="undertow.comparison/1", alias="schema")
    after: AuditResult
    before: AuditResult
    prompts: int
    """Number of requests with judged traces in both audits; the change is computed over these."""
    only_after: int
    only_before: int
    """Number of requests with judged traces in one audit only."""
    not_judged: int
    """Number of traces in both audits that could not be judged; they are not compared."""
    rate_after: float
    rate_before: float
    """Mean over the prompts of the share of their traces that is flagged."""
    change: float
    """`rate_after` minus `rate_before`."""
    interval: tuple[float, float]
    """95 % interval of `change`."""
    newly: int
    """Number of prompts with a larger share flagged after than before."""
    no_longer: int
    """Number of prompts with a smaller share flagged after than before."""
    risk_change: float
    """Mean over the prompts of the change of their highest risk."""
    quadrants: dict[Quadrant, float]
    """Change of each quadrant's share among the traces that have a quadrant."""
    moved: tuple[Moved, ...]
    """The prompts whose share increased most or decreased least, in that order; at most ten."""

    @property
    def worse(self) -> bool:
        """Whether the share flagged increased by more than chance explains."""
        return self.interval[0] > 0


def compare(
    paths: Iterable[str | Path] | str | Path,
    against: Iterable[str | Path] | str | Path,
    *,
    monitor: Monitor | None = None,
    each: Each | None = None,
    **options: Any,
) -> Comparison:
    """Audit two sets of transcripts with the same monitor, and compare the results.

    Memory grows with the number of distinct prompts, by a few hundred bytes each.

    Args:
        paths: The transcripts of interest, such as those of a fine-tuned model.
        against: The transcripts to compare with, such as those of the base model.
        monitor: As for `audit`.
        each: Called with each record of `paths` and its verdict.
        options: Further arguments of `audit`. Those that write a file apply to `paths` only.

    Raises:
        UsageError: The engine is not local.
        InputError: As for `audit`, or the two sets have no prompt and no id in common.
    """
    if options.get("engine", "local") != "local":  # the comparison is computed from the calls of `each`
        raise UsageError(
            "only the engine local compares: leave out engine (--engine), or against (--against)"
        )
    base = [against] if isinstance(against, str | Path) else list(against)
    places = find_kept(base)
    for name in ("out", "report", "cache"):
        target(options.get(name), places)  # outputs must not overwrite the transcripts compared with
    own = ("classifier", "false_alarm_rate", "calibration")
    made = {name: options.pop(name) for name in own if name in options}
    judge = monitor or Monitor(made.pop("classifier", DEFAULT), **made)
    shared = ("format", "mapping", "cache", "cache_size", "workers", "progress")
    of_both = {name: options[name] for name in shared if name in options}
    before, after = _Sides(), _Sides()
    first = audit(base, monitor=judge, each=before.add, **of_both)

    def both(record: Record, verdict: TraceVerdict) -> None:
        after.add(record, verdict)
        if each is not None:
            each(record, verdict)

    second = audit(paths, monitor=judge, each=both, **options)
    return _comparison(second, first, after, before)


@dataclass
class _Sides:
    """The results of one audit, by prompt."""

    by_key: dict[bytes, Side] = field(default_factory=dict)
    not_judged: int = 0

    def add(self, record: Record, verdict: TraceVerdict) -> None:
        risk = verdict.highest_risk
        if verdict.flagged is None or risk is None:
            self.not_judged += 1
            return
        key = _key(record)
        old = self.by_key.get(key)
        self.by_key[key] = Side(
            traces=(old.traces if old else 0) + 1,
            flagged=(old.flagged if old else 0) + verdict.flagged,
            id=old.id if old else verdict.id,
            origin=old.origin if old else verdict.origin,
            risk=max(risk, old.risk if old else 0.0),
        )


def _key(record: Record) -> bytes:
    """Return a key that all traces of the same request share."""
    prompt = record.prompt.strip() if isinstance(record, Trace) else ""
    own = f"prompt {prompt}" if prompt else f"id {record.id}"
    return blake2b(own.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _comparison(after: AuditResult, before: AuditResult, sides: _Sides, others: _Sides) -> Comparison:
    common = [(side, others.by_key[key]) for key, side in sides.by_key.items() if key in others.by_key]
    if not common:
        raise InputError(
            "nothing to compare: no judged traces of the two audits have the same prompt or id; if the "
            "prompt is in another field, name it with `--map prompt=FIELD`"
        )
    new, old = (
        np.array([[s.flagged, s.traces] for s in part], dtype=float) for part in zip(*common, strict=True)
    )
    interval = paired_change(new, old)
    shares = new[:, 0] / new[:, 1], old[:, 0] / old[:, 1]
    moved = [
        Moved(after=a, before=b, change=round(float(x - y), 6))
        for (a, b), x, y in zip(common, *shares, strict=True)
        if x != y
    ]
    risks = [a.risk - b.risk for a, b in common]
    return Comparison(
        after=after,
        before=before,
        prompts=len(common),
        only_after=len(sides.by_key) - len(common),
        only_before=len(others.by_key) - len(common),
        not_judged=sides.not_judged + others.not_judged,
        rate_after=round(float(shares[0].mean()), 6),
        rate_before=round(float(shares[1].mean()), 6),
        change=round(float(shares[0].mean() - shares[1].mean()), 6),
        interval=interval,
        newly=sum(one.change > 0 for one in moved),
        no_longer=sum(one.change < 0 for one in moved),
        risk_change=round(float(np.mean(risks)), 6),
        quadrants=_quadrants(after.quadrants, before.quadrants),
        moved=tuple(
            heapq.nlargest(_MOST, moved, key=lambda one: (one.change, one.after.risk - one.before.risk))
        ),
    )


def paired_change(after: NDArray[np.float64], before: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the change of a paired share.

    Args:
        after: Number of flagged traces and of all traces per prompt; shape (prompts, 2).
        before: The same for the same prompts before.
    """
    x, y = after[:, 0] / after[:, 1], before[:, 0] / before[:, 1]
    (p, low_p, high_p), (q, low_q, high_q) = _one(x, after[:, 1]), _one(y, before[:, 1])
    spread = float(x.std() * y.std())
    shared = float(((x - x.mean()) * (y - y.mean())).mean())
    if shared > 0:
        shared = max(shared - 0.5 / len(x), 0.0)
    phi = shared / spread if spread > 0 else 0.0
    down = (p - low_p) ** 2 - 2 * phi * (p - low_p) * (high_q - q) + (high_q - q) ** 2
    up = (high_p - p) ** 2 - 2 * phi * (high_p - p) * (q - low_q) + (q - low_q) ** 2
    return round(p - q - sqrt(max(down, 0.0)), 6), round(p - q + sqrt(max(up, 0.0)), 6)


def _one(shares: NDArray[np.float64], traces: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean share over the prompts, with Wilson's interval for the effective number of traces."""
    rate, prompts, total = float(shares.mean()), len(shares), float(traces.sum())
    alone = rate * (1 - rate) / total  # the variance if all traces were independent
    grouped = float(shares.var()) / prompts
    worth = total * min(1.0, alone / grouped) if grouped > 0 else float(prompts)
    low, high = wilson(rate * worth, worth)
    return rate, low, high


def _quadrants(after: Mapping[Quadrant, int], before: Mapping[Quadrant, int]) -> dict[Quadrant, float]:
    new, old = Counter(after), Counter(before)
    if not (new.total() and old.total()):
        return {}
    names = [name for name in get_args(Quadrant) if new[name] or old[name]]
    return {name: round(new[name] / new.total() - old[name] / old.total(), 6) for name in names}
