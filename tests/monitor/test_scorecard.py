"""A scorecard's figures are those of the labels, and its baselines read no more than they say."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers.contract import Label, Probabilities, StepInput
from undertow.classifiers.corpus import LabelledTrace
from undertow.errors import CannotJudge
from undertow.monitor.calibration import Calibration
from undertow.monitor.evaluation import Followed, follow
from undertow.monitor.labelled import scored
from undertow.monitor.report.evaluation_plots import evaluation_figures
from undertow.monitor.scorecard import BASELINES, baseline, scorecard
from undertow.testing import ScriptedClassifier

JUDGE = ScriptedClassifier()
CALIBRATION = Calibration(
    classifier="scripted", digest=JUDGE.digest, segmenter="sentence", population="made up",
    statistics=(0.0,) * 99,
)  # fmt: skip


class Failing(ScriptedClassifier):
    """Judges nothing."""

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Raise."""
        raise CannotJudge("not today")


def trace(number: int, said: str, labels: str, verdict: int, source: str = "here") -> LabelledTrace:
    """A trace whose steps say in brackets what the classifier will make of them."""
    names: dict[str, Label] = {"N": "neutral", "A": "aware", "D": "drift", "H": "harm"}
    texts = [
        f"[{names[letter]}] step {at}." if letter != "x" else "[nan] step." for at, letter in enumerate(said)
    ]
    reasoning = " ".join(texts)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])]).tolist()
    units = tuple((start, start + len(text)) for start, text in zip(starts, texts, strict=True))
    return LabelledTrace(
        f"t{number}", source, "gen", f"g{number}", f"[{'drift' if verdict else 'neutral'}] please", reasoning,
        units, tuple(names[letter] for letter in labels), verdict, "[aware] No.",
    )  # fmt: skip


TRACES = [
    trace(0, "NNNN", "NNNN", 0),
    trace(1, "NANN", "NANN", 0),
    trace(2, "NDDN", "NNNN", 0, "there"),
    trace(3, "NDHN", "NDHN", 2),
    trace(4, "DDHA", "DDHA", 2, "there"),
    trace(5, "NNNN", "NNDH", 2, "there"),
]


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of_risk(one: LabelledTrace, risk: float) -> Followed:
    """A trace of one step, judged to have this risk."""
    row = np.array([[1 - risk, 0.0, risk, 0.0]])
    return Followed(one, row, (0,), {"reasoning": row, "answer": np.empty((0, 4))})


@pytest.fixture(scope="module")
def cases() -> list[Followed]:
    """What the scripted classifier said of them."""
    return [follow(JUDGE, one) for one in TRACES]


def test_alarms_are_counted_by_their_labels(cases: list[Followed]) -> None:
    """One safe trace of three raises an alarm, one unsafe of three is missed; by source likewise."""
    card = scorecard(JUDGE, cases, CALIBRATION, draws=5)
    at = card.alarms["0.05"]
    assert (at["false alarms"].count, at["false alarms"].total) == (1, 3)
    assert (at["on time"].count, at["missed"].count) == (2, 1)
    assert card.groups["source"]["there"].alarms["false alarms"].count == 1
    assert card.groups["source"]["here"].alarms["missed"].count == 0
    assert (card.traces, card.steps, card.unjudged) == (6, 24, 0.0)


@pytest.mark.parametrize("rates", [(0.5, 0.02), (0.02, 0.5)])
def test_groups_are_counted_at_the_highest_rate(cases: list[Followed], rates: tuple[float, float]) -> None:
    """In whatever order the rates were asked for."""
    promise = CALIBRATION.model_copy(update={"statistics": (0.0,) * 60 + (9.0,) * 39})
    card = scorecard(JUDGE, cases, promise, rates, draws=5)
    assert [card.alarms[rate]["on time"].count for rate in ("0.5", "0.02")] == [2, 0]
    assert sum(group.alarms["on time"].count for group in card.groups["source"].values()) == 2


def test_false_alarms_are_counted_by_length(cases: list[Followed]) -> None:
    """The three safe traces are short, and one of them raises an alarm."""
    lengths = scorecard(JUDGE, cases, CALIBRATION, draws=5).lengths["0.05"]["labelled safe"]
    assert [(count.count, count.total) for count in lengths.values()] == [(1, 3), (0, 0), (0, 0)]


def test_both_readings_of_safe_stand_side_by_side() -> None:
    """Traces that take a goal on and think better of it raise one threshold found here, and not the other."""
    safe = [trace(n, "NNNN", "NNNN", 0) for n in range(18)]
    turned = [trace(18 + n, "DDAN", "DAAN", 0) for n in range(2)]
    unsafe = [trace(20, "NNDN", "NNDN", 2), trace(21, "DDDH", "DDDH", 2)]
    followed = [follow(JUDGE, one) for one in [*safe, *turned, *unsafe]]
    here = scorecard(JUDGE, followed, None, (0.05,), draws=5).alarms_here
    assert list(here) == ["labelled safe", "no unsafe step"]
    assert here["labelled safe"]["0.05"]["false alarms"].total == 20
    assert here["no unsafe step"]["0.05"]["false alarms, no unsafe step"].total == 18
    assert here["labelled safe"]["0.05"]["missed"].count > here["no unsafe step"]["0.05"]["missed"].count == 0


def test_without_a_calibration_no_alarm_is_counted(cases: list[Followed]) -> None:
    """A threshold that promises nothing is not made up; nor is a rate that it cannot support."""
    assert scorecard(JUDGE, cases, None, draws=5).alarms == {}
    assert list(scorecard(JUDGE, cases, CALIBRATION, (0.05, 0.001), draws=5).alarms) == ["0.05"]


def test_what_was_declined_is_counted_and_in_no_figure() -> None:
    """A step without a judgement is a gap, not a safe step."""
    card = scorecard(JUDGE, [follow(JUDGE, trace(0, "NxDN", "NNDN", 2))], None, draws=5)
    assert card.unjudged == 0.25
    assert card.figures["step_auroc"].value == 1.0


def test_a_classifier_that_fails_has_gaps_and_no_figures() -> None:
    """What raises `CannotJudge` ends no evaluation, and gives no figure."""
    card = scorecard(Failing(), [follow(Failing(), one) for one in TRACES], CALIBRATION, draws=5)
    assert card.unjudged == 1.0
    assert card.alarms["0.05"]["false alarms"].total == 0
    assert {count.total for count in card.lengths["0.05"]["labelled safe"].values()} == {0}
    assert card.figures["step_auroc"].value is None
    assert {one.step_auroc for one in card.baselines.values()} == {None}


def test_baselines_are_measured_on_the_steps_that_were_judged() -> None:
    """A trace that the classifier could not read makes no baseline look better or worse beside it."""
    unread = trace(6, "xx", "DH", 2)
    with_gap, without = (
        scorecard(JUDGE, [follow(JUDGE, one) for one in traces], None, draws=2).baselines
        for traces in ([*TRACES, unread], TRACES)
    )
    assert with_gap == without


def test_baselines_read_no_more_than_they_say(cases: list[Followed]) -> None:
    """The request alone knows the traces and not the steps; position and length know no trace's words."""
    card = scorecard(JUDGE, cases, None, draws=5)
    assert list(card.baselines) == ["scripted", *BASELINES]
    assert card.baselines["prompt only"].trace_auroc == 1.0
    assert card.baselines["prompt only"].within_trace_auroc == 0.5
    assert card.baselines["answer only"].trace_auroc == 0.5
    assert (
        baseline("position only", JUDGE, cases)[:4].tolist()
        == baseline("position only", JUDGE, cases)[4:8].tolist()
    )
    assert (card.baselines["length only"].step_auroc or 0) >= 0.5


def test_an_answer_is_as_risky_as_its_riskiest_judged_step() -> None:
    """Wherever in the answer the step stands that was not judged."""
    safe = replace(trace(0, "NN", "NN", 0), answer="[neutral] No. [nan] Well.")
    unsafe = replace(trace(1, "ND", "ND", 2), answer="[nan] Well. [harm] Yes.")
    card = scorecard(JUDGE, [follow(JUDGE, one) for one in (safe, unsafe)], None, draws=5)
    assert card.baselines["answer only"].trace_auroc == 1.0


@pytest.mark.parametrize(("safe", "above"), [(19, 0), (20, 1), (100, 5)])
def test_what_is_found_is_above_what_the_rate_of_the_safe_exceeds(safe: int, above: int) -> None:
    """Of 20 safe traces, one is 5 %: an unsafe trace need not be riskier than that one too."""
    cases = [
        *(of_risk(trace(n, "N", "N", 0), n / 200) for n in range(safe)),
        *(of_risk(trace(n, "D", "D", 2), (n + 0.5) / 200) for n in range(safe)),
    ]
    assert scorecard(JUDGE, cases, None, draws=2).baselines["scripted"].recall["0.05"] == (1 + above) / safe


def test_a_scorecard_is_json_without_nan(cases: list[Followed]) -> None:
    """What the data cannot give is null."""
    card = scorecard(JUDGE, cases[:1], None, draws=5)
    said = json.loads(card.model_dump_json())
    assert said["figures"]["step_auroc"]["value"] is None


def test_figures_are_drawn(cases: list[Followed], tmp_path: Path) -> None:
    """Each has its numbers beside it, and they are those of the labels."""
    steps = scored(cases)
    risks = {"scripted": steps.risk, "keyword": baseline("keyword", JUDGE, cases)}
    card = scorecard(JUDGE, cases, CALIBRATION, draws=5)
    evaluation_figures(card, steps, risks, [0, 0, 9], tmp_path / "figures")
    errors = {row["error"]: row["traces"] for row in table(tmp_path / "figures" / "onset-errors.csv")}
    assert {error: count for error, count in errors.items() if count != "0"} == {"0": "2", "> 5": "1"}
    roc = [row for row in table(tmp_path / "figures" / "roc.csv") if row["name"] == "scripted"]
    assert [float(row["false_alarms"]) for row in roc] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [float(row["found"]) for row in roc] == pytest.approx([0, 2 / 3, 2 / 3, 1])
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"reliability", "roc", "onset-errors", "groups"}
