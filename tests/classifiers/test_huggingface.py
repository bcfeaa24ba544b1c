"""Any Hugging Face sequence classifier: its classes become our columns, and it says which it lacks."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.classifiers.conformance import CHECKS, Check
from undertow.classifiers.contract import Label, StepInput
from undertow.classifiers.huggingface import HuggingFaceClassifier, guess_labels
from undertow.classifiers.registry import load_classifier
from undertow.errors import UsageError, WeightsError

pytest.importorskip("torch")
pytest.importorskip("transformers")

STEPS = [StepInput("I need to zorp it."), StepInput("I refuse."), StepInput("17 times 4 is 68.")]
HARM: Mapping[str, Label] = {"safe": "neutral", "unsafe": "harm"}


@pytest.fixture(scope="module")
def folder(make_tokenizer: Any, make_model: Any) -> Path:
    """A tiny BERT that tells safe from unsafe, with a window of 64 tokens."""
    tokenizer = make_tokenizer(["[PAD]", "[CLS]", "[SEP]"], pad_token="[PAD]", eos_token="[SEP]")
    made: Path = make_model(
        "BertForSequenceClassification",
        tokenizer,
        max_position_embeddings=64,
        id2label={0: "safe", 1: "unsafe"},
        label2id={"safe": 0, "unsafe": 1},
    )
    return made


@pytest.fixture(scope="module")
def classifier(folder: Path) -> HuggingFaceClassifier:
    """The same, loaded, its classes mapped by hand."""
    return HuggingFaceClassifier(str(folder), labels=HARM)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_conforms(classifier: HuggingFaceClassifier, check: Check) -> None:
    """A sequence classifier passes every check of the contract."""
    check(classifier)


def test_rows_are_those_of_transformers(folder: Path, classifier: HuggingFaceClassifier) -> None:
    """P(harm) is what transformers itself computes, and the columns it lacks stay empty."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        ids = tokenizer(STEPS[0].text, return_tensors="pt")["input_ids"]
        shares = model(input_ids=ids).logits.softmax(-1)[0].numpy()
    (row,) = classifier.predict_proba(STEPS[:1])
    assert row == pytest.approx([shares[0], 0, 0, shares[1]], abs=1e-6)
    assert classifier.note == "it gives only the labels neutral and harm, never aware or drift"


def test_the_riskiest_window_counts(classifier: HuggingFaceClassifier) -> None:
    """A step longer than the model's window is as risky as the riskiest of its windows."""
    text = "17 times 4 is 68, so far so good. " * 30 + STEPS[0].text
    windows = classifier._windows([text])[1]
    assert len(windows) > 2
    (row,) = classifier.predict_proba([StepInput(text)])
    assert row[3] == max(read[3] for read in classifier._read(windows))


def test_a_window_that_overflows(folder: Path, multi: HuggingFaceClassifier) -> None:
    """A model that gives no finite number in one window, or for one class, has not judged the step."""
    classifier = HuggingFaceClassifier(str(folder), labels=HARM)
    embeddings = classifier._model.get_input_embeddings().weight.data
    embeddings[classifier._tokenizer("§", add_special_tokens=False)["input_ids"]] = float("nan")
    long = "17 times 4 is 68, so far so good. " * 30
    steps = [StepInput(text) for text in (long + "§", "§" + long, long)]
    assert np.isnan(classifier.predict_proba(steps)).all(axis=1).tolist() == [True, True, False]
    multi._model.classifier.bias.data[1] = float("inf")
    assert np.isnan(multi.predict_proba(STEPS)).all()


def test_marks_in_a_text_are_text(classifier: HuggingFaceClassifier) -> None:
    """A text that spells the model's special tokens neither ends early nor looks padded to it."""
    _, (window,) = classifier._windows(["I [SEP] zorp[PAD]"])
    assert classifier._tokenizer.decode(window) == "I [SEP] zorp[PAD]"
    assert not classifier._special.intersection(window)


def test_nothing_that_the_model_knows(make_model: Any) -> None:
    """A step of which its tokenizer knows nothing was not read by the model, so it is not judged."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "zorp"]
    reader = pytest.importorskip("transformers").BertTokenizerFast
    tokenizer = reader(vocab={word: index for index, word in enumerate(words)})
    made = make_model("BertForSequenceClassification", tokenizer, id2label={0: "safe", 1: "unsafe"})
    rows = HuggingFaceClassifier(str(made), labels=HARM).predict_proba(
        [StepInput(text) for text in ("\u200b", "Привет", "[MASK]", "Zorp привет")]
    )
    assert np.isnan(rows).all(axis=1).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("LlamaForSequenceClassification", {"pad_token_id": None}),
        ("BartForSequenceClassification", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}),
    ],
)
def test_decoders(make_tokenizer: Any, make_model: Any, architecture: str, shape: dict[str, Any]) -> None:
    """One has no token for padding, another looks for the token of the end: both judge several steps."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer(["[PAD]", "[CLS]", "[SEP]"], pad_token="[PAD]", eos_token="[SEP]")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made = make_model(architecture, tokenizer, id2label={0: "safe", 1: "unsafe"}, **shape)
    classifier = HuggingFaceClassifier(str(made), labels=HARM)
    steps = [StepInput("zorp[SEP]"), StepInput("zorp[PAD]")]
    assert len({len(window) for window in classifier._windows([step.text for step in steps])[1]}) == 1
    rows = classifier.predict_proba(steps)
    assert rows == pytest.approx(np.concatenate([classifier.predict_proba([step]) for step in steps]))


@pytest.mark.parametrize("text", [" \n", "glim " * 9999], ids=["empty", "endless"])
def test_not_judged(classifier: HuggingFaceClassifier, text: str) -> None:
    """A step without text, or far longer than any step, gets no row."""
    assert np.isnan(classifier.predict_proba([StepInput(text)])).all()


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["safe", "unsafe"], ["neutral", "harm"]),
        (["SAFE", "Jailbreak"], ["neutral", "harm"]),
        (["non-toxic", "toxic"], ["neutral", "harm"]),
        (["unharmful", "harmful"], ["neutral", "harm"]),
        (["not_harmful", "harmful"], ["neutral", "harm"]),
        (["NOT_HATE_SPEECH", "hate_speech"], ["neutral", "harm"]),
        (["nothate", "hate"], ["neutral", "harm"]),
        (["Normal", "toxic"], ["neutral", "harm"]),
        (["Safe", "Controversial", "Unsafe"], ["neutral", "drift", "harm"]),
        (["benign", "malicious", "refusal"], ["neutral", "harm", "aware"]),
        (["harm", "drift", "aware", "neutral"], ["harm", "drift", "aware", "neutral"]),
    ],
    ids="-".join,
)
def test_guesses_by_names(names: list[str], labels: list[str]) -> None:
    """The names of classes say which label they stand for; a guess is never silent."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert list(guess_labels(names, "org/name").values()) == labels
    assert bool(told) == (set(names) != {"harm", "drift", "aware", "neutral"})


@pytest.mark.parametrize(
    "names",
    [
        ["LABEL_0", "LABEL_1"],
        ["safe", "zorp"],
        ["safe", "neutral"],
        ["not_safe", "toxic"],
        ["nonsafe", "bad"],
        ["toxic", "non_consensual"],
        ["toxic", "non_violent_crimes"],
        ["toxic", "noxious"],
    ],
)
def test_refuses_to_guess(names: list[str]) -> None:
    """Names that say nothing, or no harm, are not guessed at; the message shows what to write."""
    with pytest.raises(UsageError, match=rf"hf:org/name\?{names[0]}=neutral&{names[1]}=harm"):
        guess_labels(names, "org/name")


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ({"safe": "neutral"}, "each class"),
        ({"safe": "neutral", "unsafe": "bad"}, "one of neutral"),
        ({"safe": "neutral", "unsafe": "aware"}, "could ever have a risk"),
    ],
    ids=["a class is missing", "no label", "nothing unsafe"],
)
def test_a_wrong_map_is_refused(folder: Path, labels: Mapping[str, Label], match: str) -> None:
    """A map must name every class, with our labels, and one of them must be unsafe."""
    with pytest.raises(UsageError, match=match):
        HuggingFaceClassifier(str(folder), labels=labels)


def test_by_name(folder: Path, classifier: HuggingFaceClassifier) -> None:
    """`hf:` and options load the same classifier through the registry, once."""
    name = f"hf:{folder}?safe=neutral&unsafe=harm"
    loaded = load_classifier(name)
    assert loaded.digest == classifier.digest
    assert loaded is load_classifier(name)


def test_a_copy_in_another_process_has_the_same_weights(folder: Path, tmp_path: Path) -> None:
    """If the files changed after the classifier was loaded, a worker refuses to judge in its name."""
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    sent = pickle.dumps(HuggingFaceClassifier(str(place), labels=HARM))
    assert pickle.loads(sent).predict_proba(STEPS).shape == (3, 4)
    said(place, id2label={0: "unsafe", 1: "safe"})
    with pytest.raises(WeightsError, match="changed after the classifier was loaded"):
        pickle.loads(sent)


def test_another_map_has_another_digest(folder: Path, classifier: HuggingFaceClassifier) -> None:
    """Verdicts made with another map must not look like those of this one."""
    other = HuggingFaceClassifier(str(folder), labels={"safe": "neutral", "unsafe": "drift"})
    assert other.digest != classifier.digest


@pytest.mark.parametrize("name", ["hf:", "hf:org/name@http://localhost:1/v1", "hf:org/name?safe=zorp"])
def test_wrong_names(name: str) -> None:
    """A name that cannot be is wrong usage, before anything is fetched."""
    with pytest.raises(UsageError):
        load_classifier(name)


def test_no_such_model(tmp_path: Path) -> None:
    """A folder without a model is an error of the weights that says what is needed."""
    with pytest.raises(WeightsError, match="safetensors"):
        HuggingFaceClassifier(str(tmp_path))


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda place: (place / "model.safetensors").write_bytes(b"zorp" * 99), "cannot load"),
        (lambda place: (place / "config.json").write_text("[]"), "cannot load"),
        (lambda place: said(place, id2label={"0": "a", "1": "b", "2": "c"}), "cannot load"),
        (lambda place: said(place, num_hidden_layers=3), "lacks 16 weights"),
        (lambda place: [path.unlink() for path in place.glob("tokenizer*")], "no vocabulary"),
    ],
    ids=["damaged weights", "no object", "another size", "a layer is missing", "no tokenizer"],
)
def test_a_folder_that_is_not_whole(
    folder: Path, tmp_path: Path, damage: Callable[[Path], object], match: str
) -> None:
    """Nothing is made up in the place of what is missing or damaged, and nothing crashes."""
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    damage(place)
    with pytest.raises(WeightsError, match=match):
        HuggingFaceClassifier(str(place), labels=HARM)


def said(place: Path, **changes: object) -> None:
    """Change what a model's configuration says."""
    path = place / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_output_without_a_name(folder: Path, tmp_path: Path) -> None:
    """Classes that are numbered from one leave the first output unnamed: nothing is guessed of it."""
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    said(place, id2label={1: "safe", 2: "unsafe"})
    with pytest.raises(UsageError, match=r"from their names \(LABEL_0, safe\); map each"):
        HuggingFaceClassifier(str(place))
    given: dict[str, Label] = {"LABEL_0": "neutral", "safe": "harm"}
    assert np.isfinite(HuggingFaceClassifier(str(place), labels=given).predict_proba(STEPS)).all()


def test_a_model_that_was_not_trained_to_classify(make_tokenizer: Any, make_model: Any) -> None:
    """Without the weights of its head, which transformers would draw at random, it is no classifier."""
    tokenizer = make_tokenizer(["[PAD]", "[CLS]", "[SEP]"], pad_token="[PAD]", eos_token="[SEP]")
    bare = make_model("BertModel", tokenizer, id2label={0: "safe", 1: "unsafe"})
    with pytest.raises(WeightsError, match=r"lacks 2 weights .* such as classifier\.bias"):
        HuggingFaceClassifier(str(bare), labels=HARM)


def test_code_is_never_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that brings code is refused without a question, which a line of standard input could answer."""
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    said(place, model_type="zorp", auto_map={"AutoConfig": "zorp.ZorpConfig"})
    (place / "zorp.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda question="": "y")
    with pytest.raises(WeightsError, match="no code of its own"):
        HuggingFaceClassifier(str(place), labels=HARM)
    assert not (tmp_path / "ran").exists()


def test_an_adapter(folder: Path, tmp_path: Path) -> None:
    """Its digest could not tell which weights it was put upon, so it must be merged with them."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    shape = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        peft.get_peft_model(model, shape).save_pretrained(tmp_path)
    for file in folder.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    with pytest.raises(WeightsError, match="merge"):
        HuggingFaceClassifier(str(tmp_path), labels=HARM)


def test_no_such_device(folder: Path) -> None:
    """A device that torch does not know is wrong usage."""
    with pytest.raises(UsageError, match="on 'zorp'"):
        HuggingFaceClassifier(str(folder), labels=HARM, device="zorp")


def test_a_tokenizer_written_in_python(make_model: Any) -> None:
    """Its windows hold the whole text, each between its marks, as those of a tokenizer in Rust do."""
    from transformers import ByT5Tokenizer

    made = make_model("BertForSequenceClassification", ByT5Tokenizer(), max_position_embeddings=64)
    classifier = HuggingFaceClassifier(str(made), labels={"LABEL_0": "neutral", "LABEL_1": "harm"})
    text = STEPS[0].text * 9
    _, windows = classifier._windows([text])
    assert max(map(len, windows)) == classifier._limit
    assert classifier._tokenizer.decode([i for window in windows for i in window[:-1]]) == text
    rows = classifier.predict_proba([*STEPS, StepInput(text)])
    assert rows.sum(axis=1) == pytest.approx(1)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    """Weights that only exist as a pickle are never opened."""
    import torch

    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="safetensors"):
        HuggingFaceClassifier(str(tmp_path / "model"), labels=HARM)


@pytest.fixture
def multi(make_tokenizer: Any, make_model: Any) -> Iterator[HuggingFaceClassifier]:
    """A tiny model whose classes each have a probability of their own."""
    tokenizer = make_tokenizer(["[PAD]", "[CLS]", "[SEP]"], pad_token="[PAD]", eos_token="[SEP]")
    names = {0: "toxic", 1: "insult", 2: "threat"}
    made = make_model(
        "DistilBertForSequenceClassification",
        tokenizer,
        dim=32,
        hidden_dim=64,
        n_layers=1,
        n_heads=4,
        id2label=names,
        label2id={name: index for index, name in names.items()},
        problem_type="multi_label_classification",
    )
    with pytest.warns(UserWarning, match="toxic → harm, insult → harm, threat → harm"):
        yield HuggingFaceClassifier(str(made))


def test_many_labels_at_once(multi: HuggingFaceClassifier) -> None:
    """Where several classes of harm can hold at once, the likeliest of them is P(harm)."""
    import torch

    rows = multi.predict_proba(STEPS)
    ids = torch.tensor([multi._tokenizer(STEPS[0].text)["input_ids"]])
    with torch.no_grad():
        shares = multi._model(input_ids=ids).logits.sigmoid()
    assert rows[0] == pytest.approx([1 - float(shares.max()), 0, 0, float(shares.max())], abs=1e-6)
    assert multi.note == "it gives only the labels neutral and harm, never aware or drift"


def test_pinned_by_commit(folder: Path, tmp_path: Path) -> None:
    """From the hub's cache a name gets the commit into its digest, and no revision gets a warning."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "hub" / "models--org--guard"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    code = (
        "import warnings; warnings.simplefilter('always')\n"
        "from undertow.classifiers.huggingface import HuggingFaceClassifier as C\n"
        "labels = {'safe': 'neutral', 'unsafe': 'harm'}\n"
        f"print(C('org/guard', '{commit}', labels).digest == C('org/guard', None, labels).digest)"
    )
    surroundings = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=surroundings
    )
    assert done.stdout.strip() == "True", done.stderr
    assert f"write org/guard@{commit}" in done.stderr
