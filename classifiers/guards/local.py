"""Run a guard on this machine with transformers; its answers are weighed by its logits.

Questions are asked one at a time, without padding, so that none affects the answer to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Any

from jinja2 import TemplateError

from ...errors import CannotJudge, first_line
from ..hub import identity, load, window_of
from .family import Chat, Family, Heard, Prompt

__all__ = ["LocalGuard"]


class LocalGuard:
    """A causal language model with its tokenizer.

    Args:
        place: `org/name` on the hub, or a folder.
        revision: a commit, tag or branch.
        device: a torch device; None for a GPU if there is one, else the CPU.

    Raises:
        MissingExtra: if torch or transformers is not installed.
        WeightsError: if there is no such model, or its files are incomplete or not safetensors.
        UsageError: if there is no such device, or the model does not fit on it.
    """

    parallel = 1

    def __init__(self, place: str, revision: str | None = None, device: str | None = None) -> None:
        self._model, self._tokenizer = load("AutoModelForCausalLM", place, revision, device)
        self.identity = identity(place, revision)
        self.chats = self._tokenizer.chat_template is not None
        self._limit = window_of(self._model.config)
        self._lock = Lock()

    def hear(self, prompt: Prompt, family: Family, speak: bool) -> Heard | None:
        """Weigh the answers; if the guard must write first, at the place where its output has the answer.

        Raises:
            CannotJudge: if the chat template refuses the question.
        """
        text = self._text(prompt, family)
        if len(self._ids(text)) + family.tokens > self._limit:
            return None
        if family.lead is not None and not speak:
            return Heard(self.weigh(text + family.lead, family.answers))
        written = self.write(text, family.tokens)
        spoken = family.parse(written)
        if spoken is None:
            return None
        return Heard(self.weigh(text + written[: spoken.at], family.answers), spoken.refusal)

    def write(self, text: str, tokens: int) -> str:
        """Return the guard's greedy continuation of a text."""
        import torch

        ids = self._tensor(self._ids(text))
        with self._lock, torch.inference_mode():
            made = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=self._end,
            )
        written: str = self._tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        return written

    def weigh(self, text: str, answers: Iterable[str]) -> dict[str, float]:
        """Return the probability of each answer after the text, given that one follows; they add up to 1.

        The tokens of the answers form a tree; the model is run at each of its forks. Every answer ends
        with the end-of-sequence token, which tells an answer from a longer one that begins with it.
        """
        paths = [(answer, [*self._ids(text + answer), self._end]) for answer in answers]
        shares: dict[str, float] = {}
        self._fork(paths, 0, 1.0, shares)
        return shares

    def _fork(
        self, paths: list[tuple[str, list[int]]], at: int, share: float, shares: dict[str, float]
    ) -> None:
        import torch

        if len(paths) == 1:
            shares[paths[0][0]] = share
            return
        while len({ids[at] for _, ids in paths}) == 1:
            at += 1
        choices = sorted({ids[at] for _, ids in paths})
        with self._lock, torch.inference_mode():
            logits = self._model(input_ids=self._tensor(paths[0][1][:at])).logits[0, -1, choices]
            parts = logits.double().softmax(-1).tolist()
        for token, part in zip(choices, parts, strict=True):
            self._fork([path for path in paths if path[1][at] == token], at + 1, share * part, shares)

    def _text(self, prompt: Prompt, family: Family) -> str:
        if isinstance(prompt, Chat):
            try:
                text: str = self._tokenizer.apply_chat_template(
                    list(prompt.messages), tokenize=False, add_generation_prompt=True, **prompt.settings
                )
            except TemplateError as error:
                raise CannotJudge(
                    f"{self.identity}: its chat template rejects the question: {first_line(error)}"
                ) from error
            return text
        return (self._tokenizer.bos_token or "") + prompt if family.opens else prompt

    @property
    def _end(self) -> int:
        return int(self._tokenizer.eos_token_id or 0)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _tensor(self, ids: list[int]) -> Any:
        import torch

        return torch.tensor([ids], device=self._model.device)
