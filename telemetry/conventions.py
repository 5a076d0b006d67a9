"""Every span, attribute, metric and telemetry header by name, once: who writes it and who reads it."""

from __future__ import annotations

# Headers, lower case as we write them.
REQUEST_ID = "x-request-id"  # gateway -> client and pod
TRACEPARENT = "traceparent"  # W3C Trace Context: client -> gateway -> pod
TRACERESPONSE = "traceresponse"  # W3C Trace Context level 2: gateway -> client
DECISION = "penstock-decision"  # gateway -> client: what was decided and why (structured field)
USAGE = "penstock-usage"  # pod -> gateway -> client: device_us, batch, queue_us
SERVER_TIMING = "server-timing"  # pod and gateway -> client: milliseconds of each part
TIMEOUT_MS = "penstock-timeout-ms"  # client -> gateway -> pod: milliseconds that are left
