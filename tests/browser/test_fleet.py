"""The pages of drift, of the machine and of telemetry in a real browser: clean, live, moved through by keys.

With ``PENSTOCK_SCREENSHOTS=1`` the picture of drift is taken anew, of made-up numbers: a reference takes hours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import get_args

import pytest

from telemetry.hub import assets
from tests.browser.browser import PROGRAM, Browser, Theme, Window
from tests.browser.pictures import PICTURE_BYTES, picture
from tests.browser.served import served
from tests.fakes.fleet import behind, device, health, machine, past, spans, telemetry
from tests.fakes.hub import ScriptedSource, mesh

pytestmark = [
    pytest.mark.needs_program(PROGRAM),
    pytest.mark.skipif(not assets.are_installed(), reason="no charts (python -m telemetry.hub.assets)"),
]

PAGES = {
    "/drift": "above the limit in 3 windows in a row",
    "/drift?state=moved": "text/3",
    "/drift/digits": "value of input /age",
    "/drift/text": "No row of this version was summarised yet",
    "/machine": "it is at its power limit",
    "/machine?price=2.5&model=digits": "Idle cost",
    "/machine/digits/2/0": "pod inference",
    "/telemetry": "The receiver takes nothing",
}
MANY = 200


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(mesh())


@pytest.fixture
def url(source: ScriptedSource) -> Iterator[str]:
    with served(source) as serving:
        yield serving


def check_clean(window: Window) -> None:
    """Check that the browser had nothing to say against what it was shown."""
    assert (window.complaints, window.strangers, window.refused) == ([], [], [])


@pytest.mark.parametrize(("theme", "width_px"), [("light", 1280), ("dark", 400)])
def test_every_page_of_the_fleet_opens_and_fits(browser: Browser, url: str, theme: Theme, width_px: int) -> None:
    with browser(theme, width_px) as window:
        for path, words in PAGES.items():
            window.open(f"{url}{path}")
            assert words in window.text(), path
            assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        check_clean(window)


def test_without_a_script_they_are_whole(browser: Browser, url: str) -> None:
    with browser(scripts=False) as window:
        for path, words in PAGES.items():
            window.page.goto(f"{url}{path}")
            assert words in window.text(), path
            assert window.page.locator(".needs-script:visible").count() == 0
        window.page.goto(f"{url}/drift/digits")
        assert window.page.locator(".columns .after").count() > 10
        check_clean(window)


def test_keys_lead_to_what_drifts(browser: Browser, url: str) -> None:
    with browser() as window:
        for key, path in {"m": "/machine", "y": "/telemetry", "d": "/drift"}.items():
            window.open(f"{url}/")
            window.press("g", key)
            window.page.wait_for_url(f"**{path}")
        window.press("j", "Enter")
        window.page.wait_for_url("**/drift/digits?version=1")
        assert "94\u202f% (92\u202f% to 95\u202f%)" in window.text()
        check_clean(window)


def test_both_distributions_are_drawn_in_colours_that_everybody_tells_apart(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/drift/digits?version=1")
        colours = [
            window.page.evaluate(f"getComputedStyle(document.querySelector('.columns .{side}')).fill")
            for side in ("before", "after")
        ]
        assert colours == ["rgb(230, 159, 0)", "rgb(0, 114, 178)"]  # orange and blue of Okabe and Ito
        box = window.page.locator(".columns >> nth=0").bounding_box()
        assert box is not None
        for column in window.page.locator(".columns >> nth=0").locator("rect").all():
            drawn = column.bounding_box()
            assert drawn is not None
            assert box["y"] - 1 <= drawn["y"] <= drawn["y"] + drawn["height"] <= box["y"] + box["height"] + 1


def test_books_that_do_not_balance_are_flagged_while_one_looks(
    browser: Browser, url: str, source: ScriptedSource
) -> None:
    with browser() as window:
        window.open(f"{url}/telemetry")
        assert window.page.locator("h1 .pill-ok").count() == 1
        source.fleet.telemetry = telemetry(
            sidecars=[
                {"name": "gateway", "error": "", "health": health(spans(sent=993))},
                {"name": "digits/1/0", "error": "", "health": behind()},
            ]
        )
        window.page.wait_for_selector("h1 .pill-page:has-text('does not add up')")
        assert "7 missing" in window.text()
        check_clean(window)


def test_two_hundred_models_are_paged_and_filtered(browser: Browser, url: str, source: ScriptedSource) -> None:
    source.fleet.machine = machine(
        sidecars=[
            {"name": f"m{number}/1/0", "error": "", "machine": past(device(f"m{number}", "1", "cpu", 0.5))}
            for number in range(MANY)
        ]
    )
    with browser() as window:
        window.open(f"{url}/machine")
        assert window.page.locator("tr[data-row]").count() == 50
        window.page.click("a[rel=next][href*='devices=2']")
        window.page.wait_for_url("**devices=2**")
        assert "51 to 100 of 200" in window.text()
        window.press("/")
        window.page.keyboard.type("m199")
        window.press("Enter")
        window.page.wait_for_url("**model=m199**")
        assert window.page.locator("tr[data-row]").count() == 1
        check_clean(window)


@pytest.mark.skipif("PENSTOCK_SCREENSHOTS" not in os.environ, reason="no pictures asked for (make screenshots)")
@pytest.mark.parametrize("theme", get_args(Theme))
def test_the_picture_of_drift_is_taken(browser: Browser, url: str, theme: Theme) -> None:
    with browser(theme) as window:
        window.open(f"{url}/drift/digits?version=1")
        window.screenshot(picture("drift", theme), is_whole=False)
        check_clean(window)
    assert picture("drift", theme).stat().st_size < PICTURE_BYTES
