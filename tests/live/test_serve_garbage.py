"""What the proxy leaves behind: the event loop stands still while Python looks for garbage."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from sys import modules
from typing import Any

import httpx
import pytest

from undertow.monitor.policy import GateEvent, Policy

Start = Callable[..., str]

serving: Any = modules["serving"]  # it stands beside this file
ASKED, ask = serving.ASKED, serving.ask


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Keeps what refers to itself, and puts it into `gc.garbage` when it is looked for."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()
    gc.collect()


def refuse(_: GateEvent) -> None:
    """Have an answer fail."""
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("path", "model", "more"),
    [
        ("chat/completions", "calm/reasoning", {"stream": True}),
        ("chat/completions", "turn/tags", {"stream": True, "n": 2}),
        ("chat/completions", "turn/reasoning", {}),
        ("chat/completions", "calm/reasoning/disconnect", {"stream": True}),
        ("responses", "turn/text", {"stream": True, "input": "How do I bake a zorp?"}),
        ("messages", "turn/text", {"stream": True, "max_tokens": 99}),
    ],
    ids=["stream", "choices", "whole", "broken", "responses", "messages"],
)
@pytest.mark.parametrize(
    "policy",
    ["observe", "flag", "redact", "stop", "divert", Policy(action="flag", callback=refuse)],
    ids=["observe", "flag", "redact", "stop", "divert", "callback"],
)
def test_an_answer_that_has_ended_is_gone(  # noqa: PLR0917
    start: Start,
    http: httpx.Client,
    uncollected: None,
    policy: Policy | str,
    path: str,
    model: str,
    more: dict[str, Any],
) -> None:
    """Nothing of ours refers to itself: an answer is freed as it ends, not by the garbage collector."""
    url = start(policy=policy)
    for _ in range(2):
        http.post(f"{url}/v1/{path}", json={"model": model, "messages": ASKED, **more})
    serving.settled(http, url)
    gc.collect()
    ours = [type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("undertow.")]
    assert not Counter(ours)
