"""Step classifiers: how they are named, stored and loaded.

Only light modules are imported here; a classifier's own code is imported when it is loaded.
"""

from __future__ import annotations

from .contract import (
    HISTORY,
    LABELS,
    UNSAFE,
    Channel,
    Label,
    Probabilities,
    StepClassifier,
    StepInput,
    risk_of,
)
from .registry import ClassifierInfo, available, load_classifier
from .store import Manifest, read_manifest, write_manifest

__all__ = [
    "HISTORY",
    "LABELS",
    "UNSAFE",
    "Channel",
    "ClassifierInfo",
    "Label",
    "Manifest",
    "Probabilities",
    "StepClassifier",
    "StepInput",
    "available",
    "load_classifier",
    "read_manifest",
    "risk_of",
    "write_manifest",
]
