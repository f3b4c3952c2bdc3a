"""What a dashboard is made of, as data. How Grafana wants it: `grafana`.

Queries name Grafana's variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

INTERVAL = "$__rate_interval"
"""Grafana's own variable: long enough for a rate, whatever the time between scrapes is."""
RANGE = "$__range"
"""The same of the whole time that is shown."""
OF_RUN = '{namespace="$namespace", prorl_job="$job", prorl_run="$run"}'
"""What selects one run's series."""


class Kind(StrEnum):
    """How a panel draws."""

    LINES = "lines"
    STACKED = "stacked"
    NUMBER = "number"
    TABLE = "table"


class Needs(StrEnum):
    """What has to be in the cluster for a panel to have data, beside a run that is scraped."""

    NOTHING = "nothing"
    OPERATOR = "the operator, scraped by the ServiceMonitor"
    DCGM = "NVIDIA's DCGM exporter, scraped"
    PROGRAMS = "a source of domain code, and completions that hold programs"
    COMPILED = "programs in a language that is compiled"
    ENDED = "a worker of a sandbox that was ended before its time"
    ALERTS = "an alert that is pending or fires"
    BOUNDS = "a trigger with a fixed bound on KL"
    VALIDATION = "a validation"
    LONG_RUN = "as many steps as its window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL query of a panel."""

    expr: str
    legend: str
    needs: Needs = Needs.NOTHING
    is_bound: bool = False
    """Drawn dashed: a bound of something else in the panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. The description says in one sentence what to look for."""

    title: str
    look_for: str
    queries: tuple[Query, ...]
    unit: str = "short"
    """Grafana's name of it."""
    kind: Kind = Kind.LINES
    width: int = 8
    """Of 24 columns."""
    least: float | None = 0.0
    """Lower end of the axis; None: as the data has it."""
    most: float | None = None
    to_run: bool = False
    """Its series link to the run's dashboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels about one question."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of a dashboard, by the values of a label."""

    name: str
    label: str
    query: str
    """`label_values(...)`."""
    is_multi: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Moments that are drawn through every panel."""

    name: str
    expr: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    about: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...] = ()
    since: str = "now-6h"
    links: Mapping[str, str] = field(default_factory=dict)
    """Title to path of other dashboards."""

    def queries(self) -> Iterator[tuple[str, Query]]:
        """Return every query with where it stands, those of marks too."""
        for row in self.rows:
            for panel in row.panels:
                for query in panel.queries:
                    yield f"{self.title} / {panel.title} / {query.legend}", query
        for mark in self.marks:
            yield f"{self.title} / {mark.name}", Query(expr=mark.expr, legend=mark.name)
