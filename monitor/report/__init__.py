"""The HTML report, the figures and the live terminal view."""

from __future__ import annotations

from .html import write_report

__all__ = ["write_report"]
