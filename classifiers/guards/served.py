"""Ask a guard or a judge on an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a hosted model.

Texts go to `/completions` exactly as the model reads them, chats to `/chat/completions`. If the server
returns log-probabilities, the answers are weighed by them; otherwise only the word is known. Some servers
(Groq, OpenAI for some models) refuse a request for log-probabilities, which is then repeated without it.

A server does not say which weights it holds, so the digest identifies only the name of the model.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import CannotJudge, MissingExtra, UsageError
from .family import Chat, Family, Heard, Prompt, Spoken, only

__all__ = ["KEY", "ServedGuard"]

KEY = "UNDERTOW_JUDGE_KEY"
"""The environment variable that holds the API key, if the server needs one."""

PARALLEL = 8
SECONDS = 120.0
"""The timeout of each network operation of a request, in seconds."""

_TOLD = ("logprobs", "top_logprobs")
"""The fields of a request that ask for log-probabilities."""

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
            raise MissingExtra(f"the served model {place}", "judge") from error
        key = os.environ.get(KEY, "").strip()  # a key read from a file may end with a line end
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{KEY} holds what can be in no key: line ends, or letters beyond ASCII")
        self.identity = f"served:{place}"
        self._tells = True  # until the server refuses to return log-probabilities
        self._place = place
        try:
            base = httpx.URL(address.rstrip("/") + "/")
        except httpx.InvalidURL as error:
            raise UsageError(f"{address!r} is no address of a server: {error}") from error
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
            raise CannotJudge(f"{self._place}: the server answered in a form that is not OpenAI's") from error

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
        plain = {name: value for name, value in body.items() if name not in _TOLD}
        tells = self._tells  # another thread may change it meanwhile
        try:
            answer = self._client.post(path, json=body if tells else plain)
            if tells and answer.is_client_error and "logprobs" in answer.text:
                self._tells = False
                answer = self._client.post(path, json=plain)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise CannotJudge(f"{self._place}: no answer from {path}: {error}") from error
        choice: dict[str, Any] = answer.json()["choices"][0]
        return choice


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
