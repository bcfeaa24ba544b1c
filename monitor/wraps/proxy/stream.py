"""A streamed response: read, judged, and passed on at the client's pace."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import httpx

from ..sse import Event, EventTooLong, SseReader
from .flow import Flow
from .judge import Judge
from .limits import Limits
from .upstream import chunks
from .wire import BROKE, SLOW

__all__ = ["stream"]


_TURN = 32
"""How many events are passed on before other tasks have a turn: a fast upstream sends hundreds at once."""


class _Broken(Exception):
    """The response broke off; the message says how."""


async def stream(
    response: httpx.Response, flow: Flow, judge: Judge, deadline: float
) -> AsyncGenerator[bytes]:
    """Yield the bytes for the client; however upstream ends, the stream ends well-formed."""
    last, broken = None, None
    try:
        try:
            async with aclosing(_batches(response, judge.limits, deadline)) as batches:
                async for events in batches:
                    started = time.perf_counter()
                    last = next((event for event in events if flow.wire.is_end(event)), None)
                    leaving = await flow.take(events[: events.index(last)] if last is not None else events)
                    judge.metrics.held.observe(time.perf_counter() - started)
                    if leaving:
                        yield leaving
                    if last is not None or flow.over or flow.judged.failed is not None:
                        break
            await flow.judged.caught_up()
            if flow.judged.failed is not None:
                raise _Broken(flow.judged.failed)
            if last is None and not (flow.over or flow.wire.complete):
                raise _Broken(BROKE)
        except _Broken as error:
            broken = str(error)
            judge.metrics.failures.labels("answer_broke").inc()
        with suppress(httpx.TransportError):  # a connection that cannot be closed is as good as closed
            await response.aclose()  # the verdicts may take a while; upstream need not wait
        yield await flow.end(last, broken)
    finally:
        await response.aclose()
        flow.judged.abandon()


async def _batches(response: httpx.Response, limits: Limits, deadline: float) -> AsyncGenerator[list[Event]]:
    """Yield the events of each network chunk together, in groups of at most `_TURN`.

    Raises:
        _Broken: if upstream breaks off, falls silent, or sends an event over the limit.
    """
    reader = SseReader(limits.event)
    try:
        async for chunk in chunks(response, deadline, decoded=True):
            events = reader.feed(chunk)
            for start in range(0, len(events), _TURN):
                yield events[start : start + _TURN]
        if events := reader.close():
            yield events
    except EventTooLong:
        raise _Broken("the upstream server sent an event that is too large") from None
    except (httpx.TimeoutException, TimeoutError):
        raise _Broken(SLOW) from None
    except (httpx.TransportError, httpx.DecodingError):
        raise _Broken(BROKE) from None
