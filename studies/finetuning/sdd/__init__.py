"""Self-Degraded Defense for real models: build the pairs, train, and evaluate the result.

This is the defence only. The attack that it defends against exists for the organism alone; if you
have an attacked checkpoint, pass it to the evaluation.
"""

from __future__ import annotations

__all__: list[str] = []
