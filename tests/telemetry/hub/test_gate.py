"""Who may see the hub: pure, by what the request says of itself."""

from __future__ import annotations

import pytest

from telemetry.hub.gate import COOKIE, LIVE_PATH, LOGIN_PATH, Caller, Gate, Refused, is_loopback

LOOPBACK = Gate("127.0.0.1")
GUARDED = Gate("0.0.0.0", "a-token-of-some-length")
HOST = ("host", "127.0.0.1:8090")


def call(*headers: tuple[str, str], method: str = "GET", path: str = "/") -> Caller:
    return Caller(method, path, headers)


def status_of(gate: Gate, caller: Caller) -> int:
    try:
        gate.admit(caller)
    except Refused as refused:
        return refused.status
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", "127.0.0.1", "LOCALHOST"])
def test_names_that_are_surely_this_machines_are_let_in(host: str) -> None:
    assert status_of(LOOPBACK, call(("host", host))) == 200


@pytest.mark.parametrize("host", ["evil.example:8090", "10.0.0.1", "", "127.0.0.1@evil.example", "127.0.0.1:x", "::1"])
def test_a_name_that_somebody_else_may_have_given_to_this_address_is_refused(host: str) -> None:
    assert status_of(LOOPBACK, call(("host", host))) == 403


def test_a_request_names_one_host() -> None:
    assert status_of(LOOPBACK, call()) == 400
    assert status_of(LOOPBACK, call(HOST, HOST)) == 400


def test_foreign_pages_are_refused_and_links_from_them_may_be_followed() -> None:
    foreign = ("sec-fetch-site", "cross-site")
    assert status_of(LOOPBACK, call(HOST, foreign)) == 403
    assert status_of(LOOPBACK, call(HOST, ("sec-fetch-site", "same-site"))) == 403
    assert status_of(LOOPBACK, call(HOST, foreign, ("sec-fetch-mode", "navigate"))) == 200
    assert status_of(LOOPBACK, call(HOST, foreign, ("sec-fetch-mode", "navigate"), method="POST")) == 403
    assert status_of(LOOPBACK, call(HOST, ("sec-fetch-site", "same-origin"))) == 200


def test_an_origin_must_be_our_own() -> None:
    assert status_of(LOOPBACK, call(HOST, ("origin", "http://127.0.0.1:8090"), method="POST")) == 200
    assert status_of(LOOPBACK, call(HOST, ("origin", "http://127.0.0.1:9999"), method="POST")) == 403
    assert status_of(LOOPBACK, call(HOST, ("origin", "null"), method="POST")) == 403


def test_off_loopback_the_token_is_asked_for_whatever_the_name() -> None:
    named = ("host", "hub.example:8090")
    assert status_of(GUARDED, call(named)) == 401
    assert status_of(GUARDED, call(named, ("authorization", "Bearer another-token"))) == 401
    assert status_of(GUARDED, call(named, ("authorization", "Basic a-token-of-some-length"))) == 401
    assert status_of(GUARDED, call(named, ("authorization", "bearer a-token-of-some-length"))) == 200


def test_who_logged_in_is_known_by_the_cookie_and_the_cookie_is_not_the_token() -> None:
    named = ("host", "hub.example")
    assert GUARDED.token not in GUARDED.cookie()
    assert status_of(GUARDED, call(named, ("cookie", f"other=1; {COOKIE}={GUARDED.cookie()}"))) == 200
    assert status_of(GUARDED, call(named, ("cookie", f"{COOKIE}=wrong"))) == 401
    assert status_of(GUARDED, call(named, ("cookie", "\x00;=;"))) == 401
    assert status_of(GUARDED, call(named, ("cookie", f"{COOKIE}={Gate('0.0.0.0', 'another').cookie()}"))) == 401


def test_the_form_and_the_probe_need_no_token() -> None:
    named = ("host", "hub.example")
    assert status_of(GUARDED, call(named, path=LOGIN_PATH)) == 200
    assert status_of(GUARDED, call(named, path=LIVE_PATH)) == 200
    assert status_of(GUARDED, call(named, path=f"{LOGIN_PATH}/x")) == 401


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [host for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "") if is_loopback(host)] == []
