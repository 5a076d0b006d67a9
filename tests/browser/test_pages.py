"""The pages in a real browser over a scripted source: nothing is refused, nothing leaves the origin, keys move."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetry.hub import assets
from tests.browser.browser import PROGRAM, Browser, Theme, Window
from tests.browser.served import served
from tests.fakes.hub import ScriptedSource, hostile, mesh, objective, request_id_of, requests, trace_id_of

pytestmark = [
    pytest.mark.needs_program(PROGRAM),
    pytest.mark.skipif(not assets.are_installed(), reason="no charts (python -m telemetry.hub.assets)"),
]

HOSTILE = "f" * 32
PAGES = {
    "/": "digits · fast burns",
    "/slos": "Service level objectives",
    "/slos/fast?model=digits": "fast of digits",
    "/alerts": "webhook/hooks.example: begin told",
    "/simulate?slo=fast&model=digits": "What would fire",
    "/simulate?slo=fast&model=digits&bad_share=2%25&for=1h&rate=100/s": "after 44:40",
    "/simulate?slo=fast&model=digits&last=6h&target=99%25": "By the policy in force it is",
    "/traces": "08:00:",
    f"/traces/{request_id_of(4)}": "pod.postprocess",
    f"/traces/{HOSTILE}": "<script>document.title='broken'</script>",
    "/models/digits": "Newest traces",
    "/executive": "Requests that succeeded",
    "/on-call": "in trouble first",
    "/red": "Requests, errors, durations",
    "/red/digits": "How long answers took",
    "/map": "The same as a table",
    "/debug/digits": "where the time goes",
}


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(mesh(), [*requests(30), *hostile(HOSTILE)])


@pytest.fixture
def url(source: ScriptedSource) -> Iterator[str]:
    with served(source) as serving:
        yield serving


def check_clean(window: Window) -> None:
    """Check that the browser had nothing to say against what it was shown."""
    assert (window.complaints, window.strangers, window.refused) == ([], [], [])


def selected(window: Window) -> str:
    """Return the id of the line that is selected, "" without one."""
    return str(window.page.evaluate("document.querySelector('.is-selected')?.id ?? ''"))


def ground(window: Window) -> str:
    """Return the colour behind the page."""
    return str(window.page.evaluate("getComputedStyle(document.body).backgroundColor"))


LIGHT, DARK = "rgb(246, 247, 249)", "rgb(16, 20, 27)"


@pytest.mark.parametrize(("theme", "width_px"), [("light", 1280), ("dark", 420)])
def test_every_page_opens_and_nothing_is_refused(browser: Browser, url: str, theme: Theme, width_px: int) -> None:
    with browser(theme, width_px) as window:
        for path, words in PAGES.items():
            window.open(f"{url}{path}")
            assert words in window.text(), path
            assert ground(window) == (LIGHT if theme == "light" else DARK)
            # What is wider than the window has a bar to scroll within itself.
            assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert "broken" not in window.page.title() or path.endswith(HOSTILE)
            assert window.page.evaluate("document.querySelectorAll('main img').length") == 0
        check_clean(window)


def test_without_a_script_the_pages_show_their_tables(browser: Browser, url: str) -> None:
    with browser(scripts=False) as window:
        for path, words in PAGES.items():
            window.page.goto(f"{url}{path}")
            assert words in window.text(), path
        window.page.goto(f"{url}/slos/fast?model=digits")
        assert "The charts need JavaScript" in window.text()
        assert "over 14.4× in both 1h and 5m" in window.text()
        window.page.goto(f"{url}/traces")
        assert window.page.locator("tr[data-row]").count() == 31
        assert window.page.locator(".needs-script:visible").count() == 0
        window.page.goto(f"{url}/traces/{request_id_of(4)}")
        window.page.click("text=pod.queue")
        assert "penstock.rows" in window.text()
        check_clean(window)


def test_the_policy_stops_what_it_is_there_for(browser: Browser, url: str) -> None:
    """The other tests would see a breach: here are some."""
    with browser() as window:
        window.open(f"{url}/")
        window.page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'gone = 1'}))"
        )
        window.page.evaluate("fetch('http://127.0.0.1:1/').catch(() => null)")
        assert window.page.evaluate("window.gone") is None
        assert len([said for said in window.complaints if "Content Security Policy" in said]) >= 2


def test_an_objectives_charts_are_drawn(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/slos/fast?model=digits&span=1h")
        window.page.wait_for_selector("[data-plot] canvas >> nth=5")
        assert "1 – 2027-01-15 08:25:00 UTC: canary 2: running" in window.text("#marks")
        check_clean(window)


def test_what_would_fire_is_asked_by_filling_in_a_form_and_is_a_link_then(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/slos/fast?model=digits")
        window.page.click("text=What would fire >> nth=0")
        window.page.wait_for_selector("#filters [name=bad_share]")
        assert window.page.input_value("#filters [name=rate]") == "82.5/s"
        window.page.fill("#filters [name=bad_share]", "2%")
        window.page.fill("#filters [name=for]", "1h")
        window.page.fill("#filters [name=rate]", "100/s")
        window.press("Enter")
        window.page.wait_for_selector("#answer")
        assert "after 44:40" in window.text("#course-page-1h")
        linked = window.page.url
        window.open(linked)
        assert "after 44:40" in window.text("#course-page-1h")
        check_clean(window)


def test_a_form_that_cannot_be_answered_keeps_what_was_typed(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/simulate?slo=fast&model=digits&bad_share=2&for=90m")
        assert window.text("#problem") == "bad_share cannot be 2: 2 what? Write 2%."
        assert window.page.input_value("#filters [name=for]") == "90m"
        assert window.refused == ["400 /simulate"]


def test_objectives_are_filtered_paged_and_moved_through_by_keys(
    browser: Browser, url: str, source: ScriptedSource
) -> None:
    source.answer["slos"] = [
        objective(model=f"model-{at // 3:03}", name=("fast", "right", "loads")[at % 3]) for at in range(600)
    ]
    with browser() as window:
        window.open(f"{url}/slos")
        assert window.page.locator("tr[data-row]").count() == 50
        window.page.click("text=Next")
        window.page.wait_for_url("**page=2")
        window.press("j", "j")
        assert selected(window) == "slo-model-017-fast"
        window.press("/")
        window.page.keyboard.type("model-123")
        window.press("Enter")
        window.page.wait_for_url("**model=model-123**")
        assert window.page.locator("tr[data-row]").count() == 3
        window.press("g", "a")
        window.page.wait_for_url("**/alerts")
        check_clean(window)


def test_keys_move_open_search_and_help(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/traces")
        assert selected(window) == ""
        window.press("j")
        first = selected(window)
        window.press("j", "j")
        third = selected(window)
        window.press("k", "k", "k")
        assert selected(window) == first != third
        window.press("Enter")
        window.page.wait_for_url(f"**/traces/{first.removeprefix('trace-')}")
        window.press("j", "j", "Enter")
        assert window.page.locator("details.span[open]").count() == 1
        window.press("/")
        assert window.page.evaluate("document.activeElement.id") == "find"
        window.press("j")  # typed, and no move
        assert window.page.input_value("#find") == "j"
        window.press("Escape", "?")
        assert window.page.locator("dialog[open]").count() == 1
        window.press("Escape", "g", "s")
        window.page.wait_for_url("**/slos")
        check_clean(window)


def test_the_slash_goes_to_the_filters_where_there_are_some(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/traces")
        window.press("/")
        window.page.keyboard.type("req-0007")
        window.press("Enter")
        window.page.wait_for_url("**q=req-0007**")
        assert window.page.locator("tr[data-row]").count() == 1


def test_the_theme_is_a_choice_that_is_kept(browser: Browser, url: str) -> None:
    with browser("light") as window:
        window.open(f"{url}/")
        assert ground(window) == LIGHT
        window.press("t", "t")  # light, then dark
        assert ground(window) == DARK
        window.open(f"{url}/slos")
        assert ground(window) == DARK
        window.press("t")  # as the system says
        assert ground(window) == LIGHT


def test_a_page_follows_the_mesh_and_keeps_what_its_reader_did(
    browser: Browser, url: str, source: ScriptedSource
) -> None:
    with browser() as window:
        window.open(f"{url}/traces")
        window.press("j", "j")
        kept = selected(window)
        window.page.fill("#filters [name=tenant]", "half-ty")
        source.spans += requests(31)[-8:]
        window.page.wait_for_selector(f"#trace-{trace_id_of(30)}")
        assert selected(window) == kept
        assert window.page.input_value("#filters [name=tenant]") == "half-ty"
        check_clean(window)


def test_what_is_old_is_said_as_soon_as_it_is(browser: Browser, url: str, source: ScriptedSource) -> None:
    with browser() as window:
        window.open(f"{url}/")
        assert window.page.locator("main .banner").count() == 0
        source.answer["error"] = "The gateway does not answer. What is shown is 4 s old."
        window.page.wait_for_selector("main .banner")
        assert "4 s old" in window.text("main .banner")


def test_a_piece_of_the_plot_becomes_filters(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/traces?model=digits")
        box = window.page.locator("[data-brush]").bounding_box()
        assert box is not None
        window.page.mouse.move(box["x"] + 0.5, box["y"] + 2)
        window.page.mouse.down()
        window.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 1, steps=3)
        window.page.mouse.up()
        window.page.wait_for_url("**since=**")
        assert 1 <= window.page.locator("tr[data-row]").count() < 30
        check_clean(window)


def test_a_hub_that_is_gone_is_not_taken_for_a_quiet_one(browser: Browser) -> None:
    with browser() as window:
        with served(ScriptedSource(mesh())) as url:
            window.open(f"{url}/")
        window.page.wait_for_selector("#live[data-state=lost]")
        assert "digits" in window.text()  # what was known stays


def test_a_thousand_traces_on_one_page_can_be_moved_through(browser: Browser, source: ScriptedSource, url: str) -> None:
    source.spans = requests(1000)
    with browser() as window:
        window.open(f"{url}/traces?limit=1000")
        assert window.page.locator("tr[data-row]").count() == 1000
        window.press(*"jjj")
        assert window.page.evaluate("document.querySelector('.is-selected').rowIndex") == 3
        check_clean(window)


def test_a_dot_opens_its_trace_and_the_keyboard_goes_through_the_map(browser: Browser, url: str) -> None:
    with browser() as window:
        window.open(f"{url}/red/digits")
        window.page.locator(".plotted a[href^='/traces/']").first.click()
        window.page.wait_for_url("**/traces/*")
        window.open(f"{url}/map")
        window.page.locator(".services a").first.focus()
        window.press("Tab", "Tab")
        assert window.page.evaluate("document.activeElement.getAttribute('href')") == "/debug/digits?version=1"
        window.press("Enter")
        window.page.wait_for_url("**/debug/digits?version=1")
        window.press("g", "c")
        window.page.wait_for_url("**/on-call")
        window.press("j", "Enter")
        window.page.wait_for_url("**/red/digits")
        check_clean(window)


def test_two_hundred_models_are_pages(browser: Browser, url: str, source: ScriptedSource) -> None:
    source.counted.versions = tuple((f"model-{number:03}", "1") for number in range(200))
    with browser() as window:
        window.open(f"{url}/map")
        assert window.page.locator(".services .node-model").count() == 20
        assert "page 1 of 11" in window.text()
        window.page.click("text=Next")
        window.page.wait_for_url("**/map?page=2")
        window.open(f"{url}/on-call")
        assert window.page.locator("tr[id^='model-']").count() == 25
        check_clean(window)
