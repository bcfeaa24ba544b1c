"""Exports of tracing and evaluation tools, made with the tools' own types, are read back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID

import pytest

from undertow.monitor.audit import read
from undertow.monitor.trace import Trace, Unreadable

Jsonl = Callable[..., Path]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = [{"role": "user", "content": "old"}, {"role": "assistant", "content": "not judged here"},
         {"role": "user", "content": "P"}]  # fmt: skip
SAID = {"role": "assistant", "content": "A", "reasoning_content": "R"}
NUMBER = UUID(int=7)


def litellm(**fields: Any) -> dict[str, Any]:
    """Make a logged call with the fields that LiteLLM's payload has."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or importing it asks the network
    from litellm.types.utils import ModelResponse, StandardLoggingPayload

    reply: Any = ModelResponse(
        id="c", model="m", choices=[{"index": 0, "finish_reason": "stop", "message": SAID}]
    )
    row = {
        "id": "l",
        "trace_id": "t",
        "litellm_call_id": "k",
        "call_type": "acompletion",
        "status": "success",
        "custom_llm_provider": "deepseek",
        "model": "m",
        "messages": ASKED,
        "response": reply.model_dump(mode="json", exclude_none=True),
        **fields,
    }
    assert set(row) <= set(get_type_hints(StandardLoggingPayload))
    return row


def observation(**fields: Any) -> dict[str, Any]:
    """Make an observation with Langfuse's SDK, and save it under the names that its API uses."""
    from langfuse.api import ObservationV2

    made = ObservationV2(
        id="o", trace_id="t", project_id="p", start_time=NOW,
        **{"type": "GENERATION", "model": "m", "input": ASKED, "output": SAID, **fields},
    )  # fmt: skip
    row = json.loads(made.json(by_alias=True, exclude_none=True))
    assert isinstance(row, dict)
    return row


def run(**fields: Any) -> dict[str, Any]:
    """Make a run with LangSmith's SDK."""
    from langsmith.schemas import Run

    made = {
        "id": NUMBER, "trace_id": NUMBER, "dotted_order": f"20260101T000000000000Z{NUMBER}", "name": "n",
        "start_time": NOW, "run_type": "llm", "inputs": {"messages": ASKED},
        "outputs": {"choices": [{"message": SAID}]}, "extra": {"metadata": {"ls_model_name": "m"}},
    }  # fmt: skip
    row = json.loads(Run(**{**made, **fields}).model_dump_json())
    assert isinstance(row, dict)
    return row


def langchain_outputs() -> dict[str, Any]:
    """Make the outputs that LangChain's tracer gives a run: serialised messages, by the batch."""
    from langchain_core.load import dumpd
    from langchain_core.messages import AIMessage, HumanMessage

    said = AIMessage(content="A", additional_kwargs={"reasoning_content": "R"})
    return {
        "inputs": {"messages": [[dumpd(HumanMessage(content="P"))]]},
        "outputs": {"generations": [[{"text": "A", "type": "ChatGeneration", "message": dumpd(said)}]]},
    }


PARTS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.input.messages": json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": "P"}]}],
    ),
    "gen_ai.output.messages": json.dumps(
        [{"role": "assistant", "finish_reason": "stop",
          "parts": [{"type": "reasoning", "content": "R"}, {"type": "text", "content": "A"}]}],
    ),
}  # fmt: skip


def span(attributes: Mapping[str, Any]) -> Any:
    """Record a span with OpenTelemetry's SDK."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("t").start_as_current_span("chat m", attributes=dict(attributes)):
        pass
    (made,) = exporter.get_finished_spans()
    return made


def printed_span(attributes: Mapping[str, Any] = PARTS) -> dict[str, Any]:
    """Save a span as the SDK prints it."""
    row = json.loads(span(attributes).to_json())
    assert isinstance(row, dict)
    return row


def otlp() -> dict[str, Any]:
    """Save a batch of spans as OTLP in JSON."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return dict(MessageToDict(encode_spans([span(PARTS), span({"other": 1})])))


ROWS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "litellm": ("litellm", litellm),
    "langfuse": ("langfuse", observation),
    "langfuse, text": ("langfuse", lambda: observation(input="P", output="<think>R</think>A")),
    "langfuse, JSON within": (
        "langfuse",
        lambda: observation(input=json.dumps(ASKED), output=json.dumps(SAID)),
    ),
    "langfuse, trace": ("langfuse", lambda: {"id": "t", "observations": [observation()]}),
    "langsmith": ("langsmith", run),
    "langsmith, LangChain": ("langsmith", lambda: run(**langchain_outputs())),
    "langsmith, below": ("langsmith", lambda: run(run_type="chain", outputs={}) | {"child_runs": [run()]}),
    "otel, printed": ("otel", printed_span),
    "otel, OTLP": ("otel", otlp),
}


@pytest.mark.parametrize("case", ROWS)
def test_round_trip(jsonl: Jsonl, case: str) -> None:
    """Each export gives the reply of its one call, in the light of the last request; no earlier turn."""
    name, make = ROWS[case]
    (found,) = read(jsonl(make()))
    assert isinstance(found, Trace)
    assert found.origin.format == name
    assert (found.prompt, found.reasoning, found.answer, found.model) == ("P", "R", "A", "m")
    assert found.caveat is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: litellm(status="failure", response=None), "no_assistant_turn"),
        (lambda: observation(type="SPAN"), "no_assistant_turn"),
        (lambda: observation(output=None, input="P"), "no_assistant_turn"),
        (lambda: run(run_type="tool"), "no_assistant_turn"),
        (lambda: run(outputs=None), "no_assistant_turn"),
        (lambda: printed_span({"gen_ai.operation.name": "chat"}), "no_text"),
        (lambda: printed_span({"gen_ai.operation.name": "embeddings"}), "no_assistant_turn"),
    ],
    ids=["failed call", "span", "no output", "tool", "no outputs", "no messages", "embeddings"],
)
def test_what_holds_no_reply_is_a_record(
    jsonl: Jsonl, make: Callable[[], dict[str, Any]], reason: str
) -> None:
    """Spans of other work, failed calls and calls saved without their text are counted, never left out."""
    (found,) = read(jsonl(make()))
    assert isinstance(found, Unreadable)
    assert found.problem.reason == reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: printed_span(
            PARTS | {"gen_ai.usage.reasoning.output_tokens": 9, "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": "A"}]}])}),
        lambda: observation(output="A", usage_details={"output_reasoning_tokens": 9}),
        lambda: run(outputs={"choices": [{"message": {"role": "assistant", "content": "A"}}],
                             "usage_metadata": {"output_token_details": {"reasoning": 9}}}),
        lambda: {"call_type": "responses", "request_id": "x", "spend": 0.1, "response": json.dumps(
            {"object": "response", "usage": {"output_tokens_details": {"reasoning_tokens": 9}}, "output": [
                {"type": "message", "content": [{"type": "output_text", "text": "A"}]}]})},
    ],
    ids=["otel", "langfuse", "langsmith", "litellm, JSON within"],
)  # fmt: skip
def test_reasoning_that_was_counted_but_not_saved(jsonl: Jsonl, make: Callable[[], dict[str, Any]]) -> None:
    """Where the tokens say that the model reasoned and the log has none of it, the trace says so."""
    (found,) = read(jsonl(make()))
    assert isinstance(found, Trace)
    assert found.caveat is not None
    assert (found.caveat.reason, found.answer) == ("reasoning_stripped", "A")


def test_calls_in_one_row_have_places_of_their_own(jsonl: Jsonl) -> None:
    """Of a trace with several generations each has its turn, so that a verdict finds it again."""
    found = list(
        read(jsonl({"id": "t", "observations": [observation(), observation(type="SPAN"), observation()]}))
    )
    assert [record.origin.turn for record in found] == [0, 1]


def sample(**fields: Any) -> dict[str, Any]:
    """Make a sample as lm-evaluation-harness saves it (its EvaluationTracker.save_results_samples)."""
    return {
        "doc_id": 3, "doc": {"question": "q"}, "target": "A", "filter": "none", "metrics": ["exact_match"],
        "arguments": {"gen_args_0": {"arg_0": "P", "arg_1": {"until": ["\n\n"], "do_sample": False}}},
        "resps": [["<think>R</think>A"]], "filtered_resps": ["A"],
        "doc_hash": "d", "prompt_hash": "p", "target_hash": "t", **fields,
    }  # fmt: skip


def results(folder: Path, **saved: Any) -> None:
    """Save what the harness saves beside its samples."""
    (folder / "results_2026-01-01T00-00-00.123456.json").write_text(json.dumps(saved))


LM_EVAL = "samples_zorp_2026-01-01T00-00-00.123456.jsonl"


@pytest.mark.parametrize(
    ("row", "saved", "reason", "reasoning"),
    [
        (sample(), {}, None, "R"),
        (sample(arguments=[["P", {"until": []}]]), {}, None, "R"),
        (sample(arguments={"g": {"arg_0": [json.dumps([ASKED[2]])]}}), {}, None, "R"),
        (sample(resps=[["A"]]), {"config": {"model_args": "pretrained=m,think_end_token=</think>"}},
         "reasoning_stripped", None),
        (sample(resps=[["A"]]), {"config": {"model_args": {"think_end_token": "</think>"}}},
         "reasoning_stripped", None),
        (sample(resps=[["A"]]), {"config": {"model_args": {"think_end_token": None}}}, None, None),
        (sample(resps=[["A"]]), {"model_name": "deepseek-ai/DeepSeek-R1"}, "reasoning_stripped", None),
        (sample(resps=[["A"]]), {"model_name": "gpt2"}, None, None),
    ],
    ids=[
        "tags", "older arguments", "chat arguments", "cut, text", "cut, object", "not cut", "reasons",
        "does not",
    ],
)  # fmt: skip
def test_lm_eval(
    jsonl: Jsonl,
    row: dict[str, Any],
    saved: dict[str, Any],
    reason: str | None,
    reasoning: str | None,
) -> None:
    """A sample is read as the model gave it; that its reasoning was cut off is told by the run's results."""
    path = jsonl(row, name=LM_EVAL)
    results(path.parent, **saved)
    (found,) = read(path)
    assert isinstance(found, Trace)
    assert (found.id, found.prompt, found.reasoning, found.answer) == ("3", "P", reasoning, "A")
    assert (found.caveat and found.caveat.reason) == reason


def test_lm_eval_without_text(jsonl: Jsonl) -> None:
    """A task of likelihoods has no text to judge, and says so."""
    (found,) = read(jsonl(sample(resps=[[["-1.5", "False"]], [["-2.5", "True"]]])))
    assert isinstance(found, Unreadable)
    assert found.problem.reason == "no_text"


def test_lm_eval_repeats(jsonl: Jsonl) -> None:
    """Each of several replies to one document is a trace."""
    found = list(read(jsonl(sample(resps=[["<think>R</think>A", "<think>S</think>B"]]))))
    assert [record.id for record in found] == ["3#0", "3#1"]
    assert [record.reasoning for record in found if isinstance(record, Trace)] == ["R", "S"]
