"""Panels: what is asked and how it is drawn, as Grafana's classic dashboards (schema 39) have it."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Data = dict[str, object]
Kind = Literal["timeseries", "stat", "table", "bargauge", "heatmap", "state-timeline"]

DATASOURCE: Final[Data] = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS: Final = 24


class Ask(Struct, frozen=True):
    """One expression.

    Attributes:
        legend: what a line is called, with `{{label}}`.
        is_instant: ask for the last moment only.
        is_heatmap: what is asked are buckets of a histogram.
    """

    expr: str
    legend: str = ""
    is_instant: bool = False
    is_heatmap: bool = False


class Step(Struct, frozen=True):
    """From a value on, a colour."""

    color: str
    value: float | None = None


class Panel(Struct, frozen=True):
    """One panel.

    Attributes:
        unit: Grafana's name of it: "s", "percentunit", "reqps", "short", "bytes", "watt", "celsius".
        width, height: in Grafana's grid of 24 columns.
        steps: colours, or lines of a time series.
        is_stacked: areas upon each other.
        is_sorted_by: a table's column, the largest first; "" as it comes.
    """

    title: str
    description: str
    kind: Kind
    unit: str
    asks: tuple[Ask, ...]
    width: int = 12
    height: int = 8
    steps: tuple[Step, ...] = ()
    is_stacked: bool = False
    is_sorted_by: str = ""
    min_value: float | None = None
    max_value: float | None = None


class Row(Struct, frozen=True):
    """Panels below a heading."""

    title: str
    panels: tuple[Panel, ...]


def laid_out(rows: tuple[Row, ...]) -> list[Data]:
    """Return rows and their panels with a place each, from left to right and top to bottom."""
    drawn: list[Data] = []
    y = 0
    for row in rows:
        place: Data = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        drawn.append(_numbered(drawn, {"type": "row", "title": row.title, "collapsed": False, "panels": []}, place))
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            drawn.append(_numbered(drawn, _panel(panel), place))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return drawn


def _numbered(drawn: list[Data], panel: Data, place: Data) -> Data:
    return {"id": len(drawn) + 1, **panel, "gridPos": place}


def _panel(panel: Panel) -> Data:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": [_target(chr(ord("A") + place), ask) for place, ask in enumerate(panel.asks)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        **({"transformations": _as_one_table(panel)} if panel.kind == "table" else {}),
    }


def _target(name: str, ask: Ask) -> Data:
    shown = "table" if ask.is_instant else "heatmap" if ask.is_heatmap else "time_series"
    return {
        "refId": name,
        "datasource": DATASOURCE,
        "expr": ask.expr,
        "legendFormat": ask.legend or "__auto",
        "instant": ask.is_instant,
        "range": not ask.is_instant,
        "format": shown,
        **({} if ask.is_instant else {"exemplar": "histogram_quantile" in ask.expr}),
    }


def _defaults(panel: Panel) -> Data:
    steps = panel.steps or (Step("text"),)
    defaults: Data = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": [{"color": one.color, "value": one.value} for one in steps]},
        **({"min": panel.min_value} if panel.min_value is not None else {}),
        **({"max": panel.max_value} if panel.max_value is not None else {}),
    }
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 30 if panel.is_stacked else 5,
            "stacking": {"mode": "normal" if panel.is_stacked else "none"},
            "showPoints": "never",
            "spanNulls": False,
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    elif panel.steps:
        defaults["color"] = {"mode": "thresholds"}
    return defaults


def _options(panel: Panel) -> Data:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return {"reduceOptions": last, "colorMode": "value", "graphMode": "area"}
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}
        case "heatmap":
            return {"calculate": False, "yAxis": {"unit": panel.unit}, "color": {"mode": "scheme", "scheme": "Blues"}}
        case "state-timeline":
            return {"mergeValues": True, "showValue": "never"}
        case "table":
            sort = [{"displayName": panel.is_sorted_by, "desc": True}] if panel.is_sorted_by else []
            return {"showHeader": True, "sortBy": sort}


def _as_one_table(panel: Panel) -> list[Data]:
    """Join what was asked by its labels, each answer a column under its legend."""
    if len(panel.asks) == 1:
        names = {"Value": panel.asks[0].legend}
    else:
        names = {f"Value #{chr(ord('A') + place)}": ask.legend for place, ask in enumerate(panel.asks)}
    hidden = {"Time": True, "__name__": True}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names}},
    ]
