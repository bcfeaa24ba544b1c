"""What happens when the alarm is raised, and when the monitor fails.

A policy is data: the gate (gate.py) carries it out in the same way for every wrap.

| action | when text is released | at the alarm |
|---|---|---|
| `observe` | at once, unchanged | nothing; the verdict reports it |
| `flag` | at once, unchanged | as `observe`, and the wraps also mark the response where a user sees it |
| `redact` | once judged | the flagged steps are replaced; everything else continues |
| `stop` | once judged | the generation ends before the flagged step; text already released is kept |
| `divert` | once judged | as `stop`, and a harmless answer follows in its place |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from pydantic import Field

from ..classifiers.contract import Channel
from ..errors import UsageError
from .trace import Frozen
from .verdict import StepVerdict

__all__ = ["Action", "Cause", "GateEvent", "Policy", "as_policy"]

Action = Literal["observe", "flag", "redact", "stop", "divert"]

Cause = Literal["alarm", "unjudged", "failed"]
"""The alarm was raised; the classifier could not judge a step; the monitor itself failed."""

HOLDING: frozenset[Action] = frozenset({"redact", "stop", "divert"})
"""The actions under which flagged text is never released."""


class GateEvent(Frozen):
    """What a policy's callback receives."""

    cause: Cause
    action: Action
    """The action taken."""
    id: str
    """The id of the trace."""
    channel: Channel | None
    step: StepVerdict | None
    """The step concerned; None if something other than a step could not be judged, or the monitor failed."""
    detail: str = ""
    """An explanation for people; never text of the trace."""


class Policy(Frozen):
    """What happens when the alarm is raised.

    How easily the alarm is raised is set in the monitor, not in the policy.

    Example:
        >>> policy = Policy(action="flag", answer="stop")
        >>> policy.of("reasoning"), policy.of("answer"), policy.closed("answer")
        ('flag', 'stop', True)
    """

    action: Action = "observe"
    """The action in both channels."""
    reasoning: Action | None = None
    """The action in the reasoning, if it differs."""
    answer: Action | None = None
    """The action in the answer, if it differs."""
    on_error: Literal["open", "closed"] | None = None
    """What happens to text that could not be judged: `open` releases it; `closed` treats it as flagged,
    and under `observe` and `flag` ends the generation. If closed, no text is released before it was
    judged, whatever the action, although flagged text is still released under `observe` and `flag`. The
    default is closed for actions that hold text back, and open for the others. The verdict reports
    unjudged text in any case."""
    replacement: str = "[redacted by undertow]"
    """The text that replaces a run of flagged steps under `redact`."""
    diversion: str | Callable[[str], str] = (
        "I can't help with that, but I'm glad to help with something else."
    )
    """The answer that follows under `divert`: a text, or a function that returns one for the request, such
    as a second call to a model. Local models are forced to write it, and continue from it."""
    hold_back: int = Field(default=0, ge=0)
    """How many more judged steps wait, so that an onset before the alarm can be held back as well."""
    callback: Callable[[GateEvent], None] | None = None
    """Called at the first event of each cause in each channel, in the thread that feeds the gate. What it
    raises reaches the caller: raise an error of your own to make the call fail."""

    def of(self, channel: Channel) -> Action:
        """Return the action in a channel."""
        own = self.reasoning if channel == "reasoning" else self.answer
        return own or self.action

    def acts(self, channel: Channel) -> bool:
        """Return whether flagged text of the channel is held back."""
        return self.of(channel) in HOLDING

    def holds(self, channel: Channel) -> bool:
        """Return whether the channel's text waits until it has been judged."""
        return self.acts(channel) or self.closed(channel)

    def closed(self, channel: Channel) -> bool:
        """Return whether text that could not be judged is treated as flagged."""
        return self.acts(channel) if self.on_error is None else self.on_error == "closed"


def as_policy(policy: Policy | str) -> Policy:
    """Return the policy itself, or a policy with the named action.

    Raises:
        UsageError: There is no such action.
    """
    if isinstance(policy, Policy):
        return policy
    for action in get_args(Action):
        if action == policy:
            return Policy(action=action)
    raise UsageError(f"unknown policy {policy!r}; use a Policy or one of {', '.join(get_args(Action))}")
