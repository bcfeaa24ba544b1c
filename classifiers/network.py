"""The network behind `step-encoder`, which reads a step with its request and the preceding steps.

    text → lower layers → states        ┐
    request, step before → their states ┴→ upper layers → a vector → GRU over the last steps → four labels

The encoder is all-MiniLM-L6-v2 (6 layers, 384 wide). Its lower layers read each text alone, so their
states of a text are computed once; the shipped weights have two narrow lower layers instead of four (see
`shallow`). In the upper layers, the tokens of a step attend to the request and to the step before as well
as to each other: whether "Okay, how would one do that?" takes up a harmful goal can only be told from the
request. A missing request or step is read as the empty text. The memory runs over a bounded window that
ends in the judged step; no part of the network sees later steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertModel
    from transformers.models.bert.modeling_bert import BertLayer

__all__ = ["Beside", "Reader", "StepNet", "windows"]


class Beside(nn.Module):
    """An encoder layer whose tokens also attend to a request and a preceding text.

    Args:
        layer: the pretrained layer.
    """

    def __init__(self, layer: BertLayer) -> None:
        super().__init__()
        self.layer: BertLayer = layer
        self.heads = int(layer.attention.self.num_attention_heads)
        wide = int(layer.attention.self.all_head_size)
        self.lean = nn.Parameter(torch.tensor([-1.0, -1.0, 0.0]).repeat(self.heads, 1))
        """The attention bias of each head toward the request, the step before, and the step itself."""
        self.whose = nn.Parameter(torch.zeros(3, wide))
        """What is added to the values of the request, of the step before, and of the step itself."""

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of token states (…, wide), each (…, wide)."""
        own = self.layer.attention.self
        query, key, value = (part(states) for part in (own.query, own.key, own.value))
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, role: Tensor, mask: Tensor | None) -> Tensor:
        """Return the attention output of each token, (n, t, wide).

        Args:
            query: (n, t, wide).
            key: (n, s, wide).
            value: (n, s, wide).
            role: what each key belongs to, (n, s) of 0 (request), 1 (before), 2 (own).
            mask: True for each key that is not padding, (n, s); None if none is.
        """
        bias = self.lean.t()[role].transpose(1, 2)[:, :, None]  # n, heads, 1, s
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None], -1e4)
        seen = nn.functional.scaled_dot_product_attention(
            self._split(query), self._split(key), self._split(value + self.whose[role]), bias.to(query.dtype)
        )
        return seen.transpose(1, 2).flatten(2)

    def finish(self, seen: Tensor, states: Tensor) -> Tensor:
        """Return the layer's output from the attention output and the states before it, both (…, wide)."""
        mixed = self.layer.attention.output(seen, states)
        out: Tensor = self.layer.output(self.layer.intermediate(mixed), mixed)
        return out

    def forward(self, own: Tensor, request: Tensor, before: Tensor) -> Tensor:
        """Read a text with its request and the text before: (1, t|r|b, wide) each → (1, t, wide)."""
        query, *mine = self.project(own)
        parts = [self.project(request)[1:], self.project(before)[1:], tuple(mine)]
        key, value = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
        role = torch.cat([torch.full_like(part[0][..., 0], i).long() for i, part in enumerate(parts)], dim=1)
        return self.finish(self.attend(query, key, value, role, None), own)

    def _split(self, states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)


class Reader(nn.Module):
    """Pools token states into one vector: a projection of their mean and of learned weighted means."""

    def __init__(self, wide: int, width: int, heads: int = 4) -> None:
        super().__init__()
        self.weigh = nn.Linear(wide, heads)
        self.project = nn.Linear(wide * (1 + heads), width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Pool tokens (n, t, wide) under a mask (n, t) of 0 and 1 into (n, width)."""
        mean = mask / mask.sum(1, keepdim=True)
        scores = self.weigh(tokens).masked_fill(mask[..., None] == 0, -1e4)
        weights = torch.cat([mean[..., None], scores.softmax(1)], dim=-1)
        pooled = torch.einsum("ntd,nth->nhd", tokens, weights)
        projected: Tensor = self.project(pooled.flatten(1))
        return projected


class StepNet(nn.Module):
    """Judges steps in their context.

    Args:
        encoder: the pretrained encoder.
        frozen: the number of lower layers, which are frozen at first.
        width: the size of a step's vector and of the memory.
        dropout: the share of units dropped in training.
    """

    def __init__(self, encoder: BertModel, frozen: int, width: int, dropout: float) -> None:
        super().__init__()
        encoder.set_attn_implementation("eager")  # the only one that takes our additive mask unchanged
        layers = encoder.encoder.layer
        self.embeddings = encoder.embeddings
        self.lower = nn.ModuleList(layers[:frozen])
        self.upper = nn.ModuleList([Beside(cast("BertLayer", layer)) for layer in layers[frozen:]])
        wide = int(encoder.config.hidden_size)
        self.read_step = Reader(wide, width)
        self.read_request = Reader(wide, width)
        self.answer = nn.Parameter(torch.zeros(width))
        """The vector that is added to the request's if the step is in the answer."""
        self.memory = nn.GRU(3 * width, width, batch_first=True)
        self.decide = nn.Linear(2 * width, 4)
        self.foresee = nn.Linear(2 * width, 1)
        """Predicts whether any step of the trace is unsafe; for training only."""
        self.suspect = nn.Linear(width, 1)
        """Predicts whether the request is harmful; for training only."""
        self.dropout = nn.Dropout(dropout)
        for part in (self.embeddings, *self.lower):
            part.requires_grad_(False)

    def read_alone(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the lower layers: token ids and mask (n, t) → states (n, t, wide)."""
        states: Tensor = self.embeddings(input_ids=ids)
        bias = (1.0 - mask[:, None, None, :]).to(states.dtype) * -1e4
        for layer in self.lower:
            out = layer(states, attention_mask=bias)
            states = out[0] if isinstance(out, tuple) else out
        return states

    def remember(self, steps: Tensor, requests: Tensor, in_answer: Tensor) -> Tensor:
        """Run the memory: steps (n, t, width), requests (n, width), in_answer (n,) → (n, t, 2 width)."""
        asked = requests + in_answer[:, None] * self.answer
        request = asked[:, None].expand_as(steps)
        mixed = [nn.functional.gelu(steps), nn.functional.gelu(request), steps * request]
        memory, _ = self.memory(self.dropout(torch.cat(mixed, dim=-1)))
        return torch.cat([memory, mixed[0]], dim=-1)

    def last(self, steps: Tensor, requests: Tensor, in_answer: Tensor, lengths: Tensor) -> Tensor:
        """Return the features of the last step of each right-padded window, (n, 2 width)."""
        walked = self.remember(steps, requests, in_answer)
        last: Tensor = self.dropout(walked[torch.arange(len(walked)), lengths - 1])
        return last

    @property
    def looking(self) -> list[Beside]:
        """The upper layers."""
        return [layer for layer in self.upper if isinstance(layer, Beside)]


def windows(lengths: Sequence[int], history: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the window that ends in each step of concatenated traces.

    Args:
        lengths: the number of steps of each trace.
        history: the maximum number of earlier steps in a window.

    Returns:
        Indices (steps, history + 1), padded on the right with the step itself, and the length of
        each window, shape (steps,).
    """
    rows, counts, start = [], [], 0
    for length in lengths:
        for step in range(start, start + length):
            first = max(start, step - history)
            window = list(range(first, step + 1))
            rows.append(window + [step] * (history + 1 - len(window)))
            counts.append(len(window))
        start += length
    return torch.tensor(rows), torch.tensor(counts)
