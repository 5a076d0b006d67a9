"""The hub's door in a real browser: the form, the session, the way out, and links that others follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.browser import PROGRAM, Browser, Theme
from tests.browser.served import served
from tests.fakes.hub import ScriptedSource, mesh, requests

pytestmark = [pytest.mark.needs_program(PROGRAM)]

TOKEN = "a-token-of-some-length"


@pytest.fixture
def url() -> Iterator[str]:
    with served(ScriptedSource(mesh(), requests(6)), TOKEN) as serving:
        yield serving


@pytest.mark.parametrize(("theme", "width_px"), [("light", 1280), ("dark", 400)])
def test_one_logs_in_comes_where_one_wanted_and_logs_out(
    browser: Browser, url: str, theme: Theme, width_px: int
) -> None:
    with browser(theme, width_px) as window:
        page = window.page
        page.goto(f"{url}/traces?model=digits")
        assert "/login?next=" in page.url
        page.fill("[name=token]", "wrong")
        page.press("[name=token]", "Enter")
        page.wait_for_selector("text=This is not the token.")
        page.fill("[name=token]", TOKEN)
        page.click("text=Log in")
        page.wait_for_url("**/traces?model=digits")
        assert page.evaluate("document.cookie").split("=")[0] == "penstock-hub-session"  # and not the session's own
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.click("text=Log out")
        page.wait_for_url("**/login")
        page.goto(f"{url}/")
        assert "/login" in page.url
        (complaint,) = window.complaints
        assert "401" in complaint  # of the wrong token
        assert window.strangers == []


def test_without_a_token_nobody_is_asked_to_log_out(browser: Browser) -> None:
    with served(ScriptedSource(mesh())) as url, browser() as window:
        window.open(f"{url}/")
        assert window.page.locator(".needs-login:visible").count() == 0


def test_a_session_that_is_over_leads_to_the_form_and_back(browser: Browser, url: str) -> None:
    with browser() as window:
        page = window.page
        page.goto(f"{url}/")
        page.fill("[name=token]", TOKEN)
        page.click("text=Log in")
        page.wait_for_selector("main#main")
        page.context.clear_cookies()
        page.wait_for_url("**/login?next=%2F")  # by itself: the page looks again every few seconds
