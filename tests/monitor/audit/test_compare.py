"""Two audits side by side: the change, its interval, and which prompts moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.classifiers.contract import Probabilities, StepInput
from undertow.errors import InputError, UsageError
from undertow.monitor.audit.compare import compare, paired_change
from undertow.monitor.intervals import wilson
from undertow.monitor.monitor import Monitor
from undertow.testing import ScriptedClassifier, scripted_monitor

Jsonl = Callable[..., Path]

SAFE, DRIFT = "All is well.", "Let me zorp the thing."


def row(prompt: str, reasoning: str, **more: object) -> dict[str, object]:
    """Return a row that answers a prompt."""
    return {"prompt": prompt, "reasoning": reasoning, "answer": "Yes.", **more}


class Percent(ScriptedClassifier):
    """Judges a step by the percentage in its text."""

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return one row of probabilities per step, shape (n, 4)."""
        risks = np.array([float(step.text.split("%")[0].split()[-1]) / 100 for step in steps])
        return np.column_stack([1 - risks, 0 * risks, risks, 0 * risks])


def test_the_highest_risk_is_that_of_any_channel(jsonl: Jsonl) -> None:
    """The answer's too, though a verdict's own risk is that of the reasoning, which comes first."""
    monitor = scripted_monitor(Percent())
    before = [row("a", "Now 20% so.", answer="Then 30% so."), row("b", "Now 10% so.", answer="Then 10% so.")]
    after = [row("a", "Now 90% so.", answer="Then 99% so."), row("b", "Now 95% so.", answer="Then 10% so.")]
    result = compare(jsonl(*after), jsonl(*before, name="base.jsonl"), monitor=monitor)
    assert [(one.id, one.risk) for one in result.after.worst] == [("t:0", 0.99), ("t:1", 0.95)]
    assert result.risk_change == pytest.approx((0.69 + 0.85) / 2)


def test_the_change_is_of_pairs(jsonl: Jsonl, monitor: Monitor) -> None:
    """Traces of the same prompt are put together; the change is the mean of the prompts' changes."""
    before = [row("a", SAFE), row("b", SAFE), row("c", DRIFT), row("d", SAFE), row("only", DRIFT)]
    after = [row("d", SAFE), row("b", DRIFT, id="b!"), row("a", DRIFT, id="a!"), row("c", SAFE, id="c!")]
    told: list[str] = []
    result = compare(
        jsonl(*after),
        jsonl(*before, name="base.jsonl"),
        monitor=monitor,
        each=lambda record, verdict: told.append(verdict.id),
    )
    assert (result.prompts, result.only_before, result.only_after, result.not_judged) == (4, 1, 0, 0)
    assert (result.rate_before, result.rate_after, result.change) == (0.25, 0.5, 0.25)
    assert (result.newly, result.no_longer, result.worse) == (2, 1, False)
    assert [(one.after.id, one.change) for one in result.moved] == [("b!", 1.0), ("a!", 1.0), ("c!", -1.0)]
    low, high = result.interval
    assert low < 0 and high > 0.25
    assert result.risk_change == pytest.approx(0.24, abs=0.01)
    assert result.quadrants["unsafe-reasoning/safe-answer"] == pytest.approx(2 / 4 - 2 / 5)
    assert (result.after.records, result.before.records) == (4, 5)
    assert told == ["t:0", "b!", "a!", "c!"]


def test_several_traces_of_a_prompt(jsonl: Jsonl, monitor: Monitor) -> None:
    """Samples of one prompt count as shares of it, however many each side has, equal ids or not."""
    before = [row("a", SAFE, id="x"), row("b", SAFE, id="x")]
    after = [
        row("a", SAFE, id="x"),
        row("a", DRIFT, id="x"),
        row("b", DRIFT),
        row("b", DRIFT),
        row("b", SAFE),
    ]
    result = compare(jsonl(*after), jsonl(*before, name="base.jsonl"), monitor=monitor)
    assert result.rate_after == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert [(one.after.flagged, one.after.traces) for one in result.moved] == [(2, 3), (1, 2)]


def test_without_prompts_ids_are_paired(jsonl: Jsonl, monitor: Monitor) -> None:
    """Where the prompts are not known the ids tell what belongs together."""
    before = [{"id": "1", "reasoning": SAFE}, {"id": "2", "reasoning": SAFE}]
    after = [{"id": "2", "reasoning": DRIFT}, {"id": "3", "reasoning": SAFE}]
    result = compare(jsonl(*after), jsonl(*before, name="base.jsonl"), monitor=monitor)
    assert (result.prompts, result.only_before, result.only_after, result.change) == (1, 1, 1, 1.0)


def test_what_was_not_judged_is_not_safe(jsonl: Jsonl, monitor: Monitor) -> None:
    """A trace that could not be judged is left out and counted; it is no evidence of a change."""
    before = [row("a", DRIFT), row("b", SAFE)]
    after = [row("a", "This is unjudgeable.", answer=None), row("b", SAFE), b"{"]
    result = compare(jsonl(*after), jsonl(*before, name="base.jsonl"), monitor=monitor)
    assert (result.prompts, result.not_judged, result.change, result.moved) == (1, 2, 0.0, ())


def test_nothing_in_common(jsonl: Jsonl, monitor: Monitor) -> None:
    """Audits of different prompts cannot be compared, and the error says what might help."""
    with pytest.raises(InputError, match="prompt=FIELD"):
        compare(jsonl(row("a", SAFE)), jsonl(row("b", SAFE), name="base.jsonl"), monitor=monitor)


def test_a_calibration_is_of_both(jsonl: Jsonl, monitor: Monitor) -> None:
    """The thresholds that are asked for are those of both sides."""
    strict = monitor.calibration.model_copy(update={"statistics": (50.0,) * 99})
    files = jsonl(row("a", DRIFT)), jsonl(row("a", DRIFT), name="base.jsonl")
    result = compare(*files, classifier=monitor.classifier, calibration=strict)
    assert (result.rate_after, result.rate_before) == (0, 0)
    assert result.after.monitor.threshold == result.before.monitor.threshold == 50


def test_the_other_side_may_be_a_pipe(jsonl: Jsonl, monitor: Monitor, tmp_path: Path) -> None:
    """A pipe can be read only once: the check of the outputs leaves it alone."""
    base = jsonl(row("a", SAFE), name="base.jsonl")
    end, begin = os.pipe()
    os.write(begin, base.read_bytes())
    os.close(begin)
    pipe = f"/dev/fd/{end}"  # as a shell writes <(…)
    result = compare(jsonl(row("a", DRIFT)), pipe, monitor=monitor, out=tmp_path / "v.jsonl")
    os.close(end)
    assert (result.prompts, result.newly) == (1, 1)


@pytest.mark.parametrize("option", ["out", "report"])
def test_the_other_side_is_not_overwritten(jsonl: Jsonl, monitor: Monitor, option: str) -> None:
    """What is written takes the place of no input, of either side; nothing is judged before that is said."""
    base = jsonl(row("a", SAFE), name="base.jsonl")
    before, told = base.read_bytes(), []
    with pytest.raises(UsageError, match="one of the inputs"):
        options: dict[str, Any] = {option: base, "progress": lambda *_: told.append(1)}
        compare(jsonl(row("a", DRIFT)), [base], monitor=monitor, **options)
    assert (base.read_bytes(), told) == (before, [])


@pytest.mark.parametrize(
    "table", [(10, 5, 20, 65), (0, 0, 30, 70), (50, 0, 0, 50), (1, 1, 1, 1), (0, 0, 0, 20)], ids=str
)
def test_of_single_traces_it_is_newcombes_interval(table: tuple[int, int, int, int]) -> None:
    """With a trace a prompt the interval is the published one, from the counts of the four-fold table."""
    both, new, old, neither = table
    pairs = [(1, 1)] * both + [(1, 0)] * new + [(0, 1)] * old + [(0, 0)] * neither
    n = len(pairs)
    after, before = (np.array([[pair[side], 1] for pair in pairs], dtype=float) for side in (0, 1))
    p, q = (both + new) / n, (both + old) / n
    (lp, up), (lq, uq) = wilson(both + new, n), wilson(both + old, n)
    margins = (both + new) * (old + neither) * (both + old) * (new + neither)
    odds = both * neither - new * old
    corrected = max(odds - n / 2, 0.0) if odds > 0 else odds
    phi = corrected / sqrt(margins) if margins else 0.0
    low = p - q - sqrt((p - lp) ** 2 - 2 * phi * (p - lp) * (uq - q) + (uq - q) ** 2)
    high = p - q + sqrt((up - p) ** 2 - 2 * phi * (up - p) * (q - lq) + (q - lq) ** 2)
    assert paired_change(after, before) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("flagged", [0, 3, 6])
def test_few_pairs_that_agree_prove_little(flagged: int) -> None:
    """Six prompts of which none changed leave room for a change."""
    same = np.array([[n < flagged, 1] for n in range(6)], dtype=float)
    low, high = paired_change(same, same)
    assert low == pytest.approx(-high)
    assert high > 0.1


def test_the_interval_holds_the_truth() -> None:
    """Over made-up studies with several traces a prompt, about 95 % of the intervals hold the true change."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        base = random.beta(0.5, 2.0, size=60)
        risk = np.clip(base * 1.5, 0, 1)
        true = risk.mean() - base.mean()
        after, before = (
            np.stack([random.binomial(k, shares), k], axis=1).astype(float)
            for k, shares in ((random.integers(1, 9, 60), risk), (random.integers(1, 9, 60), base))
        )
        low, high = paired_change(after, before)
        held += low <= true <= high
    assert held / 600 > 0.93
