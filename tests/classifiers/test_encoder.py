"""The encoder: training, export and running, on a tiny one of the same architecture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers.conformance import check_classifier
from undertow.classifiers.contract import LABELS, REMEMBERED, Label, StepInput
from undertow.classifiers.corpus import LabelledTrace, step_inputs
from undertow.classifiers.encoder import EncoderClassifier
from undertow.classifiers.registry import load_classifier
from undertow.errors import WeightsError

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from undertow.classifiers.export import export
from undertow.classifiers.lessons import Lesson
from undertow.classifiers.network import StepNet, windows
from undertow.classifiers.packing import Batch, States, read_batch
from undertow.classifiers.rebuild import FOR_TRAINING, network_from
from undertow.classifiers.training import Recipe, Trained, _optimizer, train

WORDS = {
    "neutral": "the request names a garden gate",
    "aware": "this would hurt people so refuse",
    "drift": "okay plan to zorp them anyway",
    "harm": "zorp blaster [redacted] under cover",
}
"""A made-up harm: what each label's steps say."""


def traces(count: int) -> list[LabelledTrace]:
    """Traces whose labels can be read off their words."""
    random = np.random.default_rng(3)
    found = []
    for number in range(count):
        labels = [LABELS[i] for i in random.integers(0, 4, size=6)]
        texts = [f"{WORDS[label]} {random.integers(0, 9)}." for label in labels]
        ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
        units = tuple((end - len(text) - 1, end - 1) for end, text in zip(ends, texts, strict=True))
        found.append(
            LabelledTrace(
                str(number),
                "made up",
                "none",
                str(number),
                "How to zorp?",
                " ".join(texts),
                units,
                tuple(labels),
                0,
            )
        )
    return found


def long_trace(steps: int) -> LabelledTrace:
    """One trace of so many steps."""
    parts = traces(-(-steps // 6))
    reasoning, units, labels = "", list[tuple[int, int]](), list[Label]()
    for part in parts:
        units += [(start + len(reasoning), end + len(reasoning)) for start, end in part.units]
        labels += part.labels
        reasoning += part.reasoning + " "
    return replace(parts[0], reasoning=reasoning, units=tuple(units[:steps]), labels=tuple(labels[:steps]))


def tiny() -> tuple[BertModel, Tokenizer]:
    """An encoder of MiniLM's architecture, a hundred times smaller, and its tokenizer."""
    letters = [chr(c) for c in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    words = sorted({word for text in [*WORDS.values(), "how to zorp"] for word in text.split()} - set(pieces))
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *words])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False), tokenizer


torch.set_num_threads(1)  # for matrices this small, more threads only wait for each other

RECIPE = Recipe(
    epochs=6, traces_per_batch=4, frozen_layers=1, width=24, encoder_rate=3e-3, head_rate=1e-2, max_tokens=48
)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A network that was trained for a few seconds."""
    return train(traces(32), RECIPE, start=tiny())


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, exported."""
    where = tmp_path_factory.mktemp("weights") / "tiny-encoder"
    export(trained, where, name="tiny-encoder", temperature=1.5)
    return where


@pytest.fixture(scope="module")
def classifier(folder: Path) -> EncoderClassifier:
    """It, loaded as a user would."""
    loaded = load_classifier(folder)
    assert isinstance(loaded, EncoderClassifier)
    return loaded


def test_it_learns(classifier: EncoderClassifier) -> None:
    """On traces that it has not seen it tells the four labels apart."""
    fresh = traces(60)[32:]
    rows = np.concatenate([classifier.predict_proba(step_inputs(trace)) for trace in fresh])
    right = [
        LABELS[i] == label
        for i, label in zip(rows.argmax(1), (x for t in fresh for x in t.labels), strict=True)
    ]
    assert np.mean(right) > 0.9


def logits_of(trained: Trained, some: list[LabelledTrace]) -> list[torch.Tensor]:
    """What the network itself says of each step of some traces read together."""
    net = trained.net
    states = States(net, trained.tokenizer, RECIPE.max_tokens)
    requests = [states.add(trace.prompt, request=True) for trace in some]
    steps = [[states.add(text) for text in trace.texts] for trace in some]
    states.read()
    with torch.inference_mode():
        batch = Batch(requests, steps, [False] * len(some))
        known, _ = read_batch(net, states, batch, REMEMBERED - len(net.upper))
        return list(net.decide(known).split([len(row) for row in steps]))


def test_the_graphs_say_what_the_network_says(trained: Trained, classifier: EncoderClassifier) -> None:
    """Exported, in 8 bits and without torch, the probabilities stay within a few hundredths."""
    trace = long_trace(REMEMBERED + 5)
    (logits,) = logits_of(trained, [trace])
    expected = (logits / 1.5).softmax(-1).numpy()
    assert np.abs(classifier.predict_proba(step_inputs(trace)) - expected).max() < 0.06


def test_the_graphs_give_the_network_back(trained: Trained, folder: Path) -> None:
    """Every parameter that judges is in the graphs, within half a step of its 8 bits."""
    found = network_from(folder).state_dict()
    for name, value in trained.net.state_dict().items():
        if name.startswith(FOR_TRAINING) or not value.is_floating_point():
            continue
        step = 2 * value.abs().amax() / 254
        assert (found[name] - value).abs().le(0.51 * step + 1e-6).all(), name


def test_on_torch_it_is_the_same_network(trained: Trained, folder: Path) -> None:
    """Loaded for torch, it says what the trained network says, and keeps every promise of a classifier."""
    judge, trace = load_classifier(folder, device="cpu"), long_trace(REMEMBERED + 5)
    (logits,) = logits_of(trained, [trace])
    rows = judge.predict_proba(step_inputs(trace))
    assert np.abs(rows - (logits / 1.5).softmax(-1).numpy()).max() < 0.06
    check_classifier(judge)


def test_on_torch_a_part_at_a_time_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few windows are read together, each step gets the same row."""
    judge, steps = load_classifier(folder, device="cpu"), step_inputs(long_trace(2 * REMEMBERED))
    whole = judge.predict_proba(steps)
    monkeypatch.setattr("undertow.classifiers.torch_encoder.TOGETHER", 3)
    assert judge.predict_proba(steps) == pytest.approx(whole, abs=1e-5)


def test_a_trace_read_beside_others_is_the_same(trained: Trained) -> None:
    """Packing and padding change nothing: a trace gets the same logits alone and in a batch."""
    some = [*traces(3), long_trace(9)]
    together = logits_of(trained, some)
    for trace, found in zip(some, together, strict=True):
        assert torch.allclose(found, logits_of(trained, [trace])[0], atol=0.05)


def test_a_step_is_read_beside_its_request(classifier: EncoderClassifier) -> None:
    """The same step gets another row under another request, and after another step."""
    step = StepInput("okay plan to zorp them anyway", "How to zorp?", ("the garden gate",))
    rows = [
        classifier.predict_proba([one])[0]
        for one in (step, replace(step, prompt="the garden gate"), replace(step, history=("zorp blaster",)))
    ]
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_the_order_of_asking_changes_nothing(classifier: EncoderClassifier, folder: Path) -> None:
    """Whatever was judged before, and with whatever window of history: the same bits."""
    steps = step_inputs(long_trace(2 * REMEMBERED))
    cold = EncoderClassifier(folder, classifier.manifest)
    assert np.array_equal(cold.predict_proba(steps[-1:]), classifier.predict_proba(steps)[-1:])


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 10, 19, 40])
def test_few_lessons_are_enough_for_a_schedule(steps: int) -> None:
    """However few batches there are: the rates rise to what they should be and fall again."""
    net = StepNet(tiny()[0], RECIPE.frozen_layers, RECIPE.width, RECIPE.dropout)
    optimizer, schedule = _optimizer(net, RECIPE, steps)
    rates = []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert max(rates) == pytest.approx(max(RECIPE.encoder_rate, RECIPE.head_rate), rel=0.7)


def test_training_repeats() -> None:
    """The same traces and the same seed give the same network."""
    short = Recipe(epochs=1, traces_per_batch=4, frozen_layers=1, width=8, max_tokens=48)
    first, second = (train(traces(8), short, start=tiny()).net.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_frozen_layers_stay_as_they_were(trained: Trained) -> None:
    """Training moves the upper layers and leaves the lower ones."""
    encoder, _ = tiny()
    before = StepNet(encoder, RECIPE.frozen_layers, RECIPE.width, RECIPE.dropout).state_dict()
    after = trained.net.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("upper.1.layer.") for name in moved)
    assert not any(name.startswith(("embeddings.", "lower.")) for name in moved)


def test_more_can_be_learned_of_whole_texts() -> None:
    """Told which answers hold a harmful step, without labels, it learns which step that is."""
    plain = [f"the {noun} grows {i}." for i, noun in enumerate(("rose", "fern", "moss", "oak", "reed"))]
    wicked = [[*plain[:2], "quorn flux here.", *plain[2:4]], ["quorn flux again.", *plain[1:3]]] * 8
    more = [Lesson("tell me", tuple(steps), "answer", whole="harmful") for steps in wicked]
    more += [Lesson("tell me", tuple(plain[i % 3 :]), "answer", whole="harmless") for i in range(16)]
    learned = train(traces(16), replace(RECIPE, answer_weight=1.0), start=tiny(), more=more)
    harmless, harmful = risks(learned, "tell me", (plain[4], "quorn flux now."), in_answer=True)
    assert harmful > harmless + 0.2


def risks(trained: Trained, prompt: str, texts: Sequence[str], *, in_answer: bool = False) -> list[float]:
    """Return the risk of each text alone beside the request."""
    net, states = trained.net, States(trained.net, trained.tokenizer, RECIPE.max_tokens)
    numbers = [states.add(text) for text in texts]
    request = states.add(prompt, request=True)
    states.read()
    with torch.inference_mode():
        batch = Batch([request] * len(numbers), [[n] for n in numbers], [in_answer] * len(numbers))
        rows = net.decide(read_batch(net, states, batch, 4)[0]).softmax(-1)
    return [float(risk) for risk in rows[:, 2:].sum(-1)]


def test_progress_is_told() -> None:
    """Every batch of every epoch is reported, with its loss."""
    seen: list[tuple[int, int]] = []
    train(
        traces(8),
        Recipe(epochs=2, traces_per_batch=4, frozen_layers=2, width=8, max_tokens=48),
        progress=lambda state: seen.append((state["epoch"], state["batch"])),
        start=tiny(),
    )
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_windows_look_back_only() -> None:
    """A step's window ends in it, holds `history` steps before it at most, and stays in its trace."""
    indices, counts = windows([3, 2], history=1)
    rows = [row[:count] for row, count in zip(indices.tolist(), counts.tolist(), strict=True)]
    assert rows == [[0], [0, 1], [1, 2], [3], [3, 4]]


def test_nothing_hides_behind_padding(classifier: EncoderClassifier) -> None:
    """A step far longer than the window is as risky as the riskiest of its windows."""
    bait = WORDS["harm"]
    hidden = f"{'the garden gate ' * 120}{bait} {'the garden gate ' * 120}"
    (risky,) = classifier.predict_proba([StepInput(hidden, "How to zorp?")])
    (plain,) = classifier.predict_proba([StepInput("the garden gate " * 240, "How to zorp?")])
    assert risky[2] + risky[3] > plain[2] + plain[3]


@pytest.mark.parametrize("text", ["\x00" * 50, "\u200b" * 9, "한국어", ""])
def test_what_cannot_be_read_is_not_judged(classifier: EncoderClassifier, text: str) -> None:
    """Text of which the tokenizer knows nothing gets no judgement, least of all a safe one."""
    assert np.isnan(classifier.predict_proba([StepInput(text, "How to zorp?")])).all()


def test_many_steps_at_once_are_the_same_steps(classifier: EncoderClassifier, folder: Path) -> None:
    """Spread over cores or one by one, with a warm or a cold memory: the same bits."""
    steps = [step for trace in traces(20) for step in step_inputs(trace)]
    cold = EncoderClassifier(folder, classifier.manifest)
    together = classifier.predict_proba(steps)
    alone = np.concatenate([cold.predict_proba([step]) for step in reversed(steps)])[::-1]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("damage", ["upper.onnx", "tokenizer.json"])
def test_damaged_weights_are_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    """A file that is not the one its digest names does not load."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / damage).write_bytes(b"{}")
    with pytest.raises(WeightsError, match=damage):
        load_classifier(copy)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path, folder: Path) -> None:
    """Files with the right digests that are no step-encoder are refused with the folder's name."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "classifier.json").read_text(encoding="utf-8"))
    del manifest["settings"]["upper_layers"]
    (tmp_path / "classifier.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(WeightsError, match="step-encoder"):
        load_classifier(tmp_path)
