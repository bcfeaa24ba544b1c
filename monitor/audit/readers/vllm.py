"""Read raw outputs of offline engines: vLLM's `RequestOutput` and SGLang's `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from .calls import unanswered
from .channels import assemble
from .contract import JsonObject, WrongType, name_of, text_of

__all__ = ["EngineReader"]


class EngineReader:
    """Reads raw generations with reasoning between tags; the opening tag may be in the prompt."""

    name = "vllm"
    description = "raw outputs of vLLM's and SGLang's offline engines; one trace per sample"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("outputs[].text", "text beside meta_info"),
        "prompt": ("prompt",),
        "reasoning": ("tags in the text, or opened by the prompt",),
        "model": ("model",),
        "id": ("request_id", "meta_info.id", "id"),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has `outputs` with texts, or a text beside `meta_info`."""
        outputs = row.get("outputs")
        if isinstance(outputs, list) and outputs:
            return all(isinstance(output, dict) and "text" in output for output in outputs)
        return "text" in row and isinstance(row.get("meta_info"), dict)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each sample."""
        meta = row.get("meta_info")
        own = {**meta, **row} if isinstance(meta, dict) else row
        name = name_of(own, ("request_id", "id"), origin)
        prompt = text_of(row, "prompt") or ""
        model = named if isinstance(named := row.get("model"), str) and named else None
        outputs = row.get("outputs") if "outputs" in row else [row]
        if not isinstance(outputs, list):
            raise WrongType("outputs", outputs, "a list of outputs")
        if not outputs:
            yield unanswered(name, origin, "the engine returned no output")
        for turn, output in enumerate(outputs):
            if not isinstance(output, dict):
                raise WrongType(f"outputs[{turn}]", output, "an object")
            channels = assemble([], text_of(output, "text"), prompt=prompt, model=model)
            yield Trace(
                id=f"{name}#{turn}" if len(outputs) > 1 else name,
                prompt=prompt,
                reasoning=channels.reasoning,
                answer=channels.answer,
                model=model,
                reasoning_from=channels.reasoning_from,
                truncated=channels.truncated,
                origin=origin.model_copy(update={"turn": turn}),
            )
