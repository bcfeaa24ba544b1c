"""The `Reader` protocol, and helpers with which readers access the fields of a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Protocol, TypeAlias, runtime_checkable

from ...trace import Origin, Trace, Unreadable
from ..plain import plain

__all__ = ["JsonObject", "Reader", "WrongType", "first_held", "kind", "name_of", "text_of"]

JsonObject: TypeAlias = Mapping[str, object]
"""A parsed JSON object."""


@runtime_checkable
class Reader(Protocol):
    """Turns rows of one format into traces.

    A reader recognises rows by their contents, never by the file name, and yields at least one record
    for every row.
    """

    @property
    def name(self) -> str:
        """The name of the format, as in `--format` and `Origin.format`."""

    @property
    def description(self) -> str:
        """A one-line description for `undertow formats`."""

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """The parts that are read from a row, each with its field names in order of precedence."""

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has this format."""

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield the records of a row that was read at `origin`.

        Raises:
            WrongType: A known field holds a value of the wrong type; the caller yields an `Unreadable`.
        """


class WrongType(Exception):
    """A known field of a row holds a value of the wrong type; the message names both."""

    def __init__(self, field: str, value: object, expected: str = "text") -> None:
        super().__init__(f"{plain(field)} holds {kind(value)}; expected {expected}")


def kind(value: object) -> str:
    """Return the kind of a JSON value in a word or two, without any of its content."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def text_of(row: JsonObject, field: str) -> str | None:
    """Return the text of a field, or None if it is absent or null.

    Raises:
        WrongType: The field holds something else.
    """
    value = row.get(field)
    if value is None or isinstance(value, str):
        return value
    raise WrongType(field, value)


def first_held(row: JsonObject, names: Sequence[str]) -> str | None:
    """Return the first of `names` with non-blank text, else with a non-empty list, blank text or any value.

    A non-empty list most likely holds the part in pieces, so blank text in another field must not hide it.
    """
    held = [name for name in names if row.get(name) is not None]
    texts = [name for name in held if isinstance(row[name], str)]
    full = [name for name in texts if str(row[name]).strip()]
    lists = [name for name in held if isinstance(row[name], list) and row[name]]
    return next(iter([*full, *lists, *texts, *held]), None)


def name_of(row: JsonObject, names: Sequence[str], origin: Origin) -> str:
    """Return the row's own id, or else the file's stem and the row number."""
    own = (row.get(name) for name in names)
    named = (value for value in own if isinstance(value, str | int) and not isinstance(value, bool))
    return next(
        (str(value) for value in named if value != ""), f"{PurePath(origin.path or '').stem}:{origin.row}"
    )
