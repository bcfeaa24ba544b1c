"""Write and read verdicts as an SQLite database, for queries in SQL; DuckDB opens it too.

The table `verdicts` has one row per verdict, numbered from 0 in the order of the audit. Nested objects
become columns prefixed with the field name (`onset_step`, `origin_path`). `channels` and `steps` have one
row per item, with the number of its verdict; the number is the key because ids need not be unique.

    SELECT label, count(*) FROM steps JOIN verdicts USING (number) WHERE flagged GROUP BY label;
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

from ....errors import InputError
from ...verdict import SCHEMA, ChannelVerdict, StepVerdict, TraceVerdict

__all__ = ["read", "write"]

_Row: TypeAlias = Mapping[str, Any]

_LISTS: Mapping[str, type[BaseModel]] = {"channels": ChannelVerdict, "steps": StepVerdict}
_TYPES = {int: "INTEGER", float: "REAL", bool: "INTEGER"}
_APPLICATION = 0x756E6474  # "undt"


def write(lines: Iterable[bytes], path: Path) -> None:
    """Write verdicts given as JSON.

    Raises:
        sqlite3.Error: The database cannot be written, for example because the disk is full.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        # An unfinished file is discarded, so it needs no journal of its own.
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")
        base.execute(f"PRAGMA application_id = {_APPLICATION}")
        for table, model in {"verdicts": TraceVerdict, **_LISTS}.items():
            key = "number INTEGER PRIMARY KEY" if table == "verdicts" else "number INTEGER NOT NULL"
            columns = (f'"{"_".join(place)}" {_TYPES.get(kind, "TEXT")}' for place, kind in _columns(model))
            base.execute(f"CREATE TABLE {table} ({key}, {', '.join(columns)})")
        base.execute("BEGIN")
        for number, line in enumerate(lines):
            verdict = json.loads(line)
            _insert(base, "verdicts", number, [verdict])
            for table in _LISTS:
                _insert(base, table, number, verdict[table])
        for table in _LISTS:
            base.execute(f"CREATE INDEX {table}_number ON {table} (number)")
        base.execute("COMMIT")


def read(path: Path) -> Iterator[bytes]:
    """Yield the JSON of each verdict in a database that `write` created.

    Raises:
        InputError: The file is not such a database.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            if base.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
                raise InputError(f"{path} is not a file of verdicts: the database is not marked as {SCHEMA}")
            for number, *values in base.execute("SELECT * FROM verdicts ORDER BY number"):
                verdict = _nested(TraceVerdict, iter(values))
                yield json.dumps(verdict | {t: _items(base, t, number) for t in _LISTS}).encode()
    except sqlite3.DatabaseError as error:
        raise InputError(f"cannot read {path} as an SQLite database: {error}") from error


def _items(base: sqlite3.Connection, table: str, number: int) -> list[_Row]:
    rows = base.execute(f"SELECT * FROM {table} WHERE number = ? ORDER BY rowid", (number,))
    return [_nested(_LISTS[table], iter(values)) for _, *values in rows]


def _insert(base: sqlite3.Connection, table: str, number: int, rows: Sequence[_Row]) -> None:
    columns = _columns(TraceVerdict if table == "verdicts" else _LISTS[table])
    marks = ", ".join("?" * (len(columns) + 1))
    values = ((number, *(_reached(row, place) for place, _ in columns)) for row in rows)
    base.executemany(f"INSERT INTO {table} VALUES ({marks})", values)


@cache
def _columns(model: type[BaseModel]) -> Sequence[tuple[tuple[str, ...], Any]]:
    """Return the path and the type of each scalar field of a model, including those of nested models."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, kind, _ in _parts(model):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [((name, *place), leaf) for place, leaf in _columns(kind)]
        else:
            found.append(((name,), kind))
    return found


def _parts(model: type[BaseModel]) -> Iterator[tuple[str, Any, bool]]:
    """Yield the name and the type of each field that is not a list, and whether it may be None."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        optional = get_origin(kind) in (Union, UnionType)
        if optional:
            (kind,) = (argument for argument in get_args(kind) if argument is not NoneType)
        if get_origin(kind) is not tuple:
            yield field.alias or name, kind, optional


def _reached(row: _Row | None, place: Sequence[str]) -> Any:
    for name in place:
        row = row[name] if row is not None else None
    return row


def _nested(model: type[BaseModel], values: Iterator[Any]) -> dict[str, Any]:
    """Rebuild a nested object from the values of its columns, in order."""
    row: dict[str, Any] = {}
    for name, kind, optional in _parts(model):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner = _nested(kind, values)
            row[name] = None if optional and _empty(inner) else inner
        else:
            value = next(values)
            row[name] = bool(value) if kind is bool and value is not None else value
    return row


def _empty(row: _Row) -> bool:
    return all(value is None or (isinstance(value, dict) and _empty(value)) for value in row.values())
