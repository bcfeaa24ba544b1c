"""The examples of docs/wrap.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import undertow
import undertow.monitor.wraps
from undertow.classifiers.probe import WEIGHTS_FILE
from undertow.classifiers.store import write_manifest
from undertow.testing import scripted_monitor

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "wrap.md").read_text(encoding="utf-8")
EXAMPLES = [
    pytest.param(code, id=f"{title}-{i}")
    for title, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, flags=re.DOTALL | re.MULTILINE)
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL))
]
SERVED = {r'model="(openai/)?[\w.:/-]+"': r'model="\1turn/reasoning_content"'}
"""The server of these tests is told by the model's name what to replay."""


@pytest.fixture
def local_model(tmp_path: Path) -> None:
    """Save a tiny model where the examples look for one."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    home = tmp_path / "path" / "to" / "a" / "model"
    transformers.Qwen2ForCausalLM(config).save_pretrained(home)
    tokenizer.save_pretrained(home)
    probe = home.with_name("probe")
    probe.mkdir()
    shapes = {"coefficients": (4, 16), "intercepts": (4,), "mean": (16,), "scale": (16,)}
    weights = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()}
    (probe / WEIGHTS_FILE).write_bytes(safetensors.numpy.save(weights))
    of = {"model": str(home), "revision": None, "identity": "", "layer": 1, "opening": "", "temperature": 1.0}
    write_manifest(probe, kind="probe", name="a-probe", settings=of, files=[WEIGHTS_FILE])


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_run(
    code: str, replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Each example runs without a change but for the model's name, against local models and servers."""
    monkeypatch.chdir(tmp_path)
    if "path/to/a/model" in code:
        request.getfixturevalue("local_model")
    for library in set(re.findall(r"^(?:from|import) (\w+)", code, flags=re.MULTILINE)):
        pytest.importorskip(library)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or its import asks the network
    monkeypatch.setenv("OPENAI_BASE_URL", f"{replay.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", replay.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    monkeypatch.setattr(undertow, "Monitor", scripted_monitor)
    monkeypatch.setattr(undertow.monitor.wraps, "Monitor", scripted_monitor)
    for named, served in SERVED.items():
        if "path/to/a/model" not in code and "Gate(" not in code:
            code = re.sub(named, served, code)
    exec(compile(code, "docs/wrap.md", "exec"), {"__name__": "example"})


def test_the_guide_has_examples() -> None:
    """The guide was found, and shows something for each kind of thing that has its own section."""
    assert len(EXAMPLES) >= 4
