"""Every span, attribute, metric and telemetry header by name, once: who writes it and who reads it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

# Headers, lower case as we write them.
REQUEST_ID = "x-request-id"  # gateway -> client and pod
TRACEPARENT = "traceparent"  # W3C Trace Context: client -> gateway -> pod
TRACERESPONSE = "traceresponse"  # W3C Trace Context level 2: gateway -> client
DECISION = "penstock-decision"  # gateway -> client: what was decided and why (structured field)
USAGE = "penstock-usage"  # pod -> gateway -> client: device_us, batch, queue_us
SERVER_TIMING = "server-timing"  # pod and gateway -> client: milliseconds of each part
TIMEOUT_MS = "penstock-timeout-ms"  # client -> gateway -> pod: milliseconds that are left


class Metric(Struct, frozen=True):
    """One metric as Prometheus reads it.

    Attributes:
        name: with the unit and, for a counter, ``_total`` at its end.
        unit: ``seconds`` or ``rows``; "" for a plain count or a truth value.
        meaning: one sentence: its help text and its line in ``docs/reference/metrics.md``.
    """

    name: str
    kind: Literal["gauge", "counter"]
    unit: Literal["seconds", "rows", ""]
    labels: tuple[str, ...]
    meaning: str


# Metrics of a pod, written by its sidecar and read by Prometheus.
_OF_A_POD = ("model", "version")

POD_UP = Metric("penstock_pod_up", "gauge", "", _OF_A_POD, "1 when the pod is ready, 0 when it is not or is silent.")
POD_STATE = Metric(
    "penstock_pod_state", "gauge", "", (*_OF_A_POD, "state"), "1 for the state that the pod is in, 0 for the others."
)
QUEUE_ROWS = Metric("penstock_queue_rows", "gauge", "rows", _OF_A_POD, "Rows accepted and not yet running.")
RUNNING_ROWS = Metric("penstock_running_rows", "gauge", "rows", _OF_A_POD, "Rows in the batch that runs now.")
INFERENCE_RESTARTS = Metric(
    "penstock_inference_restarts_total", "counter", "", _OF_A_POD, "How often the inference process was started anew."
)
MODEL_LOAD_SECONDS = Metric(
    "penstock_model_load_seconds", "gauge", "seconds", _OF_A_POD, "How long the last load of the model took."
)
SCRAPE_AGE_SECONDS = Metric(
    "penstock_sidecar_scrape_age_seconds",
    "gauge",
    "seconds",
    (),
    "Time since the pod last answered its sidecar; since the sidecar's start while it never has.",
)

SIDECAR_METRICS = (
    POD_UP,
    POD_STATE,
    QUEUE_ROWS,
    RUNNING_ROWS,
    INFERENCE_RESTARTS,
    MODEL_LOAD_SECONDS,
    SCRAPE_AGE_SECONDS,
)
