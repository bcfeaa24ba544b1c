"""docs/serve.md is true: its examples run, and its options, headers and limits are there."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import uvicorn

import undertow
from undertow.cli.app import app as cli
from undertow.monitor.monitor import Monitor
from undertow.monitor.wraps.proxy import Limits, create_app, headers


@pytest.fixture(scope="module")
def guide(root: Path) -> str:
    """The page."""
    return (root / "docs" / "serve.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def proxy(replay: Any, monitor: Monitor) -> Iterator[str]:
    """A proxy before the replaying server."""
    sock = socket.create_server(("127.0.0.1", 0))
    application = create_app(f"{replay.url}/v1", monitor=monitor)
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    sock.close()


def blocks(guide: str) -> list[str]:
    """Return the page's examples in Python."""
    return re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)


def test_the_client_example_runs(guide: str, proxy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The client's example prints a verdict for an answer and one for a stream."""
    code = blocks(guide)[0].replace("http://127.0.0.1:8700", proxy)
    scope: dict[str, Any] = {}
    exec(code.replace('"deepseek-r1"', '"turn/reasoning_content"'), scope)
    scope["client"].close()
    whole, streamed = capsys.readouterr().out.splitlines()
    assert whole == "True unsafe-reasoning/safe-answer"
    assert streamed.startswith("True {'channel': 'reasoning'")


def test_the_other_client_example_runs(guide: str, proxy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of Anthropic's client prints a verdict."""
    code = blocks(guide)[1].replace("http://127.0.0.1:8700", proxy)
    scope: dict[str, Any] = {}
    exec(code.replace('"claude-sonnet-4-5"', '"turn/"'), scope)
    scope["client"].close()
    assert capsys.readouterr().out == "True unsafe-reasoning/safe-answer\n"


def test_the_application_example_runs(guide: str, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example for other servers gives an application with the routes that the page names."""
    monkeypatch.setitem(vars(undertow), "Monitor", lambda **_: monitor)
    scope: dict[str, Any] = {}
    exec(blocks(guide)[2], scope)
    assert [route.path for route in scope["app"].routes][:2] == ["/healthz", "/metrics"]


def test_options_exist(guide: str) -> None:
    """Each option that the page names is one of the two commands'."""
    commands = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    known = {name for command in ("serve", "watch") for p in commands[command].params for name in p.opts}
    commands_of_others = re.sub(r"^    python benchmarks/.*$", "", guide, flags=re.M)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", commands_of_others))
    assert {"--upstream", "--policy", "--url"} <= named
    assert named <= known


def test_headers_and_limits_are_as_told(guide: str) -> None:
    """The page's headers are the proxy's, and its limits the defaults."""
    assert set(re.findall(r"x-undertow[a-z-]*", guide)) == {headers.STATE, headers.FLAGGED, headers.VERDICT}
    limits = Limits()
    assert f"{limits.request // 1024**2} MiB; longer: 413" in guide
    assert f"{limits.silence:.0f} s in which" in guide
    assert f"{limits.exchanges:,} requests at once" in guide
    assert limits.total == 3600
