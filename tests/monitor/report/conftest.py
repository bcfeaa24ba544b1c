"""Made-up traces with their verdicts, and what a browser would find in a report of them."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from undertow.classifiers.contract import Channel, Label
from undertow.monitor.report import write_report
from undertow.monitor.report.html import Item as Pair
from undertow.monitor.trace import NotAssessed, Origin, Trace, Unreadable
from undertow.monitor.verdict import Assessment, MonitorStamp, TraceVerdict

Item = tuple[Trace | Unreadable, TraceVerdict]
Steps = list[tuple[str, Label | None]]

RISK: dict[Label, float] = {"neutral": 0.01, "aware": 0.1, "drift": 0.8, "harm": 0.97}
STAMP = MonitorStamp(
    undertow="0.1.0", classifier="step-encoder", digest="sha256:0a", false_alarm_rate=0.05, threshold=4.2
)


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


@pytest.fixture(scope="session")
def kit() -> Any:
    """What makes items and pages, by name."""
    return SimpleNamespace(
        item=item, unreadable=unreadable, page_of=page_of, text_of=text_of,
        SAFE=SAFE, FLAGGED=FLAGGED, STRIPPED=STRIPPED, STAMP=STAMP,
    )  # fmt: skip
