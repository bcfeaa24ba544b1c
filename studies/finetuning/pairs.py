"""SDD's pairing: each harmful prompt with a good but unrelated response.

A response is drawn at random and kept if its similarity to the prompt is at most a threshold; else
another one is drawn. If none of the draws is dissimilar enough, the least similar is kept and marked.
The similarity is the cosine of TF-IDF vectors, which needs no encoder, unless another
embedding is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["Embed", "Pair", "pair", "tfidf"]

Embed: TypeAlias = Callable[[Sequence[str], Sequence[str]], tuple[Any, Any]]
"""Maps prompts and responses to their vectors, one row of length 1 per text; dense or sparse."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The provenance of a pair."""

    prompt: int
    response: int
    """The index of the response; `prompt` is that of the prompt."""
    similarity: float
    tries: int
    fallback: bool
    """Whether no draw was dissimilar enough, so that the least similar was taken."""


def tfidf(prompts: Sequence[str], responses: Sequence[str]) -> tuple[Any, Any]:
    """Return sparse TF-IDF vectors over the words of both."""
    vectorizer = TfidfVectorizer().fit([*prompts, *responses])
    return vectorizer.transform(prompts), vectorizer.transform(responses)


def _rows(prompts: Sequence[str], responses: Sequence[str], embed: Embed) -> Iterator[NDArray[np.float64]]:
    """Yield the cosines prompt by prompt: all of them at once may not fit into memory."""
    left, right = embed(prompts, responses)
    across = right.T.tocsr() if issparse(right) else right.T
    for number in range(len(prompts)):
        row = left[number : number + 1] @ across
        yield np.asarray(row.toarray() if issparse(row) else row, dtype=np.float64)[0]


def pair(
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    threshold: float = 0.25,
    tries: int = 50,
    seed: int = 0,
    embed: Embed = tfidf,
) -> list[Pair]:
    """Pair every prompt with a response; a response may be drawn for several prompts.

    Args:
        prompts: The harmful prompts.
        responses: Good responses to other prompts.
        threshold: The largest similarity that counts as irrelevant.
        tries: The maximum number of responses drawn per prompt.
        seed: Random seed of the draws.
        embed: The function that embeds the texts.
    """
    near, random = _rows(prompts, responses, embed), np.random.default_rng(seed)
    return [_pair(row, number, threshold, tries, random) for number, row in enumerate(near)]


def _pair(
    near: NDArray[np.float64], prompt: int, threshold: float, tries: int, random: np.random.Generator
) -> Pair:
    drawn = random.permutation(len(near))[:tries]
    for number, response in enumerate(drawn, 1):
        if near[response] <= threshold:
            return Pair(prompt, int(response), float(near[response]), number, fallback=False)
    farthest = int(drawn[near[drawn].argmin()])
    return Pair(prompt, farthest, float(near[farthest]), len(drawn), fallback=True)
