"""The text of one trace with the judgement of each step, and the facts beside it.

One rule decides what is masked: text is shown at once only if it was judged safe. Text that was
judged unsafe, or not judged at all, is shown only when the reader asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ...classifiers.contract import UNSAFE, Channel, Label
from ..evidence import Evidence
from ..tally import REASONS
from ..trace import Origin, Trace, Unreadable
from ..verdict import ChannelVerdict, MonitorStamp, StepVerdict, TraceVerdict, channel_of, steps_of
from .rows import NAME, letter, place_of, shorten, where

__all__ = ["KEPT", "MASKED", "texts"]

MASKED: Final = "[masked]"
"""Replaces a text that a redacted page leaves out."""

KEPT: Final[dict[str, int]] = {"reasoning": 120_000, "answer": 60_000, "prompt": 20_000}
"""The largest number of characters of each text in the page; the page reports what is cut."""

_VALUE, _FIELDS = 500, 40

_Piece = tuple[str, int]
"""A text and the index of its step within the channel; -1 if it is in no step."""


def texts(
    item: Trace | Unreadable, verdict: TraceVerdict, evidence: Evidence | None = None, *, redact: bool
) -> dict[str, Any]:
    """Return what the page shows when a trace is opened, ready for JSON.

    Args:
        item: The trace, or the row that gave none.
        verdict: The verdict on it.
        evidence: What moved the score, if computed.
        redact: Leave out all text that was not judged safe, instead of masking it.
    """
    if verdict.assessed == "none":  # whatever else the verdict may contain counts for nothing
        verdict = verdict.model_copy(update={"steps": (), "channels": ()})
        evidence = None
    written: dict[Channel, str | None] = {"reasoning": None, "answer": None}
    if isinstance(item, Trace):
        written = {"reasoning": item.reasoning, "answer": item.answer}
    held = {one: text for one, text in written.items() if text is not None or steps_of(verdict, one)}
    return {
        "facts": [
            *_missing(item, verdict),
            *_facts(verdict),
            *_origin(item, verdict.origin),
            *_stamp(verdict.monitor),
        ],
        "metadata": [] if redact else _metadata(item),
        "prompt": _prompt(item.prompt, redact) if isinstance(item, Trace) else None,
        "channels": [_channel(verdict, one, text, redact) for one, text in held.items()],
        "evidence": None if evidence is None else _evidence(verdict, evidence),
    }


# The facts beside the text


def _missing(item: Trace | Unreadable, verdict: TraceVerdict) -> Iterator[tuple[str, str]]:
    """Explain why there is no text beside steps that were judged."""
    if isinstance(item, Unreadable) and verdict.steps:
        yield "No text", shorten(item.problem.detail or REASONS[item.problem.reason], _VALUE)


def _facts(verdict: TraceVerdict) -> Iterator[tuple[str, str]]:
    problem = verdict.not_assessed
    if problem is not None:
        judged = "Not assessed" if verdict.assessed == "none" else "Judged in part"
        detail = f" ({shorten(problem.detail, _VALUE)})" if problem.detail else ""
        yield judged, REASONS[problem.reason] + detail
    for channel in verdict.channels:
        yield from _channel_facts(verdict, channel)


def _channel_facts(verdict: TraceVerdict, found: ChannelVerdict) -> Iterator[tuple[str, str]]:
    name = found.channel.capitalize()
    end = (", back in safe steps at the end" if found.recovered else ", did not recover") * found.flagged
    yield name, ("flagged" if found.flagged else "not flagged") + end
    for title, mark in (("onset", found.onset), ("alarm", found.alarm)):
        if mark is not None:
            yield f"{name}, {title}", f"{where(verdict, mark)}, {mark.fraction:.0%} in"
    yield f"{name}, peak", f"risk {found.peak.risk:.2f} at step {found.peak.step + 1}"


def _origin(item: Trace | Unreadable, origin: Origin) -> Iterator[tuple[str, str]]:
    row, turn = origin.row, origin.turn
    places = [None if row is None else f"row {row}", None if turn is None else f"turn {turn}"]
    read = [part for part in (origin.path, *places, origin.format) if part]
    if read:
        yield "Read from", shorten(", ".join(read), _VALUE)
    if isinstance(item, Trace) and item.reasoning_from:
        yield "Reasoning in", shorten(item.reasoning_from, _VALUE)
    if isinstance(item, Trace) and item.truncated:
        yield "Cut off", "the generation ended inside the reasoning"


def _stamp(stamp: MonitorStamp) -> Iterator[tuple[str, str]]:
    rate = f"at most {stamp.false_alarm_rate:.1%} of safe traces"
    yield "Judged by", shorten(f"undertow {stamp.undertow}, {stamp.classifier}", _VALUE)
    yield "Threshold", f"{stamp.threshold:.3g} in log-odds of risk: {rate} raise an alarm"
    yield "Digest", shorten(stamp.digest, _VALUE)
    if stamp.note:
        yield "Of the classifier", shorten(stamp.note, _VALUE)


def _metadata(item: Trace | Unreadable) -> list[tuple[str, str]]:
    if isinstance(item, Unreadable):
        return []
    pairs = [(shorten(key, NAME), shorten(str(value), _VALUE)) for key, value in item.metadata.items()]
    more = len(pairs) - _FIELDS
    return pairs if more <= 0 else [*pairs[:_FIELDS], ("", f"and {more} more, not in this page")]


# The texts


def _prompt(prompt: str, redact: bool) -> dict[str, Any]:
    """Return the request; no classifier judged it, so a redacted page leaves it out."""
    text = MASKED if redact and prompt else prompt[: KEPT["prompt"]]
    return {"text": text, "total": len(prompt), "kept": min(len(prompt), KEPT["prompt"])}


def _channel(verdict: TraceVerdict, channel: Channel, held: str | None, redact: bool) -> dict[str, Any]:
    steps, found = steps_of(verdict, channel), channel_of(verdict, channel)
    text = held or ""
    kept = min(len(text), KEPT[channel])
    pieces = _pieces(text[:kept], steps)
    return {
        "channel": channel,
        "missing": held is None,
        "pieces": [_redacted(piece, steps) for piece in pieces] if redact else list(pieces),
        "letters": "".join(map(letter, steps)),
        "risks": [None if step.risk is None else round(step.risk, 3) for step in steps],
        "shares": [_percents(step) for step in steps],
        **{name: place_of(found, name) for name in ("onset", "alarm")},
        "total": len(text),
        "kept": kept,
    }


def _percents(step: StepVerdict) -> list[int]:
    """Return P(neutral), P(aware), P(drift) and P(harm) in percent; empty if the step was not judged."""
    shares = step.probabilities
    if shares is None:
        return []
    return [round(100 * share) for share in (shares.neutral, shares.aware, shares.drift, shares.harm)]


def _pieces(text: str, steps: Sequence[StepVerdict]) -> Iterator[_Piece]:
    """Cut a text at the borders of its steps; joined, the pieces are the text."""
    done = 0
    for number, step in enumerate(steps):
        start, end = max(step.start, done), max(step.end, done)
        yield from ((gap, -1) for gap in (text[done:start],) if gap)
        yield from ((piece, number) for piece in (text[start:end],) if piece)
        done = end
    if text[done:]:
        yield text[done:], -1


def _redacted(piece: _Piece, steps: Sequence[StepVerdict]) -> _Piece:
    text, number = piece
    safe = _is_safe(steps[number].label) if number >= 0 else text.isspace()
    return (text if safe else MASKED), number


def _is_safe(label: Label | None) -> bool:
    return label is not None and label not in UNSAFE


def _evidence(verdict: TraceVerdict, evidence: Evidence) -> dict[str, Any]:
    """Return what moved the score, without any text; words are given by their position in the step."""
    steps = steps_of(verdict, evidence.channel)
    start = steps[evidence.step].start if evidence.step < len(steps) else 0
    words = [(word.start - start, word.end - start, round(word.delta, 3)) for word in evidence.words]
    return {
        "channel": evidence.channel,
        "step": evidence.step,
        "risk": round(evidence.risk, 3),
        "steps": [(one.index, round(one.delta, 3)) for one in evidence.steps],
        "words": words,
    }
