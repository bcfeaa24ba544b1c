"""transformers: a model's `generate`, or a text-generation pipeline, with the monitor inside.

    model = undertow.wrap(AutoModelForCausalLM.from_pretrained(path), tokenizer=tokenizer, policy="stop")
    output = model.generate(**inputs, prompt="…", max_new_tokens=500)
    output.undertow[0].flagged

Each row of a batch has its own gate and is stopped separately. A row's text is that of its
new tokens, including special ones (tags may be among them) but not the end of the sequence or padding.
Only what may be released is returned: under `redact`, `stop` and `divert`, without flagged tokens.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from ...classifiers.contract import CHANNELS
from ...errors import UsageError
from ..gate import Gate
from ..monitor import Monitor
from ..policy import Policy
from .decoding import prompt_end
from .pipelines import MonitoredPipeline
from .probing import Probing, probe_for
from .rows import Observer, Row

__all__ = ["MonitoredModel", "MonitoredPipeline", "wrap_object"]

_DRAFTED = ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp")
"""What has several tokens written at once."""


def wrap_object(
    x: Any,
    monitor: Monitor,
    policy: Policy,
    *,
    tokenizer: Any = None,
    profile: str = "auto",
    probe: Any = None,
) -> MonitoredModel | MonitoredPipeline:
    """Wrap a model that can generate, or a text-generation pipeline.

    Args:
        x: the model or the pipeline.
        monitor: the monitor that judges.
        policy: what happens at the alarm.
        tokenizer: the model's tokenizer; not needed for a pipeline, which has its own.
        profile: how the model marks its reasoning, if neither its name nor the prompt shows it.
        probe: a probe of this model, or its folder; it too judges the steps.

    Raises:
        UsageError: `x` is neither, the tokenizer is missing, or the probe belongs to another model.
    """
    if hasattr(x, "generate"):
        if tokenizer is None:
            raise UsageError("a model needs its tokenizer: wrap(model, tokenizer=…)")
        return MonitoredModel(x, tokenizer, monitor, policy, profile, probe)
    if getattr(x, "task", None) == "text-generation":
        return MonitoredPipeline(x, MonitoredModel(x.model, x.tokenizer, monitor, policy, profile, probe))
    raise UsageError(f"expected a model or a text-generation pipeline, not a {type(x).__name__}")


class MonitoredModel:
    """A model whose `generate` is monitored; everything else is the model's own."""

    def __init__(  # noqa: PLR0917
        self, model: Any, tokenizer: Any, monitor: Monitor, policy: Policy, profile: str, probe: Any = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.monitor = monitor
        self.policy = policy
        self.profile = profile
        self.probe = None if probe is None else probe_for(probe, model, tokenizer)

    def __getattr__(self, name: str) -> Any:
        own = getattr(self.model, name)
        return self._staying(own) if inspect.isroutine(own) else own

    def _staying(self, own: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method of the model's; what gives the model itself (`to`, `eval`) gives this."""

        @functools.wraps(own)
        def call(*args: Any, **options: Any) -> Any:
            out = own(*args, **options)
            return self if out is self.model else out

        return call

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the model once, as it does; nothing is generated, and nothing is judged."""
        return self.model(*args, **options)

    def generate_batch(self, *_: Any, **__: Any) -> Any:
        """Refuse what no wrap can watch.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "continuous batching shows no text while it generates, so it cannot be judged: use generate"
        )

    def generate(
        self,
        *args: Any,
        prompt: str | Sequence[str] | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> Any:
        """Generate as the model does, with the same arguments.

        Args:
            args: as for the model's own `generate`.
            prompt: the request as context for judging, or one for each prompt of the batch.
                By default, the prompt's whole text is used, including the template.
            observer: called with the row, its gate and the released text, if there is some or at the end.
            options: as for the model's own `generate`. A streamer gets only released text.

        Returns:
            The model's output. Its attribute `undertow` has the verdict on each row,
            `finish_reasons` says whether the row ended by itself ("stop"), by its length ("length"), or by
            the policy ("content_filter"). With a probe, `undertow_probe` has, for each row, the probe's
            probabilities for each step of the verdict.

        Raises:
            UsageError: for beam search, and for arguments that the policy or the probe does not support.
        """
        options |= zip(_names(self.model), args, strict=False)
        self._refuse(options)
        run = _Run(self, prompt, observer, options)
        options["logits_processor"] = [*(options.get("logits_processor") or ()), run.force]
        options["stopping_criteria"] = [*(options.get("stopping_criteria") or ()), run.follow]
        try:
            with run.probing or nullcontext():
                return run.finish(self._generated(options))
        finally:
            run.end_display()

    def _generated(self, options: Mapping[str, Any]) -> Any:
        """Return the output of the model; if that fails, end the streamer, whose readers would wait on."""
        try:
            return self.model.generate(**options)
        except BaseException:
            if options.get("streamer") is not None:
                options["streamer"].end()
            raise

    def _refuse(self, options: dict[str, Any]) -> None:
        """Refuse what would make the verdicts wrong."""
        if (self.setting(options, "num_beams") or 1) > 1:
            raise UsageError(
                "beam search revises text that it has written, so it cannot be judged while it generates: "
                "set num_beams=1 (sampling, greedy search and num_return_sequences are fine)"
            )
        if self.setting(options, "cache_implementation") == "paged":
            self.generate_batch()
        drafts = any(self.setting(options, name) for name in _DRAFTED)
        if drafts and "divert" in map(self.policy.of, CHANNELS):
            raise UsageError("divert forces tokens, which assisted generation does not support: use stop")
        if drafts and self.probe:
            raise UsageError(
                "a probe reads one token at a time, but assisted generation writes several: leave one out"
            )

    def setting(self, options: Mapping[str, Any], name: str) -> Any:
        """Return what holds for a call of `generate`: what it says itself, or the configurations."""
        holders = (options.get("generation_config"), self.model.generation_config)
        values = (options.get(name), *(getattr(holder, name, None) for holder in holders))
        return next((value for value in values if value is not None), None)


class _Run:
    """One call of `generate`."""

    def __init__(
        self,
        wrap: MonitoredModel,
        prompt: str | Sequence[str] | None,
        observer: Observer | None,
        options: dict[str, Any],
    ) -> None:
        self._wrap = wrap
        self._prompts = [prompt] if isinstance(prompt, str) else prompt
        self._observer = observer
        self._display = self._take_display(options)
        self._ends, self._pad = _special(wrap, options)
        self._stops = _several(wrap.setting(options, "stop_strings"))
        self._encoded = _encoded(wrap.model, options)
        self._rows: list[Row] | None = None
        self._width = self._seen = 0
        self.probing = None if wrap.probe is None else Probing(wrap.probe, wrap.model)

    def _take_display(self, options: dict[str, Any]) -> Any:
        """Take the streamer out of the options if text is held back, so that it gets only released text."""
        streamer = options.get("streamer")
        if streamer is None or not any(map(self._wrap.policy.holds, CHANNELS)):
            return None
        if not hasattr(streamer, "on_finalized_text"):
            raise UsageError(
                "the policy holds text back: use a streamer of text, such as TextIteratorStreamer"
            )
        return options.pop("streamer")

    def _begin(self, prompts: Any) -> list[Row]:
        """Open a gate for each row; `prompts` are their token ids, padded on the left."""
        if self._display is not None and len(prompts) > 1:
            raise UsageError("a streamer shows one prompt: give the prompts one by one, or use observer=")
        self._width = self._seen = prompts.shape[1]
        wrap, tokenizer = self._wrap, self._wrap.tokenizer
        silent = self._ends | set(tokenizer.all_special_ids).intersection({self._pad})
        rows = []
        for i, padded in enumerate(prompts.tolist()):
            ids = self._unpadded(padded)
            gate = Gate(
                wrap.monitor,
                wrap.policy,
                prompt=self._prompt(i, len(prompts), ids),
                model=getattr(wrap.model.config, "_name_or_path", "") or None,
                profile=wrap.profile,
                raw_prompt=prompt_end(tokenizer, ids, wrap.profile),
            )
            rows.append(Row(gate, tokenizer, silent, self._ends, self._pad, self._stops))
        self._rows = rows
        if self.probing is not None:
            self.probing.begin(rows)
        return rows

    def _prompt(self, row: int, rows: int, ids: list[int]) -> str:
        given = self._encoded if self._prompts is None else self._prompts
        if given is None:
            return self._said(ids)
        if not given or rows % len(given):
            raise UsageError(f"got {len(given)} prompts for {rows} rows; give one for each")
        one = given[row // (rows // len(given))]
        return one if isinstance(one, str) else self._said(self._unpadded(one))

    def _said(self, ids: list[int]) -> str:
        text: str = self._wrap.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _unpadded(self, ids: list[int]) -> list[int]:
        own = [place for place, token in enumerate(ids) if token != self._pad]
        return ids[own[0] : own[-1] + 1] if own else []

    def force(self, input_ids: Any, scores: Any) -> Any:
        """Force the fixed answer in diverted rows; a logits processor."""
        for i, row in enumerate(self._rows if self._rows is not None else self._begin(input_ids)):
            if row.forced:
                scores[i] = float("-inf")
                scores[i, row.forced[-1]] = 0.0
        return scores

    def follow(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Take the new tokens; return which rows have ended; a stopping criterion."""
        import torch

        rows = self._rows if self._rows is not None else self._begin(input_ids[:, :-1])
        new = input_ids[:, self._seen :].tolist()
        self._seen = input_ids.shape[1]
        for i, (row, tokens) in enumerate(zip(rows, new, strict=True)):
            for token in tokens:
                self._show(i, row.take(token))
        if self.probing is not None:
            self.probing.read()
        return torch.tensor([row.ended for row in rows], device=input_ids.device)

    def _show(self, i: int, pieces: Sequence[Any], *, last: bool = False) -> None:
        if (pieces or last) and self._observer is not None and self._rows is not None:
            self._observer(i, self._rows[i].gate, pieces)
        if self._display is not None:
            for piece in pieces:
                self._display.on_finalized_text(piece.text)

    def end_display(self) -> None:
        """Tell the streamer that the output has ended, even if the call failed."""
        if self._display is not None:
            self._display.on_finalized_text("", stream_end=True)

    def finish(self, output: Any) -> Any:
        """Close the gates; put the released tokens and the verdicts into the output."""
        rows = self._rows or []
        for i, row in enumerate(rows):
            self._show(i, row.close(), last=True)
        sequences = output if hasattr(output, "shape") else output.sequences
        kept = self._kept(sequences, rows)
        if sequences is output:
            output = kept
        elif kept is not sequences:  # scores and states would tell what was taken out
            output = type(output)(sequences=kept)
        output.undertow = tuple(row.gate.verdict for row in rows)
        output.finish_reasons = tuple(row.finish_reason for row in rows)
        if self.probing is not None:
            self.probing.read()
            output.undertow_probe = tuple(map(self.probing.scores, range(len(rows)), output.undertow))
        return output

    def _kept(self, sequences: Any, rows: list[Row]) -> Any:
        """Return the sequences with only what was released; the same object if that is everything."""
        import torch

        before = [row[self._width :].tolist() for row in sequences]
        after = [row.ids() for row in rows]
        if all(_same(new, old, self._pad) for new, old in zip(after, before, strict=True)):
            return sequences
        width = max(map(len, after))
        padded = [[*ids, *[self._pad or 0] * (width - len(ids))] for ids in after]
        new = torch.tensor(padded, dtype=sequences.dtype, device=sequences.device).reshape(len(rows), width)
        return torch.cat([sequences[:, : self._width], new], dim=1)


def _same(new: list[int], old: list[int], pad: int | None) -> bool:
    return old[: len(new)] == new and all(token == pad for token in old[len(new) :])


def _special(wrap: MonitoredModel, options: Mapping[str, Any]) -> tuple[set[int], int | None]:
    """Return the tokens that end a sequence, and the one that pads, where there is one."""
    own = wrap.model.generation_config.eos_token_id
    ends: set[int] = set()
    for source in (wrap.setting(options, "eos_token_id"), own, wrap.tokenizer.eos_token_id):
        ends |= set(_several(source))
    pads = (wrap.setting(options, "pad_token_id"), wrap.tokenizer.pad_token_id, *sorted(ends))
    return ends, next((pad for pad in pads if pad is not None), None)


def _several(value: Any) -> list[Any]:
    """Return what may be given alone or in a list, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _encoded(model: Any, options: Mapping[str, Any]) -> list[list[int]] | None:
    """Return the tokens of the requests, where they go to an encoder; None where the sequences hold them."""
    given = options.get("input_ids", options.get("inputs"))
    if not getattr(model.config, "is_encoder_decoder", False) or given is None or given.is_floating_point():
        return None
    ids: list[list[int]] = given.tolist()
    return ids


def _names(model: Any) -> list[str]:
    """Return the names of what a model's `generate` takes by position."""
    names = inspect.signature(model.generate).parameters
    if any(one.kind is one.VAR_POSITIONAL for one in names.values()):  # it hands on what it gets
        return _names(model.get_base_model())
    return list(names)
