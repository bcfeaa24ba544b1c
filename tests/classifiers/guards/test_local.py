"""Guards on this machine, on tiny models of their real architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.classifiers.conformance import CHECKS, Check
from undertow.classifiers.contract import StepInput
from undertow.classifiers.guards import FAMILIES
from undertow.classifiers.guards.classifier import GuardClassifier, JudgeClassifier
from undertow.classifiers.guards.local import LocalGuard
from undertow.classifiers.registry import load_classifier
from undertow.errors import CannotJudge, UsageError, WeightsError

pytest.importorskip("torch")
pytest.importorskip("transformers")

LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
CHAT = (
    "{{ bos_token or '' }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
"""A stand-in for the template that comes with a guard's tokenizer."""

STEP = StepInput("I need to zorp it.", "How do I zorp a glim?", ("Okay, the user is asking.",))


@pytest.fixture(scope="module")
def llama(make_tokenizer: Any, make_model: Any) -> Path:
    """A tiny Llama Guard 3."""
    tokenizer = make_tokenizer(LLAMA, bos_token=LLAMA[0], eos_token=LLAMA[3], chat_template=CHAT)
    made: Path = make_model("LlamaForCausalLM", tokenizer, max_position_embeddings=4096)
    return made


@pytest.fixture(scope="module")
def guard(llama: Path) -> GuardClassifier:
    """The same as a classifier."""
    return GuardClassifier(str(llama), family="llama-guard-3")


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_conforms(guard: GuardClassifier, check: Check) -> None:
    """A guard that generates passes every check of the contract."""
    check(guard)


def test_the_first_word_is_weighed(guard: GuardClassifier, llama: Path) -> None:
    """P(harm) is the share of the logit of `unsafe` where the answer begins, on the prompt as it stands."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(llama),
        AutoModelForCausalLM.from_pretrained(llama),
    )
    (prompt,) = FAMILIES["llama-guard-3"].render(STEP.prompt, STEP.text)
    assert isinstance(prompt, str)
    text = LLAMA[0] + prompt + "\n\n"
    safe, unsafe = (
        tokenizer(text + word, add_special_tokens=False)["input_ids"] for word in ("safe", "unsafe")
    )
    fork = next(i for i, pair in enumerate(zip(safe, unsafe, strict=False)) if pair[0] != pair[1])
    with torch.no_grad():
        shares = model(torch.tensor([safe[:fork]])).logits[0, -1, [safe[fork], unsafe[fork]]].softmax(-1)
    (row,) = guard.predict_proba([STEP])
    assert row == pytest.approx([float(shares[0]), 0, 0, float(shares[1])], abs=1e-6)
    assert guard.note == "it gives only the labels neutral and harm, never aware or drift"


@pytest.mark.parametrize(
    ("architecture", "family", "shape"),
    [
        ("Qwen3ForCausalLM", "qwen3guard", {}),
        ("Gemma2ForCausalLM", "shieldgemma", {"query_pre_attn_scalar": 8, "sliding_window": 512}),
        ("MistralForCausalLM", "wildguard", {}),
        ("GraniteForCausalLM", "granite-guardian-3", {}),
        ("LlamaForCausalLM", "reasoningshield", {}),
    ],
)
def test_every_architecture(
    make_tokenizer: Any, make_model: Any, architecture: str, family: str, shape: dict[str, Any]
) -> None:
    """A guard of each architecture judges, or says that it did not answer; it never makes a row up."""
    tokenizer = make_tokenizer(["<bos>", "<eos>"], bos_token="<bos>", eos_token="<eos>", chat_template=CHAT)
    place = str(make_model(architecture, tokenizer, **shape))
    guard = GuardClassifier(place, family=family)
    rows = guard.predict_proba([STEP, StepInput("I refuse.", STEP.prompt)])
    if guard._family.lead is None:  # it must write first, and with random weights it writes no answer
        assert np.isnan(rows).all()
    else:
        assert rows.sum(axis=1) == pytest.approx([1, 1])
        assert rows[0] != pytest.approx(rows[1], abs=1e-9)


class Recorded(LocalGuard):
    """A guard whose writing is recorded, and whose logits are its own."""

    said = ""

    def write(self, text: str, tokens: int) -> str:
        """Give the recording."""
        return self.said


@pytest.mark.parametrize(
    ("family", "said", "refusal"),
    [
        ("wildguard", "Harmful request: yes\nResponse refusal: yes\nHarmful response: no", True),
        ("qwen3guard", "Safety: Safe\nCategories: None\nRefusal: No", False),
        ("guardreasoner", "Answers: \nRequest: harmful\nCompletion: compliance\nResponse: harmful", False),
        ("reasoningshield", '"Analysis": none\n"Judgment": 0.5', None),
        ("granite-guardian-4", "<think>\n</think><score> no </score>", None),
    ],
)
def test_what_it_wrote_is_weighed(llama: Path, family: str, said: str, refusal: bool | None) -> None:
    """After the writing, the answers are weighed where the answer stands; a refusal is aware."""
    backend = Recorded(str(llama))
    backend.said = said
    (row,) = GuardClassifier("x", family=family, speak=True, backend=backend).predict_proba([STEP])
    assert row.sum() == pytest.approx(1)
    assert (row[1] > 0) == bool(refusal)
    assert 0 < row[2] + row[3] < 1


def test_a_question_that_overflows(llama: Path) -> None:
    """If the guard gives no finite number for one of its questions, the step is not judged."""
    backend = LocalGuard(str(llama))
    embeddings = backend._model.get_input_embeddings().weight.data
    embeddings[backend._ids("Harassment")[-1]] = float("nan")  # of the last of the four principles
    guard = GuardClassifier("x", family="shieldgemma", backend=backend)
    assert np.isnan(guard.predict_proba([STEP])).all()


def test_an_answer_that_begins_another(llama: Path) -> None:
    """`0` and `0.5` are told apart by what follows the zero, and all shares are those of the whole paths."""
    import torch

    backend = LocalGuard(str(llama))
    shares = backend.weigh('"Judgment": ', ["0", "0.5", "1"])
    assert sum(shares.values()) == pytest.approx(1)
    with torch.no_grad():
        ids = backend._ids('"Judgment": 0')
        after = backend._model(torch.tensor([ids])).logits[0, -1]
    half = backend._ids('"Judgment": 0.5')
    assert half[: len(ids)] == ids
    ends = after[[half[len(ids)], backend._end]].softmax(-1)
    assert shares["0.5"] / shares["0"] == pytest.approx(float(ends[0] / ends[1]), rel=1e-4)


def test_a_prompt_that_does_not_fit_is_not_judged(guard: GuardClassifier) -> None:
    """A prompt longer than the model's window gives no row, and never a safe one."""
    assert np.isnan(guard.predict_proba([StepInput("zorp", "z" * 3999, ())])).all()


@pytest.mark.parametrize("text", ["", " \n", "glim " * 9999], ids=["empty", "spaces", "endless"])
def test_not_judged(guard: GuardClassifier, text: str) -> None:
    """A step without text, or far longer than any step, gets no row."""
    assert np.isnan(guard.predict_proba([StepInput(text)])).all()


def test_context_is_what_was_asked_for(llama: Path) -> None:
    """As many earlier steps are shown as asked for, the latest ones."""
    step = StepInput("now", "why", ("first", "second", "third"))
    shown = [
        GuardClassifier(str(llama), family="wildguard", context=count)._shown(step) for count in (0, 2, 9)
    ]
    assert shown == ["now", "second third now", "first second third now"]
    judged = JudgeClassifier(str(llama), context=1)._shown(StepInput("a\n\nb", "", ("c\n \nd",)))
    assert judged == "c\nd\n\na\nb"


def test_by_name(llama: Path, guard: GuardClassifier) -> None:
    """`guard:` with options loads the same guard, and the model behind it only once."""
    loaded = load_classifier(f"guard:{llama}?family=llama-guard-3")
    assert loaded.digest == guard.digest
    again = GuardClassifier(str(llama), family="wildguard")
    assert isinstance(loaded, GuardClassifier)
    assert loaded._backend is again._backend


def test_digests_tell_settings_apart(llama: Path) -> None:
    """Another family, context or way of asking is another classifier."""
    made = [{"family": "llama-guard-3"}, {"family": "wildguard"}, {"family": "wildguard", "context": 3}]
    digests = {GuardClassifier(str(llama), **settings).digest for settings in made}  # type: ignore[arg-type]
    assert len(digests) == len(made)


def test_a_template_that_is_missing_or_refuses(make_tokenizer: Any, make_model: Any) -> None:
    """Without a chat template such a guard is refused; where its template refuses, it cannot judge."""
    tokenizer = make_tokenizer(["<eos>"], eos_token="<eos>")
    with pytest.raises(WeightsError, match="no chat template"):
        GuardClassifier(str(make_model("LlamaForCausalLM", tokenizer)), family="granite-guardian-4")
    tokenizer.chat_template = "{{ raise_exception('no roles') }}"
    guard = GuardClassifier(str(make_model("LlamaForCausalLM", tokenizer)), family="granite-guardian-4")
    with pytest.raises(CannotJudge, match="no roles"):
        guard.predict_proba([STEP])


@pytest.mark.parametrize(
    "name", ["guard:org/zorp", "guard:x?family=zorp", "guard:x?zorp=1", "judge:x?family=wildguard"]
)
def test_wrong_names(name: str) -> None:
    """What no guard can be is wrong usage, before anything is fetched."""
    with pytest.raises(UsageError):
        load_classifier(name)
