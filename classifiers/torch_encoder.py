"""`step-encoder` on torch: the same weights on a GPU, or on a CPU, for large audits.

The steps of a call are read together, each text once in each context, in 32 bits. The version for
onnxruntime rounds to 8 bits at run time, so the two agree within a few hundredths, not to the last
digit. So the digest differs, and `original` holds the digest of the shipped classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import StepClassifierBase, digest_of
from .contract import Probabilities, StepInput
from .network import StepNet
from .packing import Node, Packed, States
from .rebuild import network_from
from .store import Manifest, unloadable
from .tokens import Ids, Laid, Line, Tokens

__all__ = ["TorchEncoder"]

TOGETHER = 512
"""The number of windows of text that are read together; the memory needed grows with it."""


class TorchEncoder(StepClassifierBase):
    """Judges steps as `EncoderClassifier` does, with torch.

    Args:
        folder: the folder that holds the encoder's weights.
        manifest: the result of `store.read_manifest(folder)`.
        device: a torch device, such as "cuda".
    """

    def __init__(self, folder: Path, manifest: Manifest, device: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.device = device
        self.name = manifest.name
        self.digest = digest_of(["torch", "float32", torch.device(device).type, manifest.digest])
        self.original = manifest.digest
        self._temperature = float(manifest.settings["temperature"])
        self._max_tokens = int(manifest.settings["max_tokens"])
        self._tokens = Tokens(folder, manifest)
        self._net = network_from(folder).to(device)

    @classmethod
    def from_folder(cls, folder: Path, manifest: Manifest, device: str) -> TorchEncoder:
        """Load from a folder whose manifest has been checked.

        Raises:
            MissingExtra: if torch, transformers or onnx is not installed.
            WeightsError: if a file or a setting is missing, or the graphs are not those of a step-encoder.
        """
        try:
            return cls(folder, manifest, device)
        except Exception as error:  # tokenizers and onnx raise types of their own
            raise unloadable(folder, "a step-encoder", error) from error

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the label probabilities, shape (len(steps), 4), columns as `LABELS`."""
        rows = np.full((len(steps), 4), np.nan)
        laid = [(index, one) for index, step in enumerate(steps) if (one := self._tokens.lay(step))]
        for part in _parts(laid):
            with torch.inference_mode():
                rows[[index for index, _ in part]] = self._judge([one for _, one in part])
        return rows

    def _judge(self, steps: Sequence[Laid]) -> NDArray[np.float64]:
        """Return the rows of some steps, each that of its riskiest window."""
        texts = _Texts(States(self._net, self._tokens.tokenizer, self._max_tokens, torch.float32))
        walks: list[list[int]] = []
        asked, of = [], []
        for number, step in enumerate(steps):
            before = [texts.text(step.request, lines) for lines in step.before]
            for line in step.own:
                walks.append([*before, texts.text(step.request, (line,))])
                asked.append(texts.request(step.request))
                of.append(number)
        vectors, requests = texts.read(self._net)
        longest = max(map(len, walks))
        index = torch.tensor([walk + walk[-1:] * (longest - len(walk)) for walk in walks])
        in_answer = torch.tensor([float(steps[number].in_answer) for number in of], device=vectors.device)
        lengths = torch.tensor([len(walk) for walk in walks])
        last = self._net.last(vectors[index], requests[torch.tensor(asked)], in_answer, lengths)
        rows = (self._net.decide(last).cpu().double() / self._temperature).softmax(-1).numpy()
        order = np.lexsort((rows[:, 2] + rows[:, 3], of))
        riskiest = np.append(np.diff(np.array(of)[order]) > 0, True)
        judged: NDArray[np.float64] = rows[order[riskiest]]
        return judged


def _parts(steps: Sequence[tuple[int, Laid]]) -> Iterator[Sequence[tuple[int, Laid]]]:
    """Yield the steps in parts of at most `TOGETHER` windows, but of at least one step."""
    seen: set[tuple[Ids, Line]] = set()
    first = 0
    for place, (_, step) in enumerate(steps):
        own = {(step.request, line) for lines in (*step.before, step.own) for line in lines}
        if seen and len(seen | own) > TOGETHER:
            yield steps[first:place]
            first, seen = place, set()
        seen |= own
    if steps:
        yield steps[first:]


class _Texts:
    """The texts of some steps in the context of their requests and preceding windows, to be read together."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._nodes = [Node(states.nothing, 0, 0)]
        self._numbers: dict[tuple[Ids, Line], int] = {}
        self._requests: dict[Ids, int] = {(): 0}
        self._asked: dict[Ids, int] = {}
        self._texts: dict[tuple[int, ...], int] = {}

    def request(self, ids: Ids) -> int:
        """Register a request; return its number among the requests."""
        self._request(ids)
        return self._asked.setdefault(ids, len(self._asked))

    def text(self, request: Ids, lines: Sequence[Line]) -> int:
        """Register a text by a line for each of its windows; return its number among the texts."""
        nodes = tuple(self._node(request, line) for line in lines)
        return self._texts.setdefault(nodes, len(self._texts))

    def read(self, net: StepNet) -> tuple[Tensor, Tensor]:
        """Return the vectors of the texts and of the requests, (texts, width) and (requests, width)."""
        self._states.read()
        packed = Packed(self._nodes, self._states)
        tokens = packed.through(net)
        windows = packed.pool(net.read_step, tokens, [node for nodes in self._texts for node in nodes])
        counts = torch.tensor([len(nodes) for nodes in self._texts])
        text_of = torch.repeat_interleave(torch.arange(len(counts)), counts).to(windows.device)
        sums = windows.new_zeros(len(counts), windows.shape[1]).index_add(0, text_of, windows)
        requests = packed.pool(net.read_request, tokens, [self._requests[ids] for ids in self._asked])
        return sums / counts.to(windows.device)[:, None], requests

    def _request(self, ids: Ids) -> int:
        """Return the place of a request, which is read without context."""
        if ids not in self._requests:
            self._requests[ids] = self._add(Node(self._states.add_tokens(ids), 0, 0))
        return self._requests[ids]

    def _node(self, request: Ids, line: Line) -> int:
        """Return the place of the last window of a line.

        The keys and values of a window in the n-th upper layer depend only on the n - 1 windows before it,
        so a window that was read at the end of a longer line also serves for a shorter line.
        """
        known = self._numbers.get((request, line))
        if known is not None:
            return known
        before = line[:-1]
        beside = self._node(request, before) if before and before[-1] else 0
        place = self._add(Node(self._states.add_tokens(line[-1]), self._request(request), beside))
        for start in range(len(line)):
            self._numbers.setdefault((request, line[start:]), place)
        return place

    def _add(self, node: Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1
