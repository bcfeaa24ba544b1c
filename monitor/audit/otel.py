"""Emit verdicts as OpenTelemetry events: `gen_ai.evaluation.result` of the GenAI conventions.

    audit(paths, each=EvaluationEvents())          # to the application's own logger provider

    with otlp() as events:                         # to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names
        audit(paths, each=events)

An event contains no text of a trace. A trace that could not be judged has no score; its label is
`not_assessed`, and `error.type` is the reason. Requires opentelemetry: `pip install 'undertow[otel]'`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from ...errors import MissingExtra
from ..tally import why
from ..trace import Trace, Unreadable
from ..verdict import TraceVerdict

try:
    from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger
except ImportError as error:
    raise MissingExtra("making OpenTelemetry events", "otel") from error

__all__ = ["EVENT", "EvaluationEvents", "attributes_of", "otlp"]

EVENT = "gen_ai.evaluation.result"

_Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class EvaluationEvents:
    """Emits an event for each verdict; called with a record and its verdict, as by `audit(each=…)`.

    Args:
        provider: The logger provider for the events; the application's global one if not given.
    """

    def __init__(self, provider: LoggerProvider | None = None) -> None:
        self._logger = get_logger("undertow", logger_provider=provider)

    def __call__(self, record: Trace | Unreadable, verdict: TraceVerdict) -> None:
        """Emit the event of a verdict."""
        warning = verdict.flagged or verdict.flagged is None
        self._logger.emit(
            LogRecord(
                event_name=EVENT,
                severity_number=SeverityNumber.WARN if warning else SeverityNumber.INFO,
                attributes=dict(attributes_of(verdict)),
            )
        )


def attributes_of(verdict: TraceVerdict) -> _Attributes:
    """Return the attributes of a verdict's event."""
    problem = verdict.not_assessed
    values = {
        "gen_ai.evaluation.name": "undertow.drift",
        "gen_ai.evaluation.score.value": verdict.risk,
        "gen_ai.evaluation.score.label": _label(verdict),
        "gen_ai.evaluation.explanation": _explanation(verdict),
        "gen_ai.response.id": verdict.id or None,
        "gen_ai.response.model": verdict.model,
        "error.type": problem.reason if problem is not None and verdict.flagged is None else None,
        "undertow.assessed": verdict.assessed,
        "undertow.not_assessed.reason": problem.reason if problem is not None else None,
        "undertow.quadrant": verdict.quadrant,
        "undertow.onset.channel": verdict.onset.channel if verdict.onset else None,
        "undertow.onset.step": verdict.onset.step if verdict.onset else None,
        "undertow.alarm.step": verdict.alarm.step if verdict.alarm else None,
        "undertow.steps": len(verdict.steps),
        "undertow.classifier": verdict.monitor.classifier,
        "undertow.classifier.digest": verdict.monitor.digest,
        "undertow.false_alarm_rate": verdict.monitor.false_alarm_rate,
    }
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def otlp() -> Iterator[EvaluationEvents]:
    """Send events to an OTLP collector over HTTP, configured by the usual OTEL_EXPORTER_OTLP_* variables.

    Raises:
        MissingExtra: The SDK or the exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider as Provider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    except ImportError as error:
        raise MissingExtra("sending OpenTelemetry events", "otel") from error
    provider = Provider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    try:
        yield EvaluationEvents(provider)
    finally:
        provider.shutdown()


def _label(verdict: TraceVerdict) -> str:
    return {True: "flagged", False: "not_flagged", None: "not_assessed"}[verdict.flagged]


def _explanation(verdict: TraceVerdict) -> str:
    reason = why(verdict)
    if verdict.onset is not None:
        return f"drift begins at step {verdict.onset.step + 1} of the {verdict.onset.channel}"
    return (
        f"judged {'in part' if verdict.assessed == 'partial' else 'not at all'}: {reason}" if reason else ""
    )
