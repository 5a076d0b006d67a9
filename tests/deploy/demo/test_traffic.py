"""Traffic for the demo: many users at a steady rate, what they saw in a line, and labels told afterwards."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from deploy.demo import traffic
from deploy.demo.traffic import Callers, Labelled, NoMesh, Seen, Where, find, held_out, line, version_of
from gateway.control.runtime_file import RunningMesh

DECISION = "gen=12;model=digits;version=2;why=canary;pod=digits/2/0;attempts=1"
DIGIT = Labelled(b'{"data": []}', 7)


def seen(*answers: tuple[int, dict[str, str], int]) -> Seen:
    """Return what is counted of answers: status, headers, label."""
    counted = Seen()
    for status, headers, label in answers:
        counted.answered(status, headers, json.dumps({"label": label}).encode(), 7)
    return counted


@pytest.mark.parametrize(("decision", "version"), [(DECISION, "2"), ("", ""), ("gen=1;why=refused", "")])
def test_a_version_is_read_from_the_decision(decision: str, version: str) -> None:
    assert version_of(decision) == version


def test_a_line_tells_each_version_what_was_right_wrong_and_failed() -> None:
    counted = seen(
        (200, {"penstock-decision": "version=1"}, 7),
        (200, {"penstock-decision": "version=1"}, 3),
        (500, {"penstock-decision": DECISION, "penstock-reason": "handler_failed"}, 0),
        (401, {}, 0),
    )
    counted.told, counted.not_sent = 2, 4
    assert line(counted, 2.0) == (
        "2/s; no version: 0 right, 1 401; version 1: 1 right, 1 wrong; version 2: 0 right, 1 handler_failed; "
        "2 labels told; 4 not sent: too many wait"
    )
    assert line(Seen(), 5.0) == "0/s"


def with_callers(answer: Callable[[httpx.Request], httpx.Response], tells_labels: bool, count: int) -> Callers:
    """Let so many requests be answered so, and return the callers."""

    async def run() -> Callers:
        async with httpx.AsyncClient(base_url="http://mesh", transport=httpx.MockTransport(answer)) as client:
            callers = Callers(client, [DIGIT], tells_labels)
            for _ in range(count):
                callers.send()
            await callers.finish()
            return callers

    return asyncio.run(run())


class Mesh:
    """Answers every digit with 7, and takes labels."""

    def __init__(self, feedback: int = 202) -> None:
        self.users: Counter[str] = Counter()
        self.labels: list[dict[str, str | int]] = []
        self._feedback = feedback

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/feedback":
            labels = json.loads(request.content)
            self.labels += labels
            return httpx.Response(self._feedback, json={"accepted": len(labels)})
        self.users[request.headers["x-user-id"]] += 1
        headers = {"penstock-decision": DECISION, "x-request-id": f"r{self.users.total()}"}
        return httpx.Response(200, json={"label": 7}, headers=headers)


def test_many_users_ask_and_labels_are_told_once_each() -> None:
    mesh = Mesh()
    callers = with_callers(mesh, True, 200)
    assert callers.seen.right == {"2": 200}
    assert len(mesh.users) > 100
    assert mesh.labels == [{"request_id": f"r{number}", "label": 7} for number in range(1, 201)]
    assert callers.seen.told == 200


def test_labels_are_told_only_when_that_is_wanted() -> None:
    mesh = Mesh()
    assert with_callers(mesh, False, 3).seen.right == {"2": 3}
    assert mesh.labels == []


def test_labels_that_are_not_taken_are_counted() -> None:
    assert with_callers(Mesh(feedback=400), True, 3).seen.failed == {("", "feedback 400"): 1}


def test_a_mesh_that_is_gone_is_counted_and_asked_on() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone", request=request)

    assert with_callers(gone, True, 3).seen.failed == {("", "ConnectError"): 3}


def test_what_would_be_too_many_at_once_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "IN_FLIGHT", 2)
    callers = with_callers(Mesh(), False, 5)
    assert (callers.seen.right, callers.seen.not_sent) == ({"2": 2}, 3)


def test_the_mesh_is_found_with_its_local_key(tmp_path: Path) -> None:
    with pytest.raises(NoMesh, match="start one with `penstock up`"):
        find(tmp_path, {}, tmp_path)
    mesh = RunningMesh(os.getpid(), "http://127.0.0.1:8080", "", "", str(tmp_path), "")
    (tmp_path / "mesh.json").write_bytes(msgspec.json.encode(mesh))
    with pytest.raises(NoMesh, match="no local key"):
        find(tmp_path, {}, tmp_path)
    (tmp_path / "local-key").write_text("msk_key\n")
    assert find(tmp_path, {}, tmp_path) == Where("http://127.0.0.1:8080", "msk_key")
    assert "msk_key" not in repr(find(tmp_path, {}, tmp_path))


def test_the_digits_are_those_that_no_model_has_seen() -> None:
    digits = held_out()
    assert len(digits) == 360
    assert {digit.label for digit in digits} == set(range(10))
    assert len(json.loads(digits[0].body)["data"]) == 64
