"""JSON Lines are read whole, or the error names the file and the line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.classifiers.rows import read_rows
from undertow.errors import InputError

ROWS = "".join(json.dumps({"said": f"zorp {n * n}"}) + "\n" for n in range(300)).encode()
PACKED = gzip.compress(ROWS, mtime=0)
MIDDLE = len(PACKED) // 2
BROKEN = {
    "cut off": (PACKED[:MIDDLE], "cannot read {path}: Compressed file ended"),
    "cut in its head": (PACKED[:5], "cannot read {path}: Compressed file ended"),
    "damaged": (PACKED[:MIDDLE] + b"\xff" * 40 + PACKED[MIDDLE + 40 :], "cannot read {path}: "),
    "wrong sum": (PACKED[:-8] + bytes(8), "cannot read {path}: CRC check failed"),
    "junk behind": (PACKED + b"zorp", "cannot read {path}: Not a gzipped file"),
    "not UTF-8": (ROWS + b'{"said": "\xff"}\n', "{path}: line 301 is not a zorp: UnicodeDecodeError"),
    "not UTF-8, packed": (gzip.compress(b"\xff\n"), "{path}: line 1 is not a zorp: UnicodeDecodeError"),
    "zeros": (ROWS + bytes(4) + b"\n", "{path}: line 301 is not a zorp: JSONDecodeError"),
    "no JSON": (b"\n{\n", "{path}: line 2 is not a zorp: JSONDecodeError"),
    "nested": (b"[" * 200_000, "{path}: line 1 is not a zorp: RecursionError"),
    "digits": (b'{"said": ' + b"9" * 5000 + b"}", "{path}: line 1 is not a zorp: ValueError"),
    "endless": (b'{"said": 1e999}', "{path}: line 1 is not a zorp: OverflowError"),
    "another shape": (b"[1]", "{path}: line 1 is not a zorp: TypeError"),
    "another field": (b'{"sad": "zorp"}', "{path}: line 1 is not a zorp: KeyError"),
    "another value": (b'{"said": null}', "{path}: line 1 is not a zorp: TypeError"),
}
"""What stands in a file, and what is said of it."""


def size(row: Any, number: int) -> tuple[int, int]:
    """Return a row's number, and how long what it says is, or how large."""
    said = row["said"]
    return number, len(said) if isinstance(said, str) else int(said)


def read(path: Path, content: bytes) -> list[tuple[int, int]]:
    """Read a file with some content."""
    path.write_bytes(content)
    return list(read_rows(path, size, "a zorp"))


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, content: bytes, said: str) -> None:
    """Whatever is wrong with it, the error is one of input, and short."""
    with pytest.raises(InputError) as error:
        read(tmp_path / "rows.jsonl", content)
    assert str(error.value).startswith(said.format(path=tmp_path / "rows.jsonl"))
    assert len(str(error.value)) < len(str(tmp_path)) + 300


@pytest.mark.parametrize("place", ["nowhere.jsonl", "."], ids=["no file", "a folder"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, place: str) -> None:
    """The same for what is not there, or no file."""
    with pytest.raises(InputError, match="cannot read"):
        list(read_rows(tmp_path / place, size, "a zorp"))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows"])
@pytest.mark.parametrize("content", [ROWS, PACKED, b"\xef\xbb\xbf" + ROWS], ids=["plain", "packed", "mark"])
def test_packed_files_are_known_by_what_they_hold(tmp_path: Path, name: str, content: bytes) -> None:
    """Packed or not, with or without a byte order mark, the rows are the same under any name."""
    assert read(tmp_path / name, content) == [(n, len(f"zorp {n * n}")) for n in range(300)]


@pytest.mark.parametrize("content", [b"", gzip.compress(b""), b"\n \r\n"], ids=["empty", "packed", "blank"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: bytes) -> None:
    """Nor have empty lines."""
    assert read(tmp_path / "rows.jsonl", content) == []


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(PACKED)), st.booleans())
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, packed: bool
) -> None:
    """Bytes anywhere in a file give rows, or an error of input, and no other."""
    content = PACKED[:at] + junk + PACKED[at + len(junk) :] if packed else ROWS[:at] + junk
    try:
        rows = read(tmp_path_factory.mktemp("any") / "rows", content)
    except InputError:
        return
    assert len(rows) <= 301
