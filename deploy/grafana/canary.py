"""The dashboard for whoever releases a version: old and new side by side, what the judge knows, and shadows."""

from __future__ import annotations

from typing import Final

from deploy.grafana.dashboard import Dashboard, mean, of, quantile, rate
from deploy.grafana.panels import Ask, Panel, Row
from telemetry.conventions import (
    CHARGED_DEVICE_SECONDS,
    REQUEST_DURATION_SECONDS,
    REQUESTS,
    ROLLOUT_E_VALUE,
    ROLLOUT_SHARE,
    ROLLOUT_STATE,
    SHADOW_COMPARED,
    SHADOW_NOT_COPIED,
    SLO_EVENTS,
)

_VERSION: Final = "{{model}}/{{version}}"
_BAD: Final = rate(of(SLO_EVENTS, 'outcome="bad"'))
_COUNTED: Final = rate(of(SLO_EVENTS, 'outcome=~"good|bad"'))
_ANSWERED: Final = rate(of(REQUESTS, 'version!=""'))
_FAILED: Final = rate(of(REQUESTS, 'code_class="5xx", version!=""'))
_GIVEN: Final = rate(of(REQUESTS, 'code_class="2xx"'))
_SAME: Final = rate(of(SHADOW_COMPARED, 'verdict="same"'))
_BY: Final = "model, version"

_RELEASE: Final = Row(
    "The release",
    (
        Panel(
            "Share",
            "The share of callers that each version has.",
            "timeseries",
            "percentunit",
            (Ask(f"max by ({_BY}) ({of(ROLLOUT_SHARE)})", _VERSION),),
            width=8,
            is_stacked=True,
            min_value=0.0,
            max_value=1.0,
        ),
        Panel(
            "State",
            "Whether the canary runs, waits, is paused, promoted or rolled back.",
            "state-timeline",
            "short",
            (Ask(f"max by (model, state) ({of(ROLLOUT_STATE)}) > 0", "{{model}} {{state}}"),),
            width=8,
        ),
        Panel(
            "Evidence",
            "How much speaks for each claim: 1 is nothing, and a claim is proved at one divided by its alpha.",
            "timeseries",
            "short",
            (Ask(f"max by (model, claim) ({of(ROLLOUT_E_VALUE)})", "{{model}} {{claim}}"),),
            width=8,
        ),
    ),
)

_SIDE_BY_SIDE: Final = Row(
    "Side by side",
    (
        Panel(
            "Requests",
            "By the version that answered.",
            "timeseries",
            "reqps",
            (Ask(f"sum by ({_BY}) ({_ANSWERED})", _VERSION),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Bad events",
            "Share of the events of each objective that were bad.",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"sum by (slo, {_BY}) ({_BAD}) / (sum by (slo, {_BY}) ({_COUNTED}) > 0)",
                    "{{slo}} {{version}}",
                ),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Failures by reason",
            "Answers with a status of 500 or above.",
            "timeseries",
            "reqps",
            (
                Ask(
                    f"sum by ({_BY}, reason) ({_FAILED}) > 0",
                    f"{_VERSION} {{{{reason}}}}",
                ),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Time to the last byte, median",
            "Of answers that were given.",
            "timeseries",
            "s",
            (Ask(quantile(0.5, REQUEST_DURATION_SECONDS, _BY, 'code_class="2xx"'), _VERSION),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Time to the last byte, the slowest of a hundred",
            "Of answers that were given.",
            "timeseries",
            "s",
            (Ask(quantile(0.99, REQUEST_DURATION_SECONDS, _BY, 'code_class="2xx"'), _VERSION),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Device time of a request",
            "What an answer costs, by version.",
            "timeseries",
            "s",
            (
                Ask(
                    f"sum by ({_BY}) ({rate(of(CHARGED_DEVICE_SECONDS))}) / (sum by ({_BY}) ({_GIVEN}) > 0)",
                    _VERSION,
                ),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Mean time to the last byte",
            "Of all that was settled, failures included.",
            "timeseries",
            "s",
            (Ask(mean(REQUEST_DURATION_SECONDS, _BY), _VERSION),),
            width=8,
            min_value=0.0,
        ),
    ),
)

_SHADOWS: Final = Row(
    "Shadows",
    (
        Panel(
            "Agreement",
            "Share of compared copies whose answers were the same.",
            "timeseries",
            "percentunit",
            (
                Ask(
                    f"sum by (model, shadow) ({_SAME}) / (sum by (model, shadow) ({rate(of(SHADOW_COMPARED))}) > 0)",
                    "{{model}} {{shadow}}",
                ),
            ),
            max_value=1.0,
        ),
        Panel(
            "Not compared",
            "Requests that were sampled for a shadow and not compared, by why.",
            "timeseries",
            "reqps",
            (Ask(f"sum by (model, shadow, why) ({rate(of(SHADOW_NOT_COPIED))}) > 0", "{{model}} {{shadow}} {{why}}"),),
            min_value=0.0,
        ),
    ),
)

CANARY: Final = Dashboard(
    "penstock-canary",
    "Penstock: canaries and shadows",
    "A version beside the one that answers: what callers get of each, and what is proved.",
    (_RELEASE, _SIDE_BY_SIDE, _SHADOWS),
    refresh="30s",
    since="now-6h",
)
