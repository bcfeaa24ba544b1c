"""Read OpenTelemetry spans and events of model calls that follow the GenAI conventions.

Two encodings are read: OTLP as JSON (`resourceSpans`, `resourceLogs`; one batch per row), and one span
per row as printed by the SDK. The messages are an attribute, as JSON text or as structured values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import NotAssessed, Origin, Trace, Unreadable
from ..files import json_within
from .calls import call, renumbered, unanswered
from .contract import JsonObject, name_of

__all__ = ["OpenTelemetryReader"]

_INPUT, _OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
_BATCHES = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}
_OPERATIONS = ("chat", "text_completion", "generate_content", "invoke_agent")


class OpenTelemetryReader:
    """Reads the replies in spans and events."""

    name = "otel"
    description = "OpenTelemetry GenAI spans and events: OTLP as JSON, or one span per row"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": (_OUTPUT,),
        "prompt": (_INPUT,),
        "reasoning": ("parts of type reasoning", "tags in the text"),
        "model": ("gen_ai.response.model", "gen_ai.request.model"),
        "id": ("gen_ai.response.id", "span_id", "spanId"),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row is a batch, or has attributes of a model call."""
        return any(isinstance(row.get(name), list) for name in _BATCHES) or any(
            name.startswith("gen_ai.") for name in _attributes(row)
        )

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each reply, and one for each call that was saved without its messages."""
        calls = [span for span in _spans(row) if _is_call(_attributes(span))]
        if not calls:
            yield unanswered(
                name_of(row, ("name",), origin), origin, "none of its spans is a call of a model"
            )
            return
        yield from renumbered(record for span in calls for record in _records(span, origin))


def _spans(row: JsonObject) -> Iterator[JsonObject]:
    """Yield the spans or log records of a batch (or the row itself), each followed by its events."""
    batches = [(row[name], inner) for name, inner in _BATCHES.items() if isinstance(row.get(name), list)]
    if not batches:
        yield row
        yield from _objects(row.get("events"))
    for batch, (scopes, spans) in batches:
        for resource in _objects(batch):
            for scope in _objects(resource.get(scopes)):
                for span in _objects(scope.get(spans)):
                    yield span
                    yield from _objects(span.get("events"))


def _is_call(attributes: JsonObject) -> bool:
    return _OUTPUT in attributes or attributes.get("gen_ai.operation.name") in _OPERATIONS


def _records(span: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
    attributes, context = _attributes(span), span.get("context")
    own = {**(context if isinstance(context, dict) else {}), **span, **attributes}
    name = name_of(own, ("gen_ai.response.id", "span_id", "spanId"), origin)
    if _OUTPUT not in attributes:
        problem = NotAssessed(reason="no_text", detail="the call was saved without its messages")
        yield Unreadable(id=name, origin=origin, problem=problem)
        return
    yield from call(
        attributes.get(_INPUT),
        _loaded(attributes[_OUTPUT]),
        origin,
        name=name,
        model=attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model"),
        usage=dict(attributes),
        metadata={key: own[key] for key in ("trace_id", "traceId", "gen_ai.conversation.id") if key in own},
    )


def _loaded(value: object) -> object:
    """Decode messages that were saved as JSON text; return any other value unchanged."""
    try:
        return json_within(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _attributes(span: JsonObject) -> JsonObject:
    """Return the attributes as a dictionary, in whichever encoding they were saved."""
    saved = span.get("attributes")
    if isinstance(saved, dict):
        return saved
    return {str(one.get("key")): _value(one.get("value")) for one in _objects(saved)}


def _value(saved: object, depth: int = 0) -> object:
    """Convert an OTLP value to a Python value."""
    if not isinstance(saved, dict) or depth > 64:
        return None
    kind, held = next(iter(saved.items()), ("", None))
    values = held.get("values") if isinstance(held, dict) else None
    if kind == "arrayValue":
        return [_value(one, depth + 1) for one in values] if isinstance(values, list) else []
    if kind == "kvlistValue":
        return {str(one.get("key")): _value(one.get("value"), depth + 1) for one in _objects(values)}
    if kind == "intValue" and str(held).lstrip("-").isdigit() and len(str(held)) < 20:
        return int(str(held))
    return held


def _objects(value: object) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
