"""`step-encoder`: a small text encoder that reads a step in its context, on onnxruntime.

What a text is worth beside its request and the steps before it is computed once and kept, for
when it stands in another step's history; what a step costs does therefore not grow with the
trace. Each text is read by itself, so a row cannot depend on its neighbours in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import WeightsError
from .base import StepClassifierBase
from .contract import Probabilities, StepInput
from .recent import Recent
from .store import Manifest
from .threads import threads
from .tokens import Ids, Laid, Line, Tokens

__all__ = ["EncoderClassifier"]

Array: TypeAlias = NDArray[np.float32]
MANY = 32
"""Steps from which on they are spread over the cores; onnxruntime leaves Python free to."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A window of a text, read beside what stands before it."""

    layers: tuple[Array, ...]
    """Its tokens' states before each upper layer, shape (1, tokens, wide)."""
    step: Array
    """What it is worth as a step, shape (1, width)."""
    request: Array
    """What it is worth as a request, shape (1, width)."""


class EncoderClassifier(StepClassifierBase):
    """Judges steps with the encoder and the memory that `undertow.classifiers.export` wrote.

    A step longer than the encoder's window is read in several, each beside the one before, and the
    riskiest of them counts, so that nothing hides behind padding; disguises are taken off first. A
    step of which the tokenizer knows nothing (control characters, a script that it was not made for)
    cannot be judged: its row is NaN.

    Args:
        folder: where its weights stand.
        manifest: what `store.read_manifest(folder)` gave.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.name = manifest.name
        self.digest = manifest.digest
        self._temperature = float(manifest.settings["temperature"])
        self._tokens = Tokens(folder, manifest)
        self._look_back = self._tokens.look_back
        self._lower, self._upper, self._memory = (
            _session(folder / f"{part}.onnx") for part in ("lower", "upper", "memory")
        )
        self._names = [entry.name for entry in self._upper.get_inputs()]
        self._alone: Recent[Ids, Array] = Recent(256)
        self._asked: Recent[Ids, _Read] = Recent(64)
        self._between: Recent[Line, Array] = Recent(256)
        self._worth: Recent[Line, Array] = Recent(16384)
        self._nothing = self._read_nothing()

    @classmethod
    def from_folder(cls, folder: Path, manifest: Manifest) -> Self:
        """Load from a folder whose manifest has been checked.

        Raises:
            WeightsError: if a file or a setting is missing, or onnxruntime cannot read the graphs.
        """
        try:
            return cls(folder, manifest)
        except Exception as error:  # tokenizers and onnxruntime raise types of their own
            raise WeightsError(f"{folder} does not hold a step-encoder: {error}") from error

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the label probabilities, shape (len(steps), 4), columns as `LABELS`."""
        cores = threads()
        if len(steps) < MANY or cores == 1:
            return self._rows(steps)
        # Neighbours stay together: each is worth something to the next.
        size = -(-len(steps) // cores)
        with ThreadPoolExecutor(cores) as pool:
            parts = pool.map(self._rows, [steps[i : i + size] for i in range(0, len(steps), size)])
            return np.concatenate(list(parts))

    def _rows(self, steps: Sequence[StepInput]) -> Probabilities:
        rows = np.empty((len(steps), 4))
        for index, step in enumerate(steps):
            rows[index] = self._judge(step)
        return rows

    def _judge(self, step: StepInput) -> NDArray[np.float64]:
        laid = self._tokens.lay(step)
        if laid is None:
            return np.full(4, np.nan)
        before = [self._vectors(laid, lines).mean(0, keepdims=True) for lines in laid.before]
        own = self._vectors(laid, laid.own)
        asked = self._request_read(laid.request).request
        in_answer = np.array([laid.in_answer], dtype=np.float32)
        rows = [self._decide(np.concatenate([*before, reading[None]]), asked, in_answer) for reading in own]
        return max(rows, key=lambda row: float(row[2] + row[3]))

    def _vectors(self, laid: Laid, lines: Sequence[Line]) -> Array:
        """Return what each window of a text is worth, shape (windows, width)."""
        return np.concatenate([self._vector(laid.request, line) for line in lines])

    def _decide(self, window: Array, request: Array, in_answer: Array) -> NDArray[np.float64]:
        given = {"steps": window[None], "request": request, "in_answer": in_answer}
        logits = self._memory.run(None, given)[0][0]
        scaled = logits.astype(np.float64) / self._temperature
        shares = np.exp(scaled - scaled.max())
        row: NDArray[np.float64] = shares / shares.sum()
        return row

    def _vector(self, request: Ids, line: Line) -> Array:
        """Return what the last of some windows is worth after the others, shape (1, width)."""
        return self._worth.get((request, *line), lambda: self._read(request, line).step)

    def _read(self, request: Ids, line: Line) -> _Read:
        """Read the last of some windows beside the request and the window before it."""
        before = [self._layer(request, line[-depth - 2 : -1]) for depth in range(self._look_back)]
        read = self._run_upper(self._states(line[-1]), [*self._request_read(request).layers, *before])
        for depth in range(1, self._look_back):
            self._between.get((request, *line[-depth - 1 :]), partial(read.layers.__getitem__, depth))
        return read

    def _layer(self, request: Ids, line: Line) -> Array:
        """Return the last window's states before an upper layer; before the n-th they depend on n others."""
        depth = len(line) - 1
        if not line[-1]:
            return self._nothing[depth]
        if not depth:
            return self._states(line[-1])
        whole = ((),) * (self._look_back - depth) + line
        return self._between.get((request, *line), lambda: self._read(request, whole).layers[depth])

    def _request_read(self, request: Ids) -> _Read:
        """Read a request; there is nothing beside it."""
        beside = [*self._nothing, *self._nothing]
        return self._asked.get(request, lambda: self._run_upper(self._states(request), beside))

    def _read_nothing(self) -> tuple[Array, ...]:
        """Return the empty text's states before each upper layer, beside itself."""
        states = [self._run_lower(())]
        while len(states) < self._look_back:
            known = (states + states[-1:] * self._look_back)[: self._look_back]
            states.append(self._run_upper(states[0], [*known, *known]).layers[len(states)])
        return tuple(states)

    def _states(self, ids: Ids) -> Array:
        return self._alone.get(ids, lambda: self._run_lower(ids))

    def _run_lower(self, ids: Ids) -> Array:
        framed = np.array([self._tokens.framed(ids)], dtype=np.int64)
        states: Array = self._lower.run(None, {"ids": framed})[0]
        return states

    def _run_upper(self, own: Array, beside: Sequence[Array]) -> _Read:
        *between, step, request = self._upper.run(None, dict(zip(self._names, [own, *beside], strict=True)))
        return _Read((own, *between), step, request)


def _session(path: Path) -> Any:
    """Open a graph for one thread: texts are short, and callers bring their own threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
