"""The fifteen checks of Grafana's dashboard-linter, on a dashboard's plain data.

What they ask for is taken from the linter's own list: https://github.com/grafana/dashboard-linter/tree/main/docs. Each
returns what is wrong. Whether an expression is PromQL at all is asked of Prometheus itself, in tests/conformance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

Dashboard = dict[str, Any]
Lint = Callable[[Dashboard], list[str]]

DATASOURCE: Final = "${datasource}"
UNITS: Final = {"s", "short", "percentunit", "reqps", "bytes", "watt", "celsius"}
# What a rule records is of all instances of a job, and alerts are what rules make of it.
_OF_NO_INSTANCE: Final = re.compile(r"slo_model:|ALERTS")
_SELECTOR: Final = re.compile(r"([a-z_:A-Z]+)\{([^}]*)\}")
_COUNTED: Final = re.compile(r"\w+_total\{[^}]*\}(?!\[)")
_RANGE: Final = re.compile(r"\[([^\]]+)\]")


def panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Every panel that is no heading."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def asked(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    """Every expression, with the title of its panel."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def _variable(dashboard: Dashboard, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [one for one in dashboard["templating"]["list"] if one["name"] == name]
    return found[0] if len(found) == 1 else {}


def template_datasource(dashboard: Dashboard) -> list[str]:
    own = _variable(dashboard, "datasource")
    is_right = (
        own.get("type") == "datasource" and own.get("query") == "prometheus" and own.get("label") == "Data source"
    )
    return [] if is_right else ["no variable datasource"]


def _template(dashboard: Dashboard, name: str) -> list[str]:
    own = _variable(dashboard, name)
    wanted = {"type": "query", "label": name.capitalize(), "multi": True, "includeAll": True, "allValue": ".*"}
    wrong = [key for key, value in wanted.items() if own.get(key) != value]
    return wrong + ([] if own.get("datasource", {}).get("uid") == DATASOURCE else ["datasource"])


def template_job(dashboard: Dashboard) -> list[str]:
    return _template(dashboard, "job")


def template_instance(dashboard: Dashboard) -> list[str]:
    return _template(dashboard, "instance")


def template_label_promql(dashboard: Dashboard) -> list[str]:
    queries = [one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return [one for one in queries if not re.fullmatch(r"label_values\([a-z_]+\{[^}]+\}, [a-z]+\)", one)]


def template_on_time_change_reload(dashboard: Dashboard) -> list[str]:
    queries = [one for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return [one["name"] for one in queries if one["refresh"] != 2]


def panel_datasource(dashboard: Dashboard) -> list[str]:
    return [
        panel["title"]
        for panel in panels(dashboard)
        if {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} != {DATASOURCE}
    ]


def panel_title_description(dashboard: Dashboard) -> list[str]:
    return [str(panel["id"]) for panel in panels(dashboard) if not (panel["title"] and panel["description"])]


def panel_units(dashboard: Dashboard) -> list[str]:
    return [panel["title"] for panel in panels(dashboard) if panel["fieldConfig"]["defaults"]["unit"] not in UNITS]


def panel_no_targets(dashboard: Dashboard) -> list[str]:
    return [panel["title"] for panel in panels(dashboard) if not panel["targets"]]


def target_promql(dashboard: Dashboard) -> list[str]:
    return [title for title, expr in asked(dashboard) if expr.count("(") != expr.count(")") or not expr.strip()]


def target_rate_interval(dashboard: Dashboard) -> list[str]:
    return [title for title, expr in asked(dashboard) if set(_RANGE.findall(expr)) - {"$__rate_interval"}]


def _without(dashboard: Dashboard, matcher: str, exempt: re.Pattern[str] | None = None) -> list[str]:
    return [
        f"{title}: {name}"
        for title, expr in asked(dashboard)
        for name, matchers in _SELECTOR.findall(expr)
        if matcher not in matchers.split(", ") and not (exempt and exempt.match(name))
    ]


def target_job(dashboard: Dashboard) -> list[str]:
    return _without(dashboard, 'job=~"$job"')


def target_instance(dashboard: Dashboard) -> list[str]:
    return _without(dashboard, 'instance=~"$instance"', _OF_NO_INSTANCE)


def target_counter_agg(dashboard: Dashboard) -> list[str]:
    return [title for title, expr in asked(dashboard) if _COUNTED.search(expr)]


def uneditable(dashboard: Dashboard) -> list[str]:
    return [] if dashboard["editable"] is False else ["editable"]


LINTS: Final[tuple[Lint, ...]] = (
    template_datasource,
    template_job,
    template_instance,
    template_label_promql,
    template_on_time_change_reload,
    panel_datasource,
    panel_title_description,
    panel_units,
    panel_no_targets,
    target_promql,
    target_rate_interval,
    target_job,
    target_instance,
    target_counter_agg,
    uneditable,
)
