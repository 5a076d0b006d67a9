"""What readers of metrics get over HTTP, and who is no reader."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily

from gateway.control.metrics_server import make_metrics_app

OPENMETRICS = "application/openmetrics-text"
# What Prometheus 3 sends.
PROMETHEUS = f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,*/*;q=0.1"


def ask(path: str = "/metrics", method: str = "GET", bound: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """Ask the application as a program does; underscores in names of fields stand for hyphens."""
    app = make_metrics_app(lambda: [GaugeMetricFamily("up", "Up.", value=1)], (bound,))
    fields = {name.replace("_", "-"): text for name, text in headers.items()}

    async def exchange() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8082") as client:
            return await client.request(method, path, headers=fields)

    return asyncio.run(exchange())


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("*/*", "text/plain; version=0.0.4"), (PROMETHEUS, OPENMETRICS), (f"text/html, {OPENMETRICS}", OPENMETRICS)],
)
def test_the_reader_s_accept_chooses_the_format(accept: str, content_type: str) -> None:
    answer = ask(accept=accept)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"].startswith(content_type)
    assert answer.text.endswith("# EOF\n") == (content_type == OPENMETRICS)
    assert "up 1.0" in answer.text


def test_it_says_that_it_lives() -> None:
    assert ask("/livez").status_code == 200


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 404),
        ("/metrics", "POST", {}, 405),
        ("/metrics", "GET", {"host": "evil.example"}, 403),
        ("/metrics", "GET", {"origin": "https://evil.example"}, 403),
        ("/metrics", "GET", {"sec_fetch_site": "cross-site"}, 403),
    ],
)
def test_what_is_no_reader_of_metrics_is_refused(path: str, method: str, headers: dict[str, str], status: int) -> None:
    assert ask(path, method, **headers).status_code == status


def test_off_loopback_readers_use_the_name_that_their_network_has_for_us() -> None:
    assert ask(bound="0.0.0.0", host="gateway:8082").status_code == 200
    assert ask(bound="0.0.0.0", host="gateway:8082", origin="https://evil.example").status_code == 403
