"""Packs data into the page: JSON, compressed with gzip, encoded as base64.

The page unpacks the list at once, and each block of texts when one of its traces is opened.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, Final

__all__ = ["Blocks", "pack", "pack_rows"]

_BLOCK: Final = 400_000
_CHUNK: Final = 3 * 100_000  # base64 encodes three bytes at a time, so such parts can be joined


def pack(value: Any) -> str:
    """Return a value as JSON, compressed with gzip and encoded as base64."""
    return b64encode(gzip.compress(_json(value), compresslevel=6, mtime=0)).decode()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def pack_rows(rows: Iterable[Any]) -> Iterator[str]:
    """Yield a packed list in parts, without holding all of it in memory."""
    raw = BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as file:
        between = b"["
        for row in rows:
            file.write(between + _json(row))
            between = b","
            if raw.tell() >= _CHUNK:
                yield _taken(raw, raw.tell() - raw.tell() % 3)
        file.write(b"]" if between == b"," else b"[]")
    yield _taken(raw, raw.tell())


def _taken(raw: BytesIO, length: int) -> str:
    """Remove bytes from the front of a buffer; return them as base64."""
    held = raw.getvalue()
    raw.seek(0)
    raw.truncate()
    raw.write(held[length:])
    return b64encode(held[:length]).decode()


class Blocks:
    """Collects values into blocks of bounded size; each block has the index of its first value."""

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._size = 0
        self._first = 0

    def add(self, value: Any) -> Iterator[tuple[int, str]]:
        """Take the next value; yield the block that it completes, if any."""
        self._held.append(value)
        self._size += len(_json(value))
        if self._size >= _BLOCK:
            yield from self.rest()

    def rest(self) -> Iterator[tuple[int, str]]:
        """Yield the last, incomplete block, if any."""
        if self._held:
            yield self._first, pack(self._held)
            self._first += len(self._held)
            self._held, self._size = [], 0
