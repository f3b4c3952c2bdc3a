"""Which language a text is in, the same on every run: by script where the script decides, else by py3langid.

py3langid (the maintained langid) is a fixed linear model of 4 MB that works offline; langdetect, which IFEval uses, is
random unless seeded and changes its answer with the order of calls. The model's languages are limited to those below:
among all 97 it takes short Spanish for Venetian.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

MAX_CHARACTERS = 20_000
"""More text tells no more about its language."""
MIN_LETTERS = 8
"""Fewer are no text in any language."""
_MIN_SHARE = 0.6
_SCRIPTS = {
    "ar": "\u0600-\u06ff\u0750-\u077f", "fa": "\u0600-\u06ff\u0750-\u077f", "ur": "\u0600-\u06ff\u0750-\u077f",
    "bn": "\u0980-\u09ff", "hi": "\u0900-\u097f", "mr": "\u0900-\u097f", "ne": "\u0900-\u097f", "he": "\u0590-\u05ff",
    "el": "\u0370-\u03ff", "ru": "\u0400-\u04ff", "uk": "\u0400-\u04ff", "bg": "\u0400-\u04ff", "th": "\u0e00-\u0e7f",
    "ta": "\u0b80-\u0bff", "te": "\u0c00-\u0c7f", "kn": "\u0c80-\u0cff", "ml": "\u0d00-\u0d7f", "gu": "\u0a80-\u0aff",
    "pa": "\u0a00-\u0a7f", "ko": "\uac00-\ud7af\u1100-\u11ff", "ja": "\u3040-\u30ff\u4e00-\u9fff",
    "zh": "\u4e00-\u9fff",
}  # fmt: skip
_KANA = re.compile("[\u3040-\u30ff]")
_LATIN = (
    "en", "es", "pt", "fr", "de", "it", "nl", "pl", "sw", "vi", "fi", "sv", "da", "no", "cs", "sk", "hu", "ro", "tr",
    "id", "hr", "sl", "et", "lv", "lt", "ca", "af", "sq", "tl", "cy", "so",
)  # fmt: skip
LANGUAGES = frozenset((*_SCRIPTS, *_LATIN))
"""ISO 639-1 codes that are judged; they include all of IFEval's."""


def base_code(language: str) -> str:
    """`zh` for `zh-cn`."""
    return language.partition("-")[0]


def is_in_language(text: str, language: str) -> bool:
    """Whether most of a text is in a language of `LANGUAGES`."""
    code = base_code(language)
    text = text[:MAX_CHARACTERS]
    letters = "".join(re.findall(r"[^\W\d_]", text))
    if len(letters) < (MIN_LETTERS if code in _LATIN else MIN_LETTERS // 2):
        return False
    script = _SCRIPTS.get(code, "A-Za-z\u00c0-\u024f\u1e00-\u1eff")
    if len(re.findall(f"[{script}]", letters)) < _MIN_SHARE * len(letters):
        return False
    if code in ("ja", "zh"):
        return bool(_KANA.search(letters)) == (code == "ja")
    shares_script = sum(_SCRIPTS.get(other) == script for other in _SCRIPTS) > 1
    if code in _SCRIPTS and not shares_script:
        return True
    return _classified(text.lower()) == code


def _classified(text: str) -> str:
    label, _ = _identifier().classify(" ".join(text.split()))
    return "no" if label in ("nb", "nn") else str(label)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    known = set(identifier.labels)
    identifier.set_languages(sorted(known & (LANGUAGES | {"nb", "nn"})))
    return identifier
