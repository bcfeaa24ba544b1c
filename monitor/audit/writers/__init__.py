"""Write verdicts to files, with one writer per file extension.

A file appears only once it is complete: it is written beside its destination and moved there at the
end. An interrupted run leaves an existing file as it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from ....errors import UndertowError, UsageError
from ...replacing import replacing

__all__ = ["RETRY", "WRITERS", "Writer", "writer_for", "writing"]

RETRY = "fix this, then run again with --resume"
"""What to do after an error in writing: nothing that was judged is lost."""

Writer: TypeAlias = Callable[[Iterable[bytes], Path], None]
"""Writes verdicts, each as JSON of the schema `undertow.verdict/1`, to a new file."""

WRITERS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".sqlite": "sqlite",
}
"""Maps each file extension to the module with the `write` function."""


def writer_for(path: Path) -> Writer:
    """Return the writer for the extension of `path`.

    Raises:
        UsageError: There is no writer for the extension.
        MissingExtra: The format needs a package that is not installed.
    """
    name = WRITERS.get(path.suffix.lower())
    if name is None:
        raise UsageError(f"cannot write verdicts to {path}: its name must end in {' or '.join(WRITERS)}")
    module = import_module(f".{name}", __package__)
    if name == "parquet":
        module.schema()  # raises now, not after hours, if pyarrow is missing
    writer: Writer = module.write
    return writer


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary file beside `path`, which replaces `path` once it is complete.

    The journal admits one run at a time, so an existing temporary file is left over from a killed run.

    Raises:
        UndertowError: The disk is full, or the folder is not writable.
    """
    try:
        with replacing(path, path.with_name(f".{path.name}.part")) as beside:
            yield beside
    except (OSError, sqlite3.Error) as error:
        said = getattr(error, "strerror", None) or error
        raise UndertowError(f"cannot write {path}: {said}; {RETRY}") from error
