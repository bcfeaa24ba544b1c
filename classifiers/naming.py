"""The names of judges that are not undertow folders: a kind, a model, where it runs, and options.

    hf:org/name@revision                      any Hugging Face sequence classifier
    guard:org/name@revision                   a generative guard, on this machine
    guard:org/name@http://localhost:8000/v1   the same, on an OpenAI-compatible server
    judge:name@http://localhost:8000/v1       any chat model on such a server, asked our question
    stream:org/name@revision                  Qwen3Guard-Stream, token by token

A folder can replace `org/name`. Options follow a question mark, as in a URL:
`hf:org/name@revision?LABEL_0=neutral&LABEL_1=harm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from ..errors import UsageError

__all__ = ["FORMS", "PREFIXES", "Named", "is_named", "named", "take"]

PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "hf": ".huggingface:HuggingFaceClassifier",
        "guard": ".guards.classifier:GuardClassifier",
        "judge": ".guards.classifier:JudgeClassifier",
        "stream": ".guards.stream:StreamGuard",
    }
)
"""The prefix of a name → the class whose `from_name(named)` builds the judge."""

FORMS: Mapping[str, str] = MappingProxyType(
    {
        "hf:org/name@revision": "any Hugging Face sequence classifier",
        "guard:org/name@revision": "a guard that generates: Llama Guard, Qwen3Guard, ShieldGemma, …",
        "guard:org/name@http://host:port/v1": "the same, on an OpenAI-compatible server",
        "judge:name@http://host:port/v1": "any chat model, asked for one of the four labels",
        "stream:org/name@revision": "Qwen3Guard-Stream, token by token",
    }
)
"""Each form of a name → what it is for."""


@dataclass(frozen=True, slots=True)
class Named:
    """A parsed name."""

    kind: str
    place: str
    """`org/name`, a folder, or the name that a server gives the model."""
    revision: str | None
    """A commit, tag or branch; None if none was given."""
    address: str | None
    """The base URL of a server; None for a model on this machine."""
    options: Mapping[str, str]


def is_named(name: str) -> bool:
    """Return whether a name has one of these forms."""
    return name.partition(":")[0] in PREFIXES and ":" in name


def named(name: str) -> Named:
    """Parse a name.

    Raises:
        UsageError: if the prefix is unknown or the model's name is missing.
    """
    kind, _, rest = name.partition(":")
    rest, _, query = rest.partition("?")
    place, _, where = rest.partition("@")
    if kind not in PREFIXES or not place:
        raise UsageError(f"{name!r} is not the name of a judge; the forms are: {', '.join(FORMS)}")
    served = where.startswith(("http://", "https://"))
    return Named(
        kind=kind,
        place=place,
        revision=where or None if not served else None,
        address=where if served else None,
        options=dict(parse_qsl(query, keep_blank_values=True)),
    )


def take(options: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Convert options to arguments of the given types.

    Raises:
        UsageError: if the judge has no such option, or a value is not of its type.
    """
    unknown = set(options) - set(kinds)
    if unknown:
        raise UsageError(
            f"unknown option {min(unknown)!r} after the ?; known: {', '.join(sorted(kinds)) or 'none'}"
        )
    return {name: _value(name, text, kinds[name]) for name, text in options.items()}


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("", "yes", "no", "true", "false", "1", "0"):
            raise UsageError(f"the option {name} must be yes or no, not {text!r}")
        return text.lower() in ("", "yes", "true", "1")
    try:
        return kind(text)
    except ValueError as error:
        raise UsageError(f"the option {name} must be an integer, not {text!r}") from error
