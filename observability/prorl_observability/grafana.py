"""Dashboards as Grafana's JSON, by Grafana's own SDK. For the development environment only: users get the files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    StackingMode,
    TimeZoneBrowser,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    VariableHide,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from prorl_observability.boards import BOARDS
from prorl_observability.panels import Board, Kind, Mark, Panel, Query, Variable

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_SCHEMA_VERSION = 39
"""Grafana 11.0's own. The SDK writes 36; what differs (hidden legends, table cells, a transformation) is not used."""
_HEIGHT = 8
_RUN_LINK = (
    "/d/prorl-run?var-datasource=${datasource}&var-namespace=${__field.labels.namespace}"
    "&var-job=${__field.labels.prorl_job}&var-run=${__field.labels.prorl_run}&${__url_time_range}"
)


def dashboard_texts() -> dict[str, str]:
    """Return the JSON of every dashboard by its file's name, the same for the same data."""
    return {name: _text(board) for name, board in BOARDS.items()}


def _text(board: Board) -> str:
    built = _dashboard(board).build()
    built.schema_version = _SCHEMA_VERSION
    plain = json.loads(json.dumps(built, cls=JSONEncoder, sort_keys=True))
    for panel in plain["panels"]:
        if panel["type"] == "stat":
            # Later ones than 11.0 demand it; 11.0 does not know it.
            panel["options"]["percentChangeColorMode"] = "standard"
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["prorl", "reinforcement-learning"])
        .timezone(TimeZoneBrowser)
        .time(board.since, "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    for mark in board.marks:
        made.annotation(_annotation(mark))
    for title, path in board.links.items():
        made.link(
            dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(path).keep_time(True).include_vars(True)
        )
    ids = itertools.count(1)
    for row in board.rows:
        made.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            made.with_panel(_panel(panel).id(next(ids)))
    return made


def _variable(variable: Variable) -> dashboard.QueryVariable:
    query: dict[str, object] = {"query": variable.query, "refId": f"{variable.name}-values"}
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .query(query)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
    )
    return made.multi(True).include_all(True).all_value(".+") if variable.is_multi else made


def _annotation(mark: Mark) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(mark.name)
        .datasource(SOURCE)
        .expr(mark.expr)
        .enable(True)
        .icon_color(mark.colour)
    )


def _panel(panel: Panel) -> Any:
    made = _DRAWN[panel.kind](panel)
    made.title(panel.title).description(panel.look_for).datasource(SOURCE).unit(panel.unit)
    made.height(_HEIGHT).span(panel.width)
    if panel.least is not None:
        made.min(panel.least)
    if panel.most is not None:
        made.max(panel.most)
    if panel.to_run:
        made.data_links([dashboard.DashboardLink("This run").type(DashboardLinkType.LINK).url(_RUN_LINK)])
    for index, query in enumerate(panel.queries):
        made.with_target(_query(query, chr(ord("A") + index), is_instant=panel.kind is Kind.TABLE))
    return made


def _legend() -> common.VizLegendOptions:
    shown = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return shown.show_legend(True)


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .line_interpolation(LineInterpolation.LINEAR)
        .line_width(1)
        .fill_opacity(5)
        .show_points(VisibilityMode.AUTO)
        .span_nulls(True)
        .axis_placement(AxisPlacement.AUTO)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    dashed = DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 10]})
    unfilled = DynamicConfigValue(id_val="custom.fillOpacity", value=0)
    for index, query in enumerate(panel.queries):
        if query.is_bound:
            made.override_by_query(chr(ord("A") + index), [dashed, unfilled])
    return made


def _stacked(panel: Panel) -> timeseries.Panel:
    return _lines(panel).fill_opacity(60).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def _number(_: Panel) -> stat.Panel:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(newest).graph_mode(BigValueGraphMode.NONE)


def _query(query: Query, ref_id: str, *, is_instant: bool) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(SOURCE)
    return made.instant().format(PromQueryFormat.TABLE) if is_instant else made.range()


def _table(_: Panel) -> table.Panel:
    return table.Panel()


_DRAWN: dict[Kind, Callable[[Panel], Any]] = {
    Kind.LINES: _lines,
    Kind.STACKED: _stacked,
    Kind.NUMBER: _number,
    Kind.TABLE: _table,
}
