"""Names of what our rules record, once: rules, texts of alerts and dashboards read them here."""

from __future__ import annotations

from typing import Final

# What tells one mesh from another where one Prometheus reads several, and one objective from another.
KEPT: Final = "cluster, namespace, job, slo, model"

BAD_STEP: Final = "slo_model:penstock_slo_bad:delta"
EVENTS_STEP: Final = "slo_model:penstock_slo_events:delta"
BAD: Final = "slo_model:penstock_slo_bad:sum"
EVENTS: Final = "slo_model:penstock_slo_events:sum"
BURN: Final = "slo_model:penstock_slo_burn_rate:ratio"
LN_CHANCE: Final = "slo_model:penstock_slo_chance:ln"
TARGET: Final = "slo_model:penstock_slo_target:ratio"
GOOD: Final = "slo_model:penstock_slo_good:ratio"
REMAINING: Final = "slo_model:penstock_slo_budget_remaining:ratio"
LEFT: Final = "slo_model:penstock_slo_budget_left:events"
EXHAUSTION: Final = "slo_model:penstock_slo_exhaustion:seconds"
