"""Files packed, folders, patterns, URLs and standard input: all lead to the same rows."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import zstandard

from undertow.errors import InputError, MissingExtra
from undertow.monitor.audit import read
from undertow.monitor.audit.finding import find
from undertow.monitor.trace import Unreadable

ROWS = [{"id": str(number), "reasoning": f"R{number}", "answer": "A"} for number in range(500)]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()

Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
each_pack = pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS.keys())


def ids(*paths: str | Path) -> list[str]:
    """Return the ids of the records in files."""
    return [record.id for record in read(paths)]


@each_pack
@pytest.mark.parametrize("content", [TEXT, json.dumps(ROWS, indent=1).encode()], ids=["lines", "document"])
def test_packed(tmp_path: Path, pack: Pack, content: bytes) -> None:
    """What is packed is told by its first bytes, whatever the file is called."""
    path = tmp_path / "t.log"
    path.write_bytes(pack(content))
    assert ids(path) == [row["id"] for row in ROWS]


@each_pack
def test_packed_in_parts(tmp_path: Path, pack: Pack) -> None:
    """Files that were packed and then joined are read to the end."""
    path = tmp_path / "t.jsonl.x"
    path.write_bytes(pack(TEXT) + pack(TEXT))
    assert len(ids(path)) == 2 * len(ROWS)


TABLE = "".join(f"{row['id']},{row['reasoning']},A\n" for row in ROWS).encode()


@each_pack
@pytest.mark.parametrize(
    "content",
    [TEXT, json.dumps(ROWS).encode(), b"id,reasoning,answer\n" + TABLE],
    ids=["lines", "document", "table"],
)
def test_packed_and_cut_off(tmp_path: Path, pack: Pack, content: bytes) -> None:
    """Of a packed file that breaks off, the rows before the break are kept, and the break is a record."""
    path = tmp_path / "t.jsonl"
    path.write_bytes((pack(content[: len(content) // 2]) + pack(content[len(content) // 2 :]))[:-9])
    *sound, last = read(path)
    assert len(sound) >= len(ROWS) // 2
    assert isinstance(last, Unreadable)
    assert last.problem.detail.startswith("damaged, the rest cannot be read")
    assert all(record.answer == "A" for record in sound if not isinstance(record, Unreadable))


@each_pack
def test_a_bomb_costs_no_memory(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to one vast line is one record, and what follows it is read."""
    monkeypatch.setattr("undertow.monitor.audit.files.LINE_LIMIT", 2**20)
    path = tmp_path / "t.jsonl"
    path.write_bytes(
        pack(json.dumps(ROWS[0]).encode() + b"\n" + b"x" * 2**26 + b"\n" + json.dumps(ROWS[1]).encode())
    )
    assert path.stat().st_size < 2**18
    assert ids(path) == ["0", "t:1", "1"]


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an optional package reads is refused with the command that installs it."""
    path = tmp_path / "t.zst"
    path.write_bytes(PACKS["zstd"](TEXT))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match=r"undertow\[zstd\]"):
        ids(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input, packed or not, which is read once and kept as long as it is needed."""
    for content in (TEXT, gzip.compress(TEXT)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert len(ids("-")) == len(ROWS)


def test_patterns(tmp_path: Path) -> None:
    """A pattern gives the files that it matches, in order; one that is a file's name is that file."""
    (tmp_path / "deep").mkdir()
    for name in ("b.jsonl", "a.jsonl", "c.txt", "deep/d.jsonl", "[x].jsonl"):
        (tmp_path / name).write_bytes(TEXT)
    found = [Path(place.name).relative_to(tmp_path).as_posix() for place in find([tmp_path / "*.jsonl"])]
    assert found == ["[x].jsonl", "a.jsonl", "b.jsonl"]
    assert len(find([str(tmp_path / "**" / "*.jsonl")])) == 4
    assert [Path(place.name).name for place in find([tmp_path / "[x].jsonl"])] == ["[x].jsonl"]
    with pytest.raises(InputError, match="no file matches"):
        find([tmp_path / "*.zorp"])


def test_folders(tmp_path: Path) -> None:
    """A folder stands for the transcripts in it, packed ones too, or for those under `data`."""
    for name in ("b.jsonl.gz", "a.csv", "c.parquet", "d.eval", "e.gz", "f.py"):
        (tmp_path / name).touch()
    assert [Path(place.name).name for place in find([tmp_path])] == [
        "a.csv",
        "b.jsonl.gz",
        "c.parquet",
        "d.eval",
    ]
    (tmp_path / "hub" / "data").mkdir(parents=True)
    (tmp_path / "hub" / "data" / "train.parquet").touch()
    assert [Path(place.name).name for place in find([tmp_path / "hub"])] == ["train.parquet"]


def test_a_link_out_of_a_folder(tmp_path: Path) -> None:
    """A link that leads out of a folder is refused; named itself, it is read; one that stays is read."""
    (tmp_path / "secret.jsonl").write_bytes(TEXT)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(TEXT)
    (folder / "b.jsonl").symlink_to(folder / "a.jsonl")
    assert len(find([folder])) == 2
    (folder / "c.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(InputError, match=r"c\.jsonl is a link to a file outside"):
        find([folder])
    assert len(ids(folder / "c.jsonl")) == len(ROWS)


@pytest.mark.parametrize(
    "named",
    ["memory://zorp/a.jsonl.gz", "memory://zorp/*.gz", "memory://zorp"],
    ids=["file", "pattern", "folder"],
)
def test_urls(named: str) -> None:
    """What fsspec can open is read like a file of this machine, and named by its URL."""
    with fsspec.open("memory://zorp/a.jsonl.gz", "wb") as file:
        file.write(gzip.compress(TEXT))
    found = list(read(named))
    assert [record.id for record in found] == [row["id"] for row in ROWS]
    assert {str(record.origin.path)[:9] for record in found} == {"memory://"}


@pytest.mark.parametrize("named", ["memory://zorp/missing.jsonl", "zorp://x/y", "memory://zorp/*.none"])
def test_urls_that_lead_nowhere(named: str) -> None:
    """A URL without a file, or of a kind that there is not, is refused by name."""
    with pytest.raises(InputError, match="zorp"):
        list(read(named))


def test_a_url_without_a_server_is_an_error_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems are made from parts of the URL, and each misses them in its own way, as that of `ftp://`."""

    def url_to_fs(_: str) -> None:
        raise TypeError("missing 1 required positional argument: 'host'")

    monkeypatch.setattr("fsspec.core.url_to_fs", url_to_fs)
    with pytest.raises(InputError, match="cannot read ftp://: missing"):
        list(read("ftp://"))


def test_a_closed_standard_input_is_an_error_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs start others without any standard input."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="closed"):
        list(read("-"))
