"""What a family of guards is: how it is asked, how it answers, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ..contract import LABELS, Label
from ..hub import clean

__all__ = [
    "SAID",
    "Backend",
    "Chat",
    "Family",
    "Heard",
    "Prompt",
    "Spoken",
    "asking",
    "defused",
    "found_answer",
    "only",
    "row_of",
    "shown",
    "yes_or_no",
]

SAID = 0.95
"""What an answer counts for where only the word is known, not its probability: how sure a guard is
then cannot be told, so its steps can be ranked by label alone."""

_MARKS = re.compile(
    r"<[|\uff5c][^|\uff5c>]{1,40}[|\uff5c]>|<(?:start|end)_of_\w+>|</?(?:s|think|guardian|no-think|score|bos|eos)>"
    r"|<(?:BEGIN|END) [A-Z ]{1,40}>|\[/?(?:INST|SYSTEM_PROMPT)\]|<<?/?SYS>>?"
)


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt as messages, for the template that comes with the model's tokenizer."""

    messages: tuple[Mapping[str, str], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the template wants besides, such as Granite Guardian's `guardian_config`."""


Prompt: TypeAlias = str | Chat
"""A text exactly as the model reads it, or a chat."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """An answer that was found in what a guard wrote."""

    answer: str
    """One of the family's `answers`."""
    at: int
    """Where the answer begins in what the guard wrote."""
    refusal: bool | None = None
    """Whether it says that the text refuses; None where it does not say."""


@dataclass(frozen=True, slots=True)
class Family:
    """Guards that are asked and answer alike."""

    name: str
    models: str
    """A regular expression that finds the names of its models."""
    render: Callable[[str, str], Sequence[Prompt]]
    """Request and text → the questions to ask; with several, the riskiest answer counts."""
    parse: Callable[[str], Spoken | None]
    """What the guard wrote → its answer; None where there is none."""
    answers: Mapping[str, Label]
    """Each answer as the guard writes it → the label that it stands for."""
    lead: str | None = None
    """What always stands before the answer, so that nothing need be written to weigh the answers;
    None where the guard must write first."""
    tokens: int = 64
    """How many tokens it may write."""
    context: int = 0
    """How many earlier steps it is shown before the step, unless asked otherwise."""
    joint: str = " "
    """What stands between the steps that it is shown."""
    opens: bool = True
    """Whether a text begins with the tokenizer's mark of a beginning."""
    refuses: bool = False
    """Whether what it writes says that the text refuses."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a guard said of one question."""

    shares: Mapping[str, float]
    """Each answer's probability; they add up to 1."""
    refusal: bool | None = None
    """Whether it says that the text refuses; None where it does not say."""


class Backend(Protocol):
    """Where a guard runs."""

    @property
    def identity(self) -> str:
        """Names the weights, as exactly as can be known."""

    @property
    def parallel(self) -> int:
        """How many questions it can take at once."""

    @property
    def chats(self) -> bool:
        """Whether it can be asked by messages."""

    def hear(self, prompt: Prompt, family: Family, speak: bool) -> Heard | None:
        """Ask one question; None where what came back is no answer.

        Raises:
            CannotJudge: if nothing came back.
        """


def asking(question: str) -> Callable[[str, str], Sequence[Prompt]]:
    """Return a `render` that asks one question, in which `{request}` and `{text}` stand for the two."""
    return lambda request, text: [question.format(request=request, text=text)]


def found_answer(found: re.Match[str] | None, refusal: bool | None = None) -> Spoken | None:
    """Return the answer that is the first group of a match; None where nothing matched."""
    return Spoken(found[1], found.start(1), refusal) if found else None


def yes_or_no(written: str) -> Spoken | None:
    """Read the Yes or No that an answer begins with, whatever comes after it."""
    return found_answer(re.match(r"\W*(Yes|No)\b", written))


def row_of(family: Family, shares: Mapping[str, float], refusal: bool | None) -> NDArray[np.float64]:
    """Turn the shares of a guard's answers into a row; a text that refuses is aware, not neutral.

    Returns:
        Shape (4,), columns as `LABELS`.
    """
    row = np.zeros(len(LABELS))
    for answer, share in shares.items():
        row[LABELS.index(family.answers[answer])] += share
    row /= row.sum()
    if refusal:
        row[LABELS.index("aware")] += row[LABELS.index("neutral")]
        row[LABELS.index("neutral")] = 0.0
    return row


def shown(context: int) -> int:
    """Return how many earlier steps a guard is to be shown.

    Raises:
        UsageError: if that is below 0.
    """
    if context < 0:
        raise UsageError(f"a guard is shown 0 earlier steps or more, not context={context}")
    return context


def only(family: Family, answer: str) -> dict[str, float]:
    """Return shares for an answer of which only the word is known."""
    others = [name for name in family.answers if name != answer]
    return {answer: SAID} | dict.fromkeys(others, (1 - SAID) / len(others))


def defused(text: str) -> str:
    """Break whatever a guard's prompt could take for its own marks: the text is hostile.

    A space after its first character leaves a mark readable and takes its power away.
    """
    return _MARKS.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", clean(text))
