"""What whoever starts the mesh is told."""

from __future__ import annotations

import json
import shlex

from deploy.local.greeting import curl_line, expected_answer, greeted_route, promised_url
from policies.snapshot.route import Launch, Route, Static, Version


def route(model: str, *, launched: bool) -> Route:
    version = Version("1", launch=Launch("a.mar")) if launched else Version("1", static=Static(("pods:8500",)))
    return Route(model=model, owner="team", versions={"1": version}, stable="1")


def by_model(*routes: Route) -> dict[str, Route]:
    return {a_route.model: a_route for a_route in routes}


def test_the_first_route_by_name_whose_stable_version_is_launched_is_shown() -> None:
    routes = by_model(route("zebra", launched=True), route("apple", launched=False), route("maple", launched=True))
    assert greeted_route(routes) == routes["maple"]


def test_without_a_launched_one_the_first_route_is_shown() -> None:
    routes = by_model(route("zebra", launched=False), route("apple", launched=False))
    assert greeted_route(routes) == routes["apple"]


def test_without_routes_there_is_nothing_to_show() -> None:
    assert greeted_route({}) is None


def test_the_curl_line_is_one_line_that_a_shell_reads_as_meant() -> None:
    line = curl_line("http://127.0.0.1:8080", "msk_k", "digits", {"data": [0, 5], "note": "it's\nhere"})
    assert "\n" not in line
    assert shlex.split(line) == [
        *("curl", "-sS", "-H", "Authorization: Bearer msk_k", "-H", "Content-Type: application/json"),
        *("http://127.0.0.1:8080/predictions/digits", "-d", json.dumps({"data": [0, 5], "note": "it's\nhere"})),
    ]


def test_a_model_without_a_sample_is_sent_an_empty_object() -> None:
    assert curl_line("http://h", "k", "m", None).endswith(" -d '{}'")


def test_the_answer_to_expect_is_said_in_words() -> None:
    assert expected_answer({"label": 7, "name": "seven"}) == 'label 7, name "seven"'
    assert expected_answer([1, 2]) == "[1, 2]"
    assert expected_answer(None) == ""


def test_an_address_is_promised_only_where_policy_gives_its_port() -> None:
    assert promised_url("127.0.0.1:8090") == "http://127.0.0.1:8090 (not up yet)"
    assert promised_url("127.0.0.1:0") == ""
