"""The pages of canaries and shadows in a real browser: clean, live, moved through by keys, and copied from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetry.hub import assets
from tests.browser.browser import PROGRAM, Browser, Theme, Window
from tests.browser.served import served
from tests.fakes.hub import ScriptedSource, mesh, requests, trace_id_of
from tests.fakes.releases import new_shadow, rolled_back, rollout, shadow, told, unknown

pytestmark = [
    pytest.mark.needs_program(PROGRAM),
    pytest.mark.skipif(not assets.are_installed(), reason="no charts (python -m telemetry.hub.assets)"),
]

PAGES = {
    "/rollouts": "Needs about 220 more bad keys",
    "/rollouts/digits": "shadow digits-2-dark the same",
    "/rollouts/text": "ended here",
    "/shadows": "not enough data",
    "/shadows/digits/digits-2-dark": "Jensen-Shannon",
    "/shadows/digits/digits-3-dark": "No late label has come",
    "/models/digits": "canary of version 2",
}


@pytest.fixture
def source() -> ScriptedSource:
    made = ScriptedSource(mesh(), requests(12))
    made.releases = {
        "rollouts": told("rollouts", rollout(), rolled_back()),
        "shadows": told("shadows", shadow(), new_shadow()),
    }
    return made


@pytest.fixture
def url(source: ScriptedSource) -> Iterator[str]:
    with served(source) as serving:
        yield serving


def check_clean(window: Window) -> None:
    """Check that the browser had nothing to say against what it was shown."""
    assert (window.complaints, window.strangers, window.refused) == ([], [], [])


@pytest.mark.parametrize(("theme", "width_px"), [("light", 1280), ("dark", 420)])
def test_every_page_of_releases_opens_and_fits(browser: Browser, url: str, theme: Theme, width_px: int) -> None:
    with browser(theme, width_px) as window:
        for path, words in PAGES.items():
            window.open(f"{url}{path}")
            assert words in window.text(), path
            assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        check_clean(window)


def test_without_a_script_they_are_whole_but_for_buttons(browser: Browser, url: str) -> None:
    with browser(scripts=False) as window:
        for path, words in PAGES.items():
            window.page.goto(f"{url}{path}")
            assert words in window.text(), path
            assert window.page.locator(".needs-script:visible").count() == 0
        window.page.goto(f"{url}/rollouts/digits")
        assert window.page.locator(".evidence polyline").count() == 2
        check_clean(window)


def test_the_curve_of_harm_crosses_the_line_that_proves_it(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/rollouts/text")
        curve = window.page.locator(".curve-harm").bounding_box()
        line = window.page.locator(".proof-harm").bounding_box()
        assert curve is not None
        assert line is not None
        assert curve["y"] < line["y"] < curve["y"] + curve["height"]
        assert window.page.locator(".column").count() == 31
        check_clean(window)


def test_keys_lead_to_a_rollout_and_to_a_trace(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/")
        window.press("g", "r")
        window.page.wait_for_url("**/rollouts")
        window.press("j", "Enter")
        window.page.wait_for_url("**/rollouts/digits")
        window.page.click(f"a[href='/traces/{trace_id_of(2)}']")
        window.page.wait_for_selector("#fall-title")
        window.open(f"{url}/")
        window.press("g", "h")
        window.page.wait_for_url("**/shadows")
        window.press("j", "Enter")
        window.page.wait_for_url("**/shadows/digits/digits-2-dark")
        check_clean(window)


def test_a_rollout_that_changes_is_seen_to_change(browser: Browser, url: str, source: ScriptedSource) -> None:
    with browser() as window:
        window.open(f"{url}/rollouts/digits")
        source.releases["rollouts"] = told("rollouts", rollout(state="paused", because="by hand: looking at it"))
        window.page.wait_for_selector("h1 .pill:has-text('paused')")
        assert "penstock rollout resume digits" in window.text()
        source.releases["rollouts"]["error"] = "The gateway does not answer. What is shown is 4 s old."
        window.page.wait_for_selector("main .banner")
        assert "paused" in window.text()
        source.releases["rollouts"] = unknown("The gateway does not answer.")
        window.open(f"{url}/rollouts")
        assert "Nothing is known" in window.text()


def test_a_command_is_copied_as_it_is_typed(browser: Browser, url: str) -> None:
    with browser() as window:
        window.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        window.open(f"{url}/rollouts/digits")
        window.page.click(".commands li:nth-child(4) button")
        window.page.wait_for_selector("button:has-text('Copied')")
        copied = window.page.evaluate("navigator.clipboard.readText()")
        assert copied == "penstock rollout rollback digits --reason 'WHY'"
        check_clean(window)
