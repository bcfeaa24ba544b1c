"""Concatenate texts for torch, each with its request and the step before it as context.

While the lower layers are frozen, their states of every text are computed once. A batch concatenates
the states of its texts without padding; they are padded only for attention, in chunks of about equal
length. Training computes in 16 bits where autocast allows it, judging in 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .hub import clean
from .network import StepNet, windows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Batch", "Node", "Packed", "States", "read_batch"]

CHUNK = 96
"""The maximum number of texts that the lower layers read together."""

LOOKING = 32
"""The number of texts for which attention is computed together."""


class States:
    """The states of many texts after the lower layers; equal texts are stored once.

    Args:
        net: the network whose lower layers are used.
        tokenizer: the tokenizer of the network.
        max_tokens: the number of tokens of a text that are read, including [CLS] and [SEP]. Of a longer
            request the beginning and the end are read, of a longer step the beginning.
        dtype: the type of the kept states; the layers compute in 16 bits if it is bfloat16.
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
        """Register a text to be read; return its number."""
        ids = self._tokenizer.encode(clean(text), add_special_tokens=False).ids
        if len(ids) > self._room:
            half = self._room // 2
            ids = ids[:half] + ids[half - self._room :] if request else ids[: self._room]
        return self.add_tokens(tuple(ids))

    def add_tokens(self, ids: tuple[int, ...]) -> int:
        """Register a text by its tokens, without [CLS] and [SEP]; return its number."""
        return self._numbers.setdefault(ids, len(self._numbers))

    def read(self, *, keep: bool = True) -> None:
        """Prepare the registered texts; call it before `of`.

        Args:
            keep: whether to compute all states now and keep them; otherwise they are computed whenever they
                are asked for, as is needed while the lower layers are trained.
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
        """Yield chunks of texts of about equal length."""
        part: list[int] = []
        for i in sorted(numbers, key=lambda i: len(self._texts[i])):
            if part and (len(part) == CHUNK or len(self._texts[i]) > 1.3 * len(self._texts[part[0]]) + 4):
                yield part
                part = []
            part.append(i)
        if part:
            yield part

    def padded(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the padded tokens of some texts, (n, longest), and a mask of those that are not padding."""
        texts = [self._texts[i] for i in numbers]
        ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(text) for text in texts])[:, None]
        return ids.to(self._device), mask.to(self._device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context that computes in 16 bits if states are kept in bfloat16."""
        return _autocast(self._device, self._dtype)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> Tensor:
        """Return the states of a text, shape (tokens, wide)."""
        return self.of([number])[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some traces as numbers of texts in `States`: their requests and their steps."""

    requests: Sequence[int]
    steps: Sequence[Sequence[int]]
    in_answer: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Node:
    """A text of a batch: its number in `States`, and the places of its request and of the step before it."""

    text: int
    request: int
    before: int


def read_batch(net: StepNet, states: States, batch: Batch, history: int) -> tuple[Tensor, Tensor]:
    """Read the steps of some traces, each in its context.

    Args:
        net: the network.
        states: the states of the texts.
        batch: the traces.
        history: the number of earlier steps that the memory runs over.

    Returns:
        The features of each step, (steps, 2 width), and the vector of each request, (traces, width).
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
    """The concatenated tokens of a batch; each text is read with its request and the step before it."""

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
        """Run the upper layers; return the states of all tokens, (tokens, wide)."""
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
        """Pool the tokens of each of some texts into a vector, (len(which), width)."""
        order = np.argsort(self._lengths[list(which)], kind="stable")
        pooled = []
        for start in range(0, len(order), 2 * LOOKING):
            at, own = self._pad([[which[i]] for i in order[start : start + 2 * LOOKING]])[:2]
            pooled.append(reader(tokens[at], own.float()))
        return torch.cat(pooled)[torch.argsort(torch.as_tensor(order))]

    def _look(self, beside: Sequence[tuple[int, int, int]]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the places and mask of the querying tokens, and the places, mask and roles of the keys."""
        keys, there, role = self._pad(beside)
        at, own, _ = self._pad([parts[-1:] for parts in beside])
        return at, own, keys, there, role

    def _pad(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens' places, mask and number of their text, for each row of texts, (n, longest)."""
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
    """Return a context that computes in 16 bits if states are kept in bfloat16."""
    return torch.autocast(device.type, dtype=dtype) if dtype == torch.bfloat16 else nullcontext()
