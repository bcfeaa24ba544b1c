"""The outcome in words: no number or word is cut, and a verdict says what it rests on."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from undertow.monitor.trace import Trace
from undertow.studies.amplification.compare import Comparison, compare_all
from undertow.studies.amplification.design import Design
from undertow.studies.amplification.estimate import Estimate
from undertow.studies.amplification.load import Table, load
from undertow.studies.amplification.page import Page, Section, number, points
from undertow.studies.amplification.report import show
from undertow.studies.amplification.sections import judge
from undertow.studies.amplification.study import study
from undertow.studies.amplification.verdict import Conclusion

COLUMNS = ("comparison", "prompts", "rates %", "difference", "ratio", "odds ratio", "Holm", "verdict")
ROW = ("answer, fine-tuned: on - zero", "25", "40.0 / 12.0", "+28.0 pp [+9.6, +44.3]", "3.33 [1.33, 6.75]",
       "4.89 [1.56, 12.2]", "p 0.0132", "inconclusive")  # fmt: skip


def shown(section: Section, width: int) -> list[str]:
    """Return the words of a section as a terminal of this width shows them."""
    console = Console(width=width, record=True, file=StringIO())
    show(Page("", "", (section,)), console)
    text = console.export_text()
    assert max(map(len, text.split("\n"))) <= width
    return text.split()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 200])
def test_no_word_of_a_table_is_cut(width: int) -> None:
    """A table that is too wide comes in parts, each beginning with the first column."""
    words = shown(Section("", COLUMNS, (ROW,) * 8), width)
    for cell in (*COLUMNS[1:], *ROW[1:]):
        for word in cell.split():
            assert words.count(word) >= 1, word
    assert words.count("comparison") == words.count("answer,") / 8
    assert words.count("inconclusive") == 8


def test_a_terminal_narrower_than_a_word() -> None:
    """There the word is cut, since nothing may be lost, and a table may have one column."""
    assert "".join(shown(Section("", ("alone",), (("unbreakable-words",),)), 14)) == "aloneunbreakable-words"
    assert "unbr" in shown(Section("", ("a", "b"), (("unbreakable", "unbreakable"),)), 16)


def test_nothing_is_plus_nothing() -> None:
    """A difference that rounds to 0 is written without a minus."""
    tiny = Estimate(-1e-17, -0.0004, 0.02, "t", 9)
    assert points(tiny) == "+0.0 pp [+0.0, +2.0]"
    assert number(tiny) == "0.00 [0.00, 0.02]"


def answers(gold: bool) -> Table:
    """Return 40 prompts, of which reasoning alone harms 12, in a judge's eyes and mostly in people's."""
    rows = []
    for prompt in range(40):
        for mode in ("on", "zero"):
            harm = mode == "on" and prompt < 12
            human = harm if prompt % 4 else not harm
            meta = {"mode": mode, "harm": harm, "p": prompt} | ({"human": human} if gold else {})
            rows.append(Trace(id=f"{prompt}{mode}", prompt="p", answer="a", metadata=meta))
    return load(((row, None) for row in rows), DESIGN)


DESIGN = Design.model_validate(
    {
        "fields": {"prompt": "p", "mode": "mode"},
        "assume": {"state": "base"},
        "harm": {"answer": {"field": "harm"}},
        "gold": {"answer": {"field": "human"}},
    }
)


@pytest.fixture(scope="module")
def corrected() -> Comparison:
    """A comparison that only the correction leaves open."""
    (one,) = (found for found in compare_all(answers(gold=True)) if found.primary)
    assert one.conclusion.estimate.above(0.05)
    assert one.conclusion.outcome == "inconclusive"
    return one


def test_the_lead_shows_the_interval_that_decides() -> None:
    """Not the uncorrected one, which may contradict the verdict beside it."""
    for gold in (False, True):
        (one,) = (found for found in compare_all(answers(gold)) if found.primary)
        lead = study(answers(gold), DESIGN, quick=True).lead
        assert f"{one.conclusion.outcome} ({points(one.conclusion.deciding)})." in lead
        assert ("Intervals of 95 %" in lead, "judge's errors" in lead) == (True, gold)


def test_what_is_open_survives_nothing(corrected: Comparison) -> None:
    """A verdict that is open either way is not one that survives; the second method has none of its own."""

    def says(conclusion: Conclusion) -> list[str]:
        section = judge([replace(corrected, conclusion=conclusion)])
        assert section
        return [row[-1] for row in section.rows]

    def conclusion(estimate: Estimate, after: Estimate) -> Conclusion:
        return Conclusion(claim="c", margin=0.05, estimate=estimate, corrected=after)

    above, across = Estimate(0.2, 0.1, 0.3, "t", 40), Estimate(0.1, 0.0, 0.2, "t", 40)
    assert len(corrected.corrected) == 2
    assert says(conclusion(above, above)) == ["yes", ""]
    assert says(conclusion(above, across)) == ["no", ""]
    assert says(conclusion(across, across)) == ["open either way", ""]
