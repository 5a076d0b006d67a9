"""Who may see the hub: pure, by what the request says of itself."""

from __future__ import annotations

import pytest

from telemetry.hub.gate import COOKIE, LIVE_PATH, LOGIN_PATH, Caller, Gate, Refused, is_loopback, place_after_login

LOOPBACK = Gate("127.0.0.1")
GUARDED = Gate("0.0.0.0", "a-token-of-some-length")
HOST = ("host", "127.0.0.1:8090")


def call(*headers: tuple[str, str], method: str = "GET", path: str = "/") -> Caller:
    return Caller(method, path, headers)


def status_of(gate: Gate, caller: Caller) -> int:
    try:
        gate.check_place(caller)
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


def test_a_token_is_asked_for_everywhere_but_at_the_form_its_style_and_the_probe() -> None:
    asked = ("/", "/api/traces", "/metrics", "/logout", "/static/main.js", "/static/penstock.css/x", "/login/x")
    assert [path for path in asked if GUARDED.is_open_to(call(HOST, path=path))] == []
    free = (LOGIN_PATH, LIVE_PATH, "/static/penstock.css")
    assert [path for path in free if not GUARDED.is_open_to(call(HOST, path=path))] == []
    assert LOOPBACK.is_open_to(call(HOST))


def test_no_token_is_never_the_token() -> None:
    assert GUARDED.knows("a-token-of-some-length")
    assert not GUARDED.knows("")
    assert not LOOPBACK.knows("")


def test_what_a_caller_shows_is_read_out_of_its_headers() -> None:
    shown = call(HOST, ("authorization", "bearer  a "), ("authorization", "Basic b"), ("cookie", f"x=1; {COOKIE}=c"))
    assert (shown.bearers, shown.cookies) == (["a"], ["c"])
    assert call(HOST, ("cookie", "\x00;=;")).cookies == []


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("/traces/a?x=1&y=%2F", "/traces/a?x=1&y=%2F"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/a b", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("/login?next=/", "/"),
        ("/logout", "/"),
        ("", "/"),
        ("/" + "a" * 2000, "/"),
    ],
)
def test_after_logging_in_one_comes_to_a_path_of_ours(asked: str, place: str) -> None:
    assert place_after_login(asked) == place


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [host for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "") if is_loopback(host)] == []
