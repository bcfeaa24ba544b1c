"""Detect steps that a classifier trained on English cannot read: other languages and garbled text.

A classifier returns numbers for any text. For a text that it never learned to read, they mean nothing,
and a low risk would look like "safe". So each step is checked first; a step that cannot be read is not
judged, and the verdict says why.

The question is only "English or not", which is easier than identifying the language. The script decides
most cases. For languages in Latin letters the commonest words decide: a text with none of the English
ones, or with more of another language's, is not English. If a step has too few words, the earlier steps
are consulted as well; what remains undecided (code, numbers, names) is judged. Only the step and its
history are used, so that live and batch runs agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from .contract import StepClassifier, StepInput
from .normalise import normalise

__all__ = ["ENGLISH", "OTHERS", "Limit", "languages_of", "limit_of"]

Limit: TypeAlias = Literal["language", "garbled"]
"""The reason why a step cannot be read: another language, or no language at all."""

ENGLISH = frozenset(
    """
    about after all also although an and another answer any are as ask at be because been before
    being between both but by can check could did do does doesn't don't each even every find first
    for from get give had has have he help her here him his hmm how however i i'm if in into is it
    it's its just know let let's like look make many may maybe me might more most much must my
    need next no not now of ok okay on one only or other our out over people perhaps person
    provide question request same say see she should since so some step still such tell than that
    that's the their them then there these they think this those though through to too try two
    until up us use user very wait want was way we well what when where which while who why will
    with within without would you your
    """.split()  # noqa: SIM905
)
"""Common words, some of which occur in every English text."""

OTHERS = {
    "de": """
    in an was so will war am man er da hier mehr mir mich wenn der die das und ist nicht ich ein
    eine zu mit auf für von dem den sich auch wie sie wir aber oder kann muss wird sind einen
    einer werden über noch nur nach durch dass
    """,
    "es": """
    no me el la los las de que y en un una se por con para su como pero más este esta lo al del
    está qué son si ser puede cómo yo debe también hay muy porque
    """,
    "fr": """
    on me a le la les de des et est un une en que qui dans pour pas ce il elle je nous vous sur
    avec au aux du ne se sont par mais ou cette être peut comme doit c'est
    """,
    "it": """
    in no me il lo la gli le di e che è un una per non con sono del della si come ma anche più nel
    questo questa essere può io devo alla dei delle perché
    """,
    "pt": """
    do no me o os as de que e em um uma não é com para por se da dos das na mais como mas ser está
    isso este eu você pode ao também são muito
    """,
    "nl": """
    is in was an we me over of men die wat u de het een en van niet ik dat te op voor met zijn aan
    er maar ook als dan naar om bij moet kan deze door hoe worden
    """,
    "sv": """
    i under vid sig mot och att det som en på är av för med den till inte om jag de ett men har
    kan vi måste eller ska hur så från
    """,
    "da": """
    over under ved sig og at det som en på er af for med den til ikke om jeg de et men har kan vi
    skal eller hvordan så fra hvad ville
    """,
    "nb": """
    over under ved seg mot og å det som en på er av for med den til ikke om jeg de et men har kan
    vi må eller skal hvordan så fra hva ville
    """,
    "fi": """
    no me ja on ei se että hän oli ovat mutta kun niin myös joka tai kuin minä mitä olen tämä voi
    jos sen ole pitää miten
    """,
    "pl": """
    to do no o i w na nie się że jest z jak po ale co tak ja za od przez dla są czy być może który
    by tym jego muszę
    """,
    "cs": """
    to do no a je se na že v s z jsem by jak ale za co tak jako pro nebo jsou být může která které
    si podle musím
    """,
    "ro": """
    a o și în de la cu nu este un pe că să se pentru din mai dar sunt care ce cum fi am eu trebuie
    poate sau acest
    """,
    "hu": """
    a az és hogy nem egy is van de ez ha csak meg mint már vagy kell lehet én mit ezt azt el volt
    hogyan
    """,
    "tr": """
    ve bir bu için de da ile ne çok gibi daha ama değil olarak ben o nasıl mi olan kadar sonra
    gerekiyor olabilir ya
    """,  # noqa: RUF001
    "id": """
    yang dan di ini itu untuk dengan tidak dari pada adalah saya akan ke bisa atau dalam juga kita
    mereka harus bagaimana dapat anda apa
    """,
    "vi": """
    và là của có không một cho được với này các người tôi những trong để đã như khi về bạn thì cần
    làm phải
    """,
    "ca": """
    on me el la els les de que i en un una és no per amb com però més aquest aquesta al del està
    són si pot jo també ha cal
    """,
    "tl": """
    at ang ng sa na ay mga ko mo ito hindi para siya ako kung may kaya paano dapat natin
    """,
    "sw": """
    na ya wa kwa ni katika hii la za yake kama si hiyo au cha sana ili mimi lakini jinsi lazima
    kuwa
    """,
    "et": """
    ja on ei et see ta oli mis kui aga ka ning või ma seda oma kuidas olen pean
    """,
    "hr": """
    to do i je se na da u su za ne što od kao ali ili sam kako bi nije koji koja treba može
    """,
    "sk": """
    to do a je sa na že v s z som by ako ale za čo tak pre alebo sú byť môže ktoré si musím
    """,
    "sl": """
    in je se na da za ne so v z ki pa po kot tudi ali sem bi če kako lahko moram ni to do
    """,
    "sq": """
    të e në dhe një për me nga është që i nuk si do kjo duhet mund por se ka
    """,
    "lt": """
    ir yra kad su į iš ne tai kaip bet ar jis aš apie už turi būti šis
    """,
    "lv": """
    un ir ka ar no uz tas kā bet vai par lai nav to šis jābūt
    """,
}
"""The commonest words of each language, including those that are also English words."""

_OTHER_WORDS: dict[str, list[int]] = {}
for _index, _words in enumerate(OTHERS.values()):
    for _word in set(_words.split()):
        if len(_word) > 1:
            _OTHER_WORDS.setdefault(_word, []).append(_index)

ENOUGH = 4
"""Words in Latin letters that a text needs to be recognised as English."""
SURE = 3
"""Different common words that a text needs to be recognised as another language."""
PLENTY = 60
"""Words in Latin letters from which on an English text has at least one common English word."""
LONGEST = 4000
"""Characters of a step that are read."""
KEPT = 4096
"""Texts whose words are cached: a step is in the history of the steps after it."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Letters of scripts without spaces between words."""
_BLOB = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
_MIXED = re.compile(r"[a-z][A-Z0-9]|[0-9][a-z]|[A-Z]{2}[a-z]")
_NO_VOWEL = re.compile(r"[b-df-hj-np-tv-xz]{6,}")
_MOJIBAKE = re.compile("[\u00c2\u00c3\u00d0\u00d1\u00e2][\u0080-\u00bf\u20ac\u2122\u0153]")
_DEBRIS = frozenset({"Cc", "Cn", "Co", "Cs"})


def languages_of(classifier: StepClassifier) -> tuple[str, ...] | None:
    """Return the languages that a classifier reads; None if it is not limited.

    A classifier declares them in an attribute `languages`. Weights that undertow trained read English,
    unless the settings in their manifest name other languages, or none. A cascade reads what each of
    its members reads, since either may decide on a step.
    """
    members = (getattr(classifier, "first", None), getattr(classifier, "second", None))
    limits = [languages_of(member) for member in members if isinstance(member, StepClassifier)]
    if found := [limit for limit in limits if limit is not None]:
        return tuple(one for one in found[0] if all(one in limit for limit in found))
    manifest = getattr(classifier, "manifest", None)
    if manifest is not None:
        said = manifest.settings.get("languages", ("en",))
        return tuple(said) if said else None
    named: tuple[str, ...] | None = getattr(classifier, "languages", None)
    return named


def limit_of(step: StepInput) -> Limit | None:
    """Return the reason why a step cannot be read as English; None if there is none.

    Only the text of the step and its history are used, and no more of the history than is needed.
    """
    text = step.text[:LONGEST]
    if _is_garbled(text):
        return "garbled"
    found = _in_context(text, step.history, _counted)
    if found.is_english is not False:
        return None
    plain = _in_context(text, step.history, lambda hidden: _counted(normalise(hidden)))
    in_disguise = plain.is_english and len(plain.english) * 5 >= plain.latin
    # One word in look-alike letters is too little to tell either.
    one_word = 0 < found.foreign < 2 and not plain.foreign and plain.is_english is None
    return None if in_disguise or one_word else "language"


@dataclass(frozen=True, slots=True)
class _Words:
    """The evidence that the words of a text give about its language."""

    latin: int
    """Number of words in Latin letters."""
    foreign: float
    """Number of words in other letters, estimated for scripts without spaces."""
    plain: bool
    """Whether any of these is in letters that formulas do not use, as Greek ones are used."""
    marked: int
    """Number of words in Latin letters that contain a letter beyond ASCII."""
    english: frozenset[str]
    """The different common English words."""
    other: frozenset[str]
    """The different common words of other languages."""

    def __add__(self, more: _Words) -> _Words:
        english, other = self.english | more.english, self.other | more.other
        return _Words(
            self.latin + more.latin,
            self.foreign + more.foreign,
            self.plain or more.plain,
            self.marked + more.marked,
            english,
            other,
        )

    @property
    def is_english(self) -> bool | None:
        """Whether the text is English; None if the words do not suffice to tell."""
        if self.foreign > self.latin:
            return False if self.plain or self.foreign >= 2 else None
        counts = Counter(index for word in self.other for index in _OTHER_WORDS[word])
        language, most = counts.most_common(1)[0] if counts else (-1, 0)
        own = sum(language not in _OTHER_WORDS.get(word, ()) for word in self.english)
        strange = sum(language in _OTHER_WORDS[word] for word in self.other - ENGLISH)
        if most >= SURE and most > own and strange > 1:
            return False
        if self.marked >= SURE and self.marked > len(self.english) and self.marked * 6 > self.latin:
            return False
        if self.latin >= PLENTY and not self.english:
            return False
        return True if len(self.english) > most and self.latin >= ENOUGH else None


def _in_context(text: str, history: Sequence[str], count: Callable[[str], _Words]) -> _Words:
    """Return the evidence of a step and, until it decides, of more and more earlier steps, latest first."""
    words = count(text)
    for before in reversed(history):
        if words.is_english is not None:
            break
        words += count(before[:LONGEST])
    return words


@lru_cache(maxsize=KEPT)
def _counted(text: str) -> _Words:
    words = [word.replace("\u2019", "'") for word in _WORD.findall(text.lower())]
    known = frozenset(words)
    latin = sum(len(word) > 1 and _is_latin(word) for word in words)
    foreign, plain, marked = 0.0, False, 0
    if not text.isascii():
        unspaced = _UNSPACED.findall(text)
        others = [w for w in words if len(w) > 1 and not _is_latin(w) and not _UNSPACED.match(w)]
        foreign = len(unspaced) / 2 + len(others)
        plain = bool(unspaced) or not all(map(_in_formulas, others))
        marked = sum(_is_latin(word) and not word.isascii() for word in words)
    return _Words(latin, foreign, plain, marked, known & ENGLISH, known & _OTHER_WORDS.keys())


def _is_latin(word: str) -> bool:
    return word[0].isascii() or unicodedata.name(word[0], "").startswith("LATIN")


def _in_formulas(word: str) -> bool:
    """Return whether a word in other letters may be a formula or a unit, such as `Σxy` and `µm`."""
    name = unicodedata.name(word[0], "")
    written = unicodedata.category(word[0]) == "Lo" and not name.endswith("SYMBOL")
    return not written and not name.startswith(("CYRILLIC", "ARMENIAN", "GEORGIAN"))


def _is_garbled(text: str) -> bool:
    """Return whether much of a text is debris: a broken encoding, encoded data, random letters."""
    dense = "".join(text.split())
    if len(dense) < 2 * ENOUGH:
        return False
    if not dense.isascii() or not dense.isprintable():
        debris = sum(c == "\ufffd" or unicodedata.category(c) in _DEBRIS for c in dense)
        if debris * 5 > len(dense) or len(_MOJIBAKE.findall(dense)) * 8 > len(dense):
            return True
    blobs = sum(len(blob) for blob in _BLOB.findall(text) if _MIXED.search(blob))
    if blobs * 2 > len(dense):
        return True
    odd = sum(map(len, _NO_VOWEL.findall(text.lower())))
    return odd * 3 > len(dense)
