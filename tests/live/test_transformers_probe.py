"""A probe inside a live `generate`: what it says is what it says of the saved transcript."""

from __future__ import annotations

from collections.abc import Callable
from sys import modules
from threading import Thread
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import undertow  # noqa: E402
from undertow.classifiers.activations import HiddenReader  # noqa: E402
from undertow.classifiers.probe import ProbeClassifier  # noqa: E402
from undertow.classifiers.store import Manifest  # noqa: E402
from undertow.errors import UsageError  # noqa: E402
from undertow.monitor.reasoning import parse  # noqa: E402
from undertow.monitor.wraps.probing import Probing  # noqa: E402
from undertow.testing import scripted_monitor  # noqa: E402

tiny: Any = modules["tiny"]  # it stands beside this file
LAYER, WIDTH = 2, 32


def made_up(family: str, tokenizer: Any) -> Any:
    """Make a tiny model of random weights."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


@pytest.fixture(scope="module")
def probe() -> ProbeClassifier:
    """A probe of random weights."""
    random = np.random.default_rng(0)
    weights = {
        "coefficients": random.normal(size=(4, WIDTH)),
        "intercepts": random.normal(size=4),
        "mean": np.zeros(WIDTH),
        "scale": np.ones(WIDTH),
    }
    settings = {"layer": LAYER, "temperature": 1.0, "model": "tiny", "revision": None, "opening": "<think>"}
    manifest = Manifest(kind="probe", name="random-probe", settings=settings)
    return ProbeClassifier({name: value.astype(np.float32) for name, value in weights.items()}, manifest)


def saying(tokenizer: Any, texts: list[str], width: int) -> Callable[[Any, Any], Any]:
    """Return a logits processor that makes each row say a text, and end."""
    told = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in texts]

    def force(input_ids: Any, scores: Any) -> Any:
        at = input_ids.shape[1] - width
        for row, tokens in enumerate(told):
            scores[row] = float("-inf")
            scores[row, tokens[min(at, len(tokens) - 1)]] = 0.0
        return scores

    return force


def watch(model: Any, tokenizer: Any, probe: Any, policy: str = "observe", **options: Any) -> Any:
    """Have a model say the script, watched; all rows of the batch at once."""
    wrapped = undertow.wrap(
        model, tokenizer=tokenizer, monitor=scripted_monitor(), policy=policy, probe=probe
    )
    inputs = tokenizer([tiny.prompt_of(one) for one in tiny.SCRIPT], return_tensors="pt", padding=True)
    force = saying(tokenizer, list(tiny.SCRIPT.values()), inputs["input_ids"].shape[1])
    asked = {"max_new_tokens": 300, "do_sample": False, "logits_processor": [force]} | options
    return wrapped.generate(**inputs, prompt=list(tiny.SCRIPT), **asked)


@pytest.mark.parametrize("options", [{}, {"use_cache": False}], ids=["cached", "not cached"])
@pytest.mark.parametrize("family", ["Qwen2", "Llama"])
def test_live_scores_are_those_of_the_saved_transcript(
    tokenizer: Any, probe: ProbeClassifier, family: str, options: dict[str, Any]
) -> None:
    """At the end of each step, in a batch padded on the left, the probe says what it says afterwards."""
    model = made_up(family, tokenizer)
    output = watch(model, tokenizer, probe, **options)
    reader = HiddenReader(model, tokenizer, "<think>")
    rows = zip(output.undertow, output.undertow_probe, tiny.SCRIPT.items(), strict=True)
    for verdict, scores, (request, text) in rows:
        assert None not in scores
        reasoning = parse(text).reasoning
        own = [step for step in verdict.steps if step.channel == "reasoning"]
        states = reader.at_ends(request, reasoning, [step.end for step in own], [LAYER])
        live = [list(score.model_dump().values()) for score in scores[: len(own)]]
        assert np.array(live) == pytest.approx(probe.judge_states(states[:, 0]), abs=1e-4)
        whole = text.removeprefix("<think>")
        ends = [len(whole) - len(parse(text).answer) + step.end for step in verdict.steps[len(own) :]]
        states = reader.at_ends(request, whole, ends, [LAYER])
        live = [list(score.model_dump().values()) for score in scores[len(own) :]]
        assert np.array(live) == pytest.approx(probe.judge_states(states[:, 0]), abs=1e-4)


def test_the_model_runs_as_often_as_without(tokenizer: Any, probe: ProbeClassifier) -> None:
    """The probe asks for no forward of its own, and leaves no hook behind."""
    model = made_up("Qwen2", tokenizer)
    runs: list[int] = []
    model.register_forward_hook(lambda *_: runs.append(1))
    watch(model, tokenizer, None)
    alone = len(runs)
    watch(model, tokenizer, probe)
    assert len(runs) == 2 * alone
    assert not any(block._forward_hooks for block in model.model.layers)


def test_states_are_let_go(tokenizer: Any, probe: ProbeClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more states wait than the tokens of the steps that are open."""
    most: list[int] = []
    read = Probing.read

    def counted(self: Probing) -> None:
        read(self)
        most.append(len(self._states))

    monkeypatch.setattr(Probing, "read", counted)
    watch(made_up("Qwen2", tokenizer), tokenizer, probe)
    longest = max(len(tokenizer.encode(text)) for text in tiny.SCRIPT.values())
    assert 0 < max(most) < longest


def test_a_text_cut_off_has_no_last_state(tokenizer: Any, probe: ProbeClassifier) -> None:
    """The token at which the length ran out was never read by the model, so there is nothing to probe."""
    output = watch(made_up("Qwen2", tokenizer), tokenizer, probe, max_new_tokens=30)
    for verdict, scores in zip(output.undertow, output.undertow_probe, strict=True):
        assert len(scores) == len(verdict.steps)
        assert None not in scores[:-1]
    assert None in [scores[-1] for scores in output.undertow_probe]


@pytest.mark.parametrize("policy", ["stop", "redact", "divert"])
def test_policies_go_on(tokenizer: Any, probe: ProbeClassifier, policy: str) -> None:
    """Rows that are ended or turned have a score for each step that the model was made to read."""
    output = watch(made_up("Qwen2", tokenizer), tokenizer, probe, policy, max_new_tokens=120)
    for verdict, scores in zip(output.undertow, output.undertow_probe, strict=True):
        assert len(scores) == len(verdict.steps)
        assert sum(score is None for score in scores) <= 1


@pytest.mark.parametrize("beside", [True, False], ids=["another thread", "inside"])
def test_calls_at_once_read_their_own_states(tokenizer: Any, probe: ProbeClassifier, *, beside: bool) -> None:
    """A call that runs in the midst of another, on the same model, leaves the other's scores as they are."""
    model = made_up("Qwen2", tokenizer)
    alone = watch(model, tokenizer, probe).undertow_probe
    others: list[Any] = []

    def other() -> None:
        others.append(watch(model, tokenizer, probe, max_new_tokens=60).undertow_probe)

    def interrupt(input_ids: Any, scores: Any) -> Any:
        if input_ids.shape[1] == 30:
            thread = Thread(target=other)
            (thread.start if beside else other)()
            if beside:
                thread.join()
        return scores

    texts = list(tiny.SCRIPT.values())
    width = tokenizer([tiny.prompt_of(one) for one in tiny.SCRIPT], padding=True)["input_ids"]
    processors = [saying(tokenizer, texts, len(width[0])), interrupt]
    assert watch(model, tokenizer, probe, logits_processor=processors).undertow_probe == alone
    assert others == [watch(model, tokenizer, probe, max_new_tokens=60).undertow_probe]


def test_what_is_refused(tokenizer: Any, probe: ProbeClassifier, model: Any) -> None:
    """A probe of another model, what is no probe, and generation that does not go token by token."""
    with pytest.raises(UsageError, match="another width"):
        undertow.wrap(model, tokenizer=tokenizer, monitor=scripted_monitor(), probe=probe)
    with pytest.raises(UsageError, match="not a probe"):
        undertow.wrap(model, tokenizer=tokenizer, monitor=scripted_monitor(), probe="keyword")
    with pytest.raises(UsageError, match="one token at a time"):
        watch(made_up("Qwen2", tokenizer), tokenizer, probe, prompt_lookup_num_tokens=2)


def test_a_pipeline_shows_it(tokenizer: Any, probe: ProbeClassifier) -> None:
    """Each record has the scores beside its verdict."""
    inner = transformers.pipeline("text-generation", model=made_up("Llama", tokenizer), tokenizer=tokenizer)
    pipe = undertow.wrap(inner, monitor=scripted_monitor(), probe=probe)
    (record,) = pipe([{"role": "user", "content": "calm"}], max_new_tokens=20)
    assert len(record["undertow_probe"]) == len(record["undertow"].steps)
