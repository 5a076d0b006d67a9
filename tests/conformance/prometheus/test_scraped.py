"""A real Prometheus, configured as the how-to says, scrapes a true mesh: what was sent is what it counts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.sidecars import TARGETS_FILE
from tests.conformance.prometheus.server import Prometheus, running
from tests.system.digits import known_digits
from tests.system.mesh import MeshUnderTest, demo_store, running_mesh
from tests.system.seen import hub_of

pytestmark = [pytest.mark.system, pytest.mark.needs_program("prometheus"), pytest.mark.timeout(900)]

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "prometheus-and-grafana.md"
REQUESTS = 40
WITHIN_S = 180.0
STILL_S = 4.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("scraped"), demo_store(tmp_path_factory)) as mesh:
        yield mesh


def configuration(mesh: MeshUnderTest) -> str:
    """Return what the how-to says, with the addresses of this mesh."""
    found = re.search(r"```yaml\n(?:[^`]*\n)?(scrape_configs:\n[^`]*)```", HOW_TO.read_text())
    assert found is not None
    hub = hub_of(mesh)
    text, places = re.subn(rf"[^\[\s]*/{TARGETS_FILE}", str(mesh.state / TARGETS_FILE), found[1])
    assert places == 1
    text = text.replace("127.0.0.1:8082", mesh.published().metrics.removeprefix("http://"))
    text = text.replace("127.0.0.1:8090", hub.dashboards.removeprefix("http://")).replace("15s", "1s")
    return f"global: {{scrape_interval: 1s}}\n{text}"


def value(server: Prometheus, expression: str) -> float:
    result = server.ask("/api/v1/query", query=expression)["result"]
    return float(result[0]["value"][1]) if result else 0.0


def becomes(server: Prometheus, expression: str, wanted: float) -> None:
    until_s = time.monotonic() + WITHIN_S
    while (found := value(server, expression)) != wanted:
        assert time.monotonic() < until_s, f"{expression} is {found}, not {wanted}"
        time.sleep(0.5)


def once_still(server: Prometheus, expression: str) -> float:
    """Return a value once it has stayed for a while: workers tell of what they counted, and are read, every second."""
    found, since_s = value(server, expression), time.monotonic()
    while time.monotonic() < since_s + STILL_S:
        time.sleep(0.5)
        if (now := value(server, expression)) != found:
            found, since_s = now, time.monotonic()
    return found


def test_what_was_sent_is_what_prometheus_counts_at_the_gateway_and_at_every_sidecar(
    mesh: MeshUnderTest, tmp_path: Path
) -> None:
    digit = known_digits(mesh)[0]
    with running(tmp_path, configuration(mesh)) as server:
        becomes(server, 'count(up{job=~"penstock.*"} == 1)', 4)  # gateway, two sidecars, hub
        before = once_still(server, 'sum(penstock_requests_total{model="digits"})')
        for _ in range(REQUESTS):
            answer = mesh.api.post("/predictions/digits", content=digit.body)
            assert answer.status_code == 200
        becomes(server, 'sum(penstock_requests_total{model="digits"})', before + REQUESTS)
        becomes(server, 'sum(penstock_request_duration_seconds_count{model="digits"})', before + REQUESTS)
        # Each request is one record at the gateway's sidecar and one at the pod's, whatever became of them there.
        for sidecar, kind in (("gateway", "gateway_requests"), ("digits/1/0", "pod_requests")):
            told = f'{{penstock_sidecar="{sidecar}",kind="{kind}"}}'
            becomes(server, f"sum(penstock_sidecar_records_total{told})", before + REQUESTS)
        # What they exported is what the hub has.
        becomes(
            server,
            "sum(penstock_exported_spans_total) - sum(penstock_hub_spans_total)"
            ' + 0 * sum(penstock_export_queue_spans{where="disk"})',
            0.0,
        )
