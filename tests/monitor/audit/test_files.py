"""Files become rows, and nothing that is wrong with a file loses a row that is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.errors import InputError
from undertow.monitor.audit import files
from undertow.monitor.audit.containers import Broken, Row
from undertow.monitor.audit.files import json_rows
from undertow.monitor.audit.finding import find
from undertow.monitor.audit.places import Place

GOOD = {"reasoning": "fine"}

Jsonl = Callable[..., Path]


def rows(path: Path, is_row: Callable[[object], bool] = lambda _: False) -> Iterator[Row]:
    """Read a file on this machine."""
    return json_rows(Place(str(path), path), is_row)


def values(path: Path) -> list[object]:
    """Return what the rows of a file hold."""
    return [row.value for row in rows(path)]


def outline(path: Path) -> list[object]:
    """Return what the rows hold, with the beginning of the detail where a row is broken."""
    return [
        value.detail.split(":", 1)[-1].strip() if isinstance(value, Broken) else value
        for value in values(path)
    ]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b'{"reasoning": "caf\xe9"}', "not UTF-8 (byte 18 of the row)"),
        (b"\x00\x00\x00", "not JSON: Expecting value (character 0 of the row)"),
        (
            b'{"reasoning": "cut in the mid',
            "not JSON: Unterminated string starting at (character 14 of the row)",
        ),
        (b'{"a": 1} {"a": 2}', "text after the end of the JSON value (character 8 of the row)"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b"1" * 5000, "a number with too many digits"),
    ],
    ids=["not UTF-8", "NUL bytes", "cut", "two values", "deep list", "deep object", "digits"],
)
def test_a_broken_line_is_one_row(jsonl: Jsonl, line: bytes, detail: str) -> None:
    """A line that is no JSON gives one broken row, which says why, and the others are read."""
    path = jsonl(GOOD, line, GOOD)
    assert outline(path) == [GOOD, detail, GOOD]
    broken = values(path)[1]
    assert isinstance(broken, Broken)
    assert broken.detail.startswith("line 2: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'\r\n{"a": 1}\r\n\r\n  {"a": 2}', [{"a": 1}, {"a": 2}]),
        (b'{"a": "x\x00y"}\n{"a": "x\\u0000y"}\n', [{"a": "x\0y"}, {"a": "x\0y"}]),
        (b'{"a": 1, "a": 2}\n{"a": Infinity}\n', [{"a": 2}, {"a": float("inf")}]),
        (b'{"a": "\xe2\x80\xa8"}\n{"a": "\\u2028"}\n', [{"a": "\u2028"}, {"a": "\u2028"}]),
        (b"3\nnull\n", [3, None]),
    ],
    ids=["BOM", "blank lines and CRLF", "NUL in text", "duplicate keys, Infinity", "U+2028", "no objects"],
)
def test_lenient_where_nothing_is_lost(tmp_path: Path, content: bytes, expected: list[object]) -> None:
    """What can be read without a guess is read."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    assert values(path) == expected


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\ud83d\ude00", "😀"),
        (r"\ud800", "\ufffd"),
        (r"\uDC00x\uD800", "\ufffdx\ufffd"),
        (r"\ud800\ud83d\ude00", "\ufffd😀"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
    ],
    ids=["pair", "high", "low and high", "high before a pair", "no escape", "after a backslash"],
)
def test_half_a_surrogate_pair_is_replaced(tmp_path: Path, escaped: str, text: str) -> None:
    """Text that no file could hold becomes U+FFFD, one character for one, also in a document."""
    for name, wrap in (("t.jsonl", '{{"a": "{}"}}\n3\n'), ("t.json", '[{{"a": "{}"}}]')):
        (tmp_path / name).write_text(wrap.format(escaped))
        assert values(tmp_path / name)[0] == {"a": text}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ([], []),
        ({"data": [{"a": 1}, {"a": 2}], "n": 2}, [{"a": 1}, {"a": 2}]),
        ({"data": [1, 2], "rows": [{"a": 1}]}, [{"a": 1}]),
        ({"a": 1}, [{"a": 1}]),
    ],
    ids=["list", "empty list", "list inside", "the list with objects", "one row"],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_documents(tmp_path: Path, document: object, expected: list[object], indent: int | None) -> None:
    """A file that is one JSON value gives its rows, on one line or on many."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document, indent=indent), encoding="utf-8-sig")
    assert values(path) == expected


def test_an_object_that_is_a_row_is_not_searched(tmp_path: Path) -> None:
    """Where the whole file is known as a row, a list inside of it stays inside."""
    path = tmp_path / "t.json"
    document = {"reasoning": "fine", "data": [{"a": 1}]}
    path.write_text(json.dumps(document))
    assert [
        row.value for row in rows(path, is_row=lambda row: isinstance(row, dict) and "reasoning" in row)
    ] == [document]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[{"a": 1}, {"a": 2}, {"a": "cu', [{"a": 1}, {"a": 2}, "not JSON: Unterminated string"]),
        (b'[{"a": 1}, {"a": 2}', [{"a": 1}, {"a": 2}, "the list is cut off, or followed by other text"]),
        (b'[{"a": 1}] more', [{"a": 1}, "the list is cut off, or followed by other text"]),
        (b'[{"a": 1}, ]', [{"a": 1}, "not JSON: Expecting value"]),
        (b'[{"a": "caf\xe9"}, {"a": 2}]', ["not UTF-8", {"a": 2}]),
        (b'[{"a": 1}, ' + b"[" * 100_000, [{"a": 1}, "nested too deeply"]),
        (b'{\n"a":\n"caf\xe9"\n}', ["not UTF-8"]),
        (b"[", ["not JSON: Expecting value"]),
    ],
    ids=[
        "cut in a row",
        "cut between",
        "goes on",
        "comma",
        "not UTF-8",
        "deep",
        "object not UTF-8",
        "bracket",
    ],
)
def test_broken_documents(tmp_path: Path, content: bytes, expected: list[object]) -> None:
    """The members of a list before a break are kept, and the break is a row of its own."""
    path = tmp_path / "t.json"
    path.write_bytes(content)
    found = [row if not isinstance(row, Broken) else row.detail for row in values(path)]
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert row == wanted or (isinstance(row, str) and isinstance(wanted, str) and row.startswith(wanted))


def test_a_line_of_50_megabytes(jsonl: Jsonl) -> None:
    """A long line is read like any other, and the next one too."""
    text = "a b. " * 10_000_000
    first, second = values(jsonl({"reasoning": text}, GOOD))
    assert first == {"reasoning": text}
    assert second == GOOD


def test_a_line_above_the_limit(jsonl: Jsonl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long to hold is one broken row; the others keep their numbers."""
    monkeypatch.setattr(files, "LINE_LIMIT", 2**20)
    long = {"reasoning": "a" * 3 * 2**20}
    assert outline(jsonl(GOOD, long, GOOD, long)) == [GOOD, "longer than 1 MiB", GOOD, "longer than 1 MiB"]
    assert outline(jsonl(long, GOOD)) == ["longer than 1 MiB", GOOD]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[1, 2]\n[3]\n", [[1, 2], [3]]),
        (b'[{"a": 1}]\n{"a": 2}\nx', [[{"a": 1}], {"a": 2}, "not JSON"]),
        (b"[]\n[]", [[], []]),
        (b'[{"a": 1}]\n\n  \n', [{"a": 1}]),
    ],
    ids=["lists", "mixed", "empty lists", "one list and blank lines"],
)
def test_lines_that_are_lists(tmp_path: Path, content: bytes, expected: list[object]) -> None:
    """Where a first line is a list and another line follows, each line is a row; none is lost."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    found = [value.split(":")[0] if isinstance(value, str) else value for value in outline(path)]
    assert found == expected


def test_printed_objects(tmp_path: Path) -> None:
    """Objects printed one after the other, as some exporters do, are rows; after a break it goes on."""
    path = tmp_path / "t.json"
    path.write_text(
        "\n".join(json.dumps({"a": n}, indent=4) for n in range(3)) + '\n{\n"a": x\n}\n{\n"a": 4\n}\n'
    )
    assert outline(path) == [
        {"a": 0},
        {"a": 1},
        {"a": 2},
        "Expecting value (character 7 of the row)",
        {"a": 4},
    ]


def test_a_document_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list too long to hold is refused, with the way out."""
    monkeypatch.setattr(files, "DOCUMENT_LIMIT", 10)
    path = tmp_path / "t.json"
    path.write_text(json.dumps([GOOD]))
    with pytest.raises(InputError, match="JSON Lines"):
        list(rows(path))


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    """Nothing, or nothing but white space, is no row, and no error either."""
    path = tmp_path / "t.jsonl"
    for content in (b"", b"\n \n", b"\xef\xbb\xbf"):
        path.write_bytes(content)
        assert values(path) == []


def test_rows_are_numbered_and_measured(jsonl: Jsonl) -> None:
    """Rows count from 0, and the last one ends where the file does."""
    path = jsonl(GOOD, b"", b"{", GOOD)
    found = list(rows(path))
    assert [row.index for row in found] == [0, 1, 2]
    assert [row.read for row in found] == sorted(row.read for row in found)
    assert found[-1].read == path.stat().st_size


def test_rows_of_a_list_are_parsed_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a long list cost a parse each, of the text itself and not of a copy of its rest."""
    texts: list[str] = []
    parsed = 0

    class Counting(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[object, int]:
            nonlocal parsed
            texts.extend([s] if not any(s is text for text in texts) else [])
            value, end = super().raw_decode(s, idx)
            parsed += end - idx
            return value, end

    monkeypatch.setattr(files, "_DECODER", Counting(strict=False))
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"a": "\\ud800 é " * 20}] * 2_000))
    assert len(values(path)) == 2_000
    assert len(texts) <= 2, "the line, and the document"
    assert parsed <= 3 * path.stat().st_size, "to know a list, to know where it ends, and for its rows"


def test_a_directory_stands_for_its_transcripts(tmp_path: Path) -> None:
    """The .json, .jsonl and .ndjson files directly in a directory, sorted; a named file whatever its name."""
    for name in ("b.jsonl", "a.JSON", "c.ndjson", "README.md", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.json").mkdir()
    found = find([tmp_path, tmp_path / "d.txt"])
    assert [Path(place.name).name for place in found] == ["a.JSON", "b.jsonl", "c.ndjson", "d.txt"]


@pytest.mark.parametrize("name", ["missing.jsonl", "empty"])
def test_nothing_to_read_is_an_error(tmp_path: Path, name: str) -> None:
    """A path that does not exist and a directory without transcripts are refused, by name."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        find([tmp_path / name])


@settings(deadline=None)  # how long a disk takes is not what is asked
@given(st.binary(max_size=300))
def test_any_bytes_are_rows(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, it is read to its end; it has a row unless it is blank."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    found = list(rows(path))
    bare = content.removeprefix(b"\xef\xbb\xbf").translate(None, b" \t\r\n")  # white space to JSON
    assert bool(found) == (bare not in (b"", b"[]"))
    assert [row.index for row in found] == list(range(len(found)))
