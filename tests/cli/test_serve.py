"""`undertow serve`: when garbage is looked for."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from uvicorn.server import ServerState

from undertow.cli.serve import _PATIENT, _spare_the_event_loop, _Tidying


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
