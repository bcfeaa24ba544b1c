"""Distil the shipped lower layers: `python benchmarks/shallow.py`; about half an hour on two cores.

Two narrow layers learn to give the states of the lower four layers of all-MiniLM-L6-v2, on the texts of the
corpus without their labels. One text in forty is held out to measure how near they come. The same layers
serve every encoder that is trained on a part of the corpus; `crossvalidate.py` and `ship.py` insert them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fits import CORPUS, HELD_OUT, LOWER
from further import further_lessons
from running import run
from safetensors.torch import save_file

from undertow.classifiers.corpus import read_labelled
from undertow.classifiers.lessons import of_labelled
from undertow.classifiers.network import StepNet
from undertow.classifiers.packing import States
from undertow.classifiers.shallow import Shallow, distance, distil
from undertow.classifiers.training import Recipe, pretrained

KEPT = 40


def texts_of(corpus: Path) -> list[tuple[str, bool]]:
    """Return the distinct texts that training reads, each with whether it is a request."""
    traces = read_labelled(corpus)
    lessons = [*of_labelled(traces), *further_lessons(corpus.parent, traces, traces)]
    pairs = ((text, text is one.prompt) for one in lessons for text in (one.prompt, *one.steps))
    return list(dict.fromkeys(pairs))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--out", type=Path, default=HELD_OUT)
    parser.add_argument("--epochs", type=int, default=Shallow.epochs)
    options = parser.parse_args()
    recipe = Recipe()
    encoder, tokenizer = pretrained()
    net = StepNet(encoder, recipe.frozen_layers, recipe.width, recipe.dropout).eval()
    learned, kept = (States(net, tokenizer, recipe.max_tokens) for _ in range(2))
    for number, (text, request) in enumerate(texts_of(options.corpus)):
        (learned if number % KEPT else kept).add(text, request=request)
    for states in (learned, kept):
        states.read()
    print(f"{len(learned):,} training texts, {len(kept):,} held out", flush=True)
    lower = distil(net, learned, Shallow(epochs=options.epochs), _report)
    print(f"distance on the training texts {distance(net, lower, learned):.4f}, ", end="")
    print(f"on those held out {distance(net, lower, kept):.4f}")
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(lower.state_dict(), options.out / LOWER)


def _report(batch: int, batches: int, loss: float) -> None:
    if batch % 100 == 0:
        print(f"batch {batch} of {batches}: {loss:.4f}", flush=True)


if __name__ == "__main__":
    run(main)
