"""Normalise text to what a reader sees, for classifiers only.

A writer can hide a word from a program but not from a person: with an invisible character inside
it, a Cyrillic letter instead of a Latin one, spaces between its letters, or digits for letters.
`normalise` undoes that. Only a classifier reads the result, which is then discarded: positions,
verdicts and reports refer to the text as it was written, so nothing needs to be mapped back.

Ordinary text is not changed, except for typographic forms (curly quotes, ligatures, wide letters).
Words in another script are kept: only words that mix Latin letters with their lookalikes, or
consist of lookalikes alone within a text that is otherwise Latin, are changed. Other languages,
ciphers, encodings and spelling mistakes are not undone.

Unicode Standard Annex 15 (NFKC); the lookalikes are from the letters of Unicode Technical
Standard 39 (confusables) that stand for a basic Latin one.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from .contract import REMEMBERED, StepInput

__all__ = ["CONFUSABLES", "normalise", "normalised"]

KEPT = 4096
"""Texts whose result is cached: a step is in the history of the steps after it."""

_LOOKALIKES = {
    "a": "аɑαᴀᗅ", "b": "ƀɓʙЬВΒᏏ", "c": "сϲᴄСϹⅽ", "d": "ԁɗᴅđᏧ", "e": "еҽєεᴇЕΕ", "f": "ƒꜰϝ", "g": "ɡɢԍց",  # noqa: RUF001
    "h": "һհʜНΗħ", "i": "іıɩιɪІΙӏΪ", "j": "јϳᴊЈ", "k": "кκᴋКΚ", "l": "łʟⅼⳑ", "m": "мᴍМΜ", "n": "ոռɴпΝ",
    "o": "оοօσᴏОΟøө", "p": "рρᴘРΡ", "q": "ԛզ", "r": "гʀᴦɾ", "s": "ѕꜱʂЅՏ", "t": "тτᴛТΤŧ", "u": "υսᴜʋՍ",  # noqa: RUF001
    "v": "ѵνᴠᏙ", "w": "ԝѡωᴡшԜ", "x": "хχХΧ", "y": "уүγʏУΥҮ", "z": "ᴢʐΖᏃ",  # noqa: RUF001
}  # fmt: skip

CONFUSABLES = {ord(other): latin for latin, others in _LOOKALIKES.items() for other in others}
"""Code points of letters that look like a basic Latin one → that letter, in lower case."""

_OTHER_SIGNS = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u2032\u00b4"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201f\u2033"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2212"), "-"),
    **{0x1F1E6 + n: chr(ord("a") + n) for n in range(26)},  # regional indicators
    **{0x1F170 + n: chr(ord("a") + n) for n in range(26)},  # letters in black squares
    **{0x1F150 + n: chr(ord("a") + n) for n in range(26)},  # and in black circles
}

_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef]"
)
"""Characters that are not visible."""

_MARKS = re.compile(
    "(?<=[\x00-\x7f])[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z]")

_SPACED = re.compile(r"(?<!\S)\w[^\w\s]?(?:[ \t]{1,4}(?:\w[^\w\s]?|[^\w\s])){3,}(?!\S)")
"""Four or more single characters with spaces between them."""
_GAP = re.compile(r"[ \t]{2,}|(?<=[^\w\s])[ \t]")
_DOTTED = re.compile(r"(?<![\w.])[^\W\d_](?:([.\-_*|·•])[^\W_])(?:\1[^\W_])+(?!\w)")
"""Three or more single characters with the same sign between all of them."""
_PAIR = re.compile(r"(?<![\w.])[^\W\d_]([.\-_*|·•])[^\W_](?!\w)")
_BROKEN = re.compile(r"(?<=[a-z]{2})[*|~·•](?=[a-z]{2})", re.IGNORECASE)
"""A sign inside a word that does not belong in any word."""

_LEET = str.maketrans("01345789@$!|", "oieastbgasil")
_LEET_WORD = re.compile(r"(?<![\w@$!|.])[A-Za-z01345789@$!|]*[A-Za-z][A-Za-z01345789@$!|]*(?![\w@$|])")
_HAS_LEET = re.compile(r"[A-Za-z][01345789@$!|]|[01345789$|][A-Za-z]")
_INSIDE = re.compile(r"[A-Za-z][013457@$!|]+[A-Za-z]|^[013457$|][A-Za-z]{2}")
"""The pattern of a disguised word: a digit or a sign between letters or before them."""
_MEANT = re.compile(
    r"\d*(?:1st|2nd|3rd)|\d+(?:th|s|d|k|x|am|pm|px|gb|mb|kg|km|cm|mm|ml|mg|min|hrs?|days?|zip|chan|password|\dd)",
    re.IGNORECASE,
)
"""Ordinals, amounts and names that begin with a digit."""
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+\d")
_HEX = re.compile(r"[0-9a-f]{7,}|[0-9A-F]{7,}")
_SEVERAL = 3
"""From this many disguised words on, all words of letters and digits but `_MEANT` are read as disguised."""


@lru_cache(maxsize=KEPT)
def normalise(text: str) -> str:
    r"""Return a text as a reader sees it, with disguises undone.

    Example:
        >>> normalise("h\u200bow to p1ck a l\u043eck, q u i e t l y")
        'how to pick a lock, quietly'
    """
    if not text.isascii():
        text = _latin(text)
    if _SPACED.search(text):
        text = _SPACED.sub(_join_spaced, text)
    text, joined = _DOTTED.subn(_join_dotted, text)
    if joined > 1:
        text = _PAIR.sub(_join_dotted, text)
    text = _BROKEN.sub("", text)
    return _letters(text) if _HAS_LEET.search(text) else text


def normalised(step: StepInput) -> StepInput:
    """Return a step with its texts normalised and its history cut to the last `REMEMBERED` steps."""
    history = tuple(map(normalise, step.history[-REMEMBERED:]))
    return StepInput(normalise(step.text), normalise(step.prompt), history, step.channel)


def _latin(text: str) -> str:
    """Undo Unicode disguises: compatibility forms, invisible characters, lookalikes, stacked marks."""
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", _UNSEEN.sub("", text).translate(_OTHER_SIGNS)))
    if text.isascii():
        return text
    letters = [c for c in text if c.isalpha()]
    foreign = sum(not c.isascii() and ord(c) not in CONFUSABLES for c in map(_base, letters))
    alone = foreign <= len(letters) / 10

    def plain(word: re.Match[str]) -> str:
        found = word[0]
        if found.isascii() or not (_LATIN.search(found) or alone):
            return found
        swapped = found.translate(CONFUSABLES)
        return swapped if _LATIN.search(found) or swapped.isascii() else found

    marked = _MARKS.sub("", unicodedata.normalize("NFD", text))
    text = _MARKS.sub("", _WORD.sub(plain, unicodedata.normalize("NFC", marked)))
    return unicodedata.normalize("NFC", text)


def _base(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[0]


def _join_spaced(run: re.Match[str]) -> str:
    """Join single letters; if the gaps differ in width, the wide ones separate words."""
    found = run[0]
    if sum(c.isalpha() for c in found) * 4 < len(re.sub(r"\s", "", found)) * 3:
        return found
    return " ".join(re.sub(r"[ \t]", "", word) for word in _GAP.split(found))


def _join_dotted(run: re.Match[str]) -> str:
    return run[0].replace(run[1], "")


def _letters(text: str) -> str:
    """Read digits and signs inside words as the letters that they look like."""
    several = sum(_disguised(word) for word in _LEET_WORD.finditer(text)) >= _SEVERAL

    def spell(word: re.Match[str]) -> str:
        found = word[0]
        if not (_disguised(word) or (several and not _MEANT.fullmatch(found))):
            return found
        body = found.rstrip("!")
        return body.replace("11", "ll").translate(_LEET) + found[len(body) :]

    return _LEET_WORD.sub(spell, text)


def _disguised(word: re.Match[str]) -> bool:
    found = word[0].rstrip("!")
    letters = sum(c.isalpha() for c in found)
    if letters == len(found) or letters < 2 or letters * 3 < len(found):
        return False
    if any(kind.fullmatch(found) for kind in (_MEANT, _FORMULA, _HEX)) or _is_address(word):
        return False
    return _INSIDE.search(found) is not None


def _is_address(word: re.Match[str]) -> bool:
    return "@" in word[0] and re.match(r"\.\w", word.string[word.end() :]) is not None
