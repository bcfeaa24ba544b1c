"""Measure what the proxy costs: `python benchmarks/serve.py`.

Runs three processes on this machine: an upstream that writes tokens at a fixed pace, the proxy, and
a client that reads many streams at once, directly and through the proxy. Each token carries the time at
which upstream wrote it, so its delay on either path is known. What the proxy adds is shown as the
difference of the two distributions at the same quantile; for a single token it is at most the whole delay
through the proxy, which is the row above. Every stream has its own words, so mixing or loss would show.

With `--loop`, every call of the proxy's event loop is timed (asyncio's own loop, not uvloop's): by the
clock, which includes waiting for the processor and for other threads, and by the processor time of the
loop's own thread, which includes what the machine's host takes away. Slow calls are reported: the function,
its stack after 3 ms, and any garbage collection meanwhile. Under the same load, a separate process repeats
a fixed third of a millisecond of work, which shows how much the machine itself adds.

Finally, many short streams are run in batches, and the proxy's memory is printed after some of them.

Options: --streams 200 --tokens 300 --pace 0.1 --requests 10000 --classifier step-ensemble --policy observe
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_WORDS = ("the", "model", "plans", "a", "garden", "and", "thinks", "of", "water", "before", "it", "speaks")


def words(stream: int, count: int) -> list[str]:
    """Return the tokens of a stream: sentences of twelve words, different for each stream."""
    ends = {3: f"{stream} ", 11: ". "}
    return [_WORDS[(stream * 7 + i) % len(_WORDS)] + ends.get(i % 12, " ") for i in range(count)]


async def _write(request: Request) -> StreamingResponse:
    asked = await request.json()

    async def chunks() -> AsyncIterator[str]:
        tokens = words(asked["stream_number"], asked["tokens"])
        begun = time.perf_counter()
        for number, token in enumerate(tokens):
            await asyncio.sleep(max(0.0, begun + number * asked["pace"] - time.perf_counter()))
            delta = {"reasoning_content": token} if number < 0.8 * len(tokens) else {"content": token}
            yield _chunk(delta, sent=time.perf_counter())
        yield _chunk({}, "stop")
        yield "data: [DONE]\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


def _chunk(delta: dict[str, str], finish: str | None = None, **more: float) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c', 'created': 1, 'model': 'm', 'choices': [choice], **more})}\n\n"


class LoopTimes:
    """The durations of the calls of an event loop, and what the slow ones did.

    The same figures for work of a fixed size show what the machine itself adds.

    Args:
        context: the multiprocessing context that makes the shared objects.
        wanted: whether to time anything at all.
    """

    LIMIT = 0.005
    """Seconds from which on a call is slow."""
    LOOK = 0.003
    """Seconds by the clock after which the stack of a running call is recorded."""
    NAMED = 50
    """The maximum number of slow calls to report: their queue is not read meanwhile, and may fill up."""

    def __init__(self, context: Any, *, wanted: bool) -> None:
        self._shared = context.Array("d", 6, lock=False)
        self._slow = context.SimpleQueue()
        self.wanted = wanted

    def install(self) -> None:
        """Time every call of the event loops of this process, which must be asyncio's own."""
        sys.modules["uvloop"] = None  # type: ignore  # its loops cannot be timed from here
        run, seen = asyncio.Handle._run, _Seen()

        def timed(handle: Any) -> None:
            seen.begin(self.LOOK)
            clock, own = time.perf_counter(), time.thread_time()
            run(handle)
            clock, own = time.perf_counter() - clock, time.thread_time() - own
            seen.end()
            self.add(clock, own)
            if own > self.LIMIT and self._shared[4] <= self.NAMED:
                took = f"{1e3 * own:.1f} ms ({1e3 * clock:.1f} by the clock)"
                self._slow.put(f"{took}: {_named(handle)}{seen}")

        asyncio.Handle._run = timed  # type: ignore

    def add(self, clock: float, own: float) -> None:
        """Add the durations of a call, by the clock and of its thread's processor time."""
        shared, limit = self._shared, self.LIMIT
        shared[0] += 1
        shared[1], shared[2] = max(shared[1], clock), shared[2] + (clock > limit)
        shared[3], shared[4] = max(shared[3], own), shared[4] + (own > limit)
        shared[5] += own

    def show(self, what: str) -> None:
        """Print the figures since the last time, and reset them."""
        if not self.wanted:
            return
        calls, longest, late, own, slow, total = self._shared
        print(
            f"{what}: {calls:.0f}; the longest {1e3 * longest:.1f} ms, {late:.0f} over 5 ms; "
            f"of its own CPU time {1e3 * own:.1f} ms, {slow:.0f} over 5 ms, in {total:.1f} s altogether"
        )
        self._shared[:] = [0.0] * 6
        while not self._slow.empty():
            print("    " + self._slow.get())


class _Seen:
    """Notes on the current call of the loop: its stack after some time, and garbage collections."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._begun = 0.0
        signal.signal(signal.SIGALRM, self._look)
        gc.callbacks.append(self._sweep)

    def begin(self, look: float) -> None:
        self._notes.clear()
        signal.setitimer(signal.ITIMER_REAL, look)

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, _: int, frame: Any) -> None:
        stack = itertools.islice(traceback.walk_stack(frame), 4)
        self._notes.append("at " + " < ".join(f"{at.f_code.co_qualname}:{line}" for at, line in stack))

    def _sweep(self, phase: str, info: dict[str, int]) -> None:
        if threading.current_thread() is threading.main_thread():
            now = time.thread_time()
            took, self._begun = now - self._begun, now
            if phase == "stop" and took > 0.001:
                self._notes.append(f"garbage of generation {info['generation']}: {1e3 * took:.1f} ms")

    def __str__(self) -> str:
        return "".join(f"\n        {note}" for note in self._notes)


def _named(handle: Any) -> str:
    """Return the name of the function or coroutine that an asyncio handle runs."""
    task = getattr(handle._callback, "__self__", None)
    what = task.get_coro() if isinstance(task, asyncio.Task) else handle._callback
    return str(getattr(what, "__qualname__", what))[:80]


def _work() -> int:
    """Do a fixed amount of work, about a third of a millisecond."""
    return sum(i * i % 7 for i in range(6000))


def _run_control(times: LoopTimes) -> None:
    """Repeat the fixed work for ever, using a tenth of the processor's time."""
    gc.disable()
    while True:
        clock, own = time.perf_counter(), time.thread_time()
        _work()
        clock, own = time.perf_counter() - clock, time.thread_time() - own
        times.add(clock, own)
        time.sleep(9 * own)


def _log_here() -> None:
    """Log errors with the name of the process."""
    logging.basicConfig(format=f"{multiprocessing.current_process().name}: %(name)s: %(message)s")


def _run_upstream(port: int) -> None:
    _log_here()
    app = Starlette(routes=[Route("/v1/chat/completions", _write, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="error")


def _run_proxy(port: int, upstream: int, classifier: str, policy: str, times: LoopTimes) -> None:
    _log_here()
    from undertow.cli.serve import serve

    if times.wanted:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # its loops cannot be timed from here
        times.install()
    serve(
        upstream=f"http://127.0.0.1:{upstream}", port=port, classifier=classifier, policy=policy, quiet=True
    )


async def read(
    client: httpx.AsyncClient, url: str, number: int, tokens: int, pace: float, *, judging: bool
) -> tuple[list[float], bool]:
    """Read one stream; return the delays of its tokens in seconds, and if it came whole and unmixed."""
    body = {"model": "m", "stream": True, "stream_number": number, "tokens": tokens, "pace": pace}
    turns = [{"role": "user", "content": "How do I plan a garden?"}]
    delays: list[float] = []
    text: list[str] = []
    judged = ended = False
    async with client.stream(
        "POST", f"{url}/v1/chat/completions", json={**body, "messages": turns}
    ) as response:
        async for line in response.aiter_lines():
            now = time.perf_counter()
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                event = json.loads(line[6:])
                judged |= "verdicts" in event.get("undertow", {})
                for choice in event["choices"]:
                    text.extend(choice["delta"].values())
                if "sent" in event:
                    delays.append(now - event["sent"])
    return delays, ended and judged == judging and text == words(number, tokens)


async def load(
    url: str, streams: int, tokens: int, pace: float, *, judging: bool = True
) -> tuple[list[float], int]:
    """Read many streams at once; return all delays, and how many streams came whole and unmixed.

    Paced streams start over two seconds, others all at once.
    """
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=600, limits=limits, trust_env=False) as client:

        async def one(number: int) -> tuple[list[float], bool]:
            await asyncio.sleep(2.0 * number / streams if pace else 0.0)
            return await read(client, url, number, tokens, pace, judging=judging)

        found = await asyncio.gather(*(one(number) for number in range(streams)))
    return [delay for delays, _ in found for delay in delays], sum(whole for _, whole in found)


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants (Linux): the proxy judges in a separate process."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [pid, *(other for child in file.read().split() for other in family(int(child)))]


def resident(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in MB (Linux)."""
    total = 0
    for one in family(pid):
        with open(f"/proc/{one}/statm", encoding="ascii") as file:
            total += int(file.read().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor(pid: int) -> float:
    """Return the processor time of a process and its descendants, in seconds (Linux)."""
    total = 0
    for one in family(pid):
        with open(f"/proc/{one}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        total += int(user) + int(system)
    return total / os.sysconf("SC_CLK_TCK")


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(url, trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit(f"no response from {url}")


def _quantiles(name: str, delays: Sequence[float]) -> Any:
    found = 1e3 * np.quantile(delays, [0.5, 0.9, 0.99, 1.0])
    print(f"{name:<16}" + "".join(f"{value:>10.1f}" for value in found))
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="What the proxy costs.")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--pace", type=float, default=0.1, help="seconds between the tokens of a stream")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--classifier", default="step-ensemble")
    parser.add_argument("--policy", default="observe")
    parser.add_argument("--loop", action="store_true", help="time the calls of asyncio's own event loop")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    up, through = _free(), _free()
    times, control = (LoopTimes(context, wanted=options.loop) for _ in range(2))
    asked = (through, up, options.classifier, options.policy, times)
    upstream = context.Process(target=_run_upstream, name="upstream", args=(up,), daemon=True)
    proxy = context.Process(target=_run_proxy, name="proxy", args=asked)
    beside = context.Process(target=_run_control, name="control", args=(control,), daemon=True)
    _log_here()
    upstream.start()
    proxy.start()
    try:
        _wait(f"http://127.0.0.1:{through}/healthz")
        _wait(f"http://127.0.0.1:{up}/")
        times.show("calls on the proxy's event loop, starting")
        if options.loop:
            beside.start()

        def shown(when: str) -> None:
            times.show(f"calls on the proxy's event loop, {when}")
            control.show(f"the same work beside them, {when}")

        _measure(f"http://127.0.0.1:{up}", f"http://127.0.0.1:{through}", proxy.pid or 0, shown, options)
    finally:
        proxy.terminate()
        proxy.join()
        upstream.terminate()
        if beside.is_alive():
            beside.terminate()


def _measure(
    direct: str, proxy: str, pid: int, shown: Callable[[str], None], options: argparse.Namespace
) -> None:
    rate = options.streams / options.pace
    print(f"{options.streams} streams, {rate:.0f} tokens a second, {options.classifier}, {options.policy}")
    print(f"{'delay, ms':<16}" + "".join(f"{name:>10}" for name in ("p50", "p90", "p99", "most")))
    rows, wholes, used = [], [], processor(pid)
    for name, url in (("direct", direct), ("through", proxy)):
        delays, whole = asyncio.run(
            load(url, options.streams, options.tokens, options.pace, judging=url == proxy)
        )
        rows.append(_quantiles(name, delays))
        wholes.append(whole)
    print(f"{'added':<16}" + "".join(f"{value:>10.1f}" for value in rows[1] - rows[0]))
    each = 1e6 * (processor(pid) - used) / (options.streams * options.tokens)
    print(f"CPU time of the proxy, including judging: {each:.0f} µs per token")
    print(f"complete and not mixed up: {wholes[0]} and {wholes[1]} of {options.streams}")
    shown("with paced streams")
    if options.requests:
        _memory(proxy, pid, options.requests)
        shown("with as many streams as it could take")


def _memory(proxy: str, pid: int, requests: int) -> None:
    batch, done, shown = 100, 0, [f"0: {resident(pid):.0f}"]
    while done < requests:
        _, whole = asyncio.run(load(proxy, batch, 24, 0.0))
        if whole != batch:
            raise SystemExit(f"{batch - whole} of {batch} streams were incomplete")
        done += batch
        if done % max(batch, requests // 5 // batch * batch) == 0:
            shown.append(f"{done:,}: {resident(pid):.0f}")
    print("memory of the proxy by number of requests, MB: " + ", ".join(shown))


if __name__ == "__main__":
    main()
