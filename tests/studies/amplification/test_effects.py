"""Effect sizes: the papers' arithmetic, and what they do at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.errors import UsageError
from undertow.studies.amplification.effects import (
    AMPLIFICATION,
    COUPLING,
    compare,
    contrast,
    effects,
    interaction,
)
from undertow.studies.amplification.estimate import Estimate
from undertow.studies.amplification.paired import bootstrap, permutation
from undertow.studies.amplification.rates import Rates, by_prompt, counted, smoothed, whole_rows

FIRST_PAPER = ((96, 100), (78, 100), (2, 100), (8, 100))
"""Harmful answers of the reasoning and of the other model, after the attack and before."""


def rounded(estimate: Estimate, digits: int) -> tuple[float, float, float]:
    """Value, low and high as a paper prints them."""
    return round(estimate.value, digits), round(estimate.low, digits), round(estimate.high, digits)


def test_first_paper_interaction() -> None:
    """Its cells give 24 points [13, 35], 4.9 times the ratio [1.07, 22.7], 28.8 times the odds [4.2, 198]."""
    found = interaction(*FIRST_PAPER)
    assert rounded(found.difference, 2) == (0.24, 0.13, 0.35)
    assert round(found.ratio.value, 1) == 4.9
    assert round(found.ratio.low, 2) == 1.07
    assert round(found.ratio.high, 1) == 22.7
    assert rounded(found.odds, 1)[:2] == (28.8, 4.2)
    assert round(found.odds.high) == 198


def test_first_paper_within_states() -> None:
    """After the attack 18.0 points [8.9, 27.4] and a ratio of 1.23 [1.10, 1.38]; before -6.0 [-13.1, 0.3]."""
    after, before = compare(*FIRST_PAPER[:2]), compare(*FIRST_PAPER[2:])
    assert rounded(after.difference, 3) == (0.18, 0.089, 0.274)
    assert rounded(after.ratio, 2) == (1.23, 1.10, 1.38)
    assert rounded(before.difference, 3) == (-0.06, -0.131, 0.003)


@pytest.mark.parametrize(
    ("n", "safe_on", "safe_off", "expected"),
    [
        pytest.param(313, 19.2, 95.2, (76.0, 70.5, 80.4), id="1.5B StrongReject"),
        pytest.param(313, 36.4, 99.7, (63.3, 57.6, 68.4), id="7B StrongReject"),
        pytest.param(313, 46.6, 99.7, (53.0, 47.3, 58.5), id="8B StrongReject"),
        pytest.param(250, 48.8, 96.8, (48.0, 41.1, 54.3), id="8B WildJailbreak"),
    ],
)
def test_safechain_intervals(
    n: int, safe_on: float, safe_off: float, expected: tuple[float, float, float]
) -> None:
    """SafeChain's shares give the risk differences, thinking against none, with their intervals."""
    harmful = [n - round(n * safe / 100) for safe in (safe_on, safe_off)]
    found = rounded(compare((harmful[0], n), (harmful[1], n)).difference, 5)
    assert tuple(100 * part for part in found) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("n", "safe_on", "safe_off", "expected"),
    [
        pytest.param(313, 42.8, 99.7, 56.9, id="14B StrongReject"),
        pytest.param(313, 50.5, 99.7, 49.2, id="32B StrongReject"),
        pytest.param(313, 55.3, 99.7, 44.4, id="70B StrongReject"),
        pytest.param(250, 48.8, 92.8, 44.0, id="1.5B WildJailbreak"),
        pytest.param(250, 49.6, 89.2, 39.6, id="7B WildJailbreak"),
        pytest.param(250, 54.8, 97.6, 42.8, id="14B WildJailbreak"),
        pytest.param(250, 57.2, 98.8, 41.6, id="32B WildJailbreak"),
        pytest.param(250, 67.2, 98.8, 31.6, id="70B WildJailbreak"),
    ],
)
def test_safechain_differences(n: int, safe_on: float, safe_off: float, expected: float) -> None:
    """The rest of SafeChain's table gives its differences, and each interval lies above zero."""
    harmful = [n - round(n * safe / 100) for safe in (safe_on, safe_off)]
    found = compare((harmful[0], n), (harmful[1], n)).difference
    assert 100 * found.value == pytest.approx(expected, abs=0.06)
    assert found.above(0)


def test_empty_cells_get_haldanes_half() -> None:
    """Without a harmful answer in one arm, half an answer is added to both sides of each arm."""
    found = compare((10, 50), (0, 50))
    assert found.ratio.value == pytest.approx((10.5 / 51) / (0.5 / 51))
    assert found.odds.value == pytest.approx((10.5 / 40.5) / (0.5 / 50.5))
    assert found.difference.value == pytest.approx(0.2)
    assert np.isfinite([found.ratio.low, found.ratio.high, found.odds.low, found.odds.high]).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=4, max_size=4))
def test_values_lie_in_their_intervals(harmful: list[int]) -> None:
    """Whatever the counts, intervals are ordered and hold their value; swapping the arms mirrors them."""
    a, b, c, d = ((h, 40) for h in harmful)
    for found in (interaction(a, b, c, d), compare(a, b)):
        assert all(one.low <= one.value <= one.high for one in found)
    forth, back = compare(a, b), compare(b, a)
    assert forth.difference.low == pytest.approx(-back.difference.high, abs=1e-9)
    assert forth.odds.low == pytest.approx(1 / back.odds.high)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_paired_intervals_hold_their_value(counts: list[tuple[int, int]]) -> None:
    """Clustered intervals are ordered and wider than nothing, also where no prompt is harmed."""
    for found in effects(smoothed(np.array(counts) / 3, samples=3), AMPLIFICATION):
        assert found.low <= found.value <= found.high
        assert found.low < found.high


def test_pairing_narrows_the_interval() -> None:
    """Arms that agree on most prompts give a narrower interval than unrelated arms of the same rates."""
    off = np.repeat([1.0, 0.0], 50)
    on = off.copy()
    on[50:60] = 1
    alone = compare((60, 100), (50, 100)).difference
    together = effects(smoothed(np.column_stack([on, off])), AMPLIFICATION).difference
    assert together.value == pytest.approx(alone.value)
    assert together.high - together.low < 0.6 * (alone.high - alone.low)


def test_repeating_the_answers_of_a_prompt_adds_nothing() -> None:
    """Copies of every answer are no new evidence: the interval is as wide as before."""
    table = np.random.default_rng(0).integers(0, 2, (40, 4)).astype(float)
    prompts = np.repeat(np.arange(40), 8).tolist()
    arms = ["a", "b", "c", "d"] * 80
    names, means, sizes = by_prompt(prompts, arms, np.tile(table, (1, 2)).ravel(), ["a", "b", "c", "d"])
    assert names == list(range(40))
    assert (sizes == 2).all()
    once, twice = effects(smoothed(table), COUPLING), effects(smoothed(means), COUPLING)
    assert once == twice


def test_the_order_of_the_records_does_not_matter() -> None:
    """Resampling meets the prompts in the same order, however the files are sorted."""
    harm = np.random.default_rng(0).integers(0, 2, 80).astype(float)
    prompts, arms = [f"p{i // 2}" for i in range(80)], ["on", "off"] * 40
    order = np.random.default_rng(1).permutation(80).tolist()
    first = by_prompt(prompts, arms, harm, ["on", "off"])
    other = by_prompt([prompts[i] for i in order], [arms[i] for i in order], harm[order], ["on", "off"])
    assert first[0] == other[0]
    assert permutation(first[1], resamples=99) == permutation(other[1], resamples=99)
    assert bootstrap(first[1], resamples=99) == bootstrap(other[1], resamples=99)


def test_missing_answers_stay_missing() -> None:
    """What could not be judged counts neither as harm nor as safe; an empty cell is NaN."""
    prompts, arms = ["p", "p", "p", "q", "r"], ["on", "on", "off", "on", "elsewhere"]
    names, means, sizes = by_prompt(prompts, arms, [1, np.nan, 0, np.nan, 1], ["on", "off"])
    assert names == ["p", "q", "r"]
    assert sizes.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert means[0].tolist() == [1, 0]
    assert np.isnan(means[1:]).all()
    assert whole_rows(means).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param([[0, 1]], id="one prompt"),
        pytest.param([[0, 1], [0, np.nan]], id="a gap"),
        pytest.param([[0, 1], [0, 5]], id="a score from 1 to 5"),
        pytest.param([0, 1, 1], id="one arm without its axis"),
    ],
)
def test_tables_that_cannot_be(harm: object) -> None:
    """What is no complete table of shares is refused."""
    with pytest.raises(UsageError, match="harm must"):
        smoothed(np.array(harm, float))


@pytest.mark.parametrize(("harmful", "of"), [((3, 1), (2, 5)), ((-1, 1), (2, 5)), ((0, 0), (0, 5))])
def test_counts_that_cannot_be(harmful: tuple[int, int], of: tuple[int, int]) -> None:
    """More harmful answers than answers, fewer than none, or none to count from are refused."""
    with pytest.raises(UsageError, match="counts"):
        counted(harmful, of)


def test_rates_outside_one_give_no_odds() -> None:
    """A corrected rate below 0 has a difference; its ratio and odds are unknown, not a number."""
    values = np.array([0.3, -0.02])
    rates = Rates(values, values, np.diag([0.001, 0.001]), 100, "made up", 99, corrected=True)
    difference, ratio, odds = effects(rates, AMPLIFICATION)
    assert difference.value == pytest.approx(0.32)
    assert not ratio.known
    assert not odds.known
    assert (odds.low, odds.high) == (-np.inf, np.inf)


def test_a_rate_near_zero_has_an_open_ratio() -> None:
    """Where a corrected rate cannot be told from 0, the ratio to it has no upper bound."""
    values = np.array([0.3, 0.02])
    found = contrast(
        Rates(values, values, np.diag([1e-3, 1e-3]), 100, "made up", 99, corrected=True), (1, -1), "ratio"
    )
    assert found.high == np.inf
    assert 1 < found.low < found.value
