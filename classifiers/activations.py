"""The hidden states of a model while it reasons, at the ends of steps.

Hooks on the model's blocks capture the states, so reading a saved text and watching a live `generate` give
the same numbers. Layer n is the output of the n-th block, counted from 1, before any final norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import CannotJudge, UsageError
from .hub import clean, window_of

__all__ = ["OPENING", "HiddenReader", "Tap", "blocks"]

OPENING = "<think>\n"
"""The text between the prompt and the reasoning, unless the chat template already ends with it."""


def blocks(model: Any) -> Sequence[Any]:
    """Return the transformer blocks of a model, in order.

    Raises:
        UsageError: if they are not where models of transformers usually have them.
    """
    body = model.get_decoder() if hasattr(model, "get_decoder") else model
    for name in ("layers", "h", "block"):
        if (found := getattr(body, name, None)) is not None:
            return list(found)
    raise UsageError(
        f"cannot probe a {type(model).__name__}: it has no transformer blocks in `layers`, `h` or `block`"
    )


class Tap:
    """Context manager that keeps the hidden states of some layers while a model runs.

    It keeps the states of everything that runs on the model meanwhile, so run one text at a time.

    Raises:
        UsageError: if the model does not have one of the layers.

    Example:
        with Tap(model, [12]) as tap:
            model.generate(**inputs)
        tap.states(12)  # shape (tokens, width): the prompt's, then those written
    """

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        known = blocks(model)
        if wrong := [layer for layer in layers if not 1 <= layer <= len(known)]:
            raise UsageError(f"there is no layer {wrong[0]}: this model has layers 1 to {len(known)}")
        self._blocks = {layer: known[layer - 1] for layer in layers}
        self._caught: dict[int, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        for layer, block in self._blocks.items():
            self._hooks.append(block.register_forward_hook(self._keeper(layer)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def states(self, layer: int) -> NDArray[np.float32]:
        """Return the states of a kept layer for each token so far, shape (tokens, width)."""
        return np.concatenate([states[0] for states in self._caught[layer]])

    def _keeper(self, layer: int) -> Any:
        def keep(module: Any, given: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            self._caught[layer].append(states.detach().float().cpu().numpy())

        return keep


class HiddenReader:
    """Runs a model over texts and returns its hidden states.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        opening: the text between the prompt and the reasoning.
    """

    def __init__(self, model: Any, tokenizer: Any, opening: str = OPENING) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.opening = opening
        self.layers = len(blocks(model))
        self._lock = Lock()  # a tap captures whatever runs on the model meanwhile

    def rendered(self, prompt: str, *, ask: bool = True) -> str:
        """Return the prompt as the model reads it; with `ask`, up to where its reasoning begins."""
        if self.tokenizer.chat_template is None:
            return clean(prompt) + ("\n\n" + self.opening if ask else "")
        text: str = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": clean(prompt)}], tokenize=False, add_generation_prompt=ask
        )
        opened = text.rstrip().endswith(self.opening.strip())
        return text + self.opening if ask and not opened else text

    def at_ends(
        self, prompt: str, text: str, ends: Sequence[int], layers: Sequence[int]
    ) -> NDArray[np.float32]:
        """Return the hidden states at the last token of each step.

        Args:
            prompt: the request.
            text: the reasoning so far.
            ends: the end of each step in the reasoning, in characters.
            layers: the layers to return.

        Returns:
            Shape (len(ends), len(layers), width).

        Raises:
            CannotJudge: if prompt and text together do not fit the model's window.
        """
        before = self._ids(self.rendered(prompt))
        read = self.tokenizer(clean(text), add_special_tokens=False, return_offsets_mapping=True)
        starts = np.array([start for start, _ in read["offset_mapping"]], dtype=np.int64)
        if len(before) + len(read["input_ids"]) > window_of(self.model.config):
            raise CannotJudge("the request and the reasoning do not fit in the model's context window")
        last = np.searchsorted(starts, np.asarray(ends) - 1, side="right") - 1
        return self._run([*before, *read["input_ids"]], len(before) + last, layers)

    def before_reasoning(self, prompt: str, layers: Sequence[int]) -> NDArray[np.float32]:
        """Return the hidden states at the end of the prompt and where the reasoning begins.

        Returns:
            Shape (2, len(layers), width).
        """
        asked, begun = (self._ids(self.rendered(prompt, ask=ask)) for ask in (False, True))
        ends = [self._run(ids, np.array([len(ids) - 1]), layers)[0] for ids in (asked, begun)]
        return np.stack(ends)

    def _run(
        self, ids: Sequence[int], places: NDArray[np.int64], layers: Sequence[int]
    ) -> NDArray[np.float32]:
        import torch

        with self._lock, Tap(self.model, layers) as tap, torch.inference_mode():
            self.model(input_ids=torch.tensor([list(ids)], device=self.model.device))
        return np.stack([tap.states(layer)[places] for layer in layers], axis=1)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
