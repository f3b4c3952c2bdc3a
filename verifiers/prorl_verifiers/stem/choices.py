r"""Which option of a multiple-choice question a completion chooses: exactly one, or none.

Looked at, in this order: the boxes, the last `<answer>` tag, the sentence around the last "answer is", "answer:",
"option" or "choice" (in many languages: `choice_words`), and the last line if it is nothing but an option. Boxes
without an option do not count where a sentence follows that has one. A letter may be bare, bold, in parentheses or in
`\text{}`. Behind it may stand the option's text, a reason, or that it is correct; anything else that might take it back
is a hedge, as are two letters. The whole clause around a marker must affirm: "I would eliminate option B" chooses
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.algebra.checker import are_same
from prorl_verifiers.extraction import boxed_contents, extract
from prorl_verifiers.stem.choice_words import (
    AFFIRMED,
    CHOOSES,
    CLAUSE,
    DENIAL,
    DOUBT,
    MARKER,
    MODIFIER,
    REASON,
    RETRACTION,
    STRUCK,
)

HEDGE = "?"
"""Stands for the choice of several options, or of one that is taken back; no letter of an option."""
_MAX_STATEMENT = 2000
_MAX_BOXES = 32
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:bf|rm|it|sf|tt|normal)|mbox|boxed|underline|emph|bm|boldsymbol)\s*\{([^{}]*)\}"
)
_SPACE = re.compile(r"\\[ ,;:!]|~|\\(?:quad|qquad)(?![a-zA-Z])")
_MARKS = re.compile(r"[*$`_]|\\[()\[\]]|^\s*#+|^\s*>+|\|")
_LEADING_WORDS = re.compile(
    r"^(?:(?:so|hence|thus|therefore)\b\W*)?(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:option|choice|answer|letter|选项|選項)?\s*(?:is\b)?\s*[:：]?\s*",
    re.IGNORECASE,
)
_LONE_LETTER = re.compile(r"[\[({（【]?\s*([A-Za-z])\s*[\])}）】]?\s*[.:,。]?")
_TURKISH_IS = re.compile(r"\b([A-Z])['’]d[ıiuü]r\b")
_AMBIGUOUS_SMALL = frozenset("ei")
"""Small letters that are numbers where they stand alone in a box."""
_LETTER_FIRST = re.compile(
    r"[\[(（【]?\s*([A-Z])(?![A-Za-z0-9'’^])\s*([\])）】]?\s*(?:[.:：]|[-–—](?=\s))?)\s*(.*)", re.DOTALL
)
_OTHER_LETTER = re.compile(r"(?<![A-Za-z0-9'’\\_^{])([B-Z]|A(?!\s+[a-z]))(?![A-Za-z0-9'’_^])")
_SMALL_LETTER = re.compile(r"^\W*(?:(?:and|or)\s+)?\(?([b-hj-z])\)?\W*$|[(,;/&|]\s*([b-hj-z])\s*(?:[),;]|$)")
_SEVERAL = re.compile(r"\W*(?:(?:both|either|options?|and|or|not|neither|nor)\b\W*|[A-Z](?![A-Za-z0-9])\W*){2,}")
"""Nothing but options, and words between them."""
_SENTENCE_END = re.compile(r"(?<![ (]\b[A-Z])\.(?=\s|$|[*\])])|[。!！](?=\s|$|[^\s])|\n")
_SENTENCE_START = re.compile(r"[.!?。！？]\s+|\n")
_QUESTION = re.compile(
    r"\W*(?:is|are|was|could|can|does|do|did|should|why|how|what|which|ist|est|es|é|è)\b", re.IGNORECASE
)
_AFFIRMED_LETTER = re.compile(
    r"(?<![A-Za-z0-9'’])[\[(（]?\**([A-Z])\**[\])）]?\s+(?:is|has\s+to\s+be|must\s+be)\s+(?:clearly\s+|indeed\s+|therefore\s+)?"
    r"(?:(?:the\s+)?(?:only\s+)?(?:correct|right|best)\s+(?:one|answer|option|choice)|(?:correct|right))\W*(?=\n|\.\s|$)",
)


def chosen_option(completion: str, answer_format: AnswerFormat, choices: Mapping[str, str]) -> str | None:
    """Return the letter of the chosen option, `HEDGE`, or None if no choice is stated. `choices` may be empty."""
    text = extract(completion, answer_format)
    if text is None:
        return None
    if answer_format is not AnswerFormat.TEXT:
        return _of_whole(text, choices)
    boxes = [box.strip() for box in boxed_contents(text) if box.strip()]
    if boxes:
        found = _from_boxes(boxes, choices)
        behind = text[text.rindex(boxes[-1]) + len(boxes[-1]) :]
        return found if found is not None or not MARKER.search(behind) else _from_prose(behind, choices)
    tagged = extract(text, AnswerFormat.ANSWER_TAG)
    return _of_whole(tagged, choices) if tagged is not None else _from_prose(text, choices)


def _from_boxes(boxes: list[str], choices: Mapping[str, str]) -> str | None:
    """Return what all boxes agree on; None if none of them holds an option."""
    distinct = list(dict.fromkeys(boxes))
    if len(distinct) > _MAX_BOXES:
        return HEDGE
    found = {_of_whole(box, choices) for box in distinct}
    if found == {None}:
        return None
    return found.pop() if len(found) == 1 else HEDGE


def _of_whole(statement: str, choices: Mapping[str, str]) -> str | None:
    """Return the option that a box, a tag or a line consists of."""
    if STRUCK.search(statement):
        return HEDGE
    plain = _TURKISH_IS.sub(r"\1", _unwrapped(statement))
    stripped = _LEADING_WORDS.sub("", plain).strip()
    if lone := _LONE_LETTER.fullmatch(stripped):
        return None if lone[1] in _AMBIGUOUS_SMALL else lone[1].upper()
    by_text = _by_text(plain, choices)
    if by_text is not None:
        return by_text
    first = _LETTER_FIRST.fullmatch(stripped)
    if first and _is_option(first[1], choices) and not _is_word(first[1], first[2] + " " + first[3]):
        return _with_rest(first[1], first[3], choices, has_mark=bool(first[2].strip()))
    return HEDGE if _SEVERAL.fullmatch(stripped) else None


def _with_rest(letter: str, rest: str, choices: Mapping[str, str], *, has_mark: bool) -> str:
    """Return the letter, unless what stands behind it says something else; `has_mark`: behind `B)`, `B.` or `B:`."""
    rest = rest.strip().rstrip("✓✔✅").rstrip()
    if not rest.strip(" .,:;)]}）】。") or AFFIRMED.match(rest):
        return letter
    named = _by_text(rest, choices)
    if named is not None:
        return letter if named == letter else HEDGE
    others = {
        other for other in _OTHER_LETTER.findall(rest) if other not in (letter, "I") and _is_option(other, choices)
    }
    is_open = DOUBT.search(rest) or DENIAL.search(rest) or _SMALL_LETTER.search(rest)
    if others or is_open or not re.search(r"\w", rest):
        return HEDGE
    # An option's text that is not known may be anything; one that is known was compared above.
    return letter if REASON.match(rest) or (has_mark and not choices) else HEDGE


def _from_prose(text: str, choices: Mapping[str, str]) -> str | None:
    text = text[-_MAX_STATEMENT:]
    marked = [*MARKER.finditer(text)]
    affirmed = [*_AFFIRMED_LETTER.finditer(text)]
    if affirmed and (not marked or affirmed[-1].start() > marked[-1].start()):
        before, _ = _clause_before(text, affirmed[-1].start())
        taken_back = RETRACTION.search(text[affirmed[-1].end() :].lstrip(". \n"))
        return affirmed[-1][1] if CHOOSES.match(before) and not taken_back else HEDGE
    if not marked:
        last_line = text.rstrip().rpartition("\n")[2]
        several = len({letter for letter in _OTHER_LETTER.findall(last_line) if _is_option(letter, choices)}) > 1
        return _of_whole(last_line, choices) or (HEDGE if several else None)
    return _from_marker(text, marked[-1], choices)


def _from_marker(text: str, marker: re.Match[str], choices: Mapping[str, str]) -> str | None:
    """Read the sentence around a marker: it must affirm as a whole."""
    before, start = _clause_before(text, marker.start())
    if marker["bare"] and not before.strip(" *_#>"):
        before = text[start : marker.start()]
    after = re.sub(r"^[\s*:：|]+", "", text[marker.end() :])
    statement, behind = _first_sentence(after)
    if (
        _leaves_open(before)
        or _QUESTION.match(before)
        or not (marker["bare"] or MODIFIER.search(before) or CHOOSES.match(before))
        or re.match(r"[\s*_!！]*[?？]", after[len(statement) :])
    ):
        return HEDGE if _OTHER_LETTER.search(_unwrapped(statement)) else None
    if RETRACTION.search(_unwrapped(behind)) or STRUCK.search(after[: len(statement)]):
        return HEDGE
    if marker["bare"] and not _is_chosen(text, before, statement):
        return HEDGE
    found = _of_whole(statement, choices)
    if found is not None:
        return found
    plain = _unwrapped(statement)
    first = _LETTER_FIRST.match(plain)
    if first and _stands_alone(first, plain):
        return _with_rest(first[1], first[3], choices, has_mark=False)
    return HEDGE if _leaves_open(plain) and _OTHER_LETTER.search(plain) else None


def _is_chosen(text: str, before: str, statement: str) -> bool:
    """Tell whether an option that is only named is chosen: by a verb, as correct, or as the only one in the text."""
    rest = re.sub(r"^\W*[A-Z]\W*", "", _unwrapped(statement))
    if AFFIRMED.match(rest):
        return True
    if not CHOOSES.match(before):
        return False
    named = {match.string[match.end() :].lstrip(" (*[_$")[:1] for match in MARKER.finditer(text) if match["bare"]}
    return before.strip(" *_#>") != "" or len(named) == 1


def _stands_alone(first: re.Match[str], plain: str) -> bool:
    """Tell an option's letter from a word: "A triangle" begins with an article."""
    return not _is_word(first[1], plain[first.end(1) :])


def _is_word(letter: str, rest: str) -> bool:
    """Tell whether a letter is the article A or the pronoun I."""
    return (
        letter in "AI"
        and re.match(r"\s+[a-z]{2,}", rest) is not None
        and not AFFIRMED.match(rest)
        and not REASON.match(rest)
    )


def _clause_before(text: str, position: int) -> tuple[str, int]:
    """Return the clause that leads up to a position: what stands before in its sentence, from the last comma on."""
    starts = [match.end() for match in _SENTENCE_START.finditer(text, 0, position)]
    start = starts[-1] if starts else 0
    sentence = text[start:position]
    clauses = [match.end() for match in CLAUSE.finditer(sentence)]
    clause = sentence[clauses[-1] :] if clauses else sentence
    if re.match(r"\W*(?:that|dass|que|что|che)\b", clause, re.IGNORECASE):
        return sentence, start  # it hangs on what is before it
    return clause, start


def _first_sentence(text: str) -> tuple[str, str]:
    end = _SENTENCE_END.search(text)
    question = re.search(r"[?？]", text[: end.start()] if end else text)
    if question:
        return text[: question.start()], text[question.end() :]
    return (text[: end.start()], text[end.end() :]) if end else (text, "")


def _leaves_open(words: str) -> bool:
    return DENIAL.search(words) is not None or DOUBT.search(words) is not None


def _is_option(letter: str, choices: Mapping[str, str]) -> bool:
    return letter in choices if choices else True


def _by_text(statement: str, choices: Mapping[str, str]) -> str | None:
    """Return the one option whose text the statement is."""
    wanted = _comparable(statement)
    exact = [letter for letter, text in choices.items() if _comparable(text) == wanted]
    if len(exact) == 1:
        return exact[0]
    if exact or not wanted or len(wanted) > 200:
        return None
    same = [letter for letter, text in choices.items() if are_same(text, statement)]
    return same[0] if len(same) == 1 else None


def _unwrapped(text: str) -> str:
    text = _SPACE.sub(" ", text)
    for _ in range(3):
        text = _WRAPPER.sub(r"\1", text)
    return _MARKS.sub(" ", text).strip() if "|" in text else _MARKS.sub("", text).strip()


def _comparable(text: str) -> str:
    """Return a text without what makes no difference: case, spaces, and punctuation at its ends."""
    plain = _unwrapped(text).casefold().strip(" .,:;")
    return "".join(plain.split())
