"""Read each API's messages and chunks: which texts, of which channel, in which field.

One reader follows one response, be it a stream of chunks or a single body. Payloads are JSON objects
or the objects that a client library made of them; both are read in the same way. Fields that repeat
the content of another (OpenRouter's `reasoning` beside `reasoning_details`, the events that end a part
in the Responses API) are read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from ...classifiers.contract import Channel
from ..profiles import AUTO
from ..reasoning import BLOCK_BREAK, parse
from ..trace import NotAssessed, Reason

__all__ = [
    "ChatReader",
    "MessagesReader",
    "Reader",
    "ResponsesReader",
    "Text",
    "get",
    "index_of",
    "items_of",
    "prompt_of",
]

Part: TypeAlias = tuple[int | str, ...]

_FIELDS = ("reasoning_content", "reasoning", "thinking")
_LISTS = ("reasoning_details", "thinking_blocks")
_DETAILS = {"reasoning.text": "text", "thinking": "thinking", "reasoning.summary": "summary"}
_CAVEATS: Mapping[Reason, str] = {
    "summary_only": "the provider returned a summary instead of the reasoning",
    "encrypted": "the provider withheld or encrypted the reasoning",
    "wrong_types": "a text field contained something other than text",
}


_PLAIN = (str, bytes, int, float, list, tuple)
"""Types of values that have no fields."""


class Text(NamedTuple):
    """Text of one choice."""

    choice: int
    channel: Channel | None
    """The channel; None for text that may contain tags."""
    text: str
    field: str
    """The field that held it: `reasoning_content`, `content`, `reasoning_details:reasoning.text`, …"""
    part: Part = ()
    """The block that it belongs to, in APIs that have blocks."""


class Reader(Protocol):
    """Follows one response of one API."""

    def texts(self, payload: Any) -> list[Text]:
        """Return the texts in a chunk, an event or a whole response, in order."""

    def caveat(self, choice: int = 0) -> NotAssessed | None:
        """Return why a choice cannot be judged in full, as far as the payloads so far show it."""

    def fields(self, choice: int = 0) -> tuple[str, ...]:
        """Return the fields that held a choice's reasoning; none if it was between tags."""

    def odd(self) -> set[int | None]:
        """Return the choices with unreadable parts since the last call; None stands for all choices."""

    def unread(self) -> None:
        """Record that a payload could not be read."""


def get(holder: Any, name: str) -> Any:
    """Return a field of a JSON object or of an object with attributes; None if it is absent."""
    if isinstance(holder, Mapping):
        return holder.get(name)
    return None if isinstance(holder, _PLAIN) else getattr(holder, name, None)


def prompt_of(asked: Any) -> str:
    """Return the request of a call: its last user turn, or its raw prompt."""
    turns = get(asked, "messages") or get(asked, "input") or get(asked, "prompt")
    if isinstance(turns, str):
        return turns
    for turn in reversed(turns if isinstance(turns, list | tuple) else ()):
        if get(turn, "role") == "user":
            content = get(turn, "content")
            several = content if isinstance(content, list | tuple) else ()
            parts = [content] if isinstance(content, str) else [get(p, "text") for p in several]
            return BLOCK_BREAK.join(part for part in parts if isinstance(part, str) and part)
    return ""


def items_of(holder: Any, name: str) -> Sequence[Any]:
    """Return a field that holds a list; an empty list if it does not."""
    value = get(holder, name)
    return value if isinstance(value, list | tuple) else ()


def index_of(choice: Any, position: int) -> int:
    """Return a choice's index; its position in the list if it has none."""
    number = get(choice, "index")
    return number if isinstance(number, int) and not isinstance(number, bool) else position


class _Notes:
    """The per-choice notes that all readers keep; the choice None stands for all choices.

    Args:
        profile: how the model marks its reasoning in text.
    """

    def __init__(self, profile: str = AUTO) -> None:
        self._profile = profile
        self._reasons: dict[int | None, dict[Reason, None]] = {}
        self._used: dict[int, dict[str, None]] = {}
        self._odd: set[int | None] = set()

    def caveat(self, choice: int = 0) -> NotAssessed | None:
        """Return why a choice cannot be judged in full."""
        reasons = self._reasons.get(choice, {}) | self._reasons.get(None, {})
        found = next((reason for reason in _CAVEATS if reason in reasons), None)
        return None if found is None else NotAssessed(reason=found, detail=_CAVEATS[found])

    def fields(self, choice: int = 0) -> tuple[str, ...]:
        """Return the fields that held a choice's reasoning."""
        return tuple(self._used.get(choice, ()))

    def odd(self) -> set[int | None]:
        """Return the choices with unreadable parts since the last call."""
        odd, self._odd = self._odd, set()
        return odd

    def unread(self) -> None:
        """Record that a payload could not be read."""
        self._note(None, "wrong_types")

    def _note(self, choice: int | None, reason: Reason) -> None:
        self._reasons.setdefault(choice, {})[reason] = None
        if reason == "wrong_types":
            self._odd.add(choice)

    def _use(self, text: Text) -> Text:
        if text.channel == "reasoning":
            self._used.setdefault(text.choice, {})[text.field] = None
        return text

    def _text(self, choice: int, holder: Any, name: str) -> str:
        value = get(holder, name)
        if value is not None and not isinstance(value, str):
            self._note(choice, "wrong_types")
        return value if isinstance(value, str) else ""

    def _several(self, choice: int | None, holder: Any, name: str) -> Sequence[Any]:
        """Return a field that holds a list of objects."""
        value = get(holder, name)
        if value is not None and not isinstance(value, list | tuple):
            self._note(choice, "wrong_types")
        items = items_of(holder, name)
        if any(item is None or isinstance(item, _PLAIN) for item in items):
            self._note(choice, "wrong_types")
        return items

    def _number(self, choice: int | None, holder: Any, name: str) -> int:
        value = get(holder, name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value or 0
        self._note(choice, "wrong_types")
        return 0


class ChatReader(_Notes):
    """Reads chat completions and text completions, of OpenAI and all compatible servers."""

    def texts(self, payload: Any) -> list[Text]:
        """Return the texts in a chunk or in a whole completion."""
        found = []
        for position, choice in enumerate(self._several(None, payload, "choices")):
            index = index_of(choice, position)
            found += [self._use(text) for text in self._choice(index, choice, get(payload, "model"))]
        return found

    def _choice(self, index: int, choice: Any, model: Any) -> Iterator[Text]:
        message = get(choice, "delta")
        whole = message is None
        message = get(choice, "message") if whole else message
        if message is None:  # a text completion; LiteLLM's have reasoning beside the text
            yield from self._reasoning(index, choice)
            if text := self._text(index, choice, "text"):
                yield Text(index, "answer" if self.fields(index) else None, text, "text")
            return
        if isinstance(message, _PLAIN):
            self._note(index, "wrong_types")
        yield from self._reasoning(index, message)
        for channel, text, field in self._visible(index, message):
            own: Channel | None = channel
            if channel is None and (self._untagged(text, model) if whole else self.fields(index)):
                own = "answer"
            yield Text(index, own, text, field)

    def _reasoning(self, index: int, message: Any) -> Iterator[Text]:
        """Yield the reasoning in fields of its own; text that two fields repeat is yielded once."""
        seen = set()
        for field, text in [*self._plain(index, message), *self._listed(index, message)]:
            if text and text not in seen:
                seen.add(text)
                yield Text(index, "reasoning", text, field)

    def _plain(self, index: int, message: Any) -> Iterator[tuple[str, str]]:
        for name in _FIELDS:
            yield name, self._text(index, message, name)

    def _listed(self, index: int, message: Any) -> Iterator[tuple[str, str]]:
        for name in _LISTS:
            texts: dict[str, str] = {}
            for part in self._several(index, message, name):
                what = str(get(part, "type"))
                if what in _DETAILS:
                    texts[what] = texts.get(what, "") + self._text(index, part, _DETAILS[what])
                if what in ("reasoning.encrypted", "redacted_thinking"):
                    self._note(index, "encrypted")
                elif what == "reasoning.summary":
                    self._note(index, "summary_only")
            yield from ((f"{name}:{what}", text) for what, text in texts.items())

    def _visible(self, index: int, message: Any) -> Iterator[tuple[Channel | None, str, str]]:
        content = get(message, "content")
        for part in self._several(index, message, "content") if isinstance(content, list | tuple) else ():
            yield from self._part(index, part)
        if not isinstance(content, list | tuple) and (text := self._text(index, message, "content")):
            yield None, text, "content"
        if text := self._text(index, message, "refusal"):
            yield "answer", text, "refusal"

    def _part(self, index: int, part: Any) -> Iterator[tuple[Channel | None, str, str]]:
        """Yield the texts in one part of a list content, such as Mistral's."""
        what = str(get(part, "type"))
        if get(part, "thought") is True:  # of Gemini, which gives summaries
            self._note(index, "summary_only")
            if text := self._text(index, part, "text"):
                yield "reasoning", text, "content:thought"
        elif what in ("thinking", "reasoning"):
            inner = get(part, what)
            texts = [inner] if isinstance(inner, str) else []
            for one in () if texts else self._several(index, part, what):
                texts.append(self._text(index, one, "text"))
            for text in texts:
                if text:
                    self._used.setdefault(index, {})[f"content:{what}"] = None
                    yield "reasoning", text, f"content:{what}"
        elif text := self._text(index, part, "refusal" if what == "refusal" else "text"):
            yield None, text, "content"

    def _untagged(self, text: str, model: Any) -> bool:
        """Whether a whole text has no reasoning tag; the model's name alone proves nothing."""
        parsed = parse(text, self._profile, model=model if isinstance(model, str) else None)
        return text in (parsed.answer, parsed.reasoning)


_DELTAS: Mapping[str, tuple[Channel | None, str]] = {
    "response.reasoning_text": ("reasoning", "reasoning_text"),
    "response.reasoning_summary_text": ("reasoning", "reasoning_summary_text"),
    "response.output_text": (None, "output_text"),
    "response.refusal": ("answer", "refusal"),
}
_PARTS: Mapping[str, tuple[Channel | None, str, str]] = {
    "reasoning_text": ("reasoning", "reasoning_text", "text"),
    "summary_text": ("reasoning", "reasoning_summary_text", "text"),
    "output_text": (None, "output_text", "text"),
    "refusal": ("answer", "refusal", "refusal"),
}


class ResponsesReader(_Notes):
    """Reads OpenAI's Responses API: typed events about items, or a response with its items.

    A part is named (output index, field, index in the item). The event at the end of a part repeats its
    text; it is read only if the part had no deltas.
    """

    def __init__(self, profile: str = AUTO) -> None:
        super().__init__(profile)
        self._seen: set[Part] = set()
        self._spelt = False

    def texts(self, payload: Any) -> list[Text]:
        """Return the texts in an event, or in a whole response."""
        event = str(get(payload, "type") or "")
        if not event.startswith("response."):
            return self._kept(self._items(self._several(0, payload, "output")))
        name, _, end = event.rpartition(".")
        if name in _DELTAS and end in ("delta", "done"):
            return self._kept(self._event(payload, name, end))
        if event == "response.output_item.done":
            where = self._number(0, payload, "output_index")
            return self._kept(self._item(where, get(payload, "item")), again=True)
        response = get(payload, "response")
        if response is not None and end in ("completed", "incomplete", "failed"):
            return self._kept(self._items(self._several(0, response, "output")), again=True)
        return []

    def _kept(self, texts: Iterator[Text], *, again: bool = False) -> list[Text]:
        kept = []
        for text in texts:
            if text.text and not (again and text.part in self._seen):
                self._weigh(text.field)
                kept.append(self._use(self._apart(text)))
        self._seen |= {text.part for text in kept}
        return kept

    def _weigh(self, field: str) -> None:
        """Note that a summary is not the reasoning, unless the reasoning itself is present too."""
        if field == "reasoning_text":
            self._spelt = True
            self._reasons.get(0, {}).pop("summary_only", None)
        elif field == "reasoning_summary_text" and not self._spelt:
            self._note(0, "summary_only")

    def _apart(self, text: Text) -> Text:
        """Assign text to the answer channel if the reasoning has fields of its own."""
        return text._replace(channel="answer") if text.channel is None and self.fields() else text

    def _event(self, payload: Any, name: str, end: str) -> Iterator[Text]:
        channel, field = _DELTAS[name]
        index = "summary_index" if field == "reasoning_summary_text" else "content_index"
        part = (self._number(0, payload, "output_index"), field, self._number(0, payload, index))
        said = "delta" if end == "delta" else "refusal" if field == "refusal" else "text"
        if end == "delta" or part not in self._seen:
            yield Text(0, channel, self._text(0, payload, said), field, part)

    def _items(self, items: Sequence[Any]) -> Iterator[Text]:
        for where, item in enumerate(items):
            yield from self._item(where, item)

    def _item(self, where: int, item: Any) -> Iterator[Text]:
        bare = True
        for name in ("summary", "content"):
            own = get(item, "type") in ("reasoning", "message")
            for index, part in enumerate(self._several(0, item, name) if own else items_of(item, name)):
                what = str(get(part, "type"))
                if what in _PARTS:
                    channel, field, said = _PARTS[what]
                    text = self._text(0, part, said)
                    bare = bare and not text
                    yield Text(0, channel, text, field, (where, field, index))
        if get(item, "type") == "reasoning" and bare and get(item, "encrypted_content"):
            self._note(0, "encrypted")


_BLOCKS: Mapping[str, tuple[Channel | None, str]] = {
    "thinking": ("reasoning", "thinking"),
    "text": (None, "text"),
    "thinking_delta": ("reasoning", "thinking"),
    "text_delta": (None, "text"),
}


class MessagesReader(_Notes):
    """Reads Anthropic's Messages API: content blocks, whole or as events. A part is (index of the block,)."""

    def texts(self, payload: Any) -> list[Text]:
        """Return the texts in an event, or in a whole message."""
        event = get(payload, "type")
        index = self._number(0, payload, "index")
        if event == "content_block_start":
            found = self._block(index, get(payload, "content_block"))
        elif event == "content_block_delta":
            found = self._block(index, get(payload, "delta"))
        elif event == "message":
            blocks = self._several(0, payload, "content")
            found = [text for where, block in enumerate(blocks) for text in self._block(where, block)]
        else:
            found = []
        return found

    def _block(self, index: int, block: Any) -> list[Text]:
        what = str(get(block, "type"))
        if what == "redacted_thinking":
            self._note(0, "encrypted")
        if what not in _BLOCKS:
            return []
        channel, field = _BLOCKS[what]
        if channel is None and self.fields(0):
            channel = "answer"
        text = self._text(0, block, field)
        return [self._use(Text(0, channel, text, field, (index,)))] if text else []
