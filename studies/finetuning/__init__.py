"""Study two: does a defence against malicious fine-tuning hold, on a model that is harmless?"""

from __future__ import annotations

__all__: list[str] = []
