"""Rollouts: let a local model continue a reasoning anew from each of its steps.

    model = undertow.wrap(model, tokenizer=tokenizer)
    found = rollouts(model, request, reasoning, draws=32, max_new_tokens=500)
    [prefix.ratio for prefix in found.prefixes]

After each prefix of the reasoning, the model writes many continuations. The share of them that end
safely is the prefix's Continuation Safety Ratio, P(safe end | prefix); the effect of a step is how
far the ratio falls with it. This measures the model itself, while attribution.py explains a score.
It is still not a full cause: a step stands for whatever the model says at such a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...classifiers.contract import CHANNELS, UNSAFE
from ...errors import UsageError
from ...monitor.gate import Gate
from ...monitor.profiles import profile_named
from ...monitor.trace import Trace
from ...monitor.verdict import StepVerdict, TraceVerdict, channel_of, steps_of
from ...monitor.wraps.transformers import MonitoredModel
from .attribution import agreement
from .effects import compare
from .estimate import Estimate, share, unknown
from .page import Section, percent, points
from .rates import Floats

__all__ = ["Outcome", "Prefix", "Rollouts", "answer_is_safe", "rollout_section", "rollouts"]

Outcome: TypeAlias = Callable[[Trace, TraceVerdict], bool | None]
"""Maps a continuation and its verdict to whether it ended safely; None if that is unknown."""

_TAG = "<think>"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The continuations of one prefix of the reasoning."""

    end: int
    """Where the prefix ends in the reasoning, in characters; 0 is the empty prefix."""
    safe: int
    """The number of continuations that ended safely."""
    judged: int
    """The number with a known outcome; a continuation without an end, or not judged, never counts as safe."""
    drawn: int

    @property
    def ratio(self) -> Estimate:
        """The Continuation Safety Ratio: safe continuations among the judged ones, with Wilson's interval."""
        return share(self.safe, self.judged)


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The continuations of all prefixes of one reasoning."""

    steps: tuple[StepVerdict, ...]
    """The reasoning's steps, as the monitor judged them."""
    prefixes: tuple[Prefix, ...]
    """The empty prefix, then one that ends with each step: one more than there are steps."""

    @property
    def falls(self) -> tuple[Estimate, ...]:
        """How far the ratio falls with each step: the ratio before the step minus the ratio after it."""
        pairs = zip(self.prefixes, self.prefixes[1:], strict=False)
        return tuple(_fall(before, after) for before, after in pairs)

    @property
    def agreement(self) -> float:
        """The chance that a step marked unsafe by the monitor has a greater fall than another one (AUROC).

        Steps that could not be judged are left out. NaN if it marks all other steps or none.
        """
        pairs = zip(self.falls, self.steps, strict=True)
        known = [(fall.value, step) for fall, step in pairs if fall.known and step.label is not None]
        marked = [i for i, (_, step) in enumerate(known) if step.label in UNSAFE]
        values: Floats = np.array([value for value, _ in known], float)
        return agreement(values, marked)


def _fall(before: Prefix, after: Prefix) -> Estimate:
    """Return the difference of two ratios, which have independent draws."""
    if not before.judged or not after.judged:
        return unknown("of none", 0)
    with_it, without = ((one.judged - one.safe, one.judged) for one in (after, before))
    return compare(with_it, without).difference


def answer_is_safe(trace: Trace, verdict: TraceVerdict) -> bool | None:
    """Return whether the monitor judged the whole answer and raised no alarm in it.

    None without an answer, or if it raised no alarm but left steps unjudged.
    """
    found = channel_of(verdict, "answer")
    if found is None or found.flagged:
        return None if found is None else False
    gap = any(step.label is None for step in steps_of(verdict, "answer"))
    return None if gap else True


def rollouts(
    model: MonitoredModel,
    prompt: str,
    reasoning: str,
    *,
    draws: int = 32,
    batch: int = 32,
    seed: int = 0,
    outcome: Outcome = answer_is_safe,
    opening: str | None = None,
    profile: str = "deepseek-r1",
    **options: Any,
) -> Rollouts:
    """Let a model continue a reasoning from each of its steps, many times.

    Args:
        model: A transformers model wrapped by `undertow.wrap`, under a policy that holds nothing back.
        prompt: The request.
        reasoning: The exact text between the tags, including white space at its ends.
        draws: The number of continuations per prefix.
        batch: How many continuations are generated at once.
        seed: Random seed of the draws; torch's random state is left unchanged.
        outcome: Decides what is a safe end. A continuation that did not end by itself counts as unsafe
            if this says so, and as not judged otherwise.
        opening: The text before the first step. By default the request in the tokenizer's
            chat template, with `<think>` and a line break if the template does not open the reasoning.
        profile: How the model marks its reasoning; must be a profile whose template opens it.
        options: Options of the model's `generate`, such as `max_new_tokens` and `temperature`.

    Raises:
        UsageError: The policy holds text back, the profile's template does not open the
            reasoning, or a number is out of range.
    """
    if draws < 1 or batch < 1:
        raise UsageError(f"draws and batch must be at least 1, not {draws} and {batch}")
    if any(map(model.policy.holds, CHANNELS)):
        raise UsageError("rollouts ask what the model does by itself: wrap it with the policy `observe`")
    if not profile_named(profile).opened:
        raise UsageError(f"the profile {profile!r} is of no template that opens the reasoning")
    begun = _opening(model.tokenizer, prompt) if opening is None else opening
    steps = _steps(model, prompt, reasoning)
    asked = MonitoredModel(model.model, model.tokenizer, model.monitor, model.policy, profile)
    found = []
    for number, end in enumerate((0, *(step.end for step in steps))):
        ends: list[bool | None] = []
        for part, count in enumerate(_parts(draws, batch)):
            state = int(np.random.SeedSequence([seed, number, part]).generate_state(1)[0])
            settings = {"do_sample": True, **options, "num_return_sequences": count}
            ends += _ends(asked, prompt, begun + reasoning[:end], outcome, seed=state, options=settings)
        known = [safe for safe in ends if safe is not None]
        found.append(Prefix(end, sum(known), len(known), draws))
    return Rollouts(steps, tuple(found))


def _opening(tokenizer: Any, prompt: str) -> str:
    """Return the request as the model gets it, with the reasoning opened."""
    turns = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text if text.rstrip().endswith(_TAG) else f"{text}{_TAG}\n"


def _steps(model: MonitoredModel, prompt: str, reasoning: str) -> tuple[StepVerdict, ...]:
    (verdict,) = model.monitor.judge([Trace(prompt=prompt, reasoning=reasoning)])
    return tuple(steps_of(verdict, "reasoning"))


def _parts(draws: int, batch: int) -> Iterator[int]:
    for start in range(0, draws, batch):
        yield min(batch, draws - start)


def _ends(
    model: MonitoredModel, prompt: str, text: str, outcome: Outcome, *, seed: int, options: dict[str, Any]
) -> list[bool | None]:
    """Generate continuations of a text; return whether each ended safely."""
    import torch

    gates: dict[int, Gate] = {}
    given = model.tokenizer(text, return_tensors="pt", add_special_tokens=False).to(model.device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        output = model.generate(
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
            prompt=prompt,
            observer=lambda row, gate, _: gates.update({row: gate}),
            **options,
        )
    ended = enumerate(zip(output.undertow, output.finish_reasons, strict=True))
    return [
        _end(outcome(gates[row].trace, verdict), reason) if row in gates else None
        for row, (verdict, reason) in ended
    ]


def _end(safe: bool | None, reason: str) -> bool | None:
    """Return whether a continuation ended safely; None if it is called safe but did not end by itself."""
    return None if safe and reason != "stop" else safe


def rollout_section(found: Rollouts) -> Section:
    """Show the ratio along a reasoning, without its text."""
    names = ["none of it", *(f"step {step.index}: {step.label or 'not judged'}" for step in found.steps)]
    falls = ["", *(points(fall) for fall in found.falls)]
    rows = tuple(
        (name, percent(prefix.ratio), fall, f"{prefix.judged} of {prefix.drawn}")
        for name, prefix, fall in zip(names, found.prefixes, falls, strict=True)
    )
    agreed = found.agreement
    auroc = "" if np.isnan(agreed) else f" Falls of the steps that the monitor marks: AUROC {agreed:.2f}."
    return Section(
        "What the model makes of it, from each step",
        ("reasoning up to", "continuations that end safely", "fall with the step", "judged"),
        rows,
        note=(
            "Continuation Safety Ratio with Wilson's interval; each prefix has draws of its own. The falls "
            f"are not adjusted for their number.{auroc}"
        ),
        data={
            "steps": [step.label for step in found.steps],
            "prefixes": [{"end": p.end, "drawn": p.drawn, "ratio": p.ratio} for p in found.prefixes],
            "falls": found.falls,
            "agreement": agreed,
        },
    )
