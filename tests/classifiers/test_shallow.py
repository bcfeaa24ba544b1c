"""The lower layers are replaced by fewer and narrower ones that give nearly the same states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow.classifiers.corpus import step_inputs
from undertow.classifiers.export import export
from undertow.classifiers.network import StepNet
from undertow.classifiers.packing import States
from undertow.classifiers.rebuild import network_from
from undertow.classifiers.registry import load_classifier
from undertow.classifiers.shallow import Shallow, distance, distil, lower_of, replaced
from undertow.classifiers.training import FINISH, Recipe, Trained, finish, train

from .test_encoder import long_trace, tiny, traces

RECIPE = Recipe(epochs=1, traces_per_batch=4, frozen_layers=2, width=16, head_rate=1e-2, max_tokens=48)
SHALLOW = Shallow(layers=1, inner=32, epochs=12, tokens_per_batch=200)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A network with two lower layers."""
    return train(traces(16), RECIPE, start=tiny())


@pytest.fixture(scope="module")
def states(trained: Trained) -> States:
    """What they make of some texts."""
    found = States(trained.net, trained.tokenizer, RECIPE.max_tokens)
    for trace in traces(40):
        for text in (trace.prompt, *trace.texts):
            found.add(text)
    found.read()
    return found


@pytest.fixture(scope="module")
def lower(trained: Trained, states: States) -> torch.nn.ModuleList:
    """One layer in their place."""
    return distil(trained.net, states, SHALLOW)


def test_the_states_come_near(trained: Trained, states: States, lower: torch.nn.ModuleList) -> None:
    """What was taught is several times nearer than what it began as; the layers themselves are there."""
    untaught = distil(trained.net, states, Shallow(layers=1, inner=32, epochs=0))
    assert distance(trained.net, lower, states) < 0.3 * distance(trained.net, untaught, states)
    assert distance(trained.net, trained.net.lower, states) < 1e-3


def test_nothing_else_is_touched(trained: Trained, lower: torch.nn.ModuleList) -> None:
    """The network that was asked keeps its layers, and the one that is given keeps all but those."""
    assert isinstance(trained.net, StepNet) and len(trained.net.lower) == 2
    other = replaced(trained, lower).net
    mine, theirs = trained.net.state_dict(), other.state_dict()
    assert len(other.lower) == 1
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs if not name.startswith("lower."))


def test_progress_is_told(trained: Trained, states: States) -> None:
    """Every batch is reported with its number, and the distance falls."""
    said: list[tuple[int, int, float]] = []
    distil(trained.net, states, SHALLOW, lambda *state: said.append(state))
    assert [state[0] for state in said] == list(range(said[0][1]))
    assert np.mean([loss for *_, loss in said[-5:]]) < np.mean([loss for *_, loss in said[:5]])


def test_they_are_made_again_from_their_weights(trained: Trained, lower: torch.nn.ModuleList) -> None:
    """Their number and width are read off the weights."""
    again = lower_of(trained.net, lower.state_dict())
    assert len(again) == 1
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), lower.parameters(), strict=True))


def test_what_is_exported_is_the_shallow_network(
    trained: Trained, lower: torch.nn.ModuleList, tmp_path: Path
) -> None:
    """The graphs hold the narrower layers, on onnxruntime and on torch alike."""
    export(replaced(trained, lower), tmp_path)
    assert network_from(tmp_path).state_dict()["lower.0.intermediate.dense.bias"].shape == (32,)
    steps = step_inputs(long_trace(8))
    graphs, torched = (load_classifier(tmp_path, device).predict_proba(steps) for device in (None, "cpu"))
    assert np.abs(graphs - torched).max() < 0.06


def test_then_all_layers_are_trained_on(trained: Trained, lower: torch.nn.ModuleList) -> None:
    """The new lower layers learn with the others, at a rate of their own; what was given is not changed."""
    said: list[float] = []
    before = {name: value.clone() for name, value in lower.state_dict().items()}
    recipe = replace(RECIPE, lower_rate=1e-3, epochs=4, seed=1)
    done = finish(
        trained, lower, traces(16), recipe=recipe, progress=lambda state: said.append(state["loss"])
    ).net
    assert all(torch.equal(before[name], value) for name, value in lower.state_dict().items())
    moved = {name for name, value in done.lower.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == set(before)
    assert torch.equal(done.embeddings.word_embeddings.weight, trained.net.embeddings.word_embeddings.weight)
    assert np.mean(said[-4:]) < np.mean(said[:4])
    assert FINISH.lower_rate > 0 == RECIPE.lower_rate


def test_states_are_the_same_read_at_once_or_when_asked_for(trained: Trained, states: States) -> None:
    """Kept or read again, beside short and long texts: the same within 16 bits."""
    again = States(trained.net, trained.tokenizer, RECIPE.max_tokens)
    for trace in traces(40):
        for text in (trace.prompt, *trace.texts):
            again.add(text)
    again.read(keep=False)
    some = [5, 0, 17, 5]
    with torch.inference_mode():
        for kept, asked in zip(states.of(some), again.of(some), strict=True):
            assert torch.allclose(kept.float(), asked.float(), atol=0.05)
