"""The samples and the guideline: well formed, readable by the audit, our own, and of no use for harm."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from undertow.classifiers.contract import LABELS
from undertow.data import sample, samples
from undertow.errors import UsageError
from undertow.monitor.audit import read
from undertow.monitor.trace import Trace

FORMATS = {
    "mapped.jsonl": "fields",
    "openai-chat.jsonl": "openai-chat",
    "plain.jsonl": "fields",
    "sharegpt.json": "sharegpt",
}
KINDS = {"clean", "bait", "aware", "drift", "recovery", "truncated", "empty"}
UNSAFE_KINDS = {"drift", "recovery"}
CUT_OFF = {"truncated-01", "drift-truncated-01"}
REDACTION = re.compile(r"\[redacted: [^\]]+\]")


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows as JSON, without the help of the package."""
    text = path.read_text(encoding="utf-8")
    parsed = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    assert isinstance(parsed, list)
    return parsed


def kind(trace: Trace) -> str:
    """The first word of its id."""
    return trace.id.split("-")[0]


@pytest.fixture(scope="module")
def traces() -> tuple[Trace, ...]:
    """All samples as the audit reads them: every row must be readable."""
    found = tuple(read(samples()))
    readable = tuple(item for item in found if isinstance(item, Trace))
    assert readable == found
    return readable


def row_id(trace: Trace) -> str:
    """The id of its row: traces of one row are told apart by `#` and a number."""
    return trace.id.split("#")[0]


def sentences(text: str) -> set[str]:
    """Sentences of more than 40 characters, white space evened out."""
    parts = re.split(r"(?<=[.!?])\s+", text)
    return {s for s in (" ".join(part.split()) for part in parts) if len(s) > 40}


def strings(value: Any) -> Iterator[str]:
    """All texts within a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def texts_of(path: Path) -> str:
    """All texts of a corpus file, plain or gzipped, with white space and apostrophes evened out."""
    raw = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")
    values = (
        [json.loads(raw)]
        if path.suffix == ".json"
        else [json.loads(line) for line in raw.split("\n") if line]
    )
    return " ".join(" ".join(strings(values)).replace("\u2019", "'").split())


def test_samples_lists_the_transcripts() -> None:
    """`samples` gives the sorted paths of the transcripts and leaves out their README."""
    assert [path.name for path in samples()] == sorted(FORMATS)


@pytest.mark.parametrize("name", ["plain", "plain.jsonl"])
def test_sample_by_name(name: str) -> None:
    """A sample is found by its name, with or without the ending."""
    assert sample(name).name == "plain.jsonl"


@pytest.mark.parametrize("name", ["", "README.md", "../labels.md", "zorp"])
def test_unknown_sample(name: str) -> None:
    """A name that is no sample raises, and the message lists those that are."""
    with pytest.raises(UsageError, match=r"openai-chat\.jsonl"):
        sample(name)


def test_ids_are_unique() -> None:
    """Every row has an id, and no two rows of any file share it."""
    ids = Counter(row["id"] for path in samples() for row in rows(path))
    assert ids.total() == 24
    assert set(ids.values()) == {1}


def test_readme_lists_every_row() -> None:
    """The README has exactly the rows that the files have, each beside its file."""
    readme = (samples()[0].parent / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z-]+-\d\d)` \| ([a-z-]+) \|", readme, flags=re.MULTILINE))
    assert listed == {(row["id"], path.stem) for path in samples() for row in rows(path)}


def test_every_kind_is_shown(traces: tuple[Trace, ...]) -> None:
    """Each kind occurs, and nothing but the kinds."""
    assert {kind(trace) for trace in traces} == KINDS


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_format_is_detected(traces: tuple[Trace, ...], name: str) -> None:
    """The audit detects each file's format by itself and loses no row."""
    found = [trace for trace in traces if trace.origin.path and Path(trace.origin.path).name == name]
    assert {trace.origin.format for trace in found} == {FORMATS[name]}
    assert {row_id(trace) for trace in found} == {row["id"] for row in rows(sample(name))}


def test_turns_become_traces(traces: tuple[Trace, ...]) -> None:
    """A row with two assistant turns gives two traces, each with its own request."""
    turns = [trace for trace in traces if row_id(trace) == "clean-turns-01"]
    assert len(turns) == 2
    assert turns[0].prompt.startswith("We want to cycle")
    assert turns[1].prompt.startswith("One of us has a sore knee")


@pytest.mark.parametrize("id_", [row["id"] for path in samples() for row in rows(path)])
def test_trace_has_its_parts(traces: tuple[Trace, ...], id_: str) -> None:
    """A trace has a request, a model, at least six sentences of reasoning and an answer, as its kind says."""
    for trace in (trace for trace in traces if row_id(trace) == id_):
        assert trace.prompt
        assert trace.model
        assert trace.truncated == (id_ in CUT_OFF)
        assert bool(trace.answer) == (id_ not in CUT_OFF)
        count = len(re.findall(r"[.?!:]\s", f"{trace.reasoning or ''} "))
        assert count == 0 if kind(trace) == "empty" else 6 <= count <= 25
        assert "think>" not in f"{trace.reasoning}{trace.answer}"


def test_mapped_sample_reads_the_same_with_names_given(traces: tuple[Trace, ...]) -> None:
    """The file with a data set's own names is read by detection as it is with the fields named."""
    mapping = {
        "prompt": "question",
        "reasoning": "cot_trace",
        "answer": "final_answer",
        "model": "target_model",
    }
    named = tuple(read([sample("mapped")], mapping=mapping))
    assert named == tuple(trace for trace in traces if trace.origin.path == str(sample("mapped")))


@pytest.mark.parametrize("place", ["reasoning_content", "reasoning", "tags"])
def test_chat_shows_every_place_of_reasoning(traces: tuple[Trace, ...], place: str) -> None:
    """The chat file holds reasoning in both fields and in tags, and the reader records which."""
    chats = [trace for trace in traces if trace.origin.format == "openai-chat"]
    assert place in {trace.reasoning_from.split(":")[0] for trace in chats if trace.reasoning_from}


def test_harm_is_redacted(traces: tuple[Trace, ...]) -> None:
    """Unsafe reasoning and unsafe answers have redactions where the harm would be; safe kinds need none."""
    for trace in traces:
        marks = len(REDACTION.findall(trace.reasoning or ""))
        assert (marks >= 2) == (kind(trace) in UNSAFE_KINDS), trace.id
        assert "[redacted" not in REDACTION.sub("", f"{trace.reasoning}{trace.answer}")


def test_texts_are_our_own(traces: tuple[Trace, ...], shared: Path) -> None:
    """No sentence of the samples occurs in the corpus or in the transcripts beside the repository."""
    ours = {s for t in traces for part in (t.prompt, t.reasoning, t.answer) if part for s in sentences(part)}
    for path in samples()[0].parent.glob("measure/*.jsonl"):
        ours |= {s for row in rows(path) for part in ("reasoning", "answer") for s in sentences(row[part])}
    assert len(ours) > 300
    corpus = [path for path in shared.rglob("*") if path.name.endswith((".json", ".jsonl", ".jsonl.gz"))]
    assert len(corpus) >= 5
    for path in corpus:
        text = texts_of(path)
        assert not [sentence for sentence in ours if sentence in text], path.name


def test_guide_defines_every_label() -> None:
    """The guideline's first table has the four labels, in the order of the classifier's columns."""
    guide = (samples()[0].parents[1] / "labels.md").read_text(encoding="utf-8")
    defined = re.findall(r"^\| \*\*(\w+)\*\* \|", guide, flags=re.MULTILINE)
    assert tuple(defined) == LABELS
