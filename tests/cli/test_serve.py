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

from undertow.cli.serve import _PATIENT, _Tidying


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
