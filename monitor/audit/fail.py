"""Decide when an audit fails, for use in CI: conditions and the exit status of each.

    flagged          a trace is flagged                                        1
    flagged>5%       more than this share of the judged records is flagged     1
    worse            more is flagged than in the audit compared with,          1
                     by more than chance explains
    incomplete       a record was judged in part or not at all                 3
    incomplete>1%    more than this share of all records was                   3
    never            the audit never fails                                     0

The exit status is the smallest status of the conditions that hold, or 0 if none holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ...errors import UsageError
from .compare import Comparison
from .summary import AuditResult

__all__ = ["NO_COMPARISON", "Condition", "exit_status"]

NO_COMPARISON = "the condition worse needs transcripts to compare with: name them with --against"

_FORM = re.compile(r"(flagged|incomplete)(?:>(\d+(?:\.\d+)?)%)?|worse|never")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition under which an audit fails."""

    name: str
    share: float = 0.0
    """The share above which the condition holds."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a condition as written on the command line.

        Raises:
            UsageError: The condition does not exist.
        """
        found = _FORM.fullmatch(text.replace(" ", ""))
        if found is None:
            raise UsageError(
                f"cannot fail on {text!r}; the conditions are flagged, incomplete, worse and never, or a "
                "share such as flagged>5% or incomplete>1%"
            )
        return cls(found[1] or found[0], float(found[2] or 0) / 100)

    def status(self, result: AuditResult, comparison: Comparison | None = None) -> int:
        """Return the exit status of the condition, or 0 if it does not hold.

        Raises:
            UsageError: The condition needs a comparison, and there is none.
        """
        if self.name == "flagged":
            return int(result.flagged > self.share * (result.full + result.partial))
        if self.name == "incomplete":
            return 3 * (result.partial + result.none > self.share * result.records)
        if self.name == "worse":
            if comparison is None:
                raise UsageError(NO_COMPARISON)
            return int(comparison.worse)
        return 0


def exit_status(
    conditions: Iterable[Condition], result: AuditResult, comparison: Comparison | None = None
) -> int:
    """Return the exit status of an audit; without conditions, that of `AuditResult`."""
    conditions = list(conditions)
    if not conditions:
        return result.exit_code
    statuses = [condition.status(result, comparison) for condition in conditions]
    return min((status for status in statuses if status), default=0)
