"""What the tests of live wraps share: a replaying server, and what an audit says of its tales."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.testing import scripted_monitor


def _load(name: str) -> ModuleType:
    """Load a module that stands beside this file: under importlib mode a test cannot import it by name."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_REPLAY = _load("replay")
_load("odd")
if importlib.util.find_spec("uvicorn"):
    _load("serving")
if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
    _load("tiny")

PROMPT = "How do I bake a zorp?"

Audit: TypeAlias = Callable[[str], TraceVerdict]


@pytest.fixture(scope="session")
def replay() -> Iterator[Any]:
    """A server that replays tales."""
    with _REPLAY.replaying() as running:
        yield running


@pytest.fixture(scope="session")
def tales() -> Mapping[str, Any]:
    """The tales by their names; each has a `reasoning` and an `answer`."""
    told: Mapping[str, Any] = _REPLAY.TALES
    return told


@pytest.fixture(scope="module")
def start(replay: Any, monitor: Monitor) -> Iterator[Callable[..., str]]:
    """Starts a proxy, or gives the one that was started with the same options; returns its URL."""
    from undertow.monitor.wraps.proxy import create_app

    running: dict[str, str] = {}
    with ExitStack() as stack:

        def begin(upstream: str = f"{replay.url}/v1", **options: Any) -> str:
            key = f"{upstream} {sorted(options.items(), key=str)}"
            if key not in running:
                app = create_app(upstream, **{"monitor": monitor, **options})
                running[key] = stack.enter_context(sys.modules["serving"].listening(app))
            return running[key]

        yield begin


@pytest.fixture
def http() -> Iterator[Any]:
    """A client that knows nothing of any API."""
    httpx = pytest.importorskip("httpx")
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def monitor() -> Monitor:
    """A monitor whose classifier reads the labels off the steps."""
    return scripted_monitor()


@pytest.fixture(scope="session")
def audit(monitor: Monitor) -> Audit:
    """What an audit says of a tale."""

    def judge(name: str) -> TraceVerdict:
        tale = _REPLAY.TALES[name]
        trace = Trace(prompt=PROMPT, reasoning=tale.reasoning, answer=tale.answer)
        return next(iter(monitor.judge([trace])))

    return judge


def alike(one: TraceVerdict, other: TraceVerdict) -> bool:
    """Whether two verdicts say the same, whatever the traces are called."""
    named = {"id", "model", "origin"}
    return one.model_dump(exclude=named) == other.model_dump(exclude=named)


@pytest.fixture(scope="session")
def same() -> Callable[[TraceVerdict, TraceVerdict], bool]:
    """Compares verdicts."""
    return alike


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A tokenizer with a chat template."""
    return sys.modules["tiny"].tokenizer_with_template()


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    """A tiny Qwen2 that has learnt the script by heart: it really writes `<think>…</think>`."""
    return sys.modules["tiny"].trained(tokenizer)


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine to its end, as a user's program would."""
    return asyncio.run
