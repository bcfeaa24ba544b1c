"""Write and read verdicts as Parquet: one row per verdict, typed columns, nested steps.

The columns are the fields of `TraceVerdict`. The schema is derived from the model, so the two cannot
diverge. Requires pyarrow: `pip install 'undertow[parquet]'`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from ....errors import InputError, MissingExtra, first_line
from ...verdict import SCHEMA, TraceVerdict

__all__ = ["read", "schema", "write"]

_GROUP = 1000
"""Number of verdicts held in memory, and in each row group."""


def write(lines: Iterable[bytes], path: Path) -> None:
    """Write verdicts given as JSON.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    columns = schema()
    source = iter(lines)
    with pyarrow.parquet.ParquetWriter(path, columns, compression="zstd") as file:
        while group := [json.loads(line) for line in islice(source, _GROUP)]:
            file.write_table(pyarrow.Table.from_pylist(group, schema=columns))


def read(path: Path) -> Iterator[bytes]:
    """Yield the JSON of each verdict in a file that `write` created.

    Raises:
        InputError: The file is not Parquet, or has other columns.
        MissingExtra: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema()):
                raise InputError(f"{path} is not a file of verdicts: its columns are not those of {SCHEMA}")
            for batch in file.iter_batches(batch_size=_GROUP):
                yield from (json.dumps(row).encode() for row in batch.to_pylist())
    except pyarrow.ArrowException as error:
        raise InputError(f"cannot read {path} as Parquet: {first_line(error)}") from error


def schema() -> Any:
    """Return the pyarrow schema of a verdict."""
    metadata = {"undertow.schema": SCHEMA}
    return _pyarrow().schema(_fields(TraceVerdict), metadata=metadata)


def _fields(model: type[BaseModel]) -> list[Any]:
    arrow = _pyarrow()
    return [
        arrow.field(field.alias or name, _type(field.annotation))
        for name, field in model.model_fields.items()
    ]


def _type(annotation: Any) -> Any:
    """Return the Arrow type of a field; optional fields become nullable columns."""
    arrow = _pyarrow()
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _type(inner)
    if origin is Literal:
        return arrow.string()
    if origin is tuple:
        return arrow.list_(_type(arguments[0]))
    if issubclass(annotation, BaseModel):
        return arrow.struct(_fields(annotation))
    plain = {str: arrow.string(), bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    return plain[annotation]


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading and writing Parquet", "parquet") from error
    return pyarrow
