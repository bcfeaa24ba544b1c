"""Fine-tune with cross-entropy on the response's tokens; the same seed gives the same order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from ....monitor.trace import Frozen
from .model import Organism
from .tokens import Encoded

__all__ = ["Schedule", "fine_tune", "log_probability"]

IGNORED = -100

BATCH = 128
"""The number of examples whose log-probability is computed at once."""


class Schedule(Frozen):
    """The training schedule."""

    lr: float = Field(gt=0)
    """The peak learning rate; warm-up over the first tenth of the steps, then a cosine to a tenth of it."""
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)


def fine_tune(organism: Organism, examples: Sequence[Encoded], schedule: Schedule, seed: int) -> None:
    """Train all weights in place with AdamW.

    Args:
        organism: The organism to train.
        examples: The examples, drawn in random order; all are drawn before any is repeated.
        schedule: The training schedule.
        seed: Random seed of the order.
    """
    model = organism.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.lr, betas=(0.9, 0.98), weight_decay=0.01)
    batches = _batches(examples, schedule.batch, np.random.default_rng(seed))
    model.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr * _share(step, schedule.steps)
        ids, mask, labels = _padded(next(batches), organism)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.train(False)


def _share(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _batches(examples: Sequence[Encoded], size: int, random: np.random.Generator) -> Iterator[list[Encoded]]:
    """Yield batches endlessly; a batch's examples are of similar length, to need little padding."""
    near = 8 * size
    while True:
        order = random.permutation(len(examples))
        groups = [
            sorted(order[i : i + near].tolist(), key=lambda n: len(examples[n].ids))
            for i in range(0, len(order), near)
        ]
        cut = [group[i : i + size] for group in groups for i in range(0, len(group), size)]
        for place in random.permutation(len(cut)):
            yield [examples[n] for n in cut[place]]


def _padded(batch: Sequence[Encoded], organism: Organism) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens, mask and labels, shape (batch, longest), padded on the right."""
    longest = max(len(one.ids) for one in batch)
    ids = np.full((len(batch), longest), organism.tokenizer.pad_token_id)
    labels = np.full((len(batch), longest), IGNORED)
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)] = one.ids
        labels[row, one.begin : len(one.ids)] = one.ids[one.begin :]
    tokens = torch.as_tensor(ids, device=organism.device)
    mask = torch.as_tensor(
        np.arange(longest) < np.array([[len(one.ids)] for one in batch]), device=organism.device
    )
    return tokens, mask.long(), torch.as_tensor(labels, device=organism.device)


@torch.inference_mode()
def log_probability(organism: Organism, examples: Sequence[Encoded]) -> NDArray[np.float64]:
    """Return the mean log-probability of each response's tokens, in nats, shape (n,)."""
    found = []
    for start in range(0, len(examples), BATCH):
        ids, mask, labels = _padded(examples[start : start + BATCH], organism)
        logits = organism.model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        wanted = labels[:, 1:]
        counts = wanted != IGNORED
        each = logits.log_softmax(-1).gather(-1, wanted.clamp(min=0)[..., None])[..., 0] * counts
        found.append((each.sum(1) / counts.sum(1)).cpu().numpy())
    return np.concatenate(found).astype(np.float64)
