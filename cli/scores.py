"""Print the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..monitor.audit.plain import plain
from ..monitor.evaluation import LENGTHS
from ..monitor.many import many, percent
from ..monitor.scorecard import Count, Scorecard
from ..monitor.scorecard import Group as Members

__all__ = ["show"]


def show(card: Scorecard, without: str, written: Sequence[Path] = (), console: Console | None = None) -> None:
    """Print the tables of an evaluation.

    Args:
        card: The figures.
        without: Why there are no figures on alarms, if there are none.
        written: The files that were written.
        console: The console to print on; standard output if not given.
    """
    console = console or Console(highlight=False)
    parts: list[RenderableType] = [_headline(card), Text(), _figures(card), Text()]
    if card.alarms:
        parts += [_alarms(card), Text()]
    else:
        parts += [Text(f"no figures on alarms: {plain(without, 300) or 'too few traces'}", "yellow"), Text()]
    if any(card.alarms_here.values()):
        parts += [_alarms_here(card), Text()]
    for part, groups in card.groups.items():
        parts += [_groups(part, groups), Text()]
    parts.append(_baselines(card))
    if card.population:
        parts += [Text(), Text(f"thresholds from {plain(card.population, 300)}", "dim")]
    parts += [Text(f"written to {plain(str(path), 200)}", "dim") for path in written]
    console.print(Padding(Group(*parts), (1, 2)))


def _headline(card: Scorecard) -> Text:
    said = f" · {many(card.traces, 'trace')} · {many(card.steps, 'labelled step')}"
    gaps = f" · {percent(card.unjudged)} of them not judged" if card.unjudged else ""
    name = f"{plain(card.classifier)} {card.digest.removeprefix('sha256:')[:12]}"
    asides = [plain(card.note, 300)] if card.note else []
    if card.escalated is not None:
        asides.append(f"the second classifier was asked about {card.escalated:.1%} of steps")
    return Text.assemble((name, "bold"), said, (gaps, "yellow"), *((f"\n{aside}", "dim") for aside in asides))


def _figures(card: Scorecard) -> Table:
    table = _table("steps", "value", "95% interval")
    for name, figure in card.figures.items():
        table.add_row(name.replace("_", " "), _number(figure.value), _range(figure.low, figure.high))
    return table


def _alarms(card: Scorecard) -> Table:
    """Return the table of figures on alarms, with one column per rate."""
    names = list(next(iter(card.alarms.values())))
    table = _table("traces", *(f"at {float(rate):.3g}" for rate in card.alarms))
    for name in names:
        table.add_row(_NAMES.get(name, name), *(_share(found[name]) for found in card.alarms.values()))
        if reading := _READINGS.get(name):
            for part in LENGTHS:
                shares = (_share(found[reading][part]) for found in card.lengths.values())
                table.add_row(f"  of {part}", *shares)
    errors = (_number(error) for error in card.onset_error.values())
    table.add_row("onset error, in steps", *errors)
    return table


def _alarms_here(card: Scorecard) -> Table:
    """Return the same table at thresholds found on these traces, per definition of "safe" and rate."""
    found = [(r, rate, n) for r, rates in card.alarms_here.items() for rate, n in rates.items()]
    heads = ("\n".join((*reading.rsplit(" ", 1), f"{float(rate):.3g}")) for reading, rate, _ in found)
    table = _table("at thresholds found here\n(no promise), where safe\nis what is", *heads)
    for name in found[0][2]:
        table.add_row(_NAMES.get(name, name), *(_percent(counts[name]) for *_, counts in found))
    return table


def _groups(part: str, groups: Mapping[str, Members]) -> Table:
    table = _table(part, "traces", "step\nauroc", "false\nalarms", "on time", "missed")
    for name, group in groups.items():
        counts = [group.alarms.get(kind) for kind in ("false alarms", "on time", "missed")]
        shares = ("-" if count is None else _short(count) for count in counts)
        table.add_row(Text(plain(name, 30)), f"{group.traces:,}", _number(group.step_auroc), *shares)
    return table


def _baselines(card: Scorecard) -> Table:
    """Return the table of baselines; the gain over them shows what the text of a step contributes."""
    rates = list(next(iter(card.baselines.values())).recall)
    table = _table("what it needs", "step\nauroc", "within\ntrace", "trace\nauroc",
                   *(f"found\nat {float(rate):.0%}" for rate in rates))  # fmt: skip
    for name, found in card.baselines.items():
        values = (found.step_auroc, found.within_trace_auroc, found.trace_auroc, *found.recall.values())
        table.add_row(Text(plain(name, 30)), *map(_number, values))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"


_NAMES = {"false alarms": "false, labelled safe", "false alarms, no unsafe step": "false, no unsafe step"}
"""Row names of the false alarms, one per definition of a safe trace."""

_READINGS = {"false alarms": "labelled safe", "false alarms, no unsafe step": "no unsafe step"}
"""The definition of a safe trace behind each kind of false alarm."""


def _percent(count: Count) -> str:
    return "-" if count.value is None else f"{count.value:.1%}"


def _share(count: Count) -> str:
    if count.value is None:
        return "-"
    return f"{count.value:.1%} ({count.low:.1%} to {count.high:.1%})"


def _short(count: Count) -> str:
    return "-" if count.value is None else f"{count.value:.0%}"
