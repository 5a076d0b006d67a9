"""Dashboards: rows of panels with the variables, links and annotations that all of ours share."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, json

from deploy.grafana.panels import DATASOURCE, Data, Row, laid_out
from telemetry.conventions import GENERATION, REQUESTS, Metric

_SCHEMA: Final = 39
_TAG: Final = "penstock"
_ON_TIME_RANGE_CHANGE: Final = 2
OURS: Final = 'job=~"$job", instance=~"$instance"'


class Dashboard(Struct, frozen=True):
    """One dashboard.

    Attributes:
        uid: what links name it by; never changed.
        refresh: how often it asks anew, "" never.
        since: how far back it looks at first, as Grafana writes it.
        of_one_model: it is opened for a model rather than for all.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    refresh: str
    since: str
    of_one_model: bool = False


def of(metric: Metric, more: str = "") -> str:
    """Return a metric of the chosen jobs, instances and models, as an expression."""
    chosen = [OURS, *(['model=~"$model"'] if "model" in metric.labels else []), *([more] if more else [])]
    return f"{metric.name}{{{', '.join(chosen)}}}"


def bucket(metric: Metric, more: str = "") -> str:
    """Return a histogram's buckets likewise."""
    return of(metric, more).replace("{", "_bucket{", 1)


def recorded(name: str, more: str = "") -> str:
    """Return what a rule records, of the chosen jobs and models; it is of no instance."""
    chosen = ", ".join(['job=~"$job"', 'model=~"$model"', *([more] if more else [])])
    return f"{name}{{{chosen}}}"


def rate(series: str) -> str:
    """Return a counter's rate per second."""
    return f"rate({series}[$__rate_interval])"


def quantile(share: float, metric: Metric, by: str, more: str = "") -> str:
    """Return a histogram's quantile by labels."""
    return f"histogram_quantile({share}, sum by (le, {by}) ({rate(bucket(metric, more))}))"


def mean(metric: Metric, by: str) -> str:
    """Return a histogram's mean by labels; nothing where nothing happened."""
    summed, counted = (of(metric).replace("{", f"_{part}{{", 1) for part in ("sum", "count"))
    return f"sum by ({by}) ({rate(summed)}) / (sum by ({by}) ({rate(counted)}) > 0)"


def dashboard_json(dashboard: Dashboard) -> bytes:
    """Return a dashboard as the file that Grafana is provisioned with."""
    return json.format(json.encode(_classic(dashboard)), indent=2) + b"\n"


def _classic(dashboard: Dashboard) -> Data:
    return {
        "uid": dashboard.uid,
        "id": None,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [_TAG],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": dashboard.refresh,
        "time": {"from": dashboard.since, "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "title": "Penstock", "tags": [_TAG], "asDropdown": True, "keepTime": True}],
        "annotations": {"list": _annotations()},
        "templating": {"list": _variables(dashboard.of_one_model)},
        "panels": laid_out(dashboard.rows),
    }


def _annotations() -> list[Data]:
    return [
        _annotation(
            "pages", "red", 'ALERTS{alertstate="firing", severity="page", job=~"$job"}', "{{alertname}} {{slo}}"
        ),
        _annotation("policy changes", "blue", f"changes({of(GENERATION)}[$__rate_interval]) > 0", "a new generation"),
    ]


def _annotation(name: str, color: str, expr: str, title: str) -> Data:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": color,
        "expr": expr,
        "titleFormat": title,
        "step": "60s",
    }


def _variables(of_one_model: bool) -> list[Data]:
    datasource: Data = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }
    return [
        datasource,
        _variable("job", 'label_values(up{job=~"penstock.*"}, job)'),
        _variable("instance", 'label_values(up{job=~"$job"}, instance)'),
        _variable("model", f'label_values({REQUESTS.name}{{job=~"$job"}}, model)', is_many=not of_one_model),
    ]


def _variable(name: str, query: str, *, is_many: bool = True) -> Data:
    """Return a variable; all of its values are `.*`, for some series have no such label."""
    everything: Data = {
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": _ON_TIME_RANGE_CHANGE,
        "sort": 1,
        "hide": 0,
        **(everything if is_many else {"includeAll": False, "multi": False, "current": {}}),
    }
