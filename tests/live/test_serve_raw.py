"""The proxy, byte by byte: what a client's own bytes are when they reach upstream."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

Start = Callable[..., str]

BODY = json.dumps({"messages": [{"role": "user", "content": "Hello."}]}).encode()
SAID = json.dumps(
    {
        "id": "c",
        "choices": [{"index": 0, "message": {"content": "[neutral] Good day."}, "finish_reason": "stop"}],
    }
).encode()


class Upstream(socketserver.ThreadingTCPServer):
    """A server that keeps each request as it came, and answers all alike."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(socketserver.StreamRequestHandler):
    """Reads one request."""

    def handle(self) -> None:
        """Keep its bytes and answer."""
        assert isinstance(self.server, Upstream)
        head = b""
        while not head.endswith(b"\r\n\r\n") and (line := self.rfile.readline()):
            head += line
        body = self.rfile.read(len(BODY)) if b"content-length: " in head.lower() else b""
        if b"transfer-encoding: chunked" in head.lower():
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
        self.server.heads.append(head)
        self.server.bodies.append(body)
        own = b"x-own: \xe9\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.wfile.write(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (own, len(SAID), SAID))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """The server, which runs."""
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("method", "path", "body", "state"),
    [
        ("GET", "/v1/models", None, "not-judged"),
        ("POST", "/v1/files", BODY, "not-judged"),
        ("POST", "/v1/files", [BODY[:9], BODY[9:]], "not-judged"),
        ("POST", "/v1/chat/completions", BODY, "judged"),
    ],
    ids=["no body", "a body", "a body in parts", "judged"],
)
@pytest.mark.parametrize(
    "value",
    [b"caf\xe9", b"caf\xc3\xa9", b"\xff\xfe \x80", b"plain"],
    ids=["latin", "utf-8", "neither", "ascii"],
)
def test_headers_keep_their_bytes(  # noqa: PLR0917
    start: Start, upstream: Upstream, method: str, path: str, body: Any, state: str, value: bytes
) -> None:
    """A header's value arrives as it was sent, whatever its encoding, upstream and on the way back."""
    url = httpx.URL(start(f"http://127.0.0.1:{upstream.server_address[1]}/v1"))
    line = HTTPConnection(url.host, url.port)
    line.request(method, path, body=iter(body) if isinstance(body, list) else body, headers={"x-mine": value})
    answer = line.getresponse()
    said = answer.read()
    line.close()
    assert (answer.status, answer.headers["x-undertow"]) == (200, state)
    assert answer.headers["x-own"].encode("latin-1") == b"\xe9"
    assert json.loads(said)["id"] == "c"
    head = upstream.heads[-1]
    assert head.startswith(f"{method} {path} HTTP/1.1\r\n".encode())
    assert [one for one in head.split(b"\r\n") if one.startswith(b"x-mine")] == [b"x-mine: " + value]
    assert head.lower().count(b"content-length") + head.lower().count(b"transfer-encoding") == (
        body is not None
    )
    assert upstream.bodies[-1] == (b"" if body is None else BODY)


def test_such_a_header_to_nobody(start: Start) -> None:
    """An upstream that is away is told in the same words."""
    with Upstream() as server:
        port = server.server_address[1]
    url = httpx.URL(start(f"http://127.0.0.1:{port}"))
    line = HTTPConnection(url.host, url.port)
    line.request("GET", "/v1/models", headers={"x-mine": b"\xe9"})
    answer = line.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (502, "upstream_unreachable")
    line.close()
