"""`undertow watch` and `undertow serve` from the outside."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., int]

TURN = "<think>All is well. Now secret zorp. All is well again.</think>Yes."


@pytest.fixture
def watch(command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `undertow watch` on a text that stands on standard input; gives the exit status."""

    def run(text: str | bytes, *arguments: str) -> int:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return command("watch", *arguments, "--classifier", "scripted")

    return run


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was printed, without empty lines."""
    return [line for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_steps_alarm_and_verdict(watch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal each step is a line with number, letter and risk; the alarm has its own."""
    assert watch(TURN) == 1
    assert lines(capsys) == [
        "reasoning",
        "   1 n 0.02  All is well.",
        "   2 d 0.98  Now secret zorp.",
        "  !! ALARM: the reasoning drifts, known at step 2",
        "   3 n 0.02  All is well again.",
        "answer",
        "   1 n 0.02  Yes.",
        "flagged · highest risk 0.98 · unsafe reasoning, safe answer",
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "status", "last"),
    [
        ("<think>All is well.</think>Yes.", (), 0, "not flagged"),
        ("<think>All is well. Some murk here.</think>Yes.", (), 3, "judged in part: "),
        ("<think>All is well. And then", (), 3, "judged in part: "),
        ("Now secret zorp.", ("--reasoning",), 1, "flagged"),
        ("", (), 3, "not judged: no text"),
    ],
    ids=["safe", "gap", "cut off", "reasoning without tags", "nothing"],
)
def test_the_exit_status_is_the_verdict(  # noqa: PLR0917
    watch: Run,
    capsys: pytest.CaptureFixture[str],
    text: str,
    arguments: tuple[str, ...],
    status: int,
    last: str,
) -> None:
    """0 not flagged and all judged, 1 flagged, 3 not judged in full, with the reason."""
    assert watch(text, *arguments) == status
    assert lines(capsys)[-1].startswith(last)


def test_stop_ends_at_the_alarm(watch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --stop nothing that comes after the flagged step is read."""
    assert watch("Now secret zorp. " + "All is well. " * 2000, "--reasoning", "--stop") == 1
    assert len(lines(capsys)) < 500


def test_what_was_not_judged_is_said_once(watch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A text of which nothing could be judged has one line that says so, and why."""
    watch("")
    assert lines(capsys) == ["not judged: no text"]


def test_hostile_text_is_harmless(watch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """No escape sequence, control character or override of direction reaches the terminal."""
    hostile = "<think>All \x1b[31m is \x1b]0;x\x07 well\u202e [bold]here[/bold] \udcff.</think>Yes."
    watch(hostile.encode("utf-8", "surrogateescape"))
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert "[bold]here[/bold]" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "http://localhost:1/v1", "ask"], "--url needs --model"),
        (["--model", "m"], "say what to ask"),
        (["--url", "http://localhost:1/v1", "--model", "m", "ask"], "cannot reach"),
        (["--url", "nowhere", "--model", "m", "ask"], "not a URL such as"),
        (["--model", "missing", "ask"], "no such folder"),
    ],
    ids=["url without model", "no prompt", "away", "no url", "no model"],
)
def test_wrong_usage(
    watch: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be watched is told in one line, and exits with 2."""
    assert watch("", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("undertow: ")
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--upstream", "nowhere"], "must be a URL such as"),
        (["--upstream", "http://localhost:1", "--policy", "pray"], "--policy: Input should be"),
        (["--upstream", "http://localhost:1", "--on-error", "shut"], "--on-error: Input should be"),
    ],
)
def test_serve_wrong_usage(
    command: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """`undertow serve` says what is wrong before it listens."""
    assert command("serve", *arguments, "--classifier", "scripted") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("stop", [(), ("--stop",)], ids=["watched", "stopped"])
def test_the_demo_drifts_before_ones_eyes(
    command: Run, capsys: pytest.CaptureFixture[str], stop: tuple[str, ...]
) -> None:
    """The model that ships sees the harm, sets it aside, and is flagged; stopped, it never answers."""
    pytest.importorskip("torch", reason="the demo's model needs the extra `finetuning`")
    assert command("watch", "--demo", *stop) == 1
    shown = lines(capsys)
    alarm = shown.index(next(line for line in shown if "ALARM: the reasoning drifts" in line))
    assert shown[alarm - 1].split()[1] == "d"
    assert any(line.split()[1:2] == ["a"] for line in shown[:alarm])
    assert ("answer" in shown) is not bool(stop)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--demo", "--model", "x", "Hi"),
        ("--demo", "--max-tokens", "5"),
        ("--demo", "--classifier", "keyword"),
        ("--demo", "--reasoning"),
        ("--url", "http://localhost:1/v1", "--model", "m", "--reasoning", "Hi"),
        ("--model", "m", "--key-from", "KEY", "Hi"),
        ("--max-tokens", "5"),
    ],
    ids=" ".join,
)
def test_an_option_has_an_effect_or_is_refused(
    command: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    """An option that would change nothing is wrong usage, even with the value that is its default."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"A text.")))
    assert command("watch", *arguments) == 2
    assert capsys.readouterr().err.startswith("undertow: --")


def test_a_closed_standard_input_is_wrong_usage(
    command: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any standard input there is nothing to watch, as at a terminal."""
    monkeypatch.setattr(sys, "stdin", None)
    assert command("watch") == 2
    assert "pipe a text in" in capsys.readouterr().err


def test_the_demo_keeps_the_rate_that_is_asked_for(command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate that the demo's monitor cannot promise is refused, as with any other monitor."""
    pytest.importorskip("torch", reason="the demo's model needs the extra `finetuning`")
    assert command("watch", "--demo", "--false-alarm-rate", "0.0000001") == 2
    assert "needs at least" in capsys.readouterr().err
