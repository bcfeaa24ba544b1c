"""`undertow serve`: an OpenAI-compatible proxy with the monitor inside."""

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
from ..errors import MissingExtra, UsageError
from .options import Classifier, FalseAlarmRate

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from ..classifiers.contract import StepClassifier
    from ..monitor.policy import Policy

__all__ = ["serve"]

_MIB = 1024 * 1024

_GRACE = 30
"""Seconds that open streams have to end when the proxy is told to."""

_TICK = 5
"""Seconds after which it is asked anew whether garbage can be looked for."""

_PATIENT = 120
"""How many times that may be put off, because requests are under way."""


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

    Clients set their base URL to http://HOST:PORT/v1 and change nothing else. Their keys pass through
    and are never logged. /healthz and /metrics are the proxy's own; all else goes to upstream.
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
    # uvicorn's own access log would hold query strings, and with them the keys that some put there.
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
    server = uvicorn.Server(config)
    config.callback_notify = _Tidying(server.server_state)
    config.load()  # else the event loop imports what serves, and it is looked through with what is alive
    _spare_the_event_loop()
    server.run()


def _classifier(name: str) -> str | StepClassifier:
    """Return what judges: where it stands in a folder, a process that loads it in place of this one."""
    from ..classifiers.apart import Apart

    places = {info.name: info.folder for info in available()}
    folder = places.get(name, Path(name).expanduser())
    if folder is None or not (folder / MANIFEST).is_file() or current_process().daemon:
        return name
    return Apart.begun(folder)


def _spare_the_event_loop() -> None:
    """Keep the garbage collector's pauses short: the event loop stands still for them.

    What has been loaded so far, some hundred thousand objects, is there for good and not looked through
    again. What is young is looked through in small parts. Python counts what is made less what is freed,
    and hundreds of streams at once do both alike: at a threshold of 300 the young were ten thousand before
    it was passed. All that is alive is left to `_Tidying`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50, 2, 1_000_000)


class _Tidying:
    """Looks for garbage while no request is under way; where one always is, seldom.

    An answer is freed as it ends: nothing of it refers to itself. What is left to find is little, and
    comes from errors and from libraries. With hundreds of streams alive the search takes the event loop
    many milliseconds; with none, a few.
    """

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._seen = 0
        self._put_off = 0

    async def __call__(self) -> None:
        """Look, if there can be something to find and now is the time."""
        if self._server.total_requests == self._seen:
            return
        if self._server.tasks and self._put_off < _PATIENT:
            self._put_off += 1
            return
        self._seen, self._put_off = self._server.total_requests, 0
        gc.collect()


def _policy(**given: Any) -> Policy:
    """Return the policy; an action that there is not is wrong usage."""
    from pydantic import ValidationError

    from ..monitor.policy import Policy

    try:
        return Policy(**given)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        option = "--policy" if wrong["loc"][0] == "action" else f"--{wrong['loc'][0]}".replace("_", "-")
        raise UsageError(f"{option}: {wrong['msg']}, not {wrong['input']!r}") from None


def _log_to_stderr(level: int) -> None:
    """Show what the proxy and the server have to say; not what the libraries say of each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("undertow.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
        logger.propagate = False
