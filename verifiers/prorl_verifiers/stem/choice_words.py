"""The words around a choice, in many languages: what announces it, affirms it, denies it, and leaves it open."""

from __future__ import annotations

import re

_ANNOUNCED = (
    # English
    r"(?:answer|choice|option)s?\**\s*(?:is|are|:|=|\|)",
    r"\b(?:choose|select|pick)\s",
    r"\b(?:option|choice|answer)\s+(?=\W{0,3}[A-Z]\b)",
    r"\bans\s*[.:]",
    # German, Dutch, French, Spanish, Portuguese, Italian, Polish, Turkish, Vietnamese, Swedish
    r"\b(?:antwort|lösung)\s*(?:ist|lautet|:)",
    r"\bantwoord\s*(?:is|:)",
    r"\br[ée]ponse\s*(?:(?:correcte|exacte|finale)\s*)?(?:est|:)",
    r"\brespuesta\s*(?:(?:correcta|final)\s*)?(?:es|:)",
    r"\bresposta\s*(?:(?:correta|certa|final)\s*)?(?:é|:)",
    r"\brisposta\s*(?:(?:corretta|giusta|finale)\s*)?(?:è|:)",
    r"\bodpowied[źz]\w*\s*(?:to|:)",
    r"\b(?:cevap|yanıt)\s*:?\s",
    r"đáp án\s*(?:đúng)?\s*(?:là|:)",
    r"\bsvaret\s*(?:är|:)",
    # Russian, Ukrainian, Arabic, Persian, Hindi, Thai
    r"(?:ответ|відповідь)\s*(?:[—–:-])",
    r"(?:الإجابة|الجواب|پاسخ)\s*(?:الصحيحة\s*)?(?:هي|هو|:)",
    r"उत्तर\s*(?:है|:)",
    r"คำตอบ\s*(?:คือ|:)",
    # Chinese, Japanese, Korean
    r"(?:答案|正确选项|正確選項|选项|選項|选择|選擇|应选|應選)\s*(?:应该|應該|应|應)?\s*(?:是|为|為|[::])?",
    r"(?:答え|正解|解答)\s*(?:は|[::])?",
    r"(?:정답|답)\s*(?:은|[::])",
)
MARKER = re.compile("|".join(f"(?:{each})" for each in _ANNOUNCED) + "", re.IGNORECASE)
"""What stands before a stated choice."""

DENIAL = re.compile(
    r"\b(?:not|cannot|never|no|none|nor|neither|eliminat\w*|exclud\w*|except\w*|incorrect\w*|wrong\w*|false\w*|least|unlikely"
    r"|doubt\w*|impossible|reject\w*|contradict\w*|invalid\w*|fail\w*|discard\w*|dismiss\w*|worst|opposite|untrue|inverse"
    r"|unsupported|implausible|refut\w*|disprov\w*|absurd|distractor|inconsistent|unphysical|trap|mistake\w*|anything|all\s+but)\b"
    r"|n['’]t\b|\bnon-|¬|\brul(?:e|es|ed|ing)\s+(?:it\s+)?out|\bother\s+than|\binstead\s+of|\brather\s+than|\bbut\s+(?=\W*[A-Z]\b)"
    r"|\bnicht\b|\bkeine?\w*\b|\bfalsch\w*|\bniet\b|\bonjuist\w*|\bpas\b|\bfaux\b|\bfausse\b|\bincorrect[aeo]\w*|\bno\s+es\b"
    r"|\bfals[oa]\b|\bnão\b|\berrad\w*|\bincorret\w*|\bnon\b|\bsbagliat\w*|\berrat\w*|\bscorrett\w*|\bnie\b|\bbłędn\w*|\bdeğil\w*"
    r"|\byanlış\w*|\bkhông\b|\bsai\b|\binte\b|\bfel\b|\bне\b|\bневерн\w*|\bнеправильн\w*|\bхибн\w*|ليس|خطأ|غير|नहीं|गलत|ไม่|ผิด"
    r"|不|错|錯|排除|否|非|違|誤|ない|ません|아니|틀|제외",
    re.IGNORECASE,
)
"""Words that deny, in a sentence that names an option."""

DOUBT = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|probably\s+not|might|may|could|guess\w*|unsure|both|if|whether|unless|suppos\w*|assum\w*"
    r"|hypothe\w*|would|were|tempting|were|oder|vielleicht|falls|wenn|ou|peut-être|si|quizás|tal\s+vez|forse|se|lub|może|veya"
    r"|hoặc|eller|или|если|возможно)\b|\?|？|或|如果|可能|也许|也許|もし|また|かも|또는|만약|아마|या|أو|إذا|หรือ",
    re.IGNORECASE,
)
"""Words that leave it open, in a sentence that names an option."""

AFFIRMED = re.compile(
    r"^\W*(?:(?:is|must\s+be|has\s+to\s+be|would\s+be|seems|are)\s+)?(?:indeed\s+|clearly\s+|therefore\s+|thus\s+)?(?:the\s+)?(?:only\s+)?"
    r"(?:correct|right|true|best|valid|appropriate|most\s+\w+)(?:\s+(?:one|answer|option|choice|statement|answer\s+choice))?\W*$"
    r"|^\W*(?:ist|est|es|é|è|är|jest)?\s*(?:la\s+|die\s+|a\s+)?(?:richtig\w*|korrekt\w*|correcte?s?|juste|exacte?|correct[ao]s?|corret\w*"
    r"|cert[ao]|giust[ao]|verdader[ao]|verdadeir[ao]|poprawn\w*|doğru\w*|đúng|rätt|верн\w*|правильн\w*|вірн\w*)\W*(?:antwort|réponse)?\W*$"
    r"|^\W*(?:是)?(?:正确|正確|对|對)(?:的|答案|选项|選項)*\W*$|^\W*(?:です|だ|が正しい|が正解(?:です)?|입니다|이다|है|ครับ|ค่ะ)\W*$",
    re.IGNORECASE,
)
"""What may follow an option in a sentence that affirms it."""

REASON = re.compile(
    r"^\W*(?:because|since|as|due\s+to|given|for|so|hence|thus|which\s+(?:is|gives|follows|matches|states|means)|by|from|where|with"
    r"|weil|da|car|parce|puisque|porque|ya\s+que|perché|poiché|ponieważ|çünkü|vì|eftersom|потому|так\s+как|因为|因為|なぜなら)\b",
    re.IGNORECASE,
)
"""What a reason begins with."""

RETRACTION = re.compile(
    r"^\W*(?:or|and\s+(?:also\s+)?\W{0,3}[A-Z]\b|also|wait|actually|no|hmm+|but|oder|ou|o|或|また)\b", re.IGNORECASE
)
"""What the next sentence begins with, if it takes the choice back or adds another."""
CLAUSE = re.compile(
    r"[,;:—–]|\b(?:so|therefore|hence|thus|then|consequently|also|donc|daher|luego|quindi|поэтому)\b|所以|因此|故"
)
"""Where a new clause begins."""
