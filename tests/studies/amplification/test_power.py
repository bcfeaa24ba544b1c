"""The planner's sample sizes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from undertow.errors import UsageError
from undertow.studies.amplification.power import exact_power, prompts_needed

PAPERS = [
    pytest.param(0.20, 0.02, 51, id="20 and 2 %"),
    pytest.param(0.15, 0.05, 155, id="15 and 5 %"),
    pytest.param(0.08, 0.03, 343, id="8 and 3 %"),
    pytest.param(0.10, 0.05, 469, id="10 and 5 %"),
]


@pytest.mark.parametrize(("more", "less", "prompts"), PAPERS)
def test_published_sizes(more: float, less: float, prompts: int) -> None:
    """Connor's formula gives the published numbers; the exact test falls short of 80 % with them."""
    assert prompts_needed(more, less, convention="connor") == prompts
    assert 0.75 < exact_power(prompts, more, less) < 0.8


@pytest.mark.parametrize(("more", "less", "prompts"), PAPERS)
def test_exact_sizes_suffice_from_there_on(more: float, less: float, prompts: int) -> None:
    """The exact number has the power, as have all above it, and one prompt fewer has not."""
    needed = prompts_needed(more, less)
    assert prompts < needed < 1.15 * prompts
    assert exact_power(needed - 1, more, less) < 0.8
    assert min(exact_power(needed + extra, more, less) for extra in range(30)) >= 0.8


def test_power_by_enumeration() -> None:
    """For a dozen prompts the power is the sum over all tables of those that the test rejects."""
    n, more, less = 12, 0.5, 0.1
    expected = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            if stats.binomtest(a, a + b).pvalue <= 0.05 if a + b else False:
                expected += stats.multinomial.pmf([a, b, n - a - b], n, [more, less, 1 - more - less])
    assert exact_power(n, more, less) == pytest.approx(expected)


def test_power_without_effect_is_the_level_at_most() -> None:
    """Where the arms are alike, the test rejects in at most 5 % of studies, of any size."""
    assert max(exact_power(n, 0.1, 0.1) for n in (5, 20, 80, 300)) <= 0.05
    assert exact_power(50, 0.0, 0.0) == 0


def test_power_by_simulation() -> None:
    """Drawn studies reject as often as computed."""
    rng = np.random.default_rng(0)
    split = rng.multinomial(80, [0.2, 0.05, 0.75], size=4000)
    pvalues = stats.binom.cdf(split[:, :2].min(axis=1), split[:, :2].sum(axis=1), 0.5) * 2
    assert np.mean(pvalues <= 0.05) == pytest.approx(exact_power(80, 0.2, 0.05), abs=0.025)


@pytest.mark.parametrize(
    ("more", "less", "power"),
    [
        (0.1, 0.1, 0.8), (0.7, 0.4, 0.8), (-0.1, 0.2, 0.8), (0.2, 0.1, 1.0), (0.1, 0.0999, 0.8),
        (float("nan"), 0.1, 0.8), (0.15, 0.05, 1 - 1e-16),
    ],
)  # fmt: skip
def test_plans_that_cannot_be(more: float, less: float, power: float) -> None:
    """No difference, impossible shares, certainty, or more prompts than anyone has: refused."""
    with pytest.raises(UsageError):
        prompts_needed(more, less, power)
