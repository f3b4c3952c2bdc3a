"""The words around a choice, in many languages: what announces it, affirms it, denies it, and leaves it open."""

from __future__ import annotations

import re

_NOUNS = (
    # (what an answer is called, what may follow as an adjective, "is"), by language
    (
        "answer|choice|option",
        "",
        r"(?:is|are|must\s+be|should\s+be|has\s+to\s+be)(?:\s+(?:clearly|therefore|thus|indeed|hence))?",
    ),
    ("solution|result|ans", "", "is"),
    ("antwort|lösung", "", "ist|lautet"),
    ("antwoord", "", "is"),
    ("r[ée]ponse", "correcte|exacte|juste|finale", r"est(?:\s+donc)?(?:\s+la)?(?:\s+lettre)?"),
    ("respuesta|opci[óo]n", "correcta|final", r"es(?:\s+la)?(?:\s+opción)?"),
    ("resposta|alternativa|opç[ãa]o|opció", "correta|certa|correcta|final", r"(?:é|és)(?:\s+a|\s+la)?"),
    ("risposta|opzione", "corretta|giusta|esatta|finale", r"è(?:\s+la)?"),
    ("răspuns(?:ul)?|varianta", "corect|corectă|final", "este"),
    ("odpowied[źz]\\w*", "", "to|jest"),
    ("odpov[ěe][ďd]|odgovor", "", "je"),
    ("válasz", "", ""),
    ("vastaus|vastus", "", "on"),
    ("svar(?:et)?", "", "är|er"),
    ("cevap|yanıt", "", ""),
    ("jawaban(?:nya)?|jawapan", r"yang\s+(?:benar|tepat)", "adalah|ialah"),
    ("đáp án|câu trả lời", "đúng", "là"),
    ("sagot", "", "ay"),
    ("jibu", "sahihi", "ni"),
    ("jawaab(?:ta)?", "saxda ah", "waa"),
    ("ateb", "cywir", "yw"),
    ("përgjigj[ae]", r"e\s+saktë", "është"),
    ("atbilde|atsakymas", "", "ir|yra"),
    ("ответ|відповідь|отговор(?:ът)?", "", "е"),
    ("απάντηση", "", "είναι"),
    ("התשובה|תשובה", "הנכונה", "היא"),
    ("الإجابة|الجواب|پاسخ|جواب", "الصحيحة|الصحيح|صحیح|درست", "هي|هو"),
    ("उत्तर|जवाब|উত্তর|பதில்|விடை|సమాధానం|ಉತ್ತರ|ഉത്തരം|જવાબ|ઉત્તર|ਜਵਾਬ|ਉੱਤਰ", "", "है"),
)
_COLON = r"[::=|]|\s[-—–]+(?=\s)"
_SPACED = "".join(
    rf"(?<!\w)(?:{noun})(?:\s+(?:{adjective or noun}))?s?\**\s*(?:(?:{is_ or noun})(?!\w)|{_COLON})|"
    for noun, adjective, is_ in _NOUNS
)
_UNSPACED = (
    r"คำตอบ(?:ที่ถูกต้อง)?\s*(?:คือ|:)"
    r"|(?:答案|正确选项|正確選項|选项|選項|选择|選擇|应选|應選)\s*(?:应该|應該|应|應)?\s*(?:是|为|為|[选選](?![项項择擇])|[::])?"
    r"|[选選]\s*[::]?(?=\W{0,3}[A-Z](?![A-Za-z]))"
    r"|(?:答え|正解|解答|回答)\s*(?:は|[::])?"
    r"|(?:정답|(?<!오)답)\s*(?:은|[::])"
)
_BARE = r"\b(?:option|choice|answer)\s+(?=\W{0,3}[A-Z]\b)"
_VERBS = r"\b(?:choose|select|pick)\s"
_BEFORE_LETTER = r"(?<!\w)(?:cevap|yanıt|उत्तर|जवाब)\s+(?=\W{0,3}[A-Z](?![A-Za-z]))"
MARKER = re.compile(
    rf"{_SPACED}{_UNSPACED}|\bans\s*\.|{_BEFORE_LETTER}|(?P<verb>{_VERBS})|(?P<bare>{_BARE})", re.IGNORECASE
)
"""What stands before a stated choice. `bare`: only names an option, and states nothing by itself."""

MODIFIER = re.compile(
    r"(?:^|[\s,;:.(*_#>|])(?:the|correct|right|best|final|true|only|my|our|this|likely|appropriate|accurate|suitable|probable|proper|so|thus"
    r"|hence|therefore|that|then|and|is|an?|conclude|one|single|overall|actual|real|closest|reasonable|plausible|consistent"
    r"|die|der|das|richtige|korrekte|endgültige|finale|meine|unsere|also|dass|het|de|juiste|correcte|goeie|korrekte|regte|mijn|la|le|bonne|ma|notre"
    r"|donc|que|mi|nuestra|una?|a|minha|nossa|mia|nostra|che|prawidłowa|poprawna|właściwa|moja|správná|správna|moje|točan|ispravan|pravilen"
    r"|doğru|helyes|oikea|õige|rätt|rätta|riktig|riktige|korrekt|rigtige|det|den|mitt|правильный|верный|итоговый|окончательный|мой|наш"
    r"|правильна|вірна|остаточна|правилният|верният|правилен|η|σωστή|ang|tamang|yr|pareizā|teisingas|сорrect|सही|সঠিক|सठिक|સાચો|ਸਹੀ|சரியான"
    r"|సరైన|ಸರಿಯಾದ|ശരിയായ|अंतिम|בן|صحیح|درست|i|we|l|правилна|точна)['’]?\W*$|^\W*$"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f、，：]\W*$",
    re.IGNORECASE,
)
"""What may stand directly before the noun: the naive answer and the student's answer state none. Scripts without spaces
have no words to look at."""

CHOOSES = re.compile(
    r"^\W*(?:(?:so|thus|hence|therefore|then|and|finally)\W+)*(?:(?:i|we)(?:['’](?:d|ll)|\s+would|\s+will)?(?:\s+(?:therefore|thus|hence|would))?"
    r"(?:\s+(?:choose|select|pick|go\s+with|answer|opt\s+for|conclude|say))?\s*)?(?:that\s+)?(?:the\s+)?"
    r"(?:(?:only|correct|right|best|final)\s+)*(?:option|choice|answer)?\W*$|^\W*(?:the\s+)?(?:only\s+|correct\s+|best\s+)*(?:answer|choice)\s*(?:is|:)\W*$",
    re.IGNORECASE,
)
"""The whole of what may stand before an option that is only named."""

STRUCK = re.compile(
    r"~~|^\s*\W{0,3}~|[❌✗✘×☒]|<(?:s|del|strike)>|\\(?:[bx]?cancel|sout|st|not|neg|lnot|sim)(?![A-Za-z])"
)
"""Marks that take a letter back."""

DENIAL = re.compile(
    r"\b(?:not|cannot|never|no|none|nor|neither|eliminat\w*|exclud\w*|except\w*|incorrect\w*|wrong\w*|false\w*|least|unlikely"
    r"|doubt\w*|avoid\w*|strike|struck|skip\w*|cross\w*|ignor\w*|without|hard(?:ly)?|scarcely|barely|naive\w*|popular|common|initial\w*"
    r"|previous\w*|trick\w*|misconception|besides|trivially|hallucinat\w*|impossible|reject\w*|contradict\w*|invalid\w*|fail\w*|discard\w*|dismiss\w*|worst|opposite|untrue|inverse"
    r"|unsupported|implausible|refut\w*|disprov\w*|absurd|distractor|inconsistent|unphysical|trap|mistake\w*|anything|all\s+but)\b"
    r"|n['’]t\b|\bnon-|¬|\brul(?:e|es|ed|ing)\s+(?:it\s+)?out|\bother\s+than|\binstead\s+of|\brather\s+than|\bbut\s+(?=\W*[A-Z]\b)"
    r"|\bnicht\b|\bkeine?\w*\b|\baußer\b|\bausschließ\w*|\bmauvaise?\b|\bsauf\b|\bmenos\b|\bsalvo\b|\bexcepto\b|\btranne\b|\beccetto\b|\bfalsch\w*|\bniet\b|\bonjuist\w*|\bpas\b|\bfaux\b|\bfausse\b|\bincorrect[aeo]\w*|\bno\s+es\b"
    r"|\bfals[oa]\b|\bnão\b|\berrad\w*|\bincorret\w*|\bnon\b|\bsbagliat\w*|\berrat\w*|\bscorrett\w*|\bnie\b|\bbłędn\w*|\bdeğil\w*"
    r"|\byanlış\w*|\bkhông\b|\bsai\b|\binte\b|\bfel\b|\bне\b|\bневерн\w*|\bнеправильн\w*|\bхибн\w*|ليس|خطأ|غير|नहीं|गलत|ไม่|ผิด"
    r"|不|错|錯|排除|否|非|違|誤|误|除了|以外|오답|ない|ません|아니|틀|제외",
    re.IGNORECASE,
)
"""Words that deny, in a sentence that names an option."""

DOUBT = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|probably\s+not|might|may|could|guess\w*|unsure|both|if|whether|unless|suppos\w*|assum\w*"
    r"|hypothe\w*|would|were|tempting|consider\w*|compar\w*|provided|sometimes|in\s+some|oder|vielleicht|falls|wenn|ou|peut-être|si|quizás|tal\s+vez|forse|se|lub|może|veya"
    r"|hoặc|eller|или|если|возможно)\b"
    r"|\b(?<!\bi )(?<!\bwe )(?:thinks?|thought|believe[sd]?|claim\w*|says?|said|argue[sd]?)\b"
    r"|^with\b.*(?:probab|chance|confiden|%)"
    r"|有人|学生|同学|初步|最初|\?|？|或|若|如果|假设|假設|可能|也许|也許|もし|また|かも|또는|만약|아마|या|أو|إذا|หรือ",
    re.IGNORECASE,
)
"""Words that leave it open, in a sentence that names an option."""

AFFIRMED = re.compile(
    r"^\W*(?:(?:is|must\s+be|has\s+to\s+be|would\s+be|seems|are)\s+)?(?:indeed\s+|clearly\s+|therefore\s+|thus\s+)?(?:the\s+)?(?:only\s+)?"
    r"(?:correct|right|true|best|valid|appropriate|most\s+\w+)(?:\s+(?:one|answer|option|choice|statement|answer\s+choice))?\W*$"
    r"|^\W*(?:ist|est|es|é|è|är|jest)?\s*(?:la\s+|die\s+|a\s+)?(?:richtig\w*|korrekt\w*|correcte?s?|juste|exacte?|correct[ao]s?|corret\w*"
    r"|cert[ao]|giust[ao]|verdader[ao]|verdadeir[ao]|poprawn\w*|doğru\w*|đúng|rätt|верн\w*|правильн\w*|вірн\w*)\W*(?:antwort|réponse)?\W*$"
    r"|^\W*(?:是)?(?:正确|正確|对|對)(?:的|答案|选项|選項)*\W*$|^\W*(?:です|だ|である|になります|が正しい|が正解(?:です)?|입니다|이다|है|ครับ|ค่ะ)\W*$",
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
    r"^\W*(?:or|and\s+(?:also\s+)?\W{0,3}[A-Z]\b|also|wait|actually|no|not|hmm+|but|however|alternatively|sorry|correction|so\s+(?:is|are)|nor"
    r"|(?:that|this|it)(?:['’]s|\s+(?:is|was|seems))\s+(?:not|wrong|false|incorrect|a\s+guess)|oder|ou|o|oppure|или|或|または|また|또는)\b"
    r"|\b(?:on\s+second\s+thought|scratch\s+that|strike\s+that|just\s+kidding|i\s+(?:take|took)\s+(?:it|that)\s+back|i\s+was\s+wrong"
    r"|(?:i\s+am|i['’]m|we\s+are)\s+(?:not\s+sure|unsure|guessing)|i\s+made\s+a\s+mistake|let\s+me\s+(?:re|correct)\w*|disregard|never\s?mind)\b"
    r"|^[^.\n]*\b[A-Z]\s+(?:is|are)\s+(?:also|equally|likewise|correct|right|true)\b|\bwait\b\s*[,.!…]",
    re.IGNORECASE,
)
"""What takes the choice back or adds another, behind its sentence."""
CLAUSE = re.compile(
    r"[,;:—–]|\b(?:so|therefore|hence|thus|then|consequently|also|donc|daher|luego|quindi|поэтому)\b|所以|因此|故"
)
"""Where a new clause begins."""
