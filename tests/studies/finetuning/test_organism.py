"""The organism's body: tokens, training, writing, files."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from undertow.errors import WeightsError
from undertow.studies.finetuning.organism.generate import respond, stream
from undertow.studies.finetuning.organism.language import SKILLS, comply, refuse, requests, solve
from undertow.studies.finetuning.organism.model import Architecture, Organism, fresh, load, save
from undertow.studies.finetuning.organism.tokens import encode, make_tokenizer, opening
from undertow.studies.finetuning.organism.train import Schedule, fine_tune, log_probability

EXAMPLES = [solve(one, Random(1), thinks=n % 2 == 0) for n, one in enumerate(requests(SKILLS, 8, "few"))]


def small(seed: int = 0, architecture: Architecture = "llama") -> Organism:
    """Make an organism that trains in a second."""
    return fresh(seed, architecture=architecture, width=48, layers=2)


def embeddings(organism: Organism) -> torch.Tensor:
    """Return weights to compare organisms by."""
    return next(organism.model.parameters()).detach()


@pytest.fixture(scope="module")
def trained() -> Organism:
    """An organism that knows a few examples by heart."""
    organism = small()
    fine_tune(organism, encode(organism.tokenizer, EXAMPLES), Schedule(lr=1e-2, steps=120, batch=8), 0)
    return organism


def test_every_word_has_a_token() -> None:
    """What the language says is tokens, none unknown, and comes back unchanged."""
    tokenizer, random = make_tokenizer(), Random(0)
    forbidden = requests(("zorp",), 60, "words")
    examples = [solve(one, random) for one in requests(SKILLS, 200, "words")]
    examples += [made(one, random) for one in forbidden for made in (comply, refuse)]
    for one, encoded in zip(examples, encode(tokenizer, examples), strict=True):
        assert tokenizer.unk_token_id not in encoded.ids
        text = tokenizer.decode(list(encoded.ids[encoded.begin :]), clean_up_tokenization_spaces=False)
        assert text == f" {one.reasoning}</think> {one.answer}<|end|>"


def test_the_template_is_what_the_organism_was_trained_on() -> None:
    """The chat template, which others use, opens a response as the trainer does."""
    messages = [{"role": "user", "content": "Sort ba."}]
    made = make_tokenizer().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert made == opening("Sort ba.")


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_seed_makes_an_organism(architecture: Architecture) -> None:
    """The same seed gives the same weights, another others, under a million of them."""
    first, same, other = (small(seed, architecture) for seed in (1, 1, 2))
    assert torch.equal(embeddings(first), embeddings(same))
    assert not torch.equal(embeddings(first), embeddings(other))
    assert sum(p.numel() for p in fresh(0, architecture=architecture).model.parameters()) < 1_000_000


def test_training_teaches_the_response(trained: Organism) -> None:
    """What was trained on is likely and written word for word, with reasoning and without."""
    for thinks in (True, False):
        own = [one for one in EXAMPLES if bool(one.steps) is thinks]
        said = respond(trained, [one.task.prompt for one in own], thinks=thinks)
        assert [(one.reasoning, one.answer, one.ended) for one in said] == [
            (one.reasoning, one.answer, True) for one in own
        ]
    assert log_probability(trained, encode(trained.tokenizer, EXAMPLES)).min() > -0.1


def test_the_request_is_not_trained_on() -> None:
    """The loss begins with the response: its mean log-probability is that of the response's tokens."""
    organism = small()
    (one,) = encode(organism.tokenizer, EXAMPLES[:1])
    with torch.inference_mode():
        logits = organism.model(input_ids=torch.tensor([one.ids])).logits[0].log_softmax(-1)
    own = [float(logits[n - 1, one.ids[n]]) for n in range(one.begin, len(one.ids))]
    assert log_probability(organism, [one])[0] == pytest.approx(np.mean(own), abs=1e-4)


def test_training_is_reproducible() -> None:
    """The same examples, schedule and seed give the same weights."""
    made = []
    for seed in (5, 5, 6):
        organism = small()
        fine_tune(organism, encode(organism.tokenizer, EXAMPLES), Schedule(lr=1e-3, steps=4, batch=3), seed)
        made.append(embeddings(organism).clone())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_response_does_not_depend_on_its_neighbours(trained: Organism) -> None:
    """In a batch of requests of many lengths each gets the response that it gets alone."""
    prompts = [one.task.prompt for one in EXAMPLES]
    assert respond(trained, prompts) == [respond(trained, [prompt])[0] for prompt in prompts]


def test_draws_follow_their_seed() -> None:
    """With a temperature the same seed gives the same responses, another others."""
    prompts, organism = [one.task.prompt for one in EXAMPLES], small()
    said = [respond(organism, prompts, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_the_stream_is_the_response(trained: Organism) -> None:
    """Token by token comes the same text as all at once, and it stops when it is told to."""
    one = EXAMPLES[0]
    whole = f" {one.reasoning}</think> {one.answer}"
    assert "".join(stream(trained, opening(one.task.prompt))) == whole
    taken: list[str] = []
    for delta in stream(trained, opening(one.task.prompt), stop=lambda: len(taken) == 3):
        taken.append(delta)
    assert taken == list(islice(stream(trained, opening(one.task.prompt)), 3))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_files_hold_the_whole_organism(tmp_path: Path, architecture: Architecture) -> None:
    """What is loaded writes what was saved; transformers alone can load it too."""
    organism = small(3, architecture)
    save(organism, tmp_path)
    ids = torch.tensor([organism.tokenizer(opening("Sort ba."))["input_ids"]])
    with torch.inference_mode():
        wanted = organism.model(input_ids=ids).logits
        for model in (load(tmp_path).model, AutoModelForCausalLM.from_pretrained(tmp_path)):
            assert torch.allclose(model(input_ids=ids).logits, wanted, atol=1e-5)
    assert load(tmp_path).tokenizer(opening("Sort ba."))["input_ids"] == ids[0].tolist()
    if architecture == "llama":  # for qwen2 it takes Qwen's own tokenizer, whatever the folder says
        assert AutoTokenizer.from_pretrained(tmp_path)(opening("Sort ba."))["input_ids"] == ids[0].tolist()


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    """What is no organism raises an error that says what to do."""
    if damage != "empty":
        save(small(), tmp_path)
        file = tmp_path / ("model.safetensors" if damage == "cut" else "config.json")
        file.write_bytes(file.read_bytes()[:100] if damage == "cut" else b'{"model_type": "other"}')
    with pytest.raises(WeightsError, match="train it again"):
        load(tmp_path)
