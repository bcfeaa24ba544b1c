"""Effects with the judge's errors taken out."""

from __future__ import annotations

import numpy as np
import pytest

from undertow.errors import UsageError
from undertow.monitor.trace import Trace
from undertow.studies.amplification.compare import Comparison, compare_all
from undertow.studies.amplification.design import Design
from undertow.studies.amplification.effects import AMPLIFICATION, effects
from undertow.studies.amplification.judge_error import JudgeError, prediction_powered, rogan_gladen
from undertow.studies.amplification.load import load
from undertow.studies.amplification.rates import smoothed
from undertow.studies.amplification.simulation import World, judged

PERFECT = JudgeError(10**6, 10**6, 10**6, 10**6)


def table(prompts: int = 400) -> np.ndarray:
    """A study of two arms, one answer a prompt."""
    return np.asarray(World((-0.5, -1.5), prompts).draw(np.random.default_rng(0)).mean(axis=(1, 2)))


def test_rogan_gladen_by_hand() -> None:
    """A judge that catches 80 % and clears 90 % and reports 38 % has seen 40 %."""
    reported = np.repeat([[1.0, 0.0], [0.0, 1.0]], [38, 62], axis=0)
    judge = JudgeError(80, 100, 90, 100)
    found = rogan_gladen(smoothed(reported), judge)
    assert found.values == pytest.approx([0.4, (0.62 + 0.9 - 1) / 0.7])


def test_a_perfect_judge_changes_nothing() -> None:
    """Without errors, known well, the effects are as before."""
    rates = smoothed(table())
    before, after = effects(rates, AMPLIFICATION), effects(rogan_gladen(rates, PERFECT), AMPLIFICATION)
    assert after.difference.value == pytest.approx(before.difference.value)
    assert after.difference.low == pytest.approx(before.difference.low, abs=1e-4)


def test_less_known_judges_widen_the_interval() -> None:
    """The fewer answers people labelled, the less is known of the effect."""
    rates = smoothed(table())
    few, many = (
        effects(
            rogan_gladen(rates, [JudgeError(9 * k, 10 * k, 9 * k, 10 * k) for _ in (0, 1)]), AMPLIFICATION
        ).difference
        for k in (2, 200)
    )
    assert few.high - few.low > 1.2 * (many.high - many.low)


def test_one_judge_for_all_errs_alike_in_all() -> None:
    """If the judge errs alike in both arms, its own uncertainty partly cancels in the difference."""
    rates = smoothed(table())
    judge = JudgeError(16, 20, 18, 20)
    shared = effects(rogan_gladen(rates, judge), AMPLIFICATION).difference
    apart = effects(rogan_gladen(rates, [judge, judge]), AMPLIFICATION).difference
    assert shared.high - shared.low < apart.high - apart.low


def test_a_judge_at_chance_tells_nothing() -> None:
    """A judge not clearly better than chance leaves the effect unknown, not at 0."""
    rates = smoothed(table())
    found = effects(rogan_gladen(rates, [JudgeError(11, 20, 11, 20), PERFECT]), AMPLIFICATION)
    assert not any(one.known for one in found)


def test_correction_removes_a_manufactured_amplification() -> None:
    """A judge that calls more reasoning answers harmful by mistake makes an effect of none; both undo it."""
    rng = np.random.default_rng(5)
    truth = World((-1.2, -1.2), 600).draw(rng)[:, 0, 0, :]
    said = judged(truth, (0.9, 0.9), (0.75, 0.98), rng)
    raw = effects(smoothed(said), AMPLIFICATION).difference
    judges = [JudgeError(90, 100, 75, 100), JudgeError(90, 100, 98, 100)]
    labels = np.where(rng.random(truth.shape) < 0.25, truth, np.nan)
    prompts = [np.arange(600)] * 2
    assert raw.above(0.05)
    for rates in (rogan_gladen(smoothed(said), judges), prediction_powered(said.T, labels.T, prompts)):
        corrected = effects(rates, AMPLIFICATION).difference
        assert corrected.low < 0 < corrected.high


def test_prediction_powered_with_all_labels_is_the_truth() -> None:
    """Where people labelled everything, their word alone counts."""
    rng = np.random.default_rng(6)
    truth = table()
    said = judged(truth, (0.7, 0.7), (0.9, 0.9), rng)
    found = prediction_powered(said.T, truth.T, [np.arange(len(truth))] * 2)
    assert found.values == pytest.approx(truth.mean(axis=0))


def test_prediction_powered_beats_the_labels_alone() -> None:
    """A good judge on all answers makes the interval narrower than that from the labelled ones."""
    rng = np.random.default_rng(7)
    truth = World((-0.5, -1.5), 2000).draw(rng)[:, 0, 0, :]
    said = judged(truth, (0.97, 0.97), (0.98, 0.98), rng)
    chosen = rng.random(2000) < 0.1
    labels = np.where(chosen[:, None], truth, np.nan)
    both = effects(prediction_powered(said.T, labels.T, [np.arange(2000)] * 2), AMPLIFICATION).difference
    alone = effects(smoothed(truth[chosen]), AMPLIFICATION).difference
    assert both.high - both.low < 0.7 * (alone.high - alone.low)


def compared(*generations: tuple[str, str, int]) -> Comparison:
    """Compare arms, given prompt, mode and harm of each generation; the judge and people agree on all."""
    fields = {"prompt": "pid", "mode": "arm"}
    design = Design.model_validate(
        {
            "fields": fields,
            "assume": {"state": "base"},
            "harm": {"answer": {"field": "harm"}},
            "gold": {"answer": {"field": "gold"}},
        }
    )
    made = [
        Trace(id="t", prompt="x", answer="a", metadata={"pid": pid, "arm": arm, "harm": harm, "gold": harm})
        for pid, arm, harm in generations
    ]
    return next(one for one in compare_all(load(((one, None) for one in made), design)) if one.primary)


def test_a_correction_compares_the_same_prompts() -> None:
    """Prompts that were asked in one arm only make no effect, corrected or not."""
    both = [(f"p{i}", arm, int(i % 3 == 0)) for i in range(60) for arm in ("on", "zero")]
    found = compared(*both, *((f"q{i}", "on", 1) for i in range(60)))
    assert (found.prompts, found.left_out) == (60, 60)
    for one in found.corrected.values():
        assert one.difference.value == pytest.approx(0)
    assert found.conclusion.outcome != "supports"


def test_a_correction_weighs_every_prompt_alike() -> None:
    """A prompt with more answers than another has no more weight, as in the uncorrected effect."""
    often = [
        (f"p{i}", arm, i % 2)
        for i in range(60)
        for arm in ("on", "zero")
        for _ in range(4 if (arm == "on") == bool(i % 2) else 1)
    ]
    found = compared(*often)
    assert found.effects.difference.value == 0
    for one in found.corrected.values():
        assert one.difference.value == pytest.approx(0)


@pytest.mark.parametrize(
    "counts",
    [(11, 10, 5, 5), (1, 1, 0, 0), (0, 0, 3, 4), (-1, 3, 1, 1)],
    ids=["too many", "no safe", "no harm", "negative"],
)
def test_judge_counts_that_cannot_be(counts: tuple[int, int, int, int]) -> None:
    """A judge is known from labelled answers of both kinds."""
    with pytest.raises(UsageError):
        JudgeError(*counts)


def test_judge_counts_from_labels() -> None:
    """Caught and cleared are counted among the harmful and the harmless."""
    judge = JudgeError.of([1, 1, 0, 0, 1], [1, 1, 1, 0, 0])
    assert (judge.caught, judge.harmful, judge.cleared, judge.harmless) == (2, 3, 1, 2)
    assert (judge.sensitivity, judge.specificity) == (2 / 3, 0.5)


def test_every_arm_needs_its_judge_and_its_labels() -> None:
    """Three judges for two arms, or one labelled answer, are refused."""
    with pytest.raises(UsageError, match="3 judges"):
        rogan_gladen(smoothed(table()), [PERFECT] * 3)
    with pytest.raises(UsageError, match="two or more labelled"):
        prediction_powered([[1.0, 0.0]], [[1.0, np.nan]], [[0, 1]])
