"""Every span, attribute, metric and telemetry header by name, once: who writes it and who reads it."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

# Headers, lower case as we write them.
REQUEST_ID = "x-request-id"  # gateway -> client and pod
TRACEPARENT = "traceparent"  # W3C Trace Context: client -> gateway -> pod
TRACERESPONSE = "traceresponse"  # W3C Trace Context level 2: gateway -> client
DECISION = "penstock-decision"  # gateway -> client: what was decided and why (structured field)
USAGE = "penstock-usage"  # pod -> gateway -> client: device_us, batch, queue_us, tokens
TOKENS = "penstock-tokens"  # handler -> pod, no further: how many tokens a row had
SERVER_TIMING = "server-timing"  # pod and gateway -> client: milliseconds of each part
TIMEOUT_MS = "penstock-timeout-ms"  # client -> gateway -> pod: milliseconds that are left

IDEMPOTENCY_KEY = "idempotency-key"  # client -> gateway -> pod: requests with the same one run once
IDEMPOTENCY_REPLAYED = "idempotency-replayed"  # pod -> gateway -> client: this answer was given before

TENANT = "penstock-tenant"  # gateway -> pod: whom the request is counted for
SHADOW = "penstock-shadow"  # gateway -> pod: this is a copy for the shadow of that name; nobody gets its answer

# Values of `service.name`.
GATEWAY_SERVICE = "penstock-gateway"
POD_SERVICE = "penstock-pod"
HUB_SERVICE = "penstock-hub"


class SpanName:
    """Names of spans. The gateway and the pods record them, the hub and whoever reads traces knows them."""

    GATEWAY_REQUEST = "gateway.request"
    GATEWAY_FORWARD = "gateway.forward"  # one per attempt
    GATEWAY_SHADOW = "gateway.shadow"  # one per copy that was sent
    POD_REQUEST = "pod.request"
    POD_QUEUE = "pod.queue"
    POD_PREPROCESS = "pod.preprocess"
    POD_INFERENCE = "pod.inference"
    POD_POSTPROCESS = "pod.postprocess"
    POD_BATCH = "pod.batch"  # a trace of its own, linked both ways with the pod.inference of its members
    POD_LOAD = "pod.load"


class Attribute:
    """Names of spans' attributes, and the resource's. The stable ones of OpenTelemetry come first."""

    HTTP_METHOD = "http.request.method"
    HTTP_STATUS = "http.response.status_code"
    HTTP_ROUTE = "http.route"
    HTTP_RESEND_COUNT = "http.request.resend_count"
    RPC_SYSTEM = "rpc.system"
    RPC_SERVICE = "rpc.service"
    RPC_METHOD = "rpc.method"
    ERROR_TYPE = "error.type"  # the reason, where a status of 500 or more has one
    SERVICE_NAME = "service.name"
    SERVICE_VERSION = "service.version"
    SERVICE_INSTANCE = "service.instance.id"
    PROCESS_PID = "process.pid"

    API = "penstock.api"
    TENANT = "penstock.tenant"
    MODEL = "penstock.model"
    VERSION = "penstock.version"
    ARM = "penstock.arm"
    SHADOW = "penstock.shadow"  # the shadow that a copy was sent for
    REPEAT = "penstock.shadow.repeat"  # the copy asked the version again that had answered
    OUTCOME = "penstock.outcome"  # good, bad or ignored: what the request meant to its model's objectives
    REASON = "penstock.reason"
    GENERATION = "penstock.generation"
    REQUEST_ID = "penstock.request_id"
    ATTEMPT = "penstock.attempt"  # from 1
    POD = "penstock.pod"
    PART = "penstock.part"  # from 0; a request with more rows than a batch may have has several
    ROWS = "penstock.rows"
    BATCH_ID = "penstock.batch.id"
    BATCH_ROWS = "penstock.batch.rows"
    BATCH_REQUESTS = "penstock.batch.requests"
    BATCH_RUNS = "penstock.batch.runs"
    BATCH_QUEUED_ROWS = "penstock.queue.depth"
    QUEUE_WAIT_S = "penstock.queue.wait_s"  # on the links of a batch: how long each member waited
    DEVICE = "penstock.device"
    DEVICE_S = "penstock.device_s"  # of a batch, of a request in it, and on the links of a batch of each member
    COLD_START = "penstock.cold_start"
    HANDLER_S = "penstock.load.handler_s"
    KEPT = "penstock.kept"  # why a trace was kept: share, error, bad, slow, linked
    REDACTED = "penstock.redacted"  # how many attributes were taken away because nobody allowed them


# What Prometheus calls the gateway's target; so alerts of its rules and those that the mesh tells are labelled alike.
GATEWAY_JOB: Final = "penstock"


class Metric(Struct, frozen=True):
    """One metric as Prometheus reads it.

    Attributes:
        name: with the unit and, for a counter, ``_total`` at its end.
        unit: ``seconds``, ``rows`` or the like; "" for a plain count or a truth value.
        meaning: one sentence: its help text and its line in ``docs/reference/metrics.md``.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: Literal["seconds", "rows", "bytes", "ratio", "watts", "joules", "celsius", "hertz", ""]
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
OUTCOMES_DROPPED = Metric(
    "penstock_idempotency_outcomes_dropped_total",
    "counter",
    "",
    _OF_A_POD,
    "Idempotency keys and answers that the pod let go before their time because there were too many.",
)
MODEL_LOAD_SECONDS = Metric(
    "penstock_model_load_seconds",
    "gauge",
    "seconds",
    (*_OF_A_POD, "phase"),
    "How long the last load of the model took, the whole and its parts.",
)
POD_ATTEMPTS = Metric(
    "penstock_pod_attempts_total",
    "counter",
    "",
    (*_OF_A_POD, "code_class", "reason"),
    "Requests that the pod answered; of one request that was tried twice each pod counts its own.",
)
QUEUE_WAIT_SECONDS = Metric(
    "penstock_queue_wait_seconds", "histogram", "seconds", _OF_A_POD, "How long rows waited until their batch was sent."
)
BATCH_ROWS = Metric("penstock_batch_rows", "histogram", "rows", _OF_A_POD, "Rows that ran together.")
STAGE_DURATION_SECONDS = Metric(
    "penstock_stage_duration_seconds",
    "histogram",
    "seconds",
    (*_OF_A_POD, "stage"),
    "How long each stage of a batch took.",
)
POD_COPIES = Metric(
    "penstock_pod_copies_total",
    "counter",
    "",
    (*_OF_A_POD, "shadow", "code_class", "reason"),
    "Copies of requests that the pod answered for a shadow; they are not among its attempts.",
)
COPY_DEVICE_SECONDS = Metric(
    "penstock_copy_device_seconds_total",
    "counter",
    "seconds",
    (*_OF_A_POD, "shadow"),
    "How long the device was held for copies of requests; they are not among any tenant's seconds.",
)
DEVICE_SECONDS = Metric(
    "penstock_device_seconds_total",
    "counter",
    "seconds",
    (*_OF_A_POD, "tenant"),
    "How long the device was held for whom: a batch's time is shared out by its rows' work.",
)
POD_SLO_BURN_RATE = Metric(
    "penstock_pod_slo_burn_rate",
    "gauge",
    "",
    (*_OF_A_POD, "slo", "window"),
    "How many times faster than allowed this pod's answers spend the error budget, since its sidecar started.",
)
SCRAPE_AGE_SECONDS = Metric(
    "penstock_sidecar_scrape_age_seconds",
    "gauge",
    "seconds",
    (),
    "Time since the pod last answered its sidecar; since the sidecar's start while it never has.",
)

SIDECAR_RECORDS = Metric(
    "penstock_sidecar_records_total",
    "counter",
    "",
    ("kind", "fate"),
    "What the sidecar was told, by what became of it: why it was kept, or that it was left out.",
)
SIDECAR_UNDECIDED = Metric(
    "penstock_sidecar_undecided", "gauge", "", (), "Records and spans that wait for what becomes of their trace."
)
SIDECAR_REDACTED = Metric(
    "penstock_sidecar_redacted_total", "counter", "", (), "Attributes and messages of spans that nobody allowed."
)
EXPORT_QUEUE_BYTES = Metric(
    "penstock_export_queue_bytes", "gauge", "bytes", (), "Files of spans, until all of a file are exported."
)
EXPORT_QUEUE_SPANS = Metric(
    "penstock_export_queue_spans", "gauge", "", ("where",), "Spans that wait to be exported, in memory or on disk."
)
EXPORT_DISK_FAILURES = Metric(
    "penstock_export_disk_failures_total",
    "counter",
    "",
    (),
    "How often the disk did not keep spans that wait to be exported; they then wait in memory.",
)
EXPORTED_SPANS = Metric("penstock_exported_spans_total", "counter", "", (), "Spans that the receiver took.")
EXPORTS = Metric(
    "penstock_exports_total", "counter", "", ("outcome",), "Attempts to export, by whether they were taken."
)
TELEMETRY_DROPPED = Metric(
    "penstock_telemetry_dropped_total", "counter", "", ("what", "why"), "What was not counted or not told, and why."
)

# What sampled rows of a pod had; see `telemetry/drift`.
DRIFT_ROWS = Metric(
    "penstock_drift_rows_total",
    "counter",
    "",
    (*_OF_A_POD, "side", "field"),
    "Rows whose input or output was summarised, by part of it.",
)
DRIFT_PSI = Metric(
    "penstock_drift_psi",
    "gauge",
    "",
    (*_OF_A_POD, "side", "field", "measure"),
    "How far the last window has moved from the reference: the population stability index, of the whole version.",
)
DRIFT_LIMIT = Metric(
    "penstock_drift_limit",
    "gauge",
    "",
    (*_OF_A_POD, "side", "field", "measure"),
    "The index above which a window has moved: alert_above, or three times what chance makes.",
)
DRIFTING = Metric(
    "penstock_drifting",
    "gauge",
    "",
    _OF_A_POD,
    "1 while some measure of the version was above its limit in three windows in a row.",
)
OUTPUT_FLAGGED_ROWS = Metric(
    "penstock_output_flagged_rows_total",
    "counter",
    "",
    (*_OF_A_POD, "field", "what"),
    "Summarised rows whose output was odd: nan, infinite, out_of_range, empty, missing or null.",
)
OUTPUT_CONSTANT = Metric(
    "penstock_output_constant",
    "gauge",
    "",
    (*_OF_A_POD, "field"),
    "1 while all of a hundred or more rows of the last window had the same output.",
)
OUTPUT_CLASS_ROWS = Metric(
    "penstock_output_class_rows_total",
    "counter",
    "",
    (*_OF_A_POD, "field", "class"),
    "Summarised rows by the class of their output; classes beyond the first 20 are other.",
)
# Metrics of logs, written by each process that has metrics, of itself; by the supervisor of its workers as well.
LOG_LINES = Metric("penstock_log_lines_total", "counter", "", ("level",), "Lines that were logged.")
LOG_SUPPRESSED = Metric(
    "penstock_log_suppressed_total",
    "counter",
    "",
    (),
    "Lines that were not logged: too many of one event, or nobody read them.",
)

SIDECAR_METRICS = (
    POD_UP,
    POD_STATE,
    QUEUE_ROWS,
    RUNNING_ROWS,
    INFERENCE_RESTARTS,
    OUTCOMES_DROPPED,
    SCRAPE_AGE_SECONDS,
    MODEL_LOAD_SECONDS,
    POD_ATTEMPTS,
    POD_COPIES,
    QUEUE_WAIT_SECONDS,
    BATCH_ROWS,
    STAGE_DURATION_SECONDS,
    DEVICE_SECONDS,
    COPY_DEVICE_SECONDS,
    POD_SLO_BURN_RATE,
    SIDECAR_RECORDS,
    SIDECAR_UNDECIDED,
    SIDECAR_REDACTED,
    EXPORT_QUEUE_BYTES,
    EXPORT_QUEUE_SPANS,
    EXPORT_DISK_FAILURES,
    EXPORTED_SPANS,
    EXPORTS,
    DRIFT_ROWS,
    DRIFT_PSI,
    DRIFT_LIMIT,
    DRIFTING,
    OUTPUT_FLAGGED_ROWS,
    OUTPUT_CONSTANT,
    OUTPUT_CLASS_ROWS,
    TELEMETRY_DROPPED,
    LOG_LINES,
    LOG_SUPPRESSED,
)

# Metrics of the mesh, written by the gateway's supervisor from what its workers counted, and read by Prometheus.
_OF_A_VERSION = ("model", "version")
_OF_AN_OBJECTIVE = ("slo", "model")

REQUESTS = Metric(
    "penstock_requests_total",
    "counter",
    "",
    (*_OF_A_VERSION, "tenant", "code_class", "reason"),
    "Requests that were settled, refusals included.",
)
REQUEST_DURATION_SECONDS = Metric(
    "penstock_request_duration_seconds",
    "histogram",
    "seconds",
    (*_OF_A_VERSION, "code_class"),
    "How long requests took, from their head to the last byte of the answer.",
)
CHARGED_DEVICE_SECONDS = Metric(
    "penstock_charged_device_seconds_total",
    "counter",
    "seconds",
    (*_OF_A_VERSION, "tenant"),
    "How long requests held devices: of each batch's time their rows' share, as pods told it.",
)
CHARGED_BYTES = Metric(
    "penstock_charged_bytes_total",
    "counter",
    "bytes",
    (*_OF_A_VERSION, "tenant"),
    "Bytes of requests' bodies and of their answers'.",
)
CHARGED_TOKENS = Metric(
    "penstock_charged_tokens_total",
    "counter",
    "",
    (*_OF_A_VERSION, "tenant"),
    "Tokens of requests, as the models' handlers counted them.",
)
LIMIT_REFUSED = Metric(
    "penstock_limit_refused_total", "counter", "", ("limit",), "Requests that the limit or quota refused."
)
LIMIT_OBSERVED = Metric(
    "penstock_limit_observed_total",
    "counter",
    "",
    ("limit",),
    "Requests that the limit would have refused if it were not only observed.",
)
SLO_EVENTS = Metric(
    "penstock_slo_events_total",
    "counter",
    "",
    (*_OF_AN_OBJECTIVE, "version", "tier", "outcome"),
    "What requests, loads or late labels meant to an objective: good, bad or ignored.",
)
SLO_BURN_RATE = Metric(
    "penstock_slo_burn_rate",
    "gauge",
    "",
    (*_OF_AN_OBJECTIVE, "window"),
    "How many times faster than allowed the error budget was spent in the window; 0 without events.",
)
SLO_BUDGET_REMAINING = Metric(
    "penstock_slo_error_budget_remaining_ratio",
    "gauge",
    "ratio",
    _OF_AN_OBJECTIVE,
    "Share of the period's error budget that is left; below 0 when more was spent; absent without events.",
)
SLO_ALERT_FIRING = Metric(
    "penstock_slo_alert_firing",
    "gauge",
    "",
    (*_OF_AN_OBJECTIVE, "severity", "alert"),
    "1 while the alert fires, else 0.",
)
ALERTS_SENT = Metric(
    "penstock_alerts_sent_total",
    "counter",
    "",
    ("to", "result"),
    "Alerts that were told to a webhook or an Alertmanager, by what became of it: ok, failed (it is tried again), "
    "refused or dropped.",
)
PODS = Metric(
    "penstock_pods", "gauge", "", (*_OF_A_VERSION, "state"), "Pods in this state, as the supervisor last saw them."
)
GENERATION = Metric("penstock_generation", "gauge", "", (), "The generation of the policy that is in force.")
POLICY_REFUSED = Metric(
    "penstock_policy_refused",
    "gauge",
    "",
    (),
    "1 while the policy files are refused and an earlier generation stays in force, else 0.",
)
POLICY_RELOADS = Metric(
    "penstock_policy_reloads_total",
    "counter",
    "",
    ("outcome",),
    "Changed sets of policy files since the supervisor's start: put in force, refused, or unchanged in what they say.",
)
WORKER_RESTARTS = Metric(
    "penstock_worker_restarts_total",
    "counter",
    "",
    (),
    "Gateway workers that were replaced since the supervisor's start.",
)
WORKER_LOOP_LAG_SECONDS = Metric(
    "penstock_worker_loop_lag_seconds",
    "gauge",
    "seconds",
    ("worker",),
    "By how much a gateway worker's loop was late at worst in the second that it told of last.",
)
REQUESTS_WAITING = Metric(
    "penstock_requests_waiting", "gauge", "", (), "Requests that wait in the gateway for a pod to have room."
)
REQUEST_WAIT_SECONDS = Metric(
    "penstock_request_wait_seconds",
    "histogram",
    "seconds",
    ("model", "tier"),
    "How long requests that found the pods busy waited in the gateway, until a pod had room or they were refused.",
)
RETRIES = Metric(
    "penstock_retries_total",
    "counter",
    "",
    ("outcome",),
    "Requests that a pod failed and policy tries again: sent to another pod, or no_budget.",
)
POD_EJECTIONS = Metric(
    "penstock_pod_ejections_total",
    "counter",
    "",
    ("model",),
    "How often a gateway worker left a pod out because it failed its requests, or the trial after that.",
)
LINKS_OPEN = Metric(
    "penstock_links_open", "gauge", "", ("worker",), "Links that a gateway worker has open to pods, one for each pod."
)
PODS_EJECTED = Metric(
    "penstock_pods_ejected",
    "gauge",
    "",
    ("worker",),
    "Ready pods that a gateway worker sends nothing, or a trial at most, because they failed its requests.",
)
JWKS_STALE = Metric(
    "penstock_jwks_stale_seconds",
    "gauge",
    "seconds",
    ("issuer",),
    "How old an issuer's keys are since they cannot be fetched again; 0 while they can.",
)
LIMIT_ROWS = Metric(
    "penstock_limit_rows",
    "gauge",
    "",
    (),
    "Rows of the limit table that are taken, of 131,072; a start frees those of limits that are no more from half on.",
)
QUOTA_USED_RATIO = Metric(
    "penstock_quota_used_ratio",
    "gauge",
    "ratio",
    ("tenant", "quota"),
    "What is used of a quota in its present window, as a share of its limit; the 1,000 fullest quotas.",
)
QUOTA_LIMIT = Metric(
    "penstock_quota_limit",
    "gauge",
    "",
    ("tenant", "quota", "meter"),
    "A quota's limit with what is granted on top: requests, bytes, tokens, or seconds of device_time.",
)
QUOTA_USED = Metric(
    "penstock_quota_used",
    "gauge",
    "",
    ("tenant", "quota", "meter"),
    "What is used of a quota in its present window: requests, bytes, tokens, or seconds of device_time.",
)
ROLLOUT_SHARE = Metric(
    "penstock_rollout_share_ratio",
    "gauge",
    "ratio",
    _OF_A_VERSION,
    "Share of sticky keys that a model's canary gives to the version now, and what is left to stable.",
)
ROLLOUT_STATE = Metric(
    "penstock_rollout_state",
    "gauge",
    "",
    ("model", "state"),
    "1 for the state that the model's canary is in, else 0: running, waiting, paused, promoted or rolled back.",
)
ROLLOUT_E_VALUE = Metric(
    "penstock_rollout_e_value",
    "gauge",
    "",
    ("model", "claim"),
    "How much speaks for a claim on the model's canary in its step: harm, safe or within_budget; 1 is nothing.",
)

SHADOW_COMPARED = Metric(
    "penstock_shadow_compared_total",
    "counter",
    "",
    ("model", "shadow", "verdict"),
    "Copies whose answers were compared with what callers got: same, or differs.",
)
SHADOW_NOT_COPIED = Metric(
    "penstock_shadow_not_copied_total",
    "counter",
    "",
    ("model", "shadow", "why"),
    "Requests that were sampled for a shadow and are not compared, by why.",
)
LATE_LABELS = Metric(
    "penstock_late_labels_total",
    "counter",
    "",
    ("model", "outcome"),
    "Labels that callers told of earlier answers, by what became of them: right, wrong, or why neither.",
)
RECORDED = Metric(
    "penstock_recorded_requests_total",
    "counter",
    "",
    ("model", "outcome"),
    "Requests that were sampled to be recorded: recorded, or why not.",
)
RECORDED_BYTES = Metric("penstock_recorded_bytes", "gauge", "bytes", ("model",), "What is kept of recorded requests.")
SAMPLES = Metric(
    "penstock_samples_total",
    "counter",
    "",
    ("model", "outcome"),
    "Requests that were to be kept as samples of inputs and outputs: kept, or why not.",
)
SAMPLES_HIDDEN = Metric(
    "penstock_samples_hidden_total",
    "counter",
    "",
    ("model", "rule"),
    "How often something in a sample was hidden, by the rule that found it; too_long: by its length.",
)
SAMPLE_BYTES = Metric(
    "penstock_sample_bytes", "gauge", "bytes", ("model",), "What is kept of samples of inputs and outputs."
)

MESH_METRICS = (
    REQUESTS,
    REQUEST_DURATION_SECONDS,
    CHARGED_DEVICE_SECONDS,
    CHARGED_BYTES,
    CHARGED_TOKENS,
    LIMIT_REFUSED,
    LIMIT_OBSERVED,
    LIMIT_ROWS,
    SLO_EVENTS,
    SLO_BURN_RATE,
    SLO_BUDGET_REMAINING,
    SLO_ALERT_FIRING,
    ALERTS_SENT,
    PODS,
    GENERATION,
    POLICY_REFUSED,
    POLICY_RELOADS,
    WORKER_RESTARTS,
    WORKER_LOOP_LAG_SECONDS,
    REQUESTS_WAITING,
    REQUEST_WAIT_SECONDS,
    RETRIES,
    PODS_EJECTED,
    POD_EJECTIONS,
    LINKS_OPEN,
    SHADOW_COMPARED,
    SHADOW_NOT_COPIED,
    LATE_LABELS,
    RECORDED,
    RECORDED_BYTES,
    SAMPLES,
    SAMPLES_HIDDEN,
    SAMPLE_BYTES,
    JWKS_STALE,
    QUOTA_USED_RATIO,
    QUOTA_LIMIT,
    QUOTA_USED,
    ROLLOUT_SHARE,
    ROLLOUT_STATE,
    ROLLOUT_E_VALUE,
    TELEMETRY_DROPPED,
    LOG_LINES,
    LOG_SUPPRESSED,
)

# Metrics of the hub, written by itself.
HUB_POSTS = Metric("penstock_hub_posts_total", "counter", "", ("status",), "Posts of spans by what was answered.")
HUB_SPANS = Metric(
    "penstock_hub_spans_total", "counter", "", ("fate",), "Spans received: stored, or repeated and here already."
)
HUB_QUEUE = Metric("penstock_hub_queue", "gauge", "", (), "Spans received that wait to be stored.")
HUB_FILES = Metric("penstock_hub_files", "gauge", "", (), "Files of the trace store.")
HUB_FILE_BYTES = Metric("penstock_hub_file_bytes", "gauge", "bytes", (), "Size of the trace store.")
HUB_READINGS_LOST = Metric(
    "penstock_hub_readings_lost_total",
    "counter",
    "",
    (),
    "Readings of the mesh's counters that points.db did not keep: charts have gaps there.",
)

HUB_METRICS = (
    HUB_POSTS,
    HUB_SPANS,
    HUB_QUEUE,
    HUB_FILES,
    HUB_FILE_BYTES,
    HUB_READINGS_LOST,
    TELEMETRY_DROPPED,
    LOG_LINES,
    LOG_SUPPRESSED,
)

# TorchServe's names, written beside ours for dashboards that know them.
TS_REQUESTS = "ts_inference_requests_total"  # model_name, model_version, hostname
TS_LATENCY = "ts_inference_latency_microseconds"  # the same labels
TS_BY_CLASS = {"2xx": "Requests2XX", "4xx": "Requests4XX", "5xx": "Requests5XX"}  # Level, Hostname
