"""Define the command-line application, and handle errors.

Each command is a function in a file of the same name. The files import heavy modules inside their
functions, so that `undertow --help` is quick.
"""

from __future__ import annotations

import errno
import inspect
import sys
import traceback
from io import TextIOWrapper
from typing import Annotated

import typer

from .. import __version__
from ..errors import UndertowError
from .audit import audit
from .calibrate import calibrate
from .classifiers import classifiers
from .evaluate import evaluate
from .formats import formats
from .options import CRASHED, STATUSES
from .report import report
from .serve import serve
from .study import study
from .train import train
from .watch import watch

__all__ = ["app", "main"]

_FULL = {errno.ENOSPC, errno.EDQUOT}
_VERDICTS = (0, 1, 3)
"""The statuses that stand for a verdict."""

app = typer.Typer(
    name="undertow",
    help=f"A chain-of-thought safety monitor: shows where reasoning drifts toward harm.\n\n{STATUSES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for judging in (audit, watch):
    app.command(help=f"{inspect.cleandoc(judging.__doc__ or '')}\n\n{STATUSES}")(judging)
for command in (serve, report, evaluate, calibrate, train, classifiers, formats):
    app.command()(command)
app.add_typer(study, name="study")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"undertow {__version__}")
        raise typer.Exit


@app.callback()
def _undertow(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Define the options that precede a command."""


def main() -> None:
    """Run the command line; an error never exits with a status that stands for a verdict."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal cannot show must not abort a run
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="undertow")
    except UndertowError as error:
        from ..monitor.audit.plain import plain

        # The message may contain file names, which are untrusted: a folder may come from anywhere.
        print("\n".join(plain(line, len(line)) for line in f"undertow: {error}".split("\n")), file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as end:
        raise SystemExit(_status(end)) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:  # also of standard output: no bug to look for
            print(f"undertow: cannot write: {error.strerror}", file=sys.stderr)
            raise SystemExit(2) from None
        traceback.print_exc()
        raise SystemExit(CRASHED) from None


def _status(end: SystemExit) -> str | int | None:
    """Return the exit status, unless it stands for a verdict and none of our commands ended with it.

    Typer and rich exit with 1 for a closed pipe or an early end, and other packages, as they are imported or
    asked, with anything.
    """
    why = end.__context__
    if isinstance(why, typer.Exit) or (isinstance(end.code, int) and end.code not in _VERDICTS):
        return end.code
    if isinstance(why, BrokenPipeError):
        return 2
    traceback.print_exception(why or end)
    return CRASHED
