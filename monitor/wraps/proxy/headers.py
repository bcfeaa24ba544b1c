"""Choose which headers are passed on, and name undertow's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["FLAGGED", "OURS", "STATE", "VERDICT", "Headers", "for_client", "for_upstream", "value_of"]

Headers = list[tuple[bytes, bytes]]
"""Pairs of name and value, in order."""

OURS = b"x-undertow"
"""The prefix of undertow's headers; they are dropped from what upstream sends."""
STATE = "x-undertow"
"""`judged`, `judging` (a stream: the verdict comes at its end) or `not-judged`."""
FLAGGED = "x-undertow-flagged"
VERDICT = "x-undertow-verdict"

_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that apply to a single connection (RFC 9110, section 7.6.1)."""


def for_upstream(headers: Headers, *, readable: bool) -> Headers:
    """Return the request headers to pass on, including keys and tokens.

    Args:
        headers: as the client sent them.
        readable: whether the response will be read here, so that it must not be compressed.
    """
    kept = _end_to_end(headers, drop={b"host", b"expect", *([b"accept-encoding"] if readable else [])})
    return [*kept, (b"accept-encoding", b"identity")] if readable else kept


def for_client(headers: Headers, *, changed: bool) -> Headers:
    """Return the response headers to pass on, without any that could pass for a verdict.

    Args:
        headers: as upstream sent them.
        changed: whether the body is passed on in another form than received.
    """
    kept = _end_to_end(headers, drop={b"content-length", b"content-encoding"} if changed else ())
    return [(name, value) for name, value in kept if not name.startswith(OURS)]


def value_of(headers: Headers, name: bytes) -> str:
    """Return a header's value in lower case; empty if it is missing."""
    return next((value.decode("latin-1").lower() for key, value in headers if key.lower() == name), "")


def _end_to_end(headers: Headers, drop: Collection[bytes]) -> Headers:
    lower = [(name.lower(), value) for name, value in headers]
    hop = _HOP.union(_words(value for name, value in lower if name == b"connection"))
    return [(name, value) for name, value in lower if name not in hop and name not in drop]


def _words(values: Iterable[bytes]) -> Iterable[bytes]:
    for value in values:
        yield from (word.strip().lower() for word in value.split(b","))
