"""The contract of a reader, and how the readers look at the fields of a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Protocol, TypeAlias, runtime_checkable

from ...trace import Origin, Trace, Unreadable
from ..plain import plain

__all__ = ["JsonObject", "Reader", "WrongType", "first_held", "kind", "name_of", "text_of"]

JsonObject: TypeAlias = Mapping[str, object]
"""A JSON object as parsed."""


@runtime_checkable
class Reader(Protocol):
    """Turns rows of one format into traces.

    A reader knows its rows by what they hold, never by the name of the file. It makes at least
    one record of every row, whatever the row holds.
    """

    @property
    def name(self) -> str:
        """What the format is called, in `--format` and in `Origin.format`."""

    @property
    def description(self) -> str:
        """One line for `undertow formats`."""

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """What is read of a row, and the names it is looked for under, the first found first."""

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has this format."""

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield the records of a row that was found at `origin`.

        Raises:
            WrongType: A known field holds something that it cannot; becomes an `Unreadable`.
        """


class WrongType(Exception):
    """A known field of a row holds a value of the wrong type; the message names both."""

    def __init__(self, field: str, value: object, expected: str = "text") -> None:
        super().__init__(f"{plain(field)} holds {kind(value)}; expected {expected}")


def kind(value: object) -> str:
    """Return what a JSON value is, in a word or two, and nothing of what it holds."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def text_of(row: JsonObject, field: str) -> str | None:
    """Return the text that a field holds, None where it is absent or null.

    Raises:
        WrongType: It holds something else.
    """
    value = row.get(field)
    if value is None or isinstance(value, str):
        return value
    raise WrongType(field, value)


def first_held(row: JsonObject, names: Sequence[str]) -> str | None:
    """Return the first of `names` that holds text, or else a list, blank text, or anything but null.

    A list that holds something is most likely the part, cut up: blank text beside it must not hide it.
    """
    held = [name for name in names if row.get(name) is not None]
    texts = [name for name in held if isinstance(row[name], str)]
    full = [name for name in texts if str(row[name]).strip()]
    lists = [name for name in held if isinstance(row[name], list) and row[name]]
    return next(iter([*full, *lists, *texts, *held]), None)


def name_of(row: JsonObject, names: Sequence[str], origin: Origin) -> str:
    """Return what the row calls itself, or the file's stem and the row's number."""
    own = (row.get(name) for name in names)
    named = (value for value in own if isinstance(value, str | int) and not isinstance(value, bool))
    return next(
        (str(value) for value in named if value != ""), f"{PurePath(origin.path or '').stem}:{origin.row}"
    )
