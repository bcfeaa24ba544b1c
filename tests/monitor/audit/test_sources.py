"""The format is told by what rows hold, and every row of every file comes out as a record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import samples
from undertow.errors import InputError, UndertowError, UnknownFormat, UsageError
from undertow.monitor.audit import Record, read
from undertow.monitor.audit.readers import READERS, Reader, reader_named
from undertow.monitor.trace import Trace, Unreadable

Jsonl = Callable[..., Path]

PLAIN = {"id": "p", "reasoning": "R", "answer": "A"}
CHAT = {"id": "c", "messages": [{"role": "assistant", "content": "A"}]}
SHAREGPT = {"id": "s", "conversations": [{"from": "gpt", "value": "A"}]}


def one(path: Path, **options: Any) -> Record:
    """Read a file with one record."""
    (record,) = read(path, **options)
    return record


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.name))
def test_each_reader_keeps_the_contract(reader: Reader) -> None:
    """A reader has a name that finds it, a line on itself, and the fields that it reads."""
    assert isinstance(reader, Reader)
    assert reader_named(reader.name) is reader
    assert reader.description and "\n" not in reader.description
    assert {"reasoning", "id", "model"} <= set(reader.fields)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (PLAIN, "fields"),
        (CHAT, "openai-chat"),
        (SHAREGPT, "sharegpt"),
        (PLAIN | CHAT, "openai-chat"),
        (PLAIN | {"messages": None, "conversations": None}, "fields"),
        (SHAREGPT | {"messages": None, "answer": None}, "sharegpt"),
    ],
    ids=["fields", "openai-chat", "sharegpt", "both", "null beside fields", "null beside sharegpt"],
)
def test_detection(jsonl: Jsonl, row: dict[str, Any], name: str) -> None:
    """A row has the first format that knows it, whatever its file is called."""
    assert one(jsonl(row, name="log.txt")).origin.format == name


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        ({"results": [PLAIN], "data": [CHAT, 3]}, ["c", "t:1", "p"]),
        ({"data": [{"text": "?"}], "results": [PLAIN], "items": [{"name": "x"}]}, ["p"]),
    ],
    ids=["two lists of rows", "one among others"],
)
def test_all_lists_of_rows_in_a_document(jsonl: Jsonl, document: dict[str, Any], ids: list[str]) -> None:
    """Of the lists in a document those that hold rows are read, and none of them hides another."""
    assert [record.id for record in read(jsonl(document, name="t.json"))] == ids


def test_a_mixed_file_is_read_row_by_row(jsonl: Jsonl) -> None:
    """Each row is read in its own format; what has none is a record of the file's format."""
    path = jsonl(3, {"text": "?"}, CHAT, PLAIN, SHAREGPT, [1], {"answer": 7})
    found = list(read(path))
    formats = [
        "openai-chat",
        "openai-chat",
        "openai-chat",
        "fields",
        "sharegpt",
        "openai-chat",
        "openai-chat",
    ]
    assert [record.origin.format for record in found] == formats
    assert [record.problem.reason for record in found if isinstance(record, Unreadable)] == [
        "unreadable_row",
        "wrong_types",
        "unreadable_row",
        "wrong_types",
    ]


def test_lines_that_are_conversations(jsonl: Jsonl) -> None:
    """A row that is a list of messages is the conversation that it looks like; another list is none."""
    found = list(read(jsonl(CHAT["messages"], SHAREGPT["conversations"], [1], CHAT["messages"])))
    assert [record.origin.format for record in found] == [
        "openai-chat",
        "sharegpt",
        "openai-chat",
        "openai-chat",
    ]
    assert [type(record) for record in found] == [Trace, Trace, Unreadable, Trace]


def test_a_file_that_is_a_conversation(tmp_path: Path) -> None:
    """One list of messages is one conversation, unless its messages are to be read as rows."""
    path = tmp_path / "chat.json"
    said = [{"role": "user", "content": "P"}, {"role": "assistant", "reasoning": "R", "content": "A"}]
    for text in (json.dumps(said), json.dumps(said, indent=1)):
        path.write_text(text, encoding="utf-8")
        (trace,) = read(path)
        assert isinstance(trace, Trace)
        assert (trace.prompt, trace.reasoning, trace.answer) == ("P", "R", "A")
        asked = list(read(path, mapping={"answer": "content"}))
        assert [one.answer for one in asked if isinstance(one, Trace)] == ["P", "A"]
    path.write_text(json.dumps([*said, {"note": "N"}]), encoding="utf-8")
    assert len(list(read(path))) == 3


def test_records_say_where_they_are_from(jsonl: Jsonl) -> None:
    """A record names its file as the user did, and its row, also where it could not be read."""
    path = jsonl(PLAIN, b"{", CHAT)
    found = list(read(str(path)))
    assert [record.origin.row for record in found] == [0, 1, 2]
    assert {record.origin.path for record in found} == {str(path)}
    assert [record.id for record in found] == ["p", "t:1", "c"]


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b'{"text": "secret", "n": 1}\n', "its rows have the fields text (text), n (a number)"),
        (b'{"response": {"body": "secret"}}\n', "response (an object)"),
        (b'{"\\u202esecret\\u001b[2J": 1}', "\ufffdsecret\ufffd[2J (a number)"),
        (b"[1, 2]", "its first row is a number"),
        (b"id,thoughts of mine\n1,secret\n", "its first row is line 1: not JSON"),
        (b"\x1f\x8b\x08\x00\xff\n", "its first row is damaged"),
        (b'{"reasoning": "secret", "ans', "its first row is line 1: not JSON"),
    ],
    ids=["unknown fields", "an object", "hostile key", "numbers", "CSV", "gzip", "cut"],
)
def test_an_unknown_format_says_what_was_seen(tmp_path: Path, content: bytes, seen: str) -> None:
    """The error names what the rows are, the formats that are known, and the way out; no text."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(UnknownFormat) as error:
        read(path)
    message = str(error.value)
    assert seen in message
    assert "secret:" not in message and '"secret' not in message
    assert all(name in message for name in (str(path), "openai-chat, sharegpt, fields", "--map"))


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("t.jsonl", b"\x1f\x9d\x90\xff\n", "its first row is line 1: not UTF-8"),
        ("t.jsonl", '{"reasoning": "secret"}'.encode("utf-16"), "its first row is line 1: not UTF-8"),
        ("t.csv", "prompt\treasoning\nq\tsecret\n".encode("utf-16"), "its rows have the fields"),
    ],
    ids=["bytes", "UTF-16", "a table in UTF-16"],
)
def test_another_encoding_is_no_matter_of_formats(
    tmp_path: Path, name: str, content: bytes, seen: str
) -> None:
    """The way out is to convert the file; no field that could be named would help."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnknownFormat, match=f"{seen}.*; text must be UTF-8.*: convert the file") as error:
        read(path)
    assert "--map" not in str(error.value) and "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "zorp"}, UsageError, "openai-chat, sharegpt, fields"),
        ({"format": "sharegpt", "mapping": {"reasoning": "x"}}, UsageError, "not with sharegpt"),
        ({"mapping": {"zorp": "x"}}, UsageError, "prompt, reasoning, answer, model, id"),
        ({"mapping": {"reasoning": "resoning"}}, UsageError, r"no field 'resoning'.*reasoning \(text\)"),
    ],
    ids=["format", "format and mapping", "part", "field"],
)
def test_wrong_usage(jsonl: Jsonl, options: dict[str, Any], error: type[UndertowError], message: str) -> None:
    """A format, part or field that there is not is refused before anything is read."""
    with pytest.raises(error, match=message):
        read(jsonl(PLAIN), **options)


def test_a_format_that_was_asked_for_is_not_detected(jsonl: Jsonl) -> None:
    """With `format` every row is read so; what is wrong for it becomes a record, not an error."""
    found = list(read(jsonl(b"{", CHAT, PLAIN), format="fields"))
    assert [type(record) for record in found] == [Unreadable, Unreadable, Trace]


def test_all_files_are_looked_at_first(jsonl: Jsonl) -> None:
    """The last file's fault is found before the first file is read."""
    good, bad = jsonl(PLAIN), jsonl({"text": "?"}, name="u.jsonl")
    with pytest.raises(UnknownFormat, match=r"u\.jsonl"):
        read([good, bad])
    with pytest.raises(InputError, match=r"no such file"):
        read([good, good.with_name("missing.jsonl")])


def test_empty_files_give_no_records(jsonl: Jsonl) -> None:
    """A file without rows is no error beside one with rows."""
    assert [record.id for record in read([jsonl(name="e.jsonl"), jsonl(PLAIN)])] == ["p"]


def test_the_samples() -> None:
    """Our own samples are all read."""
    found = Counter(record.origin.format for record in read(samples()) if isinstance(record, Trace))
    assert found == {"openai-chat": 10, "fields": 10, "sharegpt": 5}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "id",
        "model",
        "prompt",
        "question",
        "reasoning",
        "cot",
        "response",
        "answer",
        "messages",
        "conversations",
    ]
)
TEXTS = st.sampled_from(["", " ", "R", "<think>R</think>A", "R</think>", "\ud800", "\0", "<think>"])
PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["text", "thinking", "reasoning", "reasoning.summary", "redacted_thinking"])
        | JSON
    },
    optional={"text": TEXTS | JSON, "thinking": TEXTS | JSON, "summary": TEXTS | JSON, "redacted": JSON},
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | JSON},
    optional={
        "content": TEXTS | st.lists(PARTS | JSON, max_size=3) | JSON,
        "reasoning": TEXTS | JSON,
        "reasoning_details": st.lists(PARTS | JSON, max_size=2) | JSON,
        "model": JSON,
    },
)
ROWS = st.dictionaries(KEYS, TEXTS | st.lists(MESSAGES | JSON, max_size=4) | JSON, max_size=5) | JSON


@settings(deadline=None)  # how long a disk takes is not what is asked
@given(st.lists(ROWS, max_size=5), st.sampled_from([None, *(reader.name for reader in READERS)]))
def test_any_rows_give_records(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], name: str | None
) -> None:
    """Whatever rows hold, each gives at least one record; a record holds text that can be written."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [PLAIN, *rows, PLAIN]), encoding="utf-8")
    found = list(read(path, format=name))
    seen = list(dict.fromkeys(record.origin.row for record in found))
    assert seen == list(range(len(rows) + 2))
    for record in found:
        assert isinstance(record, Trace | Unreadable)
        record.model_dump_json()


KINDS = {
    "cot-compliance.qwen3-14b.jsonl": (200, {"cot_trace"}),
    "self-jailbreaking.phi4-mini.jsonl": (100, {"cot"}),
    "self-jailbreaking.r1-llama.jsonl": (150, {"cot", "cot+tags:think"}),
    "star-1.json": (200, {"tags:think"}),
    "steering-thinking.r1-llama-8b.json": (57, {"thinking_process"}),
}
"""The real files: their rows, and where the reasoning stands in them."""


@pytest.mark.parametrize("name", KINDS)
def test_real_files(shared: Path, name: str) -> None:
    """Each row is one trace, with its reasoning free of tags and taken from where it stands."""
    count, sources = KINDS[name]
    found = list(read(shared / "transcripts" / name))
    assert [record.origin.row for record in found] == list(range(count))
    traces = [record for record in found if isinstance(record, Trace)]
    assert len(traces) == count
    assert {trace.reasoning_from for trace in traces} == sources
    assert all(trace.reasoning and not trace.truncated and trace.caveat is None for trace in traces)
    assert not [t.id for t in traces if "think>" in f"{t.reasoning}{t.answer}"]
    assert all(t.prompt for t in traces) == (name != "steering-thinking.r1-llama-8b.json")


def test_real_files_keep_all_their_text(shared: Path) -> None:
    """No character of the reasoning and the answer is lost on the way, spaces and tags aside."""
    path = shared / "transcripts" / "self-jailbreaking.r1-llama.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row, trace in zip(rows, read(path), strict=True):
        assert isinstance(trace, Trace)
        kept = f"{trace.reasoning}{trace.answer}"
        raw = f"{row['cot']}{row['response']}".replace("</think>", "")
        assert Counter("".join(kept.split())) == Counter("".join(raw.split()))


def test_real_files_by_mapping(shared: Path) -> None:
    """A mapping that says what detection finds gives the same traces."""
    path = shared / "transcripts" / "cot-compliance.qwen3-14b.jsonl"
    mapping = {
        "reasoning": "cot_trace",
        "answer": "final_answer",
        "prompt": "prompt",
        "model": "target_model",
    }
    assert list(read(path, mapping=mapping)) == list(read(path))
