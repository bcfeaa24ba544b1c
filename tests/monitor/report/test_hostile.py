"""The HTML report is safe to open, whatever a transcript holds."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from undertow.monitor.report.texts import KEPT
from undertow.monitor.report.unseen import visible
from undertow.monitor.trace import NotAssessed, Origin, Trace

HOSTILE = {
    "closing-script": "</script><script>alert(1)</script>",
    "closing-others": "</style></title></details></textarea>--><!--<svg/onload=alert(1)>",
    "image": "<img src=x onerror=alert(1)>",
    "attribute": '" \' onmouseover=alert(1) autofocus x="',
    "template": "{{7*7}}{% raw %}{{ settings }}",
    "link": "javascript:alert(1) https://example.invalid/x.png",
    "override": "a\u202egnp.exe\u200b\u2066",
    "nul": "nul\x00 and escape \x1b[31m",
    "separators": "line\u2028and\u2029paragraph",
    "surrogate": "lone \ud800 and \udfff",
    "tags": "tag \U000e0041\U000e0042",
    "entity": "&lt;b&gt; &#60;script&#62; %3Cscript%3E",
}


def every_field(kit: Any, text: str) -> list[Any]:
    """Return items with the text in every field that can hold one."""
    origin = Origin(path=text, format=text, row=1, turn=0)
    stamp = kit.STAMP.model_copy(update={"classifier": text, "digest": text, "undertow": text, "note": text})
    fields: dict[str, Any] = {"id": text, "model": text, "prompt": text, "reasoning_from": text}
    fields |= {"metadata": {text: text}, "origin": origin, "stamp": stamp}
    why = NotAssessed(reason="classifier_failed", detail=text)
    return [
        kit.item([(text, "neutral"), (text, "harm")], [(text, "drift")], **fields),
        kit.item([(text, None), (text, "aware")], [], why=why, assessed="partial", **fields),
        kit.item([(text, None)], [], why=why, assessed="none", **fields),
        kit.unreadable(text, path=text),
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_adds_no_element_and_no_attribute(kit: Any, text: str, tmp_path: Path) -> None:
    """Whatever a transcript holds in any field, the page has the elements of a harmless one."""
    plain = kit.page_of(tmp_path, kit.SAFE, *every_field(kit, "plain"), title="plain")
    hostile = kit.page_of(tmp_path, kit.SAFE, *every_field(kit, text), title=text)
    assert hostile.shape == plain.shape
    assert hostile.code == plain.code
    assert hostile.inlined("style") == plain.inlined("style")
    assert hostile.rows[1]["id"] == text
    assert visible(hostile.source) == hostile.source


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_embedded_as_it_was(kit: Any, text: str, tmp_path: Path) -> None:
    """The packed data give back prompt, reasoning and answer to the character."""
    items = every_field(kit, text)
    payloads = kit.page_of(tmp_path, *items).payloads
    assert len(payloads) == len(items) == 4
    for (trace, _), payload in zip(items, payloads, strict=True):
        if isinstance(trace, Trace):
            assert payload["prompt"]["text"] == trace.prompt
            assert kit.text_of(payload, "reasoning") == trace.reasoning
            assert trace.answer is None or kit.text_of(payload, "answer") == trace.answer


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_the_page_runs_or_loads(kit: Any, text: str, tmp_path: Path) -> None:
    """No handler, no inline style, no source, and no link that leaves the page."""
    attributes = [
        pair
        for _, attrs in kit.page_of(tmp_path, kit.SAFE, *every_field(kit, text)).elements
        for pair in attrs.items()
    ]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src", "action")]
    links = [value for name, value in attributes if name in ("href", "xlink:href")]
    assert links
    assert all(link and link.startswith("#") for link in links)


def test_the_policy_allows_just_the_inlined_script_and_style(kit: Any, tmp_path: Path) -> None:
    """The page's policy forbids everything but what has the two hashes of its own code."""
    page = kit.page_of(tmp_path, kit.SAFE)
    policy = next(attrs["content"] or "" for tag, attrs in page.elements if "http-equiv" in attrs)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    code = {"script-src": page.code, "style-src": page.inlined("style")[0][1]}
    for rule, text in code.items():
        assert rules[rule] == f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "</" not in code["style-src"] + code["script-src"]


@pytest.mark.parametrize("way", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("])
def test_the_script_parses_no_text_as_html(kit: Any, way: str, tmp_path: Path) -> None:
    """The script has no way to turn a text into elements or code."""
    assert way not in kit.page_of(tmp_path, kit.SAFE).code


def test_a_megabyte_without_a_space_is_cut_and_the_cut_is_said(kit: Any, tmp_path: Path) -> None:
    """Long texts are kept up to a bound, and both lengths stand in the page."""
    long = "z" * 1_000_000
    page = kit.page_of(
        tmp_path, kit.item([(long, "neutral")], [(long, "neutral")], id=long, prompt=long, model=long)
    )
    payload = page.payloads[0]
    for channel in payload["channels"]:
        kept = KEPT[channel["channel"]]
        assert (channel["kept"], channel["total"]) == (kept, len(long))
        assert kit.text_of(payload, channel["channel"]) == long[:kept]
    assert payload["prompt"] == {"text": long[: KEPT["prompt"]], "kept": KEPT["prompt"], "total": len(long)}
    assert len(page.rows[0]["id"]) < 300
    assert page.rows[0]["id"].endswith("(1,000,000 characters)")
