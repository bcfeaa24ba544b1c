"""Put a request into a model's chat format, so that the answer follows at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .build import Example

__all__ = ["Encoded", "encode", "opening"]

_OPENED = re.compile(r"<(think|thinking|reasoning|thought)>\s*$")

_PLAIN = "### Instruction:\n{}\n\n### Response:\n"
"""The prompt format for a model without a chat template: the one that Alpaca used for base models."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A pair in the trainer's form."""

    ids: tuple[int, ...]
    begin: int
    """The index of the response's first token; the loss is on the tokens from here on."""


def opening(tokenizer: Any, prompt: str) -> str:
    """Return the text that the model is to continue."""
    if not tokenizer.chat_template:
        return (tokenizer.bos_token or "") + _PLAIN.format(prompt)
    messages = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text


def encode(tokenizer: Any, examples: Sequence[Example], longest: int) -> list[Encoded]:
    """Turn pairs into tokens; if the template opens a reasoning, it is closed at once.

    Args:
        tokenizer: The model's tokenizer.
        examples: The pairs.
        longest: The maximum number of tokens of a pair. A longer pair loses the end of its response; one
            whose prompt leaves no room for a response is left out.
    """
    made = (_encode(tokenizer, one) for one in examples)
    return [Encoded(one.ids[:longest], one.begin) for one in made if one.begin < longest]


def _encode(tokenizer: Any, one: Example) -> Encoded:
    before = opening(tokenizer, one.prompt)
    opened = _OPENED.search(before)
    closed = f"</{opened[1]}>\n\n" if opened else ""
    start = tokenizer(before, add_special_tokens=False)["input_ids"]
    end = tokenizer(closed + one.response + (tokenizer.eos_token or ""), add_special_tokens=False)[
        "input_ids"
    ]
    return Encoded((*start, *end), len(start))
