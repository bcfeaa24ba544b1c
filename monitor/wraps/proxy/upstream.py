"""The server behind the proxy.

The transport is used without an httpx client: a proxy keeps no cookies, follows no redirects, and
adds no headers of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeAlias
from urllib.parse import unquote

import httpx
from starlette.requests import Request

from ....errors import UsageError
from .headers import Headers
from .limits import Limits
from .transport import Network

__all__ = ["Refused", "Upstream", "base_of"]

Content: TypeAlias = bytes | AsyncIterator[bytes] | None


class Refused(Exception):
    """A request that the proxy answers itself, with a status, a code and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Upstream:
    """Sends requests to upstream, and reads the responses within the limits.

    Args:
        url: the root of the server, with or without `/v1`.
        limits: the proxy's limits.
        transport: a replacement for the network, for tests.

    Raises:
        UsageError: if the URL is not http or https, or contains a password.
    """

    def __init__(self, url: str, limits: Limits, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._base = base_of(url)
        self._transport = transport or Network(limits)

    async def send(
        self, request: Request, headers: Headers, content: Content, deadline: float
    ) -> httpx.Response:
        """Send a request to upstream; return the response with its body unread.

        Raises:
            Refused: if upstream cannot be reached, or does not answer in time.
        """
        sent = httpx.Request(
            request.method,
            self._url(request),
            headers=headers,
            content=content,
        )
        try:
            async with asyncio.timeout_at(deadline):
                return await self._transport.handle_async_request(sent)
        except (httpx.TimeoutException, TimeoutError):
            raise Refused(504, "upstream_timeout", "the upstream server did not answer in time") from None
        except httpx.TransportError as error:
            what = f"the upstream server could not be reached ({type(error).__name__})"
            raise Refused(502, "upstream_unreachable", what) from None

    def _url(self, request: Request) -> httpx.URL:
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        query = request.scope["query_string"]
        if not path.startswith(b"/"):
            raise Refused(400, "bad_path", "the request path must begin with a slash")
        if _is_ambiguous(unquote(path.decode("latin-1"))):
            raise Refused(
                400, "bad_path", "the request path must not contain a semicolon, or . or .. as a part"
            )
        base = self._base.raw_path.rstrip(b"/")
        return self._base.copy_with(raw_path=base + path + (b"?" + query if query else b""))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


async def chunks(response: httpx.Response, deadline: float, *, decoded: bool) -> AsyncIterator[bytes]:
    """Yield a response's body as it arrives.

    Args:
        response: the response from `Upstream.send`.
        deadline: when the body has to be complete, on the event loop's clock.
        decoded: whether to decompress it.

    Raises:
        httpx.TransportError: if upstream breaks off or falls silent.
        TimeoutError: at the deadline.
    """
    body = response.aiter_bytes() if decoded else response.aiter_raw()
    async with aclosing(body):  # type: ignore[type-var]  # it is a generator, typed as an iterator
        while True:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(body, None)
            if chunk is None:
                return
            yield chunk


def _is_ambiguous(path: str) -> bool:
    """Whether upstream may resolve a path to another route than the one assumed when deciding what to judge.

    Dot segments name another folder, and many servers drop what follows a semicolon in a segment.
    """
    return ";" in path or not {".", ".."}.isdisjoint(re.split(r"[/\\]", path))


def base_of(url: str) -> httpx.URL:
    """Return the root of an OpenAI-compatible server, given with or without `/v1`.

    Raises:
        UsageError: if it is not such a URL.
    """
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not a URL: {error}") from None
    if base.scheme not in ("http", "https") or not base.host:
        raise UsageError(f"the upstream must be a URL such as http://localhost:8000, not {url!r}")
    if base.userinfo:
        raise UsageError("the upstream URL must not contain a password: clients send their own keys")
    if base.query or base.fragment:
        raise UsageError("the upstream URL must end with its path: remove what follows ? or #")
    return base.copy_with(path=base.path.rstrip("/").removesuffix("/v1") + "/")
