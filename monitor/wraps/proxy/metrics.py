"""Metrics for Prometheus. No label contains anything that a client or a model wrote."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.responses import Response

from ...gate import Gate
from ...verdict import TraceVerdict

__all__ = ["Metrics"]

_DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The metrics of one proxy, in a registry of its own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("undertow_requests", "Requests answered", ["kind", "status"], registry=own)
        self.open = Gauge("undertow_open_exchanges", "Requests in progress", registry=own)
        self.generations = Counter(
            "undertow_generations", "Generations by verdict", ["assessed", "flagged"], registry=own
        )
        self.alarms = Counter("undertow_alarms", "Alarms by channel", ["channel"], registry=own)
        self.interventions = Counter(
            "undertow_interventions", "Generations stopped or diverted", ["what"], registry=own
        )
        self.steps = Counter("undertow_steps", "Steps by label", ["label"], registry=own)
        self.failures = Counter("undertow_failures", "Failures by kind", ["what"], registry=own)
        self.held = Histogram(
            "undertow_held_seconds",
            "Time that a piece of a stream spent in the proxy",
            buckets=_DELAYS,
            registry=own,
        )
        self.judging = Histogram(
            "undertow_judging_seconds",
            "Time that the monitor took to judge new text",
            buckets=_DELAYS,
            registry=own,
        )

    def concluded(self, verdict: TraceVerdict, gate: Gate) -> None:
        """Count a verdict with its alarms and steps, and its gate's interventions and failures."""
        flagged = {True: "true", False: "false", None: "unknown"}[verdict.flagged]
        self.generations.labels(verdict.assessed, flagged).inc()
        for channel in verdict.channels:
            if channel.alarm is not None:
                self.alarms.labels(channel.channel).inc()
        for label, count in Counted(step.label or "not_judged" for step in verdict.steps).items():
            self.steps.labels(label).inc(count)
        if gate.stopped or gate.diverted:
            self.interventions.labels("diverted" if gate.diverted else "stopped").inc()
        if gate.error is not None:
            self.failures.labels("monitor_failed").inc()

    def left(self, gates: Sequence[Gate]) -> None:
        """Count a response whose client left before its end: flagged if it was by then, else unknown."""
        if not gates:  # it left before the first text
            self.generations.labels("none", "unknown").inc()
        for gate in gates:
            self.generations.labels("partial", "true" if gate.flagged else "unknown").inc()
            for channel, judge in list(gate.channels.items()):
                if judge.alarm_step is not None:
                    self.alarms.labels(channel).inc()

    def show(self) -> Response:
        """Return the metrics in Prometheus's text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
