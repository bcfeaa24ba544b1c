"""Proxies for the tests, what is asked of them, and what they say."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from undertow.monitor.verdict import TraceVerdict

__all__ = ["ASKED", "ask", "events_of", "listening", "said", "settled", "verdicts_in"]

ASKED: Any = [{"role": "user", "content": "How do I bake a zorp?"}]


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Run an application in uvicorn on a free port."""
    quiet = {"log_config": None, "access_log": False, "date_header": False, "server_header": False}
    config = uvicorn.Config(app, loop="asyncio", **quiet)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    sock = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        sock.close()


def settled(http: httpx.Client, url: str) -> str:
    """Return a proxy's metrics once it has done with all that was asked: a client is done a little sooner."""
    while "undertow_open_exchanges 0.0" not in (shown := http.get(f"{url}/metrics").text):
        time.sleep(0.01)
    return shown


def ask(url: str, model: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a request for a chat completion."""
    return {"url": f"{url}/v1/chat/completions", "json": {"model": model, "messages": ASKED, **more}}


def events_of(text: str) -> list[Any]:
    """Return the data of a stream's events, JSON where it is that."""
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def said(events: list[Any], *fields: str) -> str:
    """Return the text of a streamed answer in some fields of its deltas."""
    deltas = [c["delta"] for e in events if e != "[DONE]" for c in e.get("choices", ())]
    return "".join(delta.get(field) or "" for delta in deltas for field in fields)


def verdicts_in(given: Any) -> list[TraceVerdict]:
    """Return the verdicts in what stands under `undertow`."""
    bare = [{k: v for k, v in one.items() if k != "choice"} for one in given["verdicts"]]
    return [TraceVerdict.model_validate(one) for one in bare]
