"""Show the outcome in three forms: a table in the terminal, JSON, and a page that opens offline.

The page is made like an audit's: the template escapes everything, and a Content Security
Policy allows only the page's own style and embedded figures. None of the three contains text of a
transcript.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...errors import UsageError
from ...monitor import report
from ...monitor.audit.plain import plain
from ...monitor.replacing import replacing
from ...monitor.report.html import environment, hashed
from .page import Figure, Page, Section, as_json

__all__ = ["SCHEMA", "render", "show", "write"]

SCHEMA = "undertow.study/1"

_WORDS = re.compile(r"(?:p )?\S+(?: (?:%|pp)(?!\S))?")
"""The words of a cell; a number keeps its unit, and a p value its p."""

_MARGIN, _GAP = 2, 2
"""The spaces at both sides of the terminal, and after each column of a table."""


def write(page: Page, folder: Path) -> list[Path]:
    """Write `study.json`, `study.html` and the figures into a folder; return the paths written.

    Raises:
        UsageError: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror or error}") from error
    data = {
        "schema": SCHEMA,
        "title": page.title,
        "lead": page.lead,
        **page.facts,
        "sections": {section.title: section.data for section in page.sections},
    }
    made = {
        "study.json": (json.dumps(as_json(data), indent=1, ensure_ascii=True) + "\n").encode(),
        "study.html": render(page).encode("utf-8", "replace"),
    }
    for section in page.sections:
        if section.figure:
            made[f"{section.figure.name}.svg"] = section.figure.svg
            made[f"{section.figure.name}.png"] = section.figure.png
    for name, content in made.items():
        with replacing(folder / name) as beside:
            beside.write_bytes(content)
    return [folder / name for name in made]


def render(page: Page) -> str:
    """Return the page as HTML."""
    style = files(report).joinpath("style.css").read_text(encoding="utf-8") + _read("study.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {hashed(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    template = environment(_read).get_template("study.html.j2")
    return template.render(page=page, style=Markup(style), policy=policy, image=_image, upright=_upright)


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _image(figure: Figure) -> str:
    return f"data:image/svg+xml;base64,{b64encode(figure.svg).decode()}"


def show(page: Page, console: Console | None = None) -> None:
    """Print the outcome in the terminal."""
    console = console or Console(highlight=False)
    parts: list[RenderableType] = [Text(plain(page.title, 200), "bold"), Text(plain(page.lead, 2000))]
    for section in page.sections:
        parts += [Text(), *_section(section, console.width - 2 * _MARGIN)]
    console.print(Padding(Group(*parts), (1, _MARGIN)))


def _upright(section: Section) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return a table's columns and rows, transposed if it has more columns than rows."""
    lines = [section.columns, *section.rows]
    if len(section.columns) < 5 or len(section.rows) >= len(section.columns) - 1:
        return lines[0], lines[1:]
    turned = list(zip(*lines, strict=True))
    return turned[0], turned[1:]


def _section(section: Section, width: int) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(plain(section.title, 200), "bold")]
    if section.text:
        parts.append(Text(plain(section.text, 2000)))
    if section.rows:
        parts += _tables(*_upright(section), width)
    if section.note:
        parts.append(Text(plain(section.note, 2000), "dim"))
    return parts


def _tables(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[Table]:
    """Return a table, in as many parts as it takes to cut no word; each begins with the first column."""
    cells = [
        [plain(title), *(plain(row[i], 200) for row in rows)] for i, title in enumerate(columns)
    ]  # by column
    first, *others = cells
    for count in range(1, max(2, len(cells))):
        ends = [len(others) * i // count for i in range(count + 1)]
        parts = [[first, *others[a:b]] for a, b in pairwise(ends)]
        if all(sum(map(_longest_word, part)) + _GAP * len(part) <= width for part in parts):
            break
    return [_table(part, width) for part in parts]


def _table(cells: Sequence[Sequence[str]], width: int) -> Table:
    """Return a table of these columns; wide cells are wrapped, since a truncated number would be another."""
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim")
    for column, wide in zip(cells, _widths(cells, width), strict=True):
        table.add_column(escape(column[0]), overflow="fold", width=wide)
    for row in list(zip(*cells, strict=True))[1:]:
        table.add_row(*map(Text, row))
    return table


def _widths(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the columns' widths: no word is cut if that fits, then those that lack least get it first."""
    found = [min(_longest_word(column), width - _GAP) for column in cells]
    lacks = [max(map(cell_len, column)) - wide for column, wide in zip(cells, found, strict=True)]
    room = max(0, width - sum(found) - _GAP * len(cells))
    for left, number in enumerate(sorted(range(len(cells)), key=lacks.__getitem__)):
        more = min(lacks[number], room // (len(cells) - left))
        found[number] += more
        room -= more
    return found


def _longest_word(cells: Sequence[str]) -> int:
    return max((cell_len(word) for cell in cells for word in _WORDS.findall(cell)), default=0)
