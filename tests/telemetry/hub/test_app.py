"""The hub's application behind its gate: the JSON API over a real store, logging in, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from telemetry.conventions import Attribute
from telemetry.hub import reader
from telemetry.hub.app import make_app
from telemetry.hub.door import Door
from telemetry.hub.exposition import Exposition
from telemetry.hub.gate import COOKIE, Gate
from telemetry.hub.gatekeeper import Gatekeeper
from telemetry.hub.measured.desk import CountedSteps
from telemetry.hub.measured.point_file import FILE_NAME, PointFile
from telemetry.hub.measured.reader import CounterReader
from telemetry.hub.mesh import Mesh
from telemetry.hub.reader import Reader
from telemetry.hub.sidecars import Sidecars
from telemetry.hub.source import HubSource
from telemetry.hub.writer import StoreCounts
from telemetry.otlp.decode import decode_json
from tests.fakes.fleet import facts
from tests.telemetry.hub.test_mesh import Supervisor, published, supervisor
from tests.telemetry.hub.test_trace_files import NOW_S, nobody, write
from tests.telemetry.hub.traces import BATCH_TRACE, TRACE, batch_spans, numbered, request_spans

__all__ = ["supervisor"]

TOKEN = "a-token-of-some-length"
URL = "http://127.0.0.1:8090"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path, [([*request_spans(), *batch_spans()], NOW_S), (numbered(5), NOW_S)])
    return tmp_path


def ask(
    store: Path,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    gate: Gate | None = None,
    door: Door | None = None,
) -> httpx.Response:
    """Return the answer of an application that is made for this one request."""

    async def one_request() -> httpx.Response:
        mesh = Mesh(store / "mesh.json")
        points = PointFile(store)
        counters = CounterReader(mesh, points)
        sidecars = Sidecars(None)
        source = HubSource(Reader(store, nobody), mesh, CountedSteps(store, counters), sidecars, facts)
        exposition = Exposition(lambda: StoreCounts(10, 2, {"disk": 3}, 4, 5, 6), lambda: points.lost)
        exposition.told(200)
        app = Gatekeeper(make_app(source, exposition.expose), door or Door(gate or Gate("127.0.0.1")))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
            answer = await client.request(method, path, headers=headers, content=body)
        source.close()
        await counters.close()
        await mesh.close()
        await sidecars.close()
        return answer

    return asyncio.run(one_request())


def test_the_list_has_requests_newest_first_and_pages(store: Path) -> None:
    first = ask(store, "/api/traces?limit=1").json()
    assert [line["request_id"] for line in first["traces"]] == ["numbered-5"]
    second = ask(store, f"/api/traces?limit=1&cursor={first['next']}").json()
    assert [line["request_id"] for line in second["traces"]] == ["request-1"]
    assert second["next"] is None


def test_a_trace_is_the_same_by_either_id(store: Path) -> None:
    by_trace = ask(store, f"/api/traces/{TRACE}")
    by_request = ask(store, "/api/traces/request-1")
    assert by_trace.status_code == 200
    assert by_trace.json() == by_request.json()
    assert [batch["trace_id"] for batch in by_trace.json()["batches"]] == [BATCH_TRACE]


def test_a_trace_and_its_batch_are_there_as_otlp_that_can_be_sent_again(store: Path) -> None:
    answer = ask(store, "/api/traces/request-1?form=otlp")
    assert answer.status_code == 200
    told = decode_json(answer.content).spans
    assert {span.span_id for span in told} == {span.span_id for span in (*request_spans(), *batch_spans())}
    assert len(told) == len({(span.trace_id, span.span_id) for span in told})
    assert ask(store, "/api/traces/nothing?form=otlp").status_code == 404
    assert ask(store, "/api/traces/request-1?form=jaeger").status_code == 400


def test_what_is_not_stored_is_404_with_a_sentence(store: Path) -> None:
    answer = ask(store, "/api/traces/nothing")
    assert answer.status_code == 404
    assert answer.json() == {"error": "No trace and no request nothing is stored."}


def test_an_address_without_a_page_is_a_page_and_one_of_the_api_json(store: Path) -> None:
    page = ask(store, "/no/such/page")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "No such page" in page.text
    assert "<nav" in page.text
    answer = ask(store, "/api/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert "hub-api.md" in answer.json()["error"]


def test_a_request_id_may_hold_a_slash(tmp_path: Path) -> None:
    span = replace(numbered(1)[0], attributes={Attribute.REQUEST_ID: "job/7"})
    write(tmp_path, [([span], NOW_S)])
    assert ask(tmp_path, "/api/traces/job%2F7").json()["request_id"] == "job/7"


def test_a_query_that_is_not_understood_is_400_with_a_sentence(store: Path) -> None:
    answer = ask(store, "/api/traces?status=broken")
    assert (answer.status_code, answer.json()) == (400, {"error": "status is ok or error."})


def test_a_search_that_takes_too_long_is_503(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, [([span for number in range(3000) for span in numbered(number)], NOW_S)])
    monkeypatch.setattr(reader, "WITHIN_S", -1.0)
    answer = ask(store, "/api/traces?min_ms=1000")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_without_a_mesh_the_api_says_so_and_answers_on(store: Path) -> None:
    history = ask(store, "/api/slos/history?slo=a&model=digits").json()
    assert (history["slo"], history["points"]) == ("a", [])
    assert "No gateway runs" in history["error"]
    assert ask(store, "/api/slos").json() == {"slos": None, "as_of": 0.0, "error": ""}
    assert ask(store, "/api/overview").json()["mesh"] == ""
    silent = {"is_known": False, "error": "No gateway runs, or it does not say where."}
    for path in ("/api/rollouts", "/api/rollouts/digits", "/api/shadows"):
        assert ask(store, path).json() == silent
    assert ask(store, "/api/alerts").json() == silent | {"alerts": []}
    missing = ask(store, "/api/slos/simulate?slo=fast&for=1h")
    assert (missing.status_code, "has the objective fast" in missing.json()["error"]) == (404, True)


def test_a_history_that_cannot_be_asked_is_refused_as_the_gateway_refuses_it(
    store: Path, supervisor: Supervisor
) -> None:
    published(store, supervisor.url)
    asked = "slos/history?slo=none&model=digits"
    supervisor.answers[f"/admin/{asked.replace('slos', 'slo')}"] = (404, b'{"message":"digits has no objective none."}')
    answer = ask(store, f"/api/{asked}")
    assert answer.status_code == 404
    assert answer.json() == {"error": "The gateway answers 404 to /admin/slo/history: digits has no objective none."}


def test_a_model_without_a_canary_is_404_and_one_that_is_not_known_is_not(store: Path, supervisor: Supervisor) -> None:
    published(store, supervisor.url)
    supervisor.answers["/admin/rollouts"] = (200, b'{"at_s":1.0,"rollouts":[{"model":"digits"}]}')
    supervisor.answers["/admin/rollouts/digits"] = (200, b'{"model":"digits","past":1}')
    assert ask(store, "/api/rollouts/digits").json()["rollouts"] == [{"model": "digits", "past": 1}]
    answer = ask(store, "/api/rollouts/digitz")
    assert (answer.status_code, answer.json()) == (404, {"error": "digitz has no canary."})
    supervisor.answers["/admin/rollouts"] = (503, b"")
    assert ask(store, "/api/rollouts/digitz").status_code == 200


@pytest.mark.parametrize("path", ["/api/alerts?state=odd", "/api/slos/simulate?for=1y", "/api/slos/simulate?a=b"])
def test_what_cannot_be_asked_of_alerts_and_simulations_is_400_with_a_sentence(store: Path, path: str) -> None:
    answer = ask(store, path)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")


def test_metrics_are_whole_in_both_formats(store: Path) -> None:
    text = ask(store, "/metrics").text
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values == {
        ("penstock_hub_posts_total", "200"): 1,
        ("penstock_hub_spans_total", "stored"): 10,
        ("penstock_hub_spans_total", "repeated"): 2,
        ("penstock_telemetry_dropped_total", "spans", "disk"): 3,
        ("penstock_hub_queue",): 4,
        ("penstock_hub_files",): 5,
        ("penstock_hub_file_bytes",): 6,
        ("penstock_hub_readings_lost_total",): 0,
        ("penstock_log_suppressed_total",): 0,
    }
    assert ask(store, "/metrics", headers={"accept": "application/openmetrics-text"}).text.endswith("# EOF\n")


def test_readings_that_are_not_kept_are_counted(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    points = PointFile(tmp_path)
    for at_s in (NOW_S, NOW_S + 10.0):
        points.add(at_s, [], 10.0, "")
    exposition = Exposition(lambda: StoreCounts(0, 0, {}, 0, 0, 0), lambda: points.lost)
    assert b"penstock_hub_readings_lost_total 2.0\n" in exposition.expose("")[1]


def test_the_probe_answers(store: Path) -> None:
    assert ask(store, "/livez", gate=Gate("0.0.0.0", TOKEN)).status_code == 200


def test_every_answer_tells_browsers_to_keep_to_it(store: Path) -> None:
    headers = ask(store, "/api/traces").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_a_caller_by_a_foreign_name_gets_nothing(store: Path) -> None:
    answer = ask(store, "/api/traces", headers={"host": "evil.example"})
    assert (answer.status_code, list(answer.json())) == (403, ["error"])


def test_off_loopback_programs_need_the_token_and_people_log_in(store: Path) -> None:
    gate = Gate("0.0.0.0", TOKEN)
    assert ask(store, "/api/traces", gate=gate).status_code == 401
    assert ask(store, "/api/traces", gate=gate, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    page = ask(store, "/traces", gate=gate, headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Ftraces")
    form = ask(store, "/login", gate=gate)
    assert form.status_code == 200
    assert 'type="password"' in form.text


def test_logging_in_gives_a_cookie_that_opens_the_pages(store: Path) -> None:
    door = Door(Gate("0.0.0.0", TOKEN))

    def log_in(body: bytes) -> httpx.Response:
        return ask(store, "/login", method="POST", body=body, door=door, headers={"origin": URL})

    welcome = log_in(f"token={TOKEN}".encode())
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
    assert "HttpOnly" in welcome.headers["set-cookie"]
    assert "SameSite=strict" in welcome.headers["set-cookie"]
    cookie = f"{COOKIE}={welcome.cookies[COOKIE]}"
    assert ask(store, "/api/traces", door=door, headers={"cookie": cookie}).status_code == 200
    for wrong in (b"token=wrong", b"", b"\xff", b"token=" + b"x" * 10_000):
        assert log_in(wrong).status_code == 401


def test_nothing_of_the_framework_is_shown_beside_ours(store: Path) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert ask(store, path).status_code == 404


def test_answers_are_json_all_through(store: Path) -> None:
    answer: dict[str, Any] = ask(store, f"/api/traces/{BATCH_TRACE}").json()
    assert answer["spans"][0]["attributes"]["penstock.batch.rows"] == 4


@pytest.mark.parametrize(
    "path", ["red?span=15m", "red/digits?span=", "map", "executive?span=30d", "on-call", "changes"]
)
def test_the_dashboards_have_their_json_though_nothing_was_counted(store: Path, path: str) -> None:
    answer = ask(store, f"/api/{path}")
    assert answer.status_code == 200
    assert answer.json()["error"]


SPANS = "15m, 1h, 6h, 1d, 7d, 30d"


@pytest.mark.parametrize(
    ("path", "spans"),
    [
        ("red", SPANS),
        ("red/digits", SPANS),
        ("debug/digits", SPANS),
        ("executive", "7d, 30d, 1d"),
        ("on-call", "15m, 1h, 6h"),
    ],
)
def test_a_span_that_is_none_is_refused_with_those_that_there_are(store: Path, path: str, spans: str) -> None:
    answer = ask(store, f"/api/{path}?span=8h")
    assert (answer.status_code, answer.json()) == (400, {"error": f"span is one of {spans}."})


def test_a_model_that_nobody_knows_has_no_debug_dashboard(store: Path) -> None:
    answer = ask(store, "/api/debug/nothing")
    assert (answer.status_code, answer.json()) == (404, {"error": "The mesh has no model nothing."})
