"""The report as one HTML file: it opens offline and runs only its own script.

Transcripts are hostile. Their texts reach the page in two ways only: through the template, which
escapes everything, and as packed JSON, which the script writes with `textContent`. A Content Security
Policy enforces this: no network, and no script or style but the page's own.
"""

from __future__ import annotations

import json
import os
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b, sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ...errors import UsageError
from ..evidence import Evidence
from ..replacing import replacing
from ..tally import REASONS, Tally
from ..trace import Trace, Unreadable
from ..verdict import TraceVerdict
from . import chart
from .overview import Groups, Profile, reasoning_of
from .packed import Blocks, pack_rows
from .rows import row
from .texts import texts
from .unseen import UNSEEN, visible

__all__ = ["SCRIPTS", "Item", "environment", "hashed", "write_report"]

Item: TypeAlias = (
    tuple[Trace | Unreadable, TraceVerdict] | tuple[Trace | Unreadable, TraceVerdict, Evidence | None]
)
"""A trace or unreadable row, its verdict and, if computed, what moved the score."""

SCRIPTS: Final = ("text.js", "data.js", "strip.js", "list.js", "curve.js", "trace.js", "page.js")
"""The page's script, in order: one module, split into several files."""


def write_report(
    path: str | os.PathLike[str],
    items: Iterable[Item],
    *,
    title: str = "undertow audit",
    unmask: bool = False,
    redact: bool = False,
) -> Path:
    """Write the report of an audit as one self-contained HTML file.

    Text that was not judged safe is masked until the reader asks for it. The file appears at once and
    complete; if writing fails, `path` is left as it was. Traces pass through one at a time; apart from
    counts, only a fingerprint of each prompt stays in memory.

    Args:
        path: The file to write; an existing one is replaced.
        items: The traces and unreadable rows with their verdicts, in the order in which to show them.
        title: The heading of the page.
        unmask: Show masked text from the start.
        redact: Leave text that was not judged safe out of the file, so that nobody can reveal it:
            unsafe steps, texts that were not judged, prompts and metadata.

    Returns:
        The path of the file.

    Raises:
        UsageError: Both `unmask` and `redact` are set.
        OSError: The file cannot be written.
    """
    if unmask and redact:
        raise UsageError("unmask and redact exclude each other: choose one")
    target = Path(path)
    with (
        tempfile.TemporaryFile("w+", encoding="ascii") as rows,
        tempfile.TemporaryFile("w+", encoding="ascii") as blocks,
        replacing(target) as beside,
        beside.open("w", encoding="utf-8", newline="\n") as page,
    ):
        found = _Gathered(rows, blocks, redact=redact)
        for item in items:
            found.add(*item)
        page.writelines(_render(title=title, settings={"unmask": unmask, "redact": redact}, **found.values()))
    return target


class _Gathered:
    """What the items leave behind: counts in memory, rows and texts in files."""

    def __init__(self, rows: TextIO, blocks: TextIO, *, redact: bool) -> None:
        self.tally, self.groups, self.blocks = Tally(), Groups(), Blocks()
        self.profiles = {
            "calm": ("not flagged", Profile()),
            "flagged": ("flagged", Profile()),
        }
        self._rows, self._texts, self._redact = rows, blocks, redact
        self._prompts: dict[bytes, int] = {}

    def add(self, item: Trace | Unreadable, verdict: TraceVerdict, evidence: Evidence | None = None) -> None:
        self.tally.add(verdict)
        fields = Groups.fields_of(item, verdict, redact=self._redact)
        self.groups.add(fields, verdict)
        if verdict.assessed != "none":
            self.profiles["flagged" if verdict.flagged else "calm"][1].add(*reasoning_of(item, verdict))
        listed = row(item, verdict, number=self.tally.total)
        listed |= {"prompt": self._prompt(item), "fields": fields}
        print(json.dumps(listed), file=self._rows)
        self._keep(self.blocks.add(texts(item, verdict, evidence, redact=self._redact)))

    def _prompt(self, item: Trace | Unreadable) -> int | None:
        """Return a number that traces of the same prompt share; it reveals nothing about the prompt."""
        if isinstance(item, Unreadable) or not item.prompt:
            return None
        mark = blake2b(item.prompt.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        return self._prompts.setdefault(mark, len(self._prompts))

    def _keep(self, blocks: Iterable[tuple[int, str]]) -> None:
        for first, block in blocks:
            print(first, block, file=self._texts)

    def values(self) -> dict[str, Any]:
        """Return the values for the template."""
        self._keep(self.blocks.rest())
        groups = self.groups.found()
        return {
            "tally": self.tally,
            "groups": groups,
            "curves": chart.curves(self.profiles),
            "rows": pack_rows(self._listed({group.key: group.values for group in groups})),
            "blocks": (line.split() for line in _lines(self._texts)),
        }

    def _listed(self, groups: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the rows; their fields are replaced by the index of their value in each group."""
        places = {key: {value.name: n for n, value in enumerate(values)} for key, values in groups.items()}
        for line in _lines(self._rows):
            listed = json.loads(line)
            fields = listed.pop("fields")
            yield listed | {"by": [names.get(fields.get(key), -1) for key, names in places.items()]}


def _lines(file: TextIO) -> Iterator[str]:
    file.seek(0)
    yield from file


def _render(**values: Any) -> Iterator[str]:
    style, script = _read("style.css"), "\n".join(map(_read, SCRIPTS))
    values["settings"] |= {
        "unseen": UNSEEN,
        "groups": [
            {"title": group.title, "values": [v.name for v in group.values]} for group in values["groups"]
        ],
    }
    return (
        environment(_read)
        .get_template("page.html.j2")
        .generate(
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            reasons=REASONS,
            chart=chart,
            **values,
        )
    )


def environment(read: Callable[[str], str]) -> Environment:
    """Return what renders a page: it escapes every text, and first makes its unseen characters visible.

    Args:
        read: Returns the template of a name.
    """
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: (
            visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(read),
    )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashed(script)}",
            f"style-src {hashed(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def hashed(text: str) -> str:
    """Return the source by which a Content Security Policy allows a script or a style."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
