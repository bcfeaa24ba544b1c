"""Print the tables at the end of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..monitor.audit import AuditResult, Onsets, Worst
from ..monitor.audit.compare import Comparison, Moved
from ..monitor.audit.plain import plain
from ..monitor.many import many
from ..monitor.tally import REASONS
from ..monitor.trace import Reason
from ..monitor.verdict import Quadrant

__all__ = ["show", "show_change"]

_MODEL = 12
_REST = 57  # width of the other columns of the last table, and of the margins
_BAR = 28
_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {"harm": "red", "drift": "yellow", "aware": "cyan"}


def show(result: AuditResult, written: Sequence[Path] = (), console: Console | None = None) -> None:
    """Print the figures of an audit, without any text of a trace."""
    console = console or Console(highlight=False)
    parts: list[RenderableType] = [_headline(result), Text(), _facts(result, not console.options.ascii_only)]
    if result.quadrants:
        parts += [Text(), _quadrants(result.quadrants)]
    if result.worst:
        parts += [Text(), _worst(result.worst, console.width)]
    parts += [Text(), _promise(result), *_asides(result)]
    parts += [Text(f"written to {plain(str(path), 200)}", "dim") for path in written]
    console.print(Padding(Group(*parts), (1, 2)))


def show_change(comparison: Comparison) -> None:
    """Print what changed from one audit to another, without any text of a trace."""
    console = Console(highlight=False)
    low, high = (f"{100 * end:+.1f}" for end in comparison.interval)
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("compared", f"{many(comparison.prompts, 'prompt')} that both have")
    rates = f"{_percent(comparison.rate_before)} before, {_percent(comparison.rate_after)} after"
    grid.add_row("flagged", rates)
    change = f"{100 * comparison.change:+.1f} points"
    style = "bold red" if comparison.worse else "bold green" if comparison.interval[1] < 0 else "bold"
    grid.add_row("change", Text.assemble((change, style), f" (95% interval {low} to {high})"))
    grid.add_row("moved", f"{comparison.newly:,} up, {comparison.no_longer:,} down")
    for what, count in (
        ("only after", comparison.only_after),
        ("only before", comparison.only_before),
        ("not judged", comparison.not_judged),
    ):
        if count:
            grid.add_row(what, f"{count:,}, left out")
    parts: list[RenderableType] = [grid]
    if comparison.moved:
        parts += [Text(), _moved(comparison.moved, console.width)]
    console.print(Padding(Group(*parts), (0, 2, 1, 2)))


def _moved(moved: Sequence[Moved], width: int) -> Table:
    """Return the table of the prompts that moved, named by the ids of their traces."""
    table = Table(
        "change", "prompts that moved, risen first", "after", "before", box=None, padding=(0, 2, 0, 0)
    )
    table.header_style = "dim"
    for one in moved:
        table.add_row(
            Text(f"{100 * one.change:+.0f}", "red" if one.change > 0 else "green"),
            Text(_end_of(one.after.id, max(16, width - 48))),
            f"{one.after.flagged} of {one.after.traces}",
            f"{one.before.flagged} of {one.before.traces}",
        )
    return table


def _headline(result: AuditResult) -> Text:
    """Return "707 traces · 700 judged in full · 5 in part · 2 not at all"."""
    shares = [f"{result.full:,} judged in full"]
    shares += [f"{result.partial:,} in part"] if result.partial else []
    shares += [f"{result.none:,} not at all"] if result.none else []
    return Text.assemble((many(result.records, "trace"), "bold"), *(f" · {share}" for share in shares))


def _facts(result: AuditResult, drawn: bool) -> Table:
    """Return the figures, with bars if the terminal has the characters for them."""
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("flagged", _flagged(result))
    if drawn and result.interval is not None:
        grid.add_row("", _bar(result.flagged / (result.full + result.partial), result.interval))
    if result.onsets.quartiles:
        grid.add_row("drift begins", _onsets(result.onsets, result.onsets.quartiles))
        if drawn:
            grid.add_row("", _histogram(result.onsets.histogram))
    for name, reasons in (("in part", result.why_partial), ("not at all", result.why_none)):
        if reasons:
            grid.add_row(name, _reasons(reasons))
    for path in result.empty_files:
        grid.add_row("empty file", Text(plain(path, 200), "yellow"))
    return grid


def _flagged(result: AuditResult) -> Text:
    judged = result.full + result.partial
    if result.interval is None:
        return Text("nothing could be judged", "yellow")
    low, high = map(_percent, result.interval)
    share = f" of {judged:,}: {_percent(result.flagged / judged)} (95% interval {low} to {high})"
    return Text.assemble((f"{result.flagged:,}", "bold red" if result.flagged else "bold green"), share)


def _bar(share: float, interval: tuple[float, float]) -> Text:
    """Return a bar of the share flagged, the rest of its interval, and the remainder."""
    low, high = (round(end * _BAR) for end in interval)
    point = min(max(round(share * _BAR), low), high)
    # The three parts also differ in line style, for terminals without colour.
    return Text.assemble(("━" * point, "red"), ("╍" * (high - point), "red"), ("─" * (_BAR - high), "dim"))


def _histogram(counts: Sequence[int]) -> Text:
    """Return a one-line histogram of the onsets over the tenths of the reasoning."""
    most = max(counts)
    line = Text.assemble(("start ", "dim"))
    for count in counts:
        block = _BLOCKS[-(-count * len(_BLOCKS) // most) - 1]
        line.append(f"{block} ", "red") if count else line.append("· ", "dim")
    return line.append("end", "dim")


def _onsets(onsets: Onsets, quartiles: tuple[float, float, float]) -> str:
    lower, median, upper = (f"{one:.0%}" for one in quartiles)  # known to a tenth of a percent
    first = _percent(onsets.at_first_step / onsets.traces)
    return (
        f"at the first step in {onsets.at_first_step:,} of {onsets.traces:,} ({first})\n"
        f"median {median} into the reasoning, quartiles {lower} and {upper}"
    )


def _reasons(reasons: Mapping[Reason, int]) -> str:
    """Return one line per reason, in the order given (most frequent first)."""
    return "\n".join(f"{REASONS[reason]}: {count:,}" for reason, count in reasons.items())


def _quadrants(counts: Mapping[Quadrant, int]) -> Table:
    """Return a two-by-two table, reasoning against answer, of the traces with both channels judged."""
    grid = Table.grid(padding=(0, 3))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right")
    grid.add_column(justify="right")
    grid.add_row("", "safe answer", "unsafe answer", style="dim")
    rows: Sequence[tuple[str, Quadrant, Quadrant]] = (
        ("safe reasoning", "safe-reasoning/safe-answer", "safe-reasoning/unsafe-answer"),
        ("unsafe reasoning", "unsafe-reasoning/safe-answer", "unsafe-reasoning/unsafe-answer"),
    )
    for name, safe, unsafe in rows:
        grid.add_row(Text(name, "dim"), *(_count(quadrant, counts) for quadrant in (safe, unsafe)))
    return grid


def _count(quadrant: Quadrant, counts: Mapping[Quadrant, int]) -> Text:
    count = counts.get(quadrant, 0)
    return Text(f"{count:,}", "" if quadrant.count("unsafe") == 0 else "red" if count else "dim")


def _worst(worst: Sequence[Worst], width: int) -> Table:
    """Return the table of the riskiest traces, with the place where drift begins."""
    named = any(one.model for one in worst)
    names = ("risk", "riskiest traces", *(("model",) if named else ()), "drift begins", "as")
    table = Table(*names, box=None, padding=(0, 2, 0, 0))
    table.header_style = "dim"
    room = width - _REST + (0 if named else _MODEL + 2)
    for one in worst:
        where = "step" if one.channel == "reasoning" else "answer"
        label = one.label or "not judged"
        table.add_row(
            Text(f"{one.risk:.2f}", "red"),
            Text(_end_of(one.id, max(16, room))),
            *((Text(plain(one.model or "", _MODEL)),) if named else ()),
            f"{where} {one.step + 1} of {one.steps}",
            Text(f"{label}, recovered" if one.recovered else label, _STYLES.get(label, "")),
        )
    return table


def _end_of(name: str, limit: int) -> str:
    """Shorten a name to `limit` characters, keeping its end, which contains the row."""
    return plain(name if len(name) <= limit else "…" + name[1 - limit :], limit)


def _promise(result: AuditResult) -> Text:
    stamp = result.monitor
    name = f"{plain(stamp.classifier)} {stamp.digest.removeprefix('sha256:')[:12]}"
    return Text(f"{name} · at most {_percent(stamp.false_alarm_rate)} of safe traces raise an alarm", "dim")


def _asides(result: AuditResult) -> list[Text]:
    """Return the classifier's note, and the share of steps that a cascade passed to its second classifier."""
    note = result.monitor.note
    said = [Text(plain(f"of the classifier: {note}", 300), "dim")] if note else []
    if result.escalated is not None:
        share = _percent(result.escalated)
        said.append(Text(f"the second classifier was asked about {share} of steps", "dim"))
    return said


def _percent(share: float) -> str:
    """Format a share as a percentage, with one decimal between 0.05 % and 1 %."""
    return f"{share:.1%}" if 0.0005 <= share < 0.01 else f"{share:.0%}"
