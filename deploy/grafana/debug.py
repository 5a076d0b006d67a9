"""The dashboard for whoever looks into one model: its pods, batches, stages, and what its requests cost."""

from __future__ import annotations

from typing import Final

from deploy.grafana.dashboard import Dashboard, bucket, mean, of, quantile, rate
from deploy.grafana.machine import DEVICES, DRIFT, PROCESSES
from deploy.grafana.panels import Ask, Panel, Row
from telemetry.conventions import (
    BATCH_ROWS,
    DEVICE_SECONDS,
    EXPORT_QUEUE_BYTES,
    MODEL_LOAD_SECONDS,
    POD_ATTEMPTS,
    POD_STATE,
    POD_UP,
    QUEUE_ROWS,
    QUEUE_WAIT_SECONDS,
    REQUEST_DURATION_SECONDS,
    RUNNING_ROWS,
    SCRAPE_AGE_SECONDS,
    STAGE_DURATION_SECONDS,
)

_POD: Final = "{{version}} {{instance}}"
_BY_POD: Final = "version, instance"

_FAILED: Final = rate(of(POD_ATTEMPTS, 'code_class!="2xx"'))
_LOAD: Final = of(MODEL_LOAD_SECONDS, 'phase="whole"')

_TIME: Final = Row(
    "Where the time goes",
    (
        Panel(
            "Durations",
            "All requests by the time to their last byte.",
            "heatmap",
            "s",
            (Ask(f"sum by (le) ({rate(bucket(REQUEST_DURATION_SECONDS))})", "{{le}}", is_heatmap=True),),
        ),
        Panel(
            "Stages",
            "The mean time that a batch takes in each of the handler's stages.",
            "timeseries",
            "s",
            (Ask(mean(STAGE_DURATION_SECONDS, "version, stage"), "{{version}} {{stage}}"),),
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Stages, the slowest of a hundred",
            "Of a hundred batches one takes longer in the stage.",
            "timeseries",
            "s",
            (Ask(quantile(0.99, STAGE_DURATION_SECONDS, "version, stage"), "{{version}} {{stage}}"),),
            min_value=0.0,
        ),
        Panel(
            "Waiting for a batch",
            "How long rows wait in the pod until their batch is sent.",
            "timeseries",
            "s",
            (
                Ask(quantile(0.5, QUEUE_WAIT_SECONDS, _BY_POD), f"p50 {_POD}"),
                Ask(quantile(0.99, QUEUE_WAIT_SECONDS, _BY_POD), f"p99 {_POD}"),
            ),
            min_value=0.0,
        ),
    ),
)

_BATCHES: Final = Row(
    "Batches",
    (
        Panel(
            "Rows of a batch",
            "How many rows ran together.",
            "heatmap",
            "short",
            (Ask(f"sum by (le) ({rate(bucket(BATCH_ROWS))})", "{{le}}", is_heatmap=True),),
        ),
        Panel(
            "Rows in pods",
            "Accepted and not yet running, and running now.",
            "timeseries",
            "short",
            (
                Ask(f"sum by ({_BY_POD}) ({of(QUEUE_ROWS)})", f"queued {_POD}"),
                Ask(f"sum by ({_BY_POD}) ({of(RUNNING_ROWS)})", f"running {_POD}"),
            ),
            min_value=0.0,
        ),
        Panel(
            "Devices held",
            "Share of the time that each pod holds its device.",
            "timeseries",
            "percentunit",
            (Ask(f"sum by ({_BY_POD}) ({rate(of(DEVICE_SECONDS))})", _POD),),
            min_value=0.0,
        ),
        Panel(
            "Devices held, by tenant",
            "Whose rows the device worked for.",
            "timeseries",
            "percentunit",
            (Ask(f"sum by (tenant) ({rate(of(DEVICE_SECONDS))})", "{{tenant}}"),),
            is_stacked=True,
            min_value=0.0,
        ),
    ),
)

_PODS: Final = Row(
    "Pods",
    (
        Panel(
            "State",
            "The state that each pod says it is in.",
            "state-timeline",
            "short",
            (Ask(f"max by (version, instance, state) ({of(POD_STATE)}) > 0", "{{version}} {{instance}} {{state}}"),),
        ),
        Panel(
            "Answers by reason",
            "What pods answered, attempt by attempt; 2xx left out.",
            "timeseries",
            "reqps",
            (
                Ask(
                    f"sum by ({_BY_POD}, code_class, reason) ({_FAILED}) > 0",
                    f"{_POD} {{{{code_class}}}} {{{{reason}}}}",
                ),
            ),
            min_value=0.0,
        ),
        Panel(
            "Pods",
            "Each pod as its sidecar sees it.",
            "table",
            "short",
            (
                Ask(f"max by ({_BY_POD}) ({of(POD_UP)})", "ready", is_instant=True),
                Ask(f"max by ({_BY_POD}) ({of(QUEUE_ROWS)})", "queued rows", is_instant=True),
                Ask(f"max by ({_BY_POD}) ({_LOAD})", "load, seconds", is_instant=True),
            ),
        ),
        Panel(
            "Loads",
            "How long the last load took, and its parts.",
            "bargauge",
            "s",
            (Ask(f"max by (version, phase) ({of(MODEL_LOAD_SECONDS)})", "{{version}} {{phase}}"),),
        ),
    ),
)

_SIDECARS: Final = Row(
    "Sidecars",
    (
        Panel(
            "Silence of pods",
            "Time since a pod last answered its sidecar.",
            "timeseries",
            "s",
            (Ask(f"max by (instance) ({of(SCRAPE_AGE_SECONDS)})", "{{instance}}"),),
            min_value=0.0,
        ),
        Panel(
            "Waiting to be exported",
            "Spans that wait in each sidecar; 16 MiB are the most.",
            "timeseries",
            "bytes",
            (Ask(f"max by (instance) ({of(EXPORT_QUEUE_BYTES)})", "{{instance}}"),),
            min_value=0.0,
        ),
    ),
)

DEBUG: Final = Dashboard(
    "penstock-debug",
    "Penstock: debug a model",
    "One model from the inside: where its time goes, its batches, pods, processes, devices, and drift.",
    (_TIME, _BATCHES, _PODS, DEVICES, PROCESSES, DRIFT, _SIDECARS),
    refresh="30s",
    since="now-1h",
    of_one_model=True,
)
