"""Requests as people describe them, and amounts as people read them."""

from __future__ import annotations

import pytest

from gateway.decide.credentials import NoCredential, Recorded
from gateway.decide.route import ABOUT_THE_SERVER, Api, Target, match_path, path_of
from gateway.trial.amounts import amount_text, used_text
from gateway.trial.requests import TriedRequest, facts_of

ABOUT_MODELS = [api for api in Api if api not in ABOUT_THE_SERVER]


@pytest.mark.parametrize("api", ABOUT_MODELS)
@pytest.mark.parametrize("version", ["", "2"])
def test_a_path_asks_for_what_it_was_made_for(api: Api, version: str) -> None:
    assert match_path(path_of(api, "digits", version)) == Target(api, "digits", version)


def test_paths_about_the_server_and_paths_of_nothing() -> None:
    for api in ABOUT_THE_SERVER:
        assert match_path(path_of(api)) == Target(api)
    assert match_path(path_of(None)) is None


def test_a_described_request_has_the_facts_of_a_true_one() -> None:
    headers = {"Penstock-Version": "2", "penstock-timeout-ms": "250", "Content-Length": "640"}
    facts = facts_of(TriedRequest("digits", "ads", "k1", ("infer",), "1", Api.EXPLAIN, headers), 7.0)
    assert (facts.method, facts.path, facts.wall_s) == ("POST", "/explanations/digits/1", 7.0)
    assert facts.credential == Recorded("ads", "k1", ("infer",))
    assert (facts.pinned_version, facts.timeout_ms, facts.content_length) == ("2", "250", 640)


def test_a_size_that_is_said_counts_before_the_header() -> None:
    assert facts_of(TriedRequest("digits", headers={"content-length": "1"}, body_bytes=9), 0.0).content_length == 9
    assert facts_of(TriedRequest("digits", headers={"content-length": "many"}), 0.0).content_length == 0


def test_without_a_tenant_nobody_calls() -> None:
    assert isinstance(facts_of(TriedRequest("digits"), 0.0).credential, NoCredential)


@pytest.mark.parametrize(
    ("amount", "meter", "text"),
    [
        (1234567, "requests", "1,234,567 requests"),
        (17, "tokens", "17 tokens"),
        (512, "bytes", "512 B"),
        (3 * 2**30, "bytes", "3 GiB"),
        (999, "device_time", "999 us"),
        (2500, "device_time", "2.5 ms"),
        (90 * 60_000_000, "device_time", "1.5 h"),
    ],
)
def test_amounts_are_written_with_their_unit(amount: int, meter: str, text: str) -> None:
    assert amount_text(amount, meter) == text


def test_use_is_written_beside_its_limit() -> None:
    assert used_text(3, 200, "requests") == "3 of 200 requests"
    assert used_text(0, 2**20, "bytes") == "0 B of 1 MiB"
