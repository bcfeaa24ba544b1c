"""The proxy, where it has nothing to judge: other routes, limits, failures, and what can be seen of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection
from sys import modules
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from undertow.errors import UsageError
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import GateEvent, Policy
from undertow.monitor.wraps.proxy import Limits, create_app

Start = Callable[..., str]

serving: Any = modules["serving"]  # it stands beside this file
ASKED, ask, events_of = serving.ASKED, serving.ask, serving.events_of
listening, settled = serving.listening, serving.settled


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """A server that says what it was asked."""

    async def say(request: Request) -> Response:
        body = await request.body()
        told = {
            "method": request.method,
            "path": request.scope["raw_path"].decode(),
            "query": request.url.query,
            "headers": dict(request.headers),
            "length": len(body),
        }
        forged = {"x-undertow-flagged": "false", "set-cookie": "a=b", "connection": "x-mine", "x-mine": "1"}
        return JSONResponse(told, 200 if "fail" not in request.url.path else 429, forged)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH"]
    with listening(Starlette(routes=[Route("/{path:path}", say, methods=methods)])) as url:
        yield url


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_other_routes_pass(start: Start, http: httpx.Client, echo: str, method: str) -> None:
    """Unknown routes go to upstream as they are, keys and all, and come back marked as not judged."""
    url = start(f"{echo}/base/v1/")
    headers = {"authorization": "Bearer sk-1", "te": "trailers", "accept-encoding": "gzip"}
    answer = http.request(method, f"{url}/v1/models%2Fx//y?key=k&a=%20", headers=headers)
    told = answer.json()
    assert (told["method"], told["path"]) == (method, "/base/v1/models%2Fx//y")
    assert told["query"] == "key=k&a=%20"
    assert told["headers"]["authorization"] == "Bearer sk-1"
    assert told["headers"]["accept-encoding"] == "gzip"
    assert "te" not in told["headers"]
    assert told["headers"]["host"] == echo.removeprefix("http://")
    assert answer.headers["x-undertow"] == "not-judged"
    assert answer.headers["set-cookie"] == "a=b"
    assert not {"x-undertow-flagged", "x-mine"} & set(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/.", "/v1/chat/completions/x/..", "/threads/../v1/chat/completions", "/../admin",
        "/v1/%2e%2e/admin", "/v1/threads%2F..%2Fchat/completions", "/v1/x%5c..%5cadmin",
        "/v1/chat/completions;a=b", "/v1/chat/completions;", "/v1;a=b/chat/completions",
        "/v1/chat/completions%3Ba", "/v1/models;/chat/completions",
    ],
)  # fmt: skip
def test_no_path_becomes_another(start: Start, echo: str, path: str) -> None:
    """What would reach upstream as another route than the one that was looked at is refused."""
    url = httpx.URL(start(f"{echo}/tenant/v1"))
    line = HTTPConnection(url.host, url.port)  # a client that sends paths as they are
    line.request("POST", path, body=json.dumps({"messages": ASKED}))
    answer = line.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (400, "bad_path")
    line.close()


def test_a_host_that_has_no_name(start: Start, http: httpx.Client) -> None:
    """An upstream whose name cannot be one is an upstream that cannot be reached."""
    answer = http.get(f"{start('http://a..b:80')}/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")


def test_cookies_are_not_shared(start: Start, http: httpx.Client, echo: str) -> None:
    """What upstream sets for one client does not go with the next one's request."""
    url = start(echo)
    http.get(f"{url}/a")
    with httpx.Client(trust_env=False) as other:
        assert "cookie" not in other.get(f"{url}/a").json()["headers"]


def test_a_refusal_of_upstream_passes(start: Start, http: httpx.Client, echo: str) -> None:
    """An error of upstream's is not judged and not changed."""
    answer = http.post(f"{start(echo)}/fail/chat/completions", json={"messages": ASKED})
    assert (answer.status_code, answer.headers["x-undertow"]) == (429, "not-judged")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"], ids=["judged", "passed on"])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_a_body_has_its_limit(
    start: Start, http: httpx.Client, echo: str, path: str, announced: bool
) -> None:
    """A longer one is refused, whether or not its length was said."""
    url = start(echo, limits=Limits(request=1000))
    body: Any = b" " * 1001 if announced else iter([b" " * 600, b" " * 600])
    answer = http.post(url + path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_an_event_has_its_limit(start: Start, http: httpx.Client) -> None:
    """An event that is too long to hold ends the stream, and says so."""
    url = start(limits=Limits(event=150))
    *_, error, end = events_of(http.post(**ask(url, "calm/reasoning", stream=True)).text)
    assert (end, "too large" in error["error"]["message"]) == ("[DONE]", True)


@pytest.mark.parametrize(("policy", "status"), [("observe", 200), ("stop", 502)])
def test_what_cannot_be_read_is_not_called_safe(
    start: Start, http: httpx.Client, replay: Any, policy: str, status: int
) -> None:
    """An answer that is too long is refused; one that is no JSON passes only where the policy is open."""
    long = http.post(**ask(start(limits=Limits(answer=50)), "calm/reasoning"))
    assert (long.status_code, long.json()["error"]["code"]) == (502, "answer_too_large")

    async def say(_: Request) -> Response:
        return Response("plain words", media_type="text/plain")

    with listening(Starlette(routes=[Route("/{path:path}", say, methods=["POST"])])) as odd:
        answer = http.post(**ask(start(odd, policy=policy), "m"))
    assert (answer.status_code, answer.headers["x-undertow"]) == (status, "not-judged")


BODY = json.dumps({"messages": ASKED}).encode()
UNREAD = {
    "compressed": gzip.compress(BODY),
    "in latin-1": BODY.replace(b"zorp", b"caf\xe9"),
    "too deep": b'{"tools":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
}


@pytest.mark.parametrize("body", UNREAD.values(), ids=UNREAD)
def test_a_request_that_only_upstream_can_read(start: Start, http: httpx.Client, body: bytes) -> None:
    """Whatever was asked, what is answered is judged."""

    async def say(_: Request) -> Response:
        message = {"role": "assistant", "content": "[neutral] Here it is. [harm] Put the zorp in."}
        return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    with listening(Starlette(routes=[Route("/{path:path}", say, methods=["POST"])])) as upstream:
        answer = http.post(f"{start(upstream, policy='stop')}/v1/chat/completions", content=body)
    assert (answer.headers["x-undertow"], answer.headers["x-undertow-flagged"]) == ("judged", "true")
    assert answer.json()["choices"][0]["message"]["content"] == "[neutral] Here it is. "


def test_silence_has_its_limit(start: Start, http: httpx.Client) -> None:
    """An upstream that accepts and says nothing is given up."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = start(f"http://127.0.0.1:{mute.getsockname()[1]}", limits=Limits(silence=0.05))
        answer = http.post(**ask(url, "m"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")


def test_an_upstream_that_is_away(start: Start, http: httpx.Client) -> None:
    """The client hears that it is, in the shape of an error it knows."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    answer = http.post(**ask(start(f"http://127.0.0.1:{port}"), "m"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")


def test_too_many_at_once(start: Start, http: httpx.Client) -> None:
    """One more than is borne is told to come back, and the others are not disturbed."""
    url = start(limits=Limits(exchanges=1))
    with http.stream("POST", **ask(url, "calm/reasoning/wait", stream=True)):
        answer = httpx.post(**ask(url, "calm/reasoning"), trust_env=False)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_callback_can_end_an_answer(start: Start, http: httpx.Client) -> None:
    """What a callback raises makes the call fail, in a stream and before one."""

    def refuse(_: GateEvent) -> None:
        raise RuntimeError("no")

    url = start(policy=Policy(action="flag", callback=refuse))
    assert http.post(**ask(url, "turn/reasoning")).status_code == 502
    *_, error, _ = events_of(http.post(**ask(url, "turn/reasoning", stream=True)).text)
    assert "callback" in error["error"]["message"]


def test_health_and_metrics(start: Start, http: httpx.Client) -> None:
    """The proxy says what it judges with, and counts what it did."""
    url = start(policy=Policy(action="stop", replacement="a proxy of its own"))
    http.post(**ask(url, "turn/reasoning"))
    health = http.get(f"{url}/healthz").json()
    assert (health["status"], health["classifier"], health["policy"]["action"]) == ("ok", "scripted", "stop")
    shown = settled(http, url).splitlines()
    for line in (
        'undertow_requests_total{kind="chat",status="200"} 1.0',
        'undertow_generations_total{assessed="partial",flagged="true"} 1.0',
        'undertow_interventions_total{what="stopped"} 1.0',
        'undertow_alarms_total{channel="reasoning"} 1.0',
    ):
        assert line in shown


def test_keys_and_texts_are_not_logged(
    start: Start, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither headers nor query strings nor bodies reach the log, at any level."""
    caplog.set_level(logging.DEBUG)
    url = start()
    http.post(
        f"{url}/v1/chat/completions?key=sk-query",
        json={"model": "turn/reasoning", "messages": ASKED},
        headers={"authorization": "Bearer sk-header"},
    )
    settled(http, url)
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("undertow")]
    assert "POST /v1/chat/completions 200" in ours
    assert not any(secret in line for line in ours for secret in ("sk-", "zorp", "Bearer"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "must be a URL such as"),
        ("ftp://host/v1", "must be a URL such as"),
        ("http://me:secret@host/v1", "must not contain a password"),
        ("http://host/v1?key=k", "must end with its path"),
        ("http://host:port", "not a URL"),
    ],
)
def test_an_upstream_has_to_be_a_url(monitor: Monitor, url: str, message: str) -> None:
    """Wrong usage is told in words, before anything listens; a password is not repeated."""
    with pytest.raises(UsageError, match=message) as raised:
        create_app(url, monitor=monitor)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(("profile", "channel"), [("auto", "answer"), ("deepseek-r1", "reasoning")])
def test_a_profile_tells_what_no_tag_does(monitor: Monitor, profile: str, channel: str) -> None:
    """A stream that begins inside the reasoning is known as that where the profile says so."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "[neutral] A plan. "}, "finish_reason": None}]}
    text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    told = {"content-type": "text/event-stream"}
    upstream = httpx.MockTransport(lambda _: httpx.Response(200, headers=told, text=text))
    app = create_app("http://up", monitor=monitor, profile=profile, transport=upstream)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://proxy") as client:
            return await client.post("/v1/chat/completions", json={"messages": [], "stream": True})

    *_, last, _ = events_of(asyncio.run(ask()).text)
    (verdict,) = serving.verdicts_in(last["undertow"])
    assert [step.channel for step in verdict.steps] == [channel]


def test_a_profile_has_to_be_one(monitor: Monitor) -> None:
    """Wrong usage is told in words, with the names there are."""
    with pytest.raises(UsageError, match="unknown profile 'zorp'; known: auto, deepseek-r1"):
        create_app("http://up", monitor=monitor, profile="zorp")


class _Burst(httpx.AsyncByteStream):
    """A stream that is there at once."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield many events, with no wait between them."""
        chunk = {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
        for _ in range(3000):
            yield f"data: {json.dumps(chunk)}\n\n".encode()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/other"], ids=["judged", "passed on"])
def test_a_client_that_left_is_not_written_to(
    monitor: Monitor, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a client is gone, the rest of a burst does not go to its closed socket."""
    told = {"content-type": "text/event-stream"}
    upstream = httpx.MockTransport(lambda _: httpx.Response(200, headers=told, stream=_Burst()))
    body = b'{"stream":true,"messages":[]}'
    head = f"POST {path} HTTP/1.1\r\nhost: proxy\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with listening(create_app("http://up", monitor=monitor, transport=upstream)) as url:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
                client.sendall(head + body)
                client.recv(100)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert not [record for record in caplog.records if "socket.send() raised" in record.getMessage()]
