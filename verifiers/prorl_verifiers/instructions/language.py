"""Which language a text is in, the same on every run: by script where the script decides, else by py3langid.

py3langid (the maintained langid) is a fixed linear model of 4 MB that works offline; langdetect, which IFEval uses, is
random unless seeded and changes its answer with the order of calls. The model's languages are limited to those below:
among all 97 it takes short Spanish for Venetian.

The whole text must be in the language: letters of another script are names and terms among it, not sentences. A text
must say something: the same word again and again, or function words alone, are in no language.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

import regex

from prorl_verifiers.instructions.function_words import FUNCTION_WORDS
from prorl_verifiers.instructions.sentences import sentences
from prorl_verifiers.instructions.text import visible

MAX_CHARACTERS = 20_000
"""More text tells no more about its language."""
MIN_LETTERS = 8
"""Fewer are no text in any language."""
_MIN_SHARE = 0.75
"""Of all words, those in the script of the language."""
_MIXED_WORD = regex.compile(r"\p{Latin}\p{Cyrillic}|\p{Cyrillic}\p{Latin}")
"""Letters of another script that pass for its own."""
_MAX_FOREIGN_RUN = 3
"""So many words of another script in a row, of which one is no name, are a phrase of another language."""
_MIN_JUDGED_SENTENCE = 40
"""Letters of a sentence that is long enough to be classified alone."""
_CERTAIN = 0.999
"""How probable another language must be for one sentence to spoil a text."""
_SCRIPTS = {
    "ar": "Arabic", "fa": "Arabic", "ur": "Arabic", "bn": "Bengali", "hi": "Devanagari", "mr": "Devanagari",
    "ne": "Devanagari", "he": "Hebrew", "el": "Greek", "ru": "Cyrillic", "uk": "Cyrillic", "bg": "Cyrillic",
    "th": "Thai", "ta": "Tamil", "te": "Telugu", "kn": "Kannada", "ml": "Malayalam", "gu": "Gujarati",
    "pa": "Gurmukhi", "ko": "Hangul", "ja": "Han Hiragana Katakana", "zh": "Han",
}  # fmt: skip
_LATIN = (
    "en", "es", "pt", "fr", "de", "it", "nl", "pl", "sw", "vi", "fi", "sv", "da", "no", "cs", "sk", "hu", "ro", "tr",
    "id", "hr", "sl", "et", "lv", "lt", "ca", "af", "sq", "tl", "cy", "so",
)  # fmt: skip
_UNSPACED = ("ja", "zh", "th")
LANGUAGES = frozenset((*_SCRIPTS, *_LATIN))
"""ISO 639-1 codes that are judged; they include all of IFEval's."""


def base_code(language: str) -> str:
    """Return `zh` for `zh-cn`."""
    return language.partition("-")[0].lower()


def is_in_language(text: str, language: str) -> bool:
    """Return whether a text is in a language of `LANGUAGES`, and says something in it."""
    code = base_code(language)
    text = visible(text[:MAX_CHARACTERS])
    return _is_in_script(text, code) and _says_something(text.lower(), code) and _is_classified(text, code)


def _is_in_script(text: str, code: str) -> bool:
    """Return whether the words are of the language's script but for names and terms."""
    script = "".join(rf"\p{{{name}}}" for name in _SCRIPTS.get(code, "Latin").split())
    own = r"\p{L}\p{M}*" if code in _UNSPACED else rf"[{script}][{script}\p{{M}}']*"
    native = len(regex.findall(rf"(?=[{script}]){own}", text))
    foreign = rf"[\p{{L}}--[{script}\p{{Common}}\p{{Inherited}}]][\p{{M}}\p{{L}}--[{script}]]*"
    num_letters = len(regex.findall(rf"(?=\p{{L}})[{script}]", text))
    if num_letters < (MIN_LETTERS if code in _LATIN else MIN_LETTERS // 2) or _MIXED_WORD.search(text):
        return False
    if native < _MIN_SHARE * (native + len(regex.findall(rf"(?V1){foreign}", text))):
        return False
    for run in regex.findall(rf"(?V1){foreign}(?:[\s\p{{P}}]+{foreign}){{{_MAX_FOREIGN_RUN - 1},}}", text):
        if sum(word[:1].islower() or not regex.match(r"\p{Latin}", word) for word in run.split()) > 1:
            return False
    return code not in ("ja", "zh") or bool(regex.search(r"[\p{Hiragana}\p{Katakana}]", text)) == (code == "ja")


def _says_something(text: str, code: str) -> bool:
    """Return whether the text is more than repetition and function words."""
    if code in _UNSPACED:
        units, few = regex.findall(r"\p{L}\p{M}*", text), 4
    else:
        units, few = regex.findall(r"\p{L}[\p{L}\p{M}']*", text), 2
    counts = Counter(units)
    most_common = counts.most_common(1)[0][1]
    if len(counts) < few or (len(units) >= 2 * few and most_common > 0.5 * len(units)):
        return False
    if len(counts) < 0.4 * min(len(units), 30):
        return False
    function_words = FUNCTION_WORDS.get(code, frozenset())
    return code in _UNSPACED or any(unit not in function_words for unit in counts)


def _is_classified(text: str, code: str) -> bool:
    """Return whether the classifier takes the text for the language, and no long sentence certainly for another."""
    script = _SCRIPTS.get(code, "Latin")
    if code in _SCRIPTS and sum(other == script for other in _SCRIPTS.values()) == 1:
        return True
    if _classified(text.lower())[0] != code:
        return False
    return not any(
        len(regex.findall(r"\p{L}", sentence)) >= _MIN_JUDGED_SENTENCE and _is_certainly_foreign(sentence, code)
        for sentence in sentences(text)
    )


def _is_certainly_foreign(sentence: str, code: str) -> bool:
    label, probability = _classified(sentence.lower())
    return label != code and probability > _CERTAIN


def _classified(text: str) -> tuple[str, float]:
    label, probability = _identifier().classify(" ".join(text.split()))
    return "no" if label in ("nb", "nn") else str(label), float(probability)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    identifier.set_languages(sorted(known & (LANGUAGES | {"nb", "nn"})))
    return identifier
