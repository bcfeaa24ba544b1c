"""The types of every number in the study: a value with its interval, or a test with its p value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, isfinite

from ...monitor.intervals import wilson

__all__ = ["Estimate", "Test", "share", "unknown"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval.

    If it cannot be estimated, the value is NaN and the interval (-inf, inf), so it never looks like
    "no effect"; its JSON form has null instead.
    """

    value: float
    low: float
    high: float
    method: str
    """How value and interval were computed, in a few words for a table's note."""
    n: int
    """The number of units that the interval rests on: prompts if they are the clusters, else answers."""
    level: float = 0.95

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return isfinite(self.value)

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above a bound."""
        return self.known and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval lies below a bound."""
        return self.known and self.high < bound

    def exponentiated(self) -> Estimate:
        """Return the estimate on the ratio scale, if this one is on the log scale."""
        return replace(self, value=_exp(self.value), low=_exp(self.low), high=_exp(self.high))


@dataclass(frozen=True, slots=True)
class Test:
    """A test's two-sided p value."""

    __test__ = False  # the class name is the statistical term; pytest must not collect it

    p: float
    method: str
    n: int
    """The number of units that the test rests on."""


def unknown(method: str, n: int, level: float = 0.95) -> Estimate:
    """Return an unknown estimate, which says nothing.

    Args:
        method: Why there is no value.
        n: The number of units.
        level: The confidence level asked for.
    """
    return Estimate(float("nan"), float("-inf"), float("inf"), method, n, level)


def share(hits: int, of: int) -> Estimate:
    """Return a share with Wilson's interval; unknown if `of` is 0."""
    return Estimate(hits / of, *wilson(hits, of), "Wilson", of) if of else unknown("of none", 0)


def _exp(x: float) -> float:
    return exp(x) if x < 700 else float("inf")
