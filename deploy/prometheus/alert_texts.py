"""Writes what alerts say to people: how fast, how much is left, for how long, who is to blame, and what to do.

Annotations have the names of those that the mesh tells by itself, so that one template of a message shows both.
"""

from __future__ import annotations

from typing import Final

from deploy.prometheus.rule import Places
from deploy.prometheus.series import BURN, EXHAUSTION, REMAINING
from policies.snapshot.slos import Objective
from policies.units import duration_text, percent_text
from telemetry.conventions import POD_ATTEMPTS, SLO_EVENTS
from telemetry.slo.alerts import Alert
from telemetry.slo.links import runbook, slo_page, traces_page

_SUBJECT: Final = "{{ $labels.model }}: {{ $labels.slo }}"
_SHORT_NUMBER: Final = '{{ printf "%.3g" $value }}'
_UNKNOWN: Final = "not known"
_MODEL: Final = "{{ $labels.model }}"


def burns(objective: Objective, alert: Alert, places: Places) -> dict[str, str]:
    """Return what a burn-rate alert says."""
    long, short = duration_text(alert.long_s), duration_text(alert.short_s)
    in_short = _burn_over(short)
    return {
        "summary": f"{_SUBJECT}: {alert.name} fires, the error budget burns {_SHORT_NUMBER}x as fast as it may",
        "description": (
            f"Over {long} it burns {_SHORT_NUMBER}x, over {short} {in_short}; both are above the limit of "
            f"{alert.factor:g}x. {_budget(objective)}{_blame(objective, short)}"
        ),
        "burn": f"{_SHORT_NUMBER}x in {long}, {in_short} in {short}; limit {alert.factor:g}x",
        **_all_say(objective, alert, places),
    }


def likely(objective: Objective, alert: Alert, places: Places) -> dict[str, str]:
    """Return what the alert says that foresees the end of a budget."""
    long, short = duration_text(alert.long_s), duration_text(alert.short_s)
    return {
        "summary": f"{_SUBJECT}: the error budget is likely to be spent in {{{{ humanizeDuration $value }}}}",
        "description": (
            f"If bad events go on as over {long}, the budget of {duration_text(objective.period_s)} ends in "
            f"{{{{ humanizeDuration $value }}}}; the last {short} say the same. {_budget(objective)}"
            f"{_blame(objective, short)}"
        ),
        "burn": f"{_burn_over(long)} in {long}, {_burn_over(short)} in {short}",
        **_all_say(objective, alert, places),
    }


def exhausted(objective: Objective, alert: Alert, places: Places) -> dict[str, str]:
    """Return what the alert of a spent budget says."""
    period = duration_text(objective.period_s)
    burn = _query(f"1 - {REMAINING}{{%s}}", '{{ printf "%.3g" (. | first | value) }}x', _UNKNOWN)
    return {
        "summary": f"{_SUBJECT}: the error budget of {period} is spent",
        "description": (
            f"Of the bad events that {period} may have, {{{{ humanizePercentage $value }}}} are left. Bad events that "
            f"are older than the period free it again.{_blame(objective, duration_text(_shortest_s(objective, alert)))}"
        ),
        "burn": f"{burn} in {period}",
        **_all_say(objective, alert, places),
    }


def _all_say(objective: Objective, alert: Alert, places: Places) -> dict[str, str]:
    """Return what every alert says of its objective, each in an annotation of its own, and its links."""
    period, short = duration_text(objective.period_s), duration_text(_shortest_s(objective, alert))
    left = _asked(REMAINING, "", "{{ . | first | value | humanizePercentage }} of the budget left", _UNKNOWN)
    ends = _asked(EXHAUSTION, "", "{{ . | first | value | humanizeDuration }}", "not at this rate")
    traces = traces_page(places.hub, objective, _MODEL)
    return {
        "objective": f"{percent_text(objective.target)} good in {period}",
        "windows": f"{duration_text(alert.long_s)} and {duration_text(alert.short_s)}",
        "budget_left": left,
        "ends_in": ends,
        "worst": _worst_version(objective, short, "version {{ . | first | label `version` }}", "no version known")
        + _worst_pod(
            objective, short, "; pod {{ or (. | first | label `penstock_sidecar`) (. | first | label `instance`) }}"
        ),
        "runbook_url": runbook(places.runbooks, alert.severity, alert.tier),
        "hub_url": slo_page(places.hub, "{{ $labels.slo }}", _MODEL),
        **({"traces_url": traces} if traces else {}),
    }


def _shortest_s(objective: Objective, alert: Alert) -> float:
    """Return the window in which who is to blame now is looked for."""
    return min((one.short_s for one in objective.alerts), default=alert.short_s)


def _burn_over(window: str) -> str:
    return _asked(BURN, f', window="{window}"', '{{ printf "%.3g" (. | first | value) }}x', "an unknown rate")


def _budget(objective: Objective) -> str:
    period = duration_text(objective.period_s)
    left = (
        "{{ $left := . | first | value }}{{ if le $left 0.0 }}"
        f"The budget of {period} is spent{{{{ else }}}}"
        f"Of the budget of {period}, {{{{ humanizePercentage $left }}}} is left{{{{ end }}}}"
    )
    ends = _asked(EXHAUSTION, "", "; at this rate it ends in {{ . | first | value | humanizeDuration }}", "")
    return f"{_asked(REMAINING, '', left, f'What is left of the budget of {period} is not known')}{ends}."


def _blame(objective: Objective, short: str) -> str:
    version = _worst_version(
        objective, short, " Most bad events come from version {{ . | first | label `version` }}.", ""
    )
    pod = "{{ or (. | first | label `penstock_sidecar`) (. | first | label `instance`) }}"
    return version + _worst_pod(objective, short, f" Most failures are of the pod {pod}.")


def _worst_version(objective: Objective, short: str, shown: str, otherwise: str) -> str:
    if "version" not in objective.by:
        return otherwise
    bad = f'{SLO_EVENTS.name}{{%s, outcome="bad"}}'
    return _query(f"topk(1, sum by (version) (increase({bad}[{short}])) > 0)", shown, otherwise)


def _worst_pod(objective: Objective, short: str, shown: str) -> str:
    """Say which pod failed most, as sidecars tell; nothing of failures that never reached a pod."""
    if objective.events != "requests":
        return ""
    failed = f'{POD_ATTEMPTS.name}{{model=%q, code_class="5xx"}}'
    asked = f"topk(1, sum by (penstock_sidecar, instance) (increase({failed}[{short}])) > 0)"
    return f"{{{{ with printf `{asked}` $labels.model | query }}}}{shown}{{{{ end }}}}"


def _asked(series: str, more: str, shown: str, otherwise: str) -> str:
    return _query(f"{series}{{%s{more}}}", shown, otherwise)


def _query(expr: str, shown: str, otherwise: str) -> str:
    """Return a template that shows what Prometheus answers.

    Args:
        expr: with `%s` where the labels of the objective go.
    """
    asked = expr.replace("%s", "job=%q, slo=%q, model=%q")
    begin = f"{{{{ with printf `{asked}` $labels.job $labels.slo $labels.model | query }}}}"
    return f"{begin}{shown}{{{{ else }}}}{otherwise}{{{{ end }}}}" if otherwise else f"{begin}{shown}{{{{ end }}}}"
