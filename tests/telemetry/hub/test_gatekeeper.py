"""Logging in off loopback, step by step: what is let in, and every refusal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from telemetry.hub.door import Door
from telemetry.hub.gate import COOKIE, Gate
from telemetry.hub.gatekeeper import MARK, Gatekeeper
from telemetry.hub.guesses import OF_A_SOURCE, PERIOD_S
from telemetry.hub.sessions import LASTS_S, LINK_LASTS_S

TOKEN = "a-token-of-some-length"
URL = "http://hub.example:8090"
PAGE = {"accept": "text/html"}
ELSEWHERE = {**PAGE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """What is behind the door."""
    await PlainTextResponse(f"inside {scope['path']}")(scope, receive, send)


class Hub:
    """A hub off loopback, and a clock that stands still unless it is told otherwise."""

    def __init__(self, token: str = TOKEN, host: str = "0.0.0.0") -> None:
        self.now_s = 1000.0
        self.door = Door(Gate(host, token), lambda: self.now_s)
        self.refused: list[int] = []

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
        address: str = "10.0.0.9",
    ) -> httpx.Response:
        async def asked() -> httpx.Response:
            app = Gatekeeper(inside, self.door, self.refused.append)
            transport = httpx.ASGITransport(app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
                return await client.request(method, path, headers=headers, content=body)

        return asyncio.run(asked())

    def log_in(self, token: str = TOKEN, place: str = "/", **more: str) -> httpx.Response:
        body = str(httpx.QueryParams({"token": token, "next": place})).encode()
        return self.ask("/login", {"origin": URL, **PAGE, **more}, method="POST", body=body)


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={answer.cookies[COOKIE]}"}


@pytest.fixture
def hub() -> Hub:
    return Hub()


def test_refusals_are_told_and_what_passes_is_the_application_s_to_tell(hub: Hub) -> None:
    hub.ask("/v1/traces", {"authorization": "Bearer wrong"}, method="POST")
    hub.ask("/v1/traces", {"authorization": f"Bearer {TOKEN}"}, method="POST")
    assert hub.refused == [401]


def test_whoever_shows_nothing_is_sent_to_the_form_and_programs_are_told(hub: Hub) -> None:
    page = hub.ask("/traces/a%2Fb?x=1", PAGE)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Ftraces%2Fa%252Fb%3Fx%3D1")
    program = hub.ask("/api/traces")
    assert (program.status_code, program.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in program.text + page.text
    assert hub.ask("/livez").text == "inside /livez"


@pytest.mark.parametrize("shown", ["Bearer wrong", "Basic a-token-of-some-length", "Bearer", f"Bearer {TOKEN}x", ""])
def test_a_wrong_credential_is_refused(hub: Hub, shown: str) -> None:
    assert hub.ask("/api/traces", {"authorization": shown}).status_code == 401


def test_a_program_shows_the_token(hub: Hub) -> None:
    assert hub.ask("/api/traces", {"authorization": f"bearer {TOKEN}"}).text == "inside /api/traces"


def test_logging_in_leads_to_where_one_wanted_to_go_with_a_cookie_that_scripts_cannot_read(hub: Hub) -> None:
    welcome = hub.log_in(place="/traces?model=digits")
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/traces?model=digits")
    session, mark = welcome.headers.get_list("set-cookie")
    assert re.search("HttpOnly.*SameSite=strict", session)
    assert "Secure" not in session
    assert f"Max-Age={LASTS_S:.0f}" in session
    assert (TOKEN in session, mark.startswith(f"{MARK}=1;")) == (False, True)
    assert hub.ask("/", cookie_of(welcome)).text == "inside /"


@pytest.mark.parametrize("headers", [{"origin": URL.replace("http", "https")}, {"x-forwarded-proto": "https"}])
def test_behind_tls_the_cookie_keeps_to_it(hub: Hub, headers: dict[str, str]) -> None:
    for cookie in hub.log_in(**headers).headers.get_list("set-cookie"):
        assert "Secure" in cookie


def test_each_login_is_a_session_of_its_own(hub: Hub) -> None:
    one, other = hub.log_in(), hub.log_in()
    assert cookie_of(one) != cookie_of(other)
    gone = hub.ask("/logout", {**cookie_of(one), "origin": URL}, method="POST")
    assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    assert all("Max-Age=0" in cookie for cookie in gone.headers.get_list("set-cookie"))
    assert hub.ask("/api/traces", cookie_of(one)).status_code == 401
    assert hub.ask("/api/traces", cookie_of(other)).status_code == 200


def test_a_session_ends_by_itself(hub: Hub) -> None:
    welcome = hub.log_in()
    hub.now_s += LASTS_S
    assert hub.ask("/api/traces", cookie_of(welcome)).status_code == 401


def test_logging_out_is_no_link_and_nothing_that_a_foreign_page_does(hub: Hub) -> None:
    welcome = hub.log_in()
    assert hub.ask("/logout", cookie_of(welcome)).status_code == 405
    foreign = {**cookie_of(welcome), "origin": "https://evil.example"}
    assert hub.ask("/logout", foreign, method="POST").status_code == 403
    assert hub.ask("/", cookie_of(welcome)).status_code == 200


def test_the_link_of_the_start_logs_in_once(hub: Hub) -> None:
    link = f"/login?code={hub.door.code}"
    welcome = hub.ask(link, PAGE)
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
    assert welcome.headers["referrer-policy"] == "same-origin"
    assert hub.ask("/", cookie_of(welcome)).status_code == 200
    again = hub.ask(link, PAGE)
    assert (again.status_code, COOKIE in again.cookies) == (401, False)
    assert "used before, or is too old" in again.text


def test_the_link_is_soon_too_old_and_another_code_is_none(hub: Hub) -> None:
    assert hub.ask("/login?code=another", PAGE).status_code == 401
    assert hub.ask(f"/login?code={hub.door.code}", method="HEAD").status_code == 200  # which uses nothing up
    hub.now_s += LINK_LASTS_S
    assert hub.ask(f"/login?code={hub.door.code}", PAGE).status_code == 401
    assert hub.door.code != TOKEN


@pytest.mark.parametrize("body", [b"", b"token=", b"\xff", b"token=" + b"x" * 10_000, b"next=/"])
def test_a_form_without_the_token_is_refused(hub: Hub, body: bytes) -> None:
    answer = hub.ask("/login", {"origin": URL}, method="POST", body=body)
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


def test_a_form_of_a_foreign_page_is_refused(hub: Hub) -> None:
    assert hub.log_in(origin="https://evil.example").status_code == 403
    assert hub.log_in(**{"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 403


def test_one_never_comes_to_a_foreign_page(hub: Hub) -> None:
    for place in ("//evil.example", "https://evil.example", "/\\evil.example"):
        assert hub.log_in(place=place).headers["location"] == "/"
    form = hub.ask('/login?next=/"><script>', PAGE)
    assert "<script>" not in form.text


def test_guessing_is_slowed_down_and_then_not_even_the_token_is_looked_at(hub: Hub) -> None:
    welcome = hub.log_in()
    for _ in range(OF_A_SOURCE):
        assert hub.log_in("wrong").status_code == 401
    slowed = hub.log_in()
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "60")
    assert hub.ask("/api/traces", {"authorization": f"Bearer {TOKEN}"}).status_code == 429
    assert hub.ask(f"/login?code={hub.door.code}").status_code == 429
    assert hub.ask("/api/traces", cookie_of(welcome)).status_code == 200  # who is in stays in
    assert hub.ask("/api/traces", {"authorization": f"Bearer {TOKEN}"}, address="10.0.0.10").status_code == 200
    hub.now_s += PERIOD_S
    assert hub.log_in().status_code == 303


def test_a_program_with_an_old_token_keeps_no_other_from_sending_spans() -> None:
    hub = Hub()
    hub.door = Door(Gate("0.0.0.0", TOKEN), lambda: hub.now_s, slows_guesses=False)
    for _ in range(2 * OF_A_SOURCE):
        assert hub.ask("/v1/traces", {"authorization": "Bearer an-old-token"}, method="POST").status_code == 401
    assert hub.ask("/v1/traces", {"authorization": f"Bearer {TOKEN}"}, method="POST").status_code == 200


def test_a_link_from_elsewhere_arrives_although_the_cookie_is_strict(hub: Hub) -> None:
    """The browser keeps the cookie back from what a foreign page leads to, and shows it for what we lead to."""
    welcome = hub.log_in()
    arrived = hub.ask("/traces/abc", ELSEWHERE)
    assert arrived.status_code == 200
    assert 'content="0;url=/login?next=%2Ftraces%2Fabc"' in arrived.text
    onward = hub.ask("/login?next=%2Ftraces%2Fabc", {**PAGE, **cookie_of(welcome)})
    assert (onward.status_code, onward.headers["location"]) == (303, "/traces/abc")


def test_who_is_in_already_finds_the_way_out_at_the_form(hub: Hub) -> None:
    assert 'action="/logout"' in hub.ask("/login", {**PAGE, **cookie_of(hub.log_in())}).text


def test_without_a_token_there_is_nothing_to_log_in_to() -> None:
    hub = Hub("", "127.0.0.1")
    headers = {"host": "127.0.0.1:8090"}
    assert hub.ask("/login", headers).text == "inside /login"
    assert hub.ask("/logout", headers, method="POST").text == "inside /logout"


def test_what_the_form_may_do_is_little(hub: Hub) -> None:
    policy = hub.ask("/login", PAGE).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
