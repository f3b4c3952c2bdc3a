r"""The same solutions written otherwise: `x<4` as an interval, `(x,y)=(2,3)` as two named values, `x=2,3` as two of x.

Nothing is solved: an inequality counts only where its variable stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from prorl_verifiers.algebra.evaluation import NotExactError, exact
from prorl_verifiers.algebra.identity import real_number
from prorl_verifiers.algebra.inspection import symbols_of
from prorl_verifiers.algebra.tree import (
    MINUS_ONE,
    Answer,
    Bracketed,
    Collection,
    Constant,
    Family,
    Product,
    Relation,
    Symbol,
    Union,
    UnreadableError,
    Value,
    Words,
)

_INFINITY = Value(Constant("infinity"))
_MINUS_INFINITY = Value(Product((MINUS_ONE, Constant("infinity"))))
REAL_LINE = Bracketed("(", (_MINUS_INFINITY, _INFINITY), ")")
_NAMING_WORDS = frozenset({
    "answer", "area", "volume", "perimeter", "length", "width", "height", "total", "sum", "product", "probability",
    "distance", "speed", "time", "cost", "price", "average", "mean", "median", "radius", "number", "total area",
    "maximum", "minimum", "max", "min", "range", "domain", "slope", "remainder",
})  # fmt: skip
_VARIABLES = frozenset("abcdefghijklmnopqrstuvwxyz") | {"theta", "alpha", "beta", "lambda"}


def is_name(answer: Answer) -> bool:
    """Tell whether it is one name: a symbol, `f(x)`, a segment such as AB, or a word such as area."""
    if isinstance(answer, Value):
        return isinstance(answer.expression, Symbol) and not answer.unit
    if isinstance(answer, Words):
        is_figure = answer.text.startswith("\\") or (answer.text.isupper() and len(answer.text) <= 4)
        return is_figure or answer.text.lower() in _NAMING_WORDS
    return False


def is_assignment(answer: Answer) -> bool:
    """Tell whether it is `name = value`."""
    return isinstance(answer, Relation) and answer.operators == ("=",) and is_name(answer.members[0])


def named_values(answer: Relation | Collection) -> Relation | Collection:
    """`x = \\pm 2`, `(x, y) = (2, 3)` and `x = 2, 3` as lists of assignments; others as they are."""
    if isinstance(answer, Relation):
        return _each_named(answer)
    first, *others = answer.items
    if not is_assignment(first) or not all(isinstance(other, Value) for other in others):
        return _flat(answer)
    assert isinstance(first, Relation)
    named = (Relation((first.members[0], other), ("=",)) for other in others)
    return Collection((first, *named), answer.joint)


def _each_named(relation: Relation) -> Relation | Collection:
    if relation.operators != ("=",):
        return relation
    name, value = relation.members
    if is_name(name) and isinstance(value, Collection) and value.items and value.joint != "set":
        return Collection(tuple(Relation((name, item), ("=",)) for item in value.items), value.joint)
    if not isinstance(name, Bracketed) or not isinstance(value, Bracketed):
        return relation
    if len(name.items) == len(value.items) and all(map(is_name, name.items)):
        pairs = zip(name.items, value.items, strict=True)
        return Collection(tuple(Relation(pair, ("=",)) for pair in pairs), "and")
    return relation


def _flat(answer: Collection) -> Collection:
    r"""`x = \pm 2, x = 3`: what one item stands for is part of the list."""
    items: list[Answer] = []
    for item in answer.items:
        is_list = isinstance(item, Collection) and item.joint != "set" and all(map(is_assignment, item.items))
        items.extend(item.items if is_list and isinstance(item, Collection) else (item,))
    return _grouped(Collection(tuple(items), answer.joint))


def _grouped(answer: Collection) -> Collection:
    """`x=1, y=2 or x=2, y=1` as two solutions: where a name comes again behind another, a new solution begins.

    Raises:
        UnreadableError: The solutions do not give values to the same names.
    """
    if not all(map(is_assignment, answer.items)):
        return answer
    names = [item.members[0] for item in answer.items if isinstance(item, Relation)]
    starts = [index for index, name in enumerate(names) if name == names[0]]
    if len(starts) < 2 or starts == list(range(len(starts))):
        return answer
    ends = [*starts[1:], len(names)]
    groups = [Collection(answer.items[start:end], "and") for start, end in zip(starts, ends, strict=True)]
    wanted = sorted(map(repr, names[: ends[0]]))
    if any(sorted(map(repr, names[start:end])) != wanted for start, end in zip(starts, ends, strict=True)):
        raise UnreadableError("solutions of different unknowns")
    return Collection(tuple(groups), "or")


def values_of_names(answer: Answer) -> Answer | None:
    """Return what assignments say without their names.

    Of one name a value or list of values, of several a tuple by name.
    """
    if isinstance(answer, Relation) and is_assignment(answer):
        return answer.members[1]
    if not isinstance(answer, Collection) or len(answer.items) < 2 or not all(map(is_assignment, answer.items)):
        return None
    pairs = [item.members for item in answer.items if isinstance(item, Relation)]
    names = [name for name, _ in pairs]
    if all(name == names[0] for name in names):
        return Collection(tuple(value for _, value in pairs), answer.joint)
    if _are_numbered(names):
        return Collection(tuple(value for _, value in pairs), answer.joint)
    letters = [_letter(name) for name in names]
    if "" in letters or len(set(letters)) < len(letters) or answer.joint == "or":
        return None
    return Bracketed("(", tuple(value for _, (_, value) in sorted(zip(letters, pairs, strict=True), key=_first)), ")")


def _are_numbered(names: Sequence[Answer]) -> bool:
    """Tell whether they are one letter with different subscripts, as the roots of an equation are named."""
    symbols = [
        name.expression.name for name in names if isinstance(name, Value) and isinstance(name.expression, Symbol)
    ]
    letters = {symbol.partition("_")[0] for symbol in symbols if "_" in symbol}
    return len(letters) == 1 and len(set(symbols)) == len(names)


def _first(pair: tuple[str, Sequence[Answer]]) -> str:
    return pair[0]


def _letter(name: Answer) -> str:
    if isinstance(name, Value) and isinstance(name.expression, Symbol) and name.expression.name in _VARIABLES:
        return name.expression.name
    return ""


def punctured_line(removed: Answer) -> Answer:
    """Return the real line without some points.

    Raises:
        UnreadableError: They are no rational numbers.
    """
    items = removed.items if isinstance(removed, Collection) else (removed,)
    values = [item for item in items if isinstance(item, Value) and not item.unit]
    if len(values) != len(items) or not values:
        raise UnreadableError("the real line without something else than points")
    try:
        ordered = sorted(values, key=lambda value: exact(value.expression))
    except NotExactError as error:
        raise UnreadableError("points of unknown order") from error
    edges = (_MINUS_INFINITY, *ordered, _INFINITY)
    return Union(tuple(Bracketed("(", pair, ")") for pair in pairwise(edges)))


def set_of_condition(variable: str, condition: Answer) -> Answer:
    """Return the set of all values of a variable that satisfy a condition on it.

    Raises:
        UnreadableError: The condition is none of the kinds that are read.
    """
    found = intervals_of(condition)
    if found is not None and found[0] == variable:
        return found[1][0] if len(found[1]) == 1 else Union(found[1])
    inner = condition.answer if isinstance(condition, Family) else condition
    if isinstance(inner, Relation | Collection):
        items = inner.items if isinstance(inner, Collection) else (inner,)
        names = {_letter(item.members[0]) for item in items if isinstance(item, Relation) and is_assignment(item)}
        values = values_of_names(inner)
        if names == {variable} and values is not None:
            answer = values if isinstance(values, Collection) else Collection((values,), "set")
            return Family(values, condition.parameter, condition.domain) if isinstance(condition, Family) else answer
    raise UnreadableError("a set described by a condition")


def intervals_of(answer: Answer) -> tuple[str, tuple[Answer, ...]] | None:
    """Return real numbers as intervals and sets, with the variable if inequalities describe it ("" if none)."""
    match answer:
        case Bracketed(left, (_, _), right) if left in ("(", "[") and right in (")", "]"):
            return "", (answer,)
        case Union(parts):
            found = [intervals_of(part) if not isinstance(part, Collection) else ("", (part,)) for part in parts]
            if any(one is None for one in found):
                return None
            return "", tuple(part for one in found if one is not None for part in one[1])
        case Relation():
            return _of_inequality(answer)
        case Collection(items, joint) if len(items) > 1 and joint != "set":
            return _of_several(items, joint)
    return None


def _of_inequality(relation: Relation) -> tuple[str, tuple[Answer, ...]] | None:
    places = [index for index, member in enumerate(relation.members) if _letter(member)]
    if len(places) != 1 or len(relation.members) > 3:
        return None
    place, members, operators = places[0], relation.members, relation.operators
    variable = _letter(members[place])
    if any(not isinstance(member, Value) or variable in symbols_of(member.expression)
           for index, member in enumerate(members) if index != place):  # fmt: skip
        return None
    if operators == ("!=",):
        edge = members[1 - place]
        return variable, (Bracketed("(", (_MINUS_INFINITY, edge), ")"), Bracketed("(", (edge, _INFINITY), ")"))
    if not set(operators) <= {"<", "<="} or (len(members) == 3 and place != 1):
        return None
    lower, left = (members[place - 1], operators[place - 1]) if place > 0 else (_MINUS_INFINITY, "<")
    upper, right = (members[place + 1], operators[place]) if place + 1 < len(members) else (_INFINITY, "<")
    return variable, (Bracketed("(" if left == "<" else "[", (lower, upper), ")" if right == "<" else "]"),)


def _of_several(items: Sequence[Answer], joint: str) -> tuple[str, tuple[Answer, ...]] | None:
    found = [intervals_of(item) for item in items if isinstance(item, Relation)]
    if len(found) != len(items) or any(one is None for one in found):
        return None
    sets = [one for one in found if one is not None]
    variables = {variable for variable, _ in sets}
    if len(variables) != 1:
        return None
    if joint != "or" and len(sets) == 2:
        common = _intersection(sets[0][1], sets[1][1])
        if common is not None:
            return variables.pop(), (common,)
    return (variables.pop(), tuple(part for _, parts in sets for part in parts)) if joint != "and" else None


def _intersection(one: tuple[Answer, ...], other: tuple[Answer, ...]) -> Bracketed | None:
    """Of a set that is bounded below and one that is bounded above, where both bounds are numbers in this order."""
    if len(one) != 1 or len(other) != 1:
        return None
    for first, second in ((one[0], other[0]), (other[0], one[0])):
        if not isinstance(first, Bracketed) or not isinstance(second, Bracketed):
            continue
        if first.items[1] == _INFINITY and second.items[0] == _MINUS_INFINITY:
            lower, upper = first.items[0], second.items[1]
            if isinstance(lower, Value) and isinstance(upper, Value) and _is_below(lower, upper):
                return Bracketed(first.left, (lower, upper), second.right)
    return None


def _is_below(lower: Value, upper: Value) -> bool:
    low, high = real_number(lower.expression), real_number(upper.expression)
    return low is not None and high is not None and bool(low < high)
