"""Texts laid end to end for torch, each beside its request and the step before it.

Where the lower layers are frozen, their states of every text are computed once. A batch lays the
states of its texts in one row, without padding; only where tokens look at tokens are they padded, in
chunks of about equal length. Training computes in 16 bits where it can; what judges computes in 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .network import StepNet, windows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Batch", "Node", "Packed", "States", "read_batch"]

CHUNK = 96
"""Texts that the lower layers read together, at most."""

LOOKING = 32
"""Texts whose tokens look around together."""


class States:
    """The lower layers' states of many texts; each text is read once.

    Args:
        net: whose lower layers read.
        tokenizer: what cuts texts into tokens.
        max_tokens: tokens of a text that are read, [CLS] and [SEP] among them. Of a longer request
            the beginning and the end count, of a longer step the beginning.
        dtype: what states are kept in; the layers compute in 16 bits unless it is float32.
    """

    def __init__(
        self, net: StepNet, tokenizer: Tokenizer, max_tokens: int, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self._net, self._tokenizer, self._room = net, tokenizer, max_tokens - 2
        self._dtype, self._device = dtype, next(net.parameters()).device
        self._first, self._last = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        self._texts: list[Tensor] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._known: dict[int, Tensor] = {}
        self.nothing = self.add("")

    def add(self, text: str, *, request: bool = False) -> int:
        """Note a text to be read; return its number."""
        ids = self._tokenizer.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids
        if len(ids) > self._room:
            half = self._room // 2
            ids = ids[:half] + ids[half - self._room :] if request else ids[: self._room]
        return self.add_tokens(tuple(ids))

    def add_tokens(self, ids: tuple[int, ...]) -> int:
        """Note a text to be read by its tokens, [CLS] and [SEP] not among them; return its number."""
        return self._numbers.setdefault(ids, len(self._numbers))

    def read(self, *, keep: bool = True) -> None:
        """Take the texts that were noted.

        Args:
            keep: read them now, once for all; else whenever they are asked for, as is needed where the
                lower layers learn.
        """
        self._texts = [torch.tensor([self._first, *ids, self._last]) for ids in self._numbers]
        self._known = {}
        if keep:
            with torch.inference_mode():
                self._known = {i: states.clone() for i, states in self._read(range(len(self._texts)))}

    def of(self, numbers: Sequence[int]) -> list[Tensor]:
        """Return the states of some texts, each of shape (tokens, wide)."""
        known = self._known or dict(self._read(set(numbers)))
        return [known[i] for i in numbers]

    def _read(self, numbers: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        for part in self._alike(numbers):
            ids, mask = self.padded(part)
            with self.autocast():
                states = self._net.read_alone(ids, mask.float()).to(self._dtype)
            for row, i in enumerate(part):
                yield i, states[row, : len(self._texts[i])]

    def _alike(self, numbers: Iterable[int]) -> Iterator[list[int]]:
        """Part texts into some of about equal length."""
        part: list[int] = []
        for i in sorted(numbers, key=lambda i: len(self._texts[i])):
            if part and (len(part) == CHUNK or len(self._texts[i]) > 1.3 * len(self._texts[part[0]]) + 4):
                yield part
                part = []
            part.append(i)
        if part:
            yield part

    def padded(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the tokens of some texts that were read, (n, longest), and which are there."""
        texts = [self._texts[i] for i in numbers]
        ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(text) for text in texts])[:, None]
        return ids.to(self._device), mask.to(self._device)

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in 16 bits where states are kept so."""
        return _autocast(self._device, self._dtype)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> Tensor:
        """Return the states of a text, shape (tokens, wide)."""
        return self.of([number])[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """Numbers of texts: the request and the steps of some traces."""

    requests: Sequence[int]
    steps: Sequence[Sequence[int]]
    in_answer: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Node:
    """A text in a batch, and where in the batch stand its request and the step before it."""

    text: int
    request: int
    before: int


def read_batch(net: StepNet, states: States, batch: Batch, history: int) -> tuple[Tensor, Tensor]:
    """Read the steps of some traces, each in its context.

    Args:
        net: the network.
        states: where the texts' states are kept.
        batch: which texts.
        history: steps before the judged one that the memory walks over.

    Returns:
        What is known at each step, (steps, 2 width), and each trace's request, (traces, width).
    """
    nodes = [Node(states.nothing, 0, 0)]
    requests, steps = [], []
    for request, texts in zip(batch.requests, batch.steps, strict=True):
        asked = 0
        if request != states.nothing:
            nodes.append(Node(request, 0, 0))
            asked = len(nodes) - 1
        requests.append(asked)
        before = 0
        for text in texts:
            nodes.append(Node(text, asked, before))
            before = len(nodes) - 1
            steps.append(before)
    packed = Packed(nodes, states)
    tokens = packed.through(net)
    asked_for = packed.pool(net.read_request, tokens, requests)
    lengths = [len(texts) for texts in batch.steps]
    if not steps:
        return asked_for.new_zeros(0, 2 * asked_for.shape[1]), asked_for
    vectors = packed.pool(net.read_step, tokens, steps)
    of_step = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    in_answer = torch.tensor([float(a) for a in batch.in_answer], device=vectors.device)[of_step]
    index, count = windows(lengths, history)
    return net.last(vectors[index], asked_for[of_step], in_answer, count), asked_for


class Packed:
    """The tokens of a batch in one row, each text beside its request and the step before it."""

    def __init__(self, nodes: Sequence[Node], states: States) -> None:
        texts = states.of([node.text for node in nodes])
        self.states = torch.cat(texts)
        self._lengths = np.array([len(text) for text in texts])
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        beside = [(node.request, node.before, i) for i, node in enumerate(nodes)]
        order = np.argsort([sum(self._lengths[i] for i in parts) for parts in beside], kind="stable")
        self._looks = [
            self._look([beside[i] for i in order[start : start + LOOKING]])
            for start in range(0, len(order), LOOKING)
        ]

    def through(self, net: StepNet) -> Tensor:
        """Run the upper layers: (tokens, wide)."""
        device = self.states.device
        with _autocast(device, self.states.dtype):
            tokens = self.states.float()
            for layer in net.looking:
                query, key, value = layer.project(tokens)
                seen, places = [], []
                for at, own, keys, there, role in self._looks:
                    looked = layer.attend(query[at], key[keys], value[keys], role, there)
                    seen.append(looked[own])
                    places.append(at[own])
                back = torch.argsort(torch.cat(places))
                tokens = layer.finish(torch.cat(seen)[back], tokens)
        return tokens.float()

    def pool(self, reader: nn.Module, tokens: Tensor, which: Sequence[int]) -> Tensor:
        """Pool the tokens of some texts: (len(which), width)."""
        order = np.argsort(self._lengths[list(which)], kind="stable")
        pooled = []
        for start in range(0, len(order), 2 * LOOKING):
            at, own = self._pad([[which[i]] for i in order[start : start + 2 * LOOKING]])[:2]
            pooled.append(reader(tokens[at], own.float()))
        return torch.cat(pooled)[torch.argsort(torch.as_tensor(order))]

    def _look(self, beside: Sequence[tuple[int, int, int]]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return places and presence of the tokens that look, and of those looked at, with their roles."""
        keys, there, role = self._pad(beside)
        at, own, _ = self._pad([parts[-1:] for parts in beside])
        return at, own, keys, there, role

    def _pad(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return places of the tokens of each row of texts, (n, longest); which are there; of which text."""
        longest = max(sum(self._lengths[i] for i in row) for row in texts)
        places = np.zeros((len(texts), longest), dtype=np.int64)
        role = np.zeros_like(places)
        there = np.zeros(places.shape, dtype=bool)
        for n, row in enumerate(texts):
            end = 0
            for number, i in enumerate(row):
                start, end = end, end + self._lengths[i]
                places[n, start:end] = np.arange(self._starts[i], self._starts[i + 1])
                role[n, start:end] = number
            there[n, :end] = True
        device = self.states.device
        return tuple(torch.as_tensor(array, device=device) for array in (places, there, role))  # type: ignore[return-value]


def _autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Compute in 16 bits where states are kept so."""
    return torch.autocast(device.type, dtype=dtype) if dtype == torch.bfloat16 else nullcontext()
