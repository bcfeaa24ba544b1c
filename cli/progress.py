"""Show the progress of a command: a bar on a terminal, or occasional lines for an audit without one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..monitor.many import many

if TYPE_CHECKING:
    from ..monitor.audit import Record
    from ..monitor.verdict import TraceVerdict

__all__ = ["Progress", "Watch", "bar", "counting", "line", "watch"]

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called once per trace with the amount done and the total, or None if the total is unknown."""

_EVERY = 30.0  # seconds between two plain lines

_ECHO = 3
"""Columns left free, since a terminal that echoes ^C at its edge would begin a line that is not erased."""


class _Show(Protocol):
    """Updates a bar with the name of the task, the amount done, the total and a short text."""

    def __call__(self, what: str, done: int, total: int | None, said: str = "") -> None: ...


class _Shown(Protocol):
    """Shows the progress of an audit."""

    def __call__(self, done: int, total: int, /, *, traces: int, flagged: int) -> None: ...


class Watch:
    """Counts traces and flags through the two callbacks of an audit, `each` and `progress`."""

    def __init__(self, show: _Shown) -> None:
        self._show = show
        self.traces, self.flagged = 0, 0

    def each(self, record: Record, verdict: TraceVerdict) -> None:
        """Count a verdict."""
        self.traces += 1
        self.flagged += bool(verdict.flagged)

    def progress(self, done: int, total: int) -> None:
        """Show the number of bytes processed, and the total."""
        self._show(done, total, traces=self.traces, flagged=self.flagged)


@contextmanager
def bar(*, shown: bool) -> Iterator[_Show | None]:
    """Show a bar on standard error while the block runs; yield None if there is no terminal."""
    from rich.console import Console, RenderableType
    from rich.constrain import Constrain
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield None
        return

    class Narrow(Progress):
        def get_renderable(self) -> RenderableType:
            return Constrain(super().get_renderable(), console.width - _ECHO)

    names, said = TextColumn("{task.description}"), TextColumn("{task.fields[said]}")
    columns = (names, BarColumn(), TaskProgressColumn(), said, TimeRemainingColumn(compact=True))
    with Narrow(*columns, console=console, transient=True) as made:
        task = made.add_task("reading", total=None, said="")

        def show(what: str, done: int, total: int | None, said: str = "") -> None:
            made.update(task, description=what, completed=done, total=total, said=said)

        yield show


@contextmanager
def counting(*, shown: bool) -> Iterator[Progress | None]:
    """Show a bar that counts traces while the block runs; yield None if there is no terminal."""
    with bar(shown=shown) as show:
        if show is None:
            yield None
            return
        traces = 0

        def advance(done: int, total: int | None) -> None:
            nonlocal traces
            traces += 1
            show("judging", done, total, many(traces, "trace"))

        yield advance


@contextmanager
def watch(*, shown: bool) -> Iterator[Watch | None]:
    """Show the progress of an audit while the block runs: a bar, or lines if there is no terminal."""
    with bar(shown=shown) as show:
        if not shown:
            yield None
        elif show is None:
            yield Watch(_Lines(lambda text: print(text, file=sys.stderr)))
        else:
            yield Watch(_on(show))


def _on(show: _Show) -> _Shown:
    """Return a callback that shows the progress of an audit on a bar."""
    started = monotonic()

    def shown(done: int, total: int, /, *, traces: int, flagged: int) -> None:
        rate = _rate(traces, monotonic() - started)
        show("judging", done, total, f"{many(traces, 'trace')} · {rate} · {flagged:,} flagged")

    return shown


class _Lines:
    """Writes a line of progress at most every `_EVERY` seconds, and none for a short run."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._started: float | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int, /, *, traces: int, flagged: int) -> None:
        now = monotonic()
        if self._started is None:  # earlier work, such as loading a classifier, does not count for the rate
            self._started = self._last = now
        if now - self._last >= _EVERY:
            self._last = now
            self._write(line(done / total if total else 1.0, now - self._started, traces, flagged))


def line(share: float, seconds: float, traces: int, flagged: int) -> str:
    """Return "35% · 1,234 traces · 41 a second · 12 flagged · 2 h 05 min left"."""
    left = f"{_span(seconds * (1 - share) / share)} left" if share > 0 else "no end in sight"
    return f"{share:.0%} · {many(traces, 'trace')} · {_rate(traces, seconds)} · {flagged:,} flagged · {left}"


def _rate(traces: int, seconds: float) -> str:
    rate = traces / seconds if seconds > 0 else 0.0
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
