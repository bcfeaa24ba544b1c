"""Read LangSmith exports: the model runs in them, at any depth of a run tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from ..plain import plain
from .calls import call, renumbered, unanswered
from .contract import JsonObject, name_of

__all__ = ["LangSmithReader"]

_DEEP = 64


class LangSmithReader:
    """Reads runs of type `llm`, with the field names of `langsmith.schemas.Run`."""

    name = "langsmith"
    description = "LangSmith runs of type llm, alone or below others"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("outputs.generations[][].message", "outputs.choices[].message", "outputs"),
        "prompt": ("inputs.messages", "inputs"),
        "reasoning": ("additional_kwargs.reasoning_content", "as in openai-chat and anthropic"),
        "model": ("extra.metadata.ls_model_name", "extra.invocation_params.model"),
        "id": ("id",),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row is a run."""
        return isinstance(row.get("run_type"), str) and ("inputs" in row or "outputs" in row)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each reply of a model run, or one `Unreadable` if there is no model run."""
        calls = list(_model_runs(row))
        if not calls:
            detail = f"a run of type {plain(str(row.get('run_type')), 20)} without a run of a model below it"
            yield unanswered(name_of(row, ("id",), origin), origin, detail)
            return
        yield from renumbered(record for run in calls for record in _records(run, origin))


def _model_runs(run: JsonObject, depth: int = 0) -> Iterator[JsonObject]:
    if run.get("run_type") == "llm":
        yield run
    below = run.get("child_runs")
    for child in below if isinstance(below, list) and depth < _DEEP else []:
        if isinstance(child, dict):
            yield from _model_runs(child, depth + 1)


def _records(run: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
    extra = run.get("extra")
    return call(
        run.get("inputs"),
        run.get("outputs"),
        origin,
        name=name_of(run, ("id",), origin),
        model=_model(extra if isinstance(extra, dict) else {}),
        usage=run.get("outputs"),
        metadata={key: run[key] for key in ("name", "trace_id", "tags", "session_id") if run.get(key)},
    )


def _model(extra: JsonObject) -> str | None:
    for holder in ("metadata", "invocation_params"):
        held = extra.get(holder)
        names = (
            (held.get(key) for key in ("ls_model_name", "model", "model_name"))
            if isinstance(held, dict)
            else ()
        )
        if (name := next((name for name in names if isinstance(name, str)), None)) is not None:
            return name
    return None
