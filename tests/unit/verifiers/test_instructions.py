"""Instruction following: every type's golden cases, both modes, both rewards, and rows that cannot be judged."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prorl_api.instructions import INSTRUCTION_ARGUMENTS
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.instructions.language import is_in_language
from prorl_verifiers.instructions.sentences import count_sentences, sentences
from prorl_verifiers.instructions.text import Bounds, count_words, words
from prorl_verifiers.instructions.verifier import CHECKS, MAX_CHARACTERS, InstructionVerifier
from prorl_verifiers.judgement import Judgement

FILE = Path(__file__).parent / "golden" / "instructions.jsonl"
CASES: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
VERIFIER = InstructionVerifier()


def judge(text: str, *instructions: tuple[str, dict[str, Any]], **options: str) -> Judgement:
    row = {"instructions": [{"id": name, "arguments": arguments} for name, arguments in instructions], **options}
    return VERIFIER.judge(row, AnswerFormat.TEXT, text)


@pytest.mark.parametrize("mode", ["strict", "loose"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']} {case['kind']}: {case['reason']}")
def test_golden_case(case: dict[str, Any], mode: str) -> None:
    judgement = judge(case["text"], (case["id"], case["arguments"]), strictness=mode)
    # The first of the loose variants is the strict text: what follows strictly follows loosely.
    expected = case["strict"] or (mode == "loose" and case["loose"])
    assert judgement.reward == float(expected), judgement


def test_every_type_has_four_kinds_of_cases() -> None:
    kinds = Counter((case["id"], case["kind"]) for case in CASES)
    for name, kind in itertools.product(INSTRUCTION_ARGUMENTS, ("follows", "does not", "near miss", "hostile")):
        assert kinds[name, kind] >= 1, (name, kind)
    assert len(INSTRUCTION_ARGUMENTS) == 25
    assert set(CHECKS) == set(INSTRUCTION_ARGUMENTS)


def test_an_empty_answer_follows_nothing() -> None:
    for text in ("", "   ", "<think>x</think>", "<think>x</think>  \n"):
        for case in CASES:
            assert judge(text, (case["id"], case["arguments"]), strictness="loose").reward == 0.0


NO_COMMA = ("punctuation:no_comma", {"num_words": None})
TWO_WORDS = ("length_constraints:number_words", {"num_words": 2, "relation": "at least"})


def test_the_fraction_is_the_share_of_followed_instructions() -> None:
    assert judge("Hello", NO_COMMA, TWO_WORDS).reward == 0.5
    assert judge("Hello you", NO_COMMA, TWO_WORDS).reward == 1.0
    assert judge("Hello,", NO_COMMA, TWO_WORDS).reward == 0.0


def test_all_means_all() -> None:
    assert judge("Hello", NO_COMMA, TWO_WORDS, reward="all").reward == 0.0
    assert judge("Hello you", NO_COMMA, TWO_WORDS, reward="all").reward == 1.0


@pytest.mark.parametrize(
    ("name", "arguments", "fault"),
    [
        ("keywords:existence", {}, "keywords"),
        ("keywords:existence", {"keywords": None}, "keywords"),
        ("keywords:existence", {"keywords": []}, "at least 1"),
        ("keywords:existence", {"keywords": "sun"}, "list"),
        ("keywords:existence", {"keywords": [" "]}, "not blank"),
        ("keywords:frequency", {"keyword": "a", "frequency": 1}, "relation"),
        ("keywords:frequency", {"keyword": "a", "frequency": 1, "relation": "about"}, "relation"),
        ("keywords:frequency", {"keyword": "a", "frequency": "1", "relation": "at least"}, "frequency"),
        ("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "at least"}, "letter"),
        ("length_constraints:number_words", {"num_words": -1, "relation": "at least"}, "num_words"),
        ("punctuation:no_comma", {"keywords": ["a"]}, "keywords"),
        ("language:response_language", {"language": "xx"}, "not judged here"),
        ("language:response_language", {"language": "German"}, "language"),
        ("no:such_type", {}, "no instruction type"),
    ],
)
def test_wrong_arguments_are_unsupported_and_named(name: str, arguments: dict[str, Any], fault: str) -> None:
    judgement = judge("some text", NO_COMMA, (name, arguments))
    assert judgement.verdict is Verdict.UNSUPPORTED
    assert judgement.reward is None
    assert fault in judgement.detail


def test_arguments_are_taken_as_tables_write_them() -> None:
    words = ("length_constraints:number_words", {"num_words": 2.0, "relation": "at least", "keywords": float("nan")})
    assert judge("Hello you", words).reward == 1.0
    assert judge("Hello", words).reward == 0.0
    assert judge("今天天气很好，我们去公园。", ("language:response_language", {"language": "zh-CN"})).reward == 1.0
    half = ("length_constraints:number_words", {"num_words": 2.5, "relation": "at least"})
    assert judge("Hello you", half).verdict is Verdict.UNSUPPORTED


@pytest.mark.parametrize("row", [{}, {"instructions": []}, {"instructions": "x"}, {"instructions": [{}]}])
def test_a_row_without_instructions_is_unsupported(row: dict[str, Any]) -> None:
    assert VERIFIER.judge(row, AnswerFormat.TEXT, "text").verdict is Verdict.UNSUPPORTED


def test_an_oversized_answer_earns_nothing() -> None:
    assert judge("a " * MAX_CHARACTERS, NO_COMMA).reward == 0.0


@pytest.mark.parametrize(
    ("text", "fewest", "most"),
    [
        ("One. Two.", 2, 2),
        ("No end", 1, 1),
        ("Mr. and Mrs. Smith left. They went home.", 2, 2),
        ('He said "Go!" and left.', 1, 1),
        ('"Go!" He left.', 2, 2),
        ("Wait... what?", 1, 2),  # a demand of sentences is not met by hesitating
        ("It costs 3.50 euros.", 1, 1),
        ("J. R. Tolkien wrote it.", 1, 1),
        ("George W. Bush spoke.", 1, 1),
        ("So did I. You too.", 2, 2),
        ("Steps:\n1. Wash.\n2. Cut.\n3. Cook.", 4, 4),
        ("A. Apples are red.\nB. Bananas are not.", 2, 2),
        ("- one\n- two", 2, 2),
        ("Title\n\nText here.", 2, 2),
        ("今天很好。明天呢？", 2, 2),
        ("", 0, 0),
        ("He said no. She said no. We said no. You said no. I said no.", 5, 5),
        ("he said no. she said no. we left.", 3, 3),
        ("No. 5 is alive. See fig. 3 and no. 5.", 2, 2),
        ("He works at Apple Inc. They pay well.", 2, 2),
        ("He went to St. Petersburg. He lived on Main St. The house was old.", 3, 3),
        ("I like U.S. Steel. It is big.", 2, 3),
        ("He came, e.g. Monday.", 1, 2),
        ("He saw the dr. She saw the dr. They left.", 1, 3),
        ("We ran.They ran.He ran.", 1, 3),
        ("Yahoo! is a firm.", 1, 2),
        ("what? no way! really.", 3, 3),
        ("the sun rises. the moon sets.", 2, 2),
        ("Բարեւ։ Ինչպե՞ս ես։", 2, 2),
        ("یہ کتاب ہے۔ وہ قلم ہے۔", 2, 2),
        ("यह किताब है। वह कलम है।", 2, 2),
        ("ሰላም። እንዴት ነህ።", 2, 2),
        ("5. 6. 7.", 0, 0),
    ],
)
def test_sentences_are_counted_strictly_and_generously(text: str, fewest: int, most: int) -> None:
    assert count_sentences(text) == Bounds(fewest, most), sentences(text)


def test_words_are_runs_of_letters_marks_and_digits() -> None:
    assert words("It's 2_nd-hand: über, नमस्ते!") == ["It's", "2", "nd", "hand", "über", "नमस्ते"]
    assert words("The U.S.A. has 1,000.5 of them") == ["The", "U.S.A.", "has", "1,000.5", "of", "them"]


@pytest.mark.parametrize(
    ("text", "fewest", "most"),
    [
        ("one two", 2, 2),
        ("one_two-three", 1, 3),
        ("don't I’ll", 2, 2),
        ("one\u200btwo\u200bthree", 1, 3),
        ("sun\u00adset", 1, 1),
        ("می\u200cشود", 1, 1),
        ("天气很好", 4, 4),
        ("**b**old", 1, 2),
        ("3.5 km/h", 2, 3),
        ("_ - * !", 0, 0),
    ],
)
def test_words_are_counted_strictly_and_generously(text: str, fewest: int, most: int) -> None:
    bounds = count_words(text)
    assert (bounds.fewest, bounds.most) == (fewest, most)


LANGUAGE_SAMPLES = {
    "en": "The children are playing in the garden while their parents cook dinner.",
    "es": "Los niños juegan en el jardín mientras sus padres preparan la cena.",
    "pt": "As crianças brincam no jardim enquanto os pais preparam o jantar.",
    "fr": "Les enfants jouent dans le jardin pendant que leurs parents préparent le dîner.",
    "it": "I bambini giocano in giardino mentre i genitori preparano la cena.",
    "de": "Die Kinder spielen im Garten, während ihre Eltern das Abendessen kochen.",
    "fi": "Lapset leikkivät puutarhassa, kun heidän vanhempansa laittavat päivällistä.",
    "pl": "Dzieci bawią się w ogrodzie, a rodzice przygotowują kolację.",
    "sw": "Watoto wanacheza bustanini wakati wazazi wao wanapika chakula cha jioni.",
    "vi": "Những đứa trẻ chơi trong vườn trong khi cha mẹ chúng nấu bữa tối.",
    "ru": "Дети играют в саду, пока их родители готовят ужин.",
    "uk": "Діти граються в саду, поки їхні батьки готують вечерю.",
    "bg": "Децата играят в градината, докато родителите им приготвят вечеря.",
    "ar": "يلعب الأطفال في الحديقة بينما يطبخ آباؤهم العشاء.",
    "fa": "کودکان در باغ بازی می‌کنند در حالی که پدر و مادرشان شام می‌پزند.",
    "ur": "بچے باغ میں کھیل رہے ہیں جبکہ ان کے والدین رات کا کھانا پکا رہے ہیں۔",
    "hi": "बच्चे बगीचे में खेल रहे हैं जबकि उनके माता-पिता रात का खाना बना रहे हैं।",
    "mr": "मुले बागेत खेळत आहेत आणि त्यांचे आईवडील रात्रीचे जेवण बनवत आहेत.",
    "ne": "बच्चाहरू बगैंचामा खेलिरहेका छन् र उनीहरूका आमाबुबा खाना पकाउँदै छन्।",
    "bn": "বাচ্চারা বাগানে খেলছে আর তাদের বাবা-মা রাতের খাবার রান্না করছেন।",
    "ta": "குழந்தைகள் தோட்டத்தில் விளையாடுகிறார்கள்.",
    "te": "పిల్లలు తోటలో ఆడుకుంటున్నారు.",
    "kn": "ಮಕ್ಕಳು ತೋಟದಲ್ಲಿ ಆಡುತ್ತಿದ್ದಾರೆ.",
    "ml": "കുട്ടികൾ തോട്ടത്തിൽ കളിക്കുന്നു.",
    "gu": "બાળકો બગીચામાં રમી રહ્યા છે.",
    "pa": "ਬੱਚੇ ਬਾਗ ਵਿੱਚ ਖੇਡ ਰਹੇ ਹਨ।",
    "th": "เด็กๆ กำลังเล่นอยู่ในสวน",
    "ko": "아이들이 정원에서 놀고 있습니다.",
    "ja": "子どもたちは庭で遊んでいます。",
    "zh": "孩子们在花园里玩耍。",
    "he": "הילדים משחקים בגינה.",
}


@pytest.mark.parametrize("language", LANGUAGE_SAMPLES)
def test_a_sample_is_in_its_language_and_no_other(language: str) -> None:
    sample = LANGUAGE_SAMPLES[language]
    assert [other for other in LANGUAGE_SAMPLES if is_in_language(sample, other)] == [language]


def test_language_detection_does_not_depend_on_the_process() -> None:
    program = (
        "from prorl_verifiers.instructions.language import _classified\n"
        "print([_classified(t)[0] for t in ('hello', 'aaaa bbbb', 'no si ja', 'der die das', 'xqz wvk')])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().startswith("['")
