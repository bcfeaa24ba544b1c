"""Read the rows of Parquet and Arrow files, a few at a time, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from ....errors import InputError, MissingExtra, first_line
from ..files import Broken, Row
from ..places import Place

__all__ = ["is_columnar", "table_rows"]

_PARQUET, _ARROW, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_ROWS = 64
"""Number of rows held in memory at once; each may be a long transcript."""


def is_columnar(head: bytes) -> bool:
    """Return whether a file that begins with `head` is Parquet or Arrow."""
    return head.startswith((_PARQUET, _ARROW, _ARROW_STREAM))


def table_rows(place: Place) -> Iterator[Row]:
    """Yield the rows of a Parquet file, or of an Arrow file or stream.

    Null fields are left out. If the file is damaged further in, the last row is a `Broken` that says so.

    Raises:
        InputError: The file cannot be read at all.
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtra("reading Parquet and Arrow files", "parquet") from None
    with place.seekable() as file:
        try:
            batches = _batches(file)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"cannot read {place.name}: {first_line(error)}") from error
        index = 0
        try:
            for batch, read in batches:
                for start in range(0, batch.num_rows, _ROWS):
                    for row in _dictionaries(batch.slice(start, _ROWS)):
                        yield Row(index, row, read)
                        index += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            detail = f"damaged ({type(error).__name__}); the rest of the file cannot be read"
            yield Row(index, Broken(detail), file.seek(0, 2))


def _batches(file: BinaryIO) -> Iterator[tuple[Any, int]]:
    """Return the batches of rows, each with its end position in the file, in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    head = file.read(len(_ARROW))
    size = file.seek(0, 2)
    file.seek(0)
    if head.startswith(_PARQUET):
        table = pq.ParquetFile(file, pre_buffer=False)
        return _of_parquet(table, size)
    if head.startswith(_ARROW):
        saved = pa.ipc.open_file(file)
        count = saved.num_record_batches
        return ((saved.get_batch(i), size * (i + 1) // count) for i in range(count))
    return ((batch, file.tell()) for batch in pa.ipc.open_stream(file))


def _of_parquet(table: Any, size: int) -> Iterator[tuple[Any, int]]:
    total, done = max(table.metadata.num_rows, 1), 0
    for batch in table.iter_batches(batch_size=_ROWS):
        done += batch.num_rows
        yield batch, size * done // total


def _dictionaries(batch: Any) -> Iterator[dict[str, object]]:
    """Yield the rows of a batch as JSON-like dictionaries."""
    for at in range(batch.num_rows):
        cells = zip(batch.schema.names, (column[at] for column in batch.columns), strict=True)
        yield {name: _value(cell) for name, cell in cells if cell.is_valid}


def _value(cell: Any) -> object:
    """Return the value of a cell, or an object that names its type if Python cannot represent the value.

    Examples are years above 9999, unknown time zones, bytes that are not text and duplicate field names.
    Such a cell does not make its row unreadable, unless a reader needs the cell: then it has the wrong type.
    """
    try:
        return _plain(cell.as_py(maps_as_pydicts="lossy"))
    except Exception:  # any error: the conversion is up to the library that implements the type
        return {"unreadable": str(cell.type)}


def _plain(value: object) -> object:
    """Convert a Python value to a JSON value: bytes are decoded as UTF-8, other types become text."""
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
