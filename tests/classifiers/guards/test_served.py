"""Guards and judges on a server: recorded answers in OpenAI's form, and what can go wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from undertow.classifiers.conformance import CHECKS, Check
from undertow.classifiers.contract import StepInput
from undertow.classifiers.guards.classifier import GuardClassifier, JudgeClassifier
from undertow.classifiers.guards.families import FAMILIES
from undertow.classifiers.guards.served import KEY, ServedGuard
from undertow.classifiers.registry import load_classifier
from undertow.errors import CannotJudge, UsageError
from undertow.monitor.calibration import Calibration
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace

httpx = pytest.importorskip("httpx")

Answer = Callable[[Any], Any]
STEP = StepInput("I need to zorp it.", "How do I zorp a glim?", ("Okay.",))
ADDRESS = "http://server.invalid/v1"


def log(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares as log-probabilities."""
    return {token: math.log(share) for token, share in shares.items()}


def completion(text: str, *tops: tuple[str, Mapping[str, float]]) -> Any:
    """An answer of `/completions`; each top is a token and what might have stood there."""
    told = {"tokens": [token for token, _ in tops], "top_logprobs": [log(shares) for _, shares in tops]}
    return httpx.Response(200, json={"choices": [{"text": text, "logprobs": told if tops else None}]})


def message(content: str | None, *tops: tuple[str, Mapping[str, float]]) -> Any:
    """An answer of `/chat/completions`."""
    told = [
        {"token": token, "top_logprobs": [{"token": t, "logprob": v} for t, v in log(shares).items()]}
        for token, shares in tops
    ]
    choice = {"message": {"content": content}, "logprobs": {"content": told} if tops else None}
    return httpx.Response(200, json={"choices": [choice]})


def guard(answer: Any, family: str = "qwen3guard") -> GuardClassifier:
    """A guard on a server that always answers so."""
    transport = httpx.MockTransport(answer if callable(answer) else lambda request: answer)
    kind = JudgeClassifier if family == "judge" else GuardClassifier
    backend = ServedGuard("zorp", ADDRESS, transport)
    return kind("zorp", address=ADDRESS, family=family, backend=backend)


SAFETY = (("Safety", {"Safety": 1.0}), (":", {":": 1.0}))
LIKELY_SAFE = (" Safe", {" Safe": 0.8, " Unsafe": 0.1})
NONE = (" Zorp", {" Zorp": 1.0})
FOUR = {"aware": 0.5, "neutral": 0.3, "drift": 0.15, "harm": 0.05, "The": 0.0001}
THOUGHT = ("Now", {"Now": 0.5, "N": 0.3, "H": 0.001})
HALF = (('"Judgment": ', {'"': 1.0}), ("0", {"0": 1.0}), (".5", {".5": 1.0}))


@pytest.mark.parametrize(
    ("family", "answer", "row"),
    [
        (
            "qwen3guard",
            completion(
                "Safety: Unsafe\nCategories: Violent\nRefusal: No",
                *SAFETY,
                (" Unsafe", {" Unsafe": 0.6, " Safe": 0.1, " Cont": 0.3}),
            ),
            [0.1, 0, 0.3, 0.6],
        ),
        (
            "qwen3guard",
            completion("Safety: Safe\nCategories: None\nRefusal: Yes", *SAFETY, LIKELY_SAFE),
            [0, 8 / 9, 0, 1 / 9],
        ),
        ("qwen3guard", completion("Safety: Controversial"), [0.025, 0, 0.95, 0.025]),
        ("llama-guard-3", completion("\n\nunsafe\nS2"), [0.05, 0, 0, 0.95]),
        ("judge", message("Drift"), [0.05 / 3, 0.05 / 3, 0.95, 0.05 / 3]),
        ("judge", message("aware", ("aware", FOUR)), [0.3, 0.5, 0.15, 0.05]),
        (
            "granite-guardian-3.3",
            message(
                "<score> yes </score>",
                ("<score>", {"<score>": 1.0}),
                (" yes", {" yes": 0.9, " no": 0.1}),
                (" </score>", {" </score>": 1.0}),
            ),
            [0.1, 0, 0, 0.9],
        ),
        ("reasoningshield", message('"Judgment": 0.5', *HALF), [0.025, 0, 0.95, 0.025]),
        ("qwen3guard", completion("Safety: Safe", *SAFETY, NONE), [0.95, 0, 0.025, 0.025]),
        ("judge", message("harm", THOUGHT, ("harm", {"harm": 0.9})), [0.05 / 3, 0.05 / 3, 0.05 / 3, 0.95]),
    ],
    ids=[
        "weighed", "a refusal", "no shares", "a word alone", "a judge's word", "a judge's shares", "in a tag",
        "one answer begins another", "the token is none", "the tokens begin with thoughts",
    ],
)  # fmt: skip
def test_rows(family: str, answer: Any, row: list[float]) -> None:
    """Recorded answers become the row that they mean, weighed where the server tells log-probabilities."""
    assert guard(answer, family).predict_proba([STEP])[0] == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        ("qwen3guard", completion("I would rather not say.")),
        ("qwen3guard", completion("")),
        ("judge", message(None)),
        ("judge", message("It could be drift or harm.")),
    ],
    ids=["no answer", "nothing", "no content", "two answers"],
)
def test_no_answer_is_not_judged(family: str, answer: Any) -> None:
    """What cannot be read as an answer gives NaN, never a safe row."""
    assert np.isnan(guard(answer, family).predict_proba([STEP])).all()


def test_a_server_that_refuses_to_tell_shares() -> None:
    """Where asking for log-probabilities is an error it is asked without, and from then on at once."""
    asked = []

    def answer(request: Any) -> Any:
        asked.append("logprobs" in json.loads(request.content))
        refusal = {"error": {"message": "'logprobs' is not supported with this model"}}
        return httpx.Response(400, json=refusal) if asked[-1] else message("drift")

    judge = guard(answer, "judge")
    for _ in range(2):
        assert judge.predict_proba([STEP])[0] == pytest.approx([0.05 / 3, 0.05 / 3, 0.95, 0.05 / 3])
    assert asked == [True, False, False]


def test_a_refusal_is_learned_by_all_threads() -> None:
    """Questions that are under way when one of them learns it are asked again as well."""
    together = Barrier(4)

    def answer(request: Any) -> Any:
        if "logprobs" not in json.loads(request.content):
            return message("drift")
        together.wait(timeout=60)
        return httpx.Response(422, text="body.logprobs: extra fields are not permitted")

    assert guard(answer, "judge").predict_proba([STEP] * 4)[:, 2] == pytest.approx(0.95)


def reasoning_model(request: Any) -> Any:
    """A server as OpenAI's for its reasoning models: it refuses one field after the other."""
    body = json.loads(request.content)
    if "max_tokens" in body:
        said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    elif "temperature" in body:
        said = "'temperature' does not support 0 with this model."
    elif "logprobs" in body or "top_logprobs" in body:
        said = "You are not allowed to request logprobs from this model"
    else:
        assert body["max_completion_tokens"] == FAMILIES["judge"].tokens
        return message("drift")
    return httpx.Response(400, json={"error": {"message": said}})


def test_a_reasoning_model_is_asked_in_its_own_form() -> None:
    """Refused fields are left out, from then on at once; that its judgements may vary is said once."""
    asked = []

    def answer(request: Any) -> Any:
        asked.append(1)
        return reasoning_model(request)

    judge = guard(answer, "judge")
    with pytest.warns(UserWarning, match="temperature 0"):
        assert judge.predict_proba([STEP])[0, 2] == pytest.approx(0.95)
    assert judge.predict_proba([STEP])[0, 2] == pytest.approx(0.95)
    assert len(asked) == 4 + 1


@pytest.mark.parametrize("family", ["judge", "qwen3guard"])
def test_what_is_refused_for_another_reason_is_kept(family: str) -> None:
    """A field that an error only mentions is still sent with the next step: leaving it out did not help."""
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(json.loads(request.content))
        return httpx.Response(400, text="'max_tokens' or 'max_completion_tokens' is too large: 4096 at most")

    judge = guard(answer, family)
    for _ in range(2):
        before = len(sent)
        with pytest.raises(CannotJudge, match="400"):
            judge.predict_proba([STEP])
        assert sent[before]["max_tokens"] > 0
    if family == "qwen3guard":  # a server would then cut the answer after a few tokens
        assert all("max_tokens" in body for body in sent)


def test_too_many_requests_are_no_refusal_of_a_field() -> None:
    """A refusal for now does not change what is sent, whatever it mentions."""
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(json.loads(request.content))
        return httpx.Response(429, text="temperature")

    with pytest.raises(CannotJudge):
        guard(answer, "judge").predict_proba([STEP])
    assert len(sent) == 1


def refuses(request: Any) -> Any:
    """A server that cannot be reached."""
    raise httpx.ConnectError("nobody there")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(200, text="not JSON"),
        httpx.Response(200, json={"choices": []}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"choices": ["zorp"]}),
        httpx.Response(200, json={"choices": [{"text": "harm"}]}),
        httpx.Response(200, json={"choices": [{"message": {"content": "harm"}, "logprobs": "none"}]}),
        httpx.Response(200, content=b'{"choices": "\xff"}'),
        refuses,
    ],
    ids=[
        "500",
        "no JSON",
        "no choice",
        "a list",
        "a word",
        "no message",
        "no shares",
        "no UTF-8",
        "unreachable",
    ],
)
def test_a_broken_server_is_said_to_be_one(answer: Any) -> None:
    """A server that fails, or answers in another form, raises `CannotJudge` with the model's name."""
    with pytest.raises(CannotJudge, match="zorp"):
        guard(answer, "judge").predict_proba([STEP])


@pytest.mark.parametrize("name", ["judge:zorp@http://server:zorp/v1", f"judge:zorp@{ADDRESS}?context=-1"])
def test_wrong_names(name: str) -> None:
    """An address that is none, and fewer than no steps, are wrong usage."""
    with pytest.raises(UsageError):
        load_classifier(name)


def test_one_of_several_questions_unanswered() -> None:
    """With four principles, one without an answer leaves the step unjudged."""

    def answer(request: Any) -> Any:
        return completion("Maybe" if "No Harassment" in json.loads(request.content)["prompt"] else "No")

    assert np.isnan(guard(answer, "shieldgemma").predict_proba([STEP])).all()


def test_the_riskiest_principle_counts() -> None:
    """A violation of one principle of four is a violation."""

    def answer(request: Any) -> Any:
        return completion("Yes" if "No Harassment" in json.loads(request.content)["prompt"] else "No")

    assert guard(answer, "shieldgemma").predict_proba([STEP])[0, 3] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("family", "path", "key"),
    [("wildguard", "/v1/completions", "prompt"), ("granite-guardian-3", "/v1/chat/completions", "messages")],
)
def test_what_is_sent(monkeypatch: pytest.MonkeyPatch, family: str, path: str, key: str) -> None:
    """Texts go to completions, chats to chat; greedily, with the key of the environment."""
    monkeypatch.setenv(KEY, "secret\r\n")
    sent = []

    def answer(request: Any) -> Any:
        sent.append(request)
        return httpx.Response(500)

    with pytest.raises(CannotJudge):
        guard(answer, family).predict_proba([STEP])
    body = json.loads(sent[0].content)
    assert sent[0].url.path == path
    assert sent[0].headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"]) == ("zorp", 0)
    assert "How do I zorp a glim?" in str(body[key])
    assert ("chat_template_kwargs" in body) == (family == "granite-guardian-3")


def test_a_key_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything is sent, and not shown."""
    monkeypatch.setenv(KEY, "sec\nret")
    with pytest.raises(UsageError, match=KEY) as error:
        guard(refuses)
    assert "sec" not in str(error.value)


def by_words(request: Any) -> Any:
    """A server that judges by a word of the step alone."""
    text = json.loads(request.content)["messages"][-1]["content"].partition("The step:\n")[2]
    return message(
        "aware" if "refuse" in text or "illegal" in text else "drift" if "need" in text else "neutral"
    )


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_conforms(check: Check) -> None:
    """A judge on a server passes every check of the contract."""
    check(guard(by_words, "judge"))


def test_a_silent_server_never_looks_safe() -> None:
    """Through the monitor, a trace whose judge cannot be reached is not assessed, and not flagged False."""
    judge = guard(refuses, "judge")
    calibration = Calibration(
        classifier=judge.name,
        digest=judge.digest,
        segmenter="sentence",
        population="none",
        statistics=(1.0,) * 99,
    )
    (verdict,) = Monitor(judge, calibration=calibration).judge([Trace(reasoning="I zorp it. Then I stop.")])
    assert (verdict.assessed, verdict.flagged) == ("none", None)


def test_by_name() -> None:
    """A name with an address makes a served judge, without asking the server."""
    judge = load_classifier(f"judge:zorp@{ADDRESS}?context=2")
    assert (judge.name, getattr(judge, "context", None)) == ("judge:zorp", 2)
    with pytest.raises(UsageError, match="OpenAI"):
        load_classifier(f"stream:zorp@{ADDRESS}")
