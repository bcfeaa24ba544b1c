"""The network transport to upstream: aiohttp's connections behind httpx's interface.

httpx reads in pure Python, through many layers for each chunk of a stream, and searches all of its
connections at each request; aiohttp reads in C. This module keeps what a proxy must not lose:
paths, headers and bodies are passed on unchanged. aiohttp writes headers as UTF-8, which nearly
all non-ASCII headers are; requests with other headers are left to httpx, which writes bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL

from .limits import Limits

__all__ = ["Network"]

_KEEP_ALIVE = 3.0
"""Seconds, fewer than servers keep a connection open, so that no connection is used as it is being closed."""

_LONGEST_HEADER = 65_536

_OWN = ("accept", "accept-encoding", "content-type", "user-agent")
"""Headers that aiohttp would add if the client sent none."""


class Network(httpx.AsyncBaseTransport):
    """Sends requests over the network, from one event loop, which owns the connections."""

    def __init__(self, limits: Limits) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=limits.connect, sock_read=limits.silence
        )
        self._trusted = httpx.create_ssl_context()
        self._session: aiohttp.ClientSession | None = None
        self._bytewise = httpx.AsyncHTTPTransport(
            verify=self._trusted, limits=httpx.Limits(max_keepalive_connections=0)
        )
        silence = limits.silence
        self._times = httpx.Timeout(connect=limits.connect, read=silence, write=silence, pool=None).as_dict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return the response with its body unread.

        Raises:
            httpx.TransportError: if there is no response, or none in time.
        """
        try:
            headers = _headers(request)
        except UnicodeDecodeError:
            request.extensions["timeout"] = self._times
            return await self._bytewise.handle_async_request(request)
        if self._session is None:
            self._session = self._opened()
        body = _Sent(request)
        with _translated(body):
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=headers,
                data=body.content,
                allow_redirects=False,
            )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Received(response))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
        await self._bytewise.aclose()

    def _opened(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._trusted,
            limit=0,  # the proxy limits the number of exchanges
            keepalive_timeout=_KEEP_ALIVE,
            resolver=aiohttp.ThreadedResolver(),
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OWN,
            auto_decompress=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )


class _Sent:
    """A request's body, and the exception that broke it, if any."""

    def __init__(self, request: httpx.Request) -> None:
        self.problem: Exception | None = None
        self.content: bytes | AsyncIterator[bytes] | None
        if isinstance(request.stream, httpx.ByteStream):
            self.content = request.content or None
        else:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            self.content = self._parts(request.stream)

    async def _parts(self, stream: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
        try:
            async for part in stream:
                yield part
        except Exception as error:
            self.problem = error
            raise


class _Received(httpx.AsyncByteStream):
    """A response's body, read as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes as soon as they arrive, including those that arrived before a break."""
        content = self._response.content
        with _translated():
            try:
                while part := await content.readany():
                    yield part
            except aiohttp.ClientError:  # from now on `readany` fails, even with bytes in the buffer
                if rest := content._read_nowait(-1):
                    yield rest
                raise

    async def aclose(self) -> None:
        """Close the body, and the connection too unless the body has ended."""
        self._response.close()


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """Return a request's headers, without transfer-encoding: the connection decides how to frame the body."""
    return [
        (name.decode("latin-1"), value.decode())
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"
    ]


@contextmanager
def _translated(body: _Sent | None = None) -> Iterator[None]:
    """Translate exceptions to httpx's; re-raise unchanged the exception that broke the request's body."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:  # the last: host names
        error.__traceback__ = None  # the connection keeps the error, whose frames would keep the connection
        if body is not None and body.problem is not None:
            raise body.problem from None
        raise _translation(error)(str(error)) from None


def _translation(error: Exception) -> type[httpx.TransportError]:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout
    unreachable = isinstance(error, aiohttp.ClientConnectorError | UnicodeError)
    return httpx.ConnectError if unreachable else httpx.ReadError
