"""Every page in every state, over a scripted source: whole without a script, and hostile text stays text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from telemetry.conventions import SpanName
from telemetry.hub import assets, pages
from telemetry.hub.app import make_app
from telemetry.hub.reader import TooSlow
from telemetry.span import Link
from tests.fakes.hub import (
    Json,
    ScriptedSource,
    hostile,
    mesh,
    objective,
    request_id_of,
    requests,
    span,
    trace_id_of,
)

URL = "http://127.0.0.1:8090"
TRACE = "a" * 32
PAGES = [
    "/",
    "/slos",
    "/slos/fast?model=digits",
    "/slos/fast?model=digits&span=7d",
    "/traces",
    "/traces?model=digits&status=error&last=24h",
    f"/traces/{request_id_of(4)}",
    f"/traces/{trace_id_of(4)}",
    "/models/digits",
    "/slos/nothing",
    "/traces/nothing",
    "/models/nothing",
    "/traces?limit=none",
]
NOTHING: Json = {"models": [], "slos": [], "pods": [], "mesh": "", "error": ""}


class Reading(HTMLParser):
    """What a page is made of.

    Attributes:
        tags: each element's name and attributes.
        links: what it links to.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._within: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._within or self._within[-1] not in ("script", "style"):
            self.words.append(data)
        else:
            self.tags.append((f"inline {self._within[-1]}", {"text": data}))

    @property
    def links(self) -> list[str]:
        return [target for tag, held in self.tags if tag == "a" and (target := held.get("href"))]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str, **held: str) -> int:
        return sum(name == tag and held.items() <= attributes.items() for name, attributes in self.tags)


def ask(source: ScriptedSource, path: str, method: str = "GET") -> httpx.Response:
    """Return the answer of an application that is made for this one request."""

    async def one_request() -> httpx.Response:
        app = make_app(source, lambda _: ("text/plain", b""))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
            return await client.request(method, path)

    return asyncio.run(one_request())


def read(source: ScriptedSource, path: str, status: int = 200) -> Reading:
    """Return a page that is answered with this status."""
    answer = ask(source, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Reading(answer.text)


def full(**changed: Any) -> ScriptedSource:
    return ScriptedSource(mesh(**changed), requests(12))


def newest_first(count: int) -> list[str]:
    """Return the ids of the lines of so many requests."""
    started = {one.trace_id: one.start_ns for one in requests(count) if one.name == SpanName.GATEWAY_REQUEST}
    return [f"trace-{trace_id}" for trace_id in sorted(started, key=started.__getitem__, reverse=True)]


# --- what every page keeps to


@pytest.mark.parametrize("path", [*PAGES, "/static/penstock.css", "/static/main.js"])
def test_every_answer_has_the_policy_that_keeps_a_browser_to_our_own_files(path: str) -> None:
    headers = ask(full(), path).headers
    for name, value in pages.HEADERS.items():
        assert headers.get_list(name) == [value]


def test_the_policy_names_no_other_origin_and_nothing_inline() -> None:
    policy = dict(part.strip().split(" ", 1) for part in pages.HEADERS["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {word for values in policy.values() for word in values.split()} == {"'none'", "'self'", "data:"}


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_script_or_a_style_of_its_own(path: str) -> None:
    seen = Reading(ask(full(), path).text)
    for tag, held in seen.tags:
        assert not tag.startswith("inline ")
        assert tag != "style"
        assert not {name for name in held if name == "style" or name.startswith("on")}
        for name in ("src", "href", "action"):
            address = held.get(name) or ""
            assert address.startswith(("/", "#", "?")) or not address
            assert not address.startswith("//")


def test_every_link_of_every_page_leads_to_a_page() -> None:
    source, seen, waiting = full(), set[str](), ["/"]
    while waiting:
        path = waiting.pop()
        answer = ask(source, path)
        assert answer.status_code == 200, path
        for target in Reading(answer.text).links:
            address = str(httpx.URL(f"{URL}{path}").join(target.partition("#")[0] or path)).removeprefix(URL)
            if address not in seen:
                seen.add(address)
                waiting.append(address)
    assert {"/", "/slos", "/traces", "/models/digits", "/slos/fast?model=text"} <= seen
    assert f"/traces/{trace_id_of(4)}" in seen


def test_every_file_that_a_page_names_is_there() -> None:
    seen = read(full(), "/")
    files = [held["src"] for tag, held in seen.tags if tag == "script"]
    files += [held["href"] for tag, held in seen.tags if tag == "link"]
    assert len(files) >= 4
    for file in files:
        assert ask(full(), str(file)).status_code == 200, file


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/vendored/../assets.lock.json"])
def test_no_file_beside_those_of_a_browser_can_be_had(path: str) -> None:
    answer = ask(full(), path)
    assert answer.status_code == 404
    assert "import" not in answer.text


@pytest.mark.parametrize("path", ["/", "/slos", "/traces", "/models/digits"])
def test_pages_are_read_and_never_written_to(path: str) -> None:
    assert ask(full(), path, "POST").status_code == 405


# --- the mesh


def test_the_overview_puts_what_fires_on_top_and_has_a_card_for_each_model() -> None:
    seen = read(full(), "/")
    assert seen.count("section", **{"class": "firing"}) == 1
    assert "digits · fast burns 16.9× and 31.4×" in seen.text
    assert seen.count("section", id="card-digits") == seen.count("section", id="card-text") == 1
    assert "1 of 2 pods ready" in seen.text
    assert "/slos/fast?model=digits" in seen.links


def test_when_nothing_fires_nothing_is_said_of_alerts() -> None:
    calm = read(full(slos=[objective(status="ok", alerts=[])]), "/")
    assert calm.count("section", **{"class": "firing"}) == 0


def test_before_the_mesh_has_said_anything_the_overview_says_what_to_do() -> None:
    seen = read(ScriptedSource(NOTHING), "/")
    assert "Start the mesh with penstock up" in seen.text
    assert "No objectives" in read(ScriptedSource(NOTHING), "/slos").text


@pytest.mark.parametrize("path", ["/", "/slos", "/slos/fast?model=digits", "/models/digits"])
def test_what_is_old_is_shown_and_said_to_be_old(path: str) -> None:
    old = "The gateway does not answer. What is shown is 12 s old."
    seen = read(full(error=old), path)
    assert old in seen.text
    assert "digits" in seen.text
    assert [held["id"] for _, held in seen.tags if "data-stale" in held] == ["live"]
    fresh = read(full(), path)
    assert old not in fresh.text
    assert not [held for _, held in fresh.tags if "data-stale" in held]


def test_the_table_of_objectives_has_budgets_burn_rates_and_alerts() -> None:
    text = read(full(), "/slos").text
    assert "digits · fast" in text
    assert "page 1h fires" in text
    assert "page 6h held back" in text
    assert text.index("digits · fast") < text.index("text · fast")  # the one in trouble first


def test_an_objective_shows_its_alerts_its_history_and_its_versions() -> None:
    seen = read(full(), "/slos/fast?model=digits")
    assert "fires since 2027-01-15 08:00:00 UTC" in seen.text
    assert "held back: not enough data: 3 events" in seen.text
    assert seen.text.index("firing page 1h") < seen.text.index("resolved page 1h")
    assert "−151" in seen.text  # version 2 alone would have spent more than the budget


def test_an_objective_is_found_by_its_name_alone() -> None:
    assert "fast of digits" in read(full(), "/slos/fast").text
    assert "fast of text" in read(full(), "/slos/fast?model=text").text


@pytest.mark.parametrize(("span_asked", "seconds"), [("15m", 900), ("30d", 2592000), ("forever", 3600), ("", 3600)])
def test_the_charts_ask_for_the_time_that_was_chosen(span_asked: str, seconds: int) -> None:
    seen = read(full(), f"/slos/fast?model=digits&span={span_asked}")
    if not assets.are_installed():
        pytest.skip("not installed (python -m telemetry.hub.assets)")
    (charts,) = [held for _, held in seen.tags if "data-charts" in held]
    assert charts["data-url"] == f"/api/slos/history?slo=fast&model=digits&span_s={seconds}"
    assert charts["data-factors"] == '{"page 1h 14.4×":14.4,"page 6h 6×":6.0,"ticket 3d 1×":1.0}'


def test_without_the_charts_files_a_sentence_says_so_and_the_tables_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "are_installed", lambda: False)
    seen = read(full(), "/slos/fast?model=digits")
    assert "run python -m telemetry.hub.assets" in seen.text
    assert "over 14.4× in both 1h and 5m" in seen.text
    assert not [held for _, held in seen.tags if "/vendored" in f"{held.get('src')}{held.get('href')}"]


def test_a_model_shows_its_versions_objectives_pods_and_newest_traces() -> None:
    seen = read(full(), "/models/digits")
    assert "1 of 2 ready" in seen.text
    assert "restarting" in seen.text
    assert seen.count("tr", id=f"trace-{trace_id_of(11)}") == 1
    assert "/traces?model=digits" in seen.links


def test_a_model_that_was_never_called_says_so() -> None:
    pod = {"name": "new/1/0", "model": "new", "version": "1", "state": "starting"}
    text = read(full(pods=[pod]), "/models/new").text
    assert "No requests in the last five minutes." in text
    assert "No objective is set for this model" in text
    assert "No trace of this model is stored." in text


@pytest.mark.parametrize("path", ["/slos/nothing", "/slos/fast?model=other", "/models/nothing", "/traces/nothing"])
def test_what_is_not_there_is_404_with_a_sentence_and_ways_out(path: str) -> None:
    seen = read(full(), path, 404)
    assert {"/", "/slos", "/traces"} <= set(seen.links)


def test_a_page_of_an_answer_that_is_not_understood_says_so() -> None:
    assert "cannot be read" in read(full(slos=[{"name": "fast"}]), "/", 502).text


# --- traces


def test_the_list_has_a_line_for_each_trace_the_newest_first() -> None:
    seen = read(full(), "/traces")
    lines = [held["id"] for tag, held in seen.tags if tag == "tr" and "data-row" in held]
    assert lines == newest_first(12)
    assert "These are all." in seen.text


def test_paging_goes_through_all_traces_once() -> None:
    source, path, found = full(), "/traces?limit=5", list[str]()
    while path:
        seen = read(source, path)
        found += [str(held["id"]) for tag, held in seen.tags if tag == "tr" and "data-row" in held]
        nexts = [str(held["href"]) for tag, held in seen.tags if tag == "a" and held.get("rel") == "next"]
        path = nexts[0] if nexts else ""
    assert found == newest_first(12)


def test_a_page_further_on_stands_still_and_the_first_is_live() -> None:
    def refresh_s(path: str) -> list[str | None]:
        return [held.get("data-refresh-s") for tag, held in read(full(), path).tags if tag == "main"]

    assert refresh_s("/traces") == ["5"]
    assert refresh_s(f"/traces?cursor=1800000001000000000.{TRACE}") == ["0"]


def test_a_long_list_is_refreshed_seldom() -> None:
    seen = read(ScriptedSource(mesh(), requests(300)), "/traces?limit=1000")
    assert seen.count("main", **{"data-refresh-s": "30"}) == 1


def test_the_form_keeps_what_was_asked_for() -> None:
    seen = read(full(), "/traces?model=digits&status=error&min_ms=1&last=1h&q=req")
    for name, value in {"model": "digits", "min_ms": "1"}.items():
        assert seen.count("input", name=name, value=value) == 1
    selected = [held.get("value") for tag, held in seen.tags if tag == "option" and "selected" in held]
    assert selected == ["error", "1h"]


def test_a_piece_of_time_from_the_plot_stays_in_the_form() -> None:
    seen = read(full(), "/traces?since=1800000000&until=1800000009")
    assert seen.count("input", type="hidden", name="since", value="1800000000") == 1
    assert seen.count("input", type="hidden", name="until", value="1800000009") == 1


def test_filters_narrow_the_list() -> None:
    seen = read(full(), "/traces?status=error")
    assert [held["id"] for tag, held in seen.tags if "data-row" in held] == [f"trace-{trace_id_of(8)}"]
    assert "pod_failed" in seen.text


def test_an_empty_list_says_whether_nothing_is_there_or_nothing_is_like_this() -> None:
    assert "No traces yet" in read(ScriptedSource(mesh()), "/traces").text
    assert "No trace is like this" in read(full(), "/traces?tenant=nobody").text


@pytest.mark.parametrize("query", ["limit=0", "min_ms=abc", "status=odd", "cursor=x", f"q={'x' * 300}"])
def test_filters_that_are_not_understood_are_400_with_a_sentence(query: str) -> None:
    assert "This cannot be looked up" in read(full(), f"/traces?{query}", 400).text


class SlowSource(ScriptedSource):
    """Never finds anything in time."""

    async def traces(self, query: Mapping[str, str]) -> Json:
        raise TooSlow


def test_a_search_that_takes_too_long_is_503_with_a_sentence() -> None:
    assert "Narrow the filters" in read(SlowSource(mesh()), "/traces", 503).text


# --- one trace


def test_a_trace_shows_every_span_its_batch_and_who_rode_along() -> None:
    seen = read(full(), f"/traces/{request_id_of(4)}")
    for name in ("gateway.request", "gateway.forward", "pod.request", "pod.queue", "pod.preprocess"):
        assert name in seen.text
    assert "pod.inference batch of 12 rows, 3 requests" in seen.text
    assert "this request" in seen.text
    assert {f"/traces/{trace_id_of(3)}", f"/traces/{trace_id_of(5)}"} <= set(seen.links)
    assert "100 % explained" in seen.text


def test_a_trace_is_the_same_by_either_id() -> None:
    def without_the_time(path: str) -> str:
        return re.sub(r'data-made-s="[^"]*"[^>]*>[^<]*', "", ask(full(), path).text)

    by_request = without_the_time(f"/traces/{request_id_of(4)}")
    assert by_request == without_the_time(f"/traces/{trace_id_of(4)}")


def test_a_member_whose_trace_is_not_stored_is_told_and_not_linked() -> None:
    spans = [one for one in requests(3) if one.trace_id != trace_id_of(2)]
    seen = read(ScriptedSource(mesh(), spans), f"/traces/{request_id_of(0)}")
    assert "not stored" in seen.text
    assert f"/traces/{trace_id_of(2)}" not in seen.links
    assert f"/traces/{trace_id_of(1)}" in seen.links


def test_a_link_to_what_is_not_stored_is_told_and_not_linked() -> None:
    links = (Link("d" * 32, "8" * 16, {}), Link("e" * 32, "8" * 16, {}))
    source = ScriptedSource(mesh(), [span(TRACE, "job", links=links), span("e" * 32, "other job")])
    seen = read(source, f"/traces/{TRACE}")
    assert f"{'d' * 32} not stored" in seen.text
    assert f"/traces/{'d' * 32}" not in seen.links
    assert f"/traces/{'e' * 32}" in seen.links


def test_a_trace_that_is_not_here_yet_is_looked_for_again() -> None:
    seen = read(full(), "/traces/nothing", 404)
    assert seen.count("main", **{"data-refresh-s": "2"}) == 1


def test_an_old_trace_stands_still() -> None:
    old = ScriptedSource(mesh(), [span(TRACE, "job")])
    assert read(old, f"/traces/{TRACE}").count("main", **{"data-refresh-s": "0"}) == 1


def test_a_trace_of_others_is_shown_as_it_is() -> None:
    seen = read(ScriptedSource(mesh(), [span(TRACE, "nightly job"), span(TRACE, "step", "gone")]), f"/traces/{TRACE}")
    assert "nightly job" in seen.text
    assert "parent is not stored" in seen.text
    assert "Where the time went" not in seen.text


def test_what_hostile_spans_say_stays_text() -> None:
    source = ScriptedSource(mesh(), hostile(TRACE))
    for path in (f"/traces/{TRACE}", "/traces"):
        answer = ask(source, path).text
        seen = Reading(answer)
        assert "<script>document.title='broken'</script><img src=x onerror=alert(1)>" in seen.text
        assert "{{ 7 * 7 }}" in answer  # and is no template either
        assert seen.count("img") == 0
        assert {held.get("src") for tag, held in seen.tags if tag == "script"} <= {
            "/static/theme.js",
            "/static/main.js",
            "/vendored/uplot/uPlot.iife.min.js",
            "/vendored/idiomorph/idiomorph.min.js",
        }
        assert not [held for _, held in seen.tags if any(name.startswith("on") for name in held)]
        assert not [target for target in seen.links if not target.startswith(("/", "#"))]


@pytest.mark.parametrize("wanted", ["<script>alert(1)</script>", "%3Cimg%20src=x%3E", "a/b/../c", "\u00e9\u4e2d"])
def test_whatever_is_asked_for_the_answer_is_a_page(wanted: str) -> None:
    for page in ("traces", "slos", "models"):
        seen = Reading(ask(full(), f"/{page}/{wanted}").text)
        assert seen.count("main") == 1
        assert seen.count("img") == 0


def test_hostile_filters_stay_text() -> None:
    seen = read(full(), "/traces?tenant=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert seen.count("input", name="tenant", value='"><script>alert(1)</script>') == 1
    assert not [tag for tag, _ in seen.tags if tag.startswith("inline ")]
