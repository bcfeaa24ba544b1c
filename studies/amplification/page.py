"""A study's results as sections, which the terminal, the JSON and the page are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isinf
from typing import Any

from pydantic import BaseModel

from .estimate import Estimate, Test

__all__ = [
    "Figure",
    "Page",
    "Section",
    "as_json",
    "number",
    "p_value",
    "percent",
    "points",
    "signed",
    "times",
]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, and a description in words for those who cannot see it."""

    name: str
    """The files' name, without extension."""
    alt: str
    svg: bytes
    png: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A table under a heading, with an explanation."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The cells as shown."""
    text: str = ""
    """A text above the table: what it shows."""
    note: str = ""
    """A note below the table: how it was made."""
    figure: Figure | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """The table's content as numbers, for the JSON."""


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a study's outcome."""

    title: str
    lead: str
    """The outcome in one or two sentences."""
    sections: tuple[Section, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The basis of the outcome: versions, margin, verdict."""


def percent(estimate: Estimate) -> str:
    """Format a share: "27.0 % [21.9, 32.1]"."""
    return _written(estimate, lambda x: f"{100 * x:.1f}", " %")


def points(estimate: Estimate) -> str:
    """Format a difference of shares in percentage points: "+24.0 pp [+12.6, +35.4]"."""
    return _written(estimate, signed, " pp")


def signed(share: float) -> str:
    """Format a difference of shares in points: "+24.0"; nothing is "+0.0", never "-0.0"."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def times(estimate: Estimate) -> str:
    """Format a ratio: "4.90 [1.07, 22.7]"."""
    return _written(estimate, lambda x: f"{x:.3g}")


def number(estimate: Estimate) -> str:
    """Format a plain number: "0.66 [0.60, 0.72]"."""
    return _written(estimate, lambda x: f"{round(x, 2) + 0.0:.2f}")


def p_value(test: Test) -> str:
    """Format a p value: "p 0.0123"."""
    return "p < 0.0001" if test.p < 1e-4 else f"p {test.p:.4f}"


def _written(estimate: Estimate, form: Any, unit: str = "") -> str:
    if not estimate.known:
        return f"not known ({estimate.method})"
    ends = ", ".join(
        "∞" if isinf(x) and x > 0 else "-∞" if isinf(x) else form(x) for x in (estimate.low, estimate.high)
    )
    return f"{form(estimate.value)}{unit} [{ends}]"


def as_json(value: Any) -> Any:
    """Convert a value of the study for JSON; NaN and infinity become null."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    elif hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
