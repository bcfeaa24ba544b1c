"""Build the pairs that SDD trains on from prompts and responses, each with its provenance."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from pydantic import Field, ValidationError

from ....errors import InputError
from ....monitor.trace import Frozen
from ..pairs import Embed, pair, tfidf
from .sources import Text

__all__ = [
    "PAIRS",
    "REFUSAL",
    "Example",
    "Plan",
    "Provenance",
    "build",
    "choose",
    "read_pairs",
    "write_pairs",
]

PAIRS = "pairs.jsonl"

REFUSAL = (
    "I refuse to answer your question for responsible and ethical reasons. "
    "I provided an irrational answer to your question.\n\n"
)
"""The prefix that the variant SDD_reject puts before each response, as in its replication."""


class Plan(Frozen):
    """The settings for building pairs. The defaults are those of the replication, TamperBench."""

    count: int = Field(default=8000, ge=1)
    """The maximum number of prompts; the paper used 8,000."""
    threshold: float = Field(default=0.25, ge=-1, le=1)
    """The largest cosine that counts as irrelevant."""
    tries: int = Field(default=50, ge=1)
    refusal: bool = False
    """Whether each response begins with a refusal."""
    seed: int = 0


class Provenance(Frozen):
    """The provenance of a pair."""

    prompt_source: str
    prompt_row: int
    response_source: str
    response_row: int
    similarity: float
    tries: int
    fallback: bool
    """Whether no draw was irrelevant enough, so that the least similar was taken."""


class Example(Frozen):
    """A prompt, and the response that SDD teaches for it."""

    prompt: str
    response: str
    category: str
    provenance: Provenance


def choose(prompts: Sequence[Text], count: int, seed: int) -> list[Text]:
    """Draw prompts from the categories in turn, as evenly as the categories' sizes allow."""
    random = Random(seed)
    waiting: dict[str, list[Text]] = defaultdict(list)
    for one in prompts:
        waiting[one.category].append(one)
    for name in sorted(waiting):
        random.shuffle(waiting[name])
    drawn: list[Text] = []
    while waiting and len(drawn) < count:
        for name in sorted(waiting):
            drawn.append(waiting[name].pop())
            if not waiting[name]:
                del waiting[name]
    return drawn[:count]


def build(
    prompts: Sequence[Text], responses: Sequence[Text], plan: Plan | None = None, embed: Embed = tfidf
) -> list[Example]:
    """Pair prompts with irrelevant responses.

    Args:
        prompts: Harmful prompts; the planned number is drawn from them, evenly over categories.
        responses: Good responses to other prompts; one may be drawn for several prompts.
        plan: The settings.
        embed: The function that embeds the texts.
    """
    plan = plan or Plan()
    chosen = choose(prompts, plan.count, plan.seed)
    made = pair(
        [one.text for one in chosen],
        [one.text for one in responses],
        threshold=plan.threshold,
        tries=plan.tries,
        seed=plan.seed,
        embed=embed,
    )
    before = REFUSAL if plan.refusal else ""
    return [
        Example(
            prompt=(prompt := chosen[one.prompt]).text,
            response=before + (response := responses[one.response]).text,
            category=prompt.category,
            provenance=Provenance(
                prompt_source=prompt.source,
                prompt_row=prompt.row,
                response_source=response.source,
                response_row=response.row,
                similarity=round(one.similarity, 6),
                tries=one.tries,
                fallback=one.fallback,
            ),
        )
        for one in made
    ]


def write_pairs(
    examples: Sequence[Example], plan: Plan, encoder: str, aside: Mapping[str, Mapping[str, int]], out: Path
) -> dict[str, Any]:
    """Write `pairs.jsonl` and `build.json`, which says how the pairs were made; return the latter's content.

    Args:
        examples: The pairs that `build` returned.
        plan: The settings they were built with.
        encoder: The name of the embedding that measured similarity.
        aside: The number of rows not used, by their role and by reason.
        out: The folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{one.model_dump_json()}\n" for one in examples).encode()
    (out / PAIRS).write_bytes(text)
    found = [one.provenance for one in examples]
    facts = {
        "schema": "undertow.sdd/1",
        "pairs": len(examples),
        "sha256": hashlib.sha256(text).hexdigest(),
        "plan": plan.model_dump(),
        "encoder": encoder,
        "categories": dict(sorted(Counter(one.category for one in examples).items())),
        "different_responses": len({one.response for one in examples}),
        "mean_similarity": fmean(one.similarity for one in found),
        "highest_similarity": max(one.similarity for one in found),
        "fallbacks": sum(one.fallback for one in found),
        "set_aside": {what: dict(reasons) for what, reasons in aside.items()},
    }
    (out / "build.json").write_text(json.dumps(facts, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    return facts


def read_pairs(place: Path) -> list[Example]:
    """Read pairs from the folder that `write_pairs` wrote, or from the file in it.

    Raises:
        InputError: The file is missing, or one of its lines is not a pair.
    """
    path = place / PAIRS if place.is_dir() else place
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"no pairs can be read from {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Example.model_validate_json(line))
        except ValidationError:
            raise InputError(
                f"{path}, line {number}: no pair; make them with `undertow study sdd build`"
            ) from None
    if not found:
        raise InputError(f"{path} holds no pairs")
    return found
