"""Requests and responses that pass through the proxy as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from .headers import STATE, Headers, for_client, value_of
from .upstream import Refused, chunks

__all__ = ["Relay", "passed_on", "problem", "read_body", "streamed_body"]


class Relay(StreamingResponse):
    """A response whose headers and bytes come from elsewhere.

    Bytes are asked for only once the client has taken those before, so that a slow client slows
    upstream down and nothing piles up here.
    """

    def __init__(self, body: AsyncGenerator[bytes], status: int, headers: Headers) -> None:
        super().__init__(_by_turns(body), status_code=status)
        self.raw_headers = headers
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; whatever happens, the body is closed, and upstream with it."""
        async with aclosing(self._body):
            await super().__call__(scope, receive, send)


async def _by_turns(body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the parts of a body; let others have a turn after each, though there may be more at once.

    One of the others is the news that the client has gone, after which nothing is written to it.
    """
    async for part in body:
        yield part
        await asyncio.sleep(0)


def passed_on(response: httpx.Response, deadline: float) -> Relay:
    """Return a response of upstream's as it is, marked as not judged."""
    headers = for_client(response.headers.raw, changed=False)
    headers.append((STATE.encode(), b"not-judged"))
    return Relay(_raw(response, deadline), response.status_code, headers)


async def _raw(response: httpx.Response, deadline: float) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks(response, deadline, decoded=False):
            yield chunk
    finally:
        await response.aclose()


def problem(error: Refused) -> JSONResponse:
    """Return what went wrong, in the shape in which OpenAI's clients expect an error."""
    detail = {"message": str(error), "type": "undertow_proxy_error", "param": None, "code": error.code}
    headers = {STATE: "not-judged"} | ({"retry-after": "1"} if error.status == 503 else {})
    return JSONResponse({"error": detail}, error.status, headers)


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request.

    Raises:
        Refused: if it is longer than the limit.
        ClientDisconnect: if the client goes before it was sent.
    """
    _check_announced(request, limit)
    body = bytearray()
    async for chunk in _bounded(request, limit):
        body += chunk
    return bytes(body)


def streamed_body(request: Request, limit: int) -> AsyncIterator[bytes] | None:
    """Return the body of a request as it comes; None where it has none.

    Raises:
        Refused: if it is announced to be longer than the limit; reading it raises if it turns out so.
    """
    headers = request.scope["headers"]
    if not value_of(headers, b"transfer-encoding") and value_of(headers, b"content-length") in ("", "0"):
        return None
    _check_announced(request, limit)
    return _bounded(request, limit)


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > limit:
            raise _too_long(limit)
        yield chunk


def _check_announced(request: Request, limit: int) -> None:
    announced = value_of(request.scope["headers"], b"content-length")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_long(limit)


def _too_long(limit: int) -> Refused:
    return Refused(413, "body_too_large", f"the body of a request is at most {limit:,} bytes")
