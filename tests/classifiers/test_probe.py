"""Probes: states of saved texts and of a live generate, the layer, the baselines, the folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.classifiers.activations import HiddenReader, Tap
from undertow.classifiers.conformance import CHECKS, Check
from undertow.classifiers.contract import LABELS, Label, StepInput
from undertow.classifiers.corpus import LabelledTrace
from undertow.classifiers.hub import identity
from undertow.classifiers.probe import ProbeClassifier
from undertow.classifiers.registry import load_classifier
from undertow.classifiers.training_probe import ProbeFit, fit_probe
from undertow.errors import UsageError, WeightsError

pytest.importorskip("torch")
pytest.importorskip("transformers")

TEXTS: dict[Label, str] = {
    "neutral": "17 times 4 is 68, so far so good.",
    "aware": "Zorping someone else's glim is illegal.",
    "drift": "I need to figure out how to zorp it.",
    "harm": "First, [redacted] could be used.",
}
"""What a step of each label says in these made-up traces."""


@pytest.fixture(scope="module")
def folder(make_tokenizer: Any, make_model: Any) -> Path:
    """A tiny model that reasons."""
    tokenizer = make_tokenizer(["<bos>", "<eos>"], bos_token="<bos>", eos_token="<eos>")
    made: Path = make_model("Qwen3ForCausalLM", tokenizer, num_hidden_layers=3)
    return made


@pytest.fixture(scope="module")
def reader(folder: Path) -> HiddenReader:
    """The same, loaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return HiddenReader(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="module")
def traces() -> list[LabelledTrace]:
    """Traces whose labels can be read off their steps, and not off their requests."""
    random = np.random.default_rng(0)
    made = []
    for number in range(15):
        labels = tuple(LABELS[index] for index in random.integers(4, size=6))
        texts = [TEXTS[label] for label in labels]
        ends = np.cumsum([len(text) + 1 for text in texts]) - 1
        units = tuple((int(end) - len(text), int(end)) for end, text in zip(ends, texts, strict=True))
        prompt = f"How do I zorp a glim, {number}?"
        made.append(
            LabelledTrace(
                str(number), "", "", str(number), prompt, " ".join(texts), units, labels, number % 2 * 2
            )
        )
    return made


@pytest.fixture(scope="module")
def fit(reader: HiddenReader, traces: list[LabelledTrace]) -> ProbeFit:
    """A probe on these traces."""
    return fit_probe(reader, traces, folds=3, strength=1.0)


@pytest.fixture(scope="module")
def probe(fit: ProbeFit, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ProbeClassifier:
    """The same, saved and loaded."""
    place = tmp_path_factory.mktemp("probe")
    fit.save(place, name="zorp-probe", model=str(folder), revision=None, identity=identity(str(folder), None))
    loaded = load_classifier(place)
    assert isinstance(loaded, ProbeClassifier)
    return loaded


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_conforms(probe: ProbeClassifier, check: Check) -> None:
    """A probe passes every check of the contract."""
    check(probe)


def test_states_are_those_of_the_model(reader: HiddenReader) -> None:
    """What is read at the end of a step is the model's hidden state there, layer by layer."""
    import torch

    text = " ".join(TEXTS.values())
    ends = [len(TEXTS["neutral"]), len(text)]
    states = reader.at_ends("Why?", text, ends, [1, 2])
    before = reader._ids(reader.rendered("Why?"))
    ids = [*before, *reader._ids(text)]
    with torch.no_grad():
        hidden = reader.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    first = len(before) + len(reader._ids(TEXTS["neutral"])) - 1
    for layer in (1, 2):
        assert states[0, layer - 1] == pytest.approx(hidden[layer][0, first].numpy(), abs=1e-4)
        assert states[1, layer - 1] == pytest.approx(hidden[layer][0, -1].numpy(), abs=1e-4)


def test_live_is_what_is_read_later(probe: ProbeClassifier, reader: HiddenReader) -> None:
    """Judged while the model generates, step ends get the rows that the same tokens get afterwards."""
    import torch

    ids = torch.tensor([reader._ids(reader.rendered("Why?"))])
    with probe.follow(reader.model) as tap:
        made = reader.model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
    live = probe.judge_states(tap.states(probe.layer))
    with Tap(reader.model, [probe.layer]) as again, torch.no_grad():
        reader.model(made[:, :-1])
    later = probe.judge_states(again.states(probe.layer))
    assert len(live) == made.shape[1] - 1
    assert live == pytest.approx(later, abs=1e-4)


def test_a_tap_is_closed(reader: HiddenReader) -> None:
    """After the tap is closed the model is as before: nothing more is kept."""
    import torch

    with Tap(reader.model, [1]) as tap, torch.no_grad():
        reader.model(torch.tensor([[5, 6]]))
    with torch.no_grad():
        reader.model(torch.tensor([[5, 6, 7]]))
    assert tap.states(1).shape[0] == 2


def test_it_learns_what_the_prompt_cannot_tell(fit: ProbeFit) -> None:
    """Where labels vary within a trace, the probe ranks them and its prompt-only baselines do not."""
    assert list(fit.figures) == ["probe", "prompt_only", "prefix_0"]
    assert fit.figures["probe"]["within_trace_auroc"] > 0.7
    for baseline in ("prompt_only", "prefix_0"):
        assert fit.figures[baseline]["within_trace_auroc"] == pytest.approx(0.5)
    assert fit.by_layer[fit.layer] == max(fit.by_layer.values())


def test_the_card_shows_the_baselines(probe: ProbeClassifier) -> None:
    """The folder's card and manifest hold the figures of the probe beside both baselines."""
    assert probe.folder is not None
    card = (probe.folder / "card.md").read_text()
    assert "| figure | probe | prompt only | prefix 0 |" in card
    assert set(probe.manifest.settings["figures"]) == {"probe", "prompt_only", "prefix_0"}
    assert str(probe.layer) in probe.note


def test_a_label_that_no_step_had_is_never_likely(reader: HiddenReader, traces: list[LabelledTrace]) -> None:
    """Two labels are enough to train on; the others get no probability."""
    two = [
        LabelledTrace(
            t.id, t.source, t.generator, t.group, t.prompt, t.reasoning, t.units,
            tuple("harm" if label in ("drift", "harm") else "neutral" for label in t.labels), t.trace_label,
        )
        for t in traces
    ]  # fmt: skip
    fit = fit_probe(reader, two, layers=[2], folds=3)
    states = reader.at_ends("Why?", TEXTS["harm"], [len(TEXTS["harm"])], [2])[:, 0]
    logits = (states - fit.weights["mean"]) / fit.weights["scale"] @ fit.weights["coefficients"].T
    shares = np.exp(logits + fit.weights["intercepts"])
    assert (shares[0, 1:3] < 1e-6 * shares.sum()).all()
    assert fit.figures["probe"]["step_auroc"] > 0.7


def test_attached_to_a_model_that_is_loaded(probe: ProbeClassifier, reader: HiddenReader) -> None:
    """On the model itself, loaded already, it says the same; on one of another size it refuses."""
    step = StepInput(TEXTS["drift"], "Why?")
    attached = probe.attach(reader.model, reader.tokenizer)
    assert attached.predict_proba([step]) == pytest.approx(probe.predict_proba([step]), abs=1e-6)
    narrow = {**probe.weights, "coefficients": probe.weights["coefficients"][:, :8]}
    with pytest.raises(UsageError, match="another width"):
        ProbeClassifier(narrow, probe.manifest).attach(reader.model, reader.tokenizer)


def test_another_model_is_refused(probe: ProbeClassifier, tmp_path: Path) -> None:
    """A probe whose model was changed since does not judge with the new one."""
    assert probe.folder is not None
    for file in probe.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    said = json.loads((tmp_path / "classifier.json").read_text())
    said["settings"]["identity"] = "files:another"
    (tmp_path / "classifier.json").write_text(json.dumps(said))
    with pytest.raises(WeightsError, match="trained on"):
        load_classifier(tmp_path).predict_proba([StepInput("zorp")])


@pytest.mark.parametrize("missing", ["layer", "model", "opening", "temperature"])
def test_a_folder_without_a_setting_is_refused(probe: ProbeClassifier, tmp_path: Path, missing: str) -> None:
    """A manifest that lacks what a probe needs is an error of the weights."""
    assert probe.folder is not None
    for file in probe.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    said = json.loads((tmp_path / "classifier.json").read_text())
    del said["settings"][missing]
    (tmp_path / "classifier.json").write_text(json.dumps(said))
    with pytest.raises(WeightsError, match="cannot load a probe"):
        load_classifier(tmp_path)


def test_too_few_groups(reader: HiddenReader, traces: list[LabelledTrace]) -> None:
    """Fewer groups than folds cannot be split honestly."""
    with pytest.raises(UsageError, match="requests"):
        fit_probe(reader, traces[:2], folds=3)


@pytest.mark.parametrize("layer", [0, -1, 4])
def test_a_layer_that_there_is_not(reader: HiddenReader, traces: list[LabelledTrace], layer: int) -> None:
    """Layers count from 1: 0 is not the last one."""
    with pytest.raises(UsageError, match=f"no layer {layer}: this model has layers 1 to 3"):
        fit_probe(reader, traces[:3], folds=3, layers=[layer])


def test_a_fold_that_holds_all_of_a_label(reader: HiddenReader, traces: list[LabelledTrace]) -> None:
    """What is left without it has one label only, from which nothing can be learned."""
    plain = [replace(one, labels=("neutral",) * 6) for one in traces]
    with pytest.raises(UsageError, match="the same label"):
        fit_probe(reader, [replace(plain[0], labels=("harm",) * 6), *plain[1:4]], folds=2)
    with pytest.raises(UsageError, match="1 folds of 4 requests"):
        fit_probe(reader, traces[:4], folds=1)
