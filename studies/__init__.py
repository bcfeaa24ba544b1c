"""The studies built on the monitor."""

from __future__ import annotations

__all__: list[str] = []
