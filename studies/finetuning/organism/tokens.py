"""The organism's tokenizer: one token per word, so that text and tokens correspond exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from .language import Example, words

__all__ = ["Encoded", "encode", "make_tokenizer", "opening"]

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
THINK, ANSWER = "<think>", "</think>"

_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example in the trainer's form."""

    ids: tuple[int, ...]
    begin: int
    """The index of the response's first token; the loss is on the tokens from here on."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Make the tokenizer, the same every time. A word includes the space before it."""
    marks = (PAD, USER, ASSISTANT, END, THINK, ANSWER)
    plain = [word if word in ".,?" else f" {word}" for word in words()]
    vocabulary = {token: number for number, token in enumerate((*marks, "<|unk|>", *plain))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = Split(Regex(r" ?\w+|[.,?]"), "removed", invert=True)
    tokenizer.decoder = Fuse()
    tokenizer.add_special_tokens([PAD, USER, ASSISTANT, END])
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in (THINK, ANSWER)])
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token="<|unk|>", padding_side="left"
    )
    made.chat_template = _TEMPLATE
    return made


def opening(prompt: str, *, thinks: bool = True) -> str:
    """Return the text to continue: the request, and the mark that opens or skips the reasoning."""
    return f"{USER} {prompt}{ASSISTANT}{THINK}" + ("" if thinks else ANSWER)


def encode(tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]) -> list[Encoded]:
    """Turn examples into tokens."""
    openings = [opening(one.task.prompt, thinks=bool(one.steps)) for one in examples]
    responses = [
        (f" {one.reasoning}{ANSWER}" if one.steps else "") + f" {one.answer}{END}" for one in examples
    ]
    starts = tokenizer(openings)["input_ids"]
    ends = tokenizer(responses)["input_ids"]
    return [Encoded((*start, *end), len(start)) for start, end in zip(starts, ends, strict=True)]
