"""Ask a guard or a judge on an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a hosted model.

Texts go to `/completions` exactly as the model reads them, chats to `/chat/completions`. If the server
returns log-probabilities, the answers are weighed by them; otherwise only the word is known.

Some models refuse fields that others need: log-probabilities (Groq, OpenAI), `max_tokens` and a temperature
of 0 (OpenAI's reasoning models). Such a request is repeated without the field.

A server does not say which weights it holds, so the digest identifies only the name of the model.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import CannotJudge, MissingExtra, UsageError, first_line
from .family import Chat, Family, Heard, Prompt, Spoken, only

__all__ = ["KEY", "ServedGuard"]

KEY = "UNDERTOW_JUDGE_KEY"
"""The environment variable that holds the API key, if the server needs one."""

PARALLEL = 8
SECONDS = 120.0
"""The timeout of each network operation of a request, in seconds."""

_REFUSABLE = {"max_tokens": "max_completion_tokens", "logprobs": "logprobs", "temperature": "temperature"}
"""Each field that a model may refuse → the word in a response that tells so; the least useful field first."""

_NOW = 429
"""The status that refuses a request for now, not for a field."""

_WRONG = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""The errors that a response can cause that is not JSON or has an unexpected form."""

Top = tuple[str, Mapping[str, float]]
"""A token of the output, and the log-probabilities of the likeliest tokens at its place."""


class ServedGuard:
    """A model on a server.

    Args:
        place: the name that the server gives the model.
        address: the base URL, such as `http://localhost:8000/v1`.
        transport: another httpx transport, for tests.

    Raises:
        MissingExtra: if httpx is not installed.
        UsageError: if the address or the key is not valid.
    """

    parallel = PARALLEL
    chats = True

    def __init__(self, place: str, address: str, transport: Any = None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra(f"asking {place} on a server", "judge") from error
        key = os.environ.get(KEY, "").strip()  # a key read from a file may end with a line end
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{KEY} contains line breaks or non-ASCII characters, which no API key has")
        self.identity = f"served:{place}"
        self._refused: frozenset[str] = frozenset()
        self._place = place
        try:
            base = httpx.URL(address.rstrip("/") + "/")
        except httpx.InvalidURL as error:
            raise UsageError(
                f"{address!r} is not a server address: {error}; expected one such as http://localhost:8000/v1"
            ) from error
        self._client = httpx.Client(
            base_url=base,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=SECONDS,
            transport=transport or httpx.HTTPTransport(retries=2),
        )

    def hear(self, prompt: Prompt, family: Family, speak: bool) -> Heard | None:
        """Let the guard write its output, and weigh the answers at the place of the answer.

        Raises:
            CannotJudge: if the server cannot be reached, refuses, or answers in another form.
        """
        try:
            written, tops = (
                self._chat(prompt, family) if isinstance(prompt, Chat) else self._write(prompt, family)
            )
            spoken = family.parse(written)
            if spoken is None:
                return None
            return Heard(_weigh(spoken, tops, family) or only(family, spoken.answer), spoken.refusal)
        except _WRONG as error:
            raise CannotJudge(
                f"{self._place}: the server's response does not have OpenAI's format"
            ) from error

    def _write(self, prompt: str, family: Family) -> tuple[str, list[Top]]:
        choice = self._post("completions", {"prompt": prompt, "logprobs": 5}, family)
        told = choice.get("logprobs") or {}
        tokens, tops = told.get("tokens") or [], told.get("top_logprobs") or []
        return str(choice.get("text") or ""), [
            (token, top or {}) for token, top in zip(tokens, tops, strict=False)
        ]

    def _chat(self, prompt: Chat, family: Family) -> tuple[str, list[Top]]:
        settings = {"chat_template_kwargs": dict(prompt.settings)} if prompt.settings else {}
        asked = {"messages": list(prompt.messages), "logprobs": True, "top_logprobs": 20, **settings}
        choice = self._post("chat/completions", asked, family)
        told = (choice.get("logprobs") or {}).get("content") or []
        return str(choice["message"].get("content") or ""), [
            (one["token"], {top["token"]: top["logprob"] for top in one.get("top_logprobs") or []})
            for one in told
        ]

    def _post(self, path: str, asked: Mapping[str, Any], family: Family) -> dict[str, Any]:
        """Send a request to the server and return the first choice of its response.

        Raises:
            CannotJudge: if the server cannot be reached, or refuses.
        """
        import httpx

        body = {"model": self._place, "temperature": 0, "max_tokens": family.tokens, **asked}
        refused = self._refused
        try:
            answer = self._client.post(path, json=_sent(body, refused))
            while (field := _refusal(answer, _sent(body, refused))) is not None:
                refused |= {field}
                answer = self._client.post(path, json=_sent(body, refused))
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise CannotJudge(f"{self._place}: no answer from {path}: {first_line(error)}") from error
        self._learn(refused)
        choice: dict[str, Any] = answer.json()["choices"][0]
        return choice

    def _learn(self, refused: frozenset[str]) -> None:
        """Leave out of later requests what the server refused before it answered."""
        new, self._refused = refused - self._refused, self._refused | refused
        if "temperature" in new:
            warnings.warn(
                f"{self._place}: the server does not accept temperature 0, so its judgement of a step may "
                "differ from call to call",
                UserWarning,
                stacklevel=2,
            )


def _refusal(answer: Any, sent: Mapping[str, Any]) -> str | None:
    """Return the field of a request that is the reason for its refusal; None if there is none."""
    if not answer.is_client_error or answer.status_code == _NOW:
        return None
    # `/completions` knows no other name for `max_tokens`; there, its text is only about the length.
    fields = [field for field in _REFUSABLE if field != "max_tokens" or "messages" in sent]
    return next((field for field in fields if field in sent and _REFUSABLE[field] in answer.text), None)


def _sent(body: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """Return a request without the fields that the server refuses."""
    left = {name: value for name, value in body.items() if name.removeprefix("top_") not in refused}
    return left | ({_REFUSABLE["max_tokens"]: body["max_tokens"]} if "max_tokens" in refused else {})


def _weigh(spoken: Spoken, tops: Sequence[Top], family: Family) -> dict[str, float] | None:
    """Return the probabilities of the answers from the tokens at the place of the answer; None if unknown."""
    end = 0
    for token, top in tops:
        end += len(token)
        if end > spoken.at:
            # If the server separates the reasoning, the tokens may still begin with it.
            begun = token.strip().casefold()
            there = begun and spoken.answer.casefold().startswith(begun)
            return _shares(top, spoken.answer, family) if there else None
    return None


def _shares(top: Mapping[str, float], spoken: str, family: Family) -> dict[str, float] | None:
    """Return the probabilities of the answers from those of the tokens that they begin with."""
    shares = dict.fromkeys(family.answers, 0.0)
    for token, value in top.items():
        begun = token.strip().casefold()
        begins = [answer for answer in family.answers if begun and answer.casefold().startswith(begun)]
        if len(begins) > 1:
            return None  # such as 0 and 0.5: the first token does not tell them apart
        if begins:
            shares[begins[0]] += math.exp(value)
    total = sum(shares.values())
    return {answer: share / total for answer, share in shares.items()} if shares[spoken] > 0 else None
