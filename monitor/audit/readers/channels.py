"""Assemble the two channels of a trace from reasoning fields and tags.

A saved generation may hold its reasoning twice (in a field, and in the tags that it was taken
from) or in several parts (in a field, with more before a late `</think>`). Distinct parts are
kept in the order in which they were found; duplicates are kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...reasoning import BLOCK_BREAK, Parsed, parse, profile_for

__all__ = ["Channels", "Part", "assemble", "joined", "unwrap"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of reasoning, and the field or tags that it comes from."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Channels:
    """The texts of a trace, named as in `Trace`."""

    reasoning: str | None
    answer: str | None
    reasoning_from: str | None
    truncated: bool


def assemble(
    parts: Iterable[Part], answer: str | None, *, prompt: str = "", model: str | None = None
) -> Channels:
    """Return the channels of one generation.

    Args:
        parts: The reasoning found in fields, in order of precedence.
        answer: The visible text, which may contain reasoning between tags.
        prompt: The request; a raw prompt may end with the tag that opens the reasoning.
        model: The model's name, if known.
    """
    found = _by_source(parts)
    parsed = None if answer is None else _parsed(answer, "" if found else prompt, model)
    if parsed is not None:
        found.append(Part(f"tags:{parsed.profile}", parsed.reasoning))
        answer = parsed.answer
    kept = _different(found)
    return Channels(
        reasoning=joined(part.text for part in kept),
        answer=joined([answer]),
        reasoning_from="+".join(dict.fromkeys(part.source for part in kept)) or None,
        truncated=parsed is not None and parsed.truncated,
    )


def unwrap(text: str, model: str | None = None) -> Parsed | None:
    """Split a reasoning field that was saved with its tags; return None for a field without tags.

    Such a field begins with the opening tag, or contains only a closing one. Elsewhere, a tag is
    something that the reasoning mentions.
    """
    parsed = parse(text, model=model)
    first = next((segment for segment in parsed.segments if segment.text.strip()), None)
    return parsed if first is not None and first.channel == "reasoning" and parsed.reasoning != text else None


def _parsed(text: str, prompt: str, model: str | None) -> Parsed | None:
    """Split a visible text into reasoning and answer, or return None if no tag marks any reasoning.

    The live output of some models begins inside the reasoning, but a saved text without tags is mostly
    an answer from which the server removed the reasoning. So the model's name alone decides nothing.
    """
    parsed = parse(text, prompt=prompt, model=model)
    untagged = text in (parsed.answer, parsed.reasoning)
    return None if untagged and profile_for(None, prompt).channel != "reasoning" else parsed


def joined(texts: Iterable[str | None]) -> str | None:
    """Join the texts that are not blank with an empty line; return None if there are none."""
    return BLOCK_BREAK.join(text for text in texts if text and not text.isspace()) or None


def _by_source(parts: Iterable[Part]) -> list[Part]:
    """Merge the parts of each source into one; sources are few, parts may be many."""
    texts: dict[str, list[str]] = {}
    for part in parts:
        texts.setdefault(part.source, []).append(part.text)
    return [Part(source, joined(own) or "") for source, own in texts.items()]


def _different(parts: Sequence[Part]) -> list[Part]:
    """Drop blank parts and parts contained in another part, ignoring differences in whitespace."""
    kept: list[tuple[str, Part]] = []
    for part in parts:
        bare = " ".join(part.text.split())
        if any(bare in other for other, _ in kept):
            continue
        kept = [(other, earlier) for other, earlier in kept if other not in bare]
        kept.append((bare, part))
    return [part for bare, part in kept if bare]
