"""Whether two read answers are the same: the shapes are fixed first, and then compared part by part.

Each pair of shapes has its rule below; a pair without one is different. No algebra is done and every value is bounded,
so no input makes it slow. Only formulas that the own reader keeps as text go to another checker.
"""

from __future__ import annotations

from collections.abc import Sequence

from prorl_verifiers.algebra.conventions import same_by_convention
from prorl_verifiers.algebra.evaluation import exact
from prorl_verifiers.algebra.families import same_family
from prorl_verifiers.algebra.identity import are_identical, are_proportional, is_exact, values
from prorl_verifiers.algebra.inspection import contains_infinity, symbols_of
from prorl_verifiers.algebra.solution_sets import intervals_of, is_name, values_of_names
from prorl_verifiers.algebra.tree import (
    Answer,
    Based,
    Bracketed,
    Cases,
    Collection,
    Congruence,
    Family,
    Foreign,
    Labelled,
    Matrix,
    Relation,
    Sum,
    Symbol,
    TooCostlyError,
    Union,
    Value,
    Words,
    negated,
)
from prorl_verifiers.algebra.values import Ask, same_value

_MAX_ITEMS = 32


def are_same(expected: Answer, answer: Answer, ask: Ask) -> bool:
    """Compare an answer with the expected one.

    Raises:
        UnreadableError: A value cannot be computed.
        NotFiniteError: A value is not finite.
    """
    return _Comparison(ask).same(_without_braces(expected), _without_braces(answer))


def _without_braces(answer: Answer) -> Answer:
    """Return the only element of a set, which is an answer like it; not within another set."""
    match answer:
        case Collection(((Value() | Words() | Bracketed()) as only,)):
            return only
    return answer


def check_finite(answer: Answer) -> bool:  # noqa: PLR0911  (one case a shape)
    """Evaluate every expression of an expected answer once; whether all can be computed.

    Raises:
        UnreadableError: A value cannot be computed.
        NotFiniteError: A value is not finite.
    """
    match answer:
        case Value(Foreign()):
            return True
        case Value(expression):
            if not contains_infinity(expression) and not is_exact(expression):
                try:
                    values(expression, symbols_of(expression))
                except TooCostlyError:
                    return False
            return True
        case Collection(parts) | Union(parts) | Bracketed(_, parts, _) | Relation(parts, _) | Congruence(_, parts, _):
            return _are_all_finite(parts)
        case Matrix(rows) | Cases(rows):
            return _are_all_finite([cell for row in rows for cell in row])
        case Family(inner) | Labelled(_, inner):
            return check_finite(inner)
    return True


def _are_all_finite(parts: Sequence[Answer]) -> bool:
    """Look at every part: one that is too costly must not hide one that is not finite."""
    are_computable = [check_finite(part) for part in parts]
    return all(are_computable)


class _Comparison:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def same(self, left: Answer, right: Answer) -> bool:
        """Tell whether both are the same; `left` is the expected one."""
        if isinstance(left, Labelled) or isinstance(right, Labelled):
            return self._same_labelled(left, right)
        if isinstance(left, Family) or isinstance(right, Family):
            return same_family(left, right, self.same)
        if self._same_shape(left, right):
            return True
        if self._same_names(left, right) or self._same_solutions(left, right):
            return True
        return same_by_convention(left, right, self.same)

    def _same_shape(self, left: Answer, right: Answer) -> bool:  # noqa: PLR0911  (one case a pair of shapes)
        match left, right:
            case Value(), Value():
                return same_value(left, right, self._ask) or same_family(left, right, self.same)
            case Relation(), Relation():
                return self._same_relation(left, right)
            case Collection(items, joint), Collection(others, other_joint):
                if {joint, other_joint} == {"and", "or"} and any(map(_is_inequality, items)):
                    return False
                return self._same_items(items, others)
            case Union(items), Union(others):
                return self._same_items(items, others)
            case Bracketed(), Bracketed():
                has_same_brackets = (left.left, left.right) == (right.left, right.right)
                return has_same_brackets and self._same_sequence(left.items, right.items)
            case Matrix(rows), Matrix(others):
                return len(rows) == len(others) and all(map(self._same_sequence, rows, others))
            case Cases(rows), Cases(others):
                return self._same_rows(rows, others)
            case Congruence(), Congruence():
                return self._same_congruence(left, right)
            case Words(text), Words(other_text):
                return _same_words(text, other_text)
            case Based(), Based():
                return left == right
        return False

    def _same_sequence(self, left: Sequence[Answer], right: Sequence[Answer]) -> bool:
        return len(left) == len(right) and all(map(self.same, left, right))

    def _same_rows(self, left: Sequence[Sequence[Answer]], right: Sequence[Sequence[Answer]]) -> bool:
        unmatched = list(right)
        for row in left:
            match = next((other for other in unmatched if self._same_sequence(row, other)), None)
            if match is None:
                return False
            unmatched.remove(match)
        return not unmatched

    def _same_items(self, left: Sequence[Answer], right: Sequence[Answer]) -> bool:
        """Return the same items in any order; each is matched once, and names count for all or for none."""
        if len(left) != len(right) or len(left) > _MAX_ITEMS:
            return False
        if any(isinstance(item, Relation) for item in left) != any(isinstance(item, Relation) for item in right):
            return False
        return self._same_rows([[item] for item in left], [[item] for item in right])

    def _same_labelled(self, left: Answer, right: Answer) -> bool:
        """Return an option's letter with its text: where both state both, both count."""
        if isinstance(left, Labelled) and isinstance(right, Labelled):
            return left.letter == right.letter and self.same(left.answer, right.answer)
        if isinstance(left, Labelled):
            return _states_letter(right, left.letter) or self.same(left.answer, right)
        assert isinstance(right, Labelled)
        return _states_letter(left, right.letter) or self.same(left, right.answer)

    def _same_names(self, left: Answer, right: Answer) -> bool:
        """`x = 5` and 5: names that only one side states are dropped, from a whole list or not at all."""
        if isinstance(left, Relation) and isinstance(right, Relation):
            return self._same_chain(left, right)
        without_left = None if isinstance(right, Relation) else values_of_names(left)
        if without_left is not None:
            return not _is_relational(right) and not _is_bare_name(right) and self.same(without_left, right)
        without_right = None if isinstance(left, Relation) else values_of_names(right)
        if without_right is not None and not _is_relational(left):
            return not _is_bare_name(left) and self.same(left, without_right)
        if isinstance(right, Relation) and not _is_relational(left):
            end = _end_of_chain(right)
            return end is not None and self.same(left, end)
        return False

    def _same_chain(self, left: Relation, right: Relation) -> bool:
        """`x = 2 + 3 = 5` for an expected `x = 5`, and `f(x) = ...` for `y = ...`."""
        if left.operators == right.operators == ("=",) and _name_the_same(left.members[0], right.members[0]):
            return self.same(left.members[1], right.members[1])
        if left.operators != ("=",) or len(right.members) < 3 or not self.same(left.members[0], right.members[0]):
            return False
        end = _end_of_chain(right)
        return end is not None and self.same(left.members[1], end)

    def _same_solutions(self, left: Answer, right: Answer) -> bool:
        """Return an inequality and the interval of its solutions."""
        if not (_is_relational(left) or _is_relational(right)):
            return False
        wanted, got = intervals_of(left), intervals_of(right)
        if wanted is None or got is None or (wanted[0] and got[0] and wanted[0] != got[0]):
            return False
        return self._same_items(wanted[1], got[1])

    def _same_relation(self, left: Relation, right: Relation) -> bool:
        if left.operators == right.operators and self._same_sequence(left.members, right.members):
            return True
        if len(left.members) != 2 or left.operators != right.operators:
            return False
        operator = left.operators[0]
        if operator in ("=", "!=") and self._same_sequence(left.members, right.members[::-1]):
            return True
        members = (*left.members, *right.members)
        if not all(isinstance(member, Value) and not member.unit for member in members):
            return False
        first, second, third, fourth = (member.expression for member in members if isinstance(member, Value))
        if any(isinstance(side, Foreign) for side in (first, second, third, fourth)):
            return False
        left_side, right_side = Sum((first, negated(second))), Sum((third, negated(fourth)))
        return are_proportional(left_side, right_side, positive=operator[0] == "<")

    def _same_congruence(self, left: Congruence, right: Congruence) -> bool:
        if left.modulus != right.modulus or (left.name and right.name and left.name != right.name):
            return False
        wanted, got = _residues(left), _residues(right)
        if wanted is None or got is None:
            return self._same_items(left.residues, right.residues)
        return wanted == got


def _residues(congruence: Congruence) -> set[int] | None:
    expressions = [residue.expression for residue in congruence.residues if isinstance(residue, Value)]
    if not all(map(is_exact, expressions)):
        return None
    numbers = list(map(exact, expressions))
    whole = all(number.denominator == 1 for number in numbers)
    return {int(number) % congruence.modulus for number in numbers} if whole else None


def _states_letter(answer: Answer, letter: str) -> bool:
    match answer:
        case Words(text):
            return text == letter
        case Value():
            return is_name(answer) and answer.text.strip(" ()") == letter
    return False


def _is_relational(answer: Answer) -> bool:
    match answer:
        case Relation():
            return True
        case Collection(items) | Union(items):
            return any(isinstance(item, Relation) for item in items)
    return False


def _name_the_same(left: Answer, right: Answer) -> bool:
    """Tell whether one is y and the other a function of x, as the graph of a function is named."""
    names = {side.expression.name for side in (left, right) if isinstance(side, Value) and is_name(side)
             and isinstance(side.expression, Symbol)}  # fmt: skip
    return len(names) == 2 and "y" in names and bool(names & {"f(x)", "g(x)", "h(x)", "F(x)", "G(x)"})


def _is_inequality(answer: Answer) -> bool:
    return isinstance(answer, Relation) and "=" not in answer.operators


def _is_bare_name(answer: Answer) -> bool:
    """Return a lone letter or word: `B = A` is no way to say A, nor is it 5 that `x = y` says."""
    return is_name(answer) or isinstance(answer, Words)


def _end_of_chain(relation: Relation) -> Answer | None:
    """Return the last member of a chain of equal expressions, of which the first may be a name; None if they differ."""
    if set(relation.operators) != {"="}:
        return None
    members = relation.members[1:] if is_name(relation.members[0]) else relation.members
    expressions = [member.expression for member in members if isinstance(member, Value) and not member.unit]
    if len(expressions) != len(members) or len(set(members)) < 2 or _is_bare_name(members[-1]):
        return None
    if any(isinstance(expression, Foreign) for expression in expressions):
        return None
    return members[-1] if all(map(are_identical, expressions, expressions[1:])) else None


def _same_words(left: str, right: str) -> bool:
    """Case matters in abbreviations and names of points, such as AB."""
    if left.isupper() and len(left) <= 4:
        return left == right
    return left.lower() == right.lower()
