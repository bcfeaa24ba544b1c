"""`generate` of transformers, and its text-generation pipeline, with the monitor inside.

    model = undertow.wrap(AutoModelForCausalLM.from_pretrained(path), tokenizer=tokenizer, policy="stop")
    output = model.generate(**inputs, prompt="…", max_new_tokens=500)
    output.undertow[0].flagged

Each row of a batch has its own gate and is stopped on its own. The text of a row is that of its
new tokens, special ones too since tags may be among them, but for the end of the sequence and padding.
What is returned is what may leave: under `redact`, `stop` and `divert` the flagged tokens are not in it.
"""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from ...classifiers.contract import CHANNELS
from ...errors import UsageError
from ..gate import Gate
from ..monitor import Monitor
from ..policy import Policy
from .decoding import plain_decode
from .dialects import prompt_of
from .probing import Probing, probe_for
from .rows import Observer, Row

__all__ = ["MonitoredModel", "MonitoredPipeline", "wrap_object"]

_PROMPT_END = 64
"""Tokens of a prompt that are looked at for reasoning that the template has opened."""


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
        monitor: what judges.
        policy: what happens at the alarm.
        tokenizer: the model's; a pipeline has its own.
        profile: how the model marks its reasoning, where its name and prompt do not tell.
        probe: a probe of this model, or the folder of one, which reads the ends of the steps as well.

    Raises:
        UsageError: it is neither, the tokenizer is missing, or the probe is another model's.
    """
    if hasattr(x, "generate"):
        if tokenizer is None:
            raise UsageError("a model knows no text: give its tokenizer, wrap(model, tokenizer=…)")
        return MonitoredModel(x, tokenizer, monitor, policy, profile, probe)
    if getattr(x, "task", None) == "text-generation":
        return MonitoredPipeline(x, MonitoredModel(x.model, x.tokenizer, monitor, policy, profile, probe))
    raise UsageError(f"a {type(x).__name__} writes no text: wrap a model or a text-generation pipeline")


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
        return getattr(self.model, name)

    def generate(
        self,
        *args: Any,
        prompt: str | Sequence[str] | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> Any:
        """Generate as the model does, with its arguments.

        Args:
            args: as the model's own.
            prompt: the request, or one for each prompt of the batch, in which the steps are judged.
                Without it the prompt's whole text is taken, template and all.
            observer: called with row, gate and new text, whenever there is some.
            options: as the model's own. A streamer gets what may leave.

        Returns:
            What the model returns. Its attribute `undertow` has the verdict of each row,
            `finish_reasons` whether it ended by itself ("stop"), by its length ("length"), or by
            the policy ("content_filter"). With a probe, `undertow_probe` has for each row what the
            probe says of each step of the verdict.

        Raises:
            UsageError: for beam search, and for what a policy cannot do with the other arguments.
        """
        options |= zip(inspect.signature(self.model.generate).parameters, args, strict=False)
        self._refuse(options)
        run = _Run(self, prompt, observer, options)
        options["logits_processor"] = [*(options.get("logits_processor") or ()), run.force]
        options["stopping_criteria"] = [*(options.get("stopping_criteria") or ()), run.follow]
        try:
            with run.probing or nullcontext():
                return run.finish(self.model.generate(**options))
        finally:
            run.end_display()

    def _refuse(self, options: dict[str, Any]) -> None:
        """Refuse what would make the verdicts wrong."""
        config = options.get("generation_config") or self.model.generation_config
        if (options.get("num_beams") or getattr(config, "num_beams", 1) or 1) > 1:
            raise UsageError(
                "beam search rewrites what it has written, so nothing in it can be judged as it comes: "
                "set num_beams=1 (sampling, greedy search and num_return_sequences are fine)"
            )
        diverts = "divert" in map(self.policy.of, CHANNELS)
        drafted = ("assistant_model", "prompt_lookup_num_tokens")
        if diverts and any(options.get(name) or getattr(config, name, None) for name in drafted):
            raise UsageError("divert forces tokens, which assisted generation cannot do: use stop instead")
        if self.probe and any(options.get(name) or getattr(config, name, None) for name in drafted):
            raise UsageError(
                "a probe reads token after token, and assisted generation writes several at once"
            )


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
        self._rows: list[Row] | None = None
        self._width = self._seen = 0
        self.probing = None if wrap.probe is None else Probing(wrap.probe, wrap.model)

    def _take_display(self, options: dict[str, Any]) -> Any:
        """Keep a streamer to ourselves where text is held back: it gets what may leave."""
        streamer = options.get("streamer")
        if streamer is None or not any(map(self._wrap.policy.holds, CHANNELS)):
            return None
        if not hasattr(streamer, "on_finalized_text"):
            raise UsageError("text is held back: use a streamer of texts, such as TextIteratorStreamer")
        return options.pop("streamer")

    def _begin(self, prompts: Any) -> list[Row]:
        """Open a gate for each row; `prompts` are their token ids, padded on the left."""
        self._width = self._seen = prompts.shape[1]
        silent = self._ends if self._pad is None else {*self._ends, self._pad}
        wrap, tokenizer = self._wrap, self._wrap.tokenizer
        rows = []
        for i, padded in enumerate(prompts.tolist()):
            ids = [token for token in padded if token != self._pad]
            gate = Gate(
                wrap.monitor,
                wrap.policy,
                prompt=self._prompt(i, len(prompts), ids),
                model=getattr(wrap.model.config, "_name_or_path", "") or None,
                profile=wrap.profile,
                raw_prompt=plain_decode(tokenizer, ids[-_PROMPT_END:]),
            )
            rows.append(Row(gate, tokenizer, silent, self._ends))
        self._rows = rows
        if self.probing is not None:
            self.probing.begin(rows)
        return rows

    def _prompt(self, row: int, rows: int, ids: list[int]) -> str:
        if self._prompts is None:
            text: str = self._wrap.tokenizer.decode(ids, skip_special_tokens=True)
            return text
        if rows % len(self._prompts):
            raise UsageError(f"{len(self._prompts)} prompts were named for {rows} rows")
        return self._prompts[row // (rows // len(self._prompts))]

    def force(self, input_ids: Any, scores: Any) -> Any:
        """Make diverted rows say what they must; a logits processor."""
        for i, row in enumerate(self._rows if self._rows is not None else self._begin(input_ids)):
            if row.forced:
                scores[i] = float("-inf")
                scores[i, row.forced[-1]] = 0.0
        return scores

    def follow(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Take the new tokens; say which rows have ended; a stopping criterion."""
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

    def _show(self, i: int, pieces: Sequence[Any]) -> None:
        if pieces and self._observer is not None and self._rows is not None:
            self._observer(i, self._rows[i].gate, pieces)
        if self._display is not None:
            for piece in pieces:
                self._display.on_finalized_text(piece.text)

    def end_display(self) -> None:
        """Tell the streamer that nothing more comes, also where the call failed."""
        if self._display is not None:
            self._display.on_finalized_text("", stream_end=True)

    def finish(self, output: Any) -> Any:
        """Close the gates; put into the output what may leave, and the verdicts."""
        rows = self._rows or []
        for i, row in enumerate(rows):
            self._show(i, row.close())
        sequences = output if hasattr(output, "shape") else output.sequences
        kept = self._kept(sequences, rows)
        if sequences is output:
            output = kept
        else:
            output.sequences = kept
        output.undertow = tuple(row.gate.verdict for row in rows)
        output.finish_reasons = tuple(row.finish_reason for row in rows)
        if self.probing is not None:
            self.probing.read()
            output.undertow_probe = tuple(map(self.probing.scores, range(len(rows)), output.undertow))
        return output

    def _kept(self, sequences: Any, rows: list[Row]) -> Any:
        """Return the sequences with what may leave; the same object where that is everything."""
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


def _special(wrap: MonitoredModel, options: dict[str, Any]) -> tuple[set[int], int | None]:
    """Return the tokens that end a sequence, and the one that pads, where there is one."""
    config = options.get("generation_config") or wrap.model.generation_config
    ends: set[int] = set()
    for source in (options.get("eos_token_id"), config.eos_token_id, wrap.tokenizer.eos_token_id):
        ends |= set(source) if isinstance(source, list | tuple) else {source} if source is not None else set()
    pads = (options.get("pad_token_id"), config.pad_token_id, wrap.tokenizer.pad_token_id, *sorted(ends))
    return ends, next((pad for pad in pads if pad is not None), None)


class MonitoredPipeline:
    """A text-generation pipeline whose records have a verdict; everything else is the pipeline's own."""

    def __init__(self, pipeline: Any, model: MonitoredModel) -> None:
        self.pipeline = pipeline
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipeline, name)

    def __call__(self, text_inputs: Any, **options: Any) -> Any:
        """Generate as the pipeline does; each record gets `undertow` and `finish_reason`."""
        pipe = copy.copy(self.pipeline)
        pipe.model = _Collecting(self._model, _requests(text_inputs))
        out = pipe(text_inputs, **options)
        if not isinstance(out, list):
            return (_attach(records, pipe.model.done) for records in out)
        return _attach(out, pipe.model.done)


class _Collecting:
    """The model inside a pipeline for one call: passes requests in, and verdicts out, in their order."""

    def __init__(self, model: MonitoredModel, requests: Iterable[str] | None) -> None:
        self.done: deque[dict[str, Any]] = deque()
        self._model = model
        self._requests = None if requests is None else deque(requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *, input_ids: Any = None, **options: Any) -> Any:
        """Generate, and keep the verdicts."""
        prompt = None
        if self._requests is not None:
            prompt = [self._requests.popleft() for _ in range(1 if input_ids is None else len(input_ids))]
        output = self._model.generate(input_ids=input_ids, prompt=prompt, **options)
        for row, (verdict, reason) in enumerate(zip(output.undertow, output.finish_reasons, strict=True)):
            said = {"undertow": verdict, "finish_reason": reason}
            more = {"undertow_probe": output.undertow_probe[row]} if self._model.probe else {}
            self.done.append(said | more)
        return output


def _requests(inputs: Any) -> list[str] | None:
    """Return the requests that a pipeline was given; None where they come one by one."""
    if isinstance(inputs, str):
        return [inputs]
    if not isinstance(inputs, list | tuple):
        return None
    if inputs and isinstance(inputs[0], dict):
        return [prompt_of({"messages": inputs})]
    return [one if isinstance(one, str) else prompt_of({"messages": one}) for one in inputs]


def _attach(records: Any, done: deque[dict[str, Any]]) -> Any:
    for record in _flat(records):
        record.update(done.popleft())
    return records


def _flat(records: Any) -> Iterator[dict[str, Any]]:
    for record in records:
        if isinstance(record, dict):
            yield record
        else:
            yield from _flat(record)
