"""What there is to learn from and to try undertow on: the labels and the samples."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ..errors import UsageError

__all__ = ["sample", "samples"]

_HERE = Path(str(files(__package__)))
_TRANSCRIPTS = (".json", ".jsonl")


def samples() -> tuple[Path, ...]:
    """Return the paths of the sample transcripts, sorted; data/samples/README.md says what each shows."""
    folder = _HERE / "samples"
    return tuple(sorted(path for path in folder.iterdir() if path.suffix in _TRANSCRIPTS))


def sample(name: str) -> Path:
    """Return the path of one sample transcript.

    Args:
        name: the file's name with or without its ending, such as `plain` or `plain.jsonl`.

    Raises:
        UsageError: if there is no sample of that name; the message lists those there are.
    """
    for path in samples():
        if name in (path.name, path.stem):
            return path
    raise UsageError(f"unknown sample {name!r}; known: {', '.join(path.name for path in samples())}")
