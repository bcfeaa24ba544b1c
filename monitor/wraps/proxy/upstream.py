"""The server behind the proxy.

A transport is used without a client around it: a proxy keeps no cookies, follows no redirects, and
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
    """A request that the proxy answers itself, with a status, a code and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Upstream:
    """Sends requests on, and reads what comes back within the limits.

    Args:
        url: where it is: its root, with or without `/v1`.
        limits: what is borne.
        transport: another way to reach it, for tests.

    Raises:
        UsageError: if the URL is none of http or https, or holds a password.
    """

    def __init__(self, url: str, limits: Limits, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._base = base_of(url)
        self._transport = transport or Network(limits)

    async def send(
        self, request: Request, headers: Headers, content: Content, deadline: float
    ) -> httpx.Response:
        """Send a request on; return the response, its body not yet read.

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
            raise Refused(
                504, "upstream_timeout", "the server behind undertow did not answer in time"
            ) from None
        except httpx.TransportError as error:
            what = f"the server behind undertow could not be reached ({type(error).__name__})"
            raise Refused(502, "upstream_unreachable", what) from None

    def _url(self, request: Request) -> httpx.URL:
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        query = request.scope["query_string"]
        if not path.startswith(b"/"):
            raise Refused(400, "bad_path", "the path of a request begins with a slash")
        if _is_ambiguous(unquote(path.decode("latin-1"))):
            raise Refused(
                400, "bad_path", "the path of a request has no semicolon and no part that is . or .."
            )
        base = self._base.raw_path.rstrip(b"/")
        return self._base.copy_with(raw_path=base + path + (b"?" + query if query else b""))

    async def aclose(self) -> None:
        """Close its connections."""
        await self._transport.aclose()


async def chunks(response: httpx.Response, deadline: float, *, decoded: bool) -> AsyncIterator[bytes]:
    """Yield a response's body as it comes.

    Args:
        response: as `Upstream.send` gave it.
        deadline: when it has to be there, on the clock of the event loop.
        decoded: whether compression is undone.

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
    """Whether a path may become another route than the one by which it is decided what is judged.

    Dots name another folder, and many servers take what follows a semicolon off its part.
    """
    return ";" in path or not {".", ".."}.isdisjoint(re.split(r"[/\\]", path))


def base_of(url: str) -> httpx.URL:
    """Return the root of an OpenAI-compatible server, given with or without `/v1`.

    Raises:
        UsageError: if it is no such URL.
    """
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is no URL: {error}") from None
    if base.scheme not in ("http", "https") or not base.host:
        raise UsageError(f"an upstream is a URL such as http://localhost:8000, not {url!r}")
    if base.userinfo:
        raise UsageError("an upstream's URL holds no password: clients send their own keys")
    if base.query or base.fragment:
        raise UsageError("an upstream's URL ends with its path: leave out what follows ? or #")
    return base.copy_with(path=base.path.rstrip("/").removesuffix("/v1") + "/")
