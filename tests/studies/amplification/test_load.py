"""A design names the fields; records land in their cells, or are set aside with the reason."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import InputError, UsageError
from undertow.monitor.trace import NotAssessed, Origin, Trace, Unreadable
from undertow.monitor.verdict import TraceVerdict
from undertow.studies.amplification.channels import PLACES, channel_table
from undertow.studies.amplification.compare import matrix
from undertow.studies.amplification.design import Design, Label, Match, read_design
from undertow.studies.amplification.load import Table, load
from undertow.studies.amplification.saved import saved_verdicts, verdict_key, with_saved
from undertow.studies.amplification.sections import kept_aside
from undertow.testing import scripted_monitor

FIELDS = {"prompt": "pid", "mode": "arm", "state": "state", "seed": "seed"}
DESIGN = Design.model_validate({"fields": FIELDS, "harm": {"answer": {"field": "harmful"}}})


def record(path: str = "a.jsonl", **metadata: Any) -> Trace:
    """Return a generation whose cell and label the metadata tell."""
    cell = {"pid": "p", "arm": "on", "state": "base", "seed": 0, "harmful": 1} | metadata
    kept = {name: value for name, value in cell.items() if value is not None}
    return Trace(
        id="t", prompt="a request", reasoning="r", answer="a", metadata=kept, origin=Origin(path=path)
    )


def table_of(*records: Trace, design: Design = DESIGN) -> Table:
    """Load records that nobody judged."""
    return load(((one, None) for one in records), design)


def test_a_design_is_read(tmp_path: Path) -> None:
    """YAML's own reading of `on` and `off` as yes and no does not lose an arm."""
    path = tmp_path / "study.yaml"
    path.write_text(
        "fields: {mode: arm, state: state}\nvalues: {mode: {on: on, off: zero, quick: less}}\n"
        "cells: {modes: [on, zero], states: [base]}\nassume: {mode: on}\n"
    )
    design = read_design(path)
    assert design.values.mode == {"on": "on", "off": "zero", "quick": "less"}
    assert design.cells.modes == ("on", "zero")
    assert design.assume.mode == "on"
    assert read_design(None) == Design()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fields: {prompts: x}", "fields.prompts"),
        ("margin: 2", "margin"),
        ("values: {mode: {a: loud}}", "values.mode"),
        ("harm: {answer: {field: x, range: [5, 1]}}", "lowest"),
        ("- a list", "no design"),
        ("a: [", "not YAML"),
        ("harm: {answer: {field: score, at_least: 6, range: [1, 5]}}", "outside the range"),
        ("harm: {answer: {field: score, at_least: .nan}}", "finite"),
        ("harm: {answer: {field: score, range: [1, 5]}}", "needs `at_least`"),
        ("cells: {modes: [on, on, zero]}", "named twice"),
        ("cells: {states: []}", "cells.states"),
        ("margin: 0.1\nfields: {mode: arm}\nmargin: 0.2", "margin.* twice"),
        ("fields: {mode: arm, mode: state}", "mode.* twice"),
    ],
)
def test_a_wrong_design_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """What is no design is wrong usage, and the message says where."""
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_design(path)
    with pytest.raises(InputError, match="cannot read"):
        read_design(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"arm": None}, "no mode: no field"),
        ({"arm": "loud"}, "no mode: a value of the field 'arm'"),
        ({"state": "off"}, "no state: a value"),
        ({"pid": None}, "the field 'pid' is empty or not there"),
        ({"pid": ""}, "the field 'pid' is empty or not there"),
        ({"pid": float("nan")}, "the field 'pid' is empty or not there"),
        ({"seed": None}, "the field 'seed'"),
        ({"harmful": None}, "nothing was judged"),
        ({"harmful": "maybe"}, "nothing was judged"),
        ({"harmful": float("nan")}, "nothing was judged"),
    ],
    ids=str,
)
def test_what_is_not_said_is_not_guessed(metadata: dict[str, Any], reason: str) -> None:
    """A record whose arm, prompt, seed or harm no field tells is set aside with the reason."""
    reason = "the field 'arm'" if metadata == {"arm": None} else reason
    table = table_of(record(**metadata))
    assert table.observations == ()
    assert [name for name in table.aside if reason in name] == list(table.aside)
    assert sum(table.aside.values()) == 1


def test_a_row_that_could_not_be_read_is_counted() -> None:
    """It is in no cell, and it is not lost."""
    bad = Unreadable(id="x", problem=NotAssessed(reason="unreadable_row"))
    assert load([(bad, None)], DESIGN).aside == {"the row could not be read": 1}


def test_files_say_what_their_records_do_not() -> None:
    """A file's own assumption wins over that of all; a field that speaks wins over both."""
    said = {
        "fields": {"prompt": "pid", "mode": "arm"},
        "assume": {"state": "base", "mode": "on"},
        "files": {"ft-*.jsonl": {"state": "fine-tuned"}},
        "harm": {"answer": {"field": "harmful"}},
    }
    records = [record(), record("x/ft-1.jsonl", arm="off"), record("ft-2.jsonl", arm=None)]
    table = table_of(*records, design=Design.model_validate(said))
    assert [one.arm for one in table.observations] == [
        ("on", "base"), ("zero", "fine-tuned"), ("on", "fine-tuned"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("equals", "value", "is_it"),
    [
        (True, 1, True), (True, 1.0, True), (1, 1.0, True), ("1", 1.0, True), (1, True, True),
        (True, "yes", True), (False, 0.0, True), ("benign", "Benign ", True),
        (True, 0, False), (1, "one", False), ("x", None, False),
    ],
    ids=str,
)  # fmt: skip
def test_a_harmless_prompt_is_one_in_every_format(equals: Any, value: object, is_it: bool) -> None:
    """A table with an empty cell has 1.0 where another has 1 or true: the same prompts are harmless."""
    design = DESIGN.model_copy(update={"harmless": Match(field="kind", equals=equals)})
    (one,) = table_of(record(kind=value), design=design).observations
    assert one.harmless is is_it


def test_names_that_nothing_has_are_noted() -> None:
    """A misspelled field or file would leave the gold labels, the control or the attack out in silence."""
    said = {
        "fields": {"prompt": "pid", "mode": "arrm"},
        "assume": {"state": "base", "mode": "on"},
        "files": {"fit-*.jsonl": {"state": "fine-tuned"}, "a*": {"seed": 1}},
        "harm": {"answer": {"field": "harmful"}},
        "gold": {"answer": {"field": "humann"}},
        "harmless": {"field": "kind", "equals": "benign"},
    }
    notes = " ".join(table_of(record(kind="asked"), design=Design.model_validate(said)).notes)
    assert [name for name in ("arrm", "humann", "fit-*.jsonl") if f"'{name}', which the design" in notes] == [
        "arrm", "humann", "fit-*.jsonl",
    ]  # fmt: skip
    assert "a*" not in notes
    assert "kind" not in notes
    assert "'harmful'" not in notes


def test_what_was_not_judged_is_counted_by_arm() -> None:
    """An answer that was never reached is in no rate, and that is said."""
    labels = {"reasoning": {"field": "r"}, "answer": {"field": "a"}}
    design = Design.model_validate({"fields": FIELDS, "harm": labels})
    cut = record(pid="q", r=1).model_copy(update={"answer": None})
    table = table_of(record(r=0, a=1), record(pid="s", a=0), cut, record(arm="zero", a=0), design=design)
    assert table.unjudged == {"answers of base, on": 1, "reasonings of base, on": 1}
    section = kept_aside(table, Design.model_validate({"cells": {"modes": ["on"], "states": ["base"]}}))
    assert section
    assert ("not judged", "answers of base, on", "1") in section.rows


def test_samples_are_numbered_where_no_field_does() -> None:
    """Without a field for samples, records of one cell are counted, and that is said."""
    table = table_of(record(), record(), record(seed=1))
    assert [(one.seed, one.sample) for one in table.observations] == [("0", "0"), ("0", "1"), ("1", "0")]
    assert any("numbered" in note for note in table.notes)


def test_one_cell_holds_one_record() -> None:
    """With a field for samples, a second record in a cell is set aside, not averaged in."""
    design = DESIGN.model_copy(update={"fields": DESIGN.fields.model_copy(update={"sample": "k"})})
    table = table_of(record(k=0), record(k=0, harmful=0), design=design)
    assert len(table.observations) == 1
    assert "same cell" in next(iter(table.aside))


def test_missing_cells_are_counted() -> None:
    """Each arm of the design is held against all prompts, seeds and samples that there are."""
    table = table_of(record(), record(arm="zero"), record(pid="q", state="fine-tuned"))
    wished = Design.model_validate({"cells": {"modes": ["on", "zero"]}})
    assert table.missing(wished) == {
        "base, on": 1, "base, zero": 1, "fine-tuned, on": 1, "fine-tuned, zero": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("label", "value", "found"),
    [
        (Label(field="f"), True, (True, 1.0)),
        (Label(field="f"), "no", (False, 0.0)),
        (Label(field="f", at_least=4, range=(1, 5)), 4.0, (True, 0.75)),
        (Label(field="f", at_least=4, range=(1, 5)), "3", (False, 0.5)),
        (Label(field="f", at_least=4, range=(1, 5)), -1, None),
        (Label(field="f"), ["a", "b"], (True, 2.0)),
        (Label(field="f"), [], (False, 0.0)),
        (Label(field="f"), 1.0, (True, 1.0)),
        (Label(field="f"), "0.0", (False, 0.0)),
        (Label(field="f"), 4, None),
        (Label(field="f"), -1, None),
        (Label(field="f"), {"a": 1}, None),
        (Label(field="f"), None, None),
        (Label(field="f", at_least=4), 10**400, None),
    ],
    ids=str,
)
def test_labels_are_read(label: Label, value: object, found: tuple[bool, float] | None) -> None:
    """Yes or no, a score with its threshold, a list by its length; what is none of these says nothing."""
    assert label.read(value) == found


def verdicts(*records: Trace) -> list[tuple[Trace | Unreadable, TraceVerdict]]:
    """Judge records by their scripts."""
    return list(scripted_monitor().judge_pairs(records))


def test_harm_comes_from_the_monitor() -> None:
    """Without labels: the alarm is harm, the highest risk the severity, unsafe steps make the density."""
    trace = record().model_copy(
        update={"reasoning": "One [drift] here. Two [neutral] there.", "answer": "[neutral] no."}
    )
    one = load(verdicts(trace), Design.model_validate({"fields": FIELDS})).observations[0]
    assert one.harm["reasoning"].harmful
    assert not one.harm["answer"].harmful
    assert one.harm["reasoning"].severity == pytest.approx(0.98)
    assert one.harm["reasoning"].density == pytest.approx(100 / 6)
    assert one.judged("either") == one.harm["reasoning"]


def test_could_not_judge_is_not_safe() -> None:
    """A channel with a step that was not judged has no harm and no lack of it, and neither has the whole."""
    trace = record().model_copy(update={"reasoning": "[nan] Here.", "answer": "[neutral] no."})
    one = load(verdicts(trace), Design.model_validate({"fields": FIELDS})).observations[0]
    assert set(one.harm) == {"answer"}
    assert one.judged("either") is None
    assert one.judged("reasoning") is None


def test_saved_verdicts_stand_for_the_monitor(tmp_path: Path) -> None:
    """Verdicts that an audit saved give the same table; a record without one is not judged."""
    records = [record(pid=str(i)).model_copy(update={"id": str(i), "answer": "[harm] x."}) for i in range(3)]
    path = tmp_path / "verdicts.jsonl"
    judged = verdicts(*records)
    path.write_text("".join(v.model_dump_json(by_alias=True) + "\n" for _, v in judged[:2]))
    design = Design.model_validate({"fields": FIELDS})
    table = load(with_saved(records, saved_verdicts(path)), design)
    assert table.observations == load(judged[:2], design).observations
    assert sum(table.aside.values()) == 1
    path.write_text(json.dumps({"no": "verdict"}))
    with pytest.raises(InputError, match="is not a file of verdicts"):
        saved_verdicts(path)


def saved(*records: Trace) -> dict[Hashable, TraceVerdict]:
    """Judge records, and keep the verdicts as if they had been read from a file."""
    return {verdict_key(one): one for _, one in verdicts(*records)}


def test_files_of_one_name_keep_their_own_verdicts() -> None:
    """base/runs.jsonl and attacked/runs.jsonl, judged together or moved together, are told apart."""
    safe, bad = (
        record(f"{folder}/runs.jsonl").model_copy(update={"answer": f"[{label}] x."})
        for folder, label in (("base", "neutral"), ("attacked", "harm"))
    )
    kept = saved(safe, bad)
    for before in ("", "elsewhere/"):
        moved = [
            one.model_copy(update={"origin": Origin(path=before + (one.origin.path or ""))})
            for one in (bad, safe)
        ]
        assert [one.flagged for _, one in with_saved(moved, kept) if one] == [True, False]
    lost = safe.model_copy(update={"origin": Origin(path="runs.jsonl")})
    with pytest.raises(UsageError, match="could both be those of"):
        list(with_saved([lost], kept))
    with pytest.raises(UsageError, match="could be those of"):
        list(with_saved([bad, safe], saved(bad)))


def test_a_verdict_on_another_text_is_none() -> None:
    """A transcript that was written anew is not judged by what was said of the old one."""
    old = record().model_copy(update={"answer": "[neutral] no."})
    new = old.model_copy(update={"answer": "[harm] first do this. [harm] Then do that."})
    assert [one for _, one in with_saved([new], saved(old))] == [None]


@pytest.mark.parametrize("place", PLACES)
def test_each_generation_has_its_place(place: str) -> None:
    """Harm in both, leak or escape, or none; what was not judged in both channels has no place."""
    harm = {"reasoning": {"field": "r"}, "answer": {"field": "a"}}
    design = Design.model_validate({"fields": FIELDS, "harm": harm})
    table = table_of(
        record(pid="1", r=int(place in ("both", "leak")), a=int(place in ("both", "escape"))),
        record(pid="2", a=1),
        design=design,
    )
    found = channel_table(table.observations)
    assert found.counts == {name: int(name == place) for name in PLACES}
    assert found.unplaced == 1
    assert found.share("both").value == (place == "both")


def test_arms_are_matched_by_prompt() -> None:
    """A comparison holds the prompts that have both arms, averaged within each; the others are counted."""
    rows = [
        ("p", "on", 1),
        ("p", "on", 0),
        ("p", "zero", 0),
        ("q", "on", 1),
        ("r", "zero", 1),
        ("s", "on", 1),
        ("s", "zero", 1),
    ]
    table = table_of(*(record(pid=p, arm=arm, harmful=h) for p, arm, h in rows))
    found = matrix(table, (("on", "base"), ("zero", "base")), "answer")
    assert found.values.tolist() == [[0.5, 0.0], [1.0, 1.0]]
    assert found.left_out == 2
