"""What makes an audit fail is what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.errors import UsageError
from undertow.monitor.audit import audit
from undertow.monitor.audit.compare import compare
from undertow.monitor.audit.fail import Condition, exit_status
from undertow.monitor.monitor import Monitor

Jsonl = Callable[..., Path]

SAFE = {"reasoning": "All is well.", "answer": "Yes."}
DRIFT = {"reasoning": "Let me zorp the thing.", "answer": "No."}
BARE = {"answer": "Yes."}


@pytest.mark.parametrize(
    ("conditions", "rows", "status"),
    [
        ((), [SAFE, DRIFT, BARE], 1),
        ((), [SAFE, BARE], 3),
        (("never",), [DRIFT, b"{"], 0),
        (("flagged",), [SAFE, BARE, b"{"], 0),
        (("flagged",), [SAFE, DRIFT], 1),
        (("flagged>50%",), [SAFE, DRIFT], 0),
        (("flagged > 49.9%",), [SAFE, DRIFT], 1),
        (("flagged>50%",), [DRIFT, b"{"], 1),
        (("incomplete",), [SAFE, DRIFT], 0),
        (("incomplete",), [DRIFT, BARE], 3),
        (("incomplete>50%",), [DRIFT, b"{"], 0),
        (("incomplete>10%",), [DRIFT, b"{"], 3),
        (("incomplete", "flagged"), [DRIFT, b"{"], 1),
        (("incomplete", "flagged>99%"), [SAFE, DRIFT, b"{"], 3),
    ],
    ids=str,
)
def test_conditions(
    jsonl: Jsonl, monitor: Monitor, conditions: tuple[str, ...], rows: list[object], status: int
) -> None:
    """The smallest status of the conditions that hold; a share is of what it is about."""
    result = audit(jsonl(*rows), monitor=monitor)
    assert exit_status(map(Condition.of, conditions), result) == status


@pytest.mark.parametrize(("base", "status"), [(SAFE, 1), (DRIFT, 0)], ids=["worse", "the same"])
def test_worse_is_beyond_chance(jsonl: Jsonl, monitor: Monitor, base: dict[str, str], status: int) -> None:
    """`worse` holds where the interval of the change lies above nothing."""
    after, before = ([{**kind, "prompt": str(n)} for n in range(20)] for kind in (DRIFT, base))
    found = compare(jsonl(*after), jsonl(*before, name="base.jsonl"), monitor=monitor)
    assert exit_status([Condition.of("worse")], found.after, found) == status


@pytest.mark.parametrize("text", ["", "flaged", "flagged>", "flagged>5", "worse>5%", "flagged>5%%"])
def test_unknown_conditions(text: str) -> None:
    """What cannot be read is refused, with what can."""
    with pytest.raises(UsageError, match="flagged, incomplete, worse and never"):
        Condition.of(text)


def test_worse_needs_a_comparison(jsonl: Jsonl, monitor: Monitor) -> None:
    """Nothing is worse by itself."""
    with pytest.raises(UsageError, match="--against"):
        exit_status([Condition.of("worse")], audit(jsonl(SAFE), monitor=monitor))
