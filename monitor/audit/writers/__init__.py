"""Where verdicts go: one writer for each ending of a file's name.

A file appears at once and whole. It is written beside its place and moved there at the end, so
where a run breaks off, whatever stood there before is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from ....errors import UndertowError, UsageError
from ...replacing import replacing

__all__ = ["WRITERS", "Writer", "writer_for", "writing"]

Writer: TypeAlias = Callable[[Iterable[bytes], Path], None]
"""Writes verdicts, each given as the JSON of the schema `undertow.verdict/1`, to a new file."""

WRITERS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".sqlite": "sqlite",
}
"""By the ending of the file's name, the module that has the function `write`."""


def writer_for(path: Path) -> Writer:
    """Return the writer for a file's ending.

    Raises:
        UsageError: There is no writer for the ending.
        MissingExtra: The format needs a package that is not installed.
    """
    name = WRITERS.get(path.suffix.lower())
    if name is None:
        raise UsageError(f"cannot write verdicts to {path}: its name has to end in {' or '.join(WRITERS)}")
    module = import_module(f".{name}", __package__)
    if name == "parquet":
        module.schema()  # says now, and not after hours, that pyarrow is missing
    writer: Writer = module.write
    return writer


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give the name of a file to write; whole and on the disk, it takes the place of `path`.

    The journal lets one run in at a time: what stands beside `path` is left of one that was killed.

    Raises:
        UndertowError: The disk is full, or the folder closed.
    """
    try:
        with replacing(path, path.with_name(f".{path.name}.part")) as beside:
            yield beside
    except OSError as error:
        said = error.strerror or error
        raise UndertowError(f"cannot write {path}: {said}; make room and run again with --resume") from error
