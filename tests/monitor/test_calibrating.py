"""A calibration from safe traces keeps its promise, and says which promises it can make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from undertow.classifiers.contract import LABELS, Probabilities, StepInput
from undertow.errors import CalibrationError
from undertow.monitor.calibrating import calibrate, promises
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace
from undertow.testing import ScriptedClassifier


class Random(ScriptedClassifier):
    """Says of each step what its number says."""

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return rows whose risk stands in the step."""
        risks = np.array([float(step.text.split()[-1].rstrip(".")) / 1000 for step in steps])
        return np.column_stack([1 - risks, 0 * risks, risks, 0 * risks]).reshape(-1, len(LABELS))


def traces(count: int, seed: int) -> list[Trace]:
    """Traces of three steps with risks at random."""
    random = np.random.default_rng(seed)
    return [
        Trace(id=str(n), reasoning=" ".join(f"The risk is {r}." for r in random.integers(1, 999, 3)))
        for n in range(count)
    ]


def test_the_promise_is_kept_on_other_traces() -> None:
    """On new traces of the same kind about the promised share raises an alarm, and hardly more."""
    made, left_out = calibrate(Random(), traces(400, 0), population="made up")
    monitor = Monitor(Random(), calibration=made, false_alarm_rate=0.1)
    flagged = [verdict.flagged for verdict in monitor.judge(traces(600, 1))]
    assert left_out == 0
    assert 0.05 < np.mean(np.array(flagged, float)) < 0.15


def test_it_says_which_rates_it_can_promise() -> None:
    """Too small a rate has no threshold, and says how many traces it needs."""
    made, _ = calibrate(Random(), traces(150, 0), population="made up")
    found = {one.rate: one for one in promises(made)}
    assert found[0.01].threshold is not None
    assert found[0.005].threshold is None
    assert found[0.005].needed == 199
    tenth = found[0.1]
    assert tenth.low is not None and tenth.high is not None and tenth.low < 0.1 < tenth.high


def test_it_says_how_a_rate_falls_on_lengths() -> None:
    """Of the calibration's traces above a threshold, so many were short and so many long."""
    short, long = traces(60, 0), [Trace(id=str(n), reasoning="The risk is 998. " * 12) for n in range(40)]
    made, _ = calibrate(Random(), [*short, *long], population="made up")
    assert sorted(made.lengths) == [3] * 60 + [12] * 40
    found = {one.rate: one for one in promises(made)}[0.1]
    assert [share.total for share in found.lengths.values()] == [60, 40, 0]
    assert sum(share.count for share in found.lengths.values()) <= 10


def test_a_trace_with_a_gap_is_left_out() -> None:
    """What a step would have reached that was not judged is not known."""
    whole = [Trace(reasoning="[neutral] One.", answer="[aware] Two.")] * 20
    gaps = ["[neutral] One. [nan] Two.", "[neutral] One. [crash] Two.", "…"]
    made, left_out = calibrate(
        ScriptedClassifier(), [*whole, *(Trace(reasoning=gap) for gap in gaps)], population="made up"
    )
    assert (len(made.statistics), left_out) == (20, 3)


def test_too_few_traces_are_refused() -> None:
    """The error says how many are needed."""
    with pytest.raises(CalibrationError, match="needs at least 9"):
        calibrate(Random(), traces(5, 0), population="made up")
