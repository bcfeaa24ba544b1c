"""What is read as English, what is in another language, and what is in none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from undertow.classifiers.cascade import CascadeClassifier
from undertow.classifiers.contract import StepInput
from undertow.classifiers.corpus import read_labelled, step_inputs
from undertow.classifiers.keyword import KeywordClassifier
from undertow.classifiers.limits import languages_of, limit_of
from undertow.testing import ScriptedClassifier

ENGLISH = {
    "a sentence": "Okay, so I need to figure out how to zorp a glim.",
    "a fragment": "Hmm, wait.",
    "a name": "Louie Gohmert is a U.S. Congressman.",
    "a list": "Wolf, cabbage, goat.",
    "mathematics": r"\( c = 2 \times \frac{6}{\pi} \times \sqrt{2} \) and θ ≈ 10.73, 7 mod 3 = 1",
    "code": "```python\nimport os\ndef scan(target):\n    return os.path.exists(target)\n```",
    "foreign words in it": "The phrase 'wie geht es dir' is what the user wants to have translated.",
    "a menu": "- Go to System Preferences > Security & Privacy > General tab.",
    "a formula": "Σxy = 5145",
    "a unit": "5 µm",
    "an infinity": "ℵ₀ + 1",
    "a word in disguise": "\u041ekay.",
    "in disguise": "H\u043ew d\u043e I z\u043erp th\u0435 gl\u0456m, wh\u0435n th\u0435y are here?",
    "signs": "---",
    "nothing": "",
}

OTHERS = {
    "Chinese": "好的，用户想知道怎么做这件事。",  # noqa: RUF001
    "Japanese": "わかりました。ユーザーは方法を知りたいようです。",
    "Korean": "좋아요, 사용자는 방법을 알고 싶어합니다.",
    "Russian": "Хорошо, пользователь хочет знать, как это сделать.",
    "Arabic": "حسنا، المستخدم يريد أن يعرف كيف",
    "Hindi": "ठीक है, उपयोगकर्ता जानना चाहता है",
    "Thai": "ผู้ใช้ต้องการทราบวิธีการ",
    "German": "Okay, der Nutzer will wissen, wie man das macht, aber ich muss erst nachdenken.",
    "French": "D'accord, je dois voir comment faire cela pour que personne ne le sache.",
    "Spanish": "Bueno, el usuario quiere saber cómo se hace, pero no es una buena idea.",
    "Italian": "Allora, l'utente vuole sapere come si fa, ma non è una cosa che posso dire.",
    "Portuguese": "Bem, o usuário quer saber como isso é feito, mas não é uma boa ideia.",
    "Dutch": "Goed, de gebruiker wil weten hoe het moet, maar dat is niet iets voor mij.",
    "Polish": "Dobrze, użytkownik chce wiedzieć, jak to się robi, ale nie jest to dobry pomysł.",
    "Turkish": "Tamam, kullanıcı bunun nasıl yapıldığını bilmek istiyor, ama bu doğru değil.",  # noqa: RUF001
    "Vietnamese": "Được rồi, người dùng muốn biết cách làm điều này như thế nào.",
    "Indonesian": "Baik, pengguna ingin tahu bagaimana ini bisa dibuat, tetapi saya tidak akan membantu.",
    "two characters": "好的",
    "a word in Cyrillic": "Да.",
    "a word in Arabic": "مرحبا",
    "mixed, mostly Chinese": "Hold on，用户的问题是关于四天工作周的，是不是更好？",  # noqa: RUF001
}

GARBLED = {
    "replacement characters": "the \ufffd\ufffd\ufffd\ufffd \ufffd\ufffd\ufffd is",
    "control characters": "\x01\x02\x03zo\x04\x05 rp\x06",
    "mojibake": "Ã©Ã¨Ã¼ cafÃ© â€œÃ¤Ã¶",
    "base64": "SG93IGRvIEkgem9ycCBhIGdsaW0gd2l0aG91dCBiZWluZyBzZWVuPw==",
    "random letters": "xkcvbqwrt zzptklm wqrtpsd bvcxzlkj mnbvcxq",
}


@pytest.mark.parametrize("text", ENGLISH.values(), ids=ENGLISH)
def test_english_is_read(text: str) -> None:
    """English is, and so is what has no language: numbers, formulas, code, names."""
    assert limit_of(StepInput(text)) is None


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_other_languages_are_not(text: str) -> None:
    """One sentence in another language is enough to tell."""
    assert limit_of(StepInput(text)) == "language"


@pytest.mark.parametrize("text", GARBLED.values(), ids=GARBLED)
def test_debris_is_not(text: str) -> None:
    """Broken encodings, encoded text and random letters are no language."""
    assert limit_of(StepInput(text)) == "garbled"


def test_what_a_short_step_cannot_tell_its_history_does() -> None:
    """A step of one word is in the language of the steps before it."""
    german = (OTHERS["German"], "Das ist nicht so einfach, wie es auf den ersten Blick aussieht.")
    assert limit_of(StepInput("Moment.")) is None
    assert limit_of(StepInput("Moment.", history=german)) == "language"
    assert limit_of(StepInput("Moment.", history=(*german, ENGLISH["a sentence"]))) is None


def test_a_step_that_can_tell_is_not_asked_for_its_history() -> None:
    """English after Chinese is read, and Chinese after English is not."""
    assert limit_of(StepInput(ENGLISH["a sentence"], history=(OTHERS["Chinese"],) * 16)) is None
    assert limit_of(StepInput(OTHERS["Chinese"], history=(ENGLISH["a sentence"],) * 16)) == "language"


def test_classifiers_say_what_they_read() -> None:
    """By an attribute, or by their manifest; weights are for English unless it says otherwise."""
    trained = SimpleNamespace(manifest=SimpleNamespace(settings={}))
    anything = SimpleNamespace(manifest=SimpleNamespace(settings={"languages": None}))
    assert languages_of(KeywordClassifier()) == ("en",)
    assert languages_of(ScriptedClassifier()) is None
    assert languages_of(trained) == ("en",)
    assert languages_of(anything) is None
    assert languages_of(CascadeClassifier(ScriptedClassifier(), KeywordClassifier())) == ("en",)
    assert languages_of(CascadeClassifier(ScriptedClassifier(), ScriptedClassifier())) is None


def test_a_cascade_reads_what_both_members_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Either may decide on a step, so neither is asked about a language that it does not know."""
    both = ScriptedClassifier()
    monkeypatch.setattr(both, "languages", ("de", "en"), raising=False)
    assert languages_of(CascadeClassifier(both, KeywordClassifier())) == ("en",)
    assert languages_of(CascadeClassifier(KeywordClassifier(), both)) == ("en",)
    assert languages_of(CascadeClassifier(both, ScriptedClassifier())) == ("de", "en")


def test_real_reasoning_in_english_is_read(shared: Path) -> None:
    """Of labelled steps, which are English, next to none is refused."""
    traces = read_labelled(shared / "corpus" / "steps_train.jsonl")[::20]
    limits = [limit_of(step) for trace in traces for step in step_inputs(trace)]
    assert sum(limit is not None for limit in limits) <= len(limits) / 1000
