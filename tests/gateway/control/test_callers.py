"""Who may speak to the management API."""

from __future__ import annotations

import pytest

from gateway.control.callers import REASONS, AdminCaller, Gate
from model_pod.wire.refusals import Refused
from tests.security.hosts import MALFORMED_HOSTS

LOOPBACK = Gate(("127.0.0.1",))
EVERYWHERE = Gate(("0.0.0.0",))
PROVEN = Gate(("10.0.0.1",), ("mesh.example", "*.pool.example"))


def reason(gate: Gate, host: str = "127.0.0.1:8081", path: str = "/admin/pods", **more: str) -> str:
    """Return why the caller is refused, "" when it is admitted."""
    headers = {"host": host} | {name.replace("_", "-"): value for name, value in more.items()}
    try:
        gate.admit(AdminCaller(path, tuple((name, value) for name, value in headers.items() if value)))
    except Refused as refused:
        return REASONS[refused.reason].name
    return ""


@pytest.mark.parametrize("host", ["localhost:8081", "LOCALHOST", "[::1]:8081", "127.1.2.3"])
def test_every_loopback_name_is_known(host: str) -> None:
    assert reason(LOOPBACK, host) == ""


@pytest.mark.parametrize("host", ["evil.example:8081", "evil.example", "10.0.0.1", "127.0.0.1.evil.example", "0.0.0.0"])
def test_a_foreign_host_is_refused(host: str) -> None:
    assert reason(LOOPBACK, host) == "host_not_allowed"


@pytest.mark.parametrize("host", MALFORMED_HOSTS)
def test_a_malformed_host_is_malformed(host: str) -> None:
    assert reason(LOOPBACK, host) == "malformed_http"


def test_a_request_without_a_host_or_with_two_is_malformed() -> None:
    assert reason(LOOPBACK, host="") == "malformed_http"
    with pytest.raises(Refused, match="exactly one Host"):
        LOOPBACK.admit(AdminCaller("/livez", (("host", "localhost"), ("host", "evil.example"))))


def test_bound_to_every_address_any_literal_address_is_ours_and_no_name_is() -> None:
    assert reason(EVERYWHERE, "10.0.0.1:8081") == ""
    assert reason(EVERYWHERE, "evil.example:8081") == "host_not_allowed"


def test_a_web_page_is_refused() -> None:
    assert reason(LOOPBACK, origin="https://evil.example") == "foreign_origin"
    assert reason(LOOPBACK, origin="null", path="/livez") == "foreign_origin"
    assert reason(LOOPBACK, sec_fetch_site="cross-site") == "foreign_origin"
    assert reason(LOOPBACK, sec_fetch_site="none") == ""


@pytest.mark.parametrize("host", ["mesh.example:8081", "MESH.example", "a.pool.example"])
def test_a_name_that_the_certificate_proves_is_ours(host: str) -> None:
    assert reason(PROVEN, host) == ""


@pytest.mark.parametrize("host", ["example", "other.example", "pool.example", "a.b.pool.example", ".pool.example"])
def test_a_name_that_the_certificate_does_not_prove_is_foreign(host: str) -> None:
    assert reason(PROVEN, host) == "host_not_allowed"
