"""Generate a model's responses to prompts, with reasoning and answer separated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....classifiers.hub import load
from ....errors import UsageError
from ....monitor.reasoning import parse
from ....monitor.trace import Trace
from ....monitor.wraps.decoding import plain_decode
from .chat import opening
from .sources import Text

__all__ = ["respond", "write_traces"]


def respond(model: str, prompts: Sequence[Text], *, tokens: int = 512, batch: int = 8) -> list[Trace]:
    """Generate a model's response to each prompt, always with the most likely token.

    Args:
        model: A folder, or `org/name@revision`.
        prompts: The prompts, put into the model's own chat template.
        tokens: The maximum number of tokens of a response.
        batch: The number of prompts at once.

    Raises:
        MissingExtra: torch or transformers are missing.
        WeightsError: The model does not exist, or not as safetensors.
    """
    place, _, revision = model.partition("@")
    body, tokenizer = load("AutoModelForCausalLM", place, revision or None)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UsageError(f"the tokenizer of {place!r} has no token that pads and none that ends")
        tokenizer.pad_token = tokenizer.eos_token
    found: list[Trace] = []
    for start in range(0, len(prompts), batch):
        asked = prompts[start : start + batch]
        openings = [opening(tokenizer, one.text) for one in asked]
        for one, before, text in zip(
            asked, openings, _written(body, tokenizer, openings, tokens), strict=True
        ):
            found.append(_trace(one, before, text, place))
    return found


def _written(body: Any, tokenizer: Any, openings: list[str], tokens: int) -> list[str]:
    import torch

    given = tokenizer(
        openings, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
    ).to(body.device)
    with torch.inference_mode():
        made = body.generate(
            **given, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
    silent = {tokenizer.pad_token_id, tokenizer.eos_token_id}
    rows = made[:, given["input_ids"].shape[1] :].tolist()
    return [plain_decode(tokenizer, [token for token in row if token not in silent]) for row in rows]


def _trace(one: Text, before: str, text: str, model: str) -> Trace:
    parsed = parse(text, prompt=before, model=model)
    return Trace(
        id=f"{one.source}:{one.row}",
        prompt=one.text,
        reasoning=parsed.reasoning or None,
        answer=parsed.answer or None,
        model=model,
        truncated=parsed.truncated,
        metadata={"category": one.category},
    )


def write_traces(traces: Sequence[Trace], path: Path) -> None:
    """Write responses as rows that `undertow audit` reads."""
    with path.open("w", encoding="utf-8") as file:
        for one in traces:
            row = {
                "id": one.id,
                "prompt": one.prompt,
                "reasoning": one.reasoning,
                "answer": one.answer or "",
                "model": one.model,
                **one.metadata,
            }
            file.write(json.dumps(row) + "\n")
