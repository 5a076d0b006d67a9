"""Links: where an alert leads people: to a runbook, the objective's page, traces of what was bad, or one of them."""

from __future__ import annotations

from policies.snapshot.mesh import Mesh
from policies.snapshot.slos import Objective
from telemetry.slo.alerts import Tier

RUNBOOKS = "docs/runbooks"
# All of a machine's addresses, none of which is known.
_ANY_HOST = frozenset({"0.0.0.0", "::", ""})


def pages_of(mesh: Mesh) -> str:
    """Return the address of a mesh's pages as people reach it; "" where it has none that can be foretold."""
    if mesh.alerts.dashboards:
        return mesh.alerts.dashboards
    address = next((one.address for one in mesh.listen if one.serves == "dashboards"), "")
    host, _, port = address.rpartition(":")
    return "" if host.strip("[]") in _ANY_HOST or port == "0" else f"http://{address}"


def runbook(base: str, severity: str, tier: Tier) -> str:
    """Return the page that says what to do, below where policy says that runbooks are; "" for those of this project."""
    match tier:
        case Tier.LIKELY:
            page = "breach-likely"
        case Tier.EXHAUSTED:
            page = "budget-exhausted"
        case _:
            page = f"slo-{severity}-{tier.value}"
    return f"{base or RUNBOOKS}/{page}.md"


def slo_page(pages: str, slo: str, model: str) -> str:
    """Return the page of an objective of a model."""
    return f"{pages}/slos/{slo}?model={model}"


def traces_page(pages: str, objective: Objective, model: str) -> str:
    """Return the list of traces of what may have been bad; "" where bad events leave none."""
    if objective.events != "requests":
        return ""
    if objective.within_s is not None:
        return f"{pages}/traces?model={model}&min_ms={objective.within_s * 1000:g}"
    return failed_page(pages, model)


def failed_page(pages: str, model: str) -> str:
    """Return the list of traces of a model's requests that failed, however long they took."""
    return f"{pages}/traces?model={model}&status=error"


def trace_page(pages: str, trace_id: str) -> str:
    """Return the page of one trace."""
    return f"{pages}/traces/{trace_id}"
