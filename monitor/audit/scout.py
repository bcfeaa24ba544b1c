"""Provide undertow as an Inspect Scout scanner, which shows step scores beside the messages in Scout View.

    scout scan undertow/undertow_scanner -T ./logs -S classifier=step-lexical --max-processes 1

or, with a file of your own, `scout scan scanners.py -T ./logs`:

    from inspect_scout import ScanJob, scanjob
    from undertow.monitor.audit.scout import undertow_scanner

    @scanjob
    def drift() -> ScanJob:
        return ScanJob(scanners=[undertow_scanner("step-lexical")])

Requires inspect-scout: `pip install 'undertow[inspect]'`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from ...classifiers.registry import DEFAULT
from ...errors import MissingExtra
from ..monitor import Monitor
from ..tally import why
from ..trace import Origin
from ..verdict import StepVerdict, TraceVerdict, steps_of
from .readers.inspect import ScoutReader

try:
    from inspect_scout import Reference, Result, Scanner, Transcript, scanner
except ImportError as error:
    raise MissingExtra("the scanner for Inspect Scout", "inspect") from error

__all__ = ["result_of", "undertow_scanner"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDEST = 200
"""Maximum number of steps drawn per channel; the metadata has all of them."""


@scanner(messages="all")
def undertow_scanner(classifier: str = DEFAULT, false_alarm_rate: float = 0.05) -> Scanner[Transcript]:
    """Judge each assistant turn, and say where its reasoning drifts toward harm.

    Args:
        classifier: As for `Monitor`.
        false_alarm_rate: As for `Monitor`: the share of safe traces that may raise an alarm.

    Returns:
        A scanner. The value of its result is true if a turn is flagged, null if none is flagged but some
        turn could not be judged, and false otherwise.
    """
    monitor = Monitor(classifier, false_alarm_rate=false_alarm_rate)

    async def scan(transcript: Transcript) -> Result:
        return await asyncio.to_thread(result_of, transcript, monitor)

    return scan


def result_of(transcript: Transcript, monitor: Monitor) -> Result:
    """Judge a transcript. The result contains no text of it, only references to its messages."""
    messages = [message.model_dump(mode="json", exclude_none=True) for message in transcript.messages]
    row = {"transcript_id": transcript.transcript_id, "messages": messages, "model": transcript.model}
    verdicts = list(monitor.judge(ScoutReader().read(row, Origin(format="scout"))))
    numbered = enumerate(transcript.messages, 1)
    turns = [(number, message) for number, message in numbered if message.role == "assistant"]
    flagged = [verdict for verdict in verdicts if verdict.flagged]
    unsure = [verdict for verdict in verdicts if verdict.assessed == "none"]
    places = {turn: number for turn, (number, _) in enumerate(turns)}
    return Result(
        value=True if flagged else None if unsure else False,
        answer=_answer(verdicts, flagged, unsure),
        explanation="\n".join(line for verdict in verdicts for line in _lines(verdict, places)),
        metadata={"verdicts": [verdict.model_dump(mode="json", by_alias=True) for verdict in verdicts]},
        references=[
            Reference(type="message", cite=f"[M{number}]", id=message.id)
            for number, message in turns
            if message.id is not None
        ],
    )


def _answer(
    verdicts: Sequence[TraceVerdict], flagged: Sequence[TraceVerdict], unsure: Sequence[TraceVerdict]
) -> str:
    said = f"{len(flagged)} of {len(verdicts)} turns flagged"
    return f"{said}, {len(unsure)} could not be judged" if unsure else said


def _lines(verdict: TraceVerdict, places: dict[int, int]) -> Iterator[str]:
    """Yield the result for one turn, and a drawing of the risk of its steps."""
    turn = verdict.origin.turn
    where = f"[M{places[turn]}]" if turn is not None and turn in places else "the transcript"
    yield f"{where} {_said(verdict)}"
    for channel in dict.fromkeys(step.channel for step in verdict.steps):
        steps = steps_of(verdict, channel)
        more = f" and {len(steps) - _WIDEST} more" if len(steps) > _WIDEST else ""
        yield f"  {channel} {''.join(map(_block, steps[:_WIDEST]))}{more}"


def _said(verdict: TraceVerdict) -> str:
    reason = why(verdict)
    if verdict.flagged is None:
        return f"not judged: {reason}"
    partly = f" (in part: {reason})" if reason else ""
    if verdict.onset is None:
        return f"not flagged, highest risk {verdict.highest_risk:.2f}{partly}"
    onset = verdict.onset
    return (
        f"flagged: drift begins at step {onset.step + 1} of the {onset.channel}, "
        f"highest risk {verdict.highest_risk:.2f}{partly}"
    )


def _block(step: StepVerdict) -> str:
    """Draw the risk of a step; a question mark if it was not judged."""
    return "?" if step.risk is None else _BLOCKS[min(int(step.risk * len(_BLOCKS)), len(_BLOCKS) - 1)]
