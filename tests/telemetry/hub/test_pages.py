"""Every page in every state, over a scripted source: whole without a script, and hostile text stays text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from telemetry.conventions import SpanName
from telemetry.hub import assets
from telemetry.hub.app import make_app
from telemetry.hub.pages.headers import HEADERS
from telemetry.hub.reader import TooSlow
from telemetry.hub.shown import formats
from telemetry.span import Link
from tests.fakes.fleet import device, drift, health, machine, past, spans, telemetry
from tests.fakes.hub import (
    Json,
    ScriptedSource,
    alerts_past,
    episode,
    hostile,
    mesh,
    objective,
    request_id_of,
    requests,
    span,
    trace_id_of,
    two_hex,
)
from tests.fakes.releases import difference, new_shadow, rolled_back, rollout, shadow, told, unknown, verdict

URL = "http://127.0.0.1:8090"
TRACE = "a" * 32
PAGES = [
    "/",
    "/slos",
    "/slos/fast?model=digits",
    "/slos/fast?model=digits&span=7d",
    "/slos?state=trouble&model=digits",
    "/slos?state=odd",
    "/alerts",
    "/alerts?state=over",
    "/simulate",
    "/simulate?slo=fast&model=digits",
    "/simulate?slo=fast&model=digits&bad_share=2%25&for=1h",
    "/simulate?slo=fast&model=digits&last=6h&target=99%25",
    "/simulate?slo=fast&model=digits&bad_share=2",
    "/traces",
    "/traces?model=digits&status=error&last=24h",
    f"/traces/{request_id_of(4)}",
    f"/traces/{trace_id_of(4)}",
    "/models/digits",
    "/rollouts",
    "/rollouts/digits",
    "/rollouts/text",
    "/shadows",
    "/shadows?model=digits",
    "/shadows/digits/digits-2-dark",
    "/shadows/digits/digits-3-dark",
    "/drift",
    "/drift?state=drifts&model=dig",
    "/drift/digits",
    "/drift/digits?version=2",
    "/drift/text",
    "/machine",
    "/machine?model=text&price=2.5",
    "/machine/gateway",
    "/telemetry",
    "/executive",
    "/executive?span=30d",
    "/on-call",
    "/on-call?span=6h&page=9",
    "/red",
    "/red?span=7d",
    "/red/digits",
    "/red/digits?version=2&span=15m",
    "/red/text",
    "/map",
    "/map?model=digits",
    "/debug/digits",
    "/debug/digits?version=2&span=1d",
    "/debug/text?pod=text/1/0",
    "/red/nothing",
    "/debug/nothing",
    "/slos/nothing",
    "/traces/nothing",
    "/models/nothing",
    "/rollouts/nothing",
    "/shadows/nothing/here",
    "/drift/nothing",
    "/drift?page=none",
    "/machine/nothing",
    "/machine?price=much",
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
    source = ScriptedSource(mesh(**changed), requests(12))
    source.releases = {
        "rollouts": told("rollouts", rollout(), rolled_back()),
        "shadows": told("shadows", shadow(), new_shadow()),
    }
    return source


def releasing(kind: str, *each: Json, **changed: Any) -> ScriptedSource:
    """Return a source that tells of these rollouts or shadows alone."""
    source = ScriptedSource(mesh())
    source.releases[kind] = told(kind, *each, **changed)
    return source


def newest_first(count: int) -> list[str]:
    """Return the ids of the lines of so many requests."""
    started = {one.trace_id: one.start_ns for one in requests(count) if one.name == SpanName.GATEWAY_REQUEST}
    return [f"trace-{trace_id}" for trace_id in sorted(started, key=started.__getitem__, reverse=True)]


# --- what every page keeps to


@pytest.mark.parametrize("path", [*PAGES, "/static/penstock.css", "/static/main.js"])
def test_every_answer_has_the_policy_that_keeps_a_browser_to_our_own_files(path: str) -> None:
    headers = ask(full(), path).headers
    for name, value in HEADERS.items():
        assert headers.get_list(name) == [value]


def test_the_policy_names_no_other_origin_and_nothing_inline() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["content-security-policy"].split(";"))
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
    assert {"/rollouts", "/rollouts/digits", "/shadows", "/shadows/digits/digits-2-dark"} <= seen
    assert f"/traces/{trace_id_of(4)}" in seen


def test_every_file_that_a_page_names_is_there() -> None:
    seen = read(full(), "/")
    files = [held["src"] for tag, held in seen.tags if tag == "script"]
    files += [held["href"] for tag, held in seen.tags if tag == "link"]
    assert len(files) >= 4
    for file in files:
        assert ask(full(), str(file)).status_code == 200, file


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/vendored/../assets.lock.json"])
def test_no_file_beside_those_of_a_browser_can_be_had(path: str) -> None:
    answer = ask(full(), path)
    assert answer.status_code == 404
    assert "import" not in answer.text


@pytest.mark.parametrize("path", ["/", "/slos", "/traces", "/models/digits", "/rollouts", "/shadows"])
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
    assert "In 1d, if nothing more is bad 41 %" in seen.text
    assert seen.text.index("2027-01-15 08:00:00 fires") < seen.text.index("2027-01-15 04:23:20")
    assert "webhook/hooks.example: begin told, 08:00:01" in seen.text
    assert "webhook/hooks.example: end not told yet, it is tried again, 05:13:23 503" in seen.text
    assert "docs/runbooks/slo-page-fast.md" in seen.text
    assert "−151" in seen.text  # version 2 alone would have spent more than the budget


def test_the_table_of_objectives_is_filtered_by_the_url_and_keeps_what_was_filled_in() -> None:
    seen = read(full(), "/slos?model=text&state=ok")
    assert "text · fast" in seen.text
    assert "digits · fast" not in seen.text
    assert seen.count("input", name="model", value="text") == 1
    assert [held["value"] for tag, held in seen.tags if tag == "option" and "selected" in held] == ["ok"]
    assert "No objective is like this" in read(full(), "/slos?model=none").text
    assert "state is one of trouble, page" in read(full(), "/slos?state=odd", 400).text


def test_two_hundred_models_are_paged() -> None:
    many = full(slos=[objective(model=f"model-{at:03}") for at in range(200)])
    seen = read(many, "/slos")
    assert sum(1 for tag, held in seen.tags if tag == "tr" and "data-row" in held) == 50
    assert "200 of 200 objectives" in seen.text
    assert "/slos?page=2" in seen.links
    assert "page 4 of 4" in read(many, "/slos?page=4").text


def test_alerts_are_told_with_their_worst_and_who_was_told() -> None:
    seen = read(full(), "/alerts")
    assert "webhook/hooks.example: begin told, 08:00:01" in seen.text
    assert "31.4×" in seen.text
    assert "/traces?model=digits&status=error&since=1799999700" in seen.links
    assert "No alert is like this" in read(full(), "/alerts?model=text").text
    assert "severity is one of page, ticket" in read(full(), "/alerts?severity=high", 400).text


def test_of_alerts_that_nobody_is_told_of_that_is_said() -> None:
    source = full()
    source.past = alerts_past(episode(slo="slow"), receivers=())
    text = read(source, "/alerts").text
    assert "nobody: the policy names no receiver" in text
    assert "Nobody is told of alerts: write alerts: in mesh.yaml" in text


def test_before_the_gateway_has_told_of_alerts_nothing_is_said_of_none() -> None:
    source = full()
    source.past = {"is_known": False, "error": "The gateway does not answer."}
    assert "Nothing is known" in read(source, "/alerts").text
    assert "has not told when alerts fired" in read(source, "/slos/fast?model=digits").text
    source.past = {"is_known": True, "error": "", "alerts": [], "at_s": 1.0}
    assert "No alert has fired" in read(source, "/alerts").text
    assert "No alert of this objective has fired" in read(source, "/slos/fast?model=digits").text


def test_many_objectives_that_fire_do_not_fill_the_overview() -> None:
    seen = read(full(slos=[objective(model=f"model-{at:03}") for at in range(40)]), "/")
    assert sum(1 for tag, held in seen.tags if (held.get("class") or "").startswith("alert ")) == 12
    assert "28 more objectives have alerts that fire" in seen.text


def test_a_runbook_of_the_web_is_a_link_and_a_hostile_one_is_text() -> None:
    source = full()
    source.past = alerts_past(episode(runbook="https://wiki.example/fast.md"), episode(runbook="javascript:alert(1)"))
    seen = read(source, "/alerts")
    assert "https://wiki.example/fast.md" in seen.links
    assert not [link for link in seen.links if link.startswith("javascript")]
    assert "javascript:alert(1)" in seen.text


def test_the_simulator_asks_and_says_when_each_alert_would_begin_and_end() -> None:
    asks = read(full(), "/simulate?slo=fast&model=digits")
    assert asks.count("form", action="/simulate") == 2
    assert asks.count("input", name="rate", value="82.5/s") == 1  # as many as there are now
    seen = read(full(), "/simulate?slo=fast&model=digits&bad_share=2%25&for=1h&rate=100/s")
    assert "after 44:40 after 1:01:30" in seen.text
    assert "It takes 2.8 % of the error budget" in seen.text
    assert "penstock slo simulate fast --bad-share 2% --for 1h --rate 100/s --policies POLICIES" in seen.text
    assert seen.count("tr", id="course-page-1h") == 1


def test_the_simulator_judges_the_past_by_other_numbers() -> None:
    seen = read(full(), "/simulate?slo=fast&model=digits&last=6h&target=99%25")
    assert "never – 2027-01-15 06:59:10 UTC to 2027-01-15 07:04:10 UTC" in seen.text
    assert "By the policy in force it is 88 %." in seen.text


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("slo=fast&bad_share=2", 400, "bad_share cannot be 2: 2 what? Write 2%."),
        ("slo=fast&for=1y", 400, "for cannot be 1y"),
        ("slo=fast&for=<script>", 400, "for cannot be <script>"),
        ("slo=none&for=1h", 404, "No model of the policy in force has the objective none."),
    ],
)
def test_what_cannot_be_simulated_is_said_beside_what_was_filled_in(query: str, status: int, sentence: str) -> None:
    seen = read(full(), f"/simulate?{query}", status)
    assert sentence in seen.text
    assert seen.count("form", action="/simulate") == 2


def test_an_objective_is_found_by_its_name_alone() -> None:
    assert "fast of digits" in read(full(), "/slos/fast").text
    assert "fast of text" in read(full(), "/slos/fast?model=text").text


@pytest.mark.parametrize("page", ["/red", "/red/digits", "/debug/digits", "/executive", "/on-call", "/slos/fast"])
def test_a_span_that_is_none_is_refused_with_those_that_there_are(page: str) -> None:
    seen = read(full(), f"{page}?span=8h", 400)
    assert "span is one of" in seen.text
    assert "30d" in seen.text or "6h" in seen.text


def test_traces_of_a_time_that_is_none_are_refused_rather_than_shown_from_all_times() -> None:
    assert "last is one of 5m, 15m, 1h, 6h, 24h." in read(full(), "/traces?last=8h", 400).text


@pytest.mark.parametrize(("span_asked", "seconds"), [("15m", 900), ("30d", 2592000), ("", 3600)])
def test_the_charts_ask_for_the_time_that_was_chosen(span_asked: str, seconds: int) -> None:
    seen = read(full(), f"/slos/fast?model=digits&span={span_asked}")
    if not assets.are_installed():
        pytest.skip("not installed (python -m telemetry.hub.assets)")
    (charts,) = [held for _, held in seen.tags if "data-charts" in held]
    assert charts["data-url"] == f"/api/slos/history?slo=fast&model=digits&span_s={seconds}"
    plots = [held for _, held in seen.tags if held.get("data-plot") == "burn"]
    told = [(held["data-name"], held["data-long-s"], held["data-short-s"], held["data-factor"]) for held in plots]
    assert told == [
        ("page 1h", "3600", "300", "14.4"),
        ("page 6h", "21600", "1800", "6.0"),
        ("ticket 3d", "259200", "21600", "1.0"),
    ]


def test_plots_know_when_alerts_fired_and_what_was_changed() -> None:
    if not assets.are_installed():
        pytest.skip("not installed (python -m telemetry.hub.assets)")
    (charts,) = [held for _, held in read(full(), "/slos/fast?model=digits").tags if "data-charts" in held]
    over, marks = json.loads(charts["data-over"] or ""), json.loads(charts["data-marks"] or "")
    assert [(one["from_s"], one["to_s"], one["severity"]) for one in over] == [
        (1_800_000_000.0, None, "page"),
        (1_799_987_000.0, 1_799_990_000.0, "page"),
    ]
    assert [mark["kind"] for mark in marks] == ["canary", "policy"]


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


@pytest.mark.parametrize(
    "path",
    [
        "/slos/nothing",
        "/slos/fast?model=other",
        "/models/nothing",
        "/traces/nothing",
        "/rollouts/nothing",
        "/shadows/digits/nothing",
        "/shadows/nothing",
    ],
)
def test_what_is_not_there_is_404_with_a_sentence_and_ways_out(path: str) -> None:
    seen = read(full(), path, 404)
    assert {"/", "/slos", "/traces"} <= set(seen.links)


def test_a_page_of_an_answer_that_is_not_understood_says_so() -> None:
    assert "cannot be read" in read(full(slos=[{"name": "fast"}]), "/", 502).text


# --- canaries and shadows


def test_rollouts_are_lines_with_state_share_waits_and_verdict() -> None:
    seen = read(full(), "/rollouts")
    assert seen.count("tr", id="rollout-digits") == seen.count("tr", id="rollout-text") == 1
    for words in (
        "digits 1 → 2",
        "running",
        "requests, 1 500 of 2 000",
        "undecided Needs about 220 more bad keys of both versions.",
        "rolled back",
    ):
        assert words in seen.text.replace("\u202f", " ")


def test_a_rollout_shows_its_ladder_its_verdict_and_the_commands() -> None:
    seen = read(full(), "/rollouts/digits")
    text = seen.text.replace("\u202f", " ")
    for words in (
        "step 2 began",
        "2m · 2 000 requests · shadow digits-2-dark the same",
        "Version 2: 11 bad of 1,500",
    ):
        assert words in text
    assert "1.47× over 15 m 00 s, harm above 6×; 1 500 requests" in text
    assert seen.count("li", **{"aria-current": "step"}) == 1
    assert f"/traces/{trace_id_of(5)}" in seen.links
    assert "penstock rollout promote digits --reason 'WHY'" in [held.get("data-copy") for _, held in seen.tags]
    assert "by judge: no harm in 240 requests" in text
    assert "/traces?model=digits&version=2&status=error" in seen.links


def test_the_evidence_is_drawn_with_the_line_that_proves() -> None:
    seen = read(full(), "/rollouts/text")
    assert seen.count("polyline") == 2
    assert seen.count("line", **{"class": "proof proof-harm"}) == 1
    assert seen.count("line", **{"class": "proof proof-safe"}) == 1
    assert seen.count("rect", **{"class": "column"}) == 31
    assert "harm is proved at 300 safe is proved at 100" in seen.text


def test_a_rollout_without_a_verdict_or_evidence_says_so() -> None:
    assert "There is no verdict yet" in read(releasing("rollouts", rollout(verdict=None)), "/rollouts/digits").text
    quiet = releasing("rollouts", rollout(verdict=verdict(history=[])))
    assert "there is no curve yet" in read(quiet, "/rollouts/digits").text


def test_what_is_over_says_what_comes_next() -> None:
    promoted = read(releasing("rollouts", rollout(state="promoted")), "/rollouts/digits").text
    assert 'write stable: "2" and remove canary' in promoted
    assert "give the canary in routes/text.yaml a new id" in read(full(), "/rollouts/text").text


def test_shadows_are_lines_with_what_they_say_and_why() -> None:
    seen = read(full(), "/shadows")
    assert seen.count("tr", id="shadow-digits-digits-2-dark") == 1
    for words in ("differs 63 of 2,040 answers", "not enough data", "1.83×", "no consent"):
        assert words in seen.text
    assert "No shadow in policy for text" in read(full(), "/shadows?model=text").text


def test_a_shadow_shows_outputs_slices_failures_labels_and_differences() -> None:
    seen = read(full(), "/shadows/digits/digits-2-dark")
    text = seen.text.replace("\u202f", " ")
    for words in (
        "Jensen-Shannon, differs above 0.01",
        "vision-team",
        "stable answered 2 031 7",
        "stable right 310 9",
        "Kept: digests of the answers, for 14 d 0 h.",
        "∞",
        '{"label": 7}',
        "about 41 that differ, and differed from itself in 0",
        "penstock shadow report digits",
    ):
        assert words in text
    assert f"/traces/{trace_id_of(3)}" in seen.links


def test_a_shadow_that_has_compared_nothing_says_what_it_lacks() -> None:
    text = read(full(), "/shadows/digits/digits-3-dark").text
    for words in ("Nothing is compared yet.", "No late label has come", "No answer has differed.", "POST /feedback"):
        assert words in text


@pytest.mark.parametrize(("path", "how"), [("/rollouts", "Write canary:"), ("/shadows", "Write shadow:")])
def test_without_any_in_policy_the_page_says_how_to_begin(path: str, how: str) -> None:
    assert how in read(ScriptedSource(mesh()), path).text


@pytest.mark.parametrize("kind", ["rollouts", "shadows"])
def test_what_a_silent_gateway_never_told_is_not_taken_for_nothing(kind: str) -> None:
    source = ScriptedSource(mesh())
    source.releases[kind] = unknown("The gateway does not answer.")
    seen = read(source, f"/{kind}")
    assert "The gateway does not answer." in seen.text
    assert "Nothing is known" in seen.text
    assert "in policy" not in seen.text
    assert "The gateway does not answer." in read(source, f"/{kind}/digits/{kind}", 404).text


@pytest.mark.parametrize("path", ["/rollouts", "/rollouts/digits", "/shadows", "/shadows/digits/digits-2-dark"])
def test_old_releases_are_shown_and_said_to_be_old(path: str) -> None:
    source = full()
    for known in source.releases.values():
        known["error"] = "The gateway does not answer. What is shown is 12 s old."
    seen = read(source, path)
    assert "12 s old" in seen.text
    assert "digits-2" in seen.text


def test_a_model_leads_to_its_rollout_and_its_shadows() -> None:
    links = read(full(), "/models/digits").links
    assert {"/rollouts/digits", "/shadows/digits/digits-2-dark"} <= set(links)
    assert "Releases" not in read(ScriptedSource(mesh()), "/models/digits").text


def test_a_report_that_is_not_understood_says_so() -> None:
    assert "cannot be read" in read(releasing("rollouts", {"model": 7}), "/rollouts", 502).text
    assert "cannot be read" in read(releasing("shadows", {"model": 7}), "/shadows", 502).text


def test_what_hostile_reports_say_stays_text() -> None:
    attack = "<script>document.title='broken'</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"
    source = releasing(
        "rollouts",
        rollout(
            model=attack, canary=attack, owner=attack, because=attack, verdict=verdict(says=attack, because=attack)
        ),
    )
    worst = difference(1, stable=attack, shadow=attack, tenant=attack, path=attack, trace_id=attack)
    source.releases["shadows"] = told(
        "shadows", shadow(model=attack, name=attack, because=attack, worst=[worst], not_copied={attack: 1}, says=attack)
    )
    name = quote(attack, safe="")
    for path in ("/rollouts", f"/rollouts/{name}", "/shadows", f"/shadows/{name}/{name}"):
        seen = read(source, path)
        assert "<img src=x onerror=alert(1)>" in seen.text
        assert seen.count("img") == 0
        assert not [held for _, held in seen.tags if any(name.startswith("on") for name in held)]
        assert not [target for target in seen.links if not target.startswith(("/", "#"))]


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


def test_a_trace_can_be_gone_on_with_taken_along_and_says_what_each_of_its_batch_cost() -> None:
    answer = ask(full(), f"/traces/{request_id_of(4)}").text
    assert f"00-{trace_id_of(4)}-{two_hex(1004, 16)}-01" in answer
    assert f'href="/api/traces/{trace_id_of(4)}?form=otlp" download="trace-{trace_id_of(4)}.json"' in answer
    for number in (3, 4, 5):
        assert formats.duration((1500 + number) / 1e6) in answer


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
    for page in ("traces", "slos", "models", "rollouts", "shadows", "shadows/digits"):
        seen = Reading(ask(full(), f"/{page}/{wanted}").text)
        assert seen.count("main") == 1
        assert seen.count("img") == 0


def test_hostile_filters_stay_text() -> None:
    seen = read(full(), "/traces?tenant=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert seen.count("input", name="tenant", value='"><script>alert(1)</script>') == 1
    assert not [tag for tag, _ in seen.tags if tag.startswith("inline ")]


def test_drift_is_lines_with_state_reason_and_what_moved_most() -> None:
    text = read(full(), "/drift").text
    for words in (
        "digits/1",
        "drifts",
        "value of input /age: above the limit in 3 windows in a row.",
        "no reference yet",
    ):
        assert words in text
    assert "digits/2" not in read(full(), "/drift?state=drifts").text
    assert "No version is so" in read(full(), "/drift?model=nothing").text


def test_a_models_drift_draws_both_distributions_side_by_side() -> None:
    page = read(full(), "/drift/digits?version=1")
    columns = page.count("rect", **{"class": "before"})
    assert columns == page.count("rect", **{"class": "after"}) > 10
    assert "94 % (92 % to 95 %) of 1 000 answers" in page.text
    assert "missing in 12 % of rows (120)" in page.text


def test_what_nobody_watches_says_how_to_begin() -> None:
    source = full()
    source.fleet.drift = drift()
    assert "drift: {sample: 1%}" in read(source, "/drift").text
    source.fleet.drift = drift(is_known=False, error="The gateway does not answer.")
    assert "Nothing is known" in read(source, "/drift").text
    assert "drift: {sample: 1%}" in read(full(), "/drift/nothing", 404).text


def test_the_machine_shows_devices_processes_gpus_and_costs() -> None:
    text = read(full(), "/machine").text
    for words in ("it is at its power limit", "pod inference", "cuda:0", "search", "1 sidecar did not answer"):
        assert words in text
    assert "0.1562" in read(full(), "/machine?price=2.5").text
    alone = read(full(), "/machine/digits/2/0").text
    assert "pod inference" in alone
    assert "By tenant" not in alone


def test_the_machines_of_two_hundred_models_are_paged() -> None:
    source = full()
    source.fleet.machine = machine(
        sidecars=[
            {"name": f"m{number}/1/0", "error": "", "machine": past(device(f"m{number}", "1", "cpu", 0.5))}
            for number in range(200)
        ]
    )
    first, second = read(source, "/machine"), read(source, "/machine?devices=2")
    assert "1 to 50 of 200" in first.text
    assert first.count("tr", id="device-m0/1/0-cpu") == 1
    assert second.count("tr", id="device-m60/1/0-cpu") == 1
    assert second.count("tr", id="device-m0/1/0-cpu") == 0


def test_telemetry_says_whether_it_adds_up_and_who_is_in_trouble() -> None:
    source = full()
    text = read(source, "/telemetry").text
    for words in ("adds up", "not taken", "ConnectError", "silent", "the recorder’s ring was full", "1 600"):
        assert words in text
    source.fleet.telemetry = telemetry(sidecars=[{"name": "a", "error": "", "health": health(spans(sent=999))}])
    assert "1 missing" in read(source, "/telemetry").text


@pytest.mark.parametrize("path", ["/drift", "/machine", "/telemetry"])
def test_an_answer_of_another_release_says_so(path: str) -> None:
    source = full()
    setattr(source.fleet, path[1:], {"versions": 1, "at_s": "x"})
    assert "cannot be read" in read(source, path, 502).text


def test_what_hostile_sidecars_say_stays_text() -> None:
    attack = "<script>alert(1)</script>"
    source = full()
    source.fleet.machine = machine(
        sidecars=[{"name": attack, "error": "", "machine": past(device(attack, attack, attack, 0.5))}]
    )
    source.fleet.telemetry = telemetry(sidecars=[{"name": attack, "error": attack, "health": None}])
    for path in ("/machine", "/telemetry"):
        page = read(source, path)
        assert attack in page.text
        assert all("src" in held for tag, held in page.tags if tag == "script")
