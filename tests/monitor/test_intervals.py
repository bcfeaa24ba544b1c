"""Quantiles of counts are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.monitor.intervals import quantile


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.floats(0, 1))
def test_a_quantile_is_numpys(counts: list[int], share: float) -> None:
    """Interpolated between two values: what papers, numpy and pandas call the median is what we show."""
    values = np.repeat(np.arange(len(counts)), counts)
    expected = float(np.quantile(values, share)) if len(values) else None
    assert quantile(counts, share) == pytest.approx(expected, abs=1e-9)


def test_the_median_of_two_is_their_mean() -> None:
    """And not the lower of them."""
    assert quantile([1, 0, 1], 0.5) == 1.0
