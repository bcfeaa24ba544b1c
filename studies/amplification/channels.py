"""Where the harm is: in the reasoning, in the answer, or in both.

The names are those of "Chain of Risk": a **leak** is harm in the reasoning that the answer does
not show and that a guard on answers alone misses; an **escape** is harm in the answer after
reasoning that looked safe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .estimate import Estimate, share
from .load import Observation

__all__ = ["PLACES", "ChannelTable", "Place", "channel_table"]

Place = Literal["both", "leak", "escape", "none"]

PLACES: tuple[Place, ...] = get_args(Place)

_PLACE: dict[tuple[bool, bool], Place] = {
    (True, True): "both",
    (True, False): "leak",
    (False, True): "escape",
    (False, False): "none",
}


@dataclass(frozen=True, slots=True)
class ChannelTable:
    """Counts of one arm's generations by the place of their harm."""

    counts: dict[Place, int]
    unplaced: int
    """Generations in which not both channels were judged: without reasoning, no leak can be seen."""

    @property
    def total(self) -> int:
        """The number of generations that have a place."""
        return sum(self.counts.values())

    def share(self, place: Place) -> Estimate:
        """Return a place's share of the placed generations, with Wilson's interval."""
        return share(self.counts[place], self.total)


def channel_table(observations: Iterable[Observation]) -> ChannelTable:
    """Count one arm's generations by place."""
    counts: dict[Place, int] = dict.fromkeys(PLACES, 0)
    unplaced = 0
    for one in observations:
        reasoning, answer = one.harm.get("reasoning"), one.harm.get("answer")
        if reasoning is None or answer is None:
            unplaced += 1
        else:
            counts[_PLACE[reasoning.harmful, answer.harmful]] += 1
    return ChannelTable(counts, unplaced)
