"""What the tests share that send fields of the wrong type, and the policies under which they send them."""

from __future__ import annotations

from collections.abc import Mapping

from undertow.monitor.policy import Policy

__all__ = ["ODD", "POLICIES"]

ODD = 87131
"""Stands where a text should be."""

POLICIES: Mapping[str, Policy] = {
    "observe": Policy(),
    "closed": Policy(on_error="closed"),
    "stop": Policy(action="stop"),
    "redact": Policy(action="redact"),
    "redact, open": Policy(action="redact", on_error="open"),
    "divert": Policy(action="divert"),
}
