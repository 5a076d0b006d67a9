"""Debian's Alertmanager with our configuration: which alerts are held back, and by which, whoever tells them.

Prometheus tells what our rules find, and the mesh what it finds by itself; both have the same labels.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.prometheus.alertmanager import alertmanager
from gateway.control.alerting.alertmanager import alerts_body
from gateway.control.slo_kept import AlertKey, Notice
from gateway.control.slo_notices import labels_of
from telemetry.slo.alerts import EXHAUSTED_NAME, Tier
from tests.ports import free_port

pytestmark = [pytest.mark.system, pytest.mark.needs_program("prometheus-alertmanager")]

OF_MESH = {"job": "penstock", "mesh": "demo"}
SLO = AlertKey("digits-availability", "digits", "page", "page fast")
PAGE = labels_of("demo", SLO, Tier.FAST, "vision")
TICKET = labels_of("demo", SLO._replace(severity="ticket", name="ticket slow"), Tier.SLOW, "vision")
SPENT = labels_of("demo", SLO._replace(severity="ticket", name=EXHAUSTED_NAME), Tier.EXHAUSTED, "vision")
OF_TEXT = TICKET | {"slo": "text-availability", "model": "text"}
ELSEWHERE = TICKET | {"mesh": "prod"}
NO_POD = OF_MESH | {"model": "digits", "alertname": "PenstockModelWithoutPod", "severity": "page"}
POD_DOWN = OF_MESH | {"model": "digits", "version": "1", "alertname": "PenstockPodDown", "severity": "ticket"}
DOWN = OF_MESH | {"alertname": "PenstockGatewayDown", "severity": "page"}
DROPS = {"job": "penstock-sidecars", "mesh": "demo", "alertname": "PenstockTelemetryDrops", "severity": "ticket"}


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run one, and give its address."""
    (folder / "alertmanager.yaml").write_text(alertmanager())
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + 60.0
        while not _answers(f"http://{address}/-/ready"):
            assert process.poll() is None, (folder / "alertmanager.log").read_text()
            assert time.monotonic() < deadline_s, "Alertmanager is not ready"
            time.sleep(0.1)
        yield f"http://{address}/api/v2/alerts"
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


Labels = list[list[tuple[str, str]]]
"""Of several alerts, in an order that does not depend on who tells them."""


def in_order(alerts: list[dict[str, str]]) -> Labels:
    return sorted(sorted(one.items()) for one in alerts)


def tell(url: str, body: bytes) -> None:
    """Post alerts."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310 - loopback
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - loopback


def asked(url: str) -> list[dict[str, Any]]:
    """Return what it answers to a question."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        found: list[dict[str, Any]] = json.load(answer)
        return found


def active_after(url: str, alerts: list[dict[str, str]], expected: Labels) -> Labels:
    """Tell alerts, and return those that reach somebody, once that has stayed as expected or it is late.

    Alertmanager looks at what is held back a moment after it is told.
    """
    tell(url, json.dumps([{"labels": labels} for labels in alerts]).encode())
    deadline_s, as_expected = time.monotonic() + 60.0, 0
    while True:
        known = asked(url)
        active = in_order([one["labels"] for one in known if one["status"]["state"] == "active"])
        as_expected = as_expected + 1 if active == expected and len(known) == len(alerts) else 0
        if as_expected == 5 or time.monotonic() > deadline_s:
            return active
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("alerts", "reach"),
    [
        ([PAGE, TICKET, SPENT, OF_TEXT, ELSEWHERE], [PAGE, OF_TEXT, ELSEWHERE]),
        ([TICKET, OF_TEXT], [TICKET, OF_TEXT]),
        ([NO_POD, PAGE, POD_DOWN, OF_TEXT], [NO_POD, OF_TEXT]),
        ([DOWN, PAGE, NO_POD, DROPS, ELSEWHERE], [DOWN, DROPS, ELSEWHERE]),
    ],
    ids=["a page of its tickets", "tickets alone", "no pod of its model", "no gateway of all it has"],
)
def test_an_alert_that_says_why_holds_back_what_follows_from_it(
    alerts: list[dict[str, str]], reach: list[dict[str, str]], tmp_path: Path
) -> None:
    expected = in_order(reach)
    with running(tmp_path) as url:
        assert active_after(url, alerts, expected) == expected


def grouped(url: str) -> dict[tuple[str, str], list[tuple[str, bool]]]:
    """Return the tiers of alerts, and whether each is held back, by receiver and what their group has in common."""
    return {
        (group["receiver"]["name"], json.dumps(group["labels"], sort_keys=True)): sorted(
            (one["labels"]["tier"], one["status"]["state"] == "suppressed") for one in group["alerts"]
        )
        for group in asked(f"{url}/groups")
    }


def test_what_prometheus_and_the_mesh_tell_of_one_objective_is_one_alert_or_one_group(tmp_path: Path) -> None:
    """Both tell the page; Prometheus alone a ticket that it holds back, and the mesh alone another one."""
    now_s = time.time()
    by_mesh = [
        Notice(SLO, labels, {"summary": "told by the mesh"}, now_s - 60)  # an Alertmanager is told no key
        for labels in (PAGE, SPENT)
    ]
    common = json.dumps({"mesh": "demo", "model": "digits", "slo": "digits-availability"})
    expected = {("pages", common): [("fast", False)], ("tickets", common): [("exhausted", True), ("slow", True)]}
    with running(tmp_path) as url:
        tell(url, json.dumps([{"labels": labels} for labels in (PAGE, TICKET)]).encode())
        tell(url, alerts_body(by_mesh, now_s))
        deadline_s = time.monotonic() + 60.0
        while grouped(url) != expected and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert grouped(url) == expected
