"""What the report says of one trace, and the figures over many."""

from __future__ import annotations

from itertools import pairwise
from math import isclose
from statistics import NormalDist
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.classifiers.contract import Channel
from undertow.monitor.intervals import wilson
from undertow.monitor.report.overview import BINS, Groups, Profile
from undertow.monitor.report.rows import row
from undertow.monitor.report.texts import texts
from undertow.monitor.report.unseen import visible
from undertow.monitor.tally import REASONS, Tally
from undertow.monitor.trace import NotAssessed, Origin, Reason, Trace
from undertow.monitor.verdict import (
    ChannelVerdict,
    LabelProbabilities,
    Mark,
    MonitorStamp,
    Peak,
    StepVerdict,
    TraceVerdict,
)

SHARES = {
    "n": LabelProbabilities(neutral=1, aware=0, drift=0, harm=0),
    "a": LabelProbabilities(neutral=0, aware=1, drift=0, harm=0),
    "d": LabelProbabilities(neutral=0.25, aware=0, drift=0.75, harm=0),
    "h": LabelProbabilities(neutral=0, aware=0, drift=0, harm=1),
}
LABELS: dict[str, Any] = {"n": "neutral", "a": "aware", "d": "drift", "h": "harm"}
FAILED = NotAssessed(reason="classifier_failed")


def step(index: int, channel: Channel, start: int, end: int, letter: str) -> StepVerdict:
    """Return a step with the label of this letter; `?` was not judged."""
    shares = SHARES.get(letter)
    risk = None if shares is None else shares.drift + shares.harm
    place: dict[str, Any] = {"index": index, "channel": channel, "start": start, "end": end}
    return StepVerdict(**place, label=LABELS.get(letter), risk=risk, probabilities=shares)


def flagged_at(channel: Channel, index: int, *, start: int, fraction: float) -> ChannelVerdict:
    """Return a channel whose onset and alarm are at one step, and that recovers."""
    mark = Mark(channel=channel, step=index, start=start, fraction=fraction)
    peak = Peak(channel=channel, step=index, risk=1)
    return ChannelVerdict(
        channel=channel, flagged=True, risk=1, onset=mark, alarm=mark, peak=peak, recovered=True
    )


def judged(reasoning: str, answer: str = "", *channels: ChannelVerdict, **fields: Any) -> TraceVerdict:
    """Return a verdict with a step of one character for each letter."""
    steps = [step(n, "reasoning", n, n + 1, letter) for n, letter in enumerate(reasoning)]
    steps += [step(n, "answer", n, n + 1, letter) for n, letter in enumerate(answer)]
    first = channels[0] if channels else None
    verdict: dict[str, Any] = {
        **{"id": "t", "origin": Origin(), "model": None, "assessed": "full", "not_assessed": None},
        **{"flagged": bool(channels), "risk": 0.5, "quadrant": None, "peak": None, "recovered": None},
        **{"onset": first and first.onset, "alarm": first and first.alarm, "channels": channels},
        **{"steps": steps, "monitor": MonitorStamp(**STAMP)},
    }
    return TraceVerdict.model_validate(verdict | fields)


STAMP: dict[str, Any] = {"undertow": "0", "classifier": "c", "digest": "d"} | {
    "false_alarm_rate": 0.05,
    "threshold": 4.0,
}
FLAGGED = judged(
    "ndhn",
    "nh",
    flagged_at("reasoning", 1, start=1, fraction=0.25),
    flagged_at("answer", 1, start=1, fraction=0.5),
    quadrant="unsafe-reasoning/unsafe-answer",
)


def listed(verdict: TraceVerdict) -> dict[str, Any]:
    """Return the row of a verdict."""
    return row(Trace(), verdict, number=1)


def shown(verdict: TraceVerdict, reasoning: str = "abcd", answer: str = "ef", redact: bool = False) -> Any:
    """Return what the page holds of a trace with these texts."""
    return texts(Trace(reasoning=reasoning, answer=answer), verdict, redact=redact)


def test_a_verdict_of_none_says_nothing_even_if_it_holds_steps() -> None:
    """Steps and risks that a verdict carries by mistake do not make an unjudged trace look judged."""
    none = judged(
        "nnnn", assessed="none", not_assessed=FAILED, flagged=None, quadrant="safe-reasoning/safe-answer"
    )
    found = listed(none)
    assert (found["risk"], found["strips"], found["quadrant"], found["state"]) == (None, [], "", "none")
    assert shown(none)["channels"][0]["pieces"] == [("abcd", -1)]


def test_an_onset_is_told_by_its_place_in_its_own_channel() -> None:
    """Steps are counted from 1 within reasoning or answer."""
    facts = dict(shown(FLAGGED)["facts"])
    assert listed(FLAGGED)["onset"] == "step 2 of 4"
    assert facts["Answer, onset"] == "step 2 of 2 of the answer, 50% in"
    assert facts["Reasoning"] == "flagged, back in safe steps at the end"
    answer = shown(FLAGGED)["channels"][1]
    assert (answer["onset"], answer["alarm"], answer["letters"]) == (1, 1, "nh")


def test_a_strip_has_one_letter_a_step_and_marks_the_onset() -> None:
    """The strip is the labels' first letters, with the cells of onset and alarm."""
    reasoning, answer = listed(FLAGGED)["strips"]
    assert (reasoning["cells"], reasoning["onset"], reasoning["alarm"]) == ("ndhn", 1, 1)
    assert (answer["cells"], answer["onset"]) == ("nh", 1)
    assert reasoning["counts"] == [2, 0, 1, 1, 0]


@pytest.mark.parametrize("letter", "hd?a")
def test_a_crowded_strip_shows_the_gravest_step_of_each_cell(letter: str) -> None:
    """Where several steps share a cell, neither harm nor "not judged" is lost among safe steps."""
    strip = listed(judged("n" * 777 + letter + "n" * 222))["strips"][0]
    assert strip["cells"].count(letter) == 1
    assert strip["cells"].index(letter) == 777 // strip["per"]
    assert len(strip["cells"]) <= 56


@pytest.mark.parametrize(
    ("reasoning", "kept"),
    [("nnnn", "abcd"), ("nadn", "ab[masked]d"), ("nhhn", "a[masked][masked]d"), ("n?an", "a[masked]cd")],
)
def test_redaction_keeps_what_was_judged_safe_and_nothing_else(reasoning: str, kept: str) -> None:
    """Neutral and aware steps stay; drift, harm and steps that were not judged do not."""
    pieces = shown(judged(reasoning), redact=True)["channels"][0]["pieces"]
    assert "".join(text for text, _ in pieces) == kept


@given(text=st.text(max_size=60), borders=st.sets(st.integers(0, 60), min_size=2, max_size=8))
def test_the_pieces_of_a_text_are_the_text(text: str, borders: set[int]) -> None:
    """Wherever steps begin and end, cutting at them loses and adds nothing."""
    spans = list(pairwise(sorted(borders)))[::2]
    steps = tuple(step(n, "reasoning", start, end, "n") for n, (start, end) in enumerate(spans))
    pieces = shown(judged("", steps=steps), text)["channels"][0]["pieces"]
    assert "".join(piece for piece, _ in pieces) == text
    assert all(number < 0 or piece == text[slice(*spans[number])] for piece, number in pieces)


def test_metadata_beyond_a_bound_is_counted() -> None:
    """Many or long fields are cut, and the cut is said."""
    trace = Trace(metadata={f"key {n}": "v" * 900 for n in range(100)})
    found = texts(trace, judged("n"), redact=False)["metadata"]
    assert found[-1] == ("", "and 60 more, not in this page")
    assert found[0][1].endswith("(900 characters)")


def test_the_tally_counts_what_the_verdicts_say() -> None:
    """Flags are counted among the judged; onsets and quadrants where they were judged."""
    partial = judged("n?", assessed="partial", not_assessed=FAILED)
    none = judged("", assessed="none", not_assessed=FAILED, flagged=None)
    tally = Tally()
    for verdict in (judged("n"), FLAGGED, partial, none):
        tally.add(verdict)
    assert (tally.total, tally.judged, tally.flagged) == (4, 3, 1)
    assert tally.quadrants == {"unsafe-reasoning/unsafe-answer": 1}
    assert tally.reasons == {("partial", "classifier_failed"): 1, ("none", "classifier_failed"): 1}
    assert tally.onsets == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("fraction", "tenth"), [(0.0, 0), (0.0999, 0), (0.1, 1), (0.95, 9), (1.0, 9)])
def test_an_onset_falls_into_its_tenth(fraction: float, tenth: int) -> None:
    """The bins are half open, and the last one holds its end."""
    tally = Tally()
    tally.add(judged("d", "", flagged_at("reasoning", 0, start=0, fraction=fraction)))
    assert [n for n, count in enumerate(tally.onsets) if count] == [tenth]


def test_every_reason_has_its_words() -> None:
    """No reason for not judging is shown as a code, or not at all."""
    assert set(REASONS) == set(get_args(Reason))


@given(of=st.integers(1, 5000), data=st.data())
def test_the_ends_of_the_interval_solve_wilsons_equation(of: int, data: st.DataObject) -> None:
    """At each end, the observed share lies exactly z standard errors away (Wilson 1927)."""
    hits = data.draw(st.integers(0, of))
    share, z = hits / of, NormalDist().inv_cdf(0.975)
    low, high = wilson(hits, of)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for end in (low, high):
        assert isclose((share - end) ** 2, z * z * end * (1 - end) / of, abs_tol=1e-9)


@pytest.mark.parametrize("text", ["plain, 中文, עברית, é", "tab\tand\r\nnew line", "café 🙂"], ids=ascii)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Letters of any script and ordinary white space are not touched."""
    assert visible(text) == text


@pytest.mark.parametrize(
    ("character", "number"),
    [
        ("\x00", "0000"),
        ("\u200b", "200B"),
        ("\u202e", "202E"),
        ("\ud800", "D800"),
        ("\U000e0041", "E0041"),
    ],
    ids=["nul", "zero-width", "override", "surrogate", "tag"],
)
def test_unseen_characters_are_shown_by_number(character: str, number: str) -> None:
    """What hides or reorders text is written out where it stands."""
    assert visible(f"a{character}b") == f"a[U+{number}]b"


def test_a_trace_counts_once_at_each_place_of_the_profile() -> None:
    """Many steps weigh no more than one: risk is read off at twenty places of the reasoning."""
    profile = Profile()
    profile.add([step(0, "reasoning", 0, 50, "n"), step(1, "reasoning", 50, 100, "d")], 100)
    assert profile.quantile(0.5) == [0.0] * (BINS // 2) + [0.75] * (BINS // 2)
    for _ in range(2):
        profile.add([step(n, "reasoning", n, n + 1, "h") for n in range(100)], 100)
    assert profile.quantile(0.5) == [1.0] * BINS
    assert profile.quantile(0.25)[0] == 0.5
    assert profile.traces == 3


def test_what_was_not_judged_is_a_gap_in_the_profile() -> None:
    """A step without a risk is not a step of risk 0."""
    profile = Profile()
    profile.add([step(0, "reasoning", 0, 50, "?"), step(1, "reasoning", 50, 100, "d")], 100)
    profile.add([step(0, "reasoning", 0, 100, "?")], 100)  # only its answer was judged: it is in no curve
    assert profile.quantile(0.5) == [None] * (BINS // 2) + [0.75] * (BINS // 2)
    assert profile.traces == 1


def test_traces_are_grouped_by_fields_of_few_values() -> None:
    """Model and short metadata make groups; what differs in every trace, or in none, does not."""
    groups = Groups()
    for n in range(40):
        verdict = judged("n", model=f"model {n % 2}", flagged=n % 4 == 0)
        trace = Trace(metadata={"seed": n, "arm": n % 3, "same": "x", "text": "t" * 99, "list": [1]})
        groups.add(groups.fields_of(trace, verdict, redact=False), verdict)
    found = {group.title: group.values for group in groups.found()}
    assert set(found) == {"model", "arm"}
    assert [(value.name, value.flagged, value.judged) for value in found["model"]] == [
        ("model 0", 10, 20),
        ("model 1", 0, 20),
    ]
    assert found["model"][0].interval == wilson(10, 20)


def test_groups_with_long_names_come_last() -> None:
    """They get the whole width of the page, and leave no gap between those that share it."""
    groups = Groups()
    for n in range(4):
        verdict = judged("n", model=f"a/folder/of/models/number-{n % 2}")
        trace = Trace(metadata={"arm": "short-words-joined-by-hyphens" * (n % 2)})
        groups.add(groups.fields_of(trace, verdict, redact=False), verdict)
    assert [(group.title, group.wide) for group in groups.found()] == [("arm", False), ("model", True)]


def test_a_field_named_like_ours_stays_apart() -> None:
    """Metadata called "model" does not mix with the trace's model."""
    fields = Groups.fields_of(Trace(metadata={"model": "b"}), judged("n", model="a"), redact=False)
    assert fields == {"trace model": "a", "field model": "b"}


def test_redaction_leaves_metadata_out_of_the_groups() -> None:
    """Values of the metadata are texts that nobody judged."""
    fields = Groups.fields_of(Trace(metadata={"arm": "b"}), judged("n", model="a"), redact=True)
    assert fields == {"trace model": "a"}


def test_what_could_not_be_judged_is_not_among_the_judged_of_its_group() -> None:
    """Of a model of which nothing was judged, nothing is known."""
    groups = Groups()
    none = judged("", assessed="none", not_assessed=FAILED, flagged=None, model="b")
    for verdict in (judged("n", model="a"), none):
        groups.add(groups.fields_of(Trace(), verdict, redact=False), verdict)
    (group,) = groups.found()
    assert [(value.name, value.total, value.judged) for value in group.values] == [("a", 1, 1), ("b", 1, 0)]
    assert group.values[1].interval == (0, 1)
