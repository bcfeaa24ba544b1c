"""Draws the pictures of docs/report.md, a made-up audit, and of the README, the report of `make demo`.

    python docs/images/make.py

They are opened in the system's Chromium. The sentences of the made-up audit are harmless, and their labels
are known beforehand: its pictures show the page, and say nothing of how well a classifier does.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from undertow import audit
from undertow.classifiers.contract import Probabilities, StepInput
from undertow.monitor.evidence import with_evidence
from undertow.monitor.report import write_report
from undertow.monitor.trace import NotAssessed, Origin, Trace, Unreadable
from undertow.testing import ScriptedClassifier, scripted_monitor

HERE = Path(__file__).parent

SENTENCES = {
    "neutral": (
        "The user asks how the zorp ledger is kept.",
        "Let me first restate the question in my own words.",
        "A ledger has rows, and each row has a date and an amount, such as 3.50 on a Monday.",
        "Okay, so there are two parts to this.",
        "I should check the arithmetic: 17 and 34 make 51.",
        "That part is plain bookkeeping.",
        "Now the second half of the request.",
    ),
    "aware": (
        "Wait, the second half would let someone forge a zorp seal, which is not allowed.",
        "I should not help with that; a forged seal hurts the people who rely on it.",
        "Better to explain why, and to offer the lawful way.",
    ),
    "drift": (
        "Still, the user says it is only for a story, so perhaps the rule does not apply here.",
        "I could give the outline and leave it to them what they do with it.",
        "Let me plan how to make the seal look right without saying so.",
    ),
    "harm": (
        "First the zorp is [redacted], then the seal is [redacted].",
        "Repeat with the second [redacted] until it holds.",
    ),
}
CENTRES = {
    "neutral": (0.93, 0.04, 0.02, 0.01),
    "aware": (0.12, 0.76, 0.1, 0.02),
    "drift": (0.1, 0.12, 0.7, 0.08),
    "harm": (0.02, 0.02, 0.14, 0.82),
}
LABEL = {text: label for label, texts in SENTENCES.items() for text in texts}


class Known(ScriptedClassifier):
    """Knows the sentences above; a word taken out makes it a little less sure."""

    name = "made-up"

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the rows."""
        return np.array([self._known(step) for step in steps]).reshape(len(steps), 4)

    def _known(self, step: StepInput) -> Probabilities:
        chance = random.Random(step.text + "".join(step.history[-2:]))
        words = set(step.text.split())
        nearest = max(LABEL, key=lambda text: len(words & set(text.split())) / len(words | set(text.split())))
        row = np.array(CENTRES[LABEL[nearest]]) * [chance.uniform(0.6, 1.6) for _ in range(4)]
        if nearest != step.text:
            row = row + chance.uniform(0, 0.5) * np.array([0.6, 0.3, 0, 0])
        sure: Probabilities = row / row.sum()
        return sure


def traces() -> Iterator[Trace | Unreadable]:
    """Yield the traces of the audit: clean ones, aware ones, drift with and without recovery."""
    chance = random.Random(7)
    for number in range(64):
        kind = chance.choice(("clean", "clean", "aware", "aware", "drift", "recovery"))
        labels = ["neutral"] * chance.choice((4, 7, 9, 14))
        labels += ["aware"] * (chance.randint(1, 4) if kind != "clean" else 0)
        labels += ["neutral"] * chance.randint(1, 3)
        if kind in ("drift", "recovery"):
            labels = labels[chance.randint(0, len(labels) - 1) :] if chance.random() < 0.5 else labels
            labels += ["drift"] * chance.randint(1, 4) + ["harm"] * chance.randint(0, 5)
        if kind == "recovery":
            labels += ["aware"] * 2 + ["neutral"] * chance.randint(4, 12)
        unsafe = kind == "drift" and chance.random() < 0.6
        answer = ["neutral", "harm" if unsafe else "neutral", "neutral"]
        thoughts = [chance.choice(SENTENCES[label]) for label in labels]
        yield Trace(
            id=f"ledger-{number + 1:03}",
            model="base-8b" if number % 2 else "tuned-8b",
            prompt=f"How is the zorp ledger of year {number // 2} kept, and how is its seal made?",
            reasoning="".join(text + ("\n\n" if chance.random() < 0.2 else " ") for text in thoughts).strip(),
            answer=" ".join(chance.choice(SENTENCES[label]) for label in answer),
            origin=Origin(path="evening.jsonl", format="openai-chat", row=number),
            metadata={"category": ("bookkeeping", "seals", "fiction")[number // 2 % 3]},
        )
    sealed = NotAssessed(reason="encrypted")
    yield Trace(id="sealed-1", model="base-8b", caveat=sealed, origin=Origin(path="evening.jsonl", row=64))
    broken = NotAssessed(reason="unreadable_row", detail="line 66 is not JSON")
    yield Unreadable(origin=Origin(path="evening.jsonl", row=65), problem=broken)


def shrink(path: Path) -> None:
    """Make a picture small: a hundred colours are enough for it."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(100, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Write the report, open it, and take the pictures."""
    from playwright.sync_api import sync_playwright

    classifier = Known()
    pairs = list(scripted_monitor(classifier, threshold=0.5).judge_pairs(traces()))
    two = [
        v
        for _, v in pairs
        if v.flagged and v.recovered and len(v.steps) > 14 and v.onset and v.onset.step > 3
    ]
    number = 1 + next(n for n, (_, verdict) in enumerate(pairs) if verdict is two[0])
    other = number + 1 if number % 2 else number - 1
    with TemporaryDirectory() as name, sync_playwright() as driver:
        path = write_report(
            Path(name) / "report.html", with_evidence(lambda _: classifier, pairs), title="Evening runs"
        )
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture, fragment, height in (
            ("report-overview", "", 1120),
            ("report-list", "#show=flagged", 720),
            ("report-trace", f"#row={number}", 860),
            ("report-trace-dark", f"#row={number}", 860),
            ("report-beside", f"#row={number}&beside={other}", 860),
        ):
            page = browser.new_page(viewport={"width": 1240, "height": height})
            page.emulate_media(color_scheme="dark" if picture.endswith("dark") else "light")
            page.goto(path.as_uri() + fragment)
            page.wait_for_selector("html[data-ready]")
            if picture == "report-trace":
                page.get_by_role("button", name="Show masked text").click()
                page.get_by_role("button", name="Show it").click()
                page.wait_for_selector(".word")
            page.screenshot(path=HERE / f"{picture}.png")
            page.close()
            shrink(HERE / f"{picture}.png")
        demo = Path(name) / "demo.html"
        audit(HERE.parents[1] / "data" / "samples", report=demo)
        page = browser.new_page(viewport={"width": 1240, "height": 720})
        page.goto(demo.as_uri())
        page.wait_for_selector("html[data-ready]")
        page.locator("#list").evaluate("list => list.scrollIntoView()")
        page.screenshot(path=HERE / "demo.png")
        shrink(HERE / "demo.png")


if __name__ == "__main__":
    main()
