"""The text-generation pipeline of transformers, with a monitored model inside."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .dialects import prompt_of

if TYPE_CHECKING:
    from .transformers import MonitoredModel

__all__ = ["MonitoredPipeline"]


class MonitoredPipeline:
    """A text-generation pipeline whose records have a verdict; everything else is the pipeline's own."""

    def __init__(self, pipeline: Any, model: MonitoredModel) -> None:
        self.pipeline = pipeline
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipeline, name)

    def predict(self, X: Any) -> Any:
        """Generate, as `__call__`."""
        return self(X)

    transform = predict

    def __call__(self, text_inputs: Any, **options: Any) -> Any:
        """Generate as the pipeline does; each record gets `undertow` and `finish_reason`."""
        pipe = copy.copy(self.pipeline)
        pipe.model = _Collecting(self._model, _requests(text_inputs))
        out = pipe(text_inputs, **options)
        if not isinstance(out, list):
            return (_attach(records, pipe.model.done) for records in out)
        return _attach(out, pipe.model.done)


class _Collecting:
    """The model inside a pipeline for one call: passes requests in, and verdicts out, in their order."""

    def __init__(self, model: MonitoredModel, requests: Iterable[str] | None) -> None:
        self.done: deque[dict[str, Any]] = deque()
        self._model = model
        self._requests = None if requests is None else deque(requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *, input_ids: Any = None, **options: Any) -> Any:
        """Generate, and keep the verdicts."""
        prompt = None
        if self._requests is not None:
            prompt = [self._requests.popleft() for _ in range(1 if input_ids is None else len(input_ids))]
        output = self._model.generate(input_ids=input_ids, prompt=prompt, **options)
        for row, (verdict, reason) in enumerate(zip(output.undertow, output.finish_reasons, strict=True)):
            said = {"undertow": verdict, "finish_reason": reason}
            more = {"undertow_probe": output.undertow_probe[row]} if self._model.probe else {}
            self.done.append(said | more)
        return output


def _requests(inputs: Any) -> list[str] | None:
    """Return the requests that a pipeline was given; None where they come one by one."""
    if isinstance(inputs, str):
        return [inputs]
    if not isinstance(inputs, list | tuple):
        return None
    if inputs and isinstance(inputs[0], dict):
        return [prompt_of({"messages": inputs})]
    return [one if isinstance(one, str) else prompt_of({"messages": one}) for one in inputs]


def _attach(records: Any, done: deque[dict[str, Any]]) -> Any:
    for record in _flat(records):
        record.update(done.popleft())
    return records


def _flat(records: Any) -> Iterator[dict[str, Any]]:
    for record in records:
        if isinstance(record, dict):
            yield record
        else:
            yield from _flat(record)
