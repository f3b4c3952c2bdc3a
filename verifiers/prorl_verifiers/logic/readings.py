"""Judges of our own for tasks whose scorers overlook what they do not know, or pay for what is near.

The answer is read in the form of the expected one, with nothing left over, and compared by value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.logic.entailment import is_conclusion
from prorl_verifiers.logic.numbers import (
    expected_number,
    is_same_number,
    is_same_probability,
    is_same_rounded,
    read_number,
)

Reading = Callable[[str, Mapping[str, Any]], float]

_DIGITS = re.compile(r"[0-9]+")
_HEXADECIMAL = re.compile(r"-?0[xX][0-9a-fA-F]{1,64}")
_ROOT_TOLERANCE = 5e-5
"""Roots are printed with four decimals."""


def number(answer: str, entry: Mapping[str, Any]) -> float:
    """chain_sum and its kin: exactly the number."""
    return float(is_same_number(answer, str(entry["answer"])))


def probability(answer: str, entry: Mapping[str, Any]) -> float:
    """coin_flip: the probability as a decimal number or fraction."""
    return float(is_same_probability(answer, str(entry["answer"])))


def duration(answer: str, entry: Mapping[str, Any]) -> float:
    """time_intervals: the expected text; zeros before a number may be missing."""
    expected = str(entry["answer"]).strip()
    if _skeleton(answer) != _skeleton(expected):
        raise UnreadableError("not in the form that the question asks for")
    pairs = zip(_numbers(answer), _numbers(expected), strict=True)
    return float(all(given == wanted or (given == wanted.lstrip("0") and given) for given, wanted in pairs))


def _skeleton(text: str) -> str:
    return re.sub(r"\bdays?\b", "days", " ".join(_DIGITS.sub("0", text).lower().split()))


def _numbers(text: str) -> list[str]:
    """Return the numbers; a part of a second keeps its point, and so its zeros."""
    return re.findall(r"\.?[0-9]+", text)


def factors(answer: str, entry: Mapping[str, Any]) -> float:
    """prime_factorization: the prime factors with × between them, in any order."""
    wanted = sorted(int(factor) for factor in entry["metadata"]["factors"])
    parts = [part.strip() for part in re.split(r"[×*x]|\\times", answer)]
    if len(answer) > 400 or not all(re.fullmatch(r"[1-9][0-9]{0,30}", part) for part in parts):
        raise UnreadableError("not whole numbers with × between them")
    return float(sorted(int(part) for part in parts) == wanted)


def word_list(answer: str, entry: Mapping[str, Any]) -> float:
    """word_sorting: the words in their order with commas between them, and nothing else."""
    wanted = [str(word) for word in entry["metadata"]["sorted_words"]]
    return float([word.strip() for word in answer.split(",")] == wanted)


def number_rows(answer: str, entry: Mapping[str, Any]) -> float:
    """pool_matrix: rows of the expected numbers, which are rounded to two decimals."""
    wanted = [line.split() for line in str(entry["answer"]).strip().splitlines()]
    given = [line.split() for line in answer.strip().splitlines()]
    if [len(row) for row in given] != [len(row) for row in wanted]:
        return 0.0
    return float(
        all(is_same_rounded(*pair) for rows in zip(given, wanted, strict=True) for pair in zip(*rows, strict=True))
    )


def same_rows(answer: str, entry: Mapping[str, Any]) -> float:
    """arc_agi, rearc, survo: the same rows of the same cells."""
    wanted = [line.split() for line in str(entry["answer"]).strip().splitlines()]
    return float([line.split() for line in answer.strip().splitlines()] == wanted)


def roots(answer: str, entry: Mapping[str, Any]) -> float:
    """polynomial_equations: each root once, in any order, with four decimals."""
    wanted = sorted(float(expected_number(part)) for part in str(entry["answer"]).split(","))
    given = sorted(float(read_number(part)) for part in answer.split(","))
    return float(
        len(given) == len(wanted)
        and all(abs(one - other) < _ROOT_TOLERANCE for one, other in zip(given, wanted, strict=True))
    )


def measure(answer: str, entry: Mapping[str, Any]) -> float:
    """advanced_geometry: the angle, the radius or the point, as exact as it is asked for."""
    expected = str(entry["answer"]).strip()
    given = answer.removesuffix("°") if expected.endswith("°") else answer
    if expected.startswith("(") != (answer.startswith("(") and answer.endswith(")")):
        raise UnreadableError("a point stands in parentheses, and nothing else does")
    wanted_parts = expected.removesuffix("°").strip("()").split(",")
    given_parts = (given[1:-1] if expected.startswith("(") else given).split(",")
    if len(given_parts) != len(wanted_parts):
        return 0.0
    return float(all(is_same_rounded(*pair) for pair in zip(given_parts, wanted_parts, strict=True)))


def complex_number(answer: str, entry: Mapping[str, Any]) -> float:
    """complex_arithmetic: the same real and imaginary part."""
    wanted = _complex(str(entry["answer"]))
    if wanted is None:
        raise ValueError("the expected answer is no complex number")
    given = _complex(answer)
    if given is None:
        raise UnreadableError("no complex number")
    return float(abs(given - wanted) <= 1e-4)


def _complex(text: str) -> complex | None:
    """Return the number that the text is, such as 3.0 - 2.0i, 2i or 3; None for anything else."""
    compact = re.sub(r"\s*([+-])\s*", r"\1", text.strip().replace("\u2212", "-"))
    found = re.fullmatch(
        r"(?:([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?=$|[+-]))?(?:([+-]?)((?:[0-9]+\.?[0-9]*|\.[0-9]+)?)[ij])?", compact
    )
    if found is None or not compact or len(compact) > 80 or re.search(r"(?<![0-9.])0[0-9]", compact):
        return None
    real = float(found[1] or 0)
    if not compact.endswith(("i", "j")):
        return complex(real, 0)
    return complex(real, (-1 if found[2] == "-" else 1) * float(found[3] or 1))


def date_answer(answer: str, entry: Mapping[str, Any]) -> float:
    """calendar_arithmetic: exactly the number, or the weekday or Yes or No in any case."""
    expected = str(entry["answer"]).strip()
    if re.fullmatch(r"-?[0-9]+", expected):
        return float(is_same_number(answer, expected))
    return float(answer.strip().lower() == expected.lower())


def hexadecimal(answer: str, entry: Mapping[str, Any]) -> float:
    """bitwise_arithmetic: the same hexadecimal number."""
    expected = str(entry["answer"]).strip()
    if not _HEXADECIMAL.fullmatch(expected):
        raise ValueError("the expected answer is no hexadecimal number")
    if not _HEXADECIMAL.fullmatch(answer):
        raise UnreadableError("no hexadecimal number")
    return float(int(answer, 16) == int(expected, 16))


def coloring(answer: str, entry: Mapping[str, Any]) -> float:
    """graph_color: a colour of the list for each vertex and nothing else, with different ones along each edge."""
    puzzle = entry["metadata"]["puzzle"]
    vertices, options = {str(vertex) for vertex in puzzle["vertices"]}, set(puzzle["color_options"])
    given = _json(answer)
    if not isinstance(given, dict) or given.keys() != vertices:
        return 0.0
    if not all(type(color) in (int, str) and color in options for color in given.values()):
        return 0.0
    return float(all(given[str(one)] != given[str(other)] for one, other in puzzle["edges"]))


def partitions(answer: str, entry: Mapping[str, Any]) -> float:
    """palindrome_partitioning: all partitions, each once, in any order."""
    wanted = sorted([str(part) for part in partition] for partition in entry["metadata"]["solution"])
    given = _json(answer)
    if not isinstance(given, list) or not all(
        isinstance(partition, list) and all(isinstance(part, str) for part in partition) for partition in given
    ):
        raise UnreadableError("no list of lists of texts")
    return float(sorted(given) == wanted)


def conclusion(answer: str, entry: Mapping[str, Any]) -> float:
    """propositional_logic: a formula that follows and is new."""
    metadata = entry["metadata"]
    return float(is_conclusion(answer, list(metadata["premises"]), list(metadata["variables"])))


def _json(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON value") from error


def _refused(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


READINGS: Mapping[str, Reading] = {
    "advanced_geometry": measure,
    "arc_agi": same_rows,
    "bitwise_arithmetic": hexadecimal,
    "calendar_arithmetic": date_answer,
    "chain_sum": number,
    "coin_flip": probability,
    "complex_arithmetic": complex_number,
    "decimal_arithmetic": number,
    "decimal_chain_sum": number,
    "graph_color": coloring,
    "gsm_symbolic": number,
    "number_format": number,
    "palindrome_partitioning": partitions,
    "polynomial_equations": roots,
    "pool_matrix": number_rows,
    "prime_factorization": factors,
    "products": number,
    "propositional_logic": conclusion,
    "rearc": same_rows,
    "rectangle_count": number,
    "survo": same_rows,
    "time_intervals": duration,
    "word_sorting": word_list,
}
"""By task."""
