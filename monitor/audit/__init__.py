"""Audit saved transcripts."""

from __future__ import annotations

from .run import audit
from .sources import Record, read
from .summary import AuditResult, Onsets, Worst

__all__ = ["AuditResult", "Onsets", "Record", "Worst", "audit", "read"]
