"""`undertow serve`: run an OpenAI-compatible proxy with the monitor."""

from __future__ import annotations

import gc
import logging
import sys
from multiprocessing import current_process
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..classifiers.registry import DEFAULT, available
from ..classifiers.store import MANIFEST
from ..errors import MissingExtra, UndertowError, UsageError
from .options import Classifier, FalseAlarmRate

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.server import ServerState

    from ..classifiers.contract import StepClassifier
    from ..monitor.policy import Policy

__all__ = ["serve"]

_MIB = 1024 * 1024

_GRACE = 30
"""Seconds that open streams have to finish when the proxy shuts down."""

_TICK = 5
"""Seconds between two attempts to collect garbage."""

_PATIENT = 120
"""Number of times a collection may be postponed because requests are in progress."""


def serve(
    *,
    upstream: Annotated[
        str, typer.Option(metavar="URL", help="The server behind the proxy: its root, with or without /v1.")
    ],
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8700,
    policy: Annotated[
        str, typer.Option(metavar="ACTION", help="At the alarm: observe, flag, redact, stop or divert.")
    ] = "observe",
    reasoning: Annotated[
        str | None, typer.Option(metavar="ACTION", help="At an alarm in the reasoning, if not --policy.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="ACTION", help="At an alarm in the answer, if not --policy.")
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            metavar="open|closed",
            help="Whether text that could not be judged passes; by default not where text is held back.",
        ),
    ] = None,
    false_alarm_rate: FalseAlarmRate = 0.05,
    classifier: Classifier = DEFAULT,
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How the model marks its reasoning, if neither its name nor a tag shows it.",
        ),
    ] = "auto",
    max_body: Annotated[
        int, typer.Option("--max-body", metavar="MIB", min=1, help="The longest request that is accepted.")
    ] = 16,
    silence: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long upstream may send nothing.")
    ] = 600.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log nothing but errors.")] = False,
) -> None:
    """Put the monitor between any client and an OpenAI-compatible server.

    Clients set their base URL to http://HOST:PORT/v1 and change nothing else.
    Their keys are passed on and never logged. The proxy itself answers
    /healthz and /metrics; all other paths go to upstream.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("`undertow serve`", "serve") from error
    from ..monitor.monitor import Monitor
    from ..monitor.wraps.proxy import Limits, create_app

    app = create_app(
        upstream,
        policy=_policy(action=policy, reasoning=reasoning, answer=answer, on_error=on_error),
        monitor=Monitor(_classifier(classifier), false_alarm_rate=false_alarm_rate),
        limits=Limits(request=max_body * _MIB, silence=silence),
        profile=profile,
    )
    _log_to_stderr(logging.ERROR if quiet else logging.INFO)
    # uvicorn's access log would contain query strings, and with them the keys that some clients put there.
    config = uvicorn.Config(
        app,
        host,
        port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_notify=_TICK,
    )
    server = _server(config)
    config.callback_notify = _Tidying(server.server_state)
    config.load()  # imports the server's modules now, so that they are among the objects frozen below
    _spare_the_event_loop()
    try:
        server.run()
    except SystemExit as end:  # uvicorn has logged why it cannot start; its status would read as a verdict
        raise UndertowError(f"cannot serve at {host}, port {port}: the log says why") from end


def _server(config: uvicorn.Config) -> uvicorn.Server:
    """Return a server that says, once it listens, which base URL the clients need."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                place = _place(config.host, self.servers[0].sockets[0].getsockname()[1])
                said = "clients use the base URL %s/v1, and Anthropic's use %s"
                logging.getLogger("undertow.serve").info(said, place, place)

    return Server(config)


def _place(host: str, port: int) -> str:
    """Return where a client on this machine finds the proxy; an address for all interfaces is none."""
    name = "localhost" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def _classifier(name: str) -> str | StepClassifier:
    """Return the classifier in a separate process if it is loaded from a folder, else its name."""
    from ..classifiers.apart import Apart

    places = {info.name: info.folder for info in available()}
    folder = places.get(name, Path(name).expanduser())
    if folder is None or not (folder / MANIFEST).is_file() or current_process().daemon:
        return name
    return Apart.begun(folder)


def _spare_the_event_loop() -> None:
    """Keep the pauses of the garbage collector short, since they stop the event loop.

    The objects loaded so far, some hundred thousand, are permanent and are excluded from collection.
    Young objects are collected in small portions. Python counts allocations minus deallocations, which
    nearly cancel out with hundreds of concurrent streams: at a threshold of 300 there were ten thousand
    young objects before a collection began. Full collections are left to `_Tidying`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50, 2, 1_000_000)


class _Tidying:
    """Collects garbage while no request is in progress, or rarely if there always is one.

    A response is freed as it ends, since it has no reference cycles; the little garbage that remains comes
    from errors and libraries. A collection takes many milliseconds of the event loop with hundreds of open
    streams, and a few with none.
    """

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._seen = 0
        self._put_off = 0

    async def __call__(self) -> None:
        """Collect garbage if there were new requests and none is in progress, or after `_PATIENT` delays."""
        if self._server.total_requests == self._seen:
            return
        if self._server.tasks and self._put_off < _PATIENT:
            self._put_off += 1
            return
        self._seen, self._put_off = self._server.total_requests, 0
        gc.collect()


def _policy(**given: Any) -> Policy:
    """Return the policy.

    Raises:
        UsageError: An action does not exist.
    """
    from pydantic import ValidationError

    from ..monitor.policy import Policy

    try:
        return Policy(**given)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        option = "--policy" if wrong["loc"][0] == "action" else f"--{wrong['loc'][0]}".replace("_", "-")
        raise UsageError(f"{option}: {wrong['msg']}, not {wrong['input']!r}") from None


def _log_to_stderr(level: int) -> None:
    """Log the messages of the proxy and the server to standard error, without those of other libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("undertow.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
        logger.propagate = False
