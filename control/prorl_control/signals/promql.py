"""A job's own queries: judged before they are asked, and bound to the job's namespace. Pure.

The operator asks with its own credentials, which may see the series of every namespace: so each selector of a query
gets the job's namespace as another matcher, as prom-label-proxy does it. The grammar is promql-parser's; what it does
not know, such as a dialect of another product, is refused.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from prorl_control.signals.answers import RawSeries, shown
from prorl_control.signals.questions import LABEL_NAMESPACE, JobKey
from prorl_control.signals.reading import SignalFault, SignalReason

_MAX_DEPTH, _MAX_OPERATORS = 32, 64
"""The parser calls itself for each, on the stack of the process: without bounds a query could end the operator."""
_STRINGS = re.compile(r""""[^"]*"|'[^']*'""")
_OPERATORS = re.compile(r"[-+*/%^<>=!]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_PLACEHOLDERS = re.compile(r"\$(namespace|job)\b")
_EXAMPLE: JobKey = ("namespace", "job")


class QueryError(ValueError):
    """A query that cannot be asked; says why and what to write."""


def fault_of(query: str) -> str:
    """Return what is wrong with a query as the manifest has it; empty: nothing that can be seen before it is asked."""
    try:
        bound(query, _EXAMPLE)
    except QueryError as error:
        return str(error)
    return ""


@functools.lru_cache(maxsize=4096)
def bound(query: str, job: JobKey) -> str:
    """Return the query as it is asked for a job: placeholders filled in, every selector bound to its namespace.

    Raises:
        QueryError: It is no PromQL, or of a type that no trigger can look at.
    """
    import promql_parser as promql

    text = _PLACEHOLDERS.sub(lambda found: job[0] if found[1] == "namespace" else job[1], query)
    _check_text(query)
    try:
        tree: Any = promql.parse(text)
    except ValueError as error:
        raise QueryError(f"no PromQL: {shown(str(error))}") from None
    inner = tree
    while isinstance(inner, promql.ParenExpr):
        inner = inner.expr
    if isinstance(inner, promql.MatrixSelector | promql.SubqueryExpr):
        raise QueryError(
            "a range of samples; wanted one number at a time: take a function of it, as in avg_over_time(...)"
        )
    if isinstance(inner, promql.StringLiteral):
        raise QueryError("a text; wanted a number")
    if not _selectors(promql, tree):
        raise QueryError("no series in it: a number that never changes is no signal")
    try:
        tree = promql.transform(tree, post_visit=lambda node: _bound_selector(promql, node, job[0]))
        asked = " ".join(line.strip() for line in tree.prettify().splitlines())
        is_bound = all(_is_bound(matchers, job[0]) for matchers in _selectors(promql, promql.parse(asked)))
    except QueryError:
        raise
    except ValueError:
        is_bound = False
    if not is_bound:
        raise QueryError("a part of it cannot be held to the job's namespace; write it more simply")
    return asked


def _check_text(query: str) -> None:
    """Refuse what this parser cannot be trusted with.

    Raises:
        QueryError: Says what.
    """
    if "\\" in query or "`" in query:
        raise QueryError("a backslash or back-quote; in regular expressions write `[.]` and `[0-9]`")
    bare = _STRINGS.sub("", query)
    if "#" in bare or not query.isprintable():
        raise QueryError("a comment or more than one line; write it on one line without comments")
    if "$" in _PLACEHOLDERS.sub("", query):
        raise QueryError("`$` begins `$job` or `$namespace`, and nothing else")
    depth = deepest = 0
    for letter in bare:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    operators = len(_OPERATORS.findall(bare))
    if deepest > _MAX_DEPTH or operators > _MAX_OPERATORS:
        raise QueryError(
            f"nested deeper than {_MAX_DEPTH}, or of more than {_MAX_OPERATORS} operators; record it by a rule"
        )


def _bound_selector(promql: Any, node: Any, namespace: str) -> Any:
    """Return the selector with the namespace as another matcher; None: the node is no selector, or has it."""
    selector = node.vector_selector if isinstance(node, promql.MatrixSelector) else node
    if not isinstance(selector, promql.VectorSelector):
        return None
    if selector.matchers.or_matchers:
        raise QueryError("a selector with `or` inside its braces; write `or` between two selectors")
    if _is_bound(selector.matchers.matchers, namespace):
        return None
    own = promql.Matcher(promql.MatchOp.Equal, LABEL_NAMESPACE, namespace)
    selector.matchers = promql.Matchers([*selector.matchers.matchers, own])
    if selector is not node:
        node.vector_selector = selector
    return promql.parse(str(node))  # what is changed in place does not get into the tree


def _selectors(promql: Any, tree: Any) -> list[list[Any]]:
    """Return the matchers of every selector; of the alternatives inside one, each by itself."""
    found: list[list[Any]] = []

    def visit(node: Any) -> None:
        selector = node.vector_selector if isinstance(node, promql.MatrixSelector) else node
        if isinstance(selector, promql.VectorSelector):
            found.append(selector.matchers.matchers)
            found.extend(selector.matchers.or_matchers)

    promql.walk(tree, pre_visit=visit)
    return found


def _is_bound(matchers: list[Any], namespace: str) -> bool:
    own = (LABEL_NAMESPACE, namespace)
    # Operators of this library do not compare with ==.
    return any((matcher.name, matcher.value) == own and f'{LABEL_NAMESPACE}="' in str(matcher) for matcher in matchers)


def one_series(series: list[RawSeries]) -> tuple[list[tuple[float, float]], SignalFault | None]:
    """Return the points of a query's answer, and what is wrong with its shape.

    Args:
        series: The answer of `query_range`.
    """
    if not series:
        message = "it gives no series; is what it asks for scraped, with the job's `namespace` label?"
        return [], SignalFault(reason=SignalReason.SIGNAL_EMPTY, message=message)
    if len(series) > 1:
        differing = sorted({name for name, _ in {*series[0].labels.items()} ^ {*series[1].labels.items()}})
        message = (
            f"it gives {len(series)} series, which differ in {', '.join(map(shown, differing[:5]))}; wanted one: "
            "aggregate them, as in avg(...), or select one"
        )
        return [], SignalFault(reason=SignalReason.SIGNAL_FAULTY, message=message)
    return list(series[0].points), None
