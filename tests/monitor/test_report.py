"""The HTML report: whole, self-contained, and safe to open whatever a transcript holds."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from undertow.classifiers.contract import Channel, Label
from undertow.errors import UsageError
from undertow.monitor.evidence import Evidence, StepMoved, WordMoved
from undertow.monitor.report import write_report
from undertow.monitor.report.html import Item as Pair
from undertow.monitor.report.texts import KEPT, MASKED
from undertow.monitor.report.unseen import UNSEEN, visible
from undertow.monitor.tally import REASONS
from undertow.monitor.trace import NotAssessed, Origin, Reason, Trace, Unreadable
from undertow.monitor.verdict import Assessment, MonitorStamp, TraceVerdict

Item = tuple[Trace | Unreadable, TraceVerdict]
Steps = list[tuple[str, Label | None]]

RISK: dict[Label, float] = {"neutral": 0.01, "aware": 0.1, "drift": 0.8, "harm": 0.97}
STAMP = MonitorStamp(
    undertow="0.1.0", classifier="step-encoder", digest="sha256:0a", false_alarm_rate=0.05, threshold=4.2
)

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


def laid_out(channel: Channel, parts: Steps) -> tuple[str, list[dict[str, Any]]]:
    """Join texts with a space, and say where each step lies."""
    text, steps = "", []
    for index, (part, label) in enumerate(parts):
        text += " " if text else ""
        risk = None if label is None else RISK[label]
        shares = None if risk is None else {"neutral": 1 - risk, "aware": 0, "drift": risk, "harm": 0}
        judged = {"label": label, "risk": risk, "probabilities": shares}
        place = {"index": index, "start": len(text), "end": len(text) + len(part)}
        steps.append({"channel": channel, **place, **judged})
        text += part
    return text, steps


def channel_of(channel: Channel, text: str, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the verdict on a channel, flagged at its first unsafe step, if a step was judged."""
    judged = [step for step in steps if step["label"]]
    unsafe = [step for step in judged if step["label"] in ("drift", "harm")]
    if not judged:
        return []
    marks = [
        {"channel": channel, "step": step["index"], "start": step["start"]}
        | {"fraction": step["start"] / len(text)}
        for step in unsafe
    ]
    worst = max(judged, key=lambda step: step["risk"])
    found = {"onset": marks[0] if marks else None, "alarm": marks[0] if marks else None}
    peak = {"channel": channel, "step": worst["index"], "risk": worst["risk"]}
    flagged, recovered = bool(unsafe), bool(unsafe) and judged[-1] not in unsafe
    return [
        {"channel": channel, "flagged": flagged, "risk": worst["risk"], "peak": peak, **found}
        | {"recovered": recovered}
    ]


NOTHING: dict[str, Any] = dict.fromkeys(
    ("flagged", "risk", "quadrant", "onset", "alarm", "peak", "recovered", "not_assessed")
)


def item(
    reasoning: Steps,
    answer: Steps,
    *,
    why: NotAssessed | None = None,
    assessed: Assessment = "full",
    stamp: MonitorStamp = STAMP,
    **fields: Any,
) -> Item:
    """Return a trace of these steps, and the verdict that flags its unsafe ones."""
    thought, steps = laid_out("reasoning", reasoning)
    said, more = laid_out("answer", answer)
    fields = {
        "id": "t-1",
        "model": "some-model",
        "reasoning": thought or None,
        "answer": said or None,
    } | fields
    trace = Trace(**fields)
    channels = [*channel_of("reasoning", thought, steps), *channel_of("answer", said, more)]
    if assessed == "none":
        channels, steps, more = [], [], []
    chief = next((found for found in channels if found["flagged"]), channels[0] if channels else NOTHING)
    halves = [f"{'unsafe' if found['flagged'] else 'safe'}-{found['channel']}" for found in channels]
    verdict = {
        **NOTHING,
        **{name: chief[name] for name in ("flagged", "risk", "onset", "alarm", "peak", "recovered")},
        **{"id": trace.id, "origin": trace.origin, "model": trace.model, "monitor": stamp},
        **{"assessed": assessed, "not_assessed": why, "channels": channels, "steps": [*steps, *more]},
        "quadrant": "/".join(halves) if len(halves) == 2 else None,
    }
    return trace, TraceVerdict.model_validate(verdict)


def unreadable(detail: str = "line 3 is not JSON", **origin: Any) -> Item:
    """Return a row that gave no trace."""
    problem = NotAssessed(reason="unreadable_row", detail=detail)
    row = Unreadable(origin=Origin(**origin), problem=problem)
    verdict = {"id": "", "origin": row.origin, "model": None, "assessed": "none", "monitor": STAMP}
    empty = {"not_assessed": problem, "channels": (), "steps": ()}
    return row, TraceVerdict.model_validate(NOTHING | verdict | empty)


SAFE: Item = item([("Count the zorps.", "neutral"), ("Forging is wrong.", "aware")], [("Four.", "neutral")])
FLAGGED: Item = item(
    [("Count first.", "neutral"), ("ZORP-PLAN", "drift"), ("ZORP-RECIPE", "harm"), ("Done.", "neutral")],
    [("Four.", "neutral"), ("ZORP-ANSWER", "harm")],
    id="t-2",
)
STRIPPED: Item = item(
    [], [("Four.", "neutral")], why=NotAssessed(reason="reasoning_stripped"), assessed="partial"
)


def every_field(text: str) -> list[Item]:
    """Return items with the text in every field that can hold one."""
    origin = Origin(path=text, format=text, row=1, turn=0)
    stamp = STAMP.model_copy(update={"classifier": text, "digest": text, "undertow": text, "note": text})
    fields: dict[str, Any] = {"id": text, "model": text, "prompt": text, "reasoning_from": text}
    fields |= {"metadata": {text: text}, "origin": origin, "stamp": stamp}
    why = NotAssessed(reason="classifier_failed", detail=text)
    return [
        item([(text, "neutral"), (text, "harm")], [(text, "drift")], **fields),
        item([(text, None), (text, "aware")], [], why=why, assessed="partial", **fields),
        item([(text, None)], [], why=why, assessed="none", **fields),
        unreadable(text, path=text),
    ]


class Page(HTMLParser):
    """What a browser would find in the file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text, with the element that was opened last."""
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """The elements in order, each with the names of its attributes."""
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    def unpacked(self, **attributes: str) -> list[tuple[dict[str, str | None], Any]]:
        """Return what the page holds packed, in each script with these attributes."""
        scripts = [attrs for tag, attrs in self.elements if tag == "script"]
        texts = [text for _, text in self.inlined("script")]
        return [
            (attrs, json.loads(gzip.decompress(b64decode(text, validate=True))))
            for attrs, text in zip(scripts, texts, strict=True)
            if all(attrs.get(name) == value for name, value in attributes.items())
        ]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What the list says of each trace."""
        ((_, rows),) = self.unpacked(id="packed-rows")
        found: list[dict[str, Any]] = rows
        return found

    def inlined(self, tag: str) -> list[tuple[str | None, str]]:
        """Return type and content of each script or style."""
        types = [attrs.get("type") for name, attrs in self.elements if name == tag]
        starts = self.source.split(f"<{tag}")[1:]
        contents = [part.partition(">")[2].partition(f"</{tag}>")[0] for part in starts]
        return list(zip(types, contents, strict=True))

    @property
    def settings(self) -> dict[str, Any]:
        """What the script is told."""
        ((_, text),) = [pair for pair in self.inlined("script") if pair[0] == "application/json"]
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def payloads(self) -> list[dict[str, Any]]:
        """The texts of every trace, whichever block they are in."""
        blocks = self.unpacked(**{"class": "packed-texts"})
        found: list[dict[str, Any]] = []
        for attrs, block in blocks:
            assert attrs["data-first"] == str(len(found))
            found += block
        return found

    @property
    def code(self) -> str:
        """The script."""
        ((_, text),) = [pair for pair in self.inlined("script") if pair[0] == "module"]
        return text

    @property
    def words(self) -> str:
        """What can be read without running the script."""
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("script", "style")).split())


def page_of(folder: Path, *items: Pair, **options: Any) -> Page:
    """Write a report and parse it."""
    return Page(write_report(folder / "report.html", items, **options))


def text_of(payload: dict[str, Any], channel: str) -> str:
    """Return a channel's text as the page holds it."""
    pieces = [found["pieces"] for found in payload["channels"] if found["channel"] == channel]
    return "".join(text for text, _ in pieces[0])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_adds_no_element_and_no_attribute(text: str, tmp_path: Path) -> None:
    """Whatever a transcript holds in any field, the page has the elements of a harmless one."""
    plain = page_of(tmp_path, SAFE, *every_field("plain"), title="plain")
    hostile = page_of(tmp_path, SAFE, *every_field(text), title=text)
    assert hostile.shape == plain.shape
    assert hostile.code == plain.code
    assert hostile.inlined("style") == plain.inlined("style")
    assert hostile.rows[1]["id"] == text
    assert visible(hostile.source) == hostile.source


def test_what_must_be_known_of_the_classifier_is_shown(tmp_path: Path) -> None:
    """Its note stands on the page, below what produced the verdicts, and with the trace."""
    stamp = STAMP.model_copy(update={"note": "it never tells drift"})
    page = page_of(tmp_path, item([("Count.", "neutral")], [], stamp=stamp))
    assert "Of step-encoder: it never tells drift." in page.source
    assert ["Of the classifier", "it never tells drift"] in page.payloads[0]["facts"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_embedded_as_it_was(text: str, tmp_path: Path) -> None:
    """The packed data give back prompt, reasoning and answer to the character."""
    items = every_field(text)
    payloads = page_of(tmp_path, *items).payloads
    assert len(payloads) == len(items) == 4
    for (trace, _), payload in zip(items, payloads, strict=True):
        if isinstance(trace, Trace):
            assert payload["prompt"]["text"] == trace.prompt
            assert text_of(payload, "reasoning") == trace.reasoning
            assert trace.answer is None or text_of(payload, "answer") == trace.answer


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_the_page_runs_or_loads(text: str, tmp_path: Path) -> None:
    """No handler, no inline style, no source, and no link that leaves the page."""
    attributes = [
        pair for _, attrs in page_of(tmp_path, SAFE, *every_field(text)).elements for pair in attrs.items()
    ]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src", "action")]
    links = [value for name, value in attributes if name in ("href", "xlink:href")]
    assert links
    assert all(link and link.startswith("#") for link in links)


def test_the_policy_allows_just_the_inlined_script_and_style(tmp_path: Path) -> None:
    """The page's policy forbids everything but what has the two hashes of its own code."""
    page = page_of(tmp_path, SAFE)
    policy = next(attrs["content"] or "" for tag, attrs in page.elements if "http-equiv" in attrs)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    code = {"script-src": page.code, "style-src": page.inlined("style")[0][1]}
    for rule, text in code.items():
        assert rules[rule] == f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "</" not in code["style-src"] + code["script-src"]


@pytest.mark.parametrize("way", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("])
def test_the_script_parses_no_text_as_html(way: str, tmp_path: Path) -> None:
    """The script has no way to turn a text into elements or code."""
    assert way not in page_of(tmp_path, SAFE).code


def test_a_megabyte_without_a_space_is_cut_and_the_cut_is_said(tmp_path: Path) -> None:
    """Long texts are kept up to a bound, and both lengths stand in the page."""
    long = "z" * 1_000_000
    page = page_of(tmp_path, item([(long, "neutral")], [(long, "neutral")], id=long, prompt=long, model=long))
    payload = page.payloads[0]
    for channel in payload["channels"]:
        kept = KEPT[channel["channel"]]
        assert (channel["kept"], channel["total"]) == (kept, len(long))
        assert text_of(payload, channel["channel"]) == long[:kept]
    assert payload["prompt"] == {"text": long[: KEPT["prompt"]], "kept": KEPT["prompt"], "total": len(long)}
    assert len(page.rows[0]["id"]) < 300
    assert page.rows[0]["id"].endswith("(1,000,000 characters)")


def test_every_trace_is_in_the_list_in_order(tmp_path: Path) -> None:
    """The list has one row a trace, rows that could not be read included."""
    items = [item([("Fine.", "neutral")], [], id=f"id-{n}") for n in range(50)]
    page = page_of(tmp_path, *items, unreadable(path="runs.jsonl", row=7))
    assert [row["id"] for row in page.rows] == [*(f"id-{n}" for n in range(50)), "trace 51"]
    facts = dict(page.payloads[-1]["facts"])
    assert "line 3 is not JSON" in facts["Not assessed"]
    assert facts["Read from"] == "runs.jsonl, row 7"


def test_no_traces_make_a_page_that_says_so(tmp_path: Path) -> None:
    """An empty audit is not an audit without flags."""
    page = page_of(tmp_path)
    assert "The audit held no traces." in page.words
    assert not page.rows


@pytest.mark.parametrize("reason", get_args(Reason))
def test_not_assessed_never_looks_safe(reason: Reason, tmp_path: Path) -> None:
    """A trace that was not judged has its reason, and no word, number or colour of a safe one."""
    why = NotAssessed(reason=reason)
    page = page_of(tmp_path, item([("Anything.", "neutral")], [], why=why, assessed="none"))
    row = page.rows[0]
    assert (row["state"], row["complete"], row["risk"], row["strips"]) == ("none", False, None, [])
    assert row["why"] == REASONS[reason]
    assert "Nothing is known of their safety" in page.words
    assert page.payloads[0]["channels"][0]["pieces"] == [["Anything.", -1]]


def test_judged_in_part_is_not_called_safe(tmp_path: Path) -> None:
    """Where a part was not judged, the row speaks of the judged part alone and says why."""
    row = page_of(tmp_path, STRIPPED).rows[0]
    assert (row["state"], row["complete"]) == ("partial", False)
    assert row["why"] == REASONS["reasoning_stripped"]


def test_flagged_in_part_still_says_what_is_missing(tmp_path: Path) -> None:
    """A flag does not hide that the rest of the trace was not judged."""
    why = NotAssessed(reason="truncated")
    row = page_of(tmp_path, item([("Do it.", "drift")], [], why=why, assessed="partial")).rows[0]
    assert (row["state"], row["complete"], row["why"]) == ("flagged", False, REASONS["truncated"])


def test_text_that_is_not_safe_needs_the_script_to_be_read(tmp_path: Path) -> None:
    """Unsafe text is in the packed data alone, where the script masks it until asked."""
    page = page_of(tmp_path, FLAGGED)
    assert "ZORP-RECIPE" not in page.source
    assert "ZORP-RECIPE" in text_of(page.payloads[0], "reasoning")


def test_many_texts_are_packed_in_blocks_that_are_found_again(tmp_path: Path) -> None:
    """The texts lie in several blocks, in order, each of which can be opened alone."""
    noise = sha256(b"seed").hexdigest()
    items = [item([(f"{n} " + noise * 120, "neutral")], [], id=f"id-{n}") for n in range(120)]
    page = page_of(tmp_path, *items)
    assert len(page.unpacked(**{"class": "packed-texts"})) > 1
    for n, payload in enumerate(page.payloads):
        assert text_of(payload, "reasoning").startswith(f"{n} ")


def test_traces_of_one_prompt_share_a_number(tmp_path: Path) -> None:
    """What was asked the same is found for reading side by side; no prompt is no such thing."""
    prompts = ["first", "second", "first", ""]
    rows = page_of(tmp_path, *(item([("Fine.", "neutral")], [], prompt=text) for text in prompts)).rows
    assert [row["prompt"] for row in rows] == [0, 1, 0, None]


def test_redact_leaves_out_all_that_was_not_judged_safe(tmp_path: Path) -> None:
    """A redacted file holds no unsafe step, no unjudged text, no prompt and no metadata."""
    flagged, verdict = FLAGGED
    secret = {"prompt": "ZORP-PROMPT", "metadata": {"raw": "ZORP-METADATA"}}
    failed = NotAssessed(reason="classifier_failed")
    items: list[Item] = [
        (flagged.model_copy(update=secret), verdict),
        item([("So far.", "neutral"), ("ZORP-LOST", None)], [], why=failed, assessed="partial"),
        item([("ZORP-SEALED", None)], [], why=NotAssessed(reason="encrypted"), assessed="none"),
    ]
    evidence = Evidence(
        channel="reasoning", step=1, risk=0.8, steps=(), words=(WordMoved(start=13, end=17, delta=1),)
    )
    page = page_of(tmp_path, (*items[0], evidence), *items[1:], redact=True)
    assert "ZORP" not in page.source + json.dumps(page.rows) + json.dumps(page.payloads) + str(page.settings)
    first = text_of(page.payloads[0], "reasoning")
    assert first == f"Count first. {MASKED} {MASKED} Done."
    assert text_of(page.payloads[1], "reasoning") == f"So far. {MASKED}"


def test_unmask_and_redact_exclude_each_other(tmp_path: Path) -> None:
    """What was left out cannot be shown: asking for both is refused before anything is written."""
    with pytest.raises(UsageError, match="choose one"):
        write_report(tmp_path / "report.html", [SAFE], unmask=True, redact=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unmask", [False, True])
def test_the_page_is_told_whether_to_mask(unmask: bool, tmp_path: Path) -> None:
    """The script finds the choice, and the pattern of unseen characters, in its settings."""
    settings = page_of(tmp_path, SAFE, unmask=unmask).settings
    assert settings == {"unmask": unmask, "redact": False, "unseen": UNSEEN, "groups": []}


def test_a_failure_leaves_the_old_report_alone(tmp_path: Path) -> None:
    """The file is replaced at once and whole, or not at all."""
    path = tmp_path / "report.html"
    path.write_text("the old one", encoding="utf-8")

    def broken() -> Iterator[Item]:
        yield SAFE
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_report(path, broken())
    assert path.read_text(encoding="utf-8") == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_audit_gives_the_same_file(tmp_path: Path) -> None:
    """A report holds no date and no random name, so that two of them can be compared."""
    first, second = (write_report(tmp_path / name, [SAFE, FLAGGED]).read_bytes() for name in ("a", "b"))
    assert first == second


def test_the_overview_says_what_was_found(tmp_path: Path) -> None:
    """Flags are counted among the judged, and the promise is told with its rate."""
    words = page_of(tmp_path, SAFE, SAFE, FLAGGED, STRIPPED, unreadable()).words
    assert "Of 4 traces that were judged, 1 was flagged : 25.0%" in words
    assert "Another 1 could not be judged" in words
    assert "2 traces have no place here" in words
    assert "1 onset within the reasoning" in words
    assert "at most 5.0% raise an alarm" in words


def test_evidence_is_told_by_its_place_in_the_step(tmp_path: Path) -> None:
    """The words of the evidence are counted from the start of their step, and hold no text."""
    start = len("Count first. ")
    words = (WordMoved(start=start, end=start + 4, delta=0.4),)
    steps = (StepMoved(index=0, delta=-0.1),)
    evidence = Evidence(channel="reasoning", step=1, risk=0.8, steps=steps, words=words)
    found = page_of(tmp_path, (*FLAGGED, evidence)).payloads[0]["evidence"]
    assert found == {
        "channel": "reasoning",
        "step": 1,
        "risk": 0.8,
        "steps": [[0, -0.1]],
        "words": [[0, 4, 0.4]],
    }


def test_a_verdict_without_its_text_keeps_its_curve(tmp_path: Path) -> None:
    """Where the text was not found again, the steps are shown, and why there is no text."""
    _, verdict = FLAGGED
    gone = Unreadable(problem=NotAssessed(reason="no_text", detail="runs.jsonl is no longer there"))
    payload = page_of(tmp_path, (gone, verdict)).payloads[0]
    assert [channel["missing"] for channel in payload["channels"]] == [True, True]
    assert payload["channels"][0]["letters"] == "ndhn"
    assert ["No text", "runs.jsonl is no longer there"] in payload["facts"]


def test_a_row_of_the_list_takes_few_bytes(tmp_path: Path) -> None:
    """A row of the list takes few bytes, so that a hundred thousand of them can be opened."""
    items = [item([("Fine.", "neutral")] * 30, [("Fine.", "neutral")], id=f"id-{n}") for n in range(2000)]
    page = page_of(tmp_path, *items)
    packed = next(
        attrs_and_text for attrs_and_text in page.inlined("script") if attrs_and_text[0] == "text/plain"
    )
    assert len(packed[1]) < 40 * len(items)
