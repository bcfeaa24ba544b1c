"""What happens when the alarm goes, and what happens when the monitor fails.

A policy is data: the gate (gate.py) carries it out, the same way behind every wrap.

| action | text leaves | at the alarm |
|---|---|---|
| `observe` | at once, unchanged | nothing but the verdict |
| `flag` | at once, unchanged | as `observe`; the wraps also mark the response where a user sees it |
| `redact` | once it was judged | the flagged steps are replaced, all else goes on |
| `stop` | once it was judged | the generation ends before the flagged step; what left is kept |
| `divert` | once it was judged | as `stop`, and a harmless answer follows in its place |
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
"""The alarm went; the classifier could not judge a step; the monitor itself failed."""

HOLDING: frozenset[Action] = frozenset({"redact", "stop", "divert"})
"""The actions under which what is flagged never leaves."""


class GateEvent(Frozen):
    """What the callback of a policy gets."""

    cause: Cause
    action: Action
    """What was done."""
    id: str
    """The trace's."""
    channel: Channel | None
    step: StepVerdict | None
    """The step concerned; None where the monitor failed outside a step."""
    detail: str = ""
    """A sentence for a person; never text of the trace."""


class Policy(Frozen):
    """What happens when the alarm goes.

    Debouncing and the rate of false alarms are the monitor's, not the policy's.

    Example:
        >>> policy = Policy(action="flag", answer="stop")
        >>> policy.of("reasoning"), policy.of("answer"), policy.closed("answer")
        ('flag', 'stop', True)
    """

    action: Action = "observe"
    """What is done, in both channels."""
    reasoning: Action | None = None
    """What is done in the reasoning, where it is something else."""
    answer: Action | None = None
    """What is done in the answer, where it is something else."""
    on_error: Literal["open", "closed"] | None = None
    """What is done with text that could not be judged: `open` lets it go, `closed` treats it as
    flagged; under `observe` and `flag` it ends the generation. Closed, nothing leaves before it was
    judged, whatever the action; what is flagged then leaves under `observe` and `flag` all the same.
    By default closed where the action holds text back, open where it does not. The verdict shows it
    in any case."""
    replacement: str = "[redacted by undertow]"
    """What stands in place of a run of flagged steps under `redact`."""
    diversion: str | Callable[[str], str] = (
        "I can't help with that, but I'm glad to help with something else."
    )
    """The answer that follows under `divert`: a text, or what gives one for the request, such as a
    second call to a model. A text is forced on local models, which then go on from it."""
    hold_back: int = Field(default=0, ge=0)
    """How many judged steps wait as well, so that an onset before the alarm can be kept in."""
    callback: Callable[[GateEvent], None] | None = None
    """Called at the first alarm and the first failure of each channel, in the thread that feeds the
    gate. What it raises reaches the caller: raise an error of your own to have the call fail."""

    def of(self, channel: Channel) -> Action:
        """Return what is done in a channel."""
        own = self.reasoning if channel == "reasoning" else self.answer
        return own or self.action

    def acts(self, channel: Channel) -> bool:
        """Whether what is flagged in the channel is kept in."""
        return self.of(channel) in HOLDING

    def holds(self, channel: Channel) -> bool:
        """Whether the channel's text waits until it was judged."""
        return self.acts(channel) or self.closed(channel)

    def closed(self, channel: Channel) -> bool:
        """Whether text that could not be judged is treated as flagged."""
        return self.acts(channel) if self.on_error is None else self.on_error == "closed"


def as_policy(policy: Policy | str) -> Policy:
    """Return the policy, or the plain one of that action.

    Raises:
        UsageError: There is no such action.
    """
    if isinstance(policy, Policy):
        return policy
    for action in get_args(Action):
        if action == policy:
            return Policy(action=action)
    raise UsageError(f"a policy is a Policy or one of {', '.join(get_args(Action))}, not {policy!r}")
