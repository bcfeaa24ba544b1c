"""Tables, of text or of columns, become rows, and what is wrong in them becomes a record."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from undertow.errors import InputError, MissingExtra, UnknownFormat
from undertow.monitor.audit import read
from undertow.monitor.audit.containers import Broken, rows
from undertow.monitor.audit.places import Place
from undertow.monitor.trace import Trace, Unreadable

datasets.disable_progress_bars()
CHAT = {
    "id": "c",
    "messages": [
        {"role": "user", "content": "P"},
        {"role": "assistant", "content": "A", "reasoning_content": "R"},
    ],
}
PLAIN = {"id": "p", "prompt": "P", "reasoning": "R", "answer": "A"}


def outline(path: Path) -> list[object]:
    """Return what the rows of a file hold, with the detail where a row is broken."""
    values = [row.value for row in rows(Place(str(path), path))]
    return [value.detail if isinstance(value, Broken) else value for value in values]


def one(path: Path) -> Trace:
    """Read a file with one trace."""
    (found,) = read(path)
    assert isinstance(found, Trace)
    return found


def parquet(path: Path, table: pa.Table) -> None:
    """Save a table as Parquet."""
    pq.write_table(table, path)


def arrow_file(path: Path, table: pa.Table) -> None:
    """Save a table as an Arrow file."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def arrow_stream(path: Path, table: pa.Table) -> None:
    """Save a table as an Arrow stream."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


SAVES: list[Callable[[Path, pa.Table], None]] = [parquet, arrow_file, arrow_stream]
each_save = pytest.mark.parametrize("save", SAVES)


@each_save
@pytest.mark.parametrize("row", [PLAIN, CHAT], ids=["fields", "nested messages"])
def test_columns(tmp_path: Path, save: Callable[[Path, pa.Table], None], row: dict[str, Any]) -> None:
    """Parquet and Arrow are known by their first bytes, and nested messages are messages."""
    path = tmp_path / "t.bin"
    save(path, pa.Table.from_pylist([row] * 150))
    found = list(read(path))
    assert [record.origin.row for record in found] == list(range(150))
    assert {(r.prompt, r.reasoning, r.answer) for r in found if isinstance(r, Trace)} == {("P", "R", "A")}


def test_all_kinds_of_values(tmp_path: Path) -> None:
    """Whatever a column holds, what is kept beside the texts can be written as JSON; null is absent."""
    import datetime
    import decimal

    extra = {
        "when": datetime.datetime(2026, 1, 1), "price": decimal.Decimal("1.5"), "raw": b"\xff", "text": b"t",
        "gone": None, "number": float("nan"),
    }  # fmt: skip
    parquet(tmp_path / "t.parquet", pa.Table.from_pylist([PLAIN | extra]))
    held = one(tmp_path / "t.parquet").metadata
    assert (held["when"], held["price"], held["raw"], held["text"]) == (
        "2026-01-01 00:00:00", "1.5", {"unreadable": "binary"}, "t",
    )  # fmt: skip
    assert "gone" not in held
    json.dumps(held)


ODD: dict[str, pa.Array] = {
    "a year above 9999": pa.array([2**50], pa.timestamp("s")),
    "an unknown zone": pa.array([1], pa.timestamp("us", "Mars/Olympus")),
    "keys that are no text": pa.array([[(b"\xff", 1)]], pa.map_(pa.binary(), pa.int64())),
    "two fields of one name": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
    "no UTF-8": pa.array([b"\xff"]).view(pa.string()),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_values_that_python_does_not_have(tmp_path: Path, odd: pa.Array) -> None:
    """Such a cell costs its row nothing beside the texts; in the place of a text it is of a wrong type."""
    arrow_file(tmp_path / "beside.arrow", pa.table({"answer": ["A"], "odd": odd}))
    found = one(tmp_path / "beside.arrow")
    assert (found.answer, list(found.metadata["odd"])) == ("A", ["unreadable"])
    arrow_file(tmp_path / "read.arrow", pa.table({"reasoning": ["R"], "answer": odd}))
    (record,) = read(tmp_path / "read.arrow")
    assert isinstance(record, Unreadable)
    assert record.problem.detail == "answer holds an object; expected text"


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    """The keys of a map are names, as in JSON."""
    held = pa.array([[(1.5, "v")]], pa.map_(pa.float64(), pa.string()))
    arrow_file(tmp_path / "t.arrow", pa.table({"answer": ["A"], "held": held}))
    assert one(tmp_path / "t.arrow").metadata == {"held": {"1.5": "v"}}


@pytest.mark.parametrize("split", [False, True], ids=["one set", "splits"])
def test_what_datasets_saved(tmp_path: Path, split: bool) -> None:
    """A folder that `datasets` saved is read by its own list of tables."""
    made = datasets.Dataset.from_list([CHAT] * 3)
    whole = datasets.DatasetDict(train=made, test=made) if split else made
    whole.save_to_disk(str(tmp_path / "d"))
    assert len(list(read(tmp_path / "d"))) == (6 if split else 3)


def test_a_list_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A saved set cannot name a table elsewhere."""
    (tmp_path / "secret.arrow").touch()
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret.arrow"}]}))
    with pytest.raises(UnknownFormat, match=r"state\.json"):
        list(read(folder))


def test_a_wrong_schema(tmp_path: Path) -> None:
    """A table without a known column is refused with those it has; a column of the wrong type is a record."""
    parquet(tmp_path / "t.parquet", pa.table({"zorp": [1], "text": ["x"]}))
    with pytest.raises(UnknownFormat, match=r"zorp \(a number\), text \(text\)"):
        list(read(tmp_path / "t.parquet"))
    parquet(tmp_path / "u.parquet", pa.table({"reasoning": [1, 2], "answer": ["A", "B"]}))
    assert [r.origin.format for r in read(tmp_path / "u.parquet")] == ["fields", "fields"]
    parquet(tmp_path / "v.parquet", pa.table({"messages": [1], "answer": ["A"]}))
    (found,) = read(tmp_path / "v.parquet")
    assert isinstance(found, Unreadable)
    assert found.problem.detail == "messages holds a number; expected a list of messages"


@each_save
def test_a_damaged_table(tmp_path: Path, save: Callable[[Path, pa.Table], None]) -> None:
    """A file that is cut off is refused, or its break is a record; it never ends early unsaid."""
    path = tmp_path / "t.bin"
    save(path, pa.Table.from_pylist([PLAIN | {"answer": f"A{i} " * 200} for i in range(2000)]))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        found = list(read(path))
    except InputError as error:
        assert "t.bin" in str(error)
    else:
        assert isinstance(found[-1], Unreadable)


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """Rows of a long table are let go as they are read."""
    writer = pq.ParquetWriter(tmp_path / "t.parquet", pa.schema({"answer": pa.string()}))
    with writer:
        for number in range(20):
            writer.write_table(pa.table({"answer": [f"{number} zorp " * 10_000] * 64}))
    tracemalloc.start()
    assert sum(1 for _ in read(tmp_path / "t.parquet")) == 20 * 64
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 * 2**20  # all texts together have 115 MB


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the file is refused with the command that installs it."""
    parquet(tmp_path / "t.parquet", pa.Table.from_pylist([PLAIN]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"undertow\[parquet\]"):
        list(read(tmp_path / "t.parquet"))


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"], ids=["comma", "tab", "semicolon", "bar"])
@pytest.mark.parametrize("name", ["t.csv", "t.log"])
def test_text(tmp_path: Path, delimiter: str, name: str) -> None:
    """A table of text is known by its first line; cells may hold line ends, quotes and delimiters."""
    cells = ["1", "P", 'say "R",\n\tso; or | so', "A"]
    quoted = delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)
    text = delimiter.join(["id", "prompt", "reasoning", "answer"]) + "\r\n" + quoted + "\r\n"
    (tmp_path / name).write_text(text, encoding="utf-8-sig", newline="")
    found = one(tmp_path / name)
    assert [found.id, found.prompt, found.reasoning, found.answer] == cells


def test_messages_in_a_cell(tmp_path: Path) -> None:
    """A conversation that a table holds as JSON is a conversation."""
    cell = json.dumps(CHAT["messages"]).replace('"', '""')
    (tmp_path / "t.csv").write_text(f'id,messages\nc,"{cell}"\n')
    found = one(tmp_path / "t.csv")
    assert (found.origin.format, found.prompt, found.reasoning, found.answer) == (
        "openai-chat",
        "P",
        "R",
        "A",
    )


def test_a_mapped_table(tmp_path: Path) -> None:
    """A mapping names the columns, and by them the file is known as a table."""
    (tmp_path / "t.txt").write_text("zorp,quux\nR,A\n")
    (found,) = read(tmp_path / "t.txt", mapping={"reasoning": "zorp", "answer": "quux"})
    assert isinstance(found, Trace)
    assert (found.reasoning, found.answer) == ("R", "A")


def test_broken_lines_of_text(tmp_path: Path) -> None:
    """A record with too many or too few cells, or that is no UTF-8, is broken; the others are read."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"reasoning,answer\nR,A\na,b,c\nonly\n\n\xff,A\nS,B\n")
    assert outline(path) == [
        {"reasoning": "R", "answer": "A"},
        "line 3: 3 cells, but the header has 2 columns",
        "line 4: 1 cells, but the header has 2 columns",
        "line 6: not UTF-8",
        {"reasoning": "S", "answer": "B"},
    ]


def test_a_hostile_column_name_cannot_move_the_cursor(tmp_path: Path) -> None:
    """A name that the detail of a record quotes has no control characters, and is short."""
    name = "\x1b[2J" + "z" * 99
    (tmp_path / "t.csv").write_text(f"reasoning,{name},{name}\nR,A,B\n")
    (said,) = outline(tmp_path / "t.csv")
    assert isinstance(said, str)
    assert said.isprintable() and len(said) < 100


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    """No text takes another's place unsaid: a record with both is broken, one with either is read."""
    path = tmp_path / "t.csv"
    path.write_text("reasoning,answer,reasoning,,\nR,A,S,1,2\nR,A,,1,2\n,A,S,,\n")
    assert outline(path) == [
        "line 2: two columns are named reasoning",
        {"reasoning": "R", "answer": "A", "": "2"},
        {"reasoning": "S", "answer": "A"},
    ]


def test_a_quote_that_never_ends(tmp_path: Path) -> None:
    """What an open quote swallows is a broken record, and never judged as one text."""
    path = tmp_path / "t.csv"
    path.write_text('reasoning,answer\nR,A\nS,"open\nT,C\n')
    assert outline(path) == [{"reasoning": "R", "answer": "A"}, "line 4: unexpected end of data"]


def test_an_empty_table(tmp_path: Path) -> None:
    """A table with nothing but names, and a file with nothing at all, have no rows."""
    for content in ("", "reasoning,answer\n"):
        (tmp_path / "t.csv").write_text(content)
        assert outline(tmp_path / "t.csv") == []
