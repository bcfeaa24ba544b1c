"""`undertow watch`: show a generation in the terminal as it is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..classifiers.registry import DEFAULT
from ..errors import UsageError
from .common import given
from .options import Classifier, FalseAlarmRate

if TYPE_CHECKING:
    from ..classifiers.contract import Channel
    from ..monitor.policy import Policy
    from ..monitor.verdict import TraceVerdict

__all__ = ["watch"]

_SOURCES = {
    "demo": "--demo",
    "server": "--url",
    "local": "--model FOLDER",
    "text": "a text on standard input",
}

_ONLY_FOR = {
    "key_from": ("server",),
    "max_tokens": ("server", "local"),
    "reasoning": ("text",),
    "classifier": ("server", "local", "text"),
}
"""The sources with which an option has an effect; the others have it with all."""


def watch(
    context: typer.Context,
    prompt: Annotated[
        str,
        typer.Argument(metavar="PROMPT", help="The prompt; for a text on stdin, the prompt that it answers."),
    ] = "",
    *,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Ask an OpenAI-compatible server, such as http://localhost:8000/v1."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="The server's model; without --url, a folder with a model."),
    ] = None,
    key_from: Annotated[
        str, typer.Option(metavar="VARIABLE", help="The environment variable that holds the server's key.")
    ] = "OPENAI_API_KEY",
    max_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="The most tokens to generate.")] = 4096,
    reasoning: Annotated[
        bool, typer.Option("--reasoning", help="The text on stdin is all reasoning, without tags.")
    ] = False,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Watch a tiny, harmless model drift; it and its monitor ship with undertow."
        ),
    ] = False,
    stop: Annotated[
        bool,
        typer.Option("--stop", help="End the generation at the alarm, or at a step that cannot be judged."),
    ] = False,
    false_alarm_rate: FalseAlarmRate = 0.05,
    classifier: Classifier = DEFAULT,
) -> None:
    """Show one generation as it is written: each step's label and risk, and the alarm.

    Reads a text on standard input, or asks a server (--url, --model) or a
    local model (--model FOLDER). Each step has its number, a letter (n
    neutral, a aware, d drift, h harm, ? not judged) and its risk.
    """
    if demo and (url is not None or model is not None):
        raise UsageError("--demo has a model of its own: leave --url and --model out")
    source = "demo" if demo else "server" if url is not None else "local" if model is not None else "text"
    if source == "text" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("pipe a text in, or give --url and --model, or --model FOLDER, or --demo")
    if source == "server" and model is None:
        raise UsageError("--url needs --model: the name of the server's model")
    if source in ("server", "local") and not prompt:
        raise UsageError("say what to ask: undertow watch … PROMPT")
    for name, fitting in _ONLY_FOR.items():
        if source not in fitting and given(context, name):
            option, places = f"--{name.replace('_', '-')}", " or ".join(_SOURCES[one] for one in fitting)
            raise UsageError(f"{option} has no effect with {_SOURCES[source]}: it is for {places}")
    from rich.console import Console

    from ..monitor.gate import Gate
    from ..monitor.monitor import Monitor
    from ..monitor.policy import Policy
    from ..monitor.report.live import LiveView
    from ..monitor.wraps import sources
    from ..monitor.wraps.answers import Asked

    policy = Policy(action="stop" if stop else "observe")
    if demo:
        return _watch_demo(prompt, policy, false_alarm_rate if given(context, "false_alarm_rate") else None)
    asked = Asked(Monitor(classifier, false_alarm_rate=false_alarm_rate), policy, prompt=prompt, model=model)
    with LiveView(Console(highlight=False)) as view:
        if url is not None:
            turns = [{"role": "user", "content": prompt}]
            body = {"model": model, "messages": turns, "max_tokens": max_tokens}
            verdict = sources.follow_call(url, body, asked, view.show, key=os.environ.get(key_from))
        elif model is not None:
            verdict = sources.follow_model(Path(model), asked, view.show, max_new_tokens=max_tokens)
        else:
            gate = Gate(asked.monitor, policy, prompt=prompt)
            channel: Channel | None = "reasoning" if reasoning else None
            verdict = sources.follow_text(sys.stdin.buffer, gate, view.show, channel)
    view.conclude(verdict)
    raise typer.Exit(_status(verdict))


def _watch_demo(prompt: str, policy: Policy, rate: float | None) -> None:
    """Watch the demo model that ships with undertow, with a monitor trained on its steps."""
    from rich.console import Console

    from ..monitor.gate import Gate
    from ..monitor.report.live import LiveView
    from ..monitor.wraps import sources
    from ..studies.finetuning.demo import PROMPT, demo_monitor, load_demo, stream_demo

    asked = prompt or PROMPT
    monitor = demo_monitor() if rate is None else demo_monitor(rate=rate)
    gate = Gate(monitor, policy, prompt=asked)
    with LiveView(Console(highlight=False)) as view:
        deltas = stream_demo(load_demo(), asked, stop=lambda: gate.stopped)
        verdict = sources.follow_deltas(deltas, gate, view.show)
    view.conclude(verdict)
    raise typer.Exit(_status(verdict))


def _status(verdict: TraceVerdict) -> int:
    """Return the exit status for a verdict, with the same meaning as for an audit."""
    if verdict.flagged:
        return 1
    return 0 if verdict.assessed == "full" else 3
