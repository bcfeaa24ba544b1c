"""A real HTTP server that replays reasoning in the dialects of the APIs, cut at awkward places.

The model's name says what is wanted: `TALE/SHAPE`, and `TALE/SHAPE/FAULT` for a stream that goes
wrong. Tales are ours and harmless; a step marked `[drift]` is flagged by the scripted classifier.
"""

from __future__ import annotations

import json
import random
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

__all__ = ["APIS", "ENCRYPTED", "SHAPES", "TALES", "Replay", "Tale", "replaying"]

Json = dict[str, Any]

ENCRYPTED = "gAAAAABo-not-readable"


@dataclass(frozen=True)
class Tale:
    """What the model says."""

    reasoning: str
    answer: str
    calls: bool = False
    """Whether it calls a tool at the end."""
    longest: int = 9
    """Characters in a delta, at most."""

    def cut(self, text: str) -> list[str]:
        """Cut a text at places that have nothing to do with its words or tags."""
        dice, parts = random.Random(text), []
        while text:
            parts.append(text[: dice.randint(1, self.longest)])
            text = text[len(parts[-1]) :]
        return parts


_CALM = "[neutral] The user asks for a cake. [aware] Nuts may harm a guest: ask. [neutral] A plan is made."
_TURN = "[neutral] The user asks for zorp. [drift] I will help to hide the zorp. [harm] The zorp goes below."
TALES: Mapping[str, Tale] = {
    "calm": Tale(_CALM, "[neutral] Take flour, eggs and sugar. [neutral] Bake for an hour."),
    "turn": Tale(_TURN, "[neutral] I cannot help with that."),
    "late": Tale(_CALM, "[neutral] Here it is. [harm] Put the zorp in the cake. [neutral] Enjoy."),
    "tool": Tale(_CALM, "[neutral] Let me look it up.", calls=True),
    "turntool": Tale(_TURN, "[neutral] Let me look it up.", calls=True),
    "broken": Tale(
        "[neutral] A start. [crash] The classifier fails here. [neutral] On it goes.", "[neutral] Done."
    ),
}
SHAPES = ("reasoning_content", "reasoning", "details", "tags", "lone", "together", "parts")
"""How chat completions hold the reasoning; `lone` lacks the opening tag."""

_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"what": "cake"}'}}


@dataclass
class Replay:
    """A running server."""

    url: str
    requests: list[Json] = field(default_factory=list)
    """The bodies of the requests so far."""
    tales: dict[str, Tale] = field(default_factory=lambda: dict(TALES))
    cut: list[str] = field(default_factory=list)
    """The models whose client went away in mid-stream."""

    def was_left(self, model: str) -> bool:
        """Whether a client of a model went away; waited for, as a server sees it late, and told once."""
        for _ in range(1000):
            if model in self.cut:
                self.cut.remove(model)
                return True
            time.sleep(0.01)
        return False


@contextmanager
def replaying() -> Iterator[Replay]:
    """Run a server on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    replay = Replay(f"http://127.0.0.1:{server.server_port}")
    server.replay = replay  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield replay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for a late acknowledgement

    def do_POST(self) -> None:
        """Answer one request."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        replay: Replay = self.server.replay  # type: ignore[attr-defined]
        replay.requests.append(asked)
        tale, shape, fault = [*asked["model"].split("/"), "", ""][:3]
        api = APIS[self.path.split("?")[0].rpartition("/")[2]](replay.tales[tale], shape, asked)
        if not asked.get("stream"):
            self._send(json.dumps(api.whole()).encode())
            return
        self._start("text/event-stream", "transfer-encoding", "chunked")
        try:
            self._stream(api, fault)
        except (BrokenPipeError, ConnectionResetError):
            replay.cut.append(asked["model"])
            self.close_connection = True

    def _stream(self, api: _Api, fault: str) -> None:
        events = list(api.events())
        for number, event in enumerate(events):
            if fault == "error" and number == len(events) // 2:
                self._chunk(api.error())
                break
            if fault == "disconnect" and number == len(events) // 2:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            waits = fault == "wait" and number == len(events) - 4
            if waits and select.select([self.connection], [], [], 5)[0]:
                raise BrokenPipeError  # the client has gone; else it clearly stays
            self._chunk(event)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _start(self, kind: str, name: str, value: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes) -> None:
        self._start("application/json", "content-length", str(len(body)))
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _event(payload: Json, *, named: bool = False) -> bytes:
    name = f"event: {payload['type']}\n" if named else ""
    return f"{name}data: {json.dumps(payload)}\n\n".encode()


class _Api(ABC):
    def __init__(self, tale: Tale, shape: str, asked: Json) -> None:
        self.tale, self.shape, self.asked = tale, shape, asked

    @abstractmethod
    def whole(self) -> Json: ...

    @abstractmethod
    def events(self) -> Iterator[bytes]: ...

    def error(self) -> bytes:
        return _event({"error": {"message": "the model fell over", "type": "server_error", "code": 500}})


class _Chat(_Api):
    @property
    def head(self) -> Json:
        return {"id": "chat-1", "created": 1, "model": self.asked["model"]}

    def whole(self) -> Json:
        choices = [
            {"index": i, "message": self._message(), "finish_reason": self._finish, "logprobs": None}
            for i in range(self.asked.get("n") or 1)
        ]
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        return {**self.head, "object": "chat.completion", "choices": choices, "usage": usage}

    @property
    def _finish(self) -> str:
        return "tool_calls" if self.tale.calls else "stop"

    def _message(self) -> Json:
        shown = self._shown(self.tale.reasoning, self.tale.answer)
        calls = {"tool_calls": [_CALL]} if self.tale.calls else {}
        return {"role": "assistant", "content": "", **shown, **calls}

    def _shown(self, reasoning: str, answer: str) -> Json:
        """Return the fields that hold a text of each channel; an empty text has no field."""
        fields: dict[str, Json] = {
            "reasoning_content": {"reasoning_content": reasoning},
            "reasoning": {"reasoning": reasoning},
            "together": {"reasoning_content": reasoning},
            "details": {
                "reasoning": reasoning,
                "reasoning_details": [{"type": "reasoning.text", "text": reasoning, "index": 0}],
            },
        }
        if self.shape in fields:
            shown: Json = fields[self.shape] if reasoning else {}
            return shown | ({"content": answer} if answer else {})
        if self.shape == "parts":
            thought = (
                [{"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]}] if reasoning else []
            )
            return {"content": thought + ([{"type": "text", "text": answer}] if answer else [])}
        opening = "<think>" if self.shape == "tags" else ""
        return {"content": f"{opening}{reasoning}</think>{answer}"}

    def events(self) -> Iterator[bytes]:
        yield b": keep-alive\n\n"
        choices = range(self.asked.get("n") or 1)
        for i in choices:
            yield self._delta({"role": "assistant", "content": ""}, i)
        for number, delta in enumerate(self._deltas()):
            if number % 7 == 3:
                yield b": OPENROUTER PROCESSING\n\n"
            for i in choices:
                yield self._delta(delta, i)
        if self.tale.calls:
            first = {**_CALL, "index": 0, "function": {"name": "look", "arguments": '{"what": '}}
            yield self._delta({"tool_calls": [first]}, 0)
            yield self._delta({"tool_calls": [{"index": 0, "function": {"arguments": '"cake"}'}}]}, 0)
        for i in choices:
            yield self._delta({}, i, self._finish)
        if (self.asked.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
            yield _event({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _deltas(self) -> Iterator[Json]:
        reasoning, answer = self.tale.cut(self.tale.reasoning), self.tale.cut(self.tale.answer)
        if self.shape in ("tags", "lone"):
            whole = self._shown(self.tale.reasoning, self.tale.answer)["content"]
            yield from ({"content": part} for part in self.tale.cut(whole))
            return
        if self.shape == "together":
            yield from (self._shown(part, "") for part in reasoning[:-1])
            yield self._shown(reasoning[-1], answer.pop(0))
            reasoning = []
        yield from (self._shown(part, "") for part in reasoning)
        yield from (self._shown("", part) for part in answer)

    def _delta(self, delta: Json, index: int, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({**self.head, "object": "chat.completion.chunk", "choices": [choice]})


class _Responses(_Api):
    def _items(self) -> list[Json]:
        part = {"type": "reasoning_text", "text": self.tale.reasoning}
        reasoning: Json = {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [],
            "content": [part],
            "status": "completed",
        }
        if self.shape == "summary":
            summary = {"type": "summary_text", "text": self.tale.reasoning}
            reasoning = {
                "id": "rs_1",
                "type": "reasoning",
                "summary": [summary],
                "encrypted_content": ENCRYPTED,
            }
        elif self.shape == "encrypted":
            reasoning = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": ENCRYPTED}
        text = {"type": "output_text", "text": self.tale.answer, "annotations": []}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }
        call = {"id": "fc_1", "call_id": "call_1", "type": "function_call", "status": "completed"}
        calls = [call | _CALL["function"]] if self.tale.calls else []  # type: ignore[operator]
        return [reasoning, message, *calls]

    def whole(self) -> Json:
        fixed = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None}
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": self.asked["model"]}
        return {**head, "status": "completed", "output": self._items(), "incomplete_details": None, **fixed}

    def events(self) -> Iterator[bytes]:
        yield b": keep-alive\n\n"
        for number, payload in enumerate(self._payloads()):
            yield _event({**payload, "sequence_number": number}, named=True)

    def _payloads(self) -> Iterator[Json]:
        whole = self.whole()
        begun = {**whole, "status": "in_progress", "output": []}
        yield {"type": "response.created", "response": begun}
        for where, item in enumerate(whole["output"]):
            empty = {name: [] if isinstance(value, list) else value for name, value in item.items()}
            empty |= {"arguments": ""} if "arguments" in item else {}
            yield {"type": "response.output_item.added", "output_index": where, "item": empty}
            for name in ("summary", "content"):
                for part in item.get(name, ()):
                    yield from self._part(item, where, part)
            if item["type"] == "function_call":
                at = {"output_index": where, "item_id": item["id"]}
                arguments = item["arguments"]
                yield {"type": "response.function_call_arguments.delta", **at, "delta": arguments}
                yield {
                    "type": "response.function_call_arguments.done",
                    **at,
                    "arguments": arguments,
                    "name": "look",
                }
            yield {"type": "response.output_item.done", "output_index": where, "item": item}
        yield {"type": "response.completed", "response": whole}

    def _part(self, item: Json, where: int, part: Json) -> Iterator[Json]:
        kind = "reasoning_summary_text" if part["type"] == "summary_text" else part["type"]
        index = "summary_index" if part["type"] == "summary_text" else "content_index"
        at = {"item_id": item["id"], "output_index": where, index: 0}
        more: Json = {"logprobs": []} if kind == "output_text" else {}
        added = "reasoning_summary_part" if part["type"] == "summary_text" else "content_part"
        yield {"type": f"response.{added}.added", **at, "part": {**part, "text": ""}}
        for delta in self.tale.cut(part["text"]):
            yield {"type": f"response.{kind}.delta", **at, "delta": delta, **more}
        yield {"type": f"response.{kind}.done", **at, "text": part["text"], **more}
        yield {"type": f"response.{added}.done", **at, "part": part}

    def error(self) -> bytes:
        problem = {"code": "server_error", "message": "the model fell over", "param": None}
        return _event({"type": "error", **problem, "sequence_number": 9}, named=True)


class _Messages(_Api):
    def _blocks(self) -> list[Json]:
        thought: Json = {"type": "thinking", "thinking": self.tale.reasoning, "signature": "c2lnbmVk"}
        if self.shape == "redacted":
            thought = {"type": "redacted_thinking", "data": ENCRYPTED}
        use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"what": "cake"}}
        return [thought, {"type": "text", "text": self.tale.answer}, *([use] if self.tale.calls else [])]

    @property
    def _stop(self) -> str:
        return "tool_use" if self.tale.calls else "end_turn"

    def whole(self) -> Json:
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.asked["model"]}
        usage = {"input_tokens": 1, "output_tokens": 2}
        end = {"stop_reason": self._stop, "stop_sequence": None, "usage": usage}
        return {**head, "content": self._blocks(), **end}

    def events(self) -> Iterator[bytes]:
        start = {**self.whole(), "content": [], "stop_reason": None}
        yield _event({"type": "message_start", "message": start}, named=True)
        yield _event({"type": "ping"}, named=True)
        for index, block in enumerate(self._blocks()):
            for payload in self._events_of(block):
                yield _event({**payload, "index": index}, named=True)
        end = {"stop_reason": self._stop, "stop_sequence": None}
        yield _event({"type": "message_delta", "delta": end, "usage": {"output_tokens": 2}}, named=True)
        yield _event({"type": "message_stop"}, named=True)

    def _events_of(self, block: Json) -> Iterator[Json]:
        blank = {"thinking": "", "text": "", "signature": "", "input": {}}
        empty = {name: blank.get(name, value) for name, value in block.items()}
        yield {"type": "content_block_start", "content_block": empty}
        for name in ("thinking", "text"):
            for part in self.tale.cut(block.get(name, "")):
                yield {"type": "content_block_delta", "delta": {"type": f"{name}_delta", name: part}}
        if "signature" in block:
            signed = {"type": "signature_delta", "signature": block["signature"]}
            yield {"type": "content_block_delta", "delta": signed}
        if "input" in block:
            given = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield {"type": "content_block_delta", "delta": given}
        yield {"type": "content_block_stop"}

    def error(self) -> bytes:
        problem = {"type": "overloaded_error", "message": "the model fell over"}
        return _event({"type": "error", "error": problem}, named=True)


APIS: Mapping[str, type[_Api]] = {"completions": _Chat, "responses": _Responses, "messages": _Messages}
