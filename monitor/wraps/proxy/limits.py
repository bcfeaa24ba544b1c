"""Limits beyond which the proxy refuses or ends a request."""

from __future__ import annotations

from pydantic import Field

from ...trace import Frozen

__all__ = ["Limits"]

_MIB = 1024 * 1024


class Limits(Frozen):
    """Bounds on sizes, in bytes, and on times, in seconds."""

    request: int = Field(default=16 * _MIB, gt=0)
    """A request's body; a longer one is refused with 413."""
    answer: int = Field(default=64 * _MIB, gt=0)
    """The body of a response that is not streamed and so has to be read whole."""
    event: int = Field(default=4 * _MIB, gt=0)
    """A single event of a stream."""
    connect: float = Field(default=10.0, gt=0)
    silence: float = Field(default=600.0, gt=0)
    """How long upstream may send nothing; reasoning models may think for minutes before the first token."""
    total: float = Field(default=3600.0, gt=0)
    """The duration of a whole exchange."""
    exchanges: int = Field(default=1000, gt=0)
    """How many exchanges may be under way at once; one more is refused with 503."""
    behind: int = Field(default=65_536, gt=0)
    """How many bytes of a stream may wait to be judged before upstream has to wait."""
    judges: int = Field(default=16, gt=0)
    """The number of worker threads; what they ask at the same time is judged in one batch."""
