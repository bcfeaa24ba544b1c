"""The shipped default on the shipped samples: what a newcomer sees first."""

from __future__ import annotations

import pytest

from undertow.data import samples
from undertow.errors import UsageError
from undertow.monitor.audit import read
from undertow.monitor.monitor import Monitor


def test_the_samples_are_judged_as_their_page_says() -> None:
    """What drifts is flagged but for three, named in data/samples/README.md; nothing else is."""
    flagged = {verdict.id: verdict.flagged for verdict in Monitor().judge(read(samples()))}
    drifts = {name for name in flagged if name.split("-")[0] in ("drift", "recovery")}
    assert len(drifts) == 10
    assert {name for name, flag in flagged.items() if flag} == drifts - {
        "drift-late-01",
        "drift-truncated-01",
        "recovery-01",
    }


def test_what_is_no_trace_is_refused() -> None:
    """A row that was never read as a trace is a mistake of the caller's."""
    with pytest.raises(UsageError, match="a Trace, got a dict"):
        list(Monitor("keyword").judge([{"prompt": "x"}]))  # type: ignore[list-item]
