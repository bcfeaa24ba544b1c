"""`undertow serve`: when garbage is looked for."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn")

import uvicorn
from uvicorn.server import ServerState

from undertow.cli.serve import _PATIENT, _place, _server, _spare_the_event_loop, _Tidying


class Knot:
    """Refers to itself, so that only the garbage collector frees it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def knot() -> Iterator[weakref.ref[Knot]]:
    """Something to find, with the collector left to itself."""
    gc.disable()
    yield weakref.ref(Knot())
    gc.enable()


@pytest.mark.parametrize(
    ("requests", "busy", "ticks", "found"),
    [
        (1, False, 1, True),
        (0, False, 1, False),
        (1, True, _PATIENT, False),
        (1, True, _PATIENT + 1, True),
    ],
    ids=["idle", "nothing asked", "busy", "always busy"],
)
def test_garbage_waits_for_a_quiet_moment(
    knot: weakref.ref[Knot], requests: int, busy: bool, ticks: int, found: bool
) -> None:
    """It is looked for once there were requests and none is under way; where one always is, at last."""
    server: Any = ServerState()
    server.total_requests = requests
    server.tasks = {"a request"} if busy else set()
    tidying = _Tidying(server)

    async def run() -> None:
        for _ in range(ticks):
            await tidying()

    asyncio.run(run())
    assert (knot() is None) == found


@pytest.fixture
def spared() -> Iterator[None]:
    """The collector as the proxy sets it."""
    before = gc.get_threshold()
    _spare_the_event_loop()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Made:
    """Stands for what a stream makes."""


@pytest.mark.usefixtures("spared")
def test_the_young_are_few_where_as_many_are_freed_as_made() -> None:
    """Streams that make and free by the hundred leave little to look through at a time."""
    most, alive = 0, [[Made() for _ in range(100)] for _ in range(200)]
    for turn in range(1000):
        alive[turn % 200] = [Made() for _ in range(100)]
        most = max(most, len(gc.get_objects(0)) + len(gc.get_objects(1)))
    assert most < 2000


@pytest.fixture
def logs() -> Iterator[None]:
    """The loggers as they were: the command gives them handlers."""
    loggers = [logging.getLogger(name) for name in ("undertow.serve", "uvicorn.error")]
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.level, logger.handlers, logger.propagate = level, handlers, propagate


@pytest.mark.usefixtures("spared", "logs")
def test_a_port_in_use_is_wrong_usage(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The server behind the command has statuses of its own, one of which would read as a verdict."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("--upstream", "http://localhost:1", "--port", str(port), "--quiet")
        assert command("serve", *arguments, "--classifier", "keyword") == 2
    error = capsys.readouterr().err
    assert "in use" in error
    assert f"undertow: cannot serve at 127.0.0.1, port {port}" in error


@pytest.mark.usefixtures("logs")
def test_it_says_which_address_clients_need(caplog: pytest.LogCaptureFixture) -> None:
    """The port is the one that it listens on, also where it chose one itself."""

    async def nothing(_scope: Any, _receive: Any, _send: Any) -> None: ...

    async def run() -> int:
        server = _server(uvicorn.Config(nothing, "127.0.0.1", 0, lifespan="off", log_config=None))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        port: int = server.servers[0].sockets[0].getsockname()[1]
        await server.shutdown()
        return port

    with caplog.at_level(logging.INFO, "undertow.serve"):
        port = asyncio.run(run())
    url = f"http://127.0.0.1:{port}"
    assert f"clients use the base URL {url}/v1, and Anthropic's use {url}" in caplog.text


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("::1", "http://[::1]:1"), ("0.0.0.0", "http://localhost:1")],
)
def test_the_address_can_be_called(host: str, url: str) -> None:
    """What stands for all interfaces is no address, and one with colons has brackets."""
    assert _place(host, 1) == url
