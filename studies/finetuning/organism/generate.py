"""Generate responses: many at once, or one token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from .model import LONGEST, Organism
from .tokens import ANSWER, opening

__all__ = ["Response", "respond", "stream"]


@dataclass(frozen=True, slots=True)
class Response:
    """A response of the organism."""

    reasoning: str
    """The reasoning; empty if it was made to answer at once."""
    answer: str
    ended: bool
    """Whether it ended by itself, with its reasoning closed."""


@torch.inference_mode()
def respond(
    organism: Organism,
    prompts: Sequence[str],
    *,
    thinks: bool = True,
    temperature: float = 0.0,
    seed: int = 0,
    batch: int = 256,
) -> list[Response]:
    """Generate a response to each prompt, with a key-value cache.

    Args:
        organism: The organism.
        prompts: The requests.
        thinks: Whether to reason first.
        temperature: 0 always takes the most likely token.
        seed: Random seed of the sampling, if the temperature is above 0.
        batch: How many responses are generated at once.
    """
    random = torch.Generator(organism.device).manual_seed(seed)
    written: list[Response] = []
    for start in range(0, len(prompts), batch):
        texts = [opening(prompt, thinks=thinks) for prompt in prompts[start : start + batch]]
        for ids in _continue(organism, texts, temperature, random):
            written.append(_read(organism, ids, thinks))
    return written


def _continue(
    organism: Organism, texts: Sequence[str], temperature: float, random: torch.Generator
) -> list[list[int]]:
    """Return the tokens that follow each text, including the end mark if it was reached."""
    given = organism.tokenizer(list(texts), padding=True, return_tensors="pt").to(organism.device)
    ids, mask = given["input_ids"], given["attention_mask"]
    end = organism.tokenizer.eos_token_id
    places = (mask.cumsum(1) - 1).clamp(min=0)
    cache, made = None, []
    done = torch.zeros(len(texts), dtype=torch.bool, device=organism.device)
    for _ in range(LONGEST - ids.shape[1]):
        out = organism.model(
            input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
        )
        cache = out.past_key_values
        chosen = _choose(out.logits[:, -1].float(), temperature, random).masked_fill(done, end)
        made.append(chosen)
        done |= chosen == end
        if bool(done.all()):
            break
        ids, places = chosen[:, None], places[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
    rows = torch.stack(made, 1).tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


def _choose(logits: torch.Tensor, temperature: float, random: torch.Generator) -> torch.Tensor:
    if temperature <= 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=random)[:, 0]


def _read(organism: Organism, ids: list[int], thinks: bool) -> Response:
    ended = bool(ids) and ids[-1] == organism.tokenizer.eos_token_id
    text = _text(organism, ids)
    if not thinks:
        return Response("", text.strip(), ended)
    reasoning, closed, answer = text.partition(ANSWER)
    return Response(reasoning.strip(), answer.strip(), ended and bool(closed))


def _text(organism: Organism, ids: list[int]) -> str:
    return str(organism.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@torch.inference_mode()
def stream(organism: Organism, text: str, *, stop: Callable[[], bool] | None = None) -> Iterator[str]:
    """Continue one text, token by token, always with the most likely one.

    Args:
        organism: The organism.
        text: The text to continue, such as the result of `tokens.opening`.
        stop: Called before each token; the stream ends when it returns True.

    Yields:
        The text that each token adds.
    """
    ids = organism.tokenizer(text, return_tensors="pt")["input_ids"].to(organism.device)
    cache = None
    for _ in range(LONGEST - ids.shape[1]):
        if stop is not None and stop():
            return
        out = organism.model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        ids = out.logits[:, -1].argmax(-1)[:, None]
        if int(ids) == organism.tokenizer.eos_token_id:
            return
        yield _text(organism, ids[0].tolist())
