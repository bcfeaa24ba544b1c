"""From a step in its context to the tokens that `step-encoder` reads, whatever runs its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tokenizers import Tokenizer

from .contract import REMEMBERED, StepInput
from .normalise import normalised
from .recent import Recent
from .store import Manifest

__all__ = ["Ids", "Laid", "Line", "Tokens"]

Ids: TypeAlias = tuple[int, ...]
"""The tokens of one window of a text; () is the empty text, which stands for what is not there."""

Line: TypeAlias = tuple[Ids, ...]
"""A window after those before it that it can look back to: one for each upper layer."""

CHARACTERS = 4000
"""Characters of a request that are read: of a longer one, its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Laid:
    """A step as the network reads it."""

    request: Ids
    before: tuple[tuple[Line, ...], ...]
    """The steps before it that the memory walks over, oldest first: a line for each window of each."""
    own: tuple[Line, ...]
    """A line for each window of the step itself; the riskiest counts."""
    in_answer: bool


class Tokens:
    """Cuts texts into windows of tokens.

    Args:
        folder: where the encoder's `tokenizer.json` stands.
        manifest: of the encoder's folder.

    Raises:
        ValueError: if the tokenizer is not BERT's.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.look_back = int(manifest.settings["upper_layers"])
        """How many windows before it a window is read beside, one after the other."""
        self._window = int(manifest.settings["max_tokens"]) - 2
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._unknown = self.tokenizer.token_to_id("[UNK]")
        self._known: Recent[str, list[Ids]] = Recent(1024)
        self._asked: Recent[str, Ids] = Recent(64)
        first, last = (self.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        if first is None or last is None:
            raise ValueError("its tokenizer has no [CLS] and [SEP]")
        self._ends: tuple[int, int] = first, last

    def lay(self, step: StepInput) -> Laid | None:
        """Lay out a step, its disguises taken off; None where the tokenizer knows nothing of it."""
        step = normalised(step)
        own = self._windows(step.text)
        if all(token == self._unknown for window in own for token in window):
            return None
        texts = [self._windows(text) for text in step.history[-REMEMBERED:]]
        line: list[Ids] = [()] * self.look_back
        lines: list[tuple[Line, ...]] = []
        for windows in [*texts, own]:
            found = []
            for window in windows:
                line.append(window)
                found.append(tuple(line[-self.look_back - 1 :]))
            lines.append(tuple(found))
        # The oldest texts are there to be looked back at, as they are in training.
        count = min(len(texts), REMEMBERED - self.look_back)
        before = tuple(lines[len(texts) - count : -1])
        request = self._asked.get(step.prompt, lambda: self._request(step.prompt))
        return Laid(request, before, lines[-1], step.channel == "answer")

    def framed(self, ids: Ids) -> list[int]:
        """Return a window's tokens between those that open and close a text."""
        first, last = self._ends
        return [first, *ids, last]

    def _windows(self, text: str) -> list[Ids]:
        return self._known.get(text, lambda: self._cut(text))

    def _cut(self, text: str) -> list[Ids]:
        ids = self._ids(text)
        return [tuple(ids[i : i + self._window]) for i in range(0, max(1, len(ids)), self._window)]

    def _request(self, text: str) -> Ids:
        """Return the tokens of a request; of a long one, its beginning and its end."""
        if len(text) > CHARACTERS:
            text = text[: CHARACTERS // 2] + "\n" + text[-CHARACTERS // 2 :]
        ids, half = self._ids(text), self._window // 2
        return tuple(ids if len(ids) <= self._window else ids[:half] + ids[half - self._window :])

    def _ids(self, text: str) -> list[int]:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be tokenized
        ids: list[int] = self.tokenizer.encode(clean, add_special_tokens=False).ids
        return ids
