"""What a model's message holds: its reasoning, its visible text, and what a provider withheld.

The readers of saved transcripts and the wraps of live calls both read messages here, so that a text is
reasoning, a summary or an answer for both, or for neither. A message, a chunk's delta and a content
part are JSON objects, or the objects that a client library made of them.

The APIs of some models return a summary as if it were the reasoning: only the model's name shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .reasoning import BLOCK_BREAK
from .trace import NotAssessed

__all__ = [
    "FIELDS",
    "LISTS",
    "PLAIN",
    "Contents",
    "Part",
    "Withheld",
    "contents_of",
    "distinct",
    "get",
    "joined",
    "reasoning_tokens",
]

FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message that hold reasoning, in order of precedence."""

LISTS = ("reasoning_details", "thinking_blocks")
"""Fields that hold reasoning as a list of parts."""

PLAIN = (str, bytes, int, float, list, tuple)
"""Types of values that have no fields."""

_THINKING: Mapping[str, Sequence[str]] = {
    "thinking": ("thinking",),
    "reasoning": ("reasoning", "text", "content"),
    "reasoning.text": ("text",),
    "reasoning_content": ("reasoning_content",),
}
"""The fields that hold the text of a part of reasoning, by its type; the last is Bedrock's."""

_ENCRYPTED = frozenset({"reasoning.encrypted", "redacted_thinking"})
_SECRET = ("encrypted_content", "redacted_content")
_SPENT = re.compile("reasoning|thinking|thoughts")
_SUMMARISES = re.compile(
    r"(?:^|[/.:@~])(?:claude(?!-(?:[123]\b|v[123]|instant)|.*3[-.]7)|gemini|o[134](?![\w.])|gpt-5)", re.I
)
"""Matches models whose API gives a summary as the reasoning: Claude from version 4 on, Gemini, OpenAI's."""


class Part(NamedTuple):
    """A piece of reasoning, and the field or tags that it comes from."""

    source: str
    text: str


class Odd(NamedTuple):
    """A field that holds something else than it should."""

    name: str
    value: object
    expected: str


@dataclass
class Withheld:
    """What is known of reasoning that a provider or a log did not give as the model wrote it."""

    summarised: bool = False
    """Whether a part is a summary."""
    encrypted: bool = False
    """Whether a part is encrypted or was left out."""
    signed: bool = False
    """Whether a part has a signature but no text."""
    given: bool = False
    """Whether a field of its own holds reasoning."""
    unread: bool = False
    """Whether a part was of a type that cannot be read."""
    tokens: int = 0
    """The number of reasoning tokens according to the provider; 0 if unknown."""

    def add(self, other: Withheld) -> None:
        """Add what another part of the response shows."""
        for name in ("summarised", "encrypted", "signed", "given", "unread"):
            setattr(self, name, getattr(self, name) or getattr(other, name))
        self.tokens = max(self.tokens, other.tokens)

    def caveat(self, model: str | None, *, reasoned: bool) -> NotAssessed | None:
        """Return why the reasoning cannot be judged in full, or None.

        Args:
            model: The model's name.
            reasoned: Whether there is any reasoning, in a field of its own or in the text.
        """
        if self.summarised or (self.given and _SUMMARISES.search((model or "").lower())):
            return NotAssessed(reason="summary_only", detail="a summary was given instead of the reasoning")
        if self.encrypted or (self.signed and not self.given):
            return NotAssessed(reason="encrypted", detail="the reasoning was encrypted or left out")
        if self.unread:
            return NotAssessed(reason="wrong_types", detail="a text field did not contain text")
        if self.tokens and not reasoned:
            detail = f"the model spent {self.tokens} tokens on reasoning; none of it was given"
            return NotAssessed(reason="reasoning_stripped", detail=detail)
        return None


@dataclass
class Contents(Withheld):
    """The contents of a message, in the order in which its fields are read."""

    parts: list[Part] = field(default_factory=list)
    """The reasoning in fields of its own."""
    visible: list[str] = field(default_factory=list)
    """The texts of the content; they may contain reasoning between tags."""
    refusal: str = ""
    odd: list[Odd] = field(default_factory=list)
    """The fields of a wrong type."""
    before: dict[str, int] = field(default_factory=dict)
    """For each source of reasoning, the number of visible texts before its first part, without blank ones."""

    def text(self, holder: Any, name: str, path: str) -> str:
        """Return the text in a field; empty if there is none."""
        value = get(holder, name)
        if isinstance(value, str):
            return value
        if value is not None:
            self.odd.append(Odd(f"{path}{name}", value, "text"))
        return ""

    def think(self, source: str, text: str) -> None:
        """Add reasoning."""
        self.given |= bool(text.strip())
        if source not in self.before:
            self.before[source] = sum(not said.isspace() for said in self.visible if said)
        self.parts.append(Part(source, text))

    def take(self, part: Any, source: str, path: str) -> None:
        """Add one part of the content, or of a list of reasoning, according to its type."""
        if isinstance(part, str):
            self.think(source, part) if source in LISTS else self.visible.append(part)
            return
        if part is None or isinstance(part, PLAIN):
            self.odd.append(Odd(path, part, "an object"))
            return
        what, path = str(get(part, "type")), f"{path}."
        if what in _ENCRYPTED:
            self.encrypted = True
        elif what == "reasoning.summary" or (what == "reasoning" and get(part, "redacted")):
            # Only the summary of a redacted part is readable; the rest is encrypted.
            summary = self.text(part, "summary", path)
            self.encrypted, self.summarised = True, self.summarised or bool(summary.strip())
            self.think(f"{source}:{'summary' if what == 'reasoning' else what}", summary)
        elif get(part, "thought") is True:  # from the Gemini API, which returns summaries
            text = self.text(part, "text", path)
            self.summarised |= bool(text.strip())
            self.think(f"{source}:thought", text)
        elif what in _THINKING:
            self.think(f"{source}:{what}", self._thought(part, _THINKING[what], path))
        elif source in LISTS:
            self.think(f"{source}:{what}", self.text(part, "text", path))
        else:
            plain = "content" if isinstance(get(part, "content"), str) else "text"
            self.visible.append(self.text(part, what if what == "refusal" else plain, path))

    def _thought(self, part: Any, names: Sequence[str], path: str) -> str:
        """Return the text of a part of reasoning; a summary alone stands for what the provider withheld."""
        said = _together(self._texts(part, name, path) for name in names)
        short = self._texts(part, "summary", path)
        if said.strip():
            return _together([short, said])
        self.summarised |= bool(short.strip())
        if not short.strip():
            holders = (part, get(part, "extras"), get(part, names[0]))
            self.signed |= any(get(holder, "signature") for holder in holders)
            self.encrypted |= any(get(holder, name) for holder in holders for name in _SECRET)
        return short or said

    def _texts(self, part: Any, name: str, path: str) -> str:
        """Return the text in a field: plain, in an object (Bedrock's), or in a list (Mistral's, OpenAI's)."""
        inner, where = get(part, name), f"{path}{name}"
        if isinstance(inner, list | tuple):
            texts = [self._inner(one, f"{where}[]") for one in inner]
            return _together(texts) if name == "summary" else "".join(texts)
        if name == "reasoning_content" and isinstance(inner, Mapping):
            return self.text(inner, "text", f"{where}.")
        return self.text(part, name, path)

    def _inner(self, part: Any, path: str) -> str:
        if part is None or isinstance(part, PLAIN):
            self.odd.append(Odd(path, part, "an object"))
            return ""
        return self.text(part, "text", f"{path}.")


def get(holder: Any, name: str) -> Any:
    """Return a field of a JSON object or of an object with attributes; None if it is absent."""
    if isinstance(holder, Mapping):
        return holder.get(name)
    return None if isinstance(holder, PLAIN) else getattr(holder, name, None)


def contents_of(message: Any, names: Sequence[str] = ("content",)) -> Contents:
    """Return the contents of a message or of a chunk's delta.

    Args:
        message: The message.
        names: The fields that may hold its content, in order of precedence.
    """
    found = Contents()
    for name in FIELDS:
        if text := found.text(message, name, "") or _moved(message, name):
            found.think(name, text)
    for name in LISTS:
        value = get(message, name)
        if isinstance(value, list | tuple):
            for index, part in enumerate(value):
                found.take(part, name, f"{name}[{index}]")
        elif value is not None:
            found.odd.append(Odd(name, value, "a list"))
    name = names[0]
    if len(names) > 1:
        name = next((name for name in names if get(message, name) not in (None, "")), name)
    content = get(message, name)
    if isinstance(content, list | tuple):
        for index, part in enumerate(content):
            found.take(part, "content", f"{name}[{index}]")
    else:
        found.visible.append(found.text(message, name, ""))
    found.refusal = found.text(message, "refusal", "") or _moved(message, "refusal")
    return found


def _moved(message: Any, name: str) -> str:
    """Return the text of a field that LiteLLM has moved, as it does with a refusal; empty if it has not."""
    text = get(get(message, "provider_specific_fields"), name)
    return text if isinstance(text, str) else ""


def _together(texts: Iterable[str]) -> str:
    """Join texts that do not repeat each other; one that is all white space stays, as a delta may be."""
    found = dict.fromkeys(texts)
    return joined(found) or "".join(found)


def joined(texts: Iterable[str | None]) -> str | None:
    """Join the texts that are not blank with an empty line; return None if there are none."""
    return BLOCK_BREAK.join(text for text in texts if text and not text.isspace()) or None


def distinct(parts: Iterable[Part]) -> list[Part]:
    """Join the parts of each source; drop what is blank, or contained in what another source holds.

    Sources are few, parts may be many. Differences in white space do not count, since one field may repeat
    the parts of another without the breaks between them.
    """
    texts: dict[str, list[str]] = {}
    for source, text in parts:
        texts.setdefault(source, []).append(text)
    kept: list[tuple[str, Part]] = []
    for source, own in texts.items():
        part = Part(source, joined(own) or "")
        bare = "".join(part.text.split())
        if not any(bare in other for other, _ in kept):
            kept = [(other, earlier) for other, earlier in kept if other not in bare]
            kept.append((bare, part))
    return [part for bare, part in kept if bare]


def reasoning_tokens(usage: Any) -> int:
    """Return the number of reasoning tokens in the usage reported by any API; 0 if unknown."""
    if hasattr(usage, "model_dump"):
        usage = usage.model_dump(warnings=False)
    if isinstance(usage, list):
        return max(map(reasoning_tokens, usage), default=0)
    if not isinstance(usage, dict):
        return 0
    named = (value for name, value in usage.items() if _SPENT.search(name))
    counts = [int(value) for value in named if isinstance(value, int | float) and 0 < value < 10**12]
    return max([*counts, *(reasoning_tokens(value) for value in usage.values())], default=0)
