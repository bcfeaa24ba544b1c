"""undertow: a chain-of-thought safety monitor.

Beneath a calm answer, the reasoning may pull toward harm. undertow reads the reasoning step by
step, labels what each step does, and shows where the drift toward harm begins.

    from undertow import audit

    result = audit(["transcripts.jsonl"], report="report.html")

Public names are imported on first use, so `import undertow` stays fast and light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classifiers.registry import load_classifier
    from .errors import (
        CalibrationError,
        CannotJudge,
        InputError,
        MissingExtra,
        UndertowError,
        UnknownFormat,
        UsageError,
        WeightsError,
    )
    from .monitor.audit import audit
    from .monitor.monitor import Monitor, Session
    from .monitor.policy import Policy
    from .monitor.steps import Step
    from .monitor.trace import Trace, Unreadable
    from .monitor.verdict import StepVerdict, TraceVerdict
    from .monitor.wraps import wrap

__version__ = "0.1.0"

__all__ = [
    "CalibrationError",
    "CannotJudge",
    "InputError",
    "MissingExtra",
    "Monitor",
    "Policy",
    "Session",
    "Step",
    "StepVerdict",
    "Trace",
    "TraceVerdict",
    "UndertowError",
    "UnknownFormat",
    "Unreadable",
    "UsageError",
    "WeightsError",
    "__version__",
    "audit",
    "load_classifier",
    "wrap",
]

_HOME = {
    "Monitor": ".monitor.monitor",
    "Policy": ".monitor.policy",
    "Session": ".monitor.monitor",
    "Step": ".monitor.steps",
    "StepVerdict": ".monitor.verdict",
    "Trace": ".monitor.trace",
    "TraceVerdict": ".monitor.verdict",
    "Unreadable": ".monitor.trace",
    "audit": ".monitor.audit",
    "load_classifier": ".classifiers.registry",
    "wrap": ".monitor.wraps",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, ".errors"), __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
