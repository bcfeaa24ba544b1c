"""Match the verdicts that an audit saved with the records that were judged."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from ...errors import UsageError
from ...monitor.audit.reopen import fits, shared_end
from ...monitor.audit.verdicts import read_verdicts
from ...monitor.trace import Trace, Unreadable
from ...monitor.verdict import TraceVerdict
from .load import Judged

__all__ = ["saved_verdicts", "verdict_key", "with_saved"]


def saved_verdicts(path: Path) -> dict[Hashable, TraceVerdict]:
    """Read the verdicts that an audit saved, as a mapping with the keys of `verdict_key`.

    Raises:
        InputError: The file cannot be read, or holds something else.
        MissingExtra: It is a Parquet file, and pyarrow is not installed.
    """
    return {verdict_key(one): one for one in read_verdicts(path)}


def verdict_key(record: Trace | Unreadable | TraceVerdict, path: str | None = None) -> Hashable:
    """Return the key that a record shares with its verdict: the file, the row, the turn and the id.

    Args:
        record: A record or a verdict.
        path: The file's name in the verdict; by default, its name in the record.
    """
    return path or record.origin.path or "", record.origin.row, record.origin.turn, record.id


def with_saved(
    records: Iterable[Trace | Unreadable], verdicts: Mapping[Hashable, TraceVerdict]
) -> Iterator[Judged]:
    """Yield records with their saved verdicts.

    A record gets None if it has no verdict, or if its text is no longer the text that was judged. Files may
    have been moved since: they are matched by the longest common end of their paths.

    Raises:
        UsageError: It is ambiguous which verdicts belong to which file.
    """
    audited = sorted({one.origin.path or "" for one in verdicts.values()})
    audited_as: dict[str, str | None] = {}
    for record in records:
        path = record.origin.path or ""
        if path not in audited_as:
            audited_as[path] = _audited_as(path, audited)
            _must_differ(audited_as)
        verdict = verdicts.get(verdict_key(record, audited_as[path]))
        yield record, verdict if verdict is not None and fits(record, verdict) else None


def _audited_as(path: str, audited: Sequence[str]) -> str | None:
    """Return a file's name in the audit's verdicts; None if they do not have the file."""
    shared = {name: shared_end(PurePath(name), PurePath(path)) for name in audited}
    most = max(shared.values(), default=0)
    best = [name for name in audited if name == path] or [n for n in audited if most and shared[n] == most]
    if len(best) > 1:
        raise UsageError(f"the verdicts of {best[0]} and of {best[1]} could both be those of {path}")
    return best[0] if best else None


def _must_differ(audited_as: Mapping[str, str | None]) -> None:
    *others, last = audited_as
    for path in others:
        if audited_as[path] == audited_as[last] is not None:
            raise UsageError(f"the verdicts of {audited_as[last]} could be those of {path} or of {last}")
