"""Forced answers along the reasoning: the curve, the change point, and who predicts it."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from undertow.errors import InputError
from undertow.studies.amplification.change import change_point
from undertow.studies.amplification.dose import PrefixTrace, curve, first_and_last, read_prefixes
from undertow.studies.amplification.dose_sections import dose_sections
from undertow.studies.amplification.prediction import Target, drops, predict, step_risks, turns
from undertow.testing import scripted_monitor


def trace(refused: str, steps: list[str] | None = None, *, name: str = "t") -> PrefixTrace:
    """Return a trace whose prefixes were answered as the letters say (r: refused), from the empty one on."""
    texts = steps or [f"Step {i}. " for i in range(len(refused) - 1)]
    ends = tuple(int(end) for end in np.cumsum([0, *map(len, texts)]))
    return PrefixTrace(name, name, "".join(texts), ends, tuple(letter == "r" for letter in refused))


def row(**changes: Any) -> str:
    """Return a line of a file of prefixes."""
    return json.dumps(
        {"id": "a", "prompt": "p", "reasoning": "ab", "prefixes": [[0, 1, 9], [2, 0, 9]]} | changes
    )


def test_prefixes_are_read(tmp_path: Path) -> None:
    """From plain and from compressed files alike."""
    (tmp_path / "a.jsonl").write_text(row() + "\n\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(row().encode()))
    wished = [PrefixTrace("a", "p", "ab", (0, 2), (True, False))]
    assert read_prefixes(tmp_path / "a.jsonl") == read_prefixes(tmp_path / "a.jsonl.gz") == wished
    assert wished[0].steps == ["", "ab"]


def test_a_question_that_nobody_judges_is_shown_as_not_asked() -> None:
    """With saved verdicts or labels alone the monitor's section is still there, and says what is missing."""
    last = dose_sections([trace("rrcc", name=f"p{i}") for i in range(3)], None)[-1]
    assert last.title == "Does the monitor mark the steps that do it?"
    assert last.text.startswith("Not asked") and "without --verdicts" in last.text


def test_traces_of_one_prompt_are_one_unit() -> None:
    """Ten traces of each prompt make the interval of the effect no narrower than the prompts do."""
    single = [trace("rc" if i < 5 else "rr" if i < 9 else "cc", name=f"p{i}") for i in range(10)]
    many = [replace(one, id=f"{one.id}.{i}") for one in single for i in range(10)]
    ends, more = (dose_sections(traces, None)[0] for traces in (single, many))
    assert {row[0]: row[1] for row in ends.rows}["exact McNemar"] == "p 0.0625, 5 to 0 discordant"
    widths = [found.data["effects"]["difference"] for found in (ends, more)]
    assert widths[1].n == widths[0].n == 10
    assert widths[1].high - widths[1].low > 0.9 * (widths[0].high - widths[0].low)
    assert {row[0]: row[1] for row in more.rows}["paired permutation over prompts"].startswith("p 0.0625")


def test_a_share_says_how_many_it_rests_on() -> None:
    """Traces without an empty prefix are not counted among those that answered without reasoning."""
    late = PrefixTrace("z", "z", "abcdef", (3, 6), (True, False))
    section = dose_sections([trace("rc", name="a"), trace("rr", name="b"), late], None)[0]
    assert [row[2] for row in section.rows[:2]] == ["2", "3"]
    assert [section.data[name].n for name in ("no reasoning", "all of it")] == [2, 3]


@pytest.mark.parametrize(
    "line",
    [
        "{", "[]", row(prefixes=[]), row(prefixes=[[0, 2]]), row(prefixes=[[1, 0], [1, 0]]),
        row(prefixes=[[3, 0]]), row(prefixes=None), row(prefixes=[[float("inf"), 0]]), "",
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(tmp_path: Path, line: str) -> None:
    """What is not such a trace stops the reading, with its line."""
    path = tmp_path / "a.jsonl"
    path.write_text(f"{row()}\n{line}\n" if line else "\n")
    with pytest.raises(InputError, match="line 2" if line else "no traces"):
        read_prefixes(path)


def test_curve_and_ends_hold_the_shares() -> None:
    """The curve pools prefixes strictly inside; the ends stand apart."""
    traces = [trace("rrrrcc", name="a"), trace("ccrrcc", name="b")]
    assert [one.value for one in curve(traces, 2, by="steps")] == [0.75, 0.5]
    before, after = first_and_last(traces)
    assert (before.value, after.value) == (0.5, 0.0)
    assert before.low <= before.value <= before.high


def test_whole_prompts_are_drawn() -> None:
    """Ten traces of one prompt tell no more than one: the interval does not shrink."""
    single = [trace("rrrr", name="a"), trace("cccc", name="b")]
    many = [
        PrefixTrace(str(i), one.prompt, one.reasoning, one.ends, one.refused)
        for one in single
        for i in range(10)
    ]
    widths = [one.high - one.low for one in (curve(single, 1)[0], curve(many, 1)[0])]
    assert widths == [1.0, 1.0]


@pytest.mark.parametrize(
    ("refused", "step"), [("rrrrrrcccccccccc", 6), ("rccccccccccccccc", 1), ("ccccccccrrrrrrrr", 8)]
)
def test_the_change_point_is_found(refused: str, step: int) -> None:
    """A clean break is found where it is; a break at the very first answer is not clear from one answer."""
    found = change_point([letter == "r" for letter in refused])
    assert found
    assert found.step == step
    assert (found.before, found.after) == ((0.0, 1.0) if refused[0] == "c" else (1.0, 0.0))
    assert (found.p <= 0.05) == (step > 1)


def test_the_change_point_is_the_most_likely_one() -> None:
    """Every place tried by hand gives no higher likelihood."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.random(15) < np.where(np.arange(15) < 6, 0.8, 0.3)
        found = change_point(values.tolist(), shuffles=1)
        if found is None:
            continue
        likelihoods = [sum(_bernoulli(part) for part in (values[:k], values[k:])) for k in range(1, 15)]
        assert likelihoods[found.step - 1] == pytest.approx(max(likelihoods))


def _bernoulli(values: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    p = min(max(values.mean(), 1e-12), 1 - 1e-12)
    return float(values.sum() * np.log(p) + (~values).sum() * np.log(1 - p))


@pytest.mark.parametrize("refused", ["rrrr", "cccc", "r"])
def test_no_change_no_point(refused: str) -> None:
    """Answers all alike, or one alone, have no change point."""
    assert change_point([letter == "r" for letter in refused]) is None


def test_noise_has_few_clear_points() -> None:
    """Of shuffled traces about 5 % have a clear change point, though the best of many places is taken."""
    rng = np.random.default_rng(1)
    found = [change_point((rng.random(30) < 0.5).tolist(), shuffles=99, seed=i) for i in range(200)]
    assert 0.01 <= np.mean([one is not None and one.p <= 0.05 for one in found]) <= 0.1


def test_targets_ask_the_right_steps() -> None:
    """A drop is asked of steps after a refusal; a turn in traces that have a clear one downwards."""
    one = trace("rrcrrc")
    asked, hits = drops([one]).asked[0], drops([one]).hits[0]
    assert asked.tolist() == [False, True, True, False, True, True]
    assert (asked & hits).tolist() == [False, False, True, False, False, True]
    down, up = trace("rrrrrrrrcccccccc"), trace("ccccccccrrrrrrrr")
    target = turns([down, up], [change_point(t.refused) for t in (down, up)])
    assert [part.sum() for part in target.asked] == [15, 0]
    assert target.hits[0].nonzero()[0].tolist() == [8]


def test_auroc_is_scikit_learns() -> None:
    """Of any scores, ties counted half, the AUROC is the usual one."""
    rng = np.random.default_rng(2)
    traces = [trace("r" * 40, name=str(i)) for i in range(6)]
    hits = tuple(rng.random(40) < 0.3 for _ in traces)
    risks = [np.round(rng.random(40), 1) for _ in traces]
    found = predict(traces, risks, Target(tuple(np.ones(40, bool) for _ in traces), hits))
    wished = roc_auc_score(np.concatenate(hits), np.concatenate(risks))
    assert found.auroc["monitor"].value == pytest.approx(wished)
    assert found.auroc["monitor"].low < wished < found.auroc["monitor"].high


def test_the_monitor_is_held_against_position() -> None:
    """A monitor that knows the step beats the position; where none is a hit, nothing is claimed."""
    steps = ["Hm [neutral]. ", "So [neutral]. ", "Go [drift]. ", "On [neutral]. "]
    traces = [trace("rrrcc", steps, name=str(i)) for i in range(5)]
    risks = step_risks(scripted_monitor(), traces)
    assert np.isnan(risks[0][0])
    found = predict(traces, risks, drops(traces))
    assert (found.steps, found.hits, found.traces) == (15, 5, 5)
    assert found.auroc["monitor"].value == 1.0
    assert found.auroc["position only"].value == 0.0
    assert found.gain["position only"].low == 1.0
    none = predict(traces, risks, drops([trace("rrrrr", steps)] * 5))
    assert not none.auroc["monitor"].known


def test_what_is_counted_are_traces_and_what_is_drawn_are_prompts() -> None:
    """Three traces of each of five prompts are fifteen traces, and their intervals rest on five prompts."""
    steps = ["Hm [neutral]. ", "So [neutral]. ", "Go [drift]. ", "On [neutral]. "]
    traces = [trace("rrrcc", steps, name=str(i % 5)) for i in range(15)]
    found = predict(traces, step_risks(scripted_monitor(), traces), drops(traces))
    assert (found.traces, found.auroc["monitor"].n) == (15, 5)


def test_the_median_of_an_even_number_of_turns_is_between_the_two() -> None:
    """Turns after 6 of 20 answers and after 14 are at 50 % in the middle."""
    traces = [trace("r" * at + "c" * (20 - at), name=str(at)) for at in (6, 14)]
    rows = {row[0]: row[1] for row in dose_sections(traces, None)[2].rows}
    assert rows["a clear one, to fewer refusals"] == "2"
    assert rows["those to fewer: median place"] == "50 % of the prefixes"


def test_the_prefix_data(shared: Path, root: Path) -> None:
    """The forced answers of s1.1-7B: refusal falls from about .25 to .06, in the words of the write-up."""
    traces = read_prefixes(shared / "corpus" / "prefixes_train.jsonl.gz")
    estimates = curve(traces)
    assert (len(traces), sum(len(one.ends) for one in traces)) == (187, 11_993)
    assert estimates[0].value == pytest.approx(0.24, abs=0.005)
    assert estimates[-1].value == pytest.approx(0.066, abs=0.005)
    assert estimates[-1].high < estimates[0].low
    ends, along, breaks, _ = dose_sections(traces, None)
    page = (root / "docs" / "studies" / "amplification.md").read_text(encoding="utf-8")
    shown = [row[1] for row in (*ends.rows[:2], *(along.rows[i] for i in (0, 1, 2, 4, 9)))]
    assert [value for value in shown if f"| {value} |" not in page] == []
    assert f"{breaks.rows[2][1]} of the {len(traces)} traces have a clear change point" in page
