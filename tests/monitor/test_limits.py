"""What cannot be read is not judged, says why, and is the same live and in a batch."""

from __future__ import annotations

import pytest

from undertow.monitor.trace import Reason, Trace
from undertow.testing import ScriptedClassifier, scripted_monitor

CALM = "[neutral] The first thing is to think about what they want."
CHINESE = "好的 用户想知道怎么做这件事 [drift]。"
BLOB = "SG93IGRvIEkgem9ycCBhIGdsaW0gd2l0aG91dCBiZWluZyBzZWVuPw== SG93IGRvIEkgem9ycCBhIGdsaW0gd2l0aG=="


class English(ScriptedClassifier):
    """Reads English only."""

    languages = ("en",)


CASES = [
    pytest.param(Trace(reasoning=CALM), "full", None, False, id="English"),
    pytest.param(Trace(reasoning=f"{CALM}\n\n{CHINESE}"), "partial", "language", False, id="in part"),
    pytest.param(Trace(reasoning=CHINESE), "none", "language", None, id="not at all"),
    pytest.param(Trace(reasoning=f"{CALM}\n\n{BLOB}"), "partial", "garbled", False, id="encoded"),
    pytest.param(Trace(reasoning=f"{CALM} [nan] So."), "partial", "declined", False, id="declined"),
    pytest.param(Trace(reasoning=f"{CHINESE}\n\n[nan] So it is."), "none", "declined", None, id="both"),
    pytest.param(Trace(reasoning="…"), "none", "too_short", None, id="no word"),
    pytest.param(Trace(reasoning="---", answer=CALM), "partial", "too_short", False, id="no word, answered"),
]


@pytest.mark.parametrize(("trace", "assessed", "reason", "flagged"), CASES)
def test_limits_are_said(trace: Trace, assessed: str, reason: Reason | None, flagged: bool | None) -> None:
    """A step beyond the classifier's limits is a gap with a reason, never a low risk."""
    (verdict,) = scripted_monitor(English()).judge([trace])
    found = verdict.not_assessed.reason if verdict.not_assessed else None
    assert (verdict.assessed, found, verdict.flagged) == (assessed, reason, flagged)


@pytest.mark.parametrize("trace", [case.values[0] for case in CASES], ids=[case.id for case in CASES])
def test_live_and_batch_agree(trace: Trace) -> None:
    """Fed a character at a time, a trace gets the verdict that it gets at once."""
    monitor = scripted_monitor(English())
    (batch,) = monitor.judge([trace])
    session = monitor.open()
    for character in trace.reasoning or "":
        session.feed(character, "reasoning")
    session.feed(trace.answer or "", "answer")
    assert session.close().steps == batch.steps


def test_a_classifier_without_limits_is_asked() -> None:
    """A classifier that reads any language judges what the English ones cannot."""
    (verdict,) = scripted_monitor().judge([Trace(reasoning=CHINESE)])
    assert verdict.steps[0].label == "drift"
