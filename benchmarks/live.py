"""Measure what live monitoring costs: `generate` with and without it, a delta, a step, a long trace.

    OMP_NUM_THREADS=1 python benchmarks/live.py
    OMP_NUM_THREADS=1 python benchmarks/live.py --generate --tokens 200 --repeats 5
    OMP_NUM_THREADS=1 python benchmarks/live.py --generate --layers 2 --tokens 60     # a short look
    python benchmarks/live.py --generate --size 7b                                    # on a GPU, in bf16

The model has the architecture of Qwen2.5-0.5B (2 GB of memory) or of Qwen2.5-7B, and random weights;
it is forced to write the reasoning of our samples, so that steps have a realistic length. Calls with and
without the monitor alternate, and the ratio is the median of the ratios of the pairs. A GPU is used if
there is one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from undertow.classifiers.contract import HISTORY, Probabilities, StepClassifier, StepInput
from undertow.classifiers.registry import load_classifier
from undertow.data import sample
from undertow.monitor.gate import Gate
from undertow.monitor.monitor import Monitor
from undertow.monitor.steps import segment
from undertow.testing import ScriptedClassifier, scripted_monitor


def reasonings() -> list[str]:
    """Return the reasoning texts of our samples."""
    rows = map(json.loads, sample("openai-chat").read_text(encoding="utf-8").splitlines())
    texts = [str(message.get("reasoning_content") or "") for row in rows for message in row["messages"]]
    return [text for text in texts if text]


class Calm(ScriptedClassifier):
    """Judges every step safe, at no cost."""

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the same row for each step."""
        return np.tile([0.94, 0.04, 0.01, 0.01], (len(steps), 1))


def deltas(text: str, size: int = 4) -> list[str]:
    """Cut a text into pieces of about the length of a token."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def feeding() -> None:
    """Print what a delta costs without the classifier, under two kinds of policy."""
    text = "<think>" + " ".join(islice(cycle(reasonings()), 400))
    pieces = deltas(text)
    for action in ("observe", "redact"):
        gate = Gate(scripted_monitor(Calm(), threshold=50.0), action)
        began = perf_counter()
        for piece in pieces:
            gate.feed(piece)
        each = (perf_counter() - began) / len(pieces)
        print(f"a delta, {action:8} {each * 1e6:6.1f} µs   {len(pieces)} deltas, {len(gate.steps)} steps")


def stepping(classifier_name: str, count: int) -> None:
    """Print the classifier's latency for one step in its context."""
    classifier = load_classifier(classifier_name)
    steps = [step.text for text in reasonings() for step in segment(text)]
    times = []
    for i in range(count + 20):
        history = tuple(steps[(i - k) % len(steps)] for k in range(HISTORY, 0, -1))
        began = perf_counter()
        classifier.predict_proba([StepInput(steps[i % len(steps)], "A request.", history)])
        times.append(perf_counter() - began)
    low, high = np.percentile(times[20:], [50, 99]) * 1e3
    print(f"a step, {classifier.name}: p50 {low:.1f} ms, p99 {high:.1f} ms   {count} steps, one at a time")


def lasting(length: int, classifier: StepClassifier) -> None:
    """Print the cost of a step early and late in a long trace."""
    texts = islice(cycle(step.text for text in reasonings() for step in segment(text)), length)
    gate = Gate(scripted_monitor(classifier, threshold=1e6), "redact")
    gate.feed("<think>")
    times = []
    for text in texts:
        began = perf_counter()
        for piece in deltas(f"{text} "):
            gate.feed(piece)
        times.append(perf_counter() - began)
    tenth = length // 10
    early, late = median(times[10 : 10 + tenth]), median(times[-tenth:])
    print(
        f"a step and its deltas, {classifier.name}: {early * 1e6:.0f} µs from step 10 on, "
        f"{late * 1e6:.0f} µs up to step {length}: {late / early:.2f} times"
    )


def tokenizer_of(texts: list[str]) -> Any:
    """Train a byte-level tokenizer on texts, without access to a hub."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|end|>")


SIZES: dict[str, dict[str, Any]] = {
    "0.5b": {
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "7b": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}
"""The architectures of two sizes of Qwen2.5."""


def model_of(size: str, layers: int | None) -> Any:
    """Return a model with the architecture of Qwen2.5 and random weights; in bf16 on a GPU."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    torch.manual_seed(0)
    config = Qwen2Config(**SIZES[size] | ({} if layers is None else {"num_hidden_layers": layers}))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def saying(tokens: list[int], start: int) -> Callable[[Any, Any], Any]:
    """Return a logits processor that forces the model to write these tokens."""

    def force(input_ids: Any, scores: Any) -> Any:
        scores[:] = float("-inf")
        scores[:, tokens[input_ids.shape[1] - start]] = 0.0
        return scores

    return force


def pairs(tokens: int, repeats: int, model: Any) -> Iterator[tuple[float, float]]:
    """Yield pairs of the seconds of `generate` without and with the monitor."""
    from undertow import wrap

    texts = reasonings()
    tokenizer = tokenizer_of(texts)
    wrapped = wrap(model, tokenizer=tokenizer, monitor=Monitor())
    said = tokenizer.encode("<think>" + " ".join(islice(cycle(texts), 50)))[: tokens + 1]
    inputs = tokenizer("A request.", return_tensors="pt").to(model.device)
    options = {
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "do_sample": False,
        "pad_token_id": tokenizer.pad_token_id,
        "logits_processor": [saying(said, inputs["input_ids"].shape[1])],
    }
    for turn in range(repeats + 1):
        seconds = []
        for one in (model, wrapped) if turn % 2 else (wrapped, model):
            began = perf_counter()
            one.generate(**inputs, **options)
            seconds.append(perf_counter() - began)
        if turn:  # the first warms up
            yield (seconds[0], seconds[1]) if turn % 2 else (seconds[1], seconds[0])


def generating(tokens: int, repeats: int, size: str, layers: int | None) -> None:
    """Print how much longer `generate` takes with the monitor."""
    model = model_of(size, layers)
    timed = list(pairs(tokens, repeats, model))
    plain, watched = (median(side) for side in zip(*timed, strict=True))
    ratio = median(b / a for a, b in timed)
    print(
        f"generate, {size}, {model.config.num_hidden_layers} layers, {model.dtype} on {model.device}, "
        f"{tokens} tokens: {plain:.2f} s without, {watched:.2f} s with "
        f"the monitor: {ratio:.3f} times   median of {repeats} pairs"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--generate", action="store_true", help="measure only `generate`, with and without the monitor"
    )
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", choices=sorted(SIZES), default="0.5b")
    parser.add_argument("--layers", type=int, help="number of layers, instead of that of the architecture")
    parser.add_argument("--classifier", default="step-ensemble")
    parser.add_argument("--steps", type=int, default=500, help="number of steps to measure the latency of")
    parser.add_argument("--length", type=int, default=10_000, help="number of steps of the long trace")
    asked = parser.parse_args()
    if asked.generate:
        generating(asked.tokens, asked.repeats, asked.size, asked.layers)
        return
    feeding()
    stepping(asked.classifier, asked.steps)
    lasting(asked.length, Calm())
    lasting(asked.length, load_classifier(asked.classifier))


if __name__ == "__main__":
    main()
