"""Who may speak to the management API."""

from __future__ import annotations

import pytest

from gateway.control.callers import REASONS, AdminCaller, Gate, token_digest
from model_pod.wire.refusals import Refused

TOKEN = "t" * 43
LOOPBACK = Gate(token_digest(TOKEN), ("127.0.0.1",))
EVERYWHERE = Gate(token_digest(TOKEN), ("0.0.0.0",))


def reason(gate: Gate, host: str = "127.0.0.1:8081", path: str = "/admin/pods", **more: str) -> str:
    """Return why the caller is refused, "" when it is admitted."""
    headers = {"host": host, "authorization": f"Bearer {TOKEN}"} | {
        name.replace("_", "-"): value for name, value in more.items()
    }
    try:
        gate.admit(AdminCaller(path, tuple((name, value) for name, value in headers.items() if value)))
    except Refused as refused:
        return REASONS[refused.reason].name
    return ""


def test_a_program_with_the_token_is_admitted() -> None:
    assert reason(LOOPBACK) == ""
    assert reason(LOOPBACK, authorization=f"bearer  {TOKEN} ") == ""


@pytest.mark.parametrize("host", ["localhost:8081", "LOCALHOST", "[::1]:8081", "127.1.2.3"])
def test_every_loopback_name_is_known(host: str) -> None:
    assert reason(LOOPBACK, host) == ""


@pytest.mark.parametrize("host", ["evil.example:8081", "evil.example", "10.0.0.1", "127.0.0.1.evil.example", "0.0.0.0"])
def test_a_foreign_host_is_refused_even_with_the_token(host: str) -> None:
    assert reason(LOOPBACK, host) == "host_not_allowed"


@pytest.mark.parametrize("host", ["x/health?", "x#", "x@y:z", "127.0.0.1:99999", "127.0.0.1:", "x:8 1", "[::1]:x"])
def test_a_malformed_host_never_passes(host: str) -> None:
    assert reason(LOOPBACK, host) in ("malformed_http", "host_not_allowed")


def test_a_request_without_a_host_or_with_two_is_malformed() -> None:
    assert reason(LOOPBACK, host="") == "malformed_http"
    with pytest.raises(Refused, match="exactly one Host"):
        LOOPBACK.admit(AdminCaller("/livez", (("host", "localhost"), ("host", "evil.example"))))


def test_bound_to_every_address_any_literal_address_is_ours_and_no_name_is() -> None:
    assert reason(EVERYWHERE, "10.0.0.1:8081") == ""
    assert reason(EVERYWHERE, "evil.example:8081") == "host_not_allowed"


def test_a_web_page_is_refused_even_with_the_token() -> None:
    assert reason(LOOPBACK, origin="https://evil.example") == "foreign_origin"
    assert reason(LOOPBACK, origin="null", path="/livez") == "foreign_origin"
    assert reason(LOOPBACK, sec_fetch_site="cross-site") == "foreign_origin"
    assert reason(LOOPBACK, sec_fetch_site="none") == ""


@pytest.mark.parametrize(
    "path", ["/admin/pods", "/openapi.json", "/nope", "/livez/", "//livez", "/livez/../admin/pods"]
)
def test_only_livez_needs_no_token(path: str) -> None:
    assert reason(LOOPBACK, path=path, authorization="") == "key_missing"
    assert reason(LOOPBACK, path="/livez", authorization="") == ""


@pytest.mark.parametrize("given", ["Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer", "Bearer \xe9"])
def test_anything_but_the_token_is_refused(given: str) -> None:
    assert reason(LOOPBACK, authorization=given) == "key_unknown"
