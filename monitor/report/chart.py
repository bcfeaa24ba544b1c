"""The shapes of the overview's charts, in the units of the drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from .overview import BINS, Profile

__all__ = ["HEIGHT", "LEFT", "WIDTH", "Curve", "curves"]

WIDTH, HEIGHT, LEFT = 1050, 210, 34
"""The right and lower edges of the plot area, and its left edge."""

_TOP: Final = 10


@dataclass(frozen=True, slots=True)
class Curve:
    """A median with the band that holds the middle half of the traces."""

    name: str
    title: str
    traces: int
    median: str
    """The path of the median line."""
    band: str
    """The path of the band."""
    label_y: float


def curves(profiles: Mapping[str, tuple[str, Profile]]) -> list[Curve]:
    """Return the curves of the profiles that contain a trace, with labels that do not overlap."""
    found = [_curve(name, title, profile) for name, (title, profile) in profiles.items() if profile.traces]
    if len(found) == 2 and abs(found[0].label_y - found[1].label_y) < 30:
        middle = min(max((found[0].label_y + found[1].label_y) / 2, _TOP + 20), HEIGHT - 20)
        upper, lower = sorted(found, key=lambda curve: curve.label_y)
        moved = {upper.name: middle - 15, lower.name: middle + 15}
        found = [replace(one, label_y=moved[one.name]) for one in found]
    return found


def _curve(name: str, title: str, profile: Profile) -> Curve:
    median, low, high = (profile.quantile(share) for share in (0.5, 0.25, 0.75))
    last = next((value for value in reversed(median) if value is not None), 0.0)
    return Curve(name, title, profile.traces, _line(median), _area(low, high), up(last))


def up(risk: float) -> float:
    """Return the vertical position of a risk."""
    return round(_TOP + (1 - risk) * (HEIGHT - _TOP), 1)


def _across(place: int) -> float:
    return round(LEFT + (place + 0.5) * (WIDTH - LEFT) / BINS, 1)


def _runs(values: Sequence[float | None]) -> list[list[int]]:
    """Return the runs of places that have a value: a line does not cross a gap."""
    known = groupby(range(len(values)), key=lambda place: values[place] is not None)
    return [list(run) for has, run in known if has]


def _line(values: Sequence[float | None]) -> str:
    return " ".join(
        "M" + " L".join(f"{_across(place)},{up(values[place] or 0)}" for place in run)
        for run in _runs(values)
    )


def _area(low: Sequence[float | None], high: Sequence[float | None]) -> str:
    parts = []
    for run in _runs(low):
        there = [f"{_across(place)},{up(high[place] or 0)}" for place in run]
        back = [f"{_across(place)},{up(low[place] or 0)}" for place in reversed(run)]
        parts.append("M" + " L".join([*there, *back]) + " Z")
    return " ".join(parts)
